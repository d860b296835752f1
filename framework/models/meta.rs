//! What the derive says of a model: table, fields, indexes.

use std::fmt;

use crate::db::Row;
use crate::error::Result;
use crate::models::delete::Instance;

/// The description of a model, made once by `#[derive(Model)]` (Django's `_meta`).
#[derive(Debug)]
pub struct Meta {
    /// Label of the app it belongs to: `chat`.
    pub app: &'static str,
    /// Name of the struct: `Post`.
    pub model: &'static str,
    /// Name of the table: `chat_post` unless given.
    pub table: &'static str,
    /// The columns, in the struct's order; exactly one is the primary key.
    pub fields: Vec<Field>,
    /// Default order: field names, `-` in front for descending.
    pub ordering: &'static [&'static str],
    /// Indexes over several columns.
    pub indexes: &'static [Index],
    /// For a model with hooks: reads one of its rows, so that deleting it can call them.
    pub load: Option<Load>,
}

/// Reads a row of a model with hooks from its columns.
pub type Load = fn(&Row) -> Result<Box<dyn Instance>>;

/// One column.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, read by its name")]
pub struct Field {
    /// Name of the struct's field: `author`.
    pub name: &'static str,
    /// Name of the column: `author_id` for a foreign key, else the field's name.
    pub column: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether NULL is allowed (`Option<..>`).
    pub null: bool,
    /// Whether it is the primary key.
    pub primary_key: bool,
    /// Whether no two rows may share a value.
    pub unique: bool,
    /// Whether it has an index of its own (foreign keys do).
    pub index: bool,
    /// Longest text, characters.
    pub max_length: Option<u32>,
    /// What a new value has, and what existing rows get when the column is added.
    pub default: Option<Default>,
    /// Set to now at every save.
    pub auto_now: bool,
    /// Set to now at the first save.
    pub auto_now_add: bool,
    /// The model it points to.
    pub relation: Option<Relation>,
    /// The only values allowed, with their labels.
    pub choices: &'static [Choice],
}

/// What a column holds. The database's type follows from it and the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
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
    /// `String` with a `max_length`.
    Char,
    /// `String` of any length.
    Text,
    /// `DateTime<Utc>`
    DateTime,
    /// `NaiveDate`
    Date,
}

/// A default the database can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Default {
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// A text.
    Text(&'static str),
}

/// Where a foreign key points. Its column holds the key of `to`, so its kind is that key's.
#[derive(Clone, Copy)]
pub struct Relation {
    /// The other model; a function, because models may point at each other.
    pub to: fn() -> &'static Meta,
    /// What happens to this row when that one is deleted.
    pub on_delete: OnDelete,
}

impl fmt::Debug for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relation").field("on_delete", &self.on_delete).finish_non_exhaustive()
    }
}

/// What deleting a row does to those that point at it. The framework does it, so hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// They are deleted too.
    Cascade,
    /// Deleting is refused.
    Protect,
    /// Their column becomes NULL.
    SetNull,
    /// Nothing; the database's constraint decides.
    DoNothing,
}

/// One allowed value: what is stored, what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As stored.
    pub value: &'static str,
    /// As shown.
    pub label: &'static str,
}

/// An index over columns, by field names; `-` in front for descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// The fields, in order.
    pub fields: &'static [&'static str],
    /// Whether no two rows may share all of them.
    pub unique: bool,
}

impl Meta {
    /// `chat.Post`, as messages name it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}.{}", self.app, self.model)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The primary key.
    ///
    /// # Panics
    /// If there is none; the derive does not compile then.
    #[must_use]
    pub fn primary_key(&self) -> &Field {
        self.fields.iter().find(|field| field.primary_key).expect("the derive demands one")
    }
}
