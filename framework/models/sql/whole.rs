//! Statements that write whole rows: INSERT of one or thousands, UPDATE of the one with a key.
//!
//! Put together in one pass: a row is saved more often than anything else is asked.

use sea_query::{Value, Values};

use crate::db::{Dialect, Sql};
use crate::models::meta::{Field, Meta};
use crate::models::sql::writer::{push_name, push_placeholder};

/// Bytes of a placeholder with its comma, of a column with its value, and of the rest, about.
const PLACE_BYTES: usize = 8;
const COLUMN_BYTES: usize = 32;
const REST_BYTES: usize = 96;

/// What is done with a row that breaks a unique constraint.
pub(crate) enum Meeting {
    /// It is an error.
    Refuse,
    /// It is left out.
    Ignore,
    /// The row that has the same `unique` fields is updated, `set` from the new one. On MariaDB any
    /// unique constraint counts.
    Update { unique: Vec<&'static Field>, set: Vec<&'static Field> },
}

/// Rows to be inserted into one table.
pub(in crate::models) struct Insert<'a> {
    pub(in crate::models) meta: &'static Meta,
    pub(in crate::models) fields: &'a [&'static Field],
    /// Row after row, one for each field.
    pub(in crate::models) values: Vec<Value>,
    pub(in crate::models) conflicts: &'a Meeting,
}

impl Insert<'_> {
    /// The statement. Without fields it is one row of defaults.
    pub(in crate::models) fn sql(self, dialect: Dialect) -> Sql {
        let Self { meta, fields, values, conflicts } = self;
        let bytes = REST_BYTES + COLUMN_BYTES * fields.len() + PLACE_BYTES * values.len();
        let mut text = String::with_capacity(bytes);
        text.push_str("INSERT INTO ");
        push_name(&mut text, meta.table);
        if fields.is_empty() {
            text.push_str(match dialect {
                #[cfg(feature = "mysql")]
                Dialect::Mysql => " VALUES ()",
                #[cfg(any(feature = "sqlite", feature = "postgres"))]
                _ => " DEFAULT VALUES",
            });
            return Sql { text, values: Values(values) };
        }
        text.push_str(" (");
        push_names(&mut text, fields);
        text.push_str(") VALUES ");
        for at in 0..values.len() {
            text.push_str(match (at, at % fields.len()) {
                (0, _) => "(",
                (_, 0) => "), (",
                _ => ", ",
            });
            push_placeholder(&mut text, at + 1, dialect);
        }
        text.push(')');
        push_conflicts(&mut text, meta, conflicts, dialect);
        Sql { text, values: Values(values) }
    }
}

/// An UPDATE of the row with this key.
pub(in crate::models) fn update_row(
    meta: &'static Meta,
    key: Value,
    set: Vec<(&'static Field, Value)>,
    dialect: Dialect,
) -> Sql {
    let mut text = String::with_capacity(REST_BYTES + COLUMN_BYTES * set.len());
    let mut values = Vec::with_capacity(set.len() + 1);
    text.push_str("UPDATE ");
    push_name(&mut text, meta.table);
    for (at, (field, value)) in set.into_iter().enumerate() {
        text.push_str(if at > 0 { ", " } else { " SET " });
        push_name(&mut text, field.column);
        text.push_str(" = ");
        push_placeholder(&mut text, at + 1, dialect);
        values.push(value);
    }
    text.push_str(" WHERE ");
    push_name(&mut text, meta.primary_key().column);
    text.push_str(" = ");
    values.push(key);
    push_placeholder(&mut text, values.len(), dialect);
    Sql { text, values: Values(values) }
}

fn push_names(text: &mut String, fields: &[&'static Field]) {
    for (at, field) in fields.iter().enumerate() {
        text.push_str(if at > 0 { ", " } else { "" });
        push_name(text, field.column);
    }
}

fn push_conflicts(text: &mut String, meta: &'static Meta, conflicts: &Meeting, dialect: Dialect) {
    // The key stands for "no other column" on MariaDB only.
    let _ = meta;
    let (unique, set): (&[&'static Field], &[&'static Field]) = match conflicts {
        Meeting::Refuse => return,
        Meeting::Ignore => (&[], &[]),
        Meeting::Update { unique, set } => (unique, set),
    };
    match dialect {
        // Any unique column counts. To do nothing is to set some column to itself: unlike INSERT
        // IGNORE that lets no other error pass.
        #[cfg(feature = "mysql")]
        Dialect::Mysql => {
            text.push_str(" ON DUPLICATE KEY UPDATE ");
            let key = [meta.primary_key()];
            let same = if unique.is_empty() { &key } else { unique };
            let is_kept = set.is_empty();
            for (at, field) in if is_kept { same } else { set }.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                push_name(text, field.column);
                text.push_str(if is_kept { " = " } else { " = VALUES(" });
                push_name(text, field.column);
                text.push_str(if is_kept { "" } else { ")" });
            }
        }
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        _ => {
            text.push_str(" ON CONFLICT ");
            if !unique.is_empty() {
                text.push('(');
                push_names(text, unique);
                text.push_str(") ");
            }
            text.push_str(if set.is_empty() { "DO NOTHING" } else { "DO UPDATE SET " });
            for (at, field) in set.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                push_name(text, field.column);
                text.push_str(" = \"excluded\".");
                push_name(text, field.column);
            }
        }
    }
}
