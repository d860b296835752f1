//! Saving one row: hooks around an INSERT or UPDATE.
//!
//! Flow: `before_save` → checks → UPDATE if there is a key, INSERT if that touched nothing →
//! `after_save` → at the commit `after_commit`.

use chrono::{SubsecRound, Utc};
use sea_query::{Expr, ExprTrait, Query, Value};

use crate::error::Error;
use crate::error::Result;
use crate::models::hooks::Change;
use crate::models::meta::{Field, FieldKind, Meta};
use crate::models::model::Model;
use crate::site::Site;

/// Digits of a second that both databases keep.
const MICROSECONDS: u16 = 6;

/// Writes `row`: a new one is inserted and gets its key, another is updated. A row with a key of
/// its own choice is updated if it is there, else inserted.
///
/// # Errors
/// A field is unset or does not fit (`is_field`), a constraint refuses the row (`is_integrity`), a
/// hook fails, or the database cannot be reached.
pub async fn save<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    if !M::HOOKS {
        return write(row, site, false).await.map(drop);
    }
    in_transaction(row, site, false).await
}

/// Writes `row` as a new one, and returns it with its key.
///
/// # Errors
/// As [`save`].
pub async fn create<M: Model>(site: &Site, mut row: M) -> Result<M> {
    if M::HOOKS {
        in_transaction(&mut row, site, true).await?;
    } else {
        write(&mut row, site, true).await?;
    }
    Ok(row)
}

/// A hook that fails must undo the save, so there is a transaction around both.
async fn in_transaction<M: Model>(row: &mut M, site: &Site, new: bool) -> Result<()> {
    if site.in_transaction() {
        return with_hooks(row, site, new).await;
    }
    site.atomic(async |site| with_hooks(row, &site, new).await).await
}

async fn with_hooks<M: Model>(row: &mut M, site: &Site, new: bool) -> Result<()> {
    row.before_save(site).await?;
    let change = write(row, site, new).await?;
    row.after_save(site, change).await?;
    let saved = row.clone();
    site.on_commit(move |site| async move { saved.after_commit(&site, change).await }).await
}

async fn write<M: Model>(row: &mut M, site: &Site, new: bool) -> Result<Change> {
    let meta = M::meta();
    let now = Utc::now().trunc_subsecs(MICROSECONDS);
    if let Some(key) = row.key().filter(|_| !new) {
        row.set_times(now, false);
        if update(meta, key, row.values(), site).await? {
            return Ok(Change::Updated);
        }
    }
    row.set_times(now, true);
    insert(row, meta, site).await?;
    Ok(Change::Created)
}

/// Whether there was such a row.
async fn update(
    meta: &'static Meta,
    key: Value,
    values: Vec<Option<Value>>,
    site: &Site,
) -> Result<bool> {
    let primary_key = meta.primary_key();
    let mut statement = Query::update();
    statement.table(meta.table).and_where(Expr::col(primary_key.column).eq(key.clone()));
    let mut empty = true;
    for (field, value) in meta.fields.iter().zip(values) {
        let value = check(meta, field, value)?;
        if !field.primary_key {
            statement.value(field.column, value);
            empty = false;
        }
    }
    if empty {
        // Nothing but a key: an update that changes nothing still tells whether it is there.
        statement.value(primary_key.column, key);
    }
    let db = site.db();
    Ok(db.execute(db.dialect().build(&statement)).await? > 0)
}

async fn insert<M: Model>(row: &mut M, meta: &'static Meta, site: &Site) -> Result<()> {
    let mut statement = Query::insert();
    statement.into_table(meta.table);
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    let mut counted_up = false;
    for (field, value) in meta.fields.iter().zip(row.values()) {
        if field.kind == FieldKind::BigAuto && value.is_none() {
            counted_up = true;
            continue;
        }
        columns.push(field.column);
        values.push(Expr::val(check(meta, field, value)?));
    }
    if columns.is_empty() {
        statement.or_default_values();
    } else {
        statement.columns(columns).values_panic(values);
    }
    let db = site.db();
    if !counted_up {
        return db.execute(db.dialect().build(&statement)).await.map(drop);
    }
    statement.returning_col(meta.primary_key().column);
    let rows = db.fetch_writing(db.dialect().build(&statement)).await?;
    let [given] = rows.as_slice() else { return Err(Error::does_not_exist(meta)) };
    row.read_key(given, 0)
}

/// The value if it may be stored. The database would not say it as well, and SQLite not at all.
pub(super) fn check(meta: &Meta, field: &Field, value: Option<Value>) -> Result<Value> {
    let Some(value) = value else {
        let why = match field.relation {
            Some(relation) => format!(
                "is not set: it needs a saved {}, as in `{}: (&row).into()`",
                (relation.to)().label(),
                field.name
            ),
            None => "is not set".to_owned(),
        };
        return Err(Error::field(meta, field, why));
    };
    if let (Some(most), Value::String(Some(text))) = (field.max_length, &value) {
        let length = text.chars().count();
        if length > most as usize {
            let why = format!("has {length} characters, at most {most} fit");
            return Err(Error::field(meta, field, why));
        }
    }
    if let Value::String(Some(text)) = &value
        && text.contains('\0')
    {
        return Err(Error::field(meta, field, "has a NUL character, which no database keeps"));
    }
    Ok(value)
}
