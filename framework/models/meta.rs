//! What the derive says of a model: table, fields, indexes.

use std::fmt;

use futures_util::future::BoxFuture;
use sea_query::Value;

use crate::error::{Error, Kind, Result};
use crate::models::condition::Q;
use crate::models::live::Rows;
use crate::site::Site;

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
    /// Relations without a column: many-to-many fields and the other sides of foreign keys.
    pub many: Vec<Many>,
    /// Indexes over several columns, over part of the rows, or with a name.
    pub indexes: Vec<Index>,
    /// What every row must fulfil, alone or among the others.
    pub constraints: Vec<Constraint>,
    /// What people call a row: `blog post`.
    pub verbose_name: &'static str,
    /// What people call several: `blog posts`.
    pub verbose_name_plural: &'static str,
    /// The fields that `latest` and `earliest` go by, `-` in front for descending.
    pub get_latest_by: &'static [&'static str],
    /// Whether migrations make and change its table.
    pub managed: bool,
    /// The fields that name a row where keys mean nothing, as in a fixture for another database;
    /// none if there are no such.
    pub natural_key: &'static [&'static str],
    /// What else there may be a right to do with its rows: codename and what people read.
    pub permissions: &'static [(&'static str, &'static str)],
    /// Which of [`DEFAULT_PERMISSIONS`] there are.
    pub default_permissions: &'static [&'static str],
    /// How its struct is made and called; `None` if it has none (a model between two others, or of
    /// the past).
    pub rows: Option<Rows>,
}

/// What may be done with the rows of any model, unless it says otherwise.
pub const DEFAULT_PERMISSIONS: &[&str] = &["add", "change", "delete", "view"];

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
    /// Most digits of a decimal, and how many of them stand after the point.
    pub digits: Option<(u32, u32)>,
    /// What `full_clean` and forms ask of a value, beside its type and length.
    pub validators: &'static [Validator],
    /// Whether `full_clean` and forms accept nothing.
    pub blank: bool,
    /// Whether forms show it.
    pub editable: bool,
    /// What people call it: `first name`.
    pub verbose_name: &'static str,
    /// A sentence below its input.
    pub help_text: &'static str,
    /// What makes the value of a new row, if something does; the database is told nothing of it.
    pub default_fn: Option<fn() -> Value>,
    /// The folder that the files of a file field go to, below the media folder.
    pub upload_to: &'static str,
    /// Whether it is left out when a row is serialized.
    pub secret: bool,
    /// Whether it is read only when it is asked for (`Deferred<..>`).
    pub deferred: bool,
}

/// A question to a value, with what to answer if it fails.
#[derive(Clone, Copy)]
pub struct Validator {
    /// What it is, for messages and forms: `email`, `slug`.
    pub name: &'static str,
    /// Says what is wrong with a value that is not NULL.
    pub check: fn(&Value) -> std::result::Result<(), String>,
}

impl Validator {
    /// A word for programs, as Django has it: `min_value`; `invalid` for all that have none.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.name {
            "min_value" | "max_value" | "min_length" => self.name,
            "image_extension" => "invalid_extension",
            _ => "invalid",
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({})", self.name)
    }
}

/// A relation that is no column of its model's table.
#[derive(Clone, Copy)]
pub struct Many {
    /// Name of the struct's field: `tags`.
    pub name: &'static str,
    /// How it gets there.
    pub kind: ManyKind,
}

/// How a relation without a column gets to its rows.
#[derive(Clone, Copy)]
pub enum ManyKind {
    /// Over the rows of a model between the two.
    ManyToMany {
        /// The other model.
        to: fn() -> &'static Meta,
        /// The model between: made for the field, or the site's own.
        through: fn() -> &'static Meta,
        /// Its foreign key to this model; empty for the only one there is.
        from_field: &'static str,
        /// Its foreign key to the other one.
        to_field: &'static str,
        /// Whether the model between has no struct: it was made for the field.
        auto: bool,
        /// Whether being related goes both ways (a relation of a model to itself).
        symmetrical: bool,
    },
    /// The rows that point here: the other side of a foreign key.
    Reverse {
        /// Their model.
        from: fn() -> &'static Meta,
        /// Their foreign key, or their many-to-many field; empty for the only foreign key there is.
        field: &'static str,
        /// Whether there is at most one.
        one: bool,
    },
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Many({})", self.name)
    }
}

impl fmt::Debug for ManyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManyToMany { .. } => "ManyToMany",
            Self::Reverse { .. } => "Reverse",
        })
    }
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
    /// `u16`
    PositiveSmallInteger,
    /// `u32`
    PositiveInteger,
    /// `u64` up to `i64::MAX`: no database has more.
    PositiveBigInteger,
    /// `Decimal`: exact, with `max_digits` and `decimal_places`.
    Decimal,
    /// `NaiveTime`
    Time,
    /// `TimeDelta`, in microseconds.
    Duration,
    /// `Uuid`
    Uuid,
    /// `serde_json::Value` or `Json<..>`.
    Json,
    /// `Vec<u8>`
    Binary,
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
    /// Deleting is refused unless they go too, because of another row that goes with it.
    Restrict,
    /// Their column becomes NULL.
    SetNull,
    /// Their column gets its default; without one NULL.
    SetDefault,
    /// Their column points to what the function says.
    Set(SetTo),
    /// Nothing; the database's constraint decides.
    DoNothing,
}

/// Gives the key that a foreign key is to hold once the row it points to is deleted, asked only if
/// there is such a foreign key.
#[derive(Clone, Copy)]
pub struct SetTo(pub for<'a> fn(&'a Site) -> BoxFuture<'a, Result<Option<Value>>>);

impl SetTo {
    /// Of a model of the past, whose function is not known any more.
    pub(crate) const UNKNOWN: Self = Self(|_| {
        Box::pin(async {
            let words = "what to point to after a delete is known of installed models only";
            Err(Error::of(Kind::Field, words))
        })
    });
}

impl fmt::Debug for SetTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetTo")
    }
}

/// Two functions are one to whoever compares descriptions: the database knows neither.
impl PartialEq for SetTo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SetTo {}

/// One allowed value: what is stored, what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As stored.
    pub value: &'static str,
    /// As shown.
    pub label: &'static str,
}

/// An index over columns.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name in the database; empty for one made from table and columns.
    pub name: &'static str,
    /// The fields, in order, `-` in front for descending.
    pub fields: &'static [&'static str],
    /// Which rows are in it; all if `None`.
    pub condition: Option<Condition>,
}

/// What every row must fulfil.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// Its name in the database; empty for one made from table and columns.
    pub name: &'static str,
    /// What it demands.
    pub kind: ConstraintKind,
    /// What `full_clean` says of a row that breaks it, instead of its own words.
    pub message: Option<&'static str>,
}

/// What a constraint demands.
#[derive(Clone, Debug)]
pub enum ConstraintKind {
    /// No two rows share all of these fields.
    Unique {
        /// The fields, in order.
        fields: &'static [&'static str],
        /// Among which rows; all if `None`.
        condition: Option<Condition>,
        /// Whether two NULLs differ, as SQL has it.
        nulls_distinct: bool,
    },
    /// The condition holds for every row.
    Check(Condition),
}

/// A condition on a model's own columns, made when it is asked for.
#[derive(Clone, Copy)]
pub struct Condition(pub fn() -> Q);

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition")
    }
}

impl Field {
    /// A column without any option: not NULL, no default.
    #[must_use]
    pub const fn new(name: &'static str, column: &'static str, kind: FieldKind) -> Self {
        Self {
            name,
            column,
            kind,
            null: false,
            primary_key: false,
            unique: false,
            index: false,
            max_length: None,
            default: None,
            auto_now: false,
            auto_now_add: false,
            relation: None,
            choices: &[],
            digits: None,
            validators: &[],
            blank: false,
            editable: true,
            verbose_name: name,
            help_text: "",
            default_fn: None,
            upload_to: "",
            secret: false,
            deferred: false,
        }
    }
}

impl Meta {
    /// `chat.Post`, as messages name it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}.{}", self.app, self.model)
    }

    /// The rights there are to its rows, `add_post` and the like, and what people read.
    pub fn all_permissions(&self) -> impl Iterator<Item = (String, String)> {
        let usual = self.default_permissions.iter().map(|action| {
            let codename = format!("{action}_{}", self.model.to_lowercase());
            (codename, format!("Can {action} {}", self.verbose_name))
        });
        usual.chain(self.permissions.iter().map(|(codename, name)| {
            let (codename, name) = (*codename, *name);
            (codename.to_owned(), name.to_owned())
        }))
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
