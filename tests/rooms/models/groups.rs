//! Random questions over relations to one row: orders by several columns, slices, groups and
//! aggregates, and aggregates of many rows beside one, against sums done by hand.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use hulse::Site;
use hulse::models::{Expression, Order, Q, QuerySet};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::fixtures;
use super::properties::{Child, ChildColumns, Parent, QUERIES, Tables};
use super::properties::{children, config, fill, tables};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    X,
    Y,
    ParentA,
    ParentB,
    NextA,
}

#[derive(Clone, Debug)]
enum Tree {
    Equal(Column, i32),
    Greater(Column, i32),
    Range(Column, i32, i32),
    Null(Column),
    Same(Column, Column),
    /// The sum of two columns is less than a number.
    Sum(Column, Column, i32),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

#[derive(Clone, Debug)]
struct Question {
    /// Each with whether it excludes.
    filters: Vec<(bool, Tree)>,
    /// Each with whether it descends, and whether NULLs come first.
    orders: Vec<(Column, bool, bool)>,
    slice: Option<(u64, u64)>,
    /// Groups have so many rows at least.
    least: i64,
}

fn column() -> impl Strategy<Value = Column> + Clone {
    use Column::{NextA, ParentA, ParentB, X, Y};
    prop::sample::select(vec![X, Y, ParentA, ParentB, NextA])
}

fn question() -> impl Strategy<Value = Question> {
    let leaf = prop_oneof![
        (column(), 0..3).prop_map(|(column, number)| Tree::Equal(column, number)),
        (column(), 0..3).prop_map(|(column, number)| Tree::Greater(column, number)),
        (column(), 0..3, 0..3).prop_map(|(column, least, most)| Tree::Range(column, least, most)),
        column().prop_map(Tree::Null),
        (column(), column()).prop_map(|(one, other)| Tree::Same(one, other)),
        (column(), column(), 0..5).prop_map(|(one, other, most)| Tree::Sum(one, other, most)),
    ];
    let tree = leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Any),
            inner.prop_map(|tree| Tree::Not(Box::new(tree))),
        ]
    });
    let filters = prop::collection::vec((any::<bool>(), tree), 0..3);
    let orders = prop::collection::vec((column(), any::<bool>(), any::<bool>()), 0..3);
    let slice = prop::option::of((0..3_u64, 0..6_u64));
    (filters, orders, slice, 0..3_i64).prop_map(|(filters, orders, slice, least)| Question {
        filters,
        orders,
        slice,
        least,
    })
}

type Number = Expression<i32, Option<i32>>;

fn number(column: Column, c: &ChildColumns) -> Number {
    match column {
        Column::X => c.x(),
        Column::Y => c.y().nullable(),
        Column::ParentA => c.parent().a(),
        Column::ParentB => c.parent().b().nullable(),
        Column::NextA => c.parent().next().a(),
    }
}

fn condition(tree: &Tree, c: &ChildColumns) -> Q {
    let joined = |trees: &[Tree], put: fn(Q, Q) -> Q| {
        trees.iter().map(|tree| condition(tree, c)).reduce(put).unwrap()
    };
    match tree {
        Tree::Equal(column, value) => number(*column, c).eq(*value),
        Tree::Greater(column, value) => number(*column, c).gt(*value),
        Tree::Range(column, least, most) => number(*column, c).range(*least, *most),
        Tree::Null(column) => number(*column, c).isnull(true),
        Tree::Same(one, other) => number(*one, c).eq(number(*other, c)),
        Tree::Sum(one, other, most) => (number(*one, c) + number(*other, c)).lt(*most),
        Tree::All(trees) => joined(trees, |one, two| one & two),
        Tree::Any(trees) => joined(trees, |one, two| one | two),
        Tree::Not(tree) => !condition(tree, c),
    }
}

/// A child by its place, with its values.
impl Tables {
    fn value(&self, child: usize, column: Column) -> Option<i32> {
        let (parent, x, y) = self.children[child];
        let parent = parent.map(|parent| self.parents[parent]);
        match column {
            Column::X => x,
            Column::Y => Some(y),
            Column::ParentA => parent?.0,
            Column::ParentB => Some(parent?.1),
            Column::NextA => self.parents[parent?.2?].0,
        }
    }

    fn holds(&self, child: usize, tree: &Tree) -> bool {
        let of = |column: &Column| self.value(child, *column);
        match tree {
            Tree::Equal(column, value) => of(column) == Some(*value),
            Tree::Greater(column, value) => of(column).is_some_and(|it| it > *value),
            Tree::Range(column, least, most) => {
                of(column).is_some_and(|it| (*least..=*most).contains(&it))
            }
            Tree::Null(column) => of(column).is_none(),
            Tree::Same(one, other) => of(one).is_some() && of(one) == of(other),
            Tree::Sum(one, other, most) => {
                of(one).zip(of(other)).is_some_and(|(one, other)| one + other < *most)
            }
            Tree::All(trees) => trees.iter().all(|tree| self.holds(child, tree)),
            Tree::Any(trees) => trees.iter().any(|tree| self.holds(child, tree)),
            Tree::Not(tree) => !self.holds(child, tree),
        }
    }

    /// The children that a question's filters find, in its order.
    fn found(&self, question: &Question) -> Vec<usize> {
        let is_found = |child: &usize| {
            let mut filters = question.filters.iter();
            filters.all(|(excludes, tree)| self.holds(*child, tree) != *excludes)
        };
        let mut found: Vec<_> = (0..self.children.len()).filter(is_found).collect();
        found.sort_by(|one, other| {
            let orders = question.orders.iter().map(|(column, descending, nulls_first)| {
                match (self.value(*one, *column), self.value(*other, *column)) {
                    (Some(one), Some(other)) if *descending => other.cmp(&one),
                    (Some(one), Some(other)) => one.cmp(&other),
                    (None, None) => Ordering::Equal,
                    (None, _) if *nulls_first => Ordering::Less,
                    (_, None) if !nulls_first => Ordering::Less,
                    _ => Ordering::Greater,
                }
            });
            orders.fold(Ordering::Equal, Ordering::then).then(one.cmp(other))
        });
        found
    }
}

fn filtered(question: &Question) -> QuerySet<Child> {
    question.filters.iter().fold(Child::objects(), |rows, (excludes, tree)| match excludes {
        true => rows.exclude(|c| condition(tree, c)),
        false => rows.filter(|c| condition(tree, c)),
    })
}

fn ordered(question: &Question) -> QuerySet<Child> {
    filtered(question).order_by(|c| {
        let orders = question.orders.iter().map(|(column, descending, nulls_first)| {
            let column = number(*column, c);
            let order = if *descending { column.desc() } else { column.asc() };
            if *nulls_first { order.nulls_first() } else { order.nulls_last() }
        });
        orders.chain([c.id().asc()]).collect::<Vec<Order>>()
    })
}

type Checked = Result<(), TestCaseError>;

/// The rows, sliced, and aggregates of just these.
async fn rows(site: &Site, tables: &Tables, question: &Question) -> Checked {
    let mut asked = ordered(question);
    let mut wanted = tables.found(question);
    if let Some((offset, limit)) = question.slice {
        asked = asked.offset(offset).limit(limit);
        wanted = wanted.into_iter().skip(offset as usize).take(limit as usize).collect();
    }
    let sql = asked.sql(site);
    let keys = asked.clone().values(|c| c.id()).all(site).await.unwrap();
    let keys: Vec<_> = keys.iter().map(|id| *id as usize - 1).collect();
    prop_assert_eq!(&keys, &wanted, "{:?}", &sql);
    let computed = asked.aggregate(site, |c| {
        let few = c.y().count().filter(c.parent().b().gte(1));
        let x = || c.x();
        ((c.id().count(), few, x().count().distinct()), (x().sum(), x().min(), c.y().avg()))
    });
    let (counts, (sum, least, average)) = computed.await.unwrap();
    let xs: Vec<_> = wanted.iter().filter_map(|child| tables.value(*child, Column::X)).collect();
    let few = wanted.iter().filter(|child| tables.value(**child, Column::ParentB) >= Some(1));
    let distinct = xs.iter().collect::<BTreeSet<_>>().len();
    prop_assert_eq!(
        counts,
        (wanted.len() as i64, few.count() as i64, distinct as i64),
        "{:?}",
        &sql
    );
    let all: i64 = xs.iter().map(|x| i64::from(*x)).sum();
    let ys: i32 = wanted.iter().map(|child| tables.children[*child].2).sum();
    let wanted_average = f64::from(ys) / wanted.len() as f64;
    prop_assert_eq!(sum, Some(all).filter(|_| !xs.is_empty()), "{:?}", &sql);
    prop_assert_eq!(least, xs.iter().min().copied(), "{:?}", &sql);
    match average {
        None => prop_assert!(wanted.is_empty(), "{:?}", &sql),
        // MariaDB's has four digits.
        Some(average) => prop_assert!((average - wanted_average).abs() < 0.0001, "{:?}", &sql),
    }
    Ok(())
}

/// Groups by a column behind a relation, as many as are large enough; and distinct values.
async fn groups(site: &Site, tables: &Tables, question: &Question) -> Checked {
    let by = question.orders.first().map_or(Column::ParentA, |(column, ..)| *column);
    let groups = filtered(question)
        .values(|c| (number(by, c), c.id().count(), c.y().sum(), c.parent().b().max()))
        .filter(|c| c.id().count().gte(question.least))
        .order_by(|c| number(by, c).asc().nulls_first());
    let sql = groups.sql(site);
    let mut wanted = BTreeMap::<Option<i32>, (i64, Option<i64>, Option<i32>)>::new();
    for child in tables.found(question) {
        let group = wanted.entry(tables.value(child, by)).or_default();
        group.0 += 1;
        *group.1.get_or_insert(0) += i64::from(tables.children[child].2);
        group.2 = group.2.max(tables.value(child, Column::ParentB));
    }
    let wanted = wanted.into_iter().filter(|(_, group)| group.0 >= question.least);
    let wanted = wanted.into_iter().filter(|(_, group)| group.0 >= question.least);
    let wanted: Vec<_> = wanted.map(|(of, group)| (of, group.0, group.1, group.2)).collect();
    let counted = groups.clone().count(site).await.unwrap();
    let found = groups.all(site).await.unwrap();
    prop_assert_eq!(&found, &wanted, "{:?}", &sql);
    prop_assert_eq!(counted as usize, wanted.len(), "count of {:?}", &sql);

    let distinct = filtered(question).values(|c| (number(by, c), c.y())).distinct();
    let distinct = distinct.order_by(|c| [number(by, c).asc().nulls_first(), c.y().asc()]);
    let found = tables.found(question).into_iter();
    let wanted: BTreeSet<_> =
        found.map(|child| (tables.value(child, by), tables.children[child].2)).collect();
    let counted = distinct.clone().count(site).await.unwrap();
    let found = distinct.all(site).await.unwrap();
    prop_assert_eq!(&found, &wanted.into_iter().collect::<Vec<_>>(), "{:?}", &sql);
    prop_assert_eq!(counted as usize, found.len(), "count of distinct {:?}", &sql);
    Ok(())
}

/// What rows have many of, beside them, looked for and ordered by.
async fn beside(site: &Site, tables: &Tables, question: &Question) -> Checked {
    let asked = Parent::objects()
        .filter(|p| children(p).id().count().gte(question.least))
        .exclude(|p| children(p).x().max().eq(1))
        .order_by(|p| [children(p).y().sum().desc().nulls_last(), p.id().asc()])
        .annotate(|p| {
            let live = children(p).y().count().filter(children(p).y().gt(0));
            (children(p).id().count(), live, children(p).x().sum())
        });
    let sql = asked.sql(site);
    let mut wanted = Vec::new();
    for parent in 0..tables.parents.len() {
        let its = tables.children.iter().filter(|child| child.0 == Some(parent));
        let its: Vec<_> = its.collect();
        let xs: Vec<_> = its.iter().filter_map(|child| child.1).collect();
        if (its.len() as i64) < question.least || xs.iter().max() == Some(&1) {
            continue;
        }
        let live = its.iter().filter(|child| child.2 > 0).count() as i64;
        let sum = xs.iter().map(|x| i64::from(*x)).reduce(|one, other| one + other);
        let order = its.iter().map(|child| i64::from(child.2)).reduce(|one, other| one + other);
        wanted.push((order, (parent, (its.len() as i64, live, sum))));
    }
    wanted.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
    let wanted: Vec<_> = wanted.into_iter().map(|(_, row)| row).collect();
    let found = asked.all(site).await.unwrap().into_iter();
    let found: Vec<_> =
        found.map(|(row, sums)| (row.id.get().unwrap() as usize - 1, sums)).collect();
    prop_assert_eq!(found, wanted, "{:?}", &sql);
    Ok(())
}

#[test]
fn groups_and_aggregates_are_what_sums_by_hand_are() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for fixture in runtime.block_on(fixtures()) {
        let site = &fixture.site;
        let questions = prop::collection::vec(question(), QUERIES);
        let outcome = TestRunner::new(config()).run(&(tables(), questions), |(tables, all)| {
            runtime.block_on(async {
                fill(site, &tables).await;
                for question in &all {
                    rows(site, &tables, question).await?;
                    groups(site, &tables, question).await?;
                    beside(site, &tables, question).await?;
                }
                Ok(())
            })
        });
        outcome.unwrap();
    }
}
