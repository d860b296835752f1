//! Many rows at once: statements with thousands of rows instead of thousands of statements.
//!
//! Flow: rows → checked one by one → batches that fit the database's limit of values → one INSERT
//! or UPDATE each, all in one transaction.
//!
//! Invariants:
//! - No hook is called and no signal sent, as in Django; `auto_now` and `auto_now_add` are set by
//!   `bulk_create` only.
//! - An error of a row names its number, from 0.

use std::fmt;

use chrono::{SubsecRound, Utc};
use sea_query::{Alias, Expr, ExprTrait, IntoIden, Query, TableRef, Value, ValueTuple};

use crate::db::{Dialect, Row};
use crate::error::{Error, Kind, Result};
use crate::models::fields::{FieldList, Fields};
use crate::models::live::Live;
use crate::models::meta::{Field, FieldKind, Meta};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::save::{MICROSECONDS, check};
use crate::models::sql::{Insert, Meeting};
use crate::site::Site;

/// Most rows of a statement unless a batch size is given: more save nothing.
pub(crate) const BATCH_ROWS: usize = 1000;

/// How [`QuerySet::bulk_create`] goes about it.
pub struct Bulk<M> {
    /// Most rows of one statement; the database's limit of values may make it fewer.
    pub batch_size: usize,
    /// What is done with a row that another one already stands in the way of.
    pub conflicts: Conflicts<M>,
}

/// What is done with a row that breaks a unique constraint.
pub enum Conflicts<M> {
    /// It is an error, and no row is written.
    Refuse,
    /// It is left out. No row gets its key then: the database does not say which were written.
    Ignore,
    /// The row that is there is updated.
    Update {
        /// The unique fields in which they meet. MariaDB cannot be told: there a row that is the
        /// same in any key or unique constraint is updated, also one these fields do not name.
        unique: Fields<M>,
        /// What is taken over from the new row.
        set: Fields<M>,
    },
}

impl<M: Model> Conflicts<M> {
    /// Updates `set` of the row that has the same `unique` fields (on MariaDB the same key, or the
    /// same fields of any unique constraint):
    /// `Conflicts::<Ticket>::update(|t| t.code(), |t| (t.seats(), t.price()))`.
    #[must_use]
    pub fn update<U: FieldList, S: FieldList>(
        unique: impl FnOnce(&M::Columns) -> U,
        set: impl FnOnce(&M::Columns) -> S,
    ) -> Self {
        Self::Update { unique: Fields::new(unique), set: Fields::new(set) }
    }
}

impl<M> Default for Bulk<M> {
    fn default() -> Self {
        Self { batch_size: BATCH_ROWS, conflicts: Conflicts::Refuse }
    }
}

impl<M> fmt::Debug for Bulk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").field("batch_size", &self.batch_size).finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Conflicts<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("Refuse"),
            Self::Ignore => f.write_str("Ignore"),
            Self::Update { unique, set } => write!(f, "Update {set:?} where {unique:?}"),
        }
    }
}

impl<M: Model> QuerySet<M> {
    /// Writes `rows` as new ones, all or none, and returns them with their keys. No hook is called
    /// and no signal sent.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # use hulse::models::{Bulk, Conflicts};
    /// # #[derive(Model, Clone, Debug)]
    /// # struct Ticket { id: Id, #[field(max_length = 9, unique)] code: String, seats: i64 }
    /// # async fn example(site: &Site, rows: Vec<Ticket>) -> Result<()> {
    /// let conflicts = Conflicts::<Ticket>::update(|t| t.code(), |t| t.seats());
    /// let rows = Ticket::objects().bulk_create(site, rows, Bulk { conflicts, ..Bulk::default() });
    /// assert!(rows.await?.iter().all(|ticket| ticket.id.is_set()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A field is unset or does not fit (`is_field`), named with the row's number; a constraint
    /// refuses a row (`is_integrity`); the database cannot be reached. On PostgreSQL two of `rows`
    /// must not update the same row.
    pub async fn bulk_create(self, site: &Site, rows: Vec<M>, bulk: Bulk<M>) -> Result<Vec<M>> {
        let conflicts = match &bulk.conflicts {
            Conflicts::Refuse => Meeting::Refuse,
            Conflicts::Ignore => Meeting::Ignore,
            Conflicts::Update { unique, set } => {
                Meeting::Update { unique: unique.own()?, set: set.written()? }
            }
        };
        let mut rows = rows;
        let live = rows.iter_mut().map(|row| row as &mut dyn Live).collect();
        create(M::meta(), live, (bulk.batch_size, &conflicts), site).await?;
        Ok(rows)
    }

    /// Writes the named fields of `rows`, which are there, and returns how many were. No hook is
    /// called, no signal sent, no `auto_now` set. Each row must be given once.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # #[derive(Model, Clone, Debug)]
    /// # struct Ticket { id: Id, #[field(max_length = 9, unique)] code: String, seats: i64 }
    /// # async fn example(site: &Site, mut rows: Vec<Ticket>) -> Result<()> {
    /// rows.iter_mut().for_each(|ticket| ticket.seats += 1);
    /// Ticket::objects().bulk_update(site, &rows, |t| t.seats()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A row has no key or a value does not fit (`is_field`), named with the row's number; a
    /// constraint refuses a row (`is_integrity`); the database cannot be reached.
    pub async fn bulk_update<L: FieldList>(
        self,
        site: &Site,
        rows: &[M],
        fields: impl FnOnce(&M::Columns) -> L,
    ) -> Result<u64> {
        let fields = Fields::<M>::new(fields).written()?;
        let live: Vec<_> = rows.iter().map(|row| row as &dyn Live).collect();
        update(M::meta(), &live, &fields, site).await
    }
}

/// How many rows of `columns` values go into one statement.
pub(crate) fn batch_rows(dialect: Dialect, columns: usize, most: usize) -> usize {
    let values = match dialect {
        // SQLITE_MAX_VARIABLE_NUMBER since 3.32.
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => 32_766,
        // The protocol counts them in 16 bits.
        #[cfg(feature = "postgres")]
        Dialect::Postgres => 65_535,
        #[cfg(feature = "mysql")]
        Dialect::Mysql => 65_535,
    };
    (values / columns.max(1)).min(most).max(1)
}

async fn create(
    meta: &'static Meta,
    rows: Vec<&mut dyn Live>,
    (most, conflicts): (usize, &Meeting),
    site: &Site,
) -> Result<()> {
    let now = Utc::now().trunc_subsecs(MICROSECONDS);
    // Those whose key the database counts up, and those that have one.
    let (mut fresh, mut keyed) = (Vec::new(), Vec::new());
    for (number, row) in rows.into_iter().enumerate() {
        row.set_times(now, true);
        let is_fresh = meta.primary_key().kind == FieldKind::BigAuto && row.key().is_none();
        if is_fresh { fresh.push((number, row)) } else { keyed.push((number, row)) }
    }
    let batch = batch_rows(site.db().dialect(), meta.fields.len(), most);
    let statements = fresh.len().div_ceil(batch) + keyed.len().div_ceil(batch);
    let mut work = async |site: &Site| {
        for rows in keyed.chunks_mut(batch) {
            insert(meta, checked(meta, rows, site)?, (conflicts, false), site).await?;
        }
        for rows in fresh.chunks_mut(batch) {
            let keys = insert(meta, checked(meta, rows, site)?, (conflicts, true), site).await?;
            take_keys(meta, rows, (keys, site.db().dialect()), conflicts)?;
        }
        Ok(())
    };
    if statements > 1 {
        site.atomic(async |site| work(&site).await).await
    } else {
        work(site).await
    }
}

fn take_keys(
    meta: &Meta,
    rows: &mut [(usize, &mut dyn Live)],
    (keys, dialect): (Vec<Row>, Dialect),
    conflicts: &Meeting,
) -> Result<()> {
    if matches!(conflicts, Meeting::Ignore) {
        return Ok(());
    }
    if rows.len() != keys.len() {
        let words = format!(
            "{} rows of {} were written, but the database gave {} keys",
            rows.len(),
            meta.label(),
            keys.len()
        );
        return Err(Error::of(Kind::Database, words));
    }
    // Rows that are updated keep their keys: they stay as answered, in the order of VALUES.
    let keys = if matches!(conflicts, Meeting::Refuse) { counted(keys, dialect) } else { keys };
    rows.iter_mut().zip(&keys).try_for_each(|((_, row), key)| row.take_key(key, 0))
}

/// Keys just counted up, in the order of VALUES. PostgreSQL and MariaDB answer in it. SQLite says
/// that its order is arbitrary (<https://sqlite.org/lang_returning.html>, 3.3), but each new row
/// gets a greater key than the one before it (<https://sqlite.org/autoinc.html>).
fn counted(keys: Vec<Row>, dialect: Dialect) -> Vec<Row> {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            let mut keys = keys;
            keys.sort_by_cached_key(|key| key.get::<i64>(0).ok());
            keys
        }
        #[cfg(any(feature = "postgres", feature = "mysql"))]
        _ => keys,
    }
}

/// The values of rows that may be stored, row after row, without the keys still to be counted up.
fn checked(meta: &Meta, rows: &[(usize, &mut dyn Live)], site: &Site) -> Result<Vec<Value>> {
    let mut values = Vec::with_capacity(meta.fields.len() * rows.len());
    for (number, row) in rows {
        for (field, value) in meta.fields.iter().zip(row.values()) {
            if field.kind == FieldKind::BigAuto && value.is_none() {
                continue;
            }
            let value = check(meta, field, value, site);
            values.push(value.map_err(|error| numbered(error, *number))?);
        }
    }
    Ok(values)
}

fn numbered(error: Error, number: usize) -> Error {
    error.context(format!("row {number}"))
}

/// One INSERT of rows whose values stand one row after the other; the keys that the database gives
/// if they are `fresh`, and have none among their values.
pub(crate) async fn insert(
    meta: &'static Meta,
    values: Vec<Value>,
    (conflicts, is_fresh): (&Meeting, bool),
    site: &Site,
) -> Result<Vec<Row>> {
    let is_left_out = |field: &Field| is_fresh && field.kind == FieldKind::BigAuto;
    let fields: Vec<_> = meta.fields.iter().filter(|field| !is_left_out(field)).collect();
    let db = site.db();
    let mut sql = Insert { meta, fields: &fields, values, conflicts }.sql(db.dialect());
    if is_fresh && !matches!(conflicts, Meeting::Ignore) {
        sql.push_returning(meta.primary_key().column);
        return db.fetch_writing(sql).await;
    }
    db.execute(sql).await?;
    Ok(Vec::new())
}

async fn update(
    meta: &'static Meta,
    rows: &[&dyn Live],
    fields: &[&'static Field],
    site: &Site,
) -> Result<u64> {
    if rows.is_empty() || fields.is_empty() {
        return Ok(0);
    }
    let batch = batch_rows(site.db().dialect(), fields.len() + 1, BATCH_ROWS);
    let places: Vec<_> = fields
        .iter()
        .filter_map(|field| meta.fields.iter().position(|other| other.name == field.name))
        .collect();
    let work = async |site: &Site| {
        let mut touched = 0;
        for (at, rows) in rows.chunks(batch).enumerate() {
            let mut tuples = Vec::with_capacity(rows.len());
            for (number, row) in rows.iter().enumerate() {
                let tuple = tuple(meta, *row, &places, site);
                tuples.push(tuple.map_err(|error| numbered(error, at * batch + number))?);
            }
            touched += update_batch(meta, fields, tuples, site).await?;
        }
        Ok(touched)
    };
    if rows.len() > batch {
        site.atomic(async |site| work(&site).await).await
    } else {
        work(site).await
    }
}

/// Its key, and the values at these places.
fn tuple(meta: &Meta, row: &dyn Live, places: &[usize], site: &Site) -> Result<ValueTuple> {
    let key = row.key().ok_or_else(|| Error::not_saved(meta, "updated"))?;
    let mut values = row.values();
    let mut tuple = vec![key];
    for &place in places {
        tuple.push(check(meta, &meta.fields[place], values[place].take(), site)?);
    }
    Ok(ValueTuple::Many(tuple))
}

/// `UPDATE post SET title = rows.column2 FROM (VALUES (1, 'a'), (2, 'b')) AS rows WHERE id =
/// rows.column1`; both databases name the columns of VALUES so.
async fn update_batch(
    meta: &Meta,
    fields: &[&'static Field],
    tuples: Vec<ValueTuple>,
    site: &Site,
) -> Result<u64> {
    let db = site.db();
    #[cfg(feature = "mysql")]
    if db.dialect() == Dialect::Mysql {
        return db.execute(joined(meta, fields, tuples)).await;
    }
    let rows = Alias::new("rows");
    let mut statement = Query::update();
    statement.table(meta.table).from(TableRef::ValuesList(tuples, rows.clone().into_iden()));
    for (at, field) in fields.iter().enumerate() {
        let column = Alias::new(format!("column{}", at + 2));
        statement.value(field.column, Expr::col((rows.clone(), column)));
    }
    let key = Expr::col((meta.table, meta.primary_key().column));
    statement.and_where(key.equals((rows, Alias::new("column1"))));
    db.execute(db.dialect().build(&statement)).await
}

/// The same for MariaDB, which has no UPDATE .. FROM, and gives bound values in VALUES the types
/// and lengths of the first row's.
#[cfg(feature = "mysql")]
fn joined(meta: &Meta, fields: &[&'static Field], tuples: Vec<ValueTuple>) -> crate::db::Sql {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let table = quoted(meta.table);
    let names: Vec<_> = (1..=fields.len() + 1).map(|at| format!("? AS column{at}")).collect();
    let more = format!(" UNION ALL SELECT {}", vec!["?"; names.len()].join(", "));
    let mut text = format!("UPDATE {table} JOIN (SELECT {}", names.join(", "));
    text.extend(std::iter::repeat_n(more.as_str(), tuples.len() - 1));
    let key = quoted(meta.primary_key().column);
    text.push_str(&format!(") AS \"rows\" ON {table}.{key} = \"rows\".column1 SET "));
    for (at, field) in fields.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let column = quoted(field.column);
        text.push_str(&format!("{comma}{table}.{column} = \"rows\".column{}", at + 2));
    }
    let values = tuples.into_iter().flatten().collect();
    crate::db::Sql { text, values: sea_query::Values(values) }
}
