//! `Choices`: enums stored as text.

use sea_query::Value;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::meta::{Choice, Default};

/// An enum whose variants are the only values of a field (Django's `TextChoices`). Derive it.
pub trait Choices: Copy + PartialEq + Send + Sync + 'static {
    /// Every value with its label, in the enum's order.
    const CHOICES: &'static [Choice];

    /// The variant stored as `value`.
    fn from_value(value: &str) -> Option<Self>;

    /// How it is stored.
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

#[doc(hidden)]
pub fn read<T: Choices>(row: &Row, index: usize) -> Result<T> {
    let value: String = row.get(index)?;
    T::from_value(&value).ok_or_else(|| {
        let known: Vec<_> = T::CHOICES.iter().map(|choice| choice.value).collect();
        let words = format!("{value:?} is none of the choices {}", known.join(", "));
        Error::of(Kind::Field, words)
    })
}

#[doc(hidden)]
#[must_use]
pub fn value<T: Choices>(choice: T) -> Option<Value> {
    Some(choice.value().into())
}

#[doc(hidden)]
#[must_use]
pub fn from_default<T: Choices>(default: &Default) -> Option<T> {
    match default {
        Default::Text(value) => T::from_value(value),
        Default::Bool(_) | Default::Int(_) | Default::Float(_) => None,
    }
}
