//! MariaDB, whose ALTER TABLE can do nearly all of it.
//!
//! What differs from PostgreSQL: a column is described anew as a whole (MODIFY); foreign keys and
//! checks cannot be renamed, and a column with a foreign key neither lose its index nor change its
//! type, so they are dropped and made again; an index is dropped by table and name; DDL cannot be
//! undone by a rollback, so what was interrupted is done [`again`].

use crate::db::MYSQL_COLLATION;
use crate::error::Result;
use crate::migrations::names;
use crate::migrations::state::{FieldState, Kind, ModelState, ProjectState, Value};

use super::column::{column_type, unsigned};
use super::index::Named;
use super::{Place, Step};

/// How much of a long text is in an index that need not be unique, characters. InnoDB takes 3072
/// bytes in all, four a character.
const PREFIX: u32 = 255;

/// The longest text that is in an index as a whole, characters.
const WHOLE_MAX: u32 = 500;

/// What stands behind the columns of a CREATE TABLE: no server's own settings decide how texts
/// compare, or whether there are transactions.
pub(super) fn table_options() -> String {
    format!(" ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={MYSQL_COLLATION}")
}

/// The constraints that a column brings with it: name and `CONSTRAINT name ..`.
pub(super) fn own(
    place: Place<'_>,
    state: &ProjectState,
    model: &ModelState,
    field: &FieldState,
) -> Result<Vec<Named>> {
    let mut own = Vec::new();
    if field.kind.is_unsigned() {
        let name = names::unsigned(&model.table, &field.column);
        own.push((name, unsigned(&field.column)));
    }
    if let Some(reference) = place.reference(state, model, field)? {
        let key = format!("FOREIGN KEY ({}) {}", place.quoted(&field.column), reference.sql);
        own.push((reference.name, key));
    }
    let named = |(name, sql): Named| {
        let sql = format!("CONSTRAINT {} {sql}", place.quoted(&name));
        (name, sql)
    };
    Ok(own.into_iter().map(named).collect())
}

/// How much of a column an index over it can have: `(255)`, or all.
pub(super) fn prefix(place: Place<'_>, field: &FieldState) -> Result<String> {
    let real = place.after.column_kind(field).or_else(|_| place.before.column_kind(field))?;
    let is_long = match real.kind {
        Kind::Text | Kind::Json | Kind::Binary => true,
        Kind::Char => real.max_length.is_some_and(|length| length > WHOLE_MAX),
        _ => false,
    };
    Ok(if is_long { format!("({PREFIX})") } else { String::new() })
}

pub(super) fn add_field(
    place: Place<'_>,
    model: &ModelState,
    field: &FieldState,
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let whole = FieldState { default: fill.or(field.default.as_ref()).cloned(), ..field.clone() };
    let definition = place.column(place.after, model, &whole)?;
    let mut sql = vec![alter(place, model, &format!("ADD COLUMN {definition}"))];
    if fill.is_some() {
        // DROP DEFAULT passes over `current_timestamp` without a word (10.11).
        let bare = self::definition(place, place.after, model, field)?;
        sql.push(alter(place, model, &format!("MODIFY COLUMN {bare}")));
    }
    sql.extend(place.own_index(model, field)?.map(|(_, sql)| sql));
    for (_, constraint) in own(place, place.after, model, field)? {
        sql.push(alter(place, model, &format!("ADD {constraint}")));
    }
    Ok(sql.into_iter().map(Step::Sql).collect())
}

/// Its indexes go with a column, but it does not go before its constraints.
pub(super) fn remove_field(
    place: Place<'_>,
    model: &ModelState,
    field: &FieldState,
) -> Result<Vec<Step>> {
    let mut sql = Vec::new();
    for (name, _) in own(place, place.before, model, field)? {
        sql.push(drop_constraint(place, model, &name));
    }
    sql.push(alter(place, model, &format!("DROP COLUMN {}", place.quoted(&field.column))));
    Ok(sql.into_iter().map(Step::Sql).collect())
}

pub(super) fn alter_field(
    place: Place<'_>,
    (old, model): (&ModelState, &ModelState),
    (from, to): (&FieldState, &FieldState),
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let followers = followers(place, model, (from, to))?;
    let (were, mut are) =
        (own(place, place.before, old, from)?, own(place, place.after, model, to)?);
    let mut stay = were.clone();
    stay.retain(|one| are.contains(one));
    if place.own_index(old, from)?.is_some() && place.own_index(model, to)?.is_none() {
        // A foreign key without an index makes one of its own, but only when it is made.
        stay.clear();
    }
    are.retain(|one| !stay.contains(one));
    let mut sql = Vec::new();
    sql.extend(followers.iter().map(|follower| follower.drop.clone()));
    for (name, _) in were.iter().filter(|one| !stay.contains(one)) {
        sql.push(drop_constraint(place, model, name));
    }
    if from.column != to.column {
        let (was, is) = (place.quoted(&from.column), place.quoted(&to.column));
        sql.push(alter(place, model, &format!("RENAME COLUMN {was} TO {is}")));
        let (were, are) = (place.named_indexes(old)?, place.named_indexes(model)?);
        sql.extend(place.rename_indexes(model, &were, &are));
        sql.extend(rename_checks(place, old, model));
    }
    if from.null
        && !to.null
        && let Some(value) = fill.or(to.default.as_ref())
    {
        let (table, column) = (place.quoted(&model.table), place.quoted(&to.column));
        let value = place.literal(place.after, to, value)?;
        sql.push(format!("UPDATE {table} SET {column} = {value} WHERE {column} IS NULL"));
    }
    let narrowed = narrowed(place, (old, model), (from, to))?;
    sql.extend(narrowed.iter().map(|(name, _)| place.drop_index(model, name, false)));
    let definition = definition(place, place.after, model, to)?;
    let before = FieldState { column: to.column.clone(), ..from.clone() };
    if definition != self::definition(place, place.before, old, &before)? {
        sql.push(alter(place, model, &format!("MODIFY COLUMN {definition}")));
    }
    sql.extend(followers.iter().map(|follower| follower.modify.clone()));
    let is_narrowed = |name: &str| narrowed.iter().any(|(narrowed, _)| narrowed == name);
    sql.extend(narrowed.iter().filter_map(|(_, create)| create.clone()));
    let (gone, made) = (place.own_index(old, from)?, place.own_index(model, to)?);
    if gone != made {
        // A foreign key has an index at any time.
        let (gone, made) = (gone.filter(|(name, _)| !is_narrowed(name)), made);
        sql.extend(made.filter(|(name, _)| !is_narrowed(name)).map(|(_, sql)| sql));
        sql.extend(gone.map(|(name, _)| place.drop_index(model, &name, false)));
    }
    for (_, constraint) in &are {
        sql.push(alter(place, model, &format!("ADD {constraint}")));
    }
    sql.extend(followers.into_iter().map(|follower| follower.add));
    Ok(sql.into_iter().map(Step::Sql).collect())
}

/// The indexes over a column of which they can have more or less afterwards than before: their
/// names as they are once the column is renamed, and what makes them anew, if they stay.
fn narrowed(
    place: Place<'_>,
    (old, model): (&ModelState, &ModelState),
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<(String, Option<String>)>> {
    if prefix(place, from)? == prefix(place, to)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    if let Some((name, _)) = place.own_index(old, from)? {
        let made = place.own_index(model, to)?;
        let made = made.filter(|(made, _)| *made == name).map(|(_, create)| create);
        found.push((name, made));
    }
    let is_in =
        |fields: &[String]| fields.iter().any(|name| name.trim_start_matches('-') == to.name);
    let indexes = model.indexes.iter().filter(|index| is_in(&index.fields));
    let uniques = model.constraints.iter().filter(|unique| is_in(unique.fields()));
    let names: Vec<_> =
        indexes.map(|index| &index.name).chain(uniques.map(|unique| &unique.name)).collect();
    for (name, create) in place.named_indexes(model)? {
        if names.contains(&&name) {
            found.push((name, Some(create)));
        }
    }
    Ok(found)
}

/// A column as MODIFY wants it: that it is the primary key stays as it is.
fn definition(
    place: Place<'_>,
    state: &ProjectState,
    model: &ModelState,
    field: &FieldState,
) -> Result<String> {
    place.column(state, model, &FieldState { primary_key: false, ..field.clone() })
}

/// A column that points to a primary key whose type changes: it changes with it.
struct Follower {
    drop: String,
    modify: String,
    add: String,
}

fn followers(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<Follower>> {
    let old = column_type(place.dialect, place.before, from)?;
    if !to.primary_key || old == column_type(place.dialect, place.after, to)? {
        return Ok(Vec::new());
    }
    let mut followers = Vec::new();
    for (other, field) in place.after.referring(&model.key) {
        let modify = definition(place, place.after, other, field)?;
        for (name, constraint) in own(place, place.after, other, field)? {
            followers.push(Follower {
                drop: drop_constraint(place, other, &name),
                modify: alter(place, other, &format!("MODIFY COLUMN {modify}")),
                add: alter(place, other, &format!("ADD {constraint}")),
            });
        }
    }
    Ok(followers)
}

/// The columns' own constraints and the table's checks under their new names, in a table whose
/// columns have theirs already.
pub(super) fn rename_constraints(
    place: Place<'_>,
    old: &ModelState,
    new: &ModelState,
) -> Result<Vec<String>> {
    let mut sql = Vec::new();
    for (from, to) in old.fields.iter().zip(&new.fields) {
        let were = own(place, place.before, old, from)?;
        let are = own(place, place.after, new, to)?;
        for ((was, _), (_, constraint)) in were.iter().zip(&are).filter(|(was, is)| was.0 != is.0) {
            sql.push(drop_constraint(place, new, was));
            sql.push(alter(place, new, &format!("ADD {constraint}")));
        }
    }
    sql.extend(rename_checks(place, old, new));
    Ok(sql)
}

fn rename_checks(place: Place<'_>, old: &ModelState, new: &ModelState) -> Vec<String> {
    let (were, are) = (place.checks(old), place.checks(new));
    let pairs = were.iter().zip(&are).filter(|((was, _), (is, _))| was != is);
    let rename = |((was, _), (_, check)): (&Named, &Named)| {
        [drop_constraint(place, new, was), alter(place, new, &format!("ADD {check}"))]
    };
    pairs.flat_map(rename).collect()
}

fn alter(place: Place<'_>, model: &ModelState, action: &str) -> String {
    format!("ALTER TABLE {} {action}", place.quoted(&model.table))
}

fn drop_constraint(place: Place<'_>, model: &ModelState, name: &str) -> String {
    alter(place, model, &format!("DROP CONSTRAINT {}", place.quoted(name)))
}

/// What stands in front of an action of ALTER TABLE, and what makes it harmless if it was done.
const ACTIONS: [(&str, &str); 6] = [
    ("ADD COLUMN ", "IF NOT EXISTS "),
    ("ADD CONSTRAINT ", "IF NOT EXISTS "),
    ("DROP COLUMN ", "IF EXISTS "),
    ("DROP CONSTRAINT ", "IF EXISTS "),
    ("RENAME COLUMN ", "IF EXISTS "),
    ("RENAME INDEX ", "IF EXISTS "),
];

/// The same for whole statements.
const STATEMENTS: [(&str, &str); 5] = [
    ("CREATE TABLE ", "IF NOT EXISTS "),
    ("CREATE INDEX ", "IF NOT EXISTS "),
    ("CREATE UNIQUE INDEX ", "IF NOT EXISTS "),
    ("DROP TABLE ", "IF EXISTS "),
    ("DROP INDEX ", "IF EXISTS "),
];

/// One of this file's statements such that it may have run before: for an operation that was
/// interrupted, nobody knows after which of its statements. The others can be repeated as they are.
pub(in crate::migrations) fn again(sql: &str) -> String {
    for (start, word) in STATEMENTS {
        if let Some(rest) = sql.strip_prefix(start) {
            return format!("{start}{word}{rest}");
        }
    }
    let Some((table, action)) = sql.strip_prefix("ALTER TABLE ").and_then(split_name) else {
        return sql.to_owned();
    };
    if action.starts_with(" RENAME TO ") {
        return format!("ALTER TABLE IF EXISTS {table}{action}");
    }
    let action = &action[1..];
    for (start, word) in ACTIONS {
        let Some(rest) = action.strip_prefix(start) else { continue };
        if let Some((name, key)) = split_name(rest)
            && let Some(columns) = key.strip_prefix(" FOREIGN KEY ")
        {
            // Of a foreign key it is asked in another place.
            return format!(
                "ALTER TABLE {table} {start}{name} FOREIGN KEY IF NOT EXISTS {name} {columns}"
            );
        }
        return format!("ALTER TABLE {table} {start}{word}{rest}");
    }
    sql.to_owned()
}

/// Divides what begins with a name in quotes behind it.
fn split_name(sql: &str) -> Option<(&str, &str)> {
    let inside = sql.strip_prefix('"')?;
    let mut letters = inside.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '"' && letters.next_if(|(_, next)| *next == '"').is_none() {
            // Behind both quotes.
            return Some(sql.split_at(at + 2)).filter(|(_, rest)| !rest.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::again;

    fn check(sql: &str, expected: &str) {
        assert_eq!(again(sql), expected);
    }

    #[test]
    fn what_was_interrupted_can_be_done_again() {
        check("CREATE TABLE \"a\" (\n)", "CREATE TABLE IF NOT EXISTS \"a\" (\n)");
        check("CREATE INDEX \"i\" ON \"a\" (x)", "CREATE INDEX IF NOT EXISTS \"i\" ON \"a\" (x)");
        check("DROP TABLE \"a\"", "DROP TABLE IF EXISTS \"a\"");
        check("ALTER TABLE \"a\" RENAME TO \"b\"", "ALTER TABLE IF EXISTS \"a\" RENAME TO \"b\"");
        check(
            "ALTER TABLE \"a \"\" DROP COLUMN \" ADD COLUMN \"x\" int",
            "ALTER TABLE \"a \"\" DROP COLUMN \" ADD COLUMN IF NOT EXISTS \"x\" int",
        );
        check(
            "ALTER TABLE \"a\" ADD CONSTRAINT \"c\" CHECK (\"x\" > 0)",
            "ALTER TABLE \"a\" ADD CONSTRAINT IF NOT EXISTS \"c\" CHECK (\"x\" > 0)",
        );
        check(
            "ALTER TABLE \"a\" ADD CONSTRAINT \"k\" FOREIGN KEY (\"x\") REFERENCES \"b\" (\"id\")",
            "ALTER TABLE \"a\" ADD CONSTRAINT \"k\" FOREIGN KEY IF NOT EXISTS \"k\" (\"x\") \
             REFERENCES \"b\" (\"id\")",
        );
        for same in ["ALTER TABLE \"a\" MODIFY COLUMN \"x\" int", "UPDATE \"a\" SET \"x\" = 1"] {
            check(same, same);
        }
    }
}
