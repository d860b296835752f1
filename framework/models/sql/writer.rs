//! `Writer`: SQL text with the values it binds, in the text's order.

use sea_query::{Value, Values};

use crate::db::{Dialect, Sql};

/// Stands in the text for a bound value until the text is whole, where the placeholders have
/// numbers. It can come from nowhere else: identifiers are descriptions', values are bound.
const MARK: char = '\u{1}';

/// A piece of SQL.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    text: String,
    values: Vec<Value>,
}

impl Writer {
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A name in quotes.
    pub(super) fn name(&mut self, name: &str) {
        push_name(&mut self.text, name);
    }

    pub(super) fn value(&mut self, value: Value) {
        self.text.push(MARK);
        self.values.push(value);
    }

    /// Makes room for about as much text.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    pub(super) fn append(&mut self, other: Self) {
        if self.text.is_empty() && self.values.is_empty() {
            *self = other;
            return;
        }
        self.text.push_str(&other.text);
        self.values.extend(other.values);
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The statement, with the dialect's placeholders.
    pub(super) fn finish(self, dialect: Dialect) -> Sql {
        let mut text = String::with_capacity(self.text.len() + 2 * self.values.len());
        for (number, piece) in self.text.split(MARK).enumerate() {
            if number > 0 {
                push_placeholder(&mut text, number, dialect);
            }
            text.push_str(piece);
        }
        Sql { text, values: Values(self.values) }
    }
}

/// Writes a name in quotes.
pub(super) fn push_name(text: &mut String, name: &str) {
    text.push('"');
    for (at, piece) in name.split('"').enumerate() {
        text.push_str(if at > 0 { "\"\"" } else { "" });
        text.push_str(piece);
    }
    text.push('"');
}

/// Writes the place of a value; the first has the number 1.
pub(super) fn push_placeholder(text: &mut String, number: usize, dialect: Dialect) {
    match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            text.push('$');
            push_number(text, number);
        }
        #[cfg(any(feature = "sqlite", feature = "mysql"))]
        _ => text.push('?'),
    }
}

/// Writes a number; `write!` takes most of the time of an INSERT of a thousand rows.
#[cfg(feature = "postgres")]
fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    let digit = u8::try_from(number % 10).unwrap_or_default();
    text.push(char::from(b'0' + digit));
}
