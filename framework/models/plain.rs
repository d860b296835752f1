//! The fields whose types are the standard library's and well-known crates': numbers, texts, times,
//! decimals, UUIDs, bytes, addresses, JSON.

use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use uuid::Uuid;

use crate::db::Row;
use crate::error::Result;
use crate::models::expression::Expression;
use crate::models::field::{FieldType, Plain, Timed};
use crate::models::meta::{Field, FieldKind};

/// Longest text of an address, characters: eight groups of four digits.
const ADDRESS_LENGTH: u32 = 39;

macro_rules! plain {
    ($($type:ty: $kind:ident, $variant:ident, $unset:expr;)+) => {$(
        // The note of the trait names them better than a list of impls.
        #[diagnostic::do_not_recommend]
        impl FieldType for $type {
            const KIND: FieldKind = FieldKind::$kind;
            type Column = Expression<Self>;

            fn unset() -> Self {
                $unset
            }

            fn value(&self) -> Option<Value> {
                Some(Value::$variant(Some(self.clone().into())))
            }

            fn from_stored(value: Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => value?.try_into().ok(),
                    _ => None,
                }
            }

            fn read(row: &Row, index: usize) -> Result<Self> {
                row.get(index)
            }
        }

        impl Plain for $type {}
    )+};
}

plain! {
    bool: Boolean, Bool, false;
    i16: SmallInteger, SmallInt, 0;
    i32: Integer, Int, 0;
    i64: BigInteger, BigInt, 0;
    u16: PositiveSmallInteger, Int, 0;
    u32: PositiveInteger, BigInt, 0;
    f64: Float, Double, 0.0;
    String: Text, String, Self::new();
    DateTime<Utc>: DateTime, ChronoDateTimeUtc, Self::UNIX_EPOCH;
    NaiveDate: Date, ChronoDate, Self::default();
    NaiveTime: Time, ChronoTime, Self::MIN;
    Uuid: Uuid, Uuid, Self::nil();
    Vec<u8>: Binary, Bytes, Self::new();
}

/// Up to `i64::MAX`, which is what databases keep; a greater one is refused when it is saved.
#[diagnostic::do_not_recommend]
impl FieldType for u64 {
    const KIND: FieldKind = FieldKind::PositiveBigInteger;
    type Column = Expression<Self>;

    fn unset() -> Self {
        0
    }

    fn value(&self) -> Option<Value> {
        let number = i64::try_from(*self);
        Some(number.map_or_else(|_| Value::BigUnsigned(Some(*self)), Value::from))
    }

    fn from_stored(value: Value) -> Option<Self> {
        match value {
            Value::BigInt(number) => number?.try_into().ok(),
            Value::BigUnsigned(number) => number,
            _ => None,
        }
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

    fn value(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn from_stored(value: Value) -> Option<Self> {
        match value {
            Value::Decimal(decimal) => decimal,
            _ => None,
        }
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

    fn value(&self) -> Option<Value> {
        // No database takes such a number, so a longer duration is refused there too.
        let too_long = Value::BigUnsigned(Some(u64::MAX));
        Some(self.num_microseconds().map_or(too_long, Value::from))
    }

    fn from_stored(value: Value) -> Option<Self> {
        match value {
            Value::BigInt(microseconds) => microseconds.map(Self::microseconds),
            _ => None,
        }
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

    fn value(&self) -> Option<Value> {
        Some(self.clone().into())
    }

    fn from_stored(value: Value) -> Option<Self> {
        match value {
            Value::Json(json) => json.map(|json| *json),
            _ => None,
        }
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

    fn value(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn from_stored(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => text?.parse().ok(),
            _ => None,
        }
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
