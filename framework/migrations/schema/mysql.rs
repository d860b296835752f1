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
use super::{Place, Step, convert, key};

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
    for one in own(place, place.before, model, field)? {
        sql.push(drop_constraint(place, model, &one));
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
    for one in were.iter().filter(|one| !stay.contains(one)) {
        sql.push(drop_constraint(place, model, one));
    }
    if from.column != to.column {
        let (was, is) = (place.quoted(&from.column), place.quoted(&to.column));
        let (drops, adds) = rename_checks(place, old, model);
        sql.extend(drops);
        sql.push(alter(place, model, &format!("RENAME COLUMN {was} TO {is}")));
        let (were, are) = (place.named_indexes(old)?, place.named_indexes(model)?);
        sql.extend(place.rename_indexes(model, &were, &are));
        sql.extend(adds);
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
    if let Some(value) = convert::converted(place, (from, to), &to.column)? {
        sql.push(update(place, (model, to), &value));
    }
    sql.extend(followers.iter().flat_map(|follower| follower.modify.clone()));
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
    modify: Vec<String>,
    add: String,
}

fn followers(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<Follower>> {
    let old = column_type(place.dialect, place.before, from)?;
    let is_kept = old == column_type(place.dialect, place.after, to)?;
    // Nor does a column always get another name while others point to it.
    if !to.primary_key || (is_kept && from.column == to.column) {
        return Ok(Vec::new());
    }
    let mut followers = Vec::new();
    for (other, field) in key::followers(place, model) {
        let converted = convert::converted(place, (from, to), &field.column)?;
        followers.extend(follower(place, (other, field), converted)?);
    }
    Ok(followers)
}

fn follower(
    place: Place<'_>,
    (model, field): (&ModelState, &FieldState),
    converted: Option<String>,
) -> Result<Option<Follower>> {
    let definition = definition(place, place.after, model, field)?;
    let modify = alter(place, model, &format!("MODIFY COLUMN {definition}"));
    let update = converted.map(|value| update(place, (model, field), &value));
    let own = own(place, place.after, model, field)?;
    Ok(own.into_iter().next().map(|one| Follower {
        drop: drop_constraint(place, model, &one),
        modify: [modify].into_iter().chain(update).collect(),
        add: alter(place, model, &format!("ADD {}", one.1)),
    }))
}

fn update(place: Place<'_>, (model, field): (&ModelState, &FieldState), value: &str) -> String {
    let (table, column) = (place.quoted(&model.table), place.quoted(&field.column));
    format!("UPDATE {table} SET {column} = {value}")
}

pub(super) fn alter_primary_key(
    place: Place<'_>,
    (old, new): (&ModelState, &ModelState),
    fields: &key::Fields<'_>,
) -> Result<Vec<Step>> {
    let (mut sql, mut last) = (Vec::new(), Vec::new());
    for (other, field) in key::followers(place, new) {
        if let Some(follower) = follower(place, (other, field), None)? {
            sql.push(follower.drop);
            last.extend(follower.modify.into_iter().chain([follower.add]));
        }
    }
    let mut actions = Vec::new();
    for (from, to) in fields {
        // A foreign key needs an index at any time.
        for one in own(place, place.after, new, to)? {
            sql.push(drop_constraint(place, new, &one));
            last.push(alter(place, new, &format!("ADD {}", one.1)));
        }
        let index = place.own_index(old, from)?;
        sql.extend(index.map(|(name, _)| place.drop_index(old, &name, false)));
        let definition = definition(place, place.after, new, to)?;
        actions.push(format!("MODIFY COLUMN {definition}"));
    }
    sql.extend(key::made_up(place, new, fields));
    let key = place.quoted(&fields[0].1.column);
    actions.push(format!("DROP PRIMARY KEY, ADD PRIMARY KEY ({key})"));
    // In one statement: the server wants its counted column to be a key all the time.
    sql.push(alter(place, new, &actions.join(", ")));
    for (_, to) in fields {
        sql.extend(place.own_index(new, to)?.map(|(_, sql)| sql));
    }
    Ok(sql.into_iter().chain(last).map(Step::Sql).collect())
}

/// What goes before columns get other names, and what comes behind.
type Around = (Vec<String>, Vec<String>);

/// The columns' own constraints and the table's checks under their new names, in a table that has
/// its own already. A check does not follow a column whose name changes.
pub(super) fn rename_constraints(
    place: Place<'_>,
    old: &ModelState,
    new: &ModelState,
) -> Result<Around> {
    let (mut were, mut are) = (place.checks(old), place.checks(new));
    for (from, to) in old.fields.iter().zip(&new.fields) {
        were.extend(own(place, place.before, old, from)?);
        are.extend(own(place, place.after, new, to)?);
    }
    // Where a foreign key points to follows by itself.
    let is_key = |one: &Named| kind_of(one).starts_with(" FOREIGN KEY");
    let differs = |was: &Named, is: &Named| was.0 != is.0 || (was != is && !is_key(was));
    let pairs = were.iter().zip(&are).filter(|(was, is)| differs(was, is));
    let renamed = |(was, (_, sql)): (&Named, &Named)| {
        (drop_constraint(place, new, was), alter(place, new, &format!("ADD {sql}")))
    };
    let (mut drops, mut adds): Around = pairs.map(renamed).unzip();
    let (key, renamed) = (old.primary_key()?, new.primary_key()?);
    if key.column != renamed.column {
        for follower in followers(place, new, (key, renamed))? {
            if !drops.contains(&follower.drop) {
                drops.push(follower.drop);
                adds.push(follower.add);
            }
        }
    }
    Ok((drops, adds))
}

/// The table's checks alone.
fn rename_checks(place: Place<'_>, old: &ModelState, new: &ModelState) -> Around {
    let (were, are) = (place.checks(old), place.checks(new));
    let pairs = were.iter().zip(&are).filter(|(was, is)| was != is);
    let renamed = |(was, (_, sql)): (&Named, &Named)| {
        (drop_constraint(place, new, was), alter(place, new, &format!("ADD {sql}")))
    };
    pairs.map(renamed).unzip()
}

fn alter(place: Place<'_>, model: &ModelState, action: &str) -> String {
    format!("ALTER TABLE {} {action}", place.quoted(&model.table))
}

/// MariaDB 10.11 passes over DROP CONSTRAINT of a foreign key without a word if the table has a
/// unique index over a long text.
fn drop_constraint(place: Place<'_>, model: &ModelState, one: &Named) -> String {
    let is_key = kind_of(one).starts_with(" FOREIGN KEY");
    let what = if is_key { "FOREIGN KEY" } else { "CONSTRAINT" };
    alter(place, model, &format!("DROP {what} {}", place.quoted(&one.0)))
}

/// What stands behind `CONSTRAINT name`.
fn kind_of((_, sql): &Named) -> &str {
    sql.strip_prefix("CONSTRAINT ").and_then(split_name).map_or("", |(_, rest)| rest)
}

/// What stands in front of an action of ALTER TABLE, and what makes it harmless if it was done.
const ACTIONS: [(&str, &str); 7] = [
    ("ADD COLUMN ", "IF NOT EXISTS "),
    ("ADD CONSTRAINT ", "IF NOT EXISTS "),
    ("DROP COLUMN ", "IF EXISTS "),
    ("DROP CONSTRAINT ", "IF EXISTS "),
    ("DROP FOREIGN KEY ", "IF EXISTS "),
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
pub(super) fn split_name(sql: &str) -> Option<(&str, &str)> {
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
