//! Values as a database can take them, bound where they are: nothing is copied on the way.
//!
//! Invariants: both databases keep and compare the same; what one of them cannot keep is an error
//! here, never a value that is silently another.

use chrono::{DateTime, NaiveTime, Timelike, Utc};
use rust_decimal::Decimal;
use sea_query::{Value, Values};
use sqlx::Arguments as _;

use crate::db::Dialect;

/// Bytes that values take about, to begin with.
const VALUE_BYTES: usize = 16;

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

/// Makes a database's function that binds values; the arms are what it takes in its own way.
macro_rules! binds {
    ($name:ident, $arguments:ty, { $($own:pat => $value:expr,)+ }) => {
        /// The values as arguments: times cut to microseconds, what the database has no type for
        /// as another one.
        ///
        /// # Errors
        /// A value does not fit the database's types.
        pub(super) fn $name(values: &Values) -> sqlx::Result<$arguments> {
            let mut all = <$arguments>::default();
            all.reserve(values.0.len(), VALUE_BYTES * values.0.len());
            for value in &values.0 {
                if has_nul(value) {
                    return Err(sqlx::Error::Encode(NUL.into()));
                }
                let added = match value {
                    $($own => all.add($value),)+
                    Value::Bool(flag) => all.add(*flag),
                    Value::TinyInt(number) => all.add(number.map(i16::from)),
                    Value::SmallInt(number) => all.add(*number),
                    Value::Int(number) => all.add(*number),
                    Value::BigInt(number) => all.add(*number),
                    Value::TinyUnsigned(number) => all.add(number.map(i16::from)),
                    Value::SmallUnsigned(number) => all.add(number.map(i32::from)),
                    Value::Unsigned(number) => all.add(number.map(i64::from)),
                    Value::BigUnsigned(number) => all.add(number.map(signed).transpose()?),
                    Value::String(text) => all.add(text.as_deref()),
                    Value::Char(letter) => all.add(letter.map(String::from)),
                    Value::Bytes(bytes) => all.add(bytes.as_deref()),
                    Value::ChronoDate(day) => all.add(*day),
                    Value::ChronoTime(time) => all.add(time.map(cut)),
                    Value::ChronoDateTime(instant) => all.add(*instant),
                    Value::ChronoDateTimeWithTimeZone(instant) => {
                        all.add(instant.map(|instant| microseconds(instant.to_utc())))
                    }
                    other => return Err(unknown(other)),
                };
                added.map_err(sqlx::Error::Encode)?;
            }
            Ok(all)
        }
    };
}

/// An error if the database does not keep such a number: SQLite stores NaN as NULL, MariaDB has
/// neither NaN nor infinities. Its words follow "is".
pub(crate) fn keeps(number: f64, dialect: Dialect) -> std::result::Result<(), String> {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite if number.is_nan() => {
            Err(format!("{number}, which SQLite would keep as NULL: make the field an Option"))
        }
        #[cfg(feature = "mysql")]
        Dialect::Mysql if !number.is_finite() => {
            Err(format!("{number}, which MariaDB cannot keep: make the field an Option"))
        }
        _ => Ok(()),
    }
}

/// A number that the database [`keeps`].
#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn kept(number: f64, dialect: Dialect) -> sqlx::Result<f64> {
    let words = keeps(number, dialect).err();
    words
        .map_or(Ok(number), |words| Err(sqlx::Error::Encode(format!("a number is {words}").into())))
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

#[cfg(feature = "sqlite")]
binds!(sqlite, sqlx::sqlite::SqliteArguments, {
    Value::Float(it) => it.map(|it| kept(it.into(), Dialect::Sqlite)).transpose()?,
    Value::Double(it) => it.map(|it| kept(it, Dialect::Sqlite)).transpose()?,
    Value::ChronoDateTimeUtc(instant) => instant.map(microseconds),
    Value::Decimal(decimal) => decimal.map(number).transpose()?,
    Value::Uuid(uuid) => uuid.map(|uuid| uuid.simple().to_string()),
    Value::Json(json) => json.as_ref().map(ToString::to_string),
});

#[cfg(feature = "postgres")]
binds!(postgres, sqlx::postgres::PgArguments, {
    Value::Float(number) => *number,
    Value::Double(number) => *number,
    Value::ChronoDateTimeUtc(instant) => instant.map(microseconds),
    Value::Decimal(decimal) => *decimal,
    Value::Uuid(uuid) => *uuid,
    Value::Json(json) => json.as_deref(),
});

#[cfg(feature = "mysql")]
binds!(mysql, sqlx::mysql::MySqlArguments, {
    Value::Float(it) => it.map(|it| kept(it.into(), Dialect::Mysql)).transpose()?,
    Value::Double(it) => it.map(|it| kept(it, Dialect::Mysql)).transpose()?,
    // As TIMESTAMP it would end in 2038. Sessions are in UTC.
    Value::ChronoDateTimeUtc(instant) => instant.map(|it| microseconds(it).naive_utc()),
    Value::Decimal(decimal) => *decimal,
    Value::Uuid(uuid) => uuid.map(|uuid| uuid.simple().to_string()),
    Value::Json(json) => json.as_ref().map(ToString::to_string),
});

/// What no database here is given.
fn unknown(value: &Value) -> sqlx::Error {
    sqlx::Error::Encode(format!("the value {value:?} cannot be bound: convert it first").into())
}

/// A decimal as a number of SQLite's.
#[cfg(feature = "sqlite")]
fn number(decimal: Decimal) -> sqlx::Result<f64> {
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
    text.parse().map_err(|error| sqlx::Error::Encode(Box::new(error)))
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
