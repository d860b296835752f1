//! From what a data migration gives to what a column holds.

use chrono::Utc;
use sea_query::Value;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::migrations::state::Kind;
use crate::models::FieldKind;

/// Values of one `filter_in`: SQLite binds 999 of them at least.
pub(super) const IN_MAX: usize = 900;

/// The kind of field that a state's kind is.
pub(super) fn kind(kind: &Kind) -> Result<FieldKind> {
    Ok(match kind {
        Kind::BigAuto => FieldKind::BigAuto,
        Kind::Boolean => FieldKind::Boolean,
        Kind::SmallInteger => FieldKind::SmallInteger,
        Kind::Integer => FieldKind::Integer,
        Kind::BigInteger => FieldKind::BigInteger,
        Kind::Float => FieldKind::Float,
        Kind::Char => FieldKind::Char,
        Kind::Text => FieldKind::Text,
        Kind::DateTime => FieldKind::DateTime,
        Kind::Date => FieldKind::Date,
        Kind::PositiveSmallInteger => FieldKind::PositiveSmallInteger,
        Kind::PositiveInteger => FieldKind::PositiveInteger,
        Kind::PositiveBigInteger => FieldKind::PositiveBigInteger,
        Kind::Decimal => FieldKind::Decimal,
        Kind::Time => FieldKind::Time,
        Kind::Duration => FieldKind::Duration,
        Kind::Uuid => FieldKind::Uuid,
        Kind::Json => FieldKind::Json,
        Kind::Binary => FieldKind::Binary,
        Kind::ForeignKey { .. } => {
            let words = "a foreign key's column holds what the key it points to does".to_owned();
            return Err(Error::of(ErrorKind::Migration, words));
        }
    })
}

pub(super) fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

/// Now, as an `auto_now` field of this kind holds it.
pub(super) fn now(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Date => Utc::now().date_naive().into(),
        _ => Utc::now().into(),
    }
}

/// `value` as a column of `kind` holds it.
pub(super) fn fit(kind: FieldKind, null: bool, value: Value) -> Result<Value> {
    if is_null(&value) {
        return if null { Ok(kind.null()) } else { Err(wrong("cannot be NULL".to_owned())) };
    }
    let wanted = kind.null();
    let number = whole(&value);
    let fitting = match (&wanted, number) {
        (Value::SmallInt(_), Some(number)) => i16::try_from(number).ok().map(Value::from),
        (Value::Int(_), Some(number)) => i32::try_from(number).ok().map(Value::from),
        (Value::BigInt(_), Some(number)) => i64::try_from(number).ok().map(Value::from),
        #[expect(clippy::cast_precision_loss, reason = "as SQL does with 1 in a float's place")]
        (Value::Double(_), Some(number)) => Some(Value::from(number as f64)),
        _ => None,
    };
    let is_alike = std::mem::discriminant(&wanted) == std::mem::discriminant(&value);
    match fitting {
        Some(fitting) => Ok(fitting),
        None if is_alike && number.is_none() => Ok(value),
        None => Err(wrong(format!("a {kind:?} cannot hold {value:?}"))),
    }
}

/// The whole number that a value is.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::TinyInt(number) => number.map(i128::from),
        Value::SmallInt(number) => number.map(i128::from),
        Value::Int(number) => number.map(i128::from),
        Value::BigInt(number) => number.map(i128::from),
        Value::TinyUnsigned(number) => number.map(i128::from),
        Value::SmallUnsigned(number) => number.map(i128::from),
        Value::Unsigned(number) => number.map(i128::from),
        Value::BigUnsigned(number) => number.map(i128::from),
        _ => None,
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Field, words)
}

#[cfg(test)]
mod tests {
    use super::{FieldKind, Value, fit};

    #[test]
    fn values_fit_their_kind_or_are_refused() {
        let check = |kind, value: Value, expected: Option<Value>| {
            assert_eq!(fit(kind, false, value).ok(), expected);
        };
        check(FieldKind::BigInteger, 7_i32.into(), Some(7_i64.into()));
        check(FieldKind::SmallInteger, 7_i64.into(), Some(7_i16.into()));
        check(FieldKind::SmallInteger, 70_000_i64.into(), None);
        check(FieldKind::Float, 7_i32.into(), Some(7.0_f64.into()));
        check(FieldKind::Text, "a".into(), Some("a".into()));
        check(FieldKind::Text, 7_i32.into(), None);
        check(FieldKind::Integer, "7".into(), None);
        check(FieldKind::Boolean, 1_i32.into(), None);
        check(FieldKind::Text, Value::String(None), None);
        assert_eq!(fit(FieldKind::Text, true, Value::Int(None)).ok(), Some(Value::String(None)));
    }
}
