//! What the models look like at one point of history: owned, comparable, free of the live code.
//!
//! Flow: [`ProjectState::of`] reads today's models; replaying files (`operation`) makes the past.
//!
//! Invariants:
//! - Holds what the database or a migration file needs, nothing else: `choices` and `help_text`
//!   change no table, so changing them writes no migration.

use std::fmt;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::models::{self, FieldKind, ManyKind, Meta, OnDelete};

use super::constraint::{ConstraintState, IndexState, ModelOptions};

/// How many foreign keys may stand in a row as primary keys of each other's models.
const KEY_CHAIN_MAX: usize = 16;

/// A model by its app and name: `auth.User`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    /// Label of the app.
    pub app: String,
    /// Name of the struct.
    pub model: String,
}

impl ModelKey {
    /// The key of `model` in `app`.
    #[must_use]
    pub fn new(app: &str, model: &str) -> Self {
        Self { app: app.to_owned(), model: model.to_owned() }
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.model)
    }
}

/// All models at one point of history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectState {
    models: Vec<ModelState>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelState {
    /// Its app and name.
    pub key: ModelKey,
    /// Its table.
    pub table: String,
    /// Its columns, in order.
    pub fields: Vec<FieldState>,
    /// Its indexes over several columns, or over part of the rows.
    pub indexes: Vec<IndexState>,
    /// What every row must fulfil.
    pub constraints: Vec<ConstraintState>,
    /// What it says of itself.
    pub options: ModelOptions,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the field's options, as in the model")]
pub struct FieldState {
    /// Name of the field: `author`.
    pub name: String,
    /// Name of the column: `author_id`.
    pub column: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether NULL is allowed.
    pub null: bool,
    /// Whether it is the primary key.
    pub primary_key: bool,
    /// Whether no two rows may share a value.
    pub unique: bool,
    /// Whether it has an index of its own.
    pub index: bool,
    /// Longest text, characters.
    pub max_length: Option<u32>,
    /// Most digits of a decimal, and how many of them stand after the point.
    pub digits: Option<(u32, u32)>,
    /// The column's default in the database.
    pub default: Option<Value>,
    /// Set to now at every save.
    pub auto_now: bool,
    /// Set to now at the first save.
    pub auto_now_add: bool,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `i64` counted up by the database.
    BigAuto,
    /// `bool`
    Boolean,
    /// `i16`
    SmallInteger,
    /// `i32`
    Integer,
    /// `i64`
    BigInteger,
    /// `f64`
    Float,
    /// Text with a longest length.
    Char,
    /// Text of any length.
    Text,
    /// A moment.
    DateTime,
    /// A day.
    Date,
    /// `u16`
    PositiveSmallInteger,
    /// `u32`
    PositiveInteger,
    /// `u64`, up to `i64::MAX`
    PositiveBigInteger,
    /// A decimal number, exact.
    Decimal,
    /// A time of day.
    Time,
    /// A span of time, in microseconds.
    Duration,
    /// A UUID.
    Uuid,
    /// A JSON value.
    Json,
    /// Bytes.
    Binary,
    /// The key of a row of another model.
    ForeignKey {
        /// That model.
        to: ModelKey,
        /// What happens to this row when that one is deleted.
        on_delete: OnDelete,
    },
}

/// A value a migration file can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// A text; for moments and days ISO 8601 or `now`.
    Text(String),
}

impl ProjectState {
    /// The state of today's models, with those between that many-to-many fields have made.
    ///
    /// # Panics
    /// A condition of an index or constraint is one that no constraint can have; it says which.
    #[must_use]
    pub fn of(models: impl IntoIterator<Item = &'static Meta>) -> Self {
        let all = Meta::with_throughs(models);
        let between: Vec<&Meta> = all.iter().flat_map(|meta| betweens(meta)).collect();
        let state = |meta: &&'static Meta| {
            let mut model = ModelState::of(meta);
            if between.iter().any(|one| std::ptr::eq(*one, *meta)) {
                // Its words follow from the models at its ends.
                (model.options.verbose_name, model.options.verbose_name_plural) = (None, None);
            }
            model
        };
        Self { models: all.iter().map(state).collect() }
    }

    /// The models, in the order they were created.
    #[must_use]
    pub fn models(&self) -> &[ModelState] {
        &self.models
    }

    /// The model of this key.
    #[must_use]
    pub fn model(&self, key: &ModelKey) -> Option<&ModelState> {
        self.models.iter().find(|model| model.key == *key)
    }

    /// The model of this key, or an error that says what is missing.
    pub(super) fn existing(&self, key: &ModelKey) -> Result<&ModelState> {
        self.model(key).ok_or_else(|| unknown_model(key))
    }

    pub(super) fn existing_mut(&mut self, key: &ModelKey) -> Result<&mut ModelState> {
        let found = self.models.iter_mut().find(|model| model.key == *key);
        found.ok_or_else(|| unknown_model(key))
    }

    pub(super) fn push(&mut self, model: ModelState) {
        self.models.push(model);
    }

    pub(super) fn remove(&mut self, key: &ModelKey) {
        self.models.retain(|model| model.key != *key);
    }

    /// Gives the model `from` another name, also where fields point to it.
    pub(super) fn rekey(&mut self, from: &ModelKey, to: &ModelKey) {
        for model in &mut self.models {
            if model.key == *from {
                model.key.clone_from(to);
            }
            for field in &mut model.fields {
                if let Kind::ForeignKey { to: target, .. } = &mut field.kind
                    && target == from
                {
                    target.clone_from(to);
                }
            }
        }
    }

    /// The fields that point to `key`, with their models.
    pub(super) fn referring<'a>(
        &'a self,
        key: &'a ModelKey,
    ) -> impl Iterator<Item = (&'a ModelState, &'a FieldState)> {
        let fields = self.models.iter().flat_map(|m| m.fields.iter().map(move |f| (m, f)));
        fields.filter(move |(_, field)| field.target() == Some(key))
    }

    /// The fields that hold a key of `key`'s rows, also by way of others' primary keys.
    pub(super) fn followers<'a>(
        &'a self,
        key: &'a ModelKey,
    ) -> Vec<(&'a ModelState, &'a FieldState)> {
        let mut found: Vec<(&ModelState, &FieldState)> = Vec::new();
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            for (model, field) in self.referring(key) {
                if found.iter().any(|(_, known)| std::ptr::eq(*known, field)) {
                    continue;
                }
                found.push((model, field));
                if field.primary_key {
                    open.push(&model.key);
                }
            }
        }
        found
    }

    /// What the column of `field` really holds: a foreign key holds the kind of the key it points
    /// to.
    pub(super) fn column_kind<'a>(&'a self, field: &'a FieldState) -> Result<&'a FieldState> {
        let mut current = field;
        for _ in 0..KEY_CHAIN_MAX {
            let Some(target) = current.target() else { return Ok(current) };
            current = self.existing(target)?.primary_key()?;
        }
        Err(Error::of(
            ErrorKind::Migration,
            format!("finding the type of field {}: its keys point in a circle", field.name),
        ))
    }
}

/// A state of models put together by hand.
impl FromIterator<ModelState> for ProjectState {
    fn from_iter<I: IntoIterator<Item = ModelState>>(models: I) -> Self {
        Self { models: models.into_iter().collect() }
    }
}

/// The models made for the many-to-many fields of `meta`.
fn betweens(meta: &'static Meta) -> impl Iterator<Item = &'static Meta> {
    meta.many.iter().filter_map(|many| match many.kind {
        ManyKind::ManyToMany { through, auto: true, .. } => Some(through()),
        _ => None,
    })
}

fn unknown_model(key: &ModelKey) -> Error {
    Error::of(ErrorKind::Migration, format!("there is no model {key} at this point of history"))
}

impl ModelState {
    /// The state of one of today's models.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        Self {
            key: ModelKey::new(meta.app, meta.model),
            table: meta.table.to_owned(),
            fields: meta.fields.iter().map(FieldState::of).collect(),
            indexes: meta.indexes.iter().map(|one| IndexState::of(meta, one)).collect(),
            constraints: meta.constraints.iter().map(|c| ConstraintState::of(meta, c)).collect(),
            options: ModelOptions::of(meta),
        }
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldState> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(super) fn existing_field(&self, name: &str) -> Result<&FieldState> {
        self.field(name).ok_or_else(|| {
            let words = format!("{} has no field {name} at this point of history", self.key);
            Error::of(ErrorKind::Migration, words)
        })
    }

    pub(super) fn primary_key(&self) -> Result<&FieldState> {
        self.fields.iter().find(|field| field.primary_key).ok_or_else(|| {
            Error::of(ErrorKind::Migration, format!("{} has no primary key", self.key))
        })
    }

    /// The table a model has unless it says otherwise.
    pub(super) fn default_table(key: &ModelKey) -> String {
        format!("{}_{}", key.app, key.model.to_lowercase())
    }
}

impl FieldState {
    /// The state of one of today's fields.
    #[must_use]
    pub fn of(field: &models::Field) -> Self {
        let kind = match field.relation {
            Some(relation) => {
                let to = (relation.to)();
                Kind::ForeignKey {
                    to: ModelKey::new(to.app, to.model),
                    on_delete: relation.on_delete,
                }
            }
            None => Kind::of(field.kind),
        };
        let max_length = if field.relation.is_some() { None } else { field.max_length };
        Self {
            name: field.name.to_owned(),
            column: field.column.to_owned(),
            kind,
            null: field.null,
            primary_key: field.primary_key,
            unique: field.unique && !field.primary_key,
            index: field.index && !field.primary_key && !field.unique,
            max_length,
            digits: if field.relation.is_some() { None } else { field.digits },
            default: field.default.as_ref().map(Value::of),
            auto_now: field.auto_now,
            auto_now_add: field.auto_now_add,
        }
    }

    /// The model it points to.
    #[must_use]
    pub fn target(&self) -> Option<&ModelKey> {
        match &self.kind {
            Kind::ForeignKey { to, .. } => Some(to),
            _ => None,
        }
    }

    /// Whether it is set to now without being told.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.auto_now || self.auto_now_add
    }

    /// The column a field has unless it says otherwise.
    pub(super) fn default_column(name: &str, kind: &Kind) -> String {
        match kind {
            Kind::ForeignKey { .. } => format!("{name}_id"),
            _ => name.to_owned(),
        }
    }
}

impl Kind {
    fn of(kind: FieldKind) -> Self {
        match kind {
            FieldKind::BigAuto => Self::BigAuto,
            FieldKind::Boolean => Self::Boolean,
            FieldKind::SmallInteger => Self::SmallInteger,
            FieldKind::Integer => Self::Integer,
            FieldKind::BigInteger => Self::BigInteger,
            FieldKind::Float => Self::Float,
            FieldKind::Char => Self::Char,
            FieldKind::Text => Self::Text,
            FieldKind::DateTime => Self::DateTime,
            FieldKind::Date => Self::Date,
            FieldKind::PositiveSmallInteger => Self::PositiveSmallInteger,
            FieldKind::PositiveInteger => Self::PositiveInteger,
            FieldKind::PositiveBigInteger => Self::PositiveBigInteger,
            FieldKind::Decimal => Self::Decimal,
            FieldKind::Time => Self::Time,
            FieldKind::Duration => Self::Duration,
            FieldKind::Uuid => Self::Uuid,
            FieldKind::Json => Self::Json,
            FieldKind::Binary => Self::Binary,
        }
    }

    /// Whether a check in the database keeps it from being negative.
    pub(super) fn is_unsigned(&self) -> bool {
        matches!(
            self,
            Self::PositiveSmallInteger | Self::PositiveInteger | Self::PositiveBigInteger
        )
    }

    /// As Django names such a field.
    #[must_use]
    pub fn field_name(&self) -> &'static str {
        match self {
            Self::BigAuto => "BigAutoField",
            Self::Boolean => "BooleanField",
            Self::SmallInteger => "SmallIntegerField",
            Self::Integer => "IntegerField",
            Self::BigInteger => "BigIntegerField",
            Self::Float => "FloatField",
            Self::Char => "CharField",
            Self::Text => "TextField",
            Self::DateTime => "DateTimeField",
            Self::Date => "DateField",
            Self::PositiveSmallInteger => "PositiveSmallIntegerField",
            Self::PositiveInteger => "PositiveIntegerField",
            Self::PositiveBigInteger => "PositiveBigIntegerField",
            Self::Decimal => "DecimalField",
            Self::Time => "TimeField",
            Self::Duration => "DurationField",
            Self::Uuid => "UUIDField",
            Self::Json => "JSONField",
            Self::Binary => "BinaryField",
            Self::ForeignKey { .. } => "ForeignKey",
        }
    }
}

impl Value {
    fn of(default: &models::Default) -> Self {
        match default {
            models::Default::Bool(value) => Self::Bool(*value),
            models::Default::Int(value) => Self::Int(*value),
            models::Default::Float(value) => Self::Float(*value),
            models::Default::Text(value) => Self::Text((*value).to_owned()),
        }
    }
}
