//! The fields whose types are the standard library's and well-known crates': numbers, texts, times,
//! decimals, UUIDs, bytes, addresses, JSON.

use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use uuid::Uuid;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::duration;
use crate::models::expression::Expression;
use crate::models::field::{FieldType, Plain, Timed};
use crate::models::meta::{Default, Field, FieldKind};

/// Longest text of an address, characters: eight groups of four digits.
const ADDRESS_LENGTH: u32 = 39;

macro_rules! plain {
    ($($type:ty: $kind:ident, $variant:ident, $unset:expr, $default:pat => $made:expr;)+) => {$(
        // The note of the trait names them better than a list of impls.
        #[diagnostic::do_not_recommend]
        impl FieldType for $type {
            const KIND: FieldKind = FieldKind::$kind;
            type Column = Expression<Self>;

            fn unset() -> Self {
                $unset
            }

            fn from_default(default: &Default) -> Option<Self> {
                match default {
                    $default => $made,
                    _ => None,
                }
            }

            fn value(&self) -> Option<Value> {
                Some(Value::$variant(Some(self.clone().into())))
            }

            fn null() -> Value {
                Value::$variant(None)
            }

            fn read(row: &Row, index: usize) -> Result<Self> {
                row.get(index)
            }
        }

        impl Plain for $type {}
    )+};
}

plain! {
    bool: Boolean, Bool, false, Default::Bool(value) => Some(*value);
    i16: SmallInteger, SmallInt, 0, Default::Int(value) => Self::try_from(*value).ok();
    i32: Integer, Int, 0, Default::Int(value) => Self::try_from(*value).ok();
    i64: BigInteger, BigInt, 0, Default::Int(value) => Some(*value);
    f64: Float, Double, 0.0, Default::Float(value) => Some(*value);
    String: Text, String, Self::new(), Default::Text(value) => Some((*value).to_owned());
    DateTime<Utc>: DateTime, ChronoDateTimeUtc, Self::UNIX_EPOCH,
        Default::Text(value) => value.parse().ok();
    NaiveDate: Date, ChronoDate, <Self as std::default::Default>::default(),
        Default::Text(value) => value.parse().ok();
    NaiveTime: Time, ChronoTime, Self::MIN, Default::Text(value) => value.parse().ok();
    u16: PositiveSmallInteger, Int, 0, Default::Int(value) => Self::try_from(*value).ok();
    u32: PositiveInteger, BigInt, 0, Default::Int(value) => Self::try_from(*value).ok();
    Uuid: Uuid, Uuid, Self::nil(), Default::Text(value) => value.parse().ok();
    Vec<u8>: Binary, Bytes, Self::new(), Default::Bool(_) => None;
}

/// Up to `i64::MAX`, which is what databases keep; a greater one is refused when it is saved.
#[diagnostic::do_not_recommend]
impl FieldType for u64 {
    const KIND: FieldKind = FieldKind::PositiveBigInteger;
    type Column = Expression<Self>;

    fn unset() -> Self {
        0
    }

    fn from_default(default: &Default) -> Option<Self> {
        match default {
            Default::Int(value) => Self::try_from(*value).ok(),
            _ => None,
        }
    }

    fn value(&self) -> Option<Value> {
        let number = i64::try_from(*self);
        Some(number.map_or_else(|_| Value::BigUnsigned(Some(*self)), Value::from))
    }

    fn null() -> Value {
        Value::BigInt(None)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        row.get(index)
    }
}

impl Plain for u64 {}

/// Exact to 28 digits; on SQLite to 15, and more are refused.
#[diagnostic::do_not_recommend]
impl FieldType for Decimal {
    const KIND: FieldKind = FieldKind::Decimal;
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self::ZERO
    }

    fn from_default(default: &Default) -> Option<Self> {
        match default {
            Default::Int(value) => Some((*value).into()),
            Default::Text(value) => value.parse().ok(),
            Default::Bool(_) | Default::Float(_) => None,
        }
    }

    fn value(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn null() -> Value {
        Value::Decimal(None)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        row.get(index)
    }

    /// With as many places as the field has, whichever way the database keeps it.
    fn fitted(mut self, field: &Field) -> Self {
        if let Some((_, places)) = field.digits
            && self.scale() < places
        {
            self.rescale(places);
        }
        self
    }
}

impl Plain for Decimal {}

/// Kept in microseconds; what is below is cut off. One of more than 292,000 years is refused when
/// it is saved.
#[diagnostic::do_not_recommend]
impl FieldType for TimeDelta {
    const KIND: FieldKind = FieldKind::Duration;
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self::zero()
    }

    fn from_default(default: &Default) -> Option<Self> {
        match default {
            Default::Text(value) => duration::parse(value),
            Default::Bool(_) | Default::Int(_) | Default::Float(_) => None,
        }
    }

    fn value(&self) -> Option<Value> {
        // No database takes such a number, so a longer duration is refused there too.
        let too_long = Value::BigUnsigned(Some(u64::MAX));
        Some(self.num_microseconds().map_or(too_long, Value::from))
    }

    fn null() -> Value {
        Value::BigInt(None)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        row.get(index)
    }
}

impl Plain for TimeDelta {}

/// JSON's `null` is a value; NULL is `None` of an `Option`.
#[diagnostic::do_not_recommend]
impl FieldType for serde_json::Value {
    const KIND: FieldKind = FieldKind::Json;
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self::Null
    }

    fn from_default(default: &Default) -> Option<Self> {
        match default {
            Default::Bool(value) => Some((*value).into()),
            Default::Int(value) => Some((*value).into()),
            Default::Float(value) => Some((*value).into()),
            Default::Text(value) => value.parse().ok(),
        }
    }

    fn value(&self) -> Option<Value> {
        Some(self.clone().into())
    }

    fn null() -> Value {
        Value::Json(None)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        row.get(index)
    }
}

impl Plain for serde_json::Value {}

/// Kept as text: `192.0.2.1`, `2001:db8::1`.
#[diagnostic::do_not_recommend]
impl FieldType for IpAddr {
    const KIND: FieldKind = FieldKind::Char;
    const MAX_LENGTH: Option<u32> = Some(ADDRESS_LENGTH);
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self::V4(std::net::Ipv4Addr::UNSPECIFIED)
    }

    fn from_default(default: &Default) -> Option<Self> {
        match default {
            Default::Text(value) => value.parse().ok(),
            Default::Bool(_) | Default::Int(_) | Default::Float(_) => None,
        }
    }

    fn value(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn null() -> Value {
        Value::String(None)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        let text: String = row.get(index)?;
        text.parse()
            .map_err(|error| Error::because(Kind::Field, format!("{text:?} is no address"), error))
    }
}

impl Plain for IpAddr {}

impl Timed for DateTime<Utc> {
    fn set_now(&mut self, now: DateTime<Utc>) {
        *self = now;
    }
}

impl Timed for NaiveDate {
    fn set_now(&mut self, now: DateTime<Utc>) {
        *self = now.date_naive();
    }
}

impl Timed for NaiveTime {
    fn set_now(&mut self, now: DateTime<Utc>) {
        *self = now.time();
    }
}
