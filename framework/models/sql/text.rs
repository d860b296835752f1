//! Lookups in text, by each database's means.

use sea_query::Value;

use crate::db::Dialect;
use crate::models::condition::TextAt;
use crate::models::expression::Node;
use crate::models::sql::{Compiler, Flavour};

/// Longest text that is made a pattern on SQLite, bytes: escaped it may be three times as long, and
/// a pattern has 50,000 at most (<https://sqlite.org/limits.html>).
const PATTERN_TEXT_BYTES_MAX: usize = 16_000;

impl Compiler {
    /// Whether `text` is in the expression, at a place.
    pub(super) fn text_test(&mut self, left: &Node, text: &Node, at: TextAt, ignore_case: bool) {
        let is_short = |text: &str| text.len() <= PATTERN_TEXT_BYTES_MAX;
        if let Node::Value(Value::String(Some(text))) = text
            && (self.flavour() != Flavour::Sqlite || is_short(text))
        {
            self.pattern_test(left, text, at, ignore_case);
        } else {
            self.part_test(left, text, at, ignore_case);
        }
    }

    /// A text that is known: a pattern, which an index may answer.
    fn pattern_test(&mut self, left: &Node, text: &str, at: TextAt, ignore_case: bool) {
        match self.dialect {
            // SQLite's LIKE ignores the case of ASCII letters; GLOB minds it.
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite if !ignore_case => {
                self.node(left);
                self.out.push(" GLOB ");
                self.out.value(around(&escaped_for_glob(text), at, '*').into());
            }
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                self.node(left);
                self.out.push(" LIKE ");
                self.out.value(around(&escaped_for_like(text), at, '%').into());
                self.out.push(" ESCAPE '\\'");
            }
            // Both sides by the database's rules: Rust's upper case of `ß` is another.
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            _ => {
                self.upper(ignore_case, |compiler| compiler.node(left));
                self.out.push(" LIKE ");
                let pattern = around(&escaped_for_like(text), at, '%');
                self.upper(ignore_case, |compiler| compiler.out.value(pattern.into()));
                self.out.push(" ESCAPE '\\'");
            }
        }
    }

    /// A text that another column has.
    fn part_test(&mut self, left: &Node, text: &Node, at: TextAt, ignore_case: bool) {
        let side = |compiler: &mut Self, node: &Node| {
            compiler.upper(ignore_case, |compiler| compiler.node(node));
        };
        if at == TextAt::Whole {
            side(self, left);
            self.out.push(" = ");
            side(self, text);
            return;
        }
        self.out.push(match (self.dialect, at) {
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, TextAt::Anywhere | TextAt::Whole) => "INSTR(",
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, TextAt::Start | TextAt::End) => "SUBSTR(",
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, TextAt::Anywhere | TextAt::Whole) => "STRPOS(",
            #[cfg(feature = "mysql")]
            (Dialect::Mysql, TextAt::Anywhere | TextAt::Whole) => "INSTR(",
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            (_, TextAt::Start) => "LEFT(",
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            (_, TextAt::End) => "RIGHT(",
        });
        side(self, left);
        match (self.dialect, at) {
            (_, TextAt::Anywhere | TextAt::Whole) => {
                self.out.push(", ");
                side(self, text);
                self.out.push(") > 0");
                return;
            }
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, TextAt::Start) => self.out.push(", 1, LENGTH("),
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, TextAt::End) => {
                self.out.push(", LENGTH(");
                self.node(left);
                self.out.push(") + 1 - LENGTH(");
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, TextAt::Start | TextAt::End) => self.out.push(", LENGTH("),
            #[cfg(feature = "mysql")]
            (Dialect::Mysql, TextAt::Start | TextAt::End) => self.out.push(", CHAR_LENGTH("),
        }
        self.node(text);
        self.out.push(")) = ");
        side(self, text);
    }

    /// Whether the expression matches a regular expression.
    pub(super) fn regex(&mut self, left: &Node, pattern: &str, ignore_case: bool) {
        self.node(left);
        let postgres = self.flavour() == Flavour::Postgres;
        self.out.push(match (postgres, ignore_case) {
            (true, false) => " ~ ",
            (true, true) => " ~* ",
            (false, _) => " REGEXP ",
        });
        let flag = if ignore_case && !postgres { "(?i)" } else { "" };
        self.out.value(format!("{flag}{pattern}").into());
    }

    fn upper(&mut self, upper: bool, write: impl FnOnce(&mut Self)) {
        self.out.push(if upper { "UPPER(" } else { "" });
        write(self);
        self.out.push(if upper { ")" } else { "" });
    }
}

fn around(text: &str, at: TextAt, any: char) -> String {
    match at {
        TextAt::Whole => text.to_owned(),
        TextAt::Anywhere => format!("{any}{text}{any}"),
        TextAt::Start => format!("{text}{any}"),
        TextAt::End => format!("{any}{text}"),
    }
}

fn escaped_for_like(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(feature = "sqlite")]
fn escaped_for_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[') {
            escaped.extend(['[', letter, ']']);
        } else {
            escaped.push(letter);
        }
    }
    escaped
}
