//! Another field becomes the primary key: the columns are there, and change their parts.
//!
//! Rows of other tables that hold the former key do not know the new one, so there must be none;
//! their columns get the new key's type.

use crate::error::Result;
use crate::migrations::names;
use crate::migrations::rekey::is_made_up;
use crate::migrations::state::{FieldState, Kind, ModelState};

use super::{Check, Dialect, Place, Step, mysql, postgres, sqlite};

/// The model before and after.
type Models<'a> = (&'a ModelState, &'a ModelState);

pub(super) fn alter(
    place: Place<'_>,
    models: Models<'_>,
    [key, former]: &[FieldState; 2],
) -> Result<Vec<Step>> {
    let (old, _) = models;
    let fields =
        [(old.existing_field(&key.name)?, key), (old.existing_field(&former.name)?, former)];
    let mut steps: Vec<Step> = checks(place, old, &fields).into_iter().map(Step::Check).collect();
    steps.extend(match place.dialect {
        Dialect::Sqlite => sqlite::alter_primary_key(place, models, &fields)?,
        Dialect::Postgres => postgres::alter_primary_key(place, models, &fields)?,
        Dialect::Mysql => mysql::alter_primary_key(place, models, &fields)?,
    });
    Ok(steps)
}

/// The new key and the former one, each before and after.
pub(super) type Fields<'a> = [(&'a FieldState, &'a FieldState); 2];

/// Those that hold keys of the model's rows and whose tables are ours.
pub(super) fn followers<'a>(
    place: Place<'a>,
    model: &'a ModelState,
) -> Vec<(&'a ModelState, &'a FieldState)> {
    let mut found = place.after.followers(&model.key);
    found.retain(|(other, _)| other.options.managed);
    found
}

/// What must hold for the rows.
fn checks(place: Place<'_>, model: &ModelState, fields: &Fields<'_>) -> Vec<Check> {
    let [(key, to), (former, _)] = fields;
    let (table, column) = (place.quoted(&model.table), place.quoted(&key.column));
    let mut checks = Vec::new();
    for (other, field) in place.before.followers(&model.key) {
        let (table, column) = (place.quoted(&other.table), place.quoted(&field.column));
        checks.push(Check {
            sql: format!("SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1"),
            complaint: format!(
                "rows hold the key `{former}` of {model} in {other}.{field} and would not find it \
                 by `{key}`: if the values may stay, rename `{former}` to `{key}` (makemigrations \
                 asks) and change its type in the migration after that; else remove \
                 {other}.{field} in one migration, change the key in the next, and add it again \
                 with a `run` that finds the rows",
                former = former.name,
                key = key.name,
                model = model.key,
                other = other.key,
                field = field.name,
            ),
        });
    }
    checks.push(Check {
        sql: format!(
            "SELECT 1 FROM {table} WHERE {column} IS NOT NULL GROUP BY {column} \
             HAVING count(*) > 1 LIMIT 1"
        ),
        complaint: format!(
            "rows of {} share a value of `{}`, so it cannot be their key: give each its own first, \
             in a migration with a `run`",
            model.key, key.name
        ),
    });
    if key.null && !is_made_up(&to.kind) {
        checks.push(Check {
            sql: format!("SELECT 1 FROM {table} WHERE {column} IS NULL LIMIT 1"),
            complaint: format!(
                "rows of {} have no `{}`, so it cannot be their key: give each one first, in a \
                 migration with a `run`",
                model.key, key.name
            ),
        });
    }
    checks
}

/// What gives a key to each row that has none; on SQLite a value, elsewhere statements.
pub(super) fn made_up(place: Place<'_>, model: &ModelState, fields: &Fields<'_>) -> Vec<String> {
    let [(key, to), (former, _)] = fields;
    let (table, column) = (place.quoted(&model.table), place.quoted(&key.column));
    let former = place.quoted(&former.column);
    if !key.null {
        return Vec::new();
    }
    let update =
        |value: &str| format!("UPDATE {table} SET {column} = {value} WHERE {column} IS NULL");
    match (&to.kind, place.dialect) {
        (Kind::Uuid, Dialect::Sqlite) => {
            vec![format!("coalesce({column}, lower(hex(randomblob(16))))")]
        }
        (Kind::Uuid, Dialect::Postgres) => vec![update("gen_random_uuid()")],
        (Kind::Uuid, Dialect::Mysql) => vec![update("lower(hex(random_bytes(16)))")],
        (Kind::BigAuto, Dialect::Postgres) => vec![format!(
            "UPDATE {table} SET {column} = made.number + (SELECT coalesce(max({column}), 0) \
             FROM {table}) FROM (SELECT ctid AS place, row_number() OVER (ORDER BY {former}) AS \
             number FROM {table} WHERE {column} IS NULL) made WHERE {table}.ctid = made.place"
        )],
        (Kind::BigAuto, Dialect::Mysql) => vec![
            format!("SET @number = (SELECT coalesce(max({column}), 0) FROM {table})"),
            update("(@number := @number + 1)") + &format!(" ORDER BY {former}"),
        ],
        // SQLite numbers what it is not told the number of.
        _ => Vec::new(),
    }
}

/// The name PostgreSQL gives to a primary key.
pub(super) fn name(model: &ModelState) -> String {
    names::postgres(&model.table, None, "pkey")
}
