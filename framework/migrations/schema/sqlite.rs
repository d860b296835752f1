//! SQLite, whose ALTER TABLE can add simple columns, drop unbound ones and rename; for all else the
//! table is made anew and the rows copied (<https://sqlite.org/lang_altertable.html#otheralter>).

use crate::error::Result;
use crate::migrations::state::{FieldState, Kind, ModelState, Value};

use super::column::column_type;
use super::{Check, Place, Rebuild, Step};

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
    let mut step = rebuild(place, models, &[(to.column.as_str(), value)])?;
    step.checks = fitting(place, new, to)?;
    let mut steps = vec![Step::Rebuild(step)];
    if to.primary_key {
        steps.extend(followers(place, new, (from, to))?);
    }
    Ok(steps)
}

/// Tables with foreign keys to a primary key whose name or type changes: they name it, so they are
/// made anew too.
fn followers(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<Step>> {
    let kind_before = column_type(place.dialect, place.before, from)?;
    let kind_after = column_type(place.dialect, place.after, to)?;
    if kind_before == kind_after && from.column == to.column {
        return Ok(Vec::new());
    }
    let mut tables: Vec<&ModelState> = Vec::new();
    for (other, _) in place.after.followers(&model.key) {
        if other.key != model.key && !tables.contains(&other) {
            tables.push(other);
        }
    }
    let made = tables.into_iter().map(|other| rebuild(place, (other, other), &[]));
    made.map(|step| step.map(Step::Rebuild)).collect()
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
