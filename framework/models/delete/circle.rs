//! Deleting rows by their keys, also where they point at each other.
//!
//! On SQLite and PostgreSQL foreign keys are checked at the commit, so any order does. MariaDB
//! checks
//! each row: rows in a circle, or in a tree of one model, go in no order there. They go unchecked,
//! and then it is asked whether any row is left that points to them.
//!
//! That is safe: a deleted row stays locked until the commit, so who inserts one that points to it
//! waits, and is refused then; and who did so before has it seen by the question, which waits for
//! them.

use sea_query::{Expr, ExprTrait, LockType, Query, Value};

use super::{Deleted, Doomed, KEYS_MAX, delete_where, statement};
use crate::error::{Error, Kind, Result};
use crate::models::meta::{Field, Meta};
use crate::models::registry::{Registry, points_to};
use crate::site::Site;

/// Deletes all of these rows, in the order they are in.
pub(super) async fn delete_all(
    doomed: &[(&'static Meta, Vec<Doomed>)],
    deleted: &mut Deleted,
    site: &Site,
) -> Result<()> {
    let dialect = site.db().dialect();
    let is_unchecked = dialect.checks_each_row() && has_circle(doomed);
    for (meta, rows) in doomed {
        let column = meta.primary_key().column;
        for keys in chunks(rows) {
            let these = Expr::col(column).is_in(keys);
            let gone = if is_unchecked {
                site.db().execute(statement(meta, these, site).unchecked(dialect)).await?
            } else {
                delete_where(meta, these, site).await?
            };
            deleted.add(meta, gone);
        }
    }
    if !is_unchecked {
        return Ok(());
    }
    let registry = Registry::of(site);
    for (meta, rows) in doomed {
        for (other, field) in registry.referring(meta) {
            for keys in chunks(rows) {
                is_free(other, field, keys, site).await?;
            }
        }
    }
    Ok(())
}

fn chunks(rows: &[Doomed]) -> impl Iterator<Item = Vec<Value>> {
    rows.chunks(KEYS_MAX).map(|rows| rows.iter().map(|row| row.key.clone()).collect())
}

/// Whether a model points to itself, or to one whose rows are deleted before its own.
fn has_circle(doomed: &[(&'static Meta, Vec<Doomed>)]) -> bool {
    doomed.iter().enumerate().any(|(at, (meta, _))| {
        let before = || doomed[..=at].iter().map(|(before, _)| before);
        meta.fields.iter().any(|field| before().any(|before| points_to(field, before)))
    })
}

/// An error if a row is left whose `field` holds one of the keys.
async fn is_free(meta: &Meta, field: &Field, keys: Vec<Value>, site: &Site) -> Result<()> {
    let mut select = Query::select();
    select.from(meta.table).column(meta.primary_key().column).limit(1);
    select.and_where(Expr::col(field.column).is_in(keys)).lock(LockType::Share);
    let db = site.db();
    if db.fetch_writing(db.dialect().build(&select)).await?.is_empty() {
        return Ok(());
    }
    let words = format!("{} of {} still points to a deleted row", field.name, meta.label());
    Err(Error::of(Kind::Integrity, words))
}
