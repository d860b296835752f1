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
        self.text.push('"');
        for letter in name.chars() {
            if letter == '"' {
                self.text.push('"');
            }
            self.text.push(letter);
        }
        self.text.push('"');
    }

    pub(super) fn value(&mut self, value: Value) {
        self.text.push(MARK);
        self.values.push(value);
    }

    pub(super) fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The statement, with the dialect's placeholders.
    pub(super) fn finish(self, dialect: Dialect) -> Sql {
        use std::fmt::Write as _;

        let mut text = String::with_capacity(self.text.len() + 2 * self.values.len());
        for (number, piece) in self.text.split(MARK).enumerate() {
            if number > 0 {
                match dialect {
                    #[cfg(feature = "postgres")]
                    Dialect::Postgres => {
                        let _ = write!(text, "${number}");
                    }
                    #[cfg(any(feature = "sqlite", feature = "mysql"))]
                    _ => text.push('?'),
                }
            }
            text.push_str(piece);
        }
        Sql { text, values: Values(self.values) }
    }
}
