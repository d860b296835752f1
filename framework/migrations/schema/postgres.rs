//! PostgreSQL, whose ALTER TABLE can do all of it.

use crate::error::Result;
use crate::migrations::names;
use crate::migrations::state::{FieldState, Kind, ModelState, Value};

use super::column::{column_type, unsigned};
use super::{Place, Step, convert, key};

/// Checks what waits for the commit now. A table with waiting checks cannot be altered ("pending
/// trigger events").
pub(super) fn settle() -> Vec<Step> {
    let both = ["SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"];
    both.map(|sql| Step::Sql(sql.to_owned())).to_vec()
}

pub(super) fn drop_column(place: Place<'_>, model: &ModelState, field: &FieldState) -> Step {
    let (table, column) = (place.quoted(&model.table), place.quoted(&field.column));
    Step::Sql(format!("ALTER TABLE {table} DROP COLUMN {column}"))
}

pub(super) fn add_field(
    place: Place<'_>,
    model: &ModelState,
    field: &FieldState,
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let (table, column) = (place.quoted(&model.table), place.quoted(&field.column));
    let whole = FieldState { default: fill.or(field.default.as_ref()).cloned(), ..field.clone() };
    let definition = place.column(place.after, model, &whole)?;
    let mut steps = vec![Step::Sql(format!("ALTER TABLE {table} ADD COLUMN {definition}"))];
    if fill.is_some() {
        let default = match &field.default {
            Some(value) => format!("SET DEFAULT {}", place.literal(place.after, field, value)?),
            None => "DROP DEFAULT".to_owned(),
        };
        steps.push(Step::Sql(format!("ALTER TABLE {table} ALTER COLUMN {column} {default}")));
        if field.target().is_some() {
            steps.extend(settle());
        }
    }
    steps.extend(place.own_index(model, field)?.map(|(_, sql)| Step::Sql(sql)));
    Ok(steps)
}

pub(super) fn alter_field(
    place: Place<'_>,
    (old, model): (&ModelState, &ModelState),
    (from, to): (&FieldState, &FieldState),
    fill: Option<&Value>,
) -> Result<Vec<Step>> {
    let table = place.quoted(&model.table);
    let alter = |action: &str| Step::Sql(format!("ALTER TABLE {table} {action}"));
    let mut steps = Vec::new();
    let followers = followers(place, model, (from, to))?;
    for link in followers.iter().chain(&links(place, model, (from, to))?) {
        steps.extend(link.drop.clone().map(Step::Sql));
    }
    let (gone, made) = (place.own_index(model, from)?, place.own_index(model, to)?);
    if gone != made {
        steps.extend(gone.as_ref().map(|(name, _)| Step::Sql(place.drop_index(old, name, false))));
    }
    if from.column != to.column {
        let (was, is) = (place.quoted(&from.column), place.quoted(&to.column));
        steps.push(alter(&format!("RENAME COLUMN {was} TO {is}")));
        let (were, are) = (place.named_indexes(old)?, place.named_indexes(model)?);
        steps.extend(place.rename_indexes(model, &were, &are).into_iter().map(Step::Sql));
        let (were, are) = (place.checks(old), place.checks(model));
        for ((was, _), (is, _)) in were.iter().zip(&are).filter(|(was, is)| was.0 != is.0) {
            let (was, is) = (place.quoted(was), place.quoted(is));
            steps.push(alter(&format!("RENAME CONSTRAINT {was} TO {is}")));
        }
    }
    let column = format!("ALTER COLUMN {}", place.quoted(&to.column));
    steps
        .extend(retyped(place, model, (from, to), &|action| alter(&format!("{column} {action}")))?);
    if from.null && !to.null {
        if let Some(value) = fill.or(to.default.as_ref()) {
            let (name, value) = (place.quoted(&to.column), place.literal(place.after, to, value)?);
            let sql = format!("UPDATE {table} SET {name} = {value} WHERE {name} IS NULL");
            steps.push(Step::Sql(sql));
            steps.extend(settle());
        }
        steps.push(alter(&format!("{column} SET NOT NULL")));
    } else if !from.null && to.null {
        steps.push(alter(&format!("{column} DROP NOT NULL")));
    }
    for follower in &followers {
        steps.extend(follower.alter.clone().map(Step::Sql));
    }
    if gone != made {
        steps.extend(made.map(|(_, sql)| Step::Sql(sql)));
    }
    for link in followers.iter().chain(&links(place, model, (from, to))?) {
        steps.extend(link.add.clone().map(Step::Sql));
    }
    Ok(steps)
}

/// Type, identity and default of a column.
fn retyped(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
    alter: &dyn Fn(&str) -> Step,
) -> Result<Vec<Step>> {
    let old = column_type(place.dialect, place.before, from)?;
    let new = column_type(place.dialect, place.after, to)?;
    let mut steps = Vec::new();
    let (was_counted, is_counted) = (from.kind == Kind::BigAuto, to.kind == Kind::BigAuto);
    let differs = old != new;
    if from.default.is_some() && (differs || from.default != to.default) {
        steps.push(alter("DROP DEFAULT"));
    }
    if was_counted && !is_counted {
        steps.push(alter("DROP IDENTITY"));
    }
    if differs {
        let using = using(place, (from, to), &to.column)?;
        steps.push(alter(&format!("TYPE {new}{using}")));
    }
    if is_counted && !was_counted {
        steps.push(alter("ADD GENERATED BY DEFAULT AS IDENTITY"));
        steps.push(Step::Sql(next_key(place, model, to)));
    }
    if let Some(value) = &to.default
        && (differs || from.default != to.default)
    {
        let value = place.literal(place.after, to, value)?;
        steps.push(alter(&format!("SET DEFAULT {value}")));
    }
    Ok(steps)
}

/// How values of one type become those of another.
fn using(place: Place<'_>, (from, to): (&FieldState, &FieldState), column: &str) -> Result<String> {
    if let Some(converted) = convert::converted(place, (from, to), column)? {
        return Ok(format!(" USING {converted}"));
    }
    let old = column_type(place.dialect, place.before, from)?;
    let new = column_type(place.dialect, place.after, to)?;
    let column = place.quoted(column);
    let is_text = |sql: &str| sql == "text" || sql.starts_with("varchar");
    let is_number = |sql: &str| {
        let plain = ["smallint", "integer", "bigint", "double precision"];
        plain.contains(&sql) || sql.starts_with("numeric")
    };
    Ok(match (old.as_str(), new.as_str()) {
        // A cast by hand would cut texts that are too long; without it they are an error.
        (old, new) if is_text(old) && is_text(new) => String::new(),
        // PostgreSQL has casts between booleans and `integer` only.
        ("smallint" | "bigint", "boolean") => format!(" USING {column} <> 0"),
        ("boolean", new) if is_number(new) => format!(" USING {column}::integer::{new}"),
        (old, new) if is_number(old) && is_number(new) => format!(" USING {column}::{new}"),
        // As long as it is: a cast to the column's own length would cut it.
        (_, new) if is_text(new) => format!(" USING {column}::text"),
        (old, new) if is_text(old) => format!(" USING {column}::{new}"),
        ("integer", "boolean") => format!(" USING {column}::boolean"),
        // It knows no cast between most others, even where there are no rows.
        (_, new) => format!(" USING {column}::text::{new}"),
    })
}

/// Goes on counting after the highest key there is.
fn next_key(place: Place<'_>, model: &ModelState, field: &FieldState) -> String {
    let (table, column) = (place.quoted(&model.table), place.quoted(&field.column));
    format!(
        "SELECT setval(pg_get_serial_sequence('{}', '{}'), coalesce(max({column}), 1)) \
         FROM {table}",
        table.replace('\'', "''"),
        field.column.replace('\'', "''"),
    )
}

/// A foreign key constraint on its way from one form to another.
struct Link {
    drop: Option<String>,
    alter: Option<String>,
    add: Option<String>,
}

/// The constraint of the column itself, if it changes.
fn links(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<Link>> {
    let old = place.reference(place.before, model, from)?;
    let new = place.reference(place.after, model, to)?;
    let words = |link: &Option<super::column::Reference>| {
        link.as_ref().map(|link| (link.name.clone(), link.sql.clone()))
    };
    let mut links = Vec::new();
    if words(&old) != words(&new) || from.column != to.column {
        links.push(Link {
            drop: old.map(|old| drop_constraint(place, model, &old.name)),
            alter: None,
            add: new.map(|new| add_constraint(place, (model, to), &new)),
        });
    }
    let check = |field: &FieldState| {
        field.kind.is_unsigned().then(|| names::unsigned(&model.table, &field.column))
    };
    let (old, new) = (check(from), check(to));
    if old != new {
        links.push(Link {
            drop: old.map(|name| drop_constraint(place, model, &name)),
            alter: None,
            add: new.map(|name| {
                let (table, name) = (place.quoted(&model.table), place.quoted(&name));
                let check = unsigned(&to.column);
                format!("ALTER TABLE {table} ADD CONSTRAINT {name} {check}")
            }),
        });
    }
    Ok(links)
}

/// The columns that point to a primary key whose type changes: they change with it.
fn followers(
    place: Place<'_>,
    model: &ModelState,
    (from, to): (&FieldState, &FieldState),
) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    let old = column_type(place.dialect, place.before, from)?;
    if !to.primary_key || old == column_type(place.dialect, place.after, to)? {
        return Ok(links);
    }
    for (other, field) in key::followers(place, model) {
        let Some(reference) = place.reference(place.after, other, field)? else { continue };
        let kind = column_type(place.dialect, place.after, field)?;
        let using = using(place, (from, to), &field.column)?;
        let (table, column) = (place.quoted(&other.table), place.quoted(&field.column));
        links.push(Link {
            drop: Some(drop_constraint(place, other, &reference.name)),
            alter: Some(format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}{using}")),
            add: Some(add_constraint(place, (other, field), &reference)),
        });
    }
    Ok(links)
}

fn drop_constraint(place: Place<'_>, model: &ModelState, name: &str) -> String {
    format!("ALTER TABLE {} DROP CONSTRAINT {}", place.quoted(&model.table), place.quoted(name))
}

fn add_constraint(
    place: Place<'_>,
    (model, field): (&ModelState, &FieldState),
    reference: &super::column::Reference,
) -> String {
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) {}",
        place.quoted(&model.table),
        place.quoted(&reference.name),
        place.quoted(&field.column),
        reference.sql
    )
}

pub(super) fn alter_primary_key(
    place: Place<'_>,
    (old, new): (&ModelState, &ModelState),
    fields: &key::Fields<'_>,
) -> Result<Vec<Step>> {
    let [(was, key), (_, former)] = fields;
    let table = place.quoted(&new.table);
    let alter = |field: &FieldState, action: &str| {
        format!("ALTER TABLE {table} ALTER COLUMN {} {action}", place.quoted(&field.column))
    };
    let (mut sql, mut last) = (Vec::new(), Vec::new());
    for (other, field) in key::followers(place, new) {
        let Some(reference) = place.reference(place.after, other, field)? else { continue };
        let kind = column_type(place.dialect, place.after, field)?;
        let column = place.quoted(&field.column);
        sql.push(drop_constraint(place, other, &reference.name));
        last.push(format!(
            "ALTER TABLE {} ALTER COLUMN {column} TYPE {kind} USING {column}::text::{kind}",
            place.quoted(&other.table)
        ));
        last.push(add_constraint(place, (other, field), &reference));
    }
    let name = key::name(new);
    sql.push(drop_constraint(place, new, &name));
    if fields[1].0.kind == Kind::BigAuto {
        sql.push(alter(former, "DROP IDENTITY"));
    }
    if former.null {
        sql.push(alter(former, "DROP NOT NULL"));
    }
    sql.extend(place.own_index(old, was)?.map(|(name, _)| place.drop_index(old, &name, false)));
    sql.extend(place.own_index(new, former)?.map(|(_, sql)| sql));
    sql.extend(key::made_up(place, new, fields));
    if was.null {
        sql.push(alter(key, "SET NOT NULL"));
    }
    if key.kind == Kind::BigAuto && was.kind != Kind::BigAuto {
        sql.push(alter(key, "ADD GENERATED BY DEFAULT AS IDENTITY"));
        sql.push(next_key(place, new, key));
    }
    let (name, column) = (place.quoted(&name), place.quoted(&key.column));
    sql.push(format!("ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({column})"));
    Ok(sql.into_iter().chain(last).map(Step::Sql).collect())
}
