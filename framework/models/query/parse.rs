//! Values written as text, for fields known only by their kind.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use sea_query::Value;
use uuid::Uuid;

use crate::models::duration;
use crate::models::meta::FieldKind;

/// The value that `text` is for a field of this kind.
///
/// # Errors
/// It is none: says so.
pub(super) fn value(kind: FieldKind, text: &str) -> Result<Value, String> {
    let value = match kind {
        FieldKind::BigAuto | FieldKind::BigInteger => number::<i64>(text).map(Value::from),
        FieldKind::PositiveInteger => number::<u32>(text).map(|n| i64::from(n).into()),
        FieldKind::PositiveBigInteger => {
            number::<i64>(text).filter(|number| *number >= 0).map(Value::from)
        }
        FieldKind::Integer => number::<i32>(text).map(Value::from),
        FieldKind::PositiveSmallInteger => number::<u16>(text).map(|n| i32::from(n).into()),
        FieldKind::SmallInteger => number::<i16>(text).map(Value::from),
        FieldKind::Boolean => boolean(text).map(Value::from),
        FieldKind::Float => number::<f64>(text).filter(|n| n.is_finite()).map(Value::from),
        FieldKind::Decimal => number::<Decimal>(text).map(Value::from),
        FieldKind::Char | FieldKind::Text => {
            if text.contains('\0') {
                return Err("has a NUL character, which no database keeps".to_owned());
            }
            Some(text.into())
        }
        FieldKind::DateTime => moment(text).map(Value::from),
        FieldKind::Date => text.trim().parse::<NaiveDate>().ok().map(Value::from),
        FieldKind::Time => time(text.trim()).map(Value::from),
        FieldKind::Duration => {
            let duration = duration::parse(text);
            duration.and_then(|duration| duration.num_microseconds()).map(Value::from)
        }
        FieldKind::Uuid => text.trim().parse::<Uuid>().ok().map(Value::from),
        FieldKind::Json => text.parse::<serde_json::Value>().ok().map(Value::from),
        FieldKind::Binary => return Err("is binary: it cannot be asked for as text".to_owned()),
    };
    value.ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        format!("is {shown:?}, which is no {}", words(kind))
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// `true`, `1`, `on`, `yes` and their opposites.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" | "t" => Some(true),
        "false" | "0" | "off" | "no" | "f" => Some(false),
        _ => None,
    }
}

/// With a zone; without one it is what the site's clocks show, see [`wall`].
fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text.trim()).ok().map(|moment| moment.to_utc())
}

/// A day and a time of it, or a day alone.
pub(super) fn wall(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let wall = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    wall.or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))
}

fn time(text: &str) -> Option<NaiveTime> {
    ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok())
}

fn words(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "true or false",
        FieldKind::Float | FieldKind::Decimal => "number",
        FieldKind::DateTime => "moment such as 2024-12-31T23:59:59Z",
        FieldKind::Date => "day such as 2024-12-31",
        FieldKind::Time => "time such as 23:59",
        FieldKind::Duration => "duration such as 1 12:30:00",
        FieldKind::Uuid => "UUID",
        FieldKind::Json => "JSON",
        FieldKind::Char | FieldKind::Text | FieldKind::Binary => "text",
        _ => "whole number of this size",
    }
}
