//! `Json`: a field of any type that serde writes, kept as JSON.

use std::ops::{Deref, DerefMut};

use sea_query::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::expression::Expression;
use crate::models::field::{FieldType, Plain};
use crate::models::meta::FieldKind;

/// A value kept as JSON: `jsonb` on PostgreSQL, text on SQLite. For any JSON at all the type is
/// `serde_json::Value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// # Panics
/// Storing one whose `Serialize` fails panics: a map of JSON has texts as its keys.
#[diagnostic::do_not_recommend]
impl<T> FieldType for Json<T>
where
    T: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static,
{
    const KIND: FieldKind = FieldKind::Json;
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self(T::default())
    }

    fn value(&self) -> Option<Value> {
        let json = serde_json::to_value(&self.0).expect("the type of a `Json` field is JSON");
        Some(json.into())
    }

    fn from_stored(value: Value) -> Option<Self> {
        let json = serde_json::Value::from_stored(value)?;
        serde_json::from_value(json).ok().map(Self)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        serde_json::from_value(row.get(index)?).map(Self).map_err(|error| {
            let words = format!("the JSON is no {}", std::any::type_name::<T>());
            Error::because(Kind::Field, words, error)
        })
    }
}

impl<T> Plain for Json<T> where Self: FieldType {}
