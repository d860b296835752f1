//! From what `#[field(..)]` says to the functions a description keeps: every validator is asked the
//! value as it would be stored.

use std::cmp::Ordering;
use std::fmt::Display;

use regex::Regex;
use rust_decimal::Decimal;
use sea_query::Value;

use crate::models::field::FieldType;
use crate::models::meta::{Default, FieldKind};
use crate::models::validators::Answer;

/// What a validator may be a function of: a type of field, or `str`.
pub trait Ask {
    /// The validator's answer to a stored value; `None` if that is something else.
    fn ask<R>(value: &Value, validator: impl FnOnce(&Self) -> R) -> Option<R>;
}

impl<T: FieldType> Ask for T {
    fn ask<R>(value: &Value, validator: impl FnOnce(&Self) -> R) -> Option<R> {
        T::from_stored(value.clone()).map(|value| validator(&value))
    }
}

impl Ask for str {
    fn ask<R>(value: &Value, validator: impl FnOnce(&Self) -> R) -> Option<R> {
        match value {
            Value::String(Some(text)) => Some(validator(text)),
            _ => None,
        }
    }
}

/// A field of this type holds a `B`: itself, what its `Option` holds, or a `str`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` field does not hold a `{B}`",
    label = "not what the field holds",
    note = "a validator or default is of the field's type, without its `Option`; a validator of a \
            text takes a `&str`"
)]
pub trait Wraps<B: ?Sized> {}

impl<T: FieldType> Wraps<T> for T {}
impl<T: FieldType> Wraps<T> for Option<T> {}
impl Wraps<str> for String {}
impl Wraps<str> for Option<String> {}

/// Asks a validator.
///
/// # Errors
/// What it says.
pub fn ask<T, B, E, F>(value: &Value, validator: F) -> Answer
where
    T: Wraps<B>,
    B: Ask + ?Sized,
    E: Display,
    F: FnOnce(&B) -> Result<(), E>,
{
    let answer = B::ask(value, validator);
    answer.map_or_else(wrong, |answer| answer.map_err(|error| error.to_string()))
}

fn wrong() -> Answer {
    Err("Enter a valid value.".to_owned())
}

/// `min_value = ..`
///
/// # Errors
/// The value is less.
pub fn min_value(value: &Value, least: &Default) -> Answer {
    match compare(value, least) {
        Some(Ordering::Greater | Ordering::Equal) => Ok(()),
        Some(Ordering::Less) => {
            let least = plain(least);
            Err(format!("Ensure this value is greater than or equal to {least}."))
        }
        None => wrong(),
    }
}

/// `max_value = ..`
///
/// # Errors
/// The value is greater.
pub fn max_value(value: &Value, most: &Default) -> Answer {
    match compare(value, most) {
        Some(Ordering::Less | Ordering::Equal) => Ok(()),
        Some(Ordering::Greater) => {
            Err(format!("Ensure this value is less than or equal to {}.", plain(most)))
        }
        None => wrong(),
    }
}

fn plain(limit: &Default) -> String {
    match limit {
        Default::Bool(flag) => flag.to_string(),
        Default::Int(number) => number.to_string(),
        Default::Float(number) => number.to_string(),
        Default::Text(text) => (*text).to_owned(),
    }
}

fn compare(value: &Value, limit: &Default) -> Option<Ordering> {
    let text = |kind: FieldKind| kind.value_of(limit);
    match value {
        Value::SmallInt(number) => whole((*number)?.into(), limit),
        Value::Int(number) => whole((*number)?.into(), limit),
        Value::BigInt(number) => whole((*number)?, limit),
        Value::Double(number) => match limit {
            #[expect(clippy::cast_precision_loss, reason = "a limit is written by hand, and short")]
            Default::Int(limit) => (*number)?.partial_cmp(&(*limit as f64)),
            Default::Float(limit) => (*number)?.partial_cmp(limit),
            Default::Bool(_) | Default::Text(_) => None,
        },
        Value::Decimal(number) => {
            let limit = match limit {
                Default::Int(limit) => Decimal::from(*limit),
                Default::Text(limit) => limit.parse().ok()?,
                Default::Bool(_) | Default::Float(_) => return None,
            };
            Some((*number)?.cmp(&limit))
        }
        Value::ChronoDateTimeUtc(instant) => match text(FieldKind::DateTime)? {
            Value::ChronoDateTimeUtc(limit) => Some((*instant)?.cmp(&limit?)),
            _ => None,
        },
        Value::ChronoDate(day) => match text(FieldKind::Date)? {
            Value::ChronoDate(limit) => Some((*day)?.cmp(&limit?)),
            _ => None,
        },
        Value::ChronoTime(time) => match text(FieldKind::Time)? {
            Value::ChronoTime(limit) => Some((*time)?.cmp(&limit?)),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number, or a duration's microseconds.
fn whole(number: i64, limit: &Default) -> Option<Ordering> {
    match limit {
        Default::Int(limit) => Some(number.cmp(limit)),
        Default::Text(_) => match FieldKind::Duration.value_of(limit)? {
            Value::BigInt(limit) => Some(number.cmp(&limit?)),
            _ => None,
        },
        Default::Bool(_) | Default::Float(_) => None,
    }
}

/// `min_length = ..`
///
/// # Errors
/// The text is shorter.
pub fn min_length(value: &Value, least: usize) -> Answer {
    let Value::String(Some(text)) = value else { return wrong() };
    let length = text.chars().count();
    if length >= least {
        return Ok(());
    }
    let characters = characters(least);
    Err(format!("Ensure this value has at least {least} {characters} (it has {length})."))
}

pub(super) fn characters(count: usize) -> &'static str {
    if count == 1 { "character" } else { "characters" }
}

/// `regex = ".."`: somewhere in the text.
///
/// # Errors
/// It is nowhere.
pub fn matches(value: &Value, pattern: &Regex) -> Answer {
    match value {
        Value::String(Some(text)) if pattern.is_match(text) => Ok(()),
        _ => wrong(),
    }
}

/// A pattern.
///
/// # Panics
/// It is none, which is told when the site starts.
#[must_use]
#[expect(clippy::panic, reason = "a mistake in the model")]
pub fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("`#[field(regex = ..)]`: {error}"))
}
