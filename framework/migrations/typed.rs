//! What a person typed as a value for a column.

use crate::models;

use super::state::{FieldState, Kind, Value};

impl FieldState {
    /// Reads what a person typed as a value for this column.
    ///
    /// # Errors
    /// It is no such value, or does not fit: says which.
    pub fn parse(&self, typed: &str) -> Result<Value, String> {
        let value = self.kind.parse(typed);
        let value = value.ok_or_else(|| format!("That is no {}.", self.kind.field_name()))?;
        let range = match self.kind {
            Kind::SmallInteger => i64::from(i16::MIN)..=i64::from(i16::MAX),
            Kind::Integer => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Kind::PositiveSmallInteger => 0..=i64::from(u16::MAX),
            Kind::PositiveInteger => 0..=i64::from(u32::MAX),
            _ => i64::MIN..=i64::MAX,
        };
        match &value {
            Value::Int(number) if !range.contains(number) => {
                Err(format!("It must be from {} to {}.", range.start(), range.end()))
            }
            Value::Text(text) => self.fitting(text).map(|()| value),
            _ => Ok(value),
        }
    }

    fn fitting(&self, text: &str) -> Result<(), String> {
        let length = text.chars().count();
        if let Some(max) = self.max_length.filter(|max| length > *max as usize) {
            return Err(format!("It has {length} characters, and at most {max} fit."));
        }
        if let (Some((digits, places)), Ok(number)) =
            (self.digits, text.parse::<rust_decimal::Decimal>())
        {
            let number = number.normalize();
            let whole = number.trunc().abs().to_string();
            let before = if whole == "0" { 0 } else { whole.len() };
            if number.scale() > places || before > (digits - places.min(digits)) as usize {
                let words = "digits, of them at most";
                return Err(format!(
                    "It may have at most {digits} {words} {places} after the point."
                ));
            }
        }
        Ok(())
    }
}

impl Kind {
    /// Reads what a person typed as a value for such a column.
    #[must_use]
    pub fn parse(&self, typed: &str) -> Option<Value> {
        let typed = typed.trim();
        let text = |fits: bool| fits.then(|| Value::Text(typed.to_owned()));
        match self {
            Self::Boolean => typed.to_lowercase().parse().ok().map(Value::Bool),
            Self::BigAuto | Self::SmallInteger | Self::Integer | Self::BigInteger => {
                typed.parse().ok().map(Value::Int)
            }
            Self::PositiveSmallInteger | Self::PositiveInteger | Self::PositiveBigInteger => {
                typed.parse().ok().filter(|number| *number >= 0).map(Value::Int)
            }
            Self::Float => typed.parse().ok().map(Value::Float),
            Self::Char | Self::Text => Some(Value::Text(unquoted(typed).to_owned())),
            Self::DateTime => {
                text(typed == "now" || chrono::DateTime::parse_from_rfc3339(typed).is_ok())
            }
            Self::Date => text(typed == "now" || typed.parse::<chrono::NaiveDate>().is_ok()),
            Self::Time => text(typed == "now" || typed.parse::<chrono::NaiveTime>().is_ok()),
            Self::Decimal => text(typed.parse::<rust_decimal::Decimal>().is_ok()),
            Self::Duration => text(models::duration::parse(typed).is_some()),
            Self::Uuid => text(typed.parse::<uuid::Uuid>().is_ok()),
            Self::Json => text(typed.parse::<serde_json::Value>().is_ok()),
            Self::Binary => None,
            Self::ForeignKey { .. } => {
                let number = typed.parse().ok().map(Value::Int);
                number.or_else(|| Some(Value::Text(unquoted(typed).to_owned())))
            }
        }
    }
}

/// The text inside quotes, if there are any.
fn unquoted(typed: &str) -> &str {
    let inside = |mark: char| typed.strip_prefix(mark)?.strip_suffix(mark);
    inside('"').or_else(|| inside('\'')).unwrap_or(typed)
}
