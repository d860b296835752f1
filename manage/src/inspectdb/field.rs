//! From a column's type to a field's.

use hulse::db::Dialect;
use hulse::migrations::inspect::{Column, Table};

/// Digits of a decimal whose column does not say how many.
const DIGITS_GUESSED: (u32, u32) = (15, 5);

/// Length of a UUID without hyphens, characters: Django's `UUIDField` on SQLite.
const UUID_LENGTH: u32 = 32;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Boolean,
    SmallInteger,
    Integer,
    BigInteger,
    PositiveSmallInteger,
    PositiveInteger,
    PositiveBigInteger,
    Float,
    Decimal { most: u32, places: u32, guessed: bool },
    Char(u32),
    Text,
    DateTime,
    Date,
    Time,
    Uuid,
    Json,
    Binary,
}

/// The type of field that reads `column`; `None` if there is none.
pub(super) fn of(dialect: Dialect, column: &Column, table: &Table) -> Option<Type> {
    let (base, arguments) = split(&column.kind);
    let is_sqlite = is_sqlite(dialect);
    let length = arguments.first().copied();
    Some(match base.as_str() {
        "boolean" | "bool" => Type::Boolean,
        "smallint" if is_positive(column, table) => Type::PositiveSmallInteger,
        "smallint" | "int2" | "tinyint" => Type::SmallInteger,
        "smallint unsigned" => Type::PositiveSmallInteger,
        "integer unsigned" | "int unsigned" => Type::PositiveInteger,
        "bigint unsigned" => Type::PositiveBigInteger,
        // SQLite's hold 64 bits whatever they are called.
        "integer" | "int" | "mediumint" if is_sqlite => match is_positive(column, table) {
            true => Type::PositiveBigInteger,
            false => Type::BigInteger,
        },
        "integer" | "int" | "int4" => match is_positive(column, table) {
            true => Type::PositiveInteger,
            false => Type::Integer,
        },
        "bigint" | "int8" => match is_positive(column, table) {
            true => Type::PositiveBigInteger,
            false => Type::BigInteger,
        },
        "double precision" | "double" => Type::Float,
        "real" | "float" if is_sqlite => Type::Float,
        "decimal" | "numeric" => match arguments.as_slice() {
            [most, places] => Type::Decimal { most: *most, places: *places, guessed: false },
            [most] => Type::Decimal { most: *most, places: 0, guessed: false },
            _ => {
                let (most, places) = DIGITS_GUESSED;
                Type::Decimal { most, places, guessed: true }
            }
        },
        "char" if is_sqlite && length == Some(UUID_LENGTH) => Type::Uuid,
        "varchar" | "char" | "character varying" | "character" | "nvarchar" | "nchar" => {
            length.map_or(Type::Text, Type::Char)
        }
        "text" if is_json(column, table) => Type::Json,
        "text" | "clob" | "citext" => Type::Text,
        "datetime" | "timestamp with time zone" => Type::DateTime,
        "timestamp" if is_sqlite => Type::DateTime,
        "date" => Type::Date,
        "time" | "time without time zone" => Type::Time,
        "uuid" => Type::Uuid,
        "json" | "jsonb" => Type::Json,
        "blob" | "bytea" => Type::Binary,
        _ => return None,
    })
}

fn is_sqlite(dialect: Dialect) -> bool {
    format!("{dialect:?}") == "Sqlite"
}

/// `character varying(30)` as its name and numbers; `smallint(5) unsigned` too.
fn split(kind: &str) -> (String, Vec<u32>) {
    let Some((base, rest)) = kind.split_once('(') else { return (kind.to_owned(), Vec::new()) };
    let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
    let numbers = inside.split(',').filter_map(|number| number.trim().parse().ok());
    (format!("{}{after}", base.trim_end()).trim().to_owned(), numbers.collect())
}

/// Whether a check says that it is not negative.
fn is_positive(column: &Column, table: &Table) -> bool {
    let bare = |sql: &str| sql.replace(['(', ')', '"', '`', ' '], "");
    let wanted = format!("{}>=0", column.name);
    table.checks.iter().any(|check| bare(&check.sql) == wanted)
}

/// Whether a check says that it is JSON.
fn is_json(column: &Column, table: &Table) -> bool {
    let bare = |sql: &str| sql.to_lowercase().replace(['(', ')', '"', '`', ' '], "");
    let wanted = format!("json_valid{}", column.name.to_lowercase());
    table.checks.iter().any(|check| bare(&check.sql).starts_with(&wanted))
}

impl Type {
    pub(super) fn rust(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::SmallInteger => "i16",
            Self::Integer => "i32",
            Self::BigInteger => "i64",
            Self::PositiveSmallInteger => "u16",
            Self::PositiveInteger => "u32",
            Self::PositiveBigInteger => "u64",
            Self::Float => "f64",
            Self::Decimal { .. } => "Decimal",
            Self::Char(_) | Self::Text => "String",
            Self::DateTime => "DateTime<Utc>",
            Self::Date => "NaiveDate",
            Self::Time => "NaiveTime",
            Self::Uuid => "Uuid",
            Self::Json => "JsonValue",
            Self::Binary => "Vec<u8>",
        }
    }

    /// The names it needs to be in scope.
    pub(super) fn uses(self) -> &'static [&'static str] {
        match self {
            Self::Decimal { .. } => &["Decimal"],
            Self::DateTime => &["DateTime", "Utc"],
            Self::Date => &["NaiveDate"],
            Self::Time => &["NaiveTime"],
            Self::Uuid => &["Uuid"],
            Self::Json => &["JsonValue"],
            _ => &[],
        }
    }

    /// What `#[field(..)]` must say of it.
    pub(super) fn words(self) -> Vec<String> {
        match self {
            Self::Char(length) => vec![format!("max_length = {length}")],
            Self::Text => vec!["text".to_owned()],
            Self::Decimal { most, places, .. } => {
                vec![format!("max_digits = {most}"), format!("decimal_places = {places}")]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn note(self) -> Option<&'static str> {
        let guessed = matches!(self, Self::Decimal { guessed: true, .. });
        guessed.then_some("The column does not say how many digits it has: these are a guess.")
    }

    /// Whether a primary key may be one.
    pub(super) fn may_be_key(self) -> bool {
        !matches!(self, Self::Boolean | Self::Float | Self::Json | Self::Binary)
    }
}
