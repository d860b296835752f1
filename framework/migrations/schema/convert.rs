//! Values of one kind as those of another, where databases do not know how: a number becomes the
//! UUID that ends with it, so that keys and what holds them stay the same rows'.

use crate::error::Result;
use crate::migrations::state::{FieldState, Kind, ModelState};

use super::{Check, Dialect, Place};

/// Digits of a UUID.
const UUID_DIGITS: usize = 32;

/// The values of `column`, if `from` to `to` is such a change; on MariaDB once the column holds
/// texts, and then as often as one likes.
pub(super) fn converted(
    place: Place<'_>,
    (from, to): (&FieldState, &FieldState),
    column: &str,
) -> Result<Option<String>> {
    let was = &place.before.column_kind(from)?.kind;
    let is = &place.after.column_kind(to)?.kind;
    let column = place.quoted(column);
    Ok(match (was, is, place.dialect) {
        (was, Kind::Uuid, dialect) if is_whole(was) => Some(uuid(&column, dialect)),
        // They are texts there, and stay what they are if nobody says more.
        (Kind::DateTime, Kind::Date, Dialect::Sqlite) => Some(format!("date({column})")),
        (Kind::Date, Kind::DateTime, Dialect::Sqlite) => {
            Some(format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', {column})"))
        }
        _ => None,
    })
}

/// Numbers as UUIDs.
fn uuid(column: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => {
            format!("CASE WHEN {column} IS NOT NULL THEN printf('%032x', {column}) END")
        }
        Dialect::Postgres => format!("lpad(to_hex({column}::bigint), {UUID_DIGITS}, '0')::uuid"),
        Dialect::Mysql => format!(
            "CASE WHEN char_length({column}) < {UUID_DIGITS} THEN \
             lower(lpad(hex(CAST({column} AS signed)), {UUID_DIGITS}, '0')) ELSE {column} END"
        ),
    }
}

/// What must hold before a column changes from `from` to `to`.
pub(super) fn check(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Option<Check>> {
    let was = &place.before.column_kind(from)?.kind;
    let is = &place.after.column_kind(to)?.kind;
    if *was != Kind::Uuid || !is_whole(is) {
        return Ok(None);
    }
    let (table, column) = (place.quoted(&model.table), place.quoted(&from.column));
    Ok(Some(Check {
        sql: format!("SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1"),
        complaint: format!(
            "the values of {}.{} are UUIDs, and there is no telling which numbers they would be",
            model.key, to.name
        ),
    }))
}

fn is_whole(kind: &Kind) -> bool {
    let signed = [Kind::BigAuto, Kind::SmallInteger, Kind::Integer, Kind::BigInteger];
    signed.contains(kind) || kind.is_unsigned()
}
