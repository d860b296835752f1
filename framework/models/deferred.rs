//! `Deferred`: a field that is read only when it is asked for.
//!
//! Flow: a SELECT of whole rows has NULL in its place → [`read`] leaves a [`Source`] there, which
//! names row and field → `post.body.get(&site)` asks for the one value, or the fetch mode for those
//! of all rows that were read together.
//!
//! Invariants:
//! - A value that was never read is never written, compared or serialized as something else.
//! - Everything but reading whole rows knows it as a field of the type that it holds.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement, Value};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::derive;
use crate::models::fetch_mode::Peers;
use crate::models::field::FieldType;
use crate::models::loader::{Found, KEYS_MAX, Loader, Wanted, Way};
use crate::models::meta::{Field, Meta};
use crate::models::slot::{KeyName, RowMut, Slot, key_index};
use crate::site::Site;

/// A field that is not read with its row but when it is asked for (what Django's `defer` is for):
/// long texts, documents, pictures. For migrations, filters, `values`, `update` and fixtures it is
/// a field of type `T`, with all that `#[field(..)]` knows; where it may be NULL it is a
/// `Deferred<Option<T>>`. Keys, relations and `auto_now` fields cannot be deferred.
///
/// In a row that was read it is unread until [`get`](Self::get), unless the query says
/// [`with_deferred`](super::QuerySet::with_deferred). In a new row it has the field's default, or
/// else what `T` has. An unread one is not written by `save`, and `refresh` reads what is loaded.
/// Whether a loop may ask for each row's is decided by the [fetch mode](super::FetchMode), as for
/// relations. One moved here from another row or field must have been read: `save` refuses it else.
///
/// ```
/// use hulse::prelude::*;
///
/// #[derive(Model, Debug, Clone)]
/// pub struct Post {
///     pub id: Id,
///     #[field(max_length = 200)]
///     pub title: String,
///     #[field(text)]
///     pub body: Deferred<String>,
/// }
///
/// async fn edit(site: &Site) -> Result<()> {
///     let body = "A long one".into();
///     Post::create(site, Post { title: "Stars".into(), body, ..Default::default() }).await?;
///
///     let mut post = Post::objects().filter(|p| p.body().contains("long")).get(site).await?;
///     assert!(post.body.loaded().is_none());
///     post.title = "Pulsars".into();
///     post.save(site).await?; // does not write the body
///
///     println!("{}", post.body.get(site).await?); // one query, the first time only
///     post.body = "A short one".into();
///     post.save(site).await?;
///
///     for post in Post::objects().with_deferred(|p| p.body()).all(site).await? {
///         println!("{:?}", post.body.loaded()); // read with the rows
///     }
///     Ok(())
/// }
/// ```
///
/// A row is serialized, and seen by a template, without what is unread, as without relations that
/// are not loaded; an unread value alone refuses to be serialized.
#[derive(Clone)]
pub struct Deferred<T> {
    /// Shared with the rows that it was read for together.
    value: OnceLock<Arc<T>>,
    /// Where it is read from; `None` if it was made by hand or came with its row.
    source: Option<Source>,
    /// The same field of the rows that were read with this one.
    peers: Option<Arc<Peers>>,
}

/// A field of a row.
#[derive(Clone)]
struct Source {
    meta: &'static Meta,
    field: &'static Field,
    key: Value,
}

impl<T> Deferred<T> {
    /// One that has its value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: OnceLock::from(Arc::new(value)), source: None, peers: None }
    }

    /// The value, if it is loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&T> {
        self.value.get().map(AsRef::as_ref)
    }
}

impl<T: Clone> Deferred<T> {
    /// The value itself, if it is loaded.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner().map(Arc::unwrap_or_clone)
    }
}

impl<T: FieldType> Deferred<T> {
    /// The value; asks the database the first time, unless it came with its row.
    ///
    /// # Errors
    /// The row it was read with is gone (`is_does_not_exist`), the fetch mode forbids to ask
    /// (`is_field`), or the database cannot be asked.
    pub async fn get(&self, site: &Site) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let Some(source) = &self.source else {
            return Err(Error::of(Kind::Field, "this deferred field is not set"));
        };
        let value = match self.of_peers(&source.key, site).await? {
            Some(value) => value,
            None => Arc::new(source.ask(site).await?),
        };
        Ok(self.value.get_or_init(|| value))
    }

    /// What the fetch mode has loaded for all the row's peers.
    async fn of_peers(&self, key: &Value, site: &Site) -> Result<Option<Arc<T>>> {
        let Some(peers) = &self.peers else { return Ok(None) };
        let found = peers.found(self.loader(), site).await?;
        Ok(found.and_then(Found::known).and_then(|values| Values::of(values, key)))
    }
}

impl Source {
    async fn ask<T: FieldType>(&self, site: &Site) -> Result<T> {
        let key = Expr::col(self.meta.primary_key().column).eq(self.key.clone());
        let rows = column_of(self.meta, self.field, key, site).await?;
        let row = rows.first().ok_or_else(|| Error::gone(self.meta, &self.key))?;
        value_at(row, 1, self.meta, self.field)
    }
}

impl<T> From<T> for Deferred<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Deferred<String> {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl<T: Default> Default for Deferred<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Those that are loaded are compared by value, those that are not by the row they are read from;
/// one of either kind differs.
impl<T: PartialEq> PartialEq for Deferred<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self.loaded(), other.loaded(), &self.source, &other.source) {
            (Some(one), Some(two), ..) => one == two,
            (None, None, Some(one), Some(two)) => {
                std::ptr::eq(one.field, two.field) && one.key == two.key
            }
            (None, None, None, None) => true,
            _ => false,
        }
    }
}

/// The value, or `deferred`.
impl<T: fmt::Debug> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.loaded() {
            Some(value) => value.fmt(f),
            None => f.write_str("deferred"),
        }
    }
}

impl<T: Serialize> Serialize for Deferred<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.loaded() {
            Some(value) => value.serialize(serializer),
            None => Err(S::Error::custom("a deferred field was never read: `get` it first")),
        }
    }
}

impl<T: FieldType> Slot for Deferred<T> {
    fn target(&self) -> Option<Value> {
        self.source.as_ref().map(|source| source.key.clone())
    }

    fn is_loaded(&self) -> bool {
        self.value.get().is_some()
    }

    fn is_of(&self, field: &Field, key: &Value) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| std::ptr::eq(source.field, field) && source.key == *key)
    }

    fn rows(&mut self) -> Vec<RowMut<'_>> {
        Vec::new()
    }

    fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        if let (None, Some(source)) = (self.value.get(), &self.source) {
            *self = Self::new(value_at(row, index, source.meta, source.field)?);
        }
        Ok(())
    }

    fn loader(&self) -> &'static dyn Loader {
        &Values::<T>(PhantomData)
    }

    fn take(&mut self, found: &Found, key: &Value) {
        if let Some(value) = found.known().and_then(|values| Values::of(values, key)) {
            self.value = OnceLock::from(value);
        }
    }

    fn join(&mut self, peers: &Arc<Peers>) {
        self.peers = Some(Arc::clone(peers));
    }
}

/// Reads the values of one field of many rows.
struct Values<T>(PhantomData<fn() -> T>);

type ByKey<T> = HashMap<KeyName, Arc<T>>;

impl<T: FieldType> Values<T> {
    fn of(values: &ByKey<T>, key: &Value) -> Option<Arc<T>> {
        values.get(&KeyName::of(key)).cloned()
    }

    async fn read(wanted: Wanted, site: &Site) -> Result<Found> {
        let mut values = ByKey::<T>::new();
        let Way::Column { meta, field } = wanted.way else { return Ok(Found::of(values)) };
        let primary_key = meta.primary_key();
        for keys in wanted.keys.chunks(KEYS_MAX) {
            let these = Expr::col(primary_key.column).is_in(keys.iter().cloned());
            for row in column_of(meta, field, these, site).await? {
                let key = KeyName::of(&primary_key.kind.read(&row, 0)?);
                values.insert(key, Arc::new(value_at(&row, 1, meta, field)?));
            }
        }
        Ok(Found::of(values))
    }
}

impl<T: FieldType> Loader for Values<T> {
    fn load<'a>(&'a self, wanted: Wanted, site: &'a Site) -> BoxFuture<'a, Result<Found>> {
        Box::pin(Self::read(wanted, site))
    }
}

/// The key and one field of the rows of `condition`.
async fn column_of(meta: &Meta, field: &Field, condition: Expr, site: &Site) -> Result<Vec<Row>> {
    let mut select = Query::select();
    select.columns([meta.primary_key().column, field.column]).from(meta.table);
    select.and_where(condition);
    site.db().fetch(site.db().dialect().build(&select)).await
}

fn value_at<T: FieldType>(row: &Row, index: usize, meta: &Meta, field: &Field) -> Result<T> {
    let value = T::read(row, index).map(|value| value.fitted(field));
    value.map_err(|error| error.context(format!("{}.{}", meta.label(), field.name)))
}

/// Reads the field at `at` of a row whose columns begin at `index`.
///
/// # Errors
/// The column holds something else.
#[doc(hidden)]
pub fn read<T: FieldType>(
    row: &Row,
    index: usize,
    meta: &'static Meta,
    at: usize,
) -> Result<Deferred<T>> {
    if !row.is_left_out(index + at) {
        return derive::read(row, index, meta, at).map(Deferred::new);
    }
    let key_at = index + key_index(meta);
    let mut source = None;
    if !row.is_null(key_at) {
        let key = meta.primary_key().kind.read(row, key_at)?;
        source = Some(Source { meta, field: &meta.fields[at], key });
    }
    Ok(Deferred { value: OnceLock::new(), source, peers: None })
}

/// What to store; `None` if it was never read.
#[doc(hidden)]
pub fn value<T: FieldType>(deferred: &Deferred<T>) -> Option<Value> {
    deferred.loaded().and_then(T::value)
}

/// Selects the columns of a whole row, NULL in the place of those that are deferred.
pub(super) fn select_row(select: &mut SelectStatement, meta: &Meta) {
    for field in &meta.fields {
        if field.deferred {
            select.expr_as(Expr::cust("NULL"), Alias::new(field.column));
        } else {
            select.column(field.column);
        }
    }
}

/// Reads what was never read of a row with these values.
pub(super) async fn complete(
    meta: &'static Meta,
    values: &mut [Option<Value>],
    site: &Site,
) -> Result<()> {
    let places = meta.fields.iter().zip(values.iter()).enumerate();
    let unread = places.filter(|(_, (field, value))| field.deferred && value.is_none());
    let unread: Vec<usize> = unread.map(|(at, _)| at).collect();
    let Some(key) = values[key_index(meta)].clone().filter(|_| !unread.is_empty()) else {
        return Ok(());
    };
    let mut select = Query::select();
    select.columns(unread.iter().map(|&at| meta.fields[at].column)).from(meta.table);
    select.and_where(Expr::col(meta.primary_key().column).eq(key.clone()));
    let rows = site.db().fetch(site.db().dialect().build(&select)).await?;
    let row = rows.first().ok_or_else(|| Error::gone(meta, &key))?;
    for (index, at) in unread.into_iter().enumerate() {
        values[at] = Some(meta.fields[at].kind.read(row, index)?);
    }
    Ok(())
}
