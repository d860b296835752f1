//! `prefetch_related`: related rows in one query for each relation, however many rows there are.
//!
//! Flow: a relation's steps → names of relations ([`names`]) → a tree of [`Prefetch`]es in the plan →
//! once the rows are read, [`load`] collects their keys → [`Loader`] asks for all at once, with its
//! own prefetches → each row takes its share.
//!
//! Invariants:
//! - One query for each relation, and one more for every [`KEYS_MAX`] keys.
//! - What is loaded already is not asked for again, unless there is a query of its own.
//! - Works on descriptions and slots; only the reading of rows knows their type.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_query::Value;

use crate::conf::FetchMode;
use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q};
use crate::models::expression::Node;
use crate::models::fetch_mode;
use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::related::{Related, RelatedMany};
use crate::models::slot::{KeyName, Route, RowMut};
use crate::models::sql::{Along, Plan, Selected};
use crate::models::trail::{Columns, FieldPath, Step, Trail};
use crate::site::Site;

/// Most keys in one query. SQLite takes 32,766 values, PostgreSQL 65,535; the rest is for the
/// query's own.
const KEYS_MAX: usize = 30_000;

/// A relation to load, and what to load behind it.
#[derive(Clone)]
pub(super) struct Prefetch {
    name: &'static str,
    /// A `QuerySet` of the other model.
    query: Option<Arc<dyn Any + Send + Sync>>,
    behind: Vec<Self>,
}

/// What `prefetch_related` takes: a relation to one row or many, or one [`with`](RelatedMany::with)
/// a query of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be prefetched",
    label = "expected a relation: `p.tags()`, `p.author().posts()`, `u.posts().with(..)`"
)]
pub trait Prefetchable {
    /// The steps to it, and the query its rows come from.
    #[doc(hidden)]
    fn parts(self) -> (Trail, Option<Arc<dyn Any + Send + Sync>>);
}

/// A relation and the query that its rows come from.
pub struct With<T> {
    trail: Trail,
    query: QuerySet<T>,
}

impl<T> fmt::Debug for With<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "With({:?})", self.query)
    }
}

impl<T: Model> Prefetchable for Related<T> {
    fn parts(self) -> (Trail, Option<Arc<dyn Any + Send + Sync>>) {
        (self.into_trail(), None)
    }
}

impl<T: Model> Prefetchable for RelatedMany<T> {
    fn parts(self) -> (Trail, Option<Arc<dyn Any + Send + Sync>>) {
        (self.trail().clone(), None)
    }
}

impl<T: Model> Prefetchable for With<T> {
    fn parts(self) -> (Trail, Option<Arc<dyn Any + Send + Sync>>) {
        (self.trail, Some(Arc::new(self.query)))
    }
}

impl<T: Model> RelatedMany<T> {
    /// For `prefetch_related`: of these rows only. May be filtered, ordered, and have its own
    /// `select_related` and `prefetch_related`; a `limit` counts for each row anew.
    #[must_use]
    pub fn with(self, rows: QuerySet<T>) -> With<T> {
        With { trail: self.trail().clone(), query: rows }
    }
}

impl<T: Model> Related<T> {
    /// For `prefetch_related`: from these rows only.
    #[must_use]
    pub fn with(self, rows: QuerySet<T>) -> With<T> {
        With { trail: self.into_trail(), query: rows }
    }
}

impl<M: Model, R> QuerySet<M, R> {
    /// Loads the rows of a relation together with these, in one query more however many they are.
    /// They are found in the relation's field: `post.tags.loaded()`, and `post.tags().all(&site)`
    /// asks no more. May be called again for another.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # use hulse::models::{HasMany, ManyToMany};
    /// # #[derive(Model, Clone)] struct User { id: Id, #[field(by = author)] posts: HasMany<Post> }
    /// # #[derive(Model, Clone)] struct Tag { id: Id, #[field(max_length = 9)] name: String }
    /// # #[derive(Model, Clone)] struct Post {
    /// #     id: Id, #[field(on_delete = cascade)] author: ForeignKey<User>, tags: ManyToMany<Tag>,
    /// #     live: bool,
    /// # }
    /// # async fn users(site: &Site) -> Result<()> {
    /// let live = Post::objects().filter(|p| p.live().eq(true)).limit(3);
    /// let users = User::objects()
    ///     .prefetch_related(|u| u.posts().with(live.prefetch_related(|p| p.tags())))
    ///     .all(site)
    ///     .await?; // three queries
    /// for post in users.iter().filter_map(|user| user.posts.loaded()).flatten() {
    ///     println!("{:?}", post.tags.loaded());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prefetch_related<P: Prefetchable>(
        mut self,
        relation: impl FnOnce(&M::Columns) -> P,
    ) -> Self {
        let (trail, query) = relation(&M::Columns::along(Trail::of(M::meta()))).parts();
        let added = names(M::meta(), &trail.steps)
            .and_then(|names| add(&mut self.plan.prefetches, &names, query));
        if let Err(words) = added {
            self.mistaken(words);
        }
        self
    }
}

impl<M: Model> QuerySet<M> {
    /// Reads the row at the end of foreign keys along, and those on the way, in the same query:
    /// `|p| p.author()`, `|p| p.author().company()`, or the other side of a `OneToOne`. May be
    /// called again for another.
    #[must_use]
    pub fn select_related<T: Model>(
        mut self,
        relation: impl FnOnce(&M::Columns) -> Related<T>,
    ) -> Self {
        let trail = relation(&M::Columns::along(Trail::of(M::meta()))).into_trail();
        if trail.steps.iter().any(|step| step.is_many()) {
            self.mistaken("select_related leads to one row; for many, use prefetch_related");
            return self;
        }
        match names(M::meta(), &trail.steps) {
            Err(words) => self.mistaken(words),
            Ok(names) => {
                for end in 1..=names.len() {
                    let (steps, names) = (trail.steps[..end].to_vec(), names[..end].to_vec());
                    if !self.plan.related.iter().any(|along| along.trail.steps == steps) {
                        let trail = Trail { root: trail.root, steps };
                        self.plan.related.push(Along { trail, names });
                    }
                }
            }
        }
        self
    }
}

/// Loads a relation of rows that are there already, in one query (Django's
/// `prefetch_related_objects`).
///
/// # Errors
/// The relation is no field of the model, its query was built wrong, or the database cannot be
/// asked.
pub async fn prefetch<M: Model, P: Prefetchable>(
    site: &Site,
    rows: &mut [M],
    relation: impl FnOnce(&M::Columns) -> P,
) -> Result<()> {
    let query = QuerySet::<M>::new().prefetch_related(relation);
    query.checked()?;
    let mut rows: Vec<RowMut<'_>> = rows.iter_mut().map(|row| row as RowMut<'_>).collect();
    for prefetch in &query.plan.prefetches {
        load(&mut rows, prefetch, None, site).await?;
    }
    Ok(())
}

/// Puts a way into the tree; two that begin alike share the beginning.
fn add(
    all: &mut Vec<Prefetch>,
    names: &[&'static str],
    query: Option<Arc<dyn Any + Send + Sync>>,
) -> std::result::Result<(), String> {
    let Some((name, behind)) = names.split_first() else { return Ok(()) };
    let at = all.iter().position(|one| one.name == *name).unwrap_or_else(|| {
        all.push(Prefetch { name, query: None, behind: Vec::new() });
        all.len() - 1
    });
    let prefetch = &mut all[at];
    if !behind.is_empty() {
        return add(&mut prefetch.behind, behind, query);
    }
    if prefetch.query.is_some() && query.is_some() {
        return Err(format!("{name} is prefetched with two queries"));
    }
    prefetch.query = prefetch.query.take().or(query);
    Ok(())
}

/// The names of the relations that steps from `meta` go over.
pub(super) fn names(
    meta: &'static Meta,
    steps: &[Step],
) -> std::result::Result<Vec<&'static str>, String> {
    let (mut meta, mut steps, mut names) = (meta, steps, Vec::new());
    while let Some((step, behind)) = steps.split_first() {
        let (name, taken) = match step {
            Step::Forward(field) => (field.name, 1),
            Step::Reverse { field, .. } => over_many(meta, field, behind).ok_or_else(|| {
                format!(
                    "nothing on {} holds its rows of {}: give it a field `HasMany<{}>`",
                    meta.label(),
                    step.target().label(),
                    step.target().model,
                )
            })?,
        };
        names.push(name);
        meta = steps[taken - 1].target();
        steps = &steps[taken..];
    }
    Ok(names)
}

/// The relation of `meta` that goes back over `field` and perhaps on over the next step, and how
/// many steps that are.
fn over_many(
    meta: &'static Meta,
    field: &'static Field,
    behind: &[Step],
) -> Option<(&'static str, usize)> {
    let same = |one: &Field, other: &Field| std::ptr::eq(one, other);
    let routes = || meta.many.iter().filter_map(|many| Some((many.name, many.route(meta).ok()?)));
    let over = routes().find(|(_, route)| match (route, behind.first()) {
        (Route::Through { from, to, .. }, Some(Step::Forward(next))) => {
            same(from, field) && same(to, next)
        }
        _ => false,
    });
    if let Some((name, _)) = over {
        return Some((name, 2));
    }
    let mut back = routes();
    let back = back.find(|(_, route)| match route {
        Route::Reverse { field: own } => same(own, field),
        Route::Through { .. } => false,
    });
    back.map(|(name, _)| (name, 1))
}

/// What is done with rows once they are read: their prefetches, and what they are told of each
/// other.
pub(super) async fn after(plan: &Plan, mut rows: Vec<RowMut<'_>>, site: &Site) -> Result<()> {
    for prefetch in &plan.prefetches {
        load(&mut rows, prefetch, plan.fetch_mode, site).await?;
    }
    fetch_mode::mark(plan, rows, site);
    Ok(())
}

/// Whether [`after`] would do anything.
pub(super) fn is_wanted(plan: &Plan, site: &Site) -> bool {
    !plan.prefetches.is_empty() || fetch_mode::of(plan, site) != FetchMode::One
}

/// Loads one relation of `rows`, which are of one model.
fn load<'a>(
    rows: &'a mut [RowMut<'_>],
    prefetch: &'a Prefetch,
    mode: Option<FetchMode>,
    site: &'a Site,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let Some(meta) = rows.first().map(|row| row.description()) else { return Ok(()) };
        let fresh = prefetch.query.is_some();
        let (mut keys, mut seen, mut loader) = (Vec::new(), HashSet::new(), None);
        let mut there: Vec<RowMut<'_>> = Vec::new();
        let mut waiting = Vec::new();
        for row in rows.iter_mut() {
            let own = row.own_value();
            let Some(slot) = row.relation(prefetch.name) else { continue };
            if slot.is_loaded() && !fresh {
                there.extend(slot.rows());
                continue;
            }
            let Some(key) = slot.target().or(own) else { continue };
            loader.get_or_insert_with(|| slot.loader());
            if seen.insert(KeyName::of(&key)) {
                keys.push(key.clone());
            }
            waiting.push((slot, key));
        }
        for behind in &prefetch.behind {
            load(&mut there, behind, mode, site).await?;
        }
        let Some(loader) = loader else { return Ok(()) };
        let (query, behind) = (prefetch.query.clone(), prefetch.behind.clone());
        let way = Way::of(meta, prefetch.name)?;
        let found = loader.load(Wanted { way, keys, query, behind, mode }, site).await?;
        for (slot, key) in waiting {
            slot.take(&found, &key);
        }
        Ok(())
    })
}

/// How keys lead to rows.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// They are the rows' own.
    Key,
    Over(Route),
}

impl Way {
    /// The way of the relation called `name`.
    pub(super) fn of(meta: &'static Meta, name: &str) -> Result<Self> {
        match meta.many.iter().find(|many| many.name == name) {
            Some(many) => many.route(meta).map(Self::Over),
            None => Ok(Self::Key),
        }
    }

    /// The column of a query of `meta` that says whose a row is.
    pub(super) fn owner(self, meta: &'static Meta) -> FieldPath {
        match self {
            Self::Key => FieldPath::own(meta, meta.primary_key()),
            Self::Over(Route::Reverse { field }) => FieldPath::own(meta, field),
            Self::Over(Route::Through { through, from, to, .. }) => {
                let trail = Trail::of(meta).then(Step::Reverse { meta: through, field: to });
                FieldPath { trail, field: from }
            }
        }
    }
}

/// What a [`Loader`] is asked for.
pub struct Wanted {
    pub(super) way: Way,
    pub(super) keys: Vec<Value>,
    /// A `QuerySet` of the loader's model.
    pub(super) query: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) behind: Vec<Prefetch>,
    pub(super) mode: Option<FetchMode>,
}

/// Reads rows of one model.
pub trait Loader: Sync {
    /// The rows that some keys lead to.
    fn load<'a>(&'a self, wanted: Wanted, site: &'a Site) -> BoxFuture<'a, Result<Found>>;
}

/// The loader of a model.
pub(super) struct Of<T>(pub(super) PhantomData<fn() -> T>);

/// Rows by the keys that lead to them.
#[derive(Clone)]
pub struct Found(Arc<dyn Any + Send + Sync>);

/// Either is filled, whatever the way allows.
struct FoundOf<T> {
    one: HashMap<KeyName, Arc<T>>,
    many: HashMap<KeyName, Arc<Vec<T>>>,
}

impl Found {
    /// The row with this key.
    pub(super) fn one<T: Model>(&self, key: &Value) -> Option<Arc<T>> {
        self.0.downcast_ref::<FoundOf<T>>()?.one.get(&KeyName::of(key)).cloned()
    }

    /// The rows that belong to the one with this key.
    pub(super) fn many<T: Model>(&self, key: &Value) -> Arc<Vec<T>> {
        let found = self.0.downcast_ref::<FoundOf<T>>();
        found.and_then(|found| found.many.get(&KeyName::of(key)).cloned()).unwrap_or_default()
    }
}

impl<T: Model> Loader for Of<T> {
    fn load<'a>(&'a self, wanted: Wanted, site: &'a Site) -> BoxFuture<'a, Result<Found>> {
        Box::pin(load_rows::<T>(wanted, site))
    }
}

async fn load_rows<T: Model>(wanted: Wanted, site: &Site) -> Result<Found> {
    let Wanted { way, keys, query, behind, mode } = wanted;
    let query = query.and_then(|query| query.downcast::<QuerySet<T>>().ok());
    let mut query = query.map(Arc::unwrap_or_clone).unwrap_or_default();
    query.checked()?;
    query.plan.fetch_mode = query.plan.fetch_mode.or(mode);
    query.plan.prefetches.extend(behind);
    let owner = way.owner(T::meta());
    let (mut rows, mut owners) = (Vec::new(), Vec::new());
    for keys in keys.chunks(KEYS_MAX) {
        let plan = belonging(&query.plan, &owner, keys)?;
        if plan.is_never() {
            continue;
        }
        for row in site.db().fetch(plan.select(site.db().dialect())?).await? {
            owners.push(owner_of(&plan, &owner, &row)?);
            rows.push((query.reader)(&plan, &row)?);
        }
    }
    if is_wanted(&query.plan, site) {
        after(&query.plan, rows.iter_mut().map(|row| row as RowMut<'_>).collect(), site).await?;
    }
    let (mut one, mut many) = (HashMap::new(), HashMap::<_, Vec<T>>::new());
    for (owner, row) in owners.into_iter().zip(rows) {
        match way {
            Way::Key => drop(one.insert(owner, Arc::new(row))),
            Way::Over(_) => many.entry(owner).or_default().push(row),
        }
    }
    let many = many.into_iter().map(|(owner, rows)| (owner, Arc::new(rows))).collect();
    Ok(Found(Arc::new(FoundOf { one, many })))
}

/// The rows of `plan` that belong to those with these keys, each with the key it belongs to behind
/// its columns.
fn belonging(plan: &Plan, owner: &FieldPath, keys: &[Value]) -> Result<Plan> {
    let mut plan = plan.clone();
    let node = Node::Column(owner.clone());
    let keys = keys.iter().cloned().map(Node::Value).collect();
    plan.filter(Q::test(node.clone(), Lookup::In(keys)));
    let Selected::Model(more) = &mut plan.columns else {
        let words = format!("a prefetch reads rows of {}, not values", plan.meta.label());
        return Err(Error::of(Kind::Field, words));
    };
    more.push(node.clone());
    if plan.is_sliced() {
        plan.per = Some(node);
    }
    Ok(plan)
}

fn owner_of(plan: &Plan, owner: &FieldPath, row: &Row) -> Result<KeyName> {
    // Behind it stands only the number of a row among its like.
    let at = row.len() - 1 - usize::from(plan.per.is_some());
    Ok(KeyName::of(&owner.field.kind.read(row, at)?))
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefetch({}, {:?})", self.name, self.behind)
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found")
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wanted({} keys)", self.keys.len())
    }
}
