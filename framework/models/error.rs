//! What goes wrong with models, and the questions to ask an error.

use sea_query::Value;

use crate::error::{Error, Kind};
use crate::models::{Field, Meta};

impl Error {
    /// `get` found no row, or a row that was to be refreshed is gone.
    #[must_use]
    pub fn is_does_not_exist(&self) -> bool {
        self.kind() == Kind::DoesNotExist
    }

    /// `get` found more than one row.
    ///
    /// If you see this, filter by a unique field or use `first`.
    #[must_use]
    pub fn is_multiple_objects(&self) -> bool {
        self.kind() == Kind::MultipleObjects
    }

    /// A required field is unset, a value does not fit its field, or a query asks for what cannot
    /// be.
    #[must_use]
    pub fn is_field(&self) -> bool {
        self.kind() == Kind::Field
    }

    /// A paginator has no such page, or the number is none.
    ///
    /// If you see this, answer 404, or use `nearest_page`.
    #[must_use]
    pub fn is_empty_page(&self) -> bool {
        self.kind() == Kind::EmptyPage
    }

    pub(super) fn does_not_exist(meta: &Meta) -> Self {
        Self::of(Kind::DoesNotExist, format!("no {} matches the query", meta.label()))
    }

    /// The row with this key is gone.
    pub(super) fn gone(meta: &Meta, key: &Value) -> Self {
        let words = format!("there is no {} with the key {} any more", meta.label(), plain(key));
        Self::of(Kind::DoesNotExist, words)
    }

    /// The row has no key, so it cannot be `done`.
    pub(super) fn not_saved(meta: &Meta, done: &str) -> Self {
        let words = format!("this {} cannot be {done}: it is not saved", meta.label());
        Self::of(Kind::Field, words)
    }

    /// `count` rows were read, `most` at most.
    pub(super) fn multiple_objects(meta: &Meta, count: usize, most: u64) -> Self {
        let count = match u64::try_from(count) {
            Ok(count) if count < most => format!("{count}"),
            _ => format!("more than {}", most - 1),
        };
        let words = format!("more than one {} matches the query: {count}", meta.label());
        Self::of(Kind::MultipleObjects, words)
    }

    /// The model has no field of this name.
    pub(crate) fn unknown_field(meta: &Meta, name: &str) -> Self {
        let known: Vec<_> = meta.fields.iter().map(|field| field.name).collect();
        let words =
            format!("{} has no field {name:?}; choices are: {}", meta.label(), known.join(", "));
        Self::of(Kind::Field, words)
    }

    pub(super) fn field(meta: &Meta, field: &Field, why: impl std::fmt::Display) -> Self {
        Self::of(Kind::Field, format!("{}.{} {why}", meta.label(), field.name))
    }
}

/// A key as messages name it.
pub(super) fn plain(key: &Value) -> String {
    match key {
        Value::SmallInt(Some(number)) => number.to_string(),
        Value::Int(Some(number)) => number.to_string(),
        Value::BigInt(Some(number)) => number.to_string(),
        Value::String(Some(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}
