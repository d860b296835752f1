//! How values of MariaDB's types are read as Rust's.
//!
//! Sums and averages of whole numbers are DECIMAL there, so numbers are read from it too if nothing
//! is lost. A UUID is 32 hexadecimal digits, JSON is text.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;
use sqlx::mysql::MySqlRow;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

/// A type that MariaDB's values are read as.
pub(crate) trait FromRow: Sized {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self>;
}

macro_rules! native {
    ($($type:ty),+) => {$(
        impl FromRow for $type {
            fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
                row.try_get(index)
            }
        }
    )+};
}

native!(String, Vec<u8>, DateTime<Utc>, NaiveDate, NaiveTime);

macro_rules! whole {
    ($($type:ty),+) => {$(
        impl FromRow for $type {
            fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
                whole(row, index)?.try_into().map_err(decode)
            }
        }
    )+};
}

whole!(i16, i32, i64);

impl FromRow for bool {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
        Ok(whole(row, index)? != 0)
    }
}

impl FromRow for f64 {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
        match kind(row, index)?.as_str() {
            "DECIMAL" => text(row, index)?.parse().map_err(decode),
            _ => row.try_get(index),
        }
    }
}

impl FromRow for Decimal {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
        match kind(row, index)?.as_str() {
            "DECIMAL" => text(row, index)?.parse().map_err(decode),
            _ => whole(row, index).map(Self::from),
        }
    }
}

impl FromRow for Uuid {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
        row.try_get::<&str, _>(index)?.parse().map_err(decode)
    }
}

impl FromRow for serde_json::Value {
    fn from_row(row: &MySqlRow, index: usize) -> sqlx::Result<Self> {
        match kind(row, index)?.as_str() {
            // What a function takes out of JSON may come as its own type.
            "DOUBLE" => row.try_get::<f64, _>(index).map(Into::into),
            kind if kind.contains("INT") => row.try_get::<i64, _>(index).map(Into::into),
            _ => serde_json::from_str(row.try_get(index)?).map_err(decode),
        }
    }
}

/// A whole number of any width, with a sign or without.
fn whole(row: &MySqlRow, index: usize) -> sqlx::Result<i128> {
    match kind(row, index)?.as_str() {
        "DECIMAL" => {
            let text = text(row, index)?;
            let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
            if fraction.bytes().any(|digit| digit != b'0') {
                return Err(sqlx::Error::Decode(format!("{text} is no whole number").into()));
            }
            digits.parse().map_err(decode)
        }
        kind if kind.ends_with(" UNSIGNED") || matches!(kind, "YEAR" | "BIT") => {
            row.try_get_unchecked::<u64, _>(index).map(Into::into)
        }
        _ => row.try_get::<i64, _>(index).map(Into::into),
    }
}

fn kind(row: &MySqlRow, index: usize) -> sqlx::Result<String> {
    Ok(row.try_get_raw(index)?.type_info().name().to_owned())
}

/// The text of a DECIMAL: it is sent as such.
fn text(row: &MySqlRow, index: usize) -> sqlx::Result<&str> {
    row.try_get_unchecked(index)
}

fn decode(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
