//! Random filters, excludes, orders and slices on random small tables, against a naive model of
//! what they mean.

use std::cmp::Ordering;
use std::ops::{BitAnd, BitOr};

use hulse::Site;
use hulse::models::{ForeignKey, Id, Model, Q, QuerySet, RelatedMany};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::fixtures;

/// How many tables are tried on each database, and how many queries on each.
const TABLES: u32 = 12;
const TABLES_LONG: u32 = 400;
pub(super) const QUERIES: usize = 12;

pub(super) fn config() -> Config {
    let long = std::env::var_os("HULSE_TEST_LONG").is_some();
    let cases = if long { TABLES_LONG } else { TABLES };
    Config { cases, failure_persistence: None, ..Config::default() }
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog")]
pub(crate) struct Parent {
    pub id: Id,
    pub a: Option<i32>,
    pub b: i32,
    #[field(on_delete = do_nothing)]
    pub next: Option<ForeignKey<Self>>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog")]
pub(crate) struct Child {
    pub id: Id,
    #[field(on_delete = do_nothing)]
    pub parent: Option<ForeignKey<Parent>>,
    pub x: Option<i32>,
    pub y: i32,
}

/// Rows by their place: the key of a row is its place and one.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// `a`, `b` and the place of the next one.
    pub parents: Vec<(Option<i32>, i32, Option<usize>)>,
    /// The place of the parent, `x` and `y`.
    pub children: Vec<(Option<usize>, Option<i32>, i32)>,
}

#[derive(Clone, Copy, Debug)]
enum Column {
    A,
    B,
    NextA,
    NextNextB,
    ChildX,
    ChildY,
}

#[derive(Clone, Debug)]
enum Tree {
    Equal(Column, i32),
    Less(Column, i32),
    In(Column, Vec<i32>),
    Null(Column),
    BelowB(Column),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

/// By what a query looks at the children beside its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    Order,
    Values,
    Annotation,
}

#[derive(Clone, Debug)]
struct Question {
    /// Each with whether it excludes.
    filters: Vec<(bool, Tree)>,
    /// Whether a row comes once, or once for each of the children it was found by.
    distinct: bool,
    descending: bool,
    nulls_first: bool,
    beside: Beside,
    offset: u64,
    limit: u64,
}

pub(super) fn tables() -> impl Strategy<Value = Tables> {
    let number = || prop::option::weighted(0.7, 0..3);
    let parents =
        prop::collection::vec((number(), 0..3, prop::option::weighted(0.6, 0..5_usize)), 0..5);
    let child = (prop::option::weighted(0.8, 0..5_usize), number(), 0..3);
    let children = prop::collection::vec(child, 0..7);
    (parents, children).prop_map(|(mut parents, mut children)| {
        let count = parents.len();
        let there = |place: Option<usize>| place.filter(|place| *place < count);
        parents.iter_mut().for_each(|parent| parent.2 = there(parent.2));
        children.iter_mut().for_each(|child| child.0 = there(child.0));
        Tables { parents, children }
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    use Column::{A, B, ChildX, ChildY, NextA, NextNextB};
    let column = || prop::sample::select(vec![A, B, NextA, NextNextB, ChildX, ChildY]);
    let own = prop::sample::select(vec![A, B, NextA, NextNextB]);
    let leaf = prop_oneof![
        (column(), 0..3).prop_map(|(column, number)| Tree::Equal(column, number)),
        (column(), 0..3).prop_map(|(column, number)| Tree::Less(column, number)),
        (column(), prop::collection::vec(0..3, 0..3)).prop_map(|(c, n)| Tree::In(c, n)),
        own.prop_map(Tree::Null),
        column().prop_map(Tree::BelowB),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Any),
            inner.prop_map(|tree| Tree::Not(Box::new(tree))),
        ]
    })
}

fn question() -> impl Strategy<Value = Question> {
    let filters = prop::collection::vec((any::<bool>(), tree()), 0..3);
    let beside = prop_oneof![
        3 => Just(Beside::Nothing),
        1 => Just(Beside::Order),
        1 => Just(Beside::Values),
        1 => Just(Beside::Annotation),
    ];
    (filters, any::<[bool; 3]>(), beside, 0..3_u64, 0..9_u64).prop_map(
        |(filters, [distinct, descending, nulls_first], beside, offset, limit)| Question {
            filters,
            distinct,
            descending,
            nulls_first,
            beside,
            offset,
            limit,
        },
    )
}

pub(super) fn children(p: &ParentColumns) -> RelatedMany<Child> {
    p.reverse::<Child>(|c| c.parent())
}

/// The tree as a condition.
fn condition(tree: &Tree, p: &ParentColumns) -> Q {
    macro_rules! on {
        ($column:expr, $ask:expr) => {
            match $column {
                Column::A => $ask(p.a().nullable()),
                Column::B => $ask(p.b().nullable()),
                Column::NextA => $ask(p.next().a().nullable()),
                Column::NextNextB => $ask(p.next().next().b().nullable()),
                Column::ChildX => $ask(children(p).x().nullable()),
                Column::ChildY => $ask(children(p).y().nullable()),
            }
        };
    }
    type Number = hulse::models::Expression<i32, Option<i32>>;
    let joined = |trees: &[Tree], put: fn(Q, Q) -> Q| {
        let mut all = trees.iter().map(|tree| condition(tree, p));
        let first = all.next().unwrap();
        all.fold(first, put)
    };
    match tree {
        Tree::Equal(column, number) => on!(column, |e: Number| e.eq(*number)),
        Tree::Less(column, number) => on!(column, |e: Number| e.lt(*number)),
        Tree::In(column, numbers) => on!(column, |e: Number| e.in_(numbers.iter())),
        Tree::Null(column) => on!(column, |e: Number| e.isnull(true)),
        Tree::BelowB(column) => on!(column, |e: Number| e.lt(p.b())),
        Tree::All(trees) => joined(trees, |one, two| one & two),
        Tree::Any(trees) => joined(trees, |one, two| one | two),
        Tree::Not(tree) => !condition(tree, p),
    }
}

/// One filter on one parent, with the child that its join has found.
struct Look<'a> {
    tables: &'a Tables,
    parent: usize,
    child: Option<usize>,
    /// Whether a test before this one has joined the children.
    joined: bool,
}

impl Look<'_> {
    fn own(&self, column: Column) -> Option<i32> {
        let parents = &self.tables.parents;
        let next = parents[self.parent].2;
        match column {
            Column::A => parents[self.parent].0,
            Column::B => Some(parents[self.parent].1),
            Column::NextA => parents[next?].0,
            Column::NextNextB => Some(parents[parents[next?].2?].1),
            Column::ChildX | Column::ChildY => unreachable!(),
        }
    }

    fn of_child(&self, column: Column, child: usize) -> Option<i32> {
        let (_, x, y) = self.tables.children[child];
        if matches!(column, Column::ChildX) { x } else { Some(y) }
    }

    /// A test of one column, `true` only if the column has a value for which it holds.
    fn test(&mut self, column: Column, negated: bool, holds: impl Fn(i32) -> bool) -> bool {
        if !matches!(column, Column::ChildX | Column::ChildY) {
            return self.own(column).is_some_and(holds);
        }
        let one = |child: usize| self.of_child(column, child).is_some_and(&holds);
        if negated && !self.joined {
            let all = 0..self.tables.children.len();
            let mut its = all.filter(|at| self.tables.children[*at].0 == Some(self.parent));
            return its.any(one);
        }
        let answer = self.child.is_some_and(one);
        self.joined = true;
        answer
    }

    fn holds(&mut self, tree: &Tree, negated: bool) -> bool {
        let b = self.tables.parents[self.parent].1;
        match tree {
            Tree::Equal(column, number) => self.test(*column, negated, |n| n == *number),
            Tree::Less(column, number) => self.test(*column, negated, |n| n < *number),
            // Nobody is asked, so nothing is joined.
            Tree::In(_, numbers) if numbers.is_empty() => false,
            Tree::In(column, numbers) => self.test(*column, negated, |n| numbers.contains(&n)),
            Tree::Null(column) => self.own(*column).is_none(),
            Tree::BelowB(column) => self.test(*column, negated, |n| n < b),
            // Without short cuts: a test joins whatever its neighbours say.
            Tree::All(trees) => {
                trees.iter().map(|t| self.holds(t, negated)).fold(true, BitAnd::bitand)
            }
            Tree::Any(trees) => {
                trees.iter().map(|t| self.holds(t, negated)).fold(false, BitOr::bitor)
            }
            Tree::Not(tree) => !self.holds(tree, true),
        }
    }
}

/// The tree without what stands for nobody or everybody, as the conditions themselves drop it.
fn simple(tree: &Tree) -> Result<Tree, bool> {
    match tree {
        Tree::In(_, numbers) if numbers.is_empty() => Err(false),
        Tree::Not(inner) => match simple(inner) {
            Ok(Tree::Not(tree)) => Ok(*tree),
            Ok(tree) => Ok(Tree::Not(Box::new(tree))),
            Err(known) => Err(!known),
        },
        Tree::All(trees) => simple_of(trees, true).map(Tree::All),
        Tree::Any(trees) => simple_of(trees, false).map(Tree::Any),
        leaf => Ok(leaf.clone()),
    }
}

fn simple_of(trees: &[Tree], all: bool) -> Result<Vec<Tree>, bool> {
    let mut kept = Vec::new();
    for tree in trees {
        match simple(tree) {
            Ok(tree) => kept.push(tree),
            Err(known) if known != all => return Err(known),
            Err(_) => {}
        }
    }
    if kept.is_empty() { Err(all) } else { Ok(kept) }
}

/// A row of an answer: the place of the parent, and its child's `x` if the query looks at that.
type Found = (usize, Option<i32>);

/// What the latest join of a row has found.
#[derive(Clone, Copy)]
enum Latest {
    NoJoin,
    Child(Option<usize>),
}

/// The children of a parent as a LEFT JOIN finds them.
fn joined(tables: &Tables, parent: usize) -> Vec<Option<usize>> {
    let all = 0..tables.children.len();
    let its: Vec<_> = all.filter(|at| tables.children[*at].0 == Some(parent)).map(Some).collect();
    if its.is_empty() { vec![None] } else { its }
}

/// What a question finds, in order, before it is sliced.
fn expected(tables: &Tables, question: &Question) -> Vec<Found> {
    let mut found: Vec<(usize, Latest)> =
        (0..tables.parents.len()).map(|parent| (parent, Latest::NoJoin)).collect();
    for (excludes, tree) in &question.filters {
        let whole = if *excludes { Tree::Not(Box::new(tree.clone())) } else { tree.clone() };
        let tree = simple(&whole);
        let kept = |(parent, latest): (usize, Latest)| {
            let (mut kept, mut is_joined) = (Vec::new(), false);
            for child in joined(tables, parent) {
                let mut look = Look { tables, parent, child, joined: false };
                let holds = match &tree {
                    Err(known) => *known,
                    Ok(tree) => look.holds(tree, false),
                };
                kept.extend(holds.then_some((parent, Latest::Child(child))));
                is_joined |= look.joined;
            }
            if !is_joined {
                kept.truncate(1);
                kept.iter_mut().for_each(|row| row.1 = latest);
            }
            kept
        };
        found = found.into_iter().flat_map(kept).collect();
    }
    let x = |child: Option<usize>| child.and_then(|child| tables.children[child].1);
    let rows = found.into_iter().flat_map(|(parent, latest)| match (question.beside, latest) {
        (Beside::Nothing, _) => vec![(parent, None)],
        (_, Latest::Child(child)) => vec![(parent, x(child))],
        (_, Latest::NoJoin) => {
            joined(tables, parent).into_iter().map(|child| (parent, x(child))).collect()
        }
    });
    let mut rows: Vec<Found> = rows.collect();
    rows.sort_by(|one, two| {
        let (one_a, two_a) = (tables.parents[one.0].0, tables.parents[two.0].0);
        let order = match (one_a, two_a) {
            (Some(one), Some(two)) if question.descending => two.cmp(&one),
            (Some(one), Some(two)) => one.cmp(&two),
            (None, None) => Ordering::Equal,
            (None, _) if question.nulls_first => Ordering::Less,
            (None, _) => Ordering::Greater,
            (_, None) if question.nulls_first => Ordering::Greater,
            (_, None) => Ordering::Less,
        };
        order.then(one.cmp(two))
    });
    if question.distinct {
        rows.dedup();
    }
    rows
}

fn sliced<T: Clone>(rows: &[T], question: &Question) -> Vec<T> {
    let rows = rows.iter().skip(question.offset as usize).take(question.limit as usize);
    rows.cloned().collect()
}

fn asked(question: &Question) -> QuerySet<Parent> {
    let mut rows = Parent::objects();
    for (excludes, tree) in &question.filters {
        rows = match excludes {
            true => rows.exclude(|p| condition(tree, p)),
            false => rows.filter(|p| condition(tree, p)),
        };
    }
    let rows = if question.distinct { rows.distinct() } else { rows };
    rows.order_by(|p| {
        let a = if question.descending { p.a().desc() } else { p.a().asc() };
        let a = if question.nulls_first { a.nulls_first() } else { a.nulls_last() };
        let mut orders = vec![a, p.id().asc()];
        if question.beside == Beside::Order {
            orders.push(children(p).x().asc().nulls_first());
        }
        orders
    })
}

/// The rows of a question that looks at the children, whole or as values; or that does not.
async fn whole(site: &Site, tables: &Tables, question: &Question) -> Result<(), TestCaseError> {
    let rows = asked(question);
    let sql = rows.sql(site);
    let wanted = expected(tables, question);
    let cut = |rows: QuerySet<Parent>| rows.offset(question.offset).limit(question.limit);
    let places: Vec<_> = sliced(&wanted, question).iter().map(|row| row.0).collect();
    let found = cut(rows.clone()).all(site).await.unwrap();
    let found: Vec<_> = found.iter().map(|row| row.id.get().unwrap() as usize - 1).collect();
    prop_assert_eq!(&found, &places, "{:?}\n{:?}", question, sql);
    for (rows, wanted) in [(rows.clone(), wanted.len()), (cut(rows.clone()), places.len())] {
        let counted = rows.clone().count(site).await.unwrap();
        prop_assert_eq!(counted as usize, wanted, "count of {:?}", rows.sql(site));
        let exists = rows.clone().exists(site).await.unwrap();
        prop_assert_eq!(exists, wanted > 0, "existence of {:?}", rows.sql(site));
        let keys = rows.clone().aggregate(site, |p| p.id().count()).await.unwrap();
        prop_assert_eq!(keys as usize, wanted, "aggregate of {:?}", rows.sql(site));
    }
    let values = cut(rows).values(|p| (p.id(), p.a())).all(site).await.unwrap();
    let values: Vec<_> = values.into_iter().map(|(_, a)| a).collect();
    let wanted: Vec<_> = places.iter().map(|at| tables.parents[*at].0).collect();
    prop_assert_eq!(values, wanted, "values of {:?}", sql);
    Ok(())
}

/// Rows with what their children have: the same, as many as are counted, sliced too.
async fn beside<R: Send>(
    site: &Site,
    question: &Question,
    (rows, wanted): (QuerySet<Parent, R>, &[Found]),
    row: impl Fn(R) -> Found,
) -> Result<(), TestCaseError> {
    let sql = rows.sql(site);
    let cut = rows.clone().offset(question.offset).limit(question.limit);
    let found = rows.clone().all(site).await.unwrap();
    let mut found: Vec<_> = found.into_iter().map(row).collect();
    let mut all = wanted.to_vec();
    found.sort_unstable();
    all.sort_unstable();
    prop_assert_eq!(found, all, "{:?}\n{:?}", question, sql);
    let count = sliced(wanted, question).len();
    prop_assert_eq!(cut.clone().all(site).await.unwrap().len(), count, "{:?}", cut.sql(site));
    for (rows, wanted) in [(rows, wanted.len()), (cut, count)] {
        let counted = rows.clone().count(site).await.unwrap();
        prop_assert_eq!(counted as usize, wanted, "count of {:?}", rows.sql(site));
        let exists = rows.clone().exists(site).await.unwrap();
        prop_assert_eq!(exists, wanted > 0, "existence of {:?}", rows.sql(site));
    }
    Ok(())
}

async fn check(site: &Site, tables: &Tables, question: &Question) -> Result<(), TestCaseError> {
    let wanted = expected(tables, question);
    match question.beside {
        Beside::Nothing | Beside::Order => whole(site, tables, question).await,
        Beside::Values => {
            let rows = asked(question).values(|p| (p.id(), p.a(), children(p).x()));
            beside(site, question, (rows, &wanted), |(id, _, x)| (id as usize - 1, x)).await
        }
        Beside::Annotation => {
            let rows = asked(question).annotate(|p| children(p).x());
            let row = |(row, x): (Parent, _)| (row.id.get().unwrap() as usize - 1, x);
            beside(site, question, (rows, &wanted), row).await
        }
    }
}

pub(super) async fn fill(site: &Site, tables: &Tables) {
    site.db().script("DELETE FROM blog_child").await.unwrap();
    site.db().script("UPDATE blog_parent SET next_id = NULL").await.unwrap();
    site.db().script("DELETE FROM blog_parent").await.unwrap();
    let key = |place: usize| i64::try_from(place).unwrap() + 1;
    let mut sql = String::new();
    let number = |number: Option<i32>| number.map_or("NULL".to_owned(), |n| n.to_string());
    let place = |at: Option<usize>| at.map_or("NULL".to_owned(), |at| key(at).to_string());
    for (at, (a, b, _)) in tables.parents.iter().enumerate() {
        let (id, a) = (key(at), number(*a));
        sql += &format!("INSERT INTO blog_parent (id, a, b) VALUES ({id}, {a}, {b});");
    }
    for (at, (_, _, next)) in tables.parents.iter().enumerate() {
        sql +=
            &format!("UPDATE blog_parent SET next_id = {} WHERE id = {};", place(*next), key(at));
    }
    for (at, (parent, x, y)) in tables.children.iter().enumerate() {
        let (id, parent, x) = (key(at), place(*parent), number(*x));
        sql += "INSERT INTO blog_child (id, parent_id, x, y) ";
        sql += &format!("VALUES ({id}, {parent}, {x}, {y});");
    }
    if !sql.is_empty() {
        site.db().script(&sql).await.unwrap();
    }
}

#[test]
fn queries_mean_what_a_naive_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for fixture in runtime.block_on(fixtures()) {
        let site = &fixture.site;
        let questions = prop::collection::vec(question(), QUERIES);
        let outcome =
            TestRunner::new(config()).run(&(tables(), questions), |(tables, questions)| {
                runtime.block_on(fill(site, &tables));
                for question in questions {
                    runtime.block_on(check(site, &tables, &question))?;
                }
                Ok(())
            });
        outcome.unwrap();
    }
}
