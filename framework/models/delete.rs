//! Deleting rows and what hangs on them, as the foreign keys say. The framework does it, not the
//! database, so that hooks run.
//!
//! Flow: [`collect`] the doomed rows, breadth first → `before_delete` of each → NULLs → DELETE,
//! those that point before those they point to → `after_delete` → at the commit `after_commit`.

use std::collections::{HashSet, VecDeque};

use sea_query::{Expr, ExprTrait, Query, Value};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::error::plain;
use crate::models::hooks::Change;
use crate::models::live::{Act, Live, Moment, Rows, is_observed, when_committed};
use crate::models::meta::{Field, Meta, OnDelete};
use crate::models::model::Model;
use crate::models::registry::{Registry, points_to};
use crate::models::sql::Plan;
use crate::site::Site;

/// Most keys in one statement; SQLite takes 32,766 values, PostgreSQL 65,535.
const KEYS_MAX: usize = 500;

/// Most protecting rows that an error names.
const NAMED_MAX: usize = 5;

/// Deletes `row` and what hangs on it; its key is unset then.
///
/// # Errors
/// It has no key (`is_field`), is protected (`is_protected`), a hook fails, or the database
/// refuses.
pub async fn delete<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    let meta = M::meta();
    let Some(key) = row.key() else { return Err(Error::not_saved(meta, "deleted")) };
    let instance: Option<Box<dyn Live>> =
        if is_observed(meta, site, Act::Delete) { Some(Box::new(row.clone())) } else { None };
    run(meta, vec![Doomed { key, instance }], site).await?;
    row.unset_key();
    Ok(())
}

/// Deletes the rows of a query.
pub(super) async fn matching(plan: &Plan, site: &Site) -> Result<u64> {
    let (db, meta) = (site.db(), plan.meta);
    let dialect = db.dialect();
    let load = loads(meta, site);
    if load.is_none() && Registry::of(site).referring(meta).next().is_none() {
        let mut statement = Query::delete();
        statement.from_table(meta.table).and_where(plan.filter(dialect));
        return db.execute(dialect.build(&statement)).await;
    }
    let select = match load {
        Some(_) => plan.select(dialect),
        None => plan.select_keys(dialect),
    };
    let rows = db.fetch(dialect.build(&select)).await?;
    let doomed =
        rows.iter().map(|row| Doomed::read(meta, load, row)).collect::<Result<Vec<_>>>()?;
    run(meta, doomed, site).await
}

/// A row that goes.
struct Doomed {
    key: Value,
    /// `Some` if its model has hooks or somebody listens.
    instance: Option<Box<dyn Live>>,
}

impl Doomed {
    fn read(meta: &'static Meta, load: Option<Rows>, row: &Row) -> Result<Self> {
        let key = meta.fields.iter().position(|field| field.primary_key).unwrap_or_default();
        let Some(rows) = load else {
            return Ok(Self { key: meta.primary_key().kind.read(row, 0)?, instance: None });
        };
        Ok(Self {
            key: meta.primary_key().kind.read(row, key)?,
            instance: Some((rows.read)(row, 0)?),
        })
    }
}

/// How to read rows of `meta`, if that must be done before they go.
fn loads(meta: &'static Meta, site: &Site) -> Option<Rows> {
    meta.rows.filter(|_| is_observed(meta, site, Act::Delete))
}

/// Everything that one delete does.
#[derive(Default)]
struct Collected {
    /// The rows that go, by model; while collecting a model may come more than once.
    doomed: Vec<(&'static Meta, Vec<Doomed>)>,
    /// The foreign keys that become NULL: the field, and the keys it must not point to.
    nulls: Vec<(&'static Meta, &'static Field, Vec<Value>)>,
}

async fn run(meta: &'static Meta, doomed: Vec<Doomed>, site: &Site) -> Result<u64> {
    let registry = Registry::of(site);
    if registry.referring(meta).next().is_none() && loads(meta, site).is_none() {
        return within(&registry, meta, doomed, site).await;
    }
    site.atomic(async |site| within(&registry, meta, doomed, &site).await).await
}

async fn within(
    registry: &Registry,
    meta: &'static Meta,
    doomed: Vec<Doomed>,
    site: &Site,
) -> Result<u64> {
    let mut collected = collect(registry, meta, doomed, site).await?;
    for row in instances(&mut collected) {
        row.at(site, Moment::BeforeDelete).await?;
    }
    for (meta, field, keys) in &collected.nulls {
        for keys in keys.chunks(KEYS_MAX) {
            let mut statement = Query::update();
            let column = Expr::col(field.column);
            statement.table(meta.table).value(field.column, null(keys));
            statement.and_where(column.is_in(keys.iter().cloned()));
            site.db().execute(site.db().dialect().build(&statement)).await?;
        }
    }
    sort(&mut collected.doomed);
    let mut count = 0;
    for (meta, rows) in &collected.doomed {
        let column = meta.primary_key().column;
        for rows in rows.chunks(KEYS_MAX) {
            let keys = rows.iter().map(|row| row.key.clone());
            let mut statement = Query::delete();
            statement.from_table(meta.table).and_where(Expr::col(column).is_in(keys));
            count += site.db().execute(site.db().dialect().build(&statement)).await?;
        }
    }
    for row in instances(&mut collected) {
        row.at(site, Moment::AfterDelete).await?;
    }
    for row in collected.doomed.into_iter().flat_map(|(_, rows)| rows) {
        if let Some(row) = row.instance {
            when_committed(row.as_ref(), site, Change::Deleted).await?;
        }
    }
    Ok(count)
}

fn instances(collected: &mut Collected) -> impl Iterator<Item = &mut Box<dyn Live>> {
    collected.doomed.iter_mut().flat_map(|(_, rows)| rows).filter_map(|row| row.instance.as_mut())
}

/// NULL of the type of these keys.
fn null(keys: &[Value]) -> Value {
    keys.first().map_or(Value::BigInt(None), Value::as_null)
}

/// Finds all rows that go with the first ones, and those that are to point nowhere.
async fn collect(
    registry: &Registry,
    meta: &'static Meta,
    first: Vec<Doomed>,
    site: &Site,
) -> Result<Collected> {
    let mut collected = Collected::default();
    let mut seen = HashSet::new();
    seen.extend(first.iter().map(|row| name(meta, &row.key)));
    let mut queue = VecDeque::from([(meta, first)]);
    while let Some((meta, rows)) = queue.pop_front() {
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        collected.doomed.push((meta, rows));
        for (other, field) in registry.referring(meta) {
            let Some(relation) = field.relation else { continue };
            match relation.on_delete {
                OnDelete::Cascade => {
                    let mut more = pointing(other, field, &keys, site).await?;
                    more.retain(|row| seen.insert(name(other, &row.key)));
                    if !more.is_empty() {
                        queue.push_back((other, more));
                    }
                }
                OnDelete::Protect => {
                    let refer = pointing(other, field, &keys, site).await?;
                    if !refer.is_empty() {
                        return Err(protected(meta, other, field, &refer));
                    }
                }
                OnDelete::SetNull => collected.nulls.push((other, field, keys.clone())),
                OnDelete::DoNothing => {}
            }
        }
    }
    Ok(collected)
}

/// Tells rows apart; keys have no hash of their own.
fn name(meta: &Meta, key: &Value) -> String {
    format!("{} {key:?}", meta.table)
}

/// The rows of `meta` whose `field` points to one of `keys`.
async fn pointing(
    meta: &'static Meta,
    field: &Field,
    keys: &[Value],
    site: &Site,
) -> Result<Vec<Doomed>> {
    let (db, load) = (site.db(), loads(meta, site));
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS_MAX) {
        let mut select = Query::select();
        select.from(meta.table).and_where(Expr::col(field.column).is_in(keys.iter().cloned()));
        if load.is_some() {
            select.columns(meta.fields.iter().map(|field| field.column));
        } else {
            select.column(meta.primary_key().column);
        }
        for row in db.fetch(db.dialect().build(&select)).await? {
            found.push(Doomed::read(meta, load, &row)?);
        }
    }
    Ok(found)
}

fn protected(meta: &Meta, by: &Meta, field: &Field, rows: &[Doomed]) -> Error {
    let keys: Vec<_> = rows.iter().take(NAMED_MAX).map(|row| plain(&row.key)).collect();
    let more = if rows.len() > NAMED_MAX { ", .." } else { "" };
    let words = format!(
        "cannot delete {}: {} of {} protects it, with {} {}{more}",
        meta.label(),
        field.name,
        by.label(),
        by.primary_key().name,
        keys.join(", ")
    );
    Error::of(Kind::Protected, words)
}

/// Puts those that point before those they point to, and of one model those found last first: rows
/// of one model that point at each other go in one statement. A circle of several models goes in
/// any order; that takes constraints that wait for the commit.
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
