//! What each kind of field holds, for code that knows a model only by its description.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use uuid::Uuid;

use crate::db::{Column, Row};
use crate::error::Result;
use crate::models::meta::FieldKind;

impl FieldKind {
    /// Reads the column at `index`, NULL too, as the value that a field of this kind is bound as.
    ///
    /// # Errors
    /// The column holds something else.
    pub(crate) fn read(self, row: &Row, index: usize) -> Result<Value> {
        if row.is_null(index) && index < row.len() {
            return Ok(self.null());
        }
        match self {
            Self::BigAuto | Self::BigInteger | Self::PositiveInteger => get::<i64>(row, index),
            Self::PositiveBigInteger | Self::Duration => get::<i64>(row, index),
            Self::Integer | Self::PositiveSmallInteger => get::<i32>(row, index),
            Self::SmallInteger => get::<i16>(row, index),
            Self::Boolean => get::<bool>(row, index),
            Self::Float => get::<f64>(row, index),
            Self::Char | Self::Text => get::<String>(row, index),
            Self::DateTime => get::<DateTime<Utc>>(row, index),
            Self::Date => get::<NaiveDate>(row, index),
            Self::Time => get::<NaiveTime>(row, index),
            Self::Decimal => get::<Decimal>(row, index),
            Self::Uuid => get::<Uuid>(row, index),
            Self::Json => get::<serde_json::Value>(row, index),
            Self::Binary => get::<Vec<u8>>(row, index),
        }
    }

    /// NULL of its column's type.
    pub(crate) fn null(self) -> Value {
        match self {
            Self::BigAuto | Self::BigInteger | Self::PositiveInteger => Value::BigInt(None),
            Self::PositiveBigInteger | Self::Duration => Value::BigInt(None),
            Self::Integer | Self::PositiveSmallInteger => Value::Int(None),
            Self::SmallInteger => Value::SmallInt(None),
            Self::Boolean => Value::Bool(None),
            Self::Float => Value::Double(None),
            Self::Char | Self::Text => Value::String(None),
            Self::DateTime => Value::ChronoDateTimeUtc(None),
            Self::Date => Value::ChronoDate(None),
            Self::Time => Value::ChronoTime(None),
            Self::Decimal => Value::Decimal(None),
            Self::Uuid => Value::Uuid(None),
            Self::Json => Value::Json(None),
            Self::Binary => Value::Bytes(None),
        }
    }
}

fn get<T: Column + Into<Value>>(row: &Row, index: usize) -> Result<Value> {
    row.get::<T>(index).map(Into::into)
}
