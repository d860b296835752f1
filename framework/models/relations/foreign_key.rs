//! `ForeignKey`: the key of a row of another model, and that row once it is loaded.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use sea_query::Value;
use serde::{Serialize, Serializer};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::fetch_mode::Peers;
use crate::models::field::FieldType;
use crate::models::kept::Kept;
use crate::models::loader::{Found, Loader, Of};
use crate::models::meta::{FieldKind, Meta};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::related::Related;
use crate::models::related_set::KeyOf;
use crate::models::slot::{RowMut, Slot, key_index};
use crate::site::Site;

/// Points to a row of `T`. Unset until it is made from a row: `author: (&ann).into()`.
///
/// Serialized it is the key or, once [loaded](Self::loaded), the row.
#[derive(Clone)]
pub struct ForeignKey<T: Model> {
    key: Option<T::Key>,
    /// Filled by `select_related` or the first `get`.
    row: Kept<T>,
    /// The same foreign key of the rows that were read with this one.
    peers: Option<Arc<Peers>>,
}

impl<T: Model> ForeignKey<T> {
    /// Points to the row with this key; nobody checks here that there is one.
    #[must_use]
    pub fn to(key: T::Key) -> Self {
        Self { key: Some(key), row: Kept::new(), peers: None }
    }

    /// The key, if it is set.
    #[must_use]
    pub fn id(&self) -> Option<T::Key> {
        self.key.clone()
    }

    /// The row, if it is loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&T> {
        self.row.get()
    }

    /// The row; asks the database the first time, unless `select_related` has loaded it.
    ///
    /// # Errors
    /// The key is unset, there is no such row, or the database cannot be asked.
    pub async fn get(&self, site: &Site) -> Result<&T> {
        if let Some(row) = self.row.get() {
            return Ok(row);
        }
        let Some(key) = self.value() else {
            let words = format!("this foreign key to {} is not set", T::meta().label());
            return Err(Error::of(Kind::Field, words));
        };
        if let Some(peers) = &self.peers
            && let Some(found) = peers.found(self.loader(), site).await?
            && let Some(row) = found.one(&key)
        {
            return Ok(self.row.get_or(row));
        }
        let row = QuerySet::<T>::with_key(key).get(site).await?;
        Ok(self.row.get_or(Arc::new(row)))
    }
}

/// Its key; the row itself is not kept.
impl<T: Model> From<&T> for ForeignKey<T> {
    fn from(row: &T) -> Self {
        Self { key: row.own_key(), row: Kept::new(), peers: None }
    }
}

impl<T: Model> Default for ForeignKey<T> {
    fn default() -> Self {
        Self { key: None, row: Kept::new(), peers: None }
    }
}

/// Keys are compared, not rows.
impl<T: Model> PartialEq for ForeignKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T: Model> Eq for ForeignKey<T> where T::Key: Eq {}

impl<T: Model> Hash for ForeignKey<T>
where
    T::Key: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<T: Model> fmt::Debug for ForeignKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(key) => write!(f, "{} {}", T::meta().label(), plain(&key)),
            None => write!(f, "{} unset", T::meta().label()),
        }
    }
}

fn plain(key: &Value) -> String {
    match key {
        Value::BigInt(Some(number)) => number.to_string(),
        Value::String(Some(text)) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

impl<T: Model> Serialize for ForeignKey<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.loaded() {
            Some(row) => row.serialize(serializer),
            None => self.key.serialize(serializer),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<T: Model> FieldType for ForeignKey<T> {
    const KIND: FieldKind = <T::Key as FieldType>::KIND;
    const RELATION: Option<fn() -> &'static Meta> = Some(T::meta);
    type Column = Related<T>;

    fn unset() -> Self {
        Self::default()
    }

    fn value(&self) -> Option<Value> {
        self.key.as_ref().and_then(FieldType::value)
    }

    fn from_stored(value: Value) -> Option<Self> {
        T::Key::from_stored(value).map(Self::to)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        T::Key::read(row, index).map(Self::to)
    }

    fn slot(&mut self) -> Option<&mut dyn Slot> {
        Some(self)
    }

    fn point(&mut self, key: &dyn Any) {
        if let Some(key) = key.downcast_ref::<T::Key>() {
            *self = Self::to(key.clone());
        }
    }
}

impl<T: Model> Slot for ForeignKey<T> {
    fn target(&self) -> Option<Value> {
        self.value()
    }

    fn is_loaded(&self) -> bool {
        self.row.get().is_some()
    }

    fn rows(&mut self) -> Vec<RowMut<'_>> {
        self.row.get_mut().map(|row| row as RowMut<'_>).into_iter().collect()
    }

    fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        // A key that leads nowhere, as no database checks it.
        if !row.is_null(index + key_index(T::meta())) {
            self.row.put(Arc::new(T::from_row(row, index)?));
        }
        Ok(())
    }

    fn loader(&self) -> &'static dyn Loader {
        &Of::<T>(PhantomData)
    }

    fn take(&mut self, found: &Found, key: &Value) {
        if let Some(row) = found.one(key) {
            self.row.put(row);
        }
    }

    fn join(&mut self, peers: &Arc<Peers>) {
        self.peers = Some(Arc::clone(peers));
    }
}

impl<T: Model> KeyOf<T> for &ForeignKey<T> {
    fn key_value(self) -> Option<Value> {
        self.value()
    }
}

impl<T: Model> KeyOf<T> for ForeignKey<T> {
    fn key_value(self) -> Option<Value> {
        self.value()
    }
}
