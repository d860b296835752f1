//! What each kind of field holds, for code that knows a model only by its description.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use uuid::Uuid;

use crate::db::{Column, Row};
use crate::error::Result;
use crate::models::duration;
use crate::models::meta::{Default, FieldKind};

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

impl FieldKind {
    /// The value that a declared default means for a field of this kind, if it fits.
    pub(crate) fn value_of(self, default: &Default) -> Option<Value> {
        Some(match (self, default) {
            (Self::Boolean, Default::Bool(flag)) => (*flag).into(),
            (Self::SmallInteger, Default::Int(number)) => i16::try_from(*number).ok()?.into(),
            (Self::Integer, Default::Int(number)) => i32::try_from(*number).ok()?.into(),
            (Self::BigAuto | Self::BigInteger, Default::Int(number)) => (*number).into(),
            (Self::PositiveSmallInteger, Default::Int(number)) => {
                i32::from(u16::try_from(*number).ok()?).into()
            }
            (Self::PositiveInteger, Default::Int(number)) => {
                i64::from(u32::try_from(*number).ok()?).into()
            }
            (Self::PositiveBigInteger, Default::Int(number)) if *number >= 0 => (*number).into(),
            (Self::Float, Default::Float(number)) => (*number).into(),
            (Self::Decimal, Default::Int(number)) => Decimal::from(*number).into(),
            (Self::Json, Default::Bool(flag)) => serde_json::Value::from(*flag).into(),
            (Self::Json, Default::Int(number)) => serde_json::Value::from(*number).into(),
            (Self::Json, Default::Float(number)) => serde_json::Value::from(*number).into(),
            (kind, Default::Text(text)) => return kind.parse(text),
            _ => return None,
        })
    }

    /// The value that a text stands for, in the words of migration files and defaults: ISO 8601 for
    /// times, JSON for JSON.
    fn parse(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Char | Self::Text => text.into(),
            Self::DateTime => text.parse::<DateTime<Utc>>().ok()?.into(),
            Self::Date => text.parse::<NaiveDate>().ok()?.into(),
            Self::Time => text.parse::<NaiveTime>().ok()?.into(),
            Self::Decimal => text.parse::<Decimal>().ok()?.into(),
            Self::Duration => duration::parse(text)?.num_microseconds()?.into(),
            Self::Uuid => text.parse::<Uuid>().ok()?.into(),
            Self::Json => text.parse::<serde_json::Value>().ok()?.into(),
            _ => return None,
        })
    }

    /// The default that a value of this kind is declared as; bytes cannot be.
    pub(crate) fn default_of(self, value: Value) -> Option<Default> {
        let text = match value {
            Value::Bool(flag) => return flag.map(Default::Bool),
            Value::SmallInt(number) => return number.map(|number| Default::Int(number.into())),
            Value::Int(number) => return number.map(|number| Default::Int(number.into())),
            Value::BigInt(number) if self == Self::Duration => {
                duration::format(TimeDelta::microseconds(number?))
            }
            Value::BigInt(number) => return number.map(Default::Int),
            Value::Double(number) => return number.map(Default::Float),
            Value::String(text) => text?,
            Value::ChronoDateTimeUtc(instant) => instant?.to_rfc3339(),
            Value::ChronoDate(day) => day?.to_string(),
            Value::ChronoTime(time) => time?.to_string(),
            Value::Decimal(decimal) => decimal?.to_string(),
            Value::Uuid(uuid) => uuid?.to_string(),
            Value::Json(json) => json?.to_string(),
            _ => return None,
        };
        // A description is made once and stays for good.
        Some(Default::Text(text.leak()))
    }
}

fn get<T: Column + Into<Value>>(row: &Row, index: usize) -> Result<Value> {
    row.get::<T>(index).map(Into::into)
}
