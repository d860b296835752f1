//! Conditions of constraints and indexes, as SQL that every database reads, and reads as the same
//! that a query with the condition asks.

use std::fmt::Write as _;

use chrono_tz::Tz;
use sea_query::Value;

use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q, Test, TextAt, Tree};
use crate::models::expression::{Comparison, Node, Operator, year_compared};
use crate::models::meta::{Condition, Meta};

impl Condition {
    /// It as SQL: names in double quotes, values as literals. Comparisons, `IN`, `IS NULL`,
    /// beginnings and parts of texts, `AND`, `OR`, `NOT` and arithmetic of the model's own columns.
    ///
    /// # Errors
    /// It asks for something else (`is_field`).
    pub fn sql(&self, meta: &Meta) -> Result<String> {
        let mut text = String::new();
        condition(&mut text, &(self.0)()).map_err(|what| {
            let words = format!("a condition of {} {what}", meta.label());
            Error::of(Kind::Field, words)
        })?;
        Ok(text)
    }
}

type Written = std::result::Result<(), &'static str>;

fn condition(text: &mut String, q: &Q) -> Written {
    match &q.0 {
        Tree::Always => text.push_str("1 = 1"),
        Tree::Never => text.push_str("1 = 0"),
        Tree::Test(test) => return lookup(text, test),
        Tree::Exists(_) => return Err("looks at other rows, which a constraint cannot"),
        Tree::All(parts) => return joined(text, parts, " AND "),
        Tree::Any(parts) => return joined(text, parts, " OR "),
        Tree::Not(inner) => {
            // As in queries: what NULL leaves undecided counts as "no" once it is negated.
            let is_undecided = may_be_null(inner);
            text.push_str(if is_undecided { "(" } else { "NOT (" });
            condition(text, inner)?;
            text.push_str(if is_undecided { ") IS NOT TRUE" } else { ")" });
        }
    }
    Ok(())
}

/// Whether NULL may leave it undecided; a negation is decided.
fn may_be_null(q: &Q) -> bool {
    match &q.0 {
        Tree::All(parts) | Tree::Any(parts) => parts.iter().any(may_be_null),
        Tree::Test(test) => match test.lookup {
            Lookup::IsNull(_) => false,
            _ => q.any(&mut |node| match node {
                Node::Column(path) => path.field.null,
                // By zero that is NULL on SQLite and MariaDB.
                Node::Binary(both) => {
                    !matches!(both.1, Operator::Add | Operator::Subtract | Operator::Multiply)
                }
                _ => false,
            }),
        },
        Tree::Not(_) | Tree::Always | Tree::Never | Tree::Exists(_) => false,
    }
}

fn joined(text: &mut String, parts: &[Q], between: &str) -> Written {
    text.push('(');
    for (at, part) in parts.iter().enumerate() {
        text.push_str(if at > 0 { between } else { "" });
        condition(text, part)?;
    }
    text.push(')');
    Ok(())
}

fn lookup(text: &mut String, Test { left, lookup }: &Test) -> Written {
    match lookup {
        Lookup::Compare(comparison, right) => {
            if let Some((left, lookup)) = year_compared(left, *comparison, right, Tz::UTC) {
                return self::lookup(text, &Test { left: left.clone(), lookup });
            }
            node(text, left)?;
            text.push_str(match comparison {
                Comparison::Equal => " = ",
                Comparison::Greater => " > ",
                Comparison::GreaterOrEqual => " >= ",
                Comparison::Less => " < ",
                Comparison::LessOrEqual => " <= ",
            });
            node(text, right)
        }
        Lookup::Range(first, last) => {
            text.push('(');
            node(text, left)?;
            text.push_str(" >= ");
            node(text, first)?;
            text.push_str(" AND ");
            node(text, left)?;
            text.push_str(" <= ");
            node(text, last)?;
            text.push(')');
            Ok(())
        }
        Lookup::In(values) => {
            node(text, left)?;
            text.push_str(" IN (");
            for (at, value) in values.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                node(text, value)?;
            }
            text.push(')');
            Ok(())
        }
        Lookup::IsNull(null) => {
            node(text, left)?;
            text.push_str(if *null { " IS NULL" } else { " IS NOT NULL" });
            Ok(())
        }
        Lookup::Text { text: Node::Value(Value::String(Some(part))), at, ignore_case: false } => {
            has_part(text, left, part, *at)
        }
        Lookup::Text { .. } => Err("compares text in a way not every database can in a constraint"),
        Lookup::InQuery(_) => Err("looks at other rows, which a constraint cannot"),
        Lookup::Regex { .. } | Lookup::Json(_) => {
            Err("asks for what not every database can in a constraint")
        }
    }
}

/// By functions that mean the same everywhere and know no patterns: LIKE is about upper and lower
/// case on some databases only, and GLOB is SQLite's alone.
fn has_part(text: &mut String, left: &Node, part: &str, at: TextAt) -> Written {
    match at {
        TextAt::Whole => {
            node(text, left)?;
            text.push_str(" = ");
        }
        TextAt::Anywhere if !part.is_empty() => {
            text.push_str("REPLACE(");
            node(text, left)?;
            text.push_str(", ");
            quoted(text, part)?;
            text.push_str(", '') <> ");
            return node(text, left);
        }
        // Every text has the empty one at its beginning.
        TextAt::End if !part.is_empty() => {
            return Err(
                "asks how a text ends, which no SQL of all databases says: keep the end in \
                        a column of its own, or validate it in `clean`",
            );
        }
        _ => {
            text.push_str("SUBSTR(");
            node(text, left)?;
            let _ = write!(text, ", 1, {}) = ", part.chars().count());
        }
    }
    quoted(text, part)
}

fn node(text: &mut String, expression: &Node) -> Written {
    match expression {
        Node::Column(path) if path.steps().is_empty() => {
            let _ = write!(text, "\"{}\"", path.field.column.replace('"', "\"\""));
            Ok(())
        }
        Node::Column(_) => Err("looks at another model's column, which a constraint cannot"),
        Node::Value(value) => literal(text, value),
        Node::Binary(both) => {
            text.push('(');
            node(text, &both.0)?;
            text.push_str(match both.1 {
                Operator::Add => " + ",
                Operator::Subtract => " - ",
                Operator::Multiply => " * ",
                Operator::Divide | Operator::DivideWhole => " / ",
                Operator::Remainder | Operator::RemainderWhole => " % ",
            });
            node(text, &both.2)?;
            text.push(')');
            Ok(())
        }
        _ => Err("calls a function, which not every database can in a constraint"),
    }
}

fn literal(text: &mut String, value: &Value) -> Written {
    let written = match value {
        Value::Bool(Some(true)) => write!(text, "TRUE"),
        Value::Bool(Some(false)) => write!(text, "FALSE"),
        Value::SmallInt(Some(number)) => write!(text, "{number}"),
        Value::Int(Some(number)) => write!(text, "{number}"),
        Value::BigInt(Some(number)) => write!(text, "{number}"),
        Value::Double(Some(number)) if number.is_finite() => write!(text, "{number:?}"),
        Value::Decimal(Some(number)) => write!(text, "{number}"),
        Value::String(Some(part)) => return quoted(text, part),
        Value::ChronoDate(Some(day)) => write!(text, "'{day}'"),
        Value::ChronoTime(Some(time)) => write!(text, "'{time}'"),
        _ => return Err("compares with a value that has no literal on every database"),
    };
    written.map_err(|_| "cannot be written")
}

fn quoted(text: &mut String, part: &str) -> Written {
    if part.contains('\0') {
        return Err("compares with a text that has a NUL character, which no database keeps");
    }
    let _ = write!(text, "'{}'", part.replace('\'', "''"));
    Ok(())
}
