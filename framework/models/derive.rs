//! What the derives expand to, beside the public traits. No part of the public interface.

pub use std::sync::LazyLock;

pub use chrono::{DateTime, Utc};
pub use sea_query::Value;
pub use serde;

pub use crate::db::Row;
pub use crate::error::{Error, Result};
pub use regex::Regex;

pub use crate::models::choices::{from_value as choice_from_stored, length, read as read_choice};
pub use crate::models::deferred::{read as read_deferred, value as deferred_value};
pub use crate::models::expression::Node;
pub use crate::models::live::rows;
pub use crate::models::query::{Selection, select};
pub use crate::models::question::{
    Ask, Wraps, ask, matches, max_value, min_length, min_value, pattern,
};
pub use crate::models::slot::{Holds, Slot};
pub use crate::models::through::{is_same, through};
pub use crate::site::Site;

use crate::models::condition::Q;
use crate::models::field::{FieldType, Plain};
use crate::models::foreign_key::ForeignKey;
use crate::models::id::Id;
use crate::models::meta::{ConstraintKind, Default, Field, FieldKind, Meta, OnDelete, Relation};
use crate::models::model::Model;
use crate::models::one_to_one::OneToOne;
use crate::models::related::{Related, RelatedMany};
use crate::models::trail::{Columns, Trail};

/// A type that a primary key may have.
#[diagnostic::on_unimplemented(message = "a `{Self}` cannot be a primary key")]
pub trait Key: FieldType {
    /// What foreign keys hold.
    type Plain: Plain + PartialEq;

    /// It, if it is set.
    fn plain(&self) -> Option<Self::Plain>;
}

impl Key for Id {
    type Plain = i64;

    fn plain(&self) -> Option<i64> {
        self.get()
    }
}

impl<T: Plain + PartialEq> Key for T {
    type Plain = T;

    fn plain(&self) -> Option<T> {
        Some(self.clone())
    }
}

/// A relation as a query's closure sees it, which leads to `T`.
#[diagnostic::on_unimplemented(
    message = "this field does not lead to `{T}`",
    label = "it leads elsewhere"
)]
pub trait LeadsTo<T> {}

impl<T: Model> LeadsTo<T> for Related<T> {}

impl<T: Model> LeadsTo<T> for RelatedMany<T> {}

/// The rows of the relation at `at` of the description of `M`, which `trail` leads to.
#[must_use]
pub fn many<M: Model, T: Model>(trail: &Trail, at: usize) -> RelatedMany<T> {
    RelatedMany::along(over::<M>(trail, at))
}

/// The row of the relation at `at` of the description of `M`, which `trail` leads to.
#[must_use]
pub fn one<M: Model, T: Model>(trail: &Trail, at: usize) -> Related<T> {
    Related::back(over::<M>(trail, at))
}

/// `trail` and on over a relation without a column.
///
/// # Panics
/// The relation does not say which foreign keys it goes over, and there are several.
fn over<M: Model>(trail: &Trail, at: usize) -> Trail {
    let many = &M::meta().many[at];
    let route = many.route(M::meta());
    route.expect("`manage check` finds relations that are not clear").along(trail.clone(), many)
}

/// Compiles if the relation leads to `T`.
pub fn leads_to<T, R: LeadsTo<T>>(relation: &R) {
    let _ = relation;
}

/// The app of a module: `chat` for `djchat::chat::models`, `blog` for `blog::models`, and the crate
/// for a module outside any `models`.
#[must_use]
pub fn app(module: &'static str) -> &'static str {
    let names: Vec<_> = module.split("::").collect();
    match names.iter().position(|name| *name == "models") {
        Some(at) if at > 0 => names[at - 1],
        _ => names[0],
    }
}

/// `chat_post`. Called once a model, so the text may stay for good.
#[must_use]
pub fn table(app: &str, model: &str) -> &'static str {
    format!("{app}_{}", model.to_lowercase()).leak()
}

/// A foreign key's type, that it points to a `T`.
pub trait PointsAt<T: Model>: FieldType {}

impl<T: Model> PointsAt<T> for ForeignKey<T> {}

impl<T: Model> PointsAt<T> for OneToOne<T> {}

impl<K: PointsAt<T>, T: Model> PointsAt<T> for Option<K> {}

/// The key of the row that a foreign key of type `K` is to point to.
pub fn target<K: PointsAt<T>, T: Model>(row: &T) -> Option<Value> {
    row.key()
}

/// Reads a field.
///
/// # Errors
/// The column holds something else.
pub fn read<T: FieldType>(row: &Row, index: usize, meta: &Meta, at: usize) -> Result<T> {
    let field = &meta.fields[at];
    match T::read(row, index + at) {
        Ok(value) => Ok(value.fitted(field)),
        Err(error) => Err(error.context(format!("{}.{}", meta.label(), field.name))),
    }
}

/// What a column of type `T` with this length holds.
#[must_use]
pub const fn kind<T: FieldType>(max_length: Option<u32>) -> FieldKind {
    match (T::KIND, max_length) {
        (FieldKind::Text, Some(_)) => FieldKind::Char,
        // A foreign key's column holds a number that something else counts up.
        (FieldKind::BigAuto, _) if T::RELATION.is_some() => FieldKind::BigInteger,
        (kind, _) => kind,
    }
}

/// The length the field says, or its type does.
#[must_use]
pub const fn max_length<T: FieldType>(said: Option<u32>) -> Option<u32> {
    if said.is_some() { said } else { T::MAX_LENGTH }
}

/// Whether a text says how long it may be.
#[must_use]
pub const fn has_length<T: FieldType>(said: bool) -> bool {
    said || !is_text::<T>() || T::RELATION.is_some() || T::MAX_LENGTH.is_some()
}

/// Whether `max_length` and `text` mean something.
#[must_use]
pub const fn is_text<T: FieldType>() -> bool {
    matches!(T::KIND, FieldKind::Text | FieldKind::Char)
}

/// Whether a decimal says how many digits it has.
#[must_use]
pub const fn has_digits<T: FieldType>(said: bool) -> bool {
    said || !is_decimal::<T>()
}

/// Whether `max_digits` and `decimal_places` mean something.
#[must_use]
pub const fn is_decimal<T: FieldType>() -> bool {
    matches!(T::KIND, FieldKind::Decimal) && T::RELATION.is_none()
}

/// Whether it is an `Id`.
#[must_use]
pub const fn is_id<T: FieldType>() -> bool {
    matches!(T::KIND, FieldKind::BigAuto) && !T::NULL
}

/// Whether it is a foreign key.
#[must_use]
pub const fn is_relation<T: FieldType>() -> bool {
    T::RELATION.is_some()
}

/// Whether a literal default fits.
#[must_use]
pub const fn takes<T: FieldType>(default: &Default) -> bool {
    if !T::CHOICES.is_empty() {
        return false;
    }
    // Whether a text says a date is seen when the description is made.
    match default {
        Default::Bool(_) => matches!(T::KIND, FieldKind::Boolean | FieldKind::Json),
        Default::Float(_) => matches!(T::KIND, FieldKind::Float | FieldKind::Json),
        Default::Text(_) => matches!(
            T::KIND,
            FieldKind::Text
                | FieldKind::Char
                | FieldKind::DateTime
                | FieldKind::Date
                | FieldKind::Time
                | FieldKind::Duration
                | FieldKind::Decimal
                | FieldKind::Uuid
                | FieldKind::Json
        ),
        Default::Int(number) => match T::KIND {
            FieldKind::SmallInteger => *number >= i16::MIN as i64 && *number <= i16::MAX as i64,
            FieldKind::Integer => *number >= i32::MIN as i64 && *number <= i32::MAX as i64,
            FieldKind::PositiveSmallInteger => *number >= 0 && *number <= u16::MAX as i64,
            FieldKind::PositiveInteger => *number >= 0 && *number <= u32::MAX as i64,
            FieldKind::PositiveBigInteger => *number >= 0,
            FieldKind::BigInteger | FieldKind::Decimal | FieldKind::Json => true,
            _ => false,
        },
    }
}

/// The default that an expression means, of the field's type or what its `Option` holds.
///
/// # Panics
/// It has no words of its own in a migration: bytes.
#[must_use]
pub fn spoken<T: Wraps<V>, V: FieldType>(value: &V) -> Default {
    let default = value.value().and_then(|value| V::KIND.default_of(value));
    default.expect("a default is written into migrations; for others there is `default_fn`")
}

/// What a `default_fn` has made, as the value to store.
///
/// # Panics
/// It is unset.
#[must_use]
pub fn called<T: FieldType, V: Into<T>>(value: V) -> Value {
    value.into().value().expect("a `default_fn` makes a value")
}

/// The default, if it fits the field; a description is made when the site starts, so a text that is
/// no date is told then.
///
/// # Panics
/// It does not fit.
#[must_use]
pub fn fitting<T: FieldType>(default: Default) -> Default {
    if T::KIND.value_of(&default).and_then(T::from_stored).is_none() {
        unfit(std::any::type_name::<T>(), &default);
    }
    default
}

#[expect(clippy::panic, reason = "a mistake in the model, told when the site starts")]
fn unfit(kind: &str, default: &Default) -> ! {
    panic!("the default {default:?} is no value of a {kind} field")
}

/// The value of the field at `at` in a new row.
///
/// # Panics
/// Its default does not fit; [`fitting`] has seen to that.
#[must_use]
pub fn initial<T: FieldType>(fields: &[Field], at: usize) -> T {
    let field = &fields[at];
    let value = match (field.default_fn, &field.default) {
        (Some(function), _) => Some(function()),
        (None, Some(default)) => T::KIND.value_of(default),
        (None, None) => return T::unset(),
    };
    let value = value.and_then(T::from_stored).expect("the default has been checked");
    value.fitted(field)
}

/// The description of a model with bases, if each field has a name of its own and each name in it
/// is a field's. Without bases the derive sees that.
///
/// # Panics
/// It is not so, which is told when the site starts.
#[must_use]
pub fn named(meta: Meta) -> Meta {
    let label = meta.label();
    for (at, field) in meta.fields.iter().enumerate() {
        let before = meta.fields[..at].iter().any(|other| other.name == field.name);
        assert!(!before, "{label} has two fields called {}", field.name);
    }
    let unique = meta.constraints.iter().filter_map(|one| match one.kind {
        ConstraintKind::Unique { fields, .. } => Some(fields),
        ConstraintKind::Check(_) => None,
    });
    let several = meta.indexes.iter().map(|index| index.fields).chain(unique);
    let named = [meta.ordering, meta.get_latest_by, meta.natural_key];
    for name in named.into_iter().chain(several).flatten() {
        let known = meta.field(name.trim_start_matches('-')).is_some();
        assert!(known, "{label} has no field {name}");
    }
    meta
}

/// What a field's type says of it.
#[must_use]
pub fn field<T: FieldType>(name: &'static str, max_length: Option<u32>) -> Field {
    let max_length = self::max_length::<T>(max_length);
    let relation = is_relation::<T>();
    let column = if relation { format!("{name}_id").leak() } else { name };
    Field {
        null: T::NULL,
        unique: T::UNIQUE,
        index: relation,
        max_length,
        relation: self::relation::<T>(OnDelete::DoNothing),
        choices: T::CHOICES,
        ..Field::new(name, column, kind::<T>(max_length))
    }
}

/// Where a foreign key points.
#[must_use]
pub fn relation<T: FieldType>(on_delete: OnDelete) -> Option<Relation> {
    T::RELATION.map(|to| Relation { to, on_delete })
}

/// The condition that a closure makes of a model's columns.
pub fn condition<M: Model>(condition: fn(&M::Columns) -> Q) -> Q {
    condition(&M::Columns::along(Trail::default()))
}
