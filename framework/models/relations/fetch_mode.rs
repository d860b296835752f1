//! Fetch modes: what happens when a relation, or a deferred field, is read row by row (the N+1
//! queries of a loop).
//!
//! Flow: rows are read → unless the mode is `one`, [`mark`] gives those of one answer a common
//! [`Peers`] for each relation that is not loaded → `post.author.get(&site)` asks it what to do.
//!
//! Invariants:
//! - In mode `one` nothing is done for any row.
//! - Rows do not know each other, only the keys they need; so they may go their ways, and be
//!   dropped one by one.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_query::Value;
use tokio::sync::OnceCell;

use crate::conf::FetchMode;
use crate::error::{Error, Kind, Result};
use crate::models::loader::{Found, Loader, Wanted, Way};
use crate::models::meta::Meta;
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::slot::{KeyName, RowMut};
use crate::models::sql::Plan;
use crate::site::Site;

impl<M: Model, R> QuerySet<M, R> {
    /// What reading a relation or a deferred field of one of the rows does that is not loaded,
    /// instead of what the setting `database.fetch_mode` says. Counts for the rows behind relations
    /// too.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// use hulse::models::FetchMode;
    /// # #[derive(Model, Clone)] struct User { id: Id, #[field(max_length = 9)] name: String }
    /// # #[derive(Model, Clone)] struct Post {
    /// #     id: Id, #[field(on_delete = cascade)] author: ForeignKey<User>,
    /// # }
    /// # async fn users(site: &Site) -> Result<()> {
    /// for post in Post::objects().fetch_mode(FetchMode::Peers).all(site).await? {
    ///     println!("{}", post.author.get(site).await?.name); // two queries in all
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fetch_mode(mut self, mode: FetchMode) -> Self {
        self.plan.fetch_mode = Some(mode);
        self
    }
}

/// The mode in force for a plan.
pub(in crate::models) fn of(plan: &Plan, site: &Site) -> FetchMode {
    plan.fetch_mode.unwrap_or_else(|| site.settings().fetch_mode())
}

/// One relation, or deferred field, of the rows of one answer.
pub struct Peers {
    meta: &'static Meta,
    name: &'static str,
    mode: FetchMode,
    /// The mode to go on with, if the query said one.
    said: Option<FetchMode>,
    /// What the relation needs of all rows, in mode `peers`.
    keys: Vec<Value>,
    /// One of the rows has asked already.
    asked: AtomicBool,
    found: OnceCell<Found>,
}

/// Tells the rows of one answer, and those read along with them, what to do for what is not
/// loaded.
pub(in crate::models) fn mark(plan: &Plan, rows: Vec<RowMut<'_>>, site: &Site) {
    let mode = of(plan, site);
    if mode == FetchMode::One {
        return;
    }
    let mut rows = rows;
    for along in &plan.related {
        let mut level: Vec<RowMut<'_>> = rows.iter_mut().map(|row| &mut **row).collect();
        for name in &along.names {
            let slots = level.into_iter().filter_map(|row| row.relation(name));
            level = slots.flat_map(|slot| slot.rows()).collect();
        }
        mark_level(mode, plan.fetch_mode, &mut level);
    }
    mark_level(mode, plan.fetch_mode, &mut rows);
}

fn mark_level(mode: FetchMode, said: Option<FetchMode>, rows: &mut [RowMut<'_>]) {
    let Some(meta) = rows.first().map(|row| row.description()) else { return };
    // One row alone is no loop.
    if rows.len() == 1 && mode != FetchMode::Raise {
        return;
    }
    let keys = meta.fields.iter().filter(|field| field.relation.is_some() || field.deferred);
    for name in keys.map(|field| field.name).chain(meta.many.iter().map(|many| many.name)) {
        let keys = if mode == FetchMode::Peers { missing(rows, name) } else { Vec::new() };
        let (asked, found) = (AtomicBool::new(false), OnceCell::new());
        let peers = Arc::new(Peers { meta, name, mode, said, keys, asked, found });
        for row in rows.iter_mut() {
            if let Some(slot) = row.relation(name)
                && !slot.is_loaded()
            {
                slot.join(&peers);
            }
        }
    }
}

/// The keys that the relation needs where it is not loaded.
fn missing(rows: &mut [RowMut<'_>], name: &str) -> Vec<Value> {
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    for row in rows.iter_mut() {
        let own = row.own_value();
        let Some(slot) = row.relation(name).filter(|slot| !slot.is_loaded()) else { continue };
        let Some(key) = slot.target().or(own) else { continue };
        if seen.insert(KeyName::of(&key)) {
            keys.push(key);
        }
    }
    keys
}

/// The places that were warned of.
#[derive(Default)]
struct Warned(Mutex<HashSet<(usize, &'static str)>>);

impl Peers {
    /// Of rows whose relation is known from the other side.
    pub(in crate::models) fn known(meta: &'static Meta, name: &'static str, found: Found) -> Self {
        let (mode, keys, asked) = (FetchMode::Peers, Vec::new(), AtomicBool::new(false));
        Self { meta, name, mode, said: None, keys, asked, found: OnceCell::from(found) }
    }

    /// What was found for all of the rows, or `None`: ask for the one.
    pub(in crate::models) async fn found(
        &self,
        loader: &dyn Loader,
        site: &Site,
    ) -> Result<Option<&Found>> {
        match self.mode {
            FetchMode::One => Ok(None),
            FetchMode::Log => {
                self.warn(site);
                Ok(None)
            }
            FetchMode::Raise => Err(Error::of(
                Kind::Field,
                format!("{} is not loaded, and the fetch mode is `raise`: {}", self, self.remedy()),
            )),
            FetchMode::Peers => {
                let found = self.found.get_or_try_init(async || {
                    let way = Way::of(self.meta, self.name)?;
                    let (keys, mode) = (self.keys.clone(), self.said);
                    let (behind, parents) = (Vec::new(), None);
                    let wanted = Wanted { way, keys, query: None, behind, mode, parents };
                    loader.load(wanted, site).await
                });
                found.await.map(Some)
            }
        }
    }

    /// Says so, once for each relation, when the second of the rows asks.
    fn warn(&self, site: &Site) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let warned = site.keep(|_| Warned::default());
        let place = (std::ptr::from_ref(self.meta).addr(), self.name);
        if !warned.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place) {
            return;
        }
        tracing::warn!("{self} is read row by row, a query each: {}", self.remedy());
    }

    fn remedy(&self) -> String {
        let letter = self.meta.model.chars().next().unwrap_or('m').to_ascii_lowercase();
        let is_many = self.meta.many.iter().any(|many| many.name == self.name && !many.is_one());
        let method = match self.meta.field(self.name) {
            Some(field) if field.deferred => "with_deferred",
            _ if is_many => "prefetch_related",
            _ => "select_related",
        };
        format!("add `{method}(|{letter}| {letter}.{}())` to the query", self.name)
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.meta.label(), self.name)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peers({self}, {:?})", self.mode)
    }
}
