//! Finding the rows that go with others, when some of them must be called.

use std::collections::{HashSet, VecDeque};

use sea_query::{Expr, ExprTrait, Query, Value};

use super::refusal::{Refusal, Why};
use super::tree::{self, Tree};
use super::{Doomed, KEYS_MAX, loads, replacement};
use crate::error::Result;
use crate::models::deferred;
use crate::models::error::plain;
use crate::models::meta::{Field, Meta, OnDelete};
use crate::models::registry::Registry;
use crate::site::Site;

/// Everything that one delete does.
#[derive(Default)]
pub(super) struct Collected {
    /// The rows that go, by model; while collecting a model may come more than once.
    pub(super) doomed: Vec<(&'static Meta, Vec<Doomed>)>,
    /// The foreign keys that are to point elsewhere.
    pub(super) changes: Vec<Repointed>,
    /// What hangs on them and needs no call.
    pub(super) trees: Vec<Tree>,
}

/// A foreign key that is to point elsewhere wherever it holds one of the keys.
pub(super) struct Repointed {
    pub(super) meta: &'static Meta,
    pub(super) field: &'static Field,
    pub(super) to: Value,
    pub(super) keys: Vec<Value>,
}

/// One of the collector's steps: rows of a model that go.
struct Collector<'a> {
    registry: &'a Registry,
    site: &'a Site,
    collected: Collected,
    /// Model and key of every row that goes.
    seen: HashSet<(&'static str, String)>,
    queue: VecDeque<(&'static Meta, Vec<Doomed>)>,
    refusal: Refusal,
}

/// Finds all rows that go with the first ones, and those that are to point elsewhere.
///
/// # Errors
/// A row is protected or restricted; the database refuses.
pub(super) async fn collect(
    meta: &'static Meta,
    mut first: Vec<Doomed>,
    site: &Site,
) -> Result<Collected> {
    let registry = Registry::of(site);
    // A join finds a row as often as there are rows behind it.
    let mut seen = HashSet::new();
    first.retain(|row| seen.insert(name(meta, &row.key)));
    let mut collector = Collector {
        registry: &registry,
        site,
        collected: Collected::default(),
        seen,
        queue: VecDeque::from([(meta, first)]),
        refusal: Refusal::new(meta),
    };
    while let Some((meta, rows)) = collector.queue.pop_front() {
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        collector.collected.doomed.push((meta, rows));
        for (other, field) in registry.referring(meta) {
            collector.follow(other, field, &keys).await?;
        }
    }
    let Collector { collected, mut refusal, seen, .. } = collector;
    refusal.forgive(|meta, key| seen.contains(&name(meta, key)));
    for tree in &collected.trees {
        tree.ask(&mut refusal, site).await?;
    }
    refusal.into_result()?;
    Ok(collected)
}

impl Collector<'_> {
    /// Does what `field` of `other` says of rows that lose what they point to.
    async fn follow(
        &mut self,
        other: &'static Meta,
        field: &'static Field,
        keys: &[Value],
    ) -> Result<()> {
        let Some(relation) = field.relation else { return Ok(()) };
        match relation.on_delete {
            OnDelete::Cascade => self.cascade(other, field, keys).await,
            OnDelete::Protect | OnDelete::Restrict => {
                let is_protect = relation.on_delete == OnDelete::Protect;
                let why = if is_protect { Why::Protected } else { Why::Restricted };
                for keys in keys.chunks(KEYS_MAX) {
                    let these = Expr::col(field.column).is_in(keys.iter().cloned());
                    for key in keys_of(other, these, None, self.site).await? {
                        self.refusal.add(why, other, field, key);
                    }
                }
                Ok(())
            }
            OnDelete::SetNull | OnDelete::SetDefault | OnDelete::Set(_) => {
                if self.is_pointed_at(other, field, keys).await? {
                    let to = replacement(other, field, self.site).await?;
                    let keys = keys.to_vec();
                    self.collected.changes.push(Repointed { meta: other, field, to, keys });
                }
                Ok(())
            }
            OnDelete::DoNothing => Ok(()),
        }
    }

    async fn cascade(
        &mut self,
        other: &'static Meta,
        field: &'static Field,
        keys: &[Value],
    ) -> Result<()> {
        for keys in keys.chunks(KEYS_MAX) {
            let these = Expr::col(field.column).is_in(keys.iter().cloned());
            // Rows that restrict may go by statements that only run later.
            if !self.registry.has_restrictions()
                && let Some(tree) = tree::plan(self.registry, other, these.clone(), self.site)
            {
                self.collected.trees.push(tree);
                continue;
            }
            let mut more = rows_of(other, these, self.site).await?;
            more.retain(|row| self.seen.insert(name(other, &row.key)));
            if !more.is_empty() {
                self.queue.push_back((other, more));
            }
        }
        Ok(())
    }

    async fn is_pointed_at(&self, meta: &Meta, field: &Field, keys: &[Value]) -> Result<bool> {
        for keys in keys.chunks(KEYS_MAX) {
            let these = Expr::col(field.column).is_in(keys.iter().cloned());
            if !keys_of(meta, these, Some(1), self.site).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Tells rows apart; keys have no hash of their own.
fn name(meta: &Meta, key: &Value) -> (&'static str, String) {
    (meta.table, plain(key))
}

/// The rows of `condition`, as much of them as must be known.
async fn rows_of(meta: &'static Meta, condition: Expr, site: &Site) -> Result<Vec<Doomed>> {
    let (db, load) = (site.db(), loads(meta, site));
    let mut select = Query::select();
    select.from(meta.table).and_where(condition);
    if load.is_some() {
        deferred::select_row(&mut select, meta);
    } else {
        select.column(meta.primary_key().column);
    }
    let rows = db.fetch(db.dialect().build(&select)).await?;
    rows.iter().map(|row| Doomed::read(meta, load, row)).collect()
}

/// The keys of the rows of `condition`.
pub(super) async fn keys_of(
    meta: &Meta,
    condition: Expr,
    most: Option<u64>,
    site: &Site,
) -> Result<Vec<Value>> {
    let db = site.db();
    let mut select = Query::select();
    select.from(meta.table).column(meta.primary_key().column).and_where(condition);
    if let Some(most) = most {
        select.limit(most);
    }
    let rows = db.fetch(db.dialect().build(&select)).await?;
    rows.iter().map(|row| meta.primary_key().kind.read(row, 0)).collect()
}
