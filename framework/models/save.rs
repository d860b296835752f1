//! Saving one row: hooks and receivers around an INSERT or UPDATE.
//!
//! Flow: `before_save` → `PreSave` → checks → UPDATE if there is a key, INSERT if that touched
//! nothing → `PostSave` → `after_save` → at the commit `after_commit`.
//!
//! Invariants:
//! - What was never read (`Deferred`) is never written.
//! - Not generic: a row comes as a `&mut dyn Live`.

use chrono::{DateTime, SubsecRound, Utc};
use sea_query::{Expr, ExprTrait, Query, Value};

use crate::db::{Row, has_nul, keeps};
use crate::error::Error;
use crate::error::Result;
use crate::models::decimal;
use crate::models::fields::{FieldList, Fields};
use crate::models::hooks::Change;
use crate::models::live::{Act, Live, Moment, Saved, is_observed, when_committed};
use crate::models::meta::{Field, FieldKind, Meta};
use crate::models::model::Model;
use crate::models::sql::{Insert, Meeting, update_row};
use crate::site::Site;

/// Digits of a second that both databases keep.
pub(super) const MICROSECONDS: u16 = 6;

/// How a row is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saving<'a> {
    /// What the database must do.
    pub(crate) force: Force,
    /// What is told of it, and the fields it is about.
    pub(crate) saved: Saved<'a>,
    /// It is part of something that is undone as a whole, so it needs no savepoint of its own.
    pub(crate) as_part: bool,
}

/// What the database must do with a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Force {
    /// UPDATE if there is a key, INSERT if that touched nothing.
    #[default]
    Nothing,
    /// INSERT.
    Insert,
    /// UPDATE, of a row that is there.
    Update,
}

/// Writes `row`: a new one is inserted and gets its key, another is updated. A row with a key of
/// its own choice is updated if it is there, else inserted.
///
/// # Errors
/// A field is unset or does not fit (`is_field`), a constraint refuses the row (`is_integrity`), a
/// hook or receiver fails, or the database cannot be reached.
pub async fn save<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    run(row, site, Saving::default()).await.map(drop)
}

/// Writes `row` as a new one, and returns it with its key.
///
/// # Errors
/// As [`save`].
pub async fn create<M: Model>(site: &Site, mut row: M) -> Result<M> {
    run(&mut row, site, Saving { force: Force::Insert, ..Saving::default() }).await?;
    Ok(row)
}

/// Writes `row`, which is there.
///
/// # Errors
/// As [`save`]; it is gone (`is_does_not_exist`).
pub async fn force_update<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    run(row, site, Saving { force: Force::Update, ..Saving::default() }).await.map(drop)
}

/// Writes only the named fields of `row`, which is there. `auto_now` fields are set to now only if
/// they are among them; hooks are called, and receivers are told the names.
///
/// # Errors
/// As [`save`]; the row is gone (`is_does_not_exist`).
pub async fn save_only<M: Model, L: FieldList>(
    row: &mut M,
    site: &Site,
    fields: impl FnOnce(&M::Columns) -> L,
) -> Result<()> {
    let fields = Fields::<M>::new(fields).written()?;
    let saved = Saved { raw: false, update_fields: Some(&fields) };
    run(row, site, Saving { saved, ..Saving::default() }).await.map(drop)
}

/// Reads only the named fields of `row` again.
///
/// # Errors
/// It has no key (`is_field`) or is gone (`is_does_not_exist`), or the database cannot be asked.
pub async fn refresh_only<M: Model, L: FieldList>(
    row: &mut M,
    site: &Site,
    fields: impl FnOnce(&M::Columns) -> L,
) -> Result<()> {
    let fields = Fields::<M>::new(fields).own()?;
    reread(row, &fields, site).await
}

async fn reread(row: &mut dyn Live, fields: &[&'static Field], site: &Site) -> Result<()> {
    let meta = row.meta();
    let key = row.key().ok_or_else(|| Error::not_saved(meta, "read again"))?;
    let mut select = Query::select();
    select.from(meta.table).columns(fields.iter().map(|field| field.column));
    select.and_where(Expr::col(meta.primary_key().column).eq(key.clone()));
    let rows = site.db().fetch(site.db().dialect().build(&select)).await?;
    let read = rows.first().ok_or_else(|| Error::gone(meta, &key))?;
    let mut values = Vec::with_capacity(meta.fields.len());
    for (field, value) in meta.fields.iter().zip(row.values()) {
        let at = fields.iter().position(|one| one.name == field.name);
        values.push(match at {
            Some(at) => Some(field.kind.read(read, at)?),
            None => value,
        });
    }
    row.replace(&Row::given(values))
}

/// A hook or receiver that fails must undo the save, so there is a transaction around all.
pub(crate) async fn run(row: &mut dyn Live, site: &Site, saving: Saving<'_>) -> Result<Change> {
    if !is_observed(row.meta(), site, Act::Save) {
        return write(row, site, saving).await;
    }
    if saving.as_part {
        return observed(row, site, saving).await;
    }
    site.atomic(async |site| observed(row, &site, saving).await).await
}

async fn observed(row: &mut dyn Live, site: &Site, saving: Saving<'_>) -> Result<Change> {
    row.at(site, Moment::BeforeSave(saving.saved)).await?;
    let change = write(row, site, saving).await?;
    row.at(site, Moment::AfterSave(saving.saved, change)).await?;
    when_committed(row, site, change).await?;
    Ok(change)
}

/// This moment, as exactly as both databases keep it.
pub(super) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(MICROSECONDS)
}

async fn write(row: &mut dyn Live, site: &Site, saving: Saving<'_>) -> Result<Change> {
    let Saving { force, saved: Saved { raw, update_fields: only }, .. } = saving;
    let meta = row.meta();
    let now = now();
    let must_be_there = force == Force::Update || only.is_some() || is_partly_read(row)?;
    if let Some(key) = row.key().filter(|_| force != Force::Insert) {
        let is_timed = only.is_none_or(|only| only.iter().any(|field| field.auto_now));
        if !raw && is_timed {
            row.set_times(now, false);
        }
        if update(meta, key.clone(), chosen(row, only), site).await? {
            return Ok(Change::Updated);
        }
        if must_be_there {
            return Err(Error::gone(meta, &key));
        }
    } else if must_be_there && force != Force::Insert {
        return Err(Error::not_saved(meta, "updated"));
    }
    if !raw {
        row.set_times(now, true);
    }
    insert(row, meta, site).await?;
    Ok(Change::Created)
}

/// Whether a field was never read, so that the row cannot be a new one.
///
/// # Errors
/// Such a field was taken over from another row or field: it would keep its old value.
fn is_partly_read(row: &mut dyn Live) -> Result<bool> {
    let meta = row.meta();
    let mut is_partly = false;
    for field in meta.fields.iter().filter(|field| field.deferred) {
        let Some(key) = row.key() else { return Ok(false) };
        let Some(slot) = row.slot(field.name).filter(|slot| !slot.is_loaded()) else { continue };
        if !slot.is_of(field, &key) {
            let why = "was taken over before it was read: `get` it first";
            return Err(Error::field(meta, field, why));
        }
        is_partly = true;
    }
    Ok(is_partly)
}

/// What an UPDATE writes: the fields asked for, else all but those that were never read.
fn chosen(row: &dyn Live, only: Option<&[&'static Field]>) -> Vec<(&'static Field, Option<Value>)> {
    let all = row.meta().fields.iter().zip(row.values());
    let chosen = all.filter(|(field, value)| match only {
        Some(only) => only.iter().any(|one| one.name == field.name),
        None => !field.primary_key && (!field.deferred || value.is_some()),
    });
    chosen.collect()
}

/// Whether there was such a row.
async fn update(
    meta: &'static Meta,
    key: Value,
    values: Vec<(&'static Field, Option<Value>)>,
    site: &Site,
) -> Result<bool> {
    let mut set = Vec::with_capacity(values.len());
    for (field, value) in values {
        set.push((field, check(meta, field, value, site)?));
    }
    if set.is_empty() {
        // Nothing but a key: an update that changes nothing still tells whether it is there.
        set.push((meta.primary_key(), key.clone()));
    }
    let db = site.db();
    Ok(db.execute(update_row(meta, key, set, db.dialect())).await? > 0)
}

async fn insert(row: &mut dyn Live, meta: &'static Meta, site: &Site) -> Result<()> {
    let mut fields = Vec::with_capacity(meta.fields.len());
    let mut values = Vec::with_capacity(meta.fields.len());
    let mut counted_up = false;
    for (field, value) in meta.fields.iter().zip(row.values()) {
        if field.kind == FieldKind::BigAuto && value.is_none() {
            counted_up = true;
            continue;
        }
        fields.push(field);
        values.push(check(meta, field, value, site)?);
    }
    let db = site.db();
    let insert = Insert { meta, fields: &fields, values, conflicts: &Meeting::Refuse };
    let sql = insert.sql(db.dialect());
    if !counted_up {
        return db.execute(sql).await.map(drop);
    }
    let given = db.insert(sql, meta.primary_key().column).await?;
    row.take_key(&given.ok_or_else(|| Error::does_not_exist(meta))?, 0)
}

/// The value if it may be stored. The database would not say it as well, and SQLite not at all.
pub(crate) fn check(
    meta: &Meta,
    field: &Field,
    value: Option<Value>,
    site: &Site,
) -> Result<Value> {
    let Some(value) = value else {
        let why = match field.relation {
            Some(relation) => format!(
                "is not set: it needs a saved {}, as in `{}: (&row).into()`",
                (relation.to)().label(),
                field.name
            ),
            None if field.deferred => "was never read: `get` it first, or set it".to_owned(),
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
    if let (Some(digits), Value::Decimal(Some(decimal))) = (field.digits, &value) {
        let rounded = decimal::rounded(*decimal, digits);
        return rounded.map(Value::from).map_err(|why| Error::field(meta, field, why));
    }
    if matches!(value, Value::BigUnsigned(Some(_))) {
        return Err(Error::field(meta, field, "is greater than a bigint column can keep"));
    }
    if has_nul(&value) {
        return Err(Error::field(meta, field, "has a NUL character, which no database keeps"));
    }
    if let Value::Double(Some(number)) = value {
        let kept = keeps(number, site.db().dialect());
        kept.map_err(|words| Error::field(meta, field, format!("is {words}")))?;
    }
    Ok(value)
}
