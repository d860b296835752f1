//! SQLite, whose ALTER TABLE can add simple columns, drop unbound ones and rename; for all else the
//! table is made anew and the rows copied (<https://sqlite.org/lang_altertable.html#otheralter>).

use crate::error::Result;
use crate::migrations::state::{FieldState, Kind, ModelState, Value};

use super::column::column_type;
use super::{Check, Place, Rebuild, Step, convert, key};

/// The model before and after.
type Models<'a> = (&'a ModelState, &'a ModelState);

pub(super) fn add_field(
    place: Place<'_>,
    models: Models<'_>,
    field: &FieldState,
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let (_, new) = models;
    let is_simple = match &field.default {
        Some(_) => field.target().is_none(),
        None => field.null,
    };
    if !is_simple || fill.is_some() {
        let value = fill.or(field.default.as_ref());
        let value = value.map(|value| place.literal(place.after, field, value)).transpose()?;
        let value = value.unwrap_or_else(|| "NULL".to_owned());
        let step = rebuild(place, models, &[(field.column.as_str(), value)])?;
        return Ok(vec![Step::Rebuild(step)]);
    }
    let column = place.column(place.after, new, field)?;
    let add = format!("ALTER TABLE {} ADD COLUMN {column}", place.quoted(&new.table));
    let index = place.own_index(new, field)?.map(|(_, sql)| sql);
    Ok([add].into_iter().chain(index).map(Step::Sql).collect())
}

pub(super) fn remove_field(
    place: Place<'_>,
    models: Models<'_>,
    field: &FieldState,
) -> Result<Vec<Step>> {
    let (old, _) = models;
    if field.target().is_some() {
        return Ok(vec![Step::Rebuild(rebuild(place, models, &[])?)]);
    }
    let index = place.own_index(old, field)?.map(|(name, _)| place.drop_index(old, &name, false));
    let drop = format!(
        "ALTER TABLE {} DROP COLUMN {}",
        place.quoted(&old.table),
        place.quoted(&field.column)
    );
    Ok(index.into_iter().chain([drop]).map(Step::Sql).collect())
}

pub(super) fn alter_field(
    place: Place<'_>,
    models: Models<'_>,
    (from, to): (&FieldState, &FieldState),
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let (old, new) = models;
    let (before, after) =
        (place.column(place.before, old, from)?, place.column(place.after, new, to)?);
    if before == after {
        let (gone, made) = (place.own_index(old, from)?, place.own_index(new, to)?);
        if gone == made {
            return Ok(Vec::new());
        }
        let gone = gone.map(|(name, _)| place.drop_index(old, &name, false));
        return Ok(gone.into_iter().chain(made.map(|(_, sql)| sql)).map(Step::Sql).collect());
    }
    let mut value = place.quoted(&from.column);
    let substitute = fill.or(to.default.as_ref()).filter(|_| from.null && !to.null);
    if let Some(substitute) = substitute {
        value = format!("coalesce({value}, {})", place.literal(place.after, to, substitute)?);
    }
    let convert = |column: &str| convert::converted(place, (from, to), column);
    if let Some(converted) = convert(&from.column)? {
        value = converted;
    }
    let mut values = vec![(to.column.as_str(), value)];
    if to.primary_key {
        values.extend(follower_values(place, (new, new), &convert)?);
    }
    let mut step = rebuild(place, models, &values)?;
    step.checks = fitting(place, new, to)?;
    let mut steps = vec![Step::Rebuild(step)];
    if to.primary_key && is_known_otherwise(place, old, new)? {
        steps.extend(followers(place, new, &convert)?);
    }
    Ok(steps)
}

/// Whether tables that name the primary key name another, or another type.
fn is_known_otherwise(place: Place<'_>, old: &ModelState, new: &ModelState) -> Result<bool> {
    let words = |state, model: &ModelState| -> Result<Vec<String>> {
        let followers = place.after.followers(&model.key).into_iter();
        followers.map(|(other, field)| place.column(state, other, field)).collect()
    };
    Ok(words(place.before, old)? != words(place.after, new)?)
}

/// How the values of a column become others, if not by themselves.
type Convert<'a> = &'a dyn Fn(&str) -> Result<Option<String>>;

/// What goes into the columns of `other` that hold keys of the rows of `model`.
fn follower_values<'a>(
    place: Place<'a>,
    (model, other): (&'a ModelState, &ModelState),
    convert: Convert<'_>,
) -> Result<Vec<(&'a str, String)>> {
    let followers = key::followers(place, model).into_iter();
    let own = followers.filter(|(one, _)| one.key == other.key);
    let value = |(_, field): (&ModelState, &'a FieldState)| {
        let value = convert(&field.column)?;
        Ok(value.map(|value| (field.column.as_str(), value)))
    };
    own.filter_map(|one| value(one).transpose()).collect()
}

/// Tables with foreign keys to a primary key that changes: they name it, so they are made anew
/// too.
fn followers(place: Place<'_>, model: &ModelState, convert: Convert<'_>) -> Result<Vec<Step>> {
    let mut tables: Vec<&ModelState> = Vec::new();
    for (other, _) in key::followers(place, model) {
        if other.key != model.key && !tables.contains(&other) {
            tables.push(other);
        }
    }
    let made = tables.into_iter().map(|other| {
        let values = follower_values(place, (model, other), convert)?;
        rebuild(place, (other, other), &values).map(Step::Rebuild)
    });
    made.collect()
}

/// Sees that the copied values are what the column now holds, as PostgreSQL does by itself: SQLite
/// stores anything anywhere.
fn fitting(place: Place<'_>, model: &ModelState, field: &FieldState) -> Result<Vec<Check>> {
    let real = place.after.column_kind(field)?;
    let column = place.quoted(&field.column);
    let misfit = match real.kind {
        Kind::BigAuto | Kind::SmallInteger | Kind::Integer | Kind::BigInteger => {
            format!("typeof({column}) <> 'integer'")
        }
        Kind::PositiveSmallInteger | Kind::PositiveInteger | Kind::PositiveBigInteger => {
            format!("(typeof({column}) <> 'integer' OR {column} < 0)")
        }
        Kind::Duration => format!("typeof({column}) <> 'integer'"),
        Kind::Boolean => format!("{column} NOT IN (0, 1)"),
        Kind::Float | Kind::Decimal => format!("typeof({column}) NOT IN ('real', 'integer')"),
        Kind::DateTime => format!("datetime({column}) IS NULL"),
        Kind::Date => format!("date({column}) IS NULL"),
        Kind::Time => format!("time({column}) IS NULL"),
        Kind::Uuid => format!("length(replace({column}, '-', '')) <> 32"),
        Kind::Json => format!("NOT json_valid({column})"),
        Kind::Char => match real.max_length {
            Some(length) => format!("length({column}) > {length}"),
            None => return Ok(Vec::new()),
        },
        Kind::Text | Kind::Binary | Kind::ForeignKey { .. } => return Ok(Vec::new()),
    };
    Ok(vec![Check {
        sql: format!(
            "SELECT 1 FROM {} WHERE {column} IS NOT NULL AND {misfit} LIMIT 1",
            place.quoted(&model.table)
        ),
        complaint: format!(
            "a value of {}.{} does not fit a {}",
            model.key,
            field.name,
            column_type(place.dialect, place.after, field)?
        ),
    }])
}

/// Makes the table anew and copies its rows. `values` says what goes into columns that are not
/// simply the old ones.
pub(super) fn rebuild(
    place: Place<'_>,
    (old, new): Models<'_>,
    values: &[(&str, String)],
) -> Result<Rebuild> {
    let temporary = format!("new__{}", new.table);
    let (table, fresh) = (place.quoted(&new.table), place.quoted(&temporary));
    let columns: Vec<String> = new.fields.iter().map(|field| place.quoted(&field.column)).collect();
    let value = |field: &FieldState| {
        let special = values.iter().find(|(column, _)| *column == field.column);
        special.map_or_else(|| place.quoted(&field.column), |(_, value)| value.clone())
    };
    let sources: Vec<String> = new.fields.iter().map(value).collect();
    let mut statements = vec![
        place.table(place.after, new, &temporary)?,
        format!(
            "INSERT INTO {fresh} ({}) SELECT {} FROM {table}",
            columns.join(", "),
            sources.join(", ")
        ),
    ];
    if statements[0].contains("AUTOINCREMENT") {
        // The copied rows do not tell which keys were ever given out.
        statements.push(format!(
            "DELETE FROM sqlite_sequence WHERE name = '{}'",
            temporary.replace('\'', "''")
        ));
        statements.push(format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT '{}', seq FROM sqlite_sequence \
             WHERE name = '{}'",
            temporary.replace('\'', "''"),
            old.table.replace('\'', "''")
        ));
    }
    statements.push(format!("DROP TABLE {table}"));
    statements.push(format!("ALTER TABLE {fresh} RENAME TO {table}"));
    let made = place.indexes(new)?;
    let mut known: Vec<String> = place.indexes(old)?.into_iter().map(|(name, _)| name).collect();
    known.extend(made.iter().map(|(name, _)| name.clone()));
    statements.extend(made.into_iter().map(|(_, sql)| sql));
    let table = new.table.clone();
    Ok(Rebuild { table, indexes: known, statements, checks: Vec::new() })
}

pub(super) fn alter_primary_key(
    place: Place<'_>,
    models: Models<'_>,
    fields: &key::Fields<'_>,
) -> Result<Vec<Step>> {
    let (_, new) = models;
    let made_up = key::made_up(place, new, fields);
    let values: Vec<(&str, String)> =
        made_up.into_iter().map(|value| (fields[0].1.column.as_str(), value)).collect();
    let mut steps = vec![Step::Rebuild(rebuild(place, models, &values)?)];
    steps.extend(followers(place, new, &|_| Ok(None))?);
    Ok(steps)
}
