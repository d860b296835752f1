//! Values as a database can take them.
//!
//! Invariants: both databases keep and compare the same; what one of them cannot keep is an error
//! here, never a value that is silently another.

use chrono::{DateTime, NaiveTime, Timelike, Utc};
use rust_decimal::Decimal;
use sea_query::{Value, Values};

use crate::db::Dialect;

/// Digits of a decimal that SQLite's numbers keep, those of an IEEE 754 double (`DBL_DIG`).
#[cfg(feature = "sqlite")]
const SQLITE_DIGITS_MAX: u32 = 15;

/// What is said of a text that [`has_nul`].
pub(super) const NUL: &str =
    "a text has a NUL character: PostgreSQL does not keep it, and SQLite's patterns end there";

/// Nanoseconds of a microsecond, PostgreSQL's precision.
const MICROSECOND: u32 = 1_000;

/// Nanoseconds of a second; chrono counts a leap second's further.
const SECOND: u32 = 1_000_000_000;

/// Cuts times to microseconds, and writes as another type what the database has none for.
///
/// # Errors
/// A value does not fit the database's types.
pub(super) fn bindable(mut values: Values, dialect: Dialect) -> sqlx::Result<Values> {
    for value in &mut values.0 {
        if has_nul(value) {
            return Err(sqlx::Error::Encode(NUL.into()));
        }
        let other = match value {
            // As TIMESTAMP it would end in 2038. Sessions are in UTC.
            #[cfg(feature = "mysql")]
            Value::ChronoDateTimeUtc(instant) if dialect == Dialect::Mysql => {
                Value::ChronoDateTime(instant.map(|instant| microseconds(instant).naive_utc()))
            }
            Value::ChronoDateTimeUtc(Some(instant)) => {
                Value::ChronoDateTimeUtc(Some(microseconds(*instant)))
            }
            Value::ChronoTime(Some(time)) => Value::ChronoTime(Some(cut(*time))),
            Value::BigUnsigned(number) => Value::BigInt(number.map(signed).transpose()?),
            #[cfg(feature = "sqlite")]
            _ if dialect == Dialect::Sqlite => match sqlite(value)? {
                Some(other) => other,
                None => continue,
            },
            #[cfg(feature = "mysql")]
            _ if dialect == Dialect::Mysql => match mysql(value) {
                Some(other) => other,
                None => continue,
            },
            _ => continue,
        };
        *value = other;
    }
    Ok(values)
}

/// Whether a text in it has a NUL character.
pub(crate) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(Some(text)) => text.contains('\0'),
        Value::Json(Some(json)) => json_has_nul(json),
        _ => false,
    }
}

fn json_has_nul(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(json_has_nul),
        serde_json::Value::Object(entries) => {
            entries.iter().any(|(key, value)| key.contains('\0') || json_has_nul(value))
        }
        _ => false,
    }
}

/// What SQLite has no type for.
#[cfg(feature = "sqlite")]
fn sqlite(value: &Value) -> sqlx::Result<Option<Value>> {
    Ok(Some(match value {
        Value::Decimal(decimal) => decimal.map_or(Ok(Value::Double(None)), number)?,
        Value::Uuid(uuid) => Value::String(uuid.map(|uuid| uuid.simple().to_string())),
        Value::Json(json) => Value::String(json.as_ref().map(ToString::to_string)),
        _ => return Ok(None),
    }))
}

/// What MariaDB has no type for.
#[cfg(feature = "mysql")]
fn mysql(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Uuid(uuid) => Value::String(uuid.map(|uuid| uuid.simple().to_string())),
        Value::Json(json) => Value::String(json.as_ref().map(ToString::to_string)),
        _ => return None,
    })
}

/// A decimal as a number of SQLite's.
#[cfg(feature = "sqlite")]
fn number(decimal: Decimal) -> sqlx::Result<Value> {
    let decimal = decimal.normalize();
    let digits = decimal.mantissa().unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    if digits > SQLITE_DIGITS_MAX {
        let words = format!(
            "the decimal {decimal} has {digits} digits: SQLite keeps {SQLITE_DIGITS_MAX}, \
             PostgreSQL all"
        );
        return Err(sqlx::Error::Encode(words.into()));
    }
    // The nearest double of so few digits gives them back.
    let text = decimal.to_string();
    let double = text.parse().map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    Ok(Value::Double(Some(double)))
}

fn signed(number: u64) -> sqlx::Result<i64> {
    i64::try_from(number).map_err(|_| {
        let words = format!("the number {number} is greater than {}, a bigint's most", i64::MAX);
        sqlx::Error::Encode(words.into())
    })
}

/// The time of day without what is below a microsecond. A leap second is the last moment of the
/// one before it: no database has one.
fn cut(time: NaiveTime) -> NaiveTime {
    let nanoseconds = time.nanosecond().min(SECOND - 1);
    time.with_nanosecond(nanoseconds - nanoseconds % MICROSECOND).unwrap_or(time)
}

/// `instant` without what is below a microsecond.
pub(crate) fn microseconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    chrono::DurationRound::duration_trunc(instant, chrono::Duration::microseconds(1))
        .unwrap_or(instant)
}

/// The decimal that a double of SQLite's stands for: its first 15 digits.
#[cfg(feature = "sqlite")]
pub(super) fn decimal(double: f64) -> Option<Decimal> {
    let text = format!("{double:.14e}");
    let (digits, exponent) = text.split_once('e')?;
    let mut digits: i128 = digits.replace('.', "").parse().ok()?;
    let mut scale = 14 - exponent.parse::<i32>().ok()?;
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    while scale > 28 {
        digits /= 10;
        scale -= 1;
    }
    while scale < 0 {
        digits = digits.checked_mul(10)?;
        scale += 1;
    }
    Decimal::try_from_i128_with_scale(digits, scale.unsigned_abs()).ok()
}
