//! `Instance`: a row of a model that is known by its description only.
//!
//! Flow: text from outside names a model → [`Registry::model`](super::Registry::model) →
//! `Instance::new`/`get` → `set` → `save`, the same as a struct's, with hooks and receivers.
//!
//! Invariant: names of fields come as text, so each is looked up in the description; an unknown one
//! is an error that lists the choices.

use std::any::Any;
use std::fmt;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sea_query::{Expr, ExprTrait, Query, Value};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::between::Between;
use crate::models::delete::{self, Deleted};
use crate::models::error::plain;
use crate::models::hooks::Change;
use crate::models::live::{Live, Moment, Saved};
use crate::models::meta::{Field, FieldKind, Many, Meta};
use crate::models::save::{self, Saving};
use crate::models::slot::{Route, Slot};
use crate::site::Site;

/// A row of any model, for code that knows no struct: fixtures, an admin, a command of the site's.
pub struct Instance(Box<dyn Live>);

impl Instance {
    /// A new row with its defaults.
    #[must_use]
    pub fn new(meta: &'static Meta) -> Self {
        Self(match meta.rows {
            Some(rows) => (rows.new)(),
            None => Box::new(Bare { meta, values: vec![None; meta.fields.len()] }),
        })
    }

    /// The row with this key, its deferred fields too: it can tell them only now.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`), or the database cannot be asked.
    pub async fn get(meta: &'static Meta, key: Value, site: &Site) -> Result<Self> {
        let mut select = Query::select();
        select.from(meta.table).columns(meta.fields.iter().map(|field| field.column));
        select.and_where(Expr::col(meta.primary_key().column).eq(key.clone()));
        let rows = site.db().fetch(site.db().dialect().build(&select)).await?;
        let row = rows.first().ok_or_else(|| Error::gone(meta, &key))?;
        if let Some(rows) = meta.rows {
            return match meta.fields.iter().any(|field| field.deferred) {
                true => (rows.read)(&Row::given(whole(meta, row)?), 0).map(Self),
                false => (rows.read)(row, 0).map(Self),
            };
        }
        let mut bare = Bare { meta, values: Vec::new() };
        bare.replace(row)?;
        Ok(Self(Box::new(bare)))
    }

    /// Its description.
    #[must_use]
    pub fn meta(&self) -> &'static Meta {
        self.0.meta()
    }

    /// Its key, if it is set.
    #[must_use]
    pub fn key(&self) -> Option<Value> {
        self.0.key()
    }

    /// What `field` holds; `None` if it is unset and must not be.
    ///
    /// # Errors
    /// The model has no such field (`is_field`).
    pub fn value(&self, field: &str) -> Result<Option<Value>> {
        let at = place(self.meta(), field)?;
        Ok(self.0.values().swap_remove(at))
    }

    /// Sets fields, all at once; a field that must be set and was not has to be among them.
    ///
    /// # Errors
    /// The model has no such field, or a value does not fit it (`is_field`).
    pub fn set<'n>(&mut self, values: impl IntoIterator<Item = (&'n str, Value)>) -> Result<()> {
        let meta = self.meta();
        let mut row = self.0.values();
        for (name, value) in values {
            row[place(meta, name)?] = Some(value);
        }
        self.replace(row)
    }

    /// Becomes the row of these values, one for each field.
    pub(crate) fn replace(&mut self, values: Vec<Option<Value>>) -> Result<()> {
        self.0.replace(&Row::given(values)).map_err(|error| {
            // A value from outside, so not the database's fault.
            Error::of(Kind::Field, error.to_string())
        })
    }

    /// Writes the row, as [`save`](super::save) does.
    ///
    /// # Errors
    /// As [`save`](super::save).
    pub async fn save(&mut self, site: &Site) -> Result<Change> {
        save::run(self.0.as_mut(), site, Saving::default()).await
    }

    /// Writes the row as it is, as a fixture does: nothing is set to now, receivers are told that
    /// it is `raw`. Hooks are called.
    ///
    /// # Errors
    /// As [`save`](super::save).
    pub async fn save_raw(&mut self, site: &Site) -> Result<Change> {
        let saved = Saved { raw: true, ..Saved::default() };
        save::run(self.0.as_mut(), site, Saving { saved, ..Saving::default() }).await
    }

    /// As [`save_raw`](Self::save_raw), as a part of something that is undone as a whole.
    pub(crate) async fn save_part(&mut self, site: &Site) -> Result<Change> {
        let saved = Saved { raw: true, ..Saved::default() };
        let saving = Saving { saved, as_part: true, ..Saving::default() };
        save::run(self.0.as_mut(), site, saving).await
    }

    /// What to store, one for each field.
    pub(crate) fn into_values(self) -> Vec<Option<Value>> {
        self.0.values()
    }

    /// Deletes the row and what hangs on it; its key is unset then.
    ///
    /// # Errors
    /// As [`delete`](super::delete()).
    pub async fn delete(&mut self, site: &Site) -> Result<Deleted> {
        let deleted = delete::one(self.0.as_ref(), site).await?;
        self.0.unset_key();
        Ok(deleted)
    }

    /// The struct, if it is an `M`.
    #[must_use]
    pub fn downcast<M: 'static>(&self) -> Option<&M> {
        self.0.as_any().downcast_ref()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key().map_or_else(|| "unset".to_owned(), |key| plain(&key));
        write!(f, "{} {key}", self.meta().label())
    }
}

/// The values of a row whose columns are those of `meta`, in order.
fn whole(meta: &Meta, row: &Row) -> Result<Vec<Option<Value>>> {
    let fields = meta.fields.iter().enumerate();
    fields.map(|(at, field)| field.kind.read(row, at).map(Some)).collect()
}

/// Where among the fields the one called `name` is.
fn place(meta: &Meta, name: &str) -> Result<usize> {
    meta.fields
        .iter()
        .position(|field| field.name == name)
        .ok_or_else(|| Error::unknown_field(meta, name))
}

/// A row of a model without a struct: the one between two others, or one of the past.
#[derive(Clone)]
struct Bare {
    meta: &'static Meta,
    values: Vec<Option<Value>>,
}

impl Bare {
    fn key_at(&self) -> usize {
        let key = self.meta.fields.iter().position(|field| field.primary_key);
        key.expect("every description has a primary key")
    }
}

impl Live for Bare {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn key(&self) -> Option<Value> {
        self.values[self.key_at()].clone()
    }

    fn values(&self) -> Vec<Option<Value>> {
        self.values.clone()
    }

    fn take_key(&mut self, row: &Row, index: usize) -> Result<()> {
        let at = self.key_at();
        self.values[at] = Some(self.meta.primary_key().kind.read(row, index)?);
        Ok(())
    }

    fn unset_key(&mut self) {
        let at = self.key_at();
        self.values[at] = None;
    }

    fn set_times(&mut self, now: DateTime<Utc>, adding: bool) {
        for (field, value) in self.meta.fields.iter().zip(&mut self.values) {
            if field.auto_now || (adding && field.auto_now_add) {
                *value = Some(instant(field, now));
            }
        }
    }

    fn slot(&mut self, _: &str) -> Option<&mut dyn Slot> {
        None
    }

    fn replace(&mut self, row: &Row) -> Result<()> {
        let values = self.meta.fields.iter().zip(whole(self.meta, row)?);
        // NULL where there must be a value is no value yet.
        let is_one = |field: &Field, value: &Value| field.null || *value != value.as_null();
        let values = values.map(|(field, value)| value.filter(|value| is_one(field, value)));
        self.values = values.collect();
        Ok(())
    }

    fn copy(&self) -> Box<dyn Live> {
        Box::new(self.clone())
    }

    fn at<'a>(&'a mut self, _: &'a Site, _: Moment<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn as_any(&self) -> &dyn Any {
        &()
    }
}

/// Lets a many-to-many field of rows of `meta` hold these keys and no others: for each row its key
/// and theirs.
pub(crate) async fn set_related(
    meta: &'static Meta,
    many: &'static Many,
    sets: Vec<(Value, Vec<Value>)>,
    site: &Site,
) -> Result<()> {
    let Route::Through { through, from, to, symmetrical, .. } = many.route(meta)? else {
        return Ok(());
    };
    let of = |key| Between { through, from, to, symmetrical, owner: meta, field: many.name, key };
    if let Some(way) = sets.first().map(|(key, _)| of(key.clone()))
        && let Some(sets) = way.apart(&sets, site)
    {
        return way.set_each(sets, site).await;
    }
    for (key, keys) in sets {
        of(key).set(keys, site).await?;
    }
    Ok(())
}

/// A model between, its foreign key to the row and the one to the others.
pub(crate) type Sides = (&'static Meta, &'static Field, &'static Field);

/// The model between that was made for a many-to-many field of `meta`, with its foreign keys to
/// either side; `None` for any other relation.
pub(crate) fn made_between(meta: &'static Meta, many: &'static Many) -> Result<Option<Sides>> {
    Ok(match many.route(meta)? {
        Route::Through { through, from, to, auto: true, .. } => Some((through, from, to)),
        _ => None,
    })
}

/// The moment as a field that `auto_now` sets holds it.
pub(crate) fn instant(field: &Field, now: DateTime<Utc>) -> Value {
    if field.kind == FieldKind::Date { now.date_naive().into() } else { now.into() }
}
