//! Lookups in text. Those with an `i` ignore case; SQLite knows the case of ASCII letters only.

use crate::models::condition::{Lookup, Q, TextAt};
use crate::models::expression::{Expression, Output};
use crate::models::operand::Operand;

impl<Out: Output> Expression<String, Out> {
    fn text(self, text: impl Operand<String>, at: TextAt, ignore_case: bool) -> Q {
        match text.operand() {
            Some(text) => self.lookup(Lookup::Text { text, at, ignore_case }),
            None => Q::NEVER,
        }
    }

    /// It is `text`, whatever the case.
    #[must_use]
    pub fn iexact(self, text: impl Operand<String>) -> Q {
        match text.operand() {
            Some(text) => self.lookup(Lookup::Text { text, at: TextAt::Whole, ignore_case: true }),
            None => self.isnull(true),
        }
    }

    /// It has `text` in it.
    #[must_use]
    pub fn contains(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::Anywhere, false)
    }

    /// It has `text` in it, whatever the case.
    #[must_use]
    pub fn icontains(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::Anywhere, true)
    }

    /// It begins with `text`.
    #[must_use]
    pub fn startswith(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::Start, false)
    }

    /// It begins with `text`, whatever the case.
    #[must_use]
    pub fn istartswith(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::Start, true)
    }

    /// It ends with `text`.
    #[must_use]
    pub fn endswith(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::End, false)
    }

    /// It ends with `text`, whatever the case.
    #[must_use]
    pub fn iendswith(self, text: impl Operand<String>) -> Q {
        self.text(text, TextAt::End, true)
    }
    /// It matches the regular expression: one of Rust's `regex` on SQLite, of the database's own
    /// kind elsewhere.
    #[must_use]
    pub fn regex(self, pattern: impl Into<String>) -> Q {
        self.lookup(Lookup::Regex { pattern: pattern.into(), ignore_case: false })
    }

    /// It matches the regular expression, whatever the case.
    #[must_use]
    pub fn iregex(self, pattern: impl Into<String>) -> Q {
        self.lookup(Lookup::Regex { pattern: pattern.into(), ignore_case: true })
    }
}
