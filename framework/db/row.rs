//! Rows and the types they decode into, the same on both databases.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Row as _, ValueRef as _};

use crate::error::{Error, Kind, Result};

/// One row of an answer.
pub struct Row(pub(super) Native);

pub(super) enum Native {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

impl Row {
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
        // SQLite would read NULL as 0 or "".
        if !T::NULLABLE && index < self.len() && self.is_null(index) {
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
        };
        null.unwrap_or(true)
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
                }
            }
        }
    )+};
}

columns!(bool, i16, f64, String, Vec<u8>, DateTime<Utc>, NaiveDate);

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
                }
            }
        }
    };
}

widened!(i32, i16);
widened!(i64, i32);

impl<T: Column> Column for Option<T> {
    const NULLABLE: bool = true;

    fn read(row: &Row, index: usize) -> sqlx::Result<Self> {
        if index < row.len() && row.is_null(index) {
            return Ok(None);
        }
        T::read(row, index).map(Some)
    }
}
