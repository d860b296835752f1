//! Rows and the types they decode into, the same on both databases.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One row of an answer.
pub struct Row(pub(super) Native);

pub(super) enum Native {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(feature = "mysql")]
    Mysql(sqlx::mysql::MySqlRow),
    /// No answer at all: values that something else has given (a fixture, a form), or not.
    Given(Vec<Option<Value>>),
}

impl Row {
    /// A row of these values, to be read as one that a database has answered. What is `None` is
    /// NULL to whoever does not ask whether it [was left out](Self::is_left_out).
    pub(crate) fn given(values: Vec<Option<Value>>) -> Self {
        Self(Native::Given(values))
    }

    /// The value of the column at `index`, from 0.
    ///
    /// # Errors
    /// There is no such column, or its value is not a `T`.
    pub fn get<T: Column>(&self, index: usize) -> Result<T> {
        self.read(index).map_err(|error| {
            let words =
                format!("reading column {index} of a row as {}", std::any::type_name::<T>());
            Error::because(Kind::Database, words, error)
        })
    }

    fn read<T: Column>(&self, index: usize) -> sqlx::Result<T> {
        // SQLite would read NULL as 0 or "". PostgreSQL's decoders refuse it themselves.
        #[cfg(feature = "postgres")]
        let refuses = matches!(self.0, Native::Postgres(_));
        #[cfg(not(feature = "postgres"))]
        let refuses = false;
        if !T::NULLABLE && !refuses && index < self.len() && self.is_null(index) {
            return Err(sqlx::Error::Decode("it is NULL".into()));
        }
        T::read(self, index)
    }

    /// How many columns it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Native::Sqlite(row) => row.len(),
            #[cfg(feature = "postgres")]
            Native::Postgres(row) => row.len(),
            #[cfg(feature = "mysql")]
            Native::Mysql(row) => row.len(),
            Native::Given(values) => values.len(),
        }
    }

    /// Whether it has no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the column at `index` is NULL; so is one that is not there.
    #[must_use]
    pub fn is_null(&self, index: usize) -> bool {
        let null = match &self.0 {
            #[cfg(feature = "sqlite")]
            Native::Sqlite(row) => row.try_get_raw(index).map(|value| value.is_null()),
            #[cfg(feature = "postgres")]
            Native::Postgres(row) => row.try_get_raw(index).map(|value| value.is_null()),
            #[cfg(feature = "mysql")]
            Native::Mysql(row) => row.try_get_raw(index).map(|value| value.is_null()),
            Native::Given(values) => {
                Ok(values.get(index).and_then(Option::as_ref).is_none_or(is_null))
            }
        };
        null.unwrap_or(true)
    }

    /// Whether the column at `index` may have been left out: nobody gave a value for it, or the
    /// database answered NULL, which is what then stands in its place.
    pub(crate) fn is_left_out(&self, index: usize) -> bool {
        match &self.0 {
            Native::Given(values) => values.get(index).is_none_or(Option::is_none),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            _ => self.is_null(index),
        }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("columns", &self.len()).finish_non_exhaustive()
    }
}

/// A type that a column decodes into. Sealed: those that both databases have.
pub trait Column: Sized + sealed::Sealed {
    #[doc(hidden)]
    const NULLABLE: bool = false;

    #[doc(hidden)]
    fn read(row: &Row, index: usize) -> sqlx::Result<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl<T: super::Column> Sealed for Option<T> {}
}

macro_rules! columns {
    ($($type:ty),+) => {$(
        impl sealed::Sealed for $type {}

        impl Column for $type {
            fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
                match &row.0 {
                    #[cfg(feature = "sqlite")]
                    Native::Sqlite(row) => row.try_get(index),
                    #[cfg(feature = "postgres")]
                    Native::Postgres(row) => row.try_get(index),
                    #[cfg(feature = "mysql")]
                    Native::Mysql(row) => super::mysql::FromRow::from_row(row, index),
                    Native::Given(values) => given(values, index),
                }
            }
        }
    )+};
}

fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

fn given<T: sea_query::ValueType>(values: &[Option<Value>], index: usize) -> sqlx::Result<T> {
    let value = values
        .get(index)
        .ok_or(sqlx::Error::ColumnIndexOutOfBounds { index, len: values.len() })?;
    let value = value.as_ref().ok_or_else(|| sqlx::Error::Decode("it is NULL".into()))?;
    T::try_from(value.clone())
        .map_err(|_| sqlx::Error::Decode(format!("{value:?} is no {}", T::type_name()).into()))
}

columns!(bool, i16, f64, String, Vec<u8>, DateTime<Utc>, NaiveDate, NaiveTime);

/// PostgreSQL's whole numbers have three widths; a narrower one fits into a wider type.
macro_rules! widened {
    ($type:ty, $narrower:ty) => {
        impl sealed::Sealed for $type {}

        impl Column for $type {
            fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
                match &row.0 {
                    #[cfg(feature = "sqlite")]
                    Native::Sqlite(row) => row.try_get(index),
                    #[cfg(feature = "postgres")]
                    Native::Postgres(native) => match native.try_get(index) {
                        Err(error @ sqlx::Error::ColumnDecode { .. }) => {
                            <$narrower>::read(row, index).map(Self::from).map_err(|_| error)
                        }
                        value => value,
                    },
                    #[cfg(feature = "mysql")]
                    Native::Mysql(row) => super::mysql::FromRow::from_row(row, index),
                    Native::Given(values) => given(values, index).or_else(|error| {
                        <$narrower>::read(row, index).map(Self::from).map_err(|_| error)
                    }),
                }
            }
        }
    };
}

widened!(i32, i16);
widened!(i64, i32);

/// Types kept as another one that both databases have.
macro_rules! converted {
    ($($type:ty: $other:ty => $convert:expr;)+) => {$(
        impl sealed::Sealed for $type {}

        impl Column for $type {
            fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
                let convert: fn($other) -> std::result::Result<Self, BoxError> = $convert;
                convert(<$other>::read(row, index)?).map_err(sqlx::Error::Decode)
            }
        }
    )+};
}

converted! {
    u16: i32 => |number| Ok(Self::try_from(number)?);
    u32: i64 => |number| Ok(Self::try_from(number)?);
    u64: i64 => |number| Ok(Self::try_from(number)?);
    TimeDelta: i64 => |microseconds| Ok(Self::microseconds(microseconds));
}

/// Types that PostgreSQL has and SQLite keeps as others.
macro_rules! native {
    ($($type:ty: $sqlite:expr, $postgres:expr;)+) => {$(
        impl sealed::Sealed for $type {}

        impl Column for $type {
            fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
                match &row.0 {
                    #[cfg(feature = "sqlite")]
                    Native::Sqlite(native) => {
                        let read: fn(&sqlx::sqlite::SqliteRow, usize) -> _ = $sqlite;
                        read(native, index)
                    }
                    #[cfg(feature = "postgres")]
                    Native::Postgres(native) => match native.try_get(index) {
                        Err(error @ sqlx::Error::ColumnDecode { .. }) => {
                            let other: fn(&Row, usize) -> Option<Self> = $postgres;
                            other(row, index).ok_or(error)
                        }
                        value => value,
                    },
                    #[cfg(feature = "mysql")]
                    Native::Mysql(row) => super::mysql::FromRow::from_row(row, index),
                    Native::Given(values) => given(values, index),
                }
            }
        }
    )+};
}

native! {
    Uuid: |row, index| decoded(row.try_get::<&str, _>(index)?.parse()), |_, _| None;
    // A sum of whole numbers may be one itself.
    Decimal: sqlite_decimal, |row, index| i64::read(row, index).ok().map(Self::from);
    serde_json::Value: sqlite_json, |_, _| None;
}

#[cfg(feature = "sqlite")]
fn decoded<T, E: Into<BoxError>>(value: std::result::Result<T, E>) -> sqlx::Result<T> {
    value.map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(feature = "sqlite")]
fn sqlite_decimal(row: &sqlx::sqlite::SqliteRow, index: usize) -> sqlx::Result<Decimal> {
    let kind = row.try_get_raw(index)?.type_info().name().to_owned();
    match kind.as_str() {
        "INTEGER" => row.try_get::<i64, _>(index).map(Decimal::from),
        "REAL" => {
            let number = row.try_get(index)?;
            let decimal = super::bind::decimal(number);
            decimal.ok_or_else(|| sqlx::Error::Decode(format!("{number} is no decimal").into()))
        }
        _ => decoded(row.try_get::<&str, _>(index)?.parse()),
    }
}

#[cfg(feature = "sqlite")]
fn sqlite_json(row: &sqlx::sqlite::SqliteRow, index: usize) -> sqlx::Result<serde_json::Value> {
    let kind = row.try_get_raw(index)?.type_info().name().to_owned();
    match kind.as_str() {
        "INTEGER" => row.try_get::<i64, _>(index).map(Into::into),
        "REAL" => row.try_get::<f64, _>(index).map(Into::into),
        _ => decoded(serde_json::from_str(row.try_get(index)?)),
    }
}

impl<T: Column> Column for Option<T> {
    const NULLABLE: bool = true;

    fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
        if index < row.len() && row.is_null(index) {
            return Ok(None);
        }
        T::read(row, index).map(Some)
    }
}
