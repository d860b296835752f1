//! `Choices`: enums stored as text or as numbers.

use sea_query::Value;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::meta::{Choice, FieldKind};

/// An enum whose variants are the only values of a field (Django's `TextChoices`). Derive it; with
/// `#[choices(i16)]` on the enum it is stored as the variants' numbers (`IntegerChoices`).
pub trait Choices: Copy + PartialEq + Send + Sync + 'static {
    /// Every value with its label, in the enum's order.
    const CHOICES: &'static [Choice];

    /// The variant stored as `value`.
    fn from_value(value: &str) -> Option<Self>;

    /// How it is stored; a number in words.
    fn value(self) -> &'static str;

    /// How people read it.
    fn label(self) -> &'static str;
}

/// Shortest `max_length` of a column of choices: room for values added later without a migration.
const LENGTH_MIN: usize = 40;

/// The `max_length` for these choices.
#[doc(hidden)]
#[must_use]
pub const fn length(choices: &[Choice]) -> Option<u32> {
    let mut longest = LENGTH_MIN;
    let mut at = 0;
    while at < choices.len() {
        if choices[at].value.len() > longest {
            longest = choices[at].value.len();
        }
        at += 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "no source file is that long")]
    let longest = longest as u32;
    Some(longest)
}

/// What is stored: a text, or a number in words.
#[doc(hidden)]
#[must_use]
pub fn from_value<T: Choices>(value: &Value) -> Option<T> {
    T::from_value(&stored(value)?)
}

pub(super) fn stored(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.clone(),
        Value::SmallInt(number) => number.map(|number| number.to_string()),
        Value::Int(number) => number.map(|number| number.to_string()),
        Value::BigInt(number) => number.map(|number| number.to_string()),
        _ => None,
    }
}

#[doc(hidden)]
pub fn read<T: Choices>(kind: FieldKind, row: &Row, index: usize) -> Result<T> {
    let value = kind.read(row, index)?;
    from_value(&value).ok_or_else(|| {
        let known: Vec<_> = T::CHOICES.iter().map(|choice| choice.value).collect();
        let value = stored(&value).unwrap_or_default();
        let words = format!("{value:?} is none of the choices {}", known.join(", "));
        Error::of(Kind::Field, words)
    })
}
