//! `prefetch_related`: related rows in one query for each relation, however many rows there are.
//!
//! Flow: a relation's steps → names of relations ([`names`]) → a tree of [`Prefetch`]es in the plan
//! → once the rows are read, [`load`] collects their keys → `Loader` asks for all at once, with its
//! own prefetches → each row takes its share.
//!
//! Invariants:
//! - What is loaded already is not asked for again, unless there is a query of its own.
//! - Works on descriptions and slots: compiled once, not for each model.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::conf::FetchMode;
use crate::error::Result;
use crate::models::fetch_mode;
use crate::models::loader::{Found, Wanted, Way};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::related::{Related, RelatedMany};
use crate::models::select_related::names;
use crate::models::slot::{KeyName, Route, RowMut};
use crate::models::sql::Plan;
use crate::models::trail::{Columns, Trail};
use crate::site::Site;

/// A relation to load, and what to load behind it.
#[derive(Clone)]
pub(in crate::models) struct Prefetch {
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
    ///     println!("{:?}", post.tags.loaded().map(<[Tag]>::len));
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

/// What is done with rows once they are read: their prefetches, and what they are told of each
/// other.
pub(in crate::models) async fn after(
    plan: &Plan,
    mut rows: Vec<RowMut<'_>>,
    site: &Site,
) -> Result<()> {
    for prefetch in &plan.prefetches {
        load(&mut rows, prefetch, plan.fetch_mode, site).await?;
    }
    fetch_mode::mark(plan, rows, site);
    Ok(())
}

/// Whether [`after`] would do anything.
pub(in crate::models) fn is_wanted(plan: &Plan, site: &Site) -> bool {
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
        let way = Way::of(meta, prefetch.name)?;
        let are_parents = matches!(way, Way::Over(Route::Reverse { .. }));
        let parents = if are_parents { known(rows) } else { None };
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
        let wanted = Wanted { way, keys, query, behind, mode, parents };
        let found = loader.load(wanted, site).await?;
        for (slot, key) in waiting {
            slot.take(&found, &key);
        }
        Ok(())
    })
}

/// What those that point to these rows will find without asking: the rows as they are now.
fn known(rows: &[RowMut<'_>]) -> Option<Found> {
    let copies = rows.iter().filter_map(|row| Some((KeyName::of(&row.own_value()?), row.shared())));
    rows.first().map(|row| row.found(copies.collect()))
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefetch({}, {:?})", self.name, self.behind)
    }
}
