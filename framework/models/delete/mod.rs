//! Deleting rows and what hangs on them, as the foreign keys say. The framework does it, not the
//! database, so that hooks run.
//!
//! Flow: rows that nobody must be called for go by statements alone ([`tree`]); else [`collect`]
//! finds the doomed, breadth first → `before_delete` and `PreDelete` of each → foreign keys that
//! are to point elsewhere → DELETE, those that point before those they point to → `PostDelete` and
//! `after_delete` of each → at the commit `after_commit`.
//!
//! Invariants:
//! - Whether a row is protected or restricted is known before the first hook is called.
//! - Rows of models without hooks and listeners are never loaded, at most their keys.
//! - Rows that point at each other in a circle need constraints that wait for the commit; those of
//!   our migrations do, except on MariaDB ([`circle`]).

mod circle;
mod collect;
mod refusal;
mod tree;

use std::collections::BTreeMap;

use sea_query::{Expr, ExprTrait, Query, Value};

use crate::db::{Row, Sql};
use crate::error::{Error, Result};
use crate::models::hooks::Change;
use crate::models::live::{Act, Live, Moment, Rows, is_observed, when_committed};
use crate::models::meta::{Field, Meta, OnDelete};
use crate::models::model::Model;
use crate::models::registry::{Registry, points_to};
use crate::models::sql::{Plan, Target};
use crate::site::Site;

pub use refusal::ProtectingRow;

use collect::Collected;
use tree::Tree;

/// Most keys in one statement; SQLite takes 32,766 values, PostgreSQL 65,535.
const KEYS_MAX: usize = 500;

/// What a delete has deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// How many rows, of all models.
    pub total: u64,
    /// How many of each model that lost any, by label (`blog.Post`).
    pub by_model: BTreeMap<String, u64>,
}

impl Deleted {
    fn add(&mut self, meta: &Meta, rows: u64) {
        if rows > 0 {
            self.total += rows;
            *self.by_model.entry(meta.label()).or_default() += rows;
        }
    }

    /// How many of the model called `label` (`blog.Post`).
    #[must_use]
    pub fn of(&self, label: &str) -> u64 {
        self.by_model.get(label).copied().unwrap_or_default()
    }
}

/// Deletes `row` and what hangs on it; its key is unset then.
///
/// # Errors
/// It has no key (`is_field`), is protected or restricted (`is_protected`, `is_restricted`), a hook
/// or receiver fails, or the database refuses.
pub async fn delete<M: Model>(row: &mut M, site: &Site) -> Result<Deleted> {
    let deleted = one(row, site).await?;
    row.unset_key();
    Ok(deleted)
}

/// Deletes a row, whatever its type.
pub(super) async fn one(row: &dyn Live, site: &Site) -> Result<Deleted> {
    let meta = row.meta();
    let Some(key) = row.key() else { return Err(Error::not_saved(meta, "deleted")) };
    if is_observed(meta, site, Act::Delete) {
        return collected(meta, vec![Doomed { key, live: Some(row.copy()) }], site).await;
    }
    let condition = Expr::col(meta.primary_key().column).eq(key.clone());
    match tree::plan(&Registry::of(site), meta, condition, site) {
        Some(tree) => by_statements(tree, site).await,
        None => collected(meta, vec![Doomed { key, live: None }], site).await,
    }
}

/// Deletes the rows of a query.
pub(super) async fn matching(plan: &Plan, site: &Site) -> Result<Deleted> {
    let (db, meta) = (site.db(), plan.meta);
    let target = Target::of(site);
    let registry = Registry::of(site);
    let load = loads(meta, site);
    if load.is_none() {
        let is_alone = registry.referring(meta).next().is_none();
        let condition = plan.condition(target, !is_alone)?;
        if let Some(tree) = condition.and_then(|it| tree::plan(&registry, meta, it, site)) {
            return by_statements(tree, site).await;
        }
    }
    let select = match load {
        Some(_) => plan.select(target)?,
        None => plan.select_keys(target)?,
    };
    let rows = db.fetch(select).await?;
    let doomed =
        rows.iter().map(|row| Doomed::read(meta, load, row)).collect::<Result<Vec<_>>>()?;
    drop(rows);
    collected(meta, doomed, site).await
}

/// A row that goes.
struct Doomed {
    key: Value,
    /// `Some` if its model has hooks or somebody listens.
    live: Option<Box<dyn Live>>,
}

impl Doomed {
    fn read(meta: &'static Meta, load: Option<Rows>, row: &Row) -> Result<Self> {
        let kind = meta.primary_key().kind;
        let Some(rows) = load else {
            return Ok(Self { key: kind.read(row, 0)?, live: None });
        };
        let key = meta.fields.iter().position(|field| field.primary_key).unwrap_or_default();
        Ok(Self { key: kind.read(row, key)?, live: Some((rows.read)(row, 0)?) })
    }
}

/// How to read rows of `meta`, if that must be done before they go.
fn loads(meta: &'static Meta, site: &Site) -> Option<Rows> {
    meta.rows.filter(|_| is_observed(meta, site, Act::Delete))
}

/// Deletes what needs no call: several statements are one transaction, a single one needs none.
async fn by_statements(tree: Tree, site: &Site) -> Result<Deleted> {
    if tree.is_one_statement() {
        return tree.run(site).await;
    }
    site.atomic(async |site| tree.run(&site).await).await
}

/// Deletes these rows and what [`collect`](collect::collect) finds to hang on them.
async fn collected(meta: &'static Meta, doomed: Vec<Doomed>, site: &Site) -> Result<Deleted> {
    if doomed.is_empty() {
        return Ok(Deleted::default());
    }
    site.atomic(async |site| within(meta, doomed, &site).await).await
}

async fn within(meta: &'static Meta, doomed: Vec<Doomed>, site: &Site) -> Result<Deleted> {
    let mut collected = collect::collect(meta, doomed, site).await?;
    for row in observed(&mut collected) {
        row.at(site, Moment::BeforeDelete).await?;
    }
    for change in &collected.changes {
        let column = change.field.column;
        for keys in change.keys.chunks(KEYS_MAX) {
            let these = Expr::col(column).is_in(keys.iter().cloned());
            repoint(change.meta, change.field, these, &change.to, site).await?;
        }
    }
    let mut deleted = Deleted::default();
    for tree in std::mem::take(&mut collected.trees) {
        tree.finish(&mut deleted, site).await?;
    }
    sort(&mut collected.doomed);
    circle::delete_all(&collected.doomed, &mut deleted, site).await?;
    for row in observed(&mut collected) {
        row.at(site, Moment::AfterDelete).await?;
    }
    for row in observed(&mut collected) {
        when_committed(row.as_ref(), site, Change::Deleted).await?;
    }
    Ok(deleted)
}

fn observed(collected: &mut Collected) -> impl Iterator<Item = &mut Box<dyn Live>> {
    collected.doomed.iter_mut().flat_map(|(_, rows)| rows).filter_map(|row| row.live.as_mut())
}

async fn delete_where(meta: &Meta, condition: Expr, site: &Site) -> Result<u64> {
    site.db().execute(statement(meta, condition, site)).await
}

fn statement(meta: &Meta, condition: Expr, site: &Site) -> Sql {
    let mut statement = Query::delete();
    statement.from_table(meta.table).and_where(condition);
    site.db().dialect().build(&statement)
}

/// Lets a foreign key of all rows of `condition` point to `to`.
async fn repoint(
    meta: &Meta,
    field: &Field,
    condition: Expr,
    to: &Value,
    site: &Site,
) -> Result<u64> {
    let mut statement = Query::update();
    statement.table(meta.table).value(field.column, to.clone()).and_where(condition);
    site.db().execute(site.db().dialect().build(&statement)).await
}

/// What the foreign key is to hold once the row it points to is gone.
async fn replacement(meta: &Meta, field: &Field, site: &Site) -> Result<Value> {
    let null = || field.kind.null();
    match field.relation.map(|relation| relation.on_delete) {
        Some(OnDelete::SetDefault) => match &field.default {
            Some(default) => field.kind.value_of(default).ok_or_else(|| {
                Error::field(meta, field, "has a default that is no key of the other model")
            }),
            None => Ok(null()),
        },
        Some(OnDelete::Set(to)) => Ok((to.0)(site).await?.unwrap_or_else(null)),
        _ => Ok(null()),
    }
}

/// Puts those that point before those they point to, and of one model those found last first: rows
/// of one model that point at each other go in one statement. A circle of several models goes in
/// any order.
fn sort(doomed: &mut Vec<(&'static Meta, Vec<Doomed>)>) {
    let mut merged: Vec<(&'static Meta, Vec<Doomed>)> = Vec::new();
    for (meta, rows) in doomed.drain(..).rev() {
        match merged.iter_mut().find(|(other, _)| std::ptr::eq(*other, meta)) {
            Some((_, all)) => all.extend(rows),
            None => merged.push((meta, rows)),
        }
    }
    while !merged.is_empty() {
        let free = merged.iter().position(|(meta, _)| {
            !merged.iter().any(|(other, _)| {
                !std::ptr::eq(*other, *meta)
                    && other.fields.iter().any(|field| points_to(field, meta))
            })
        });
        doomed.push(merged.remove(free.unwrap_or(0)));
    }
}
