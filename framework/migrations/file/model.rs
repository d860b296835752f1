//! A model, its fields, indexes, constraints and options, out of a file's tables.

use crate::error::Result;
use crate::migrations::constraint::{ConstraintState, IndexState, ModelOptions, Rule};
use crate::migrations::state::{FieldState, Kind, ModelKey, ModelState};

use super::table::Table;
use super::words;

pub(super) fn model(app: &str, name: String, table: &mut Table<'_>) -> Result<ModelState> {
    let key = ModelKey { app: app.to_owned(), model: name };
    let table_name = table.text("table")?.unwrap_or_else(|| ModelState::default_table(&key));
    let (mut indexes, mut constraints) = (Vec::new(), Vec::new());
    for mut one in table.tables("indexes")? {
        match index(&mut one)? {
            Ok(index) => indexes.push(index),
            Err(constraint) => constraints.push(constraint),
        }
        one.finish()?;
    }
    for mut one in table.tables("constraints")? {
        constraints.push(constraint(&mut one)?);
        one.finish()?;
    }
    let options = options(table)?;
    let fields = fields(app, table)?;
    Ok(ModelState { key, table: table_name, fields, indexes, constraints, options })
}

pub(super) fn options(table: &mut Table<'_>) -> Result<ModelOptions> {
    Ok(ModelOptions {
        ordering: table.texts("ordering")?,
        verbose_name: table.text("verbose_name")?,
        verbose_name_plural: table.text("verbose_name_plural")?,
        get_latest_by: table.texts("get_latest_by")?,
        managed: table.boolean("managed")?.unwrap_or(true),
    })
}

fn fields(app: &str, table: &mut Table<'_>) -> Result<Vec<FieldState>> {
    let Some(value) = table.value("fields") else {
        return Err(table.error("`fields` is missing"));
    };
    let Some(entries) = value.get_ref().as_table() else {
        return Err(table.wrong("fields", "must be a table"));
    };
    let entries = Table::new(table.source, value.span().start, entries);
    entries
        .entries()
        .iter()
        .map(|(name, span, value)| {
            let Some(options) = value.get_ref().as_table() else {
                let words = format!("`{name}`: must be a table like {{ type = \"integer\" }}");
                return Err(table.source.error(span.start, words));
            };
            let mut options = Table::new(table.source, span.start, options);
            let field = field(app, (*name).to_owned(), &mut options)?;
            options.finish()?;
            Ok(field)
        })
        .collect()
}

/// The new primary key and the former one, in whatever order.
pub(super) fn key_and_former(app: &str, table: &mut Table<'_>) -> Result<[FieldState; 2]> {
    let mut fields = fields(app, table)?;
    fields.sort_by_key(|field| !field.primary_key);
    let both: std::result::Result<[FieldState; 2], _> = fields.try_into();
    both.ok()
        .filter(|[key, former]| key.primary_key && !former.primary_key)
        .ok_or_else(|| table.wrong("fields", "must be the new key and the former one"))
}

/// An index; or a unique constraint, which files of before constraints had a name wrote as an index
/// with `unique = true`.
pub(super) fn index(
    table: &mut Table<'_>,
) -> Result<std::result::Result<IndexState, ConstraintState>> {
    let name = table.required("name")?;
    let fields = table.texts("fields")?;
    if fields.is_empty() {
        return Err(table.error("`fields` is missing: an index needs at least one"));
    }
    let condition = table.text("condition")?;
    if table.boolean("unique")?.unwrap_or(false) {
        let rule = Rule::Unique { fields, condition, nulls_distinct: true };
        return Ok(Err(ConstraintState { name, rule }));
    }
    Ok(Ok(IndexState { name, fields, condition }))
}

pub(super) fn constraint(table: &mut Table<'_>) -> Result<ConstraintState> {
    let name = table.required("name")?;
    if let Some(check) = table.text("check")? {
        return Ok(ConstraintState { name, rule: Rule::Check(check) });
    }
    let fields = table.texts("unique")?;
    if fields.is_empty() {
        return Err(table.error("`unique` (a list of fields) or `check` (a condition) is missing"));
    }
    let condition = table.text("condition")?;
    let nulls_distinct = table.boolean("nulls_distinct")?.unwrap_or(true);
    Ok(ConstraintState { name, rule: Rule::Unique { fields, condition, nulls_distinct } })
}

pub(super) fn field(app: &str, name: String, table: &mut Table<'_>) -> Result<FieldState> {
    let kind = kind(app, table)?;
    let column = table.text("column")?;
    let column = column.unwrap_or_else(|| FieldState::default_column(&name, &kind));
    let unique = table.boolean("unique")?.unwrap_or(false);
    let primary_key = table.boolean("primary_key")?.unwrap_or(false);
    let index_unless_told = matches!(kind, Kind::ForeignKey { .. }) && !unique && !primary_key;
    let digits = digits(table)?;
    let field = FieldState {
        name,
        column,
        null: table.boolean("null")?.unwrap_or(false),
        primary_key,
        unique,
        index: table.boolean("index")?.unwrap_or(index_unless_told),
        max_length: table.number("max_length")?,
        digits,
        default: table.scalar("default")?,
        auto_now: table.boolean("auto_now")?.unwrap_or(false),
        auto_now_add: table.boolean("auto_now_add")?.unwrap_or(false),
        kind,
    };
    if field.kind == Kind::Char && field.max_length.is_none() {
        return Err(table.wrong("type", "a \"char\" needs a `max_length`"));
    }
    Ok(field)
}

/// `max_digits` and `decimal_places`, both or neither.
fn digits(table: &mut Table<'_>) -> Result<Option<(u32, u32)>> {
    match (table.number("max_digits")?, table.number("decimal_places")?) {
        (Some(digits), Some(places)) => Ok(Some((digits, places))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.wrong("max_digits", "needs `decimal_places` beside it")),
        (None, Some(_)) => Err(table.wrong("decimal_places", "needs `max_digits` beside it")),
    }
}

fn kind(app: &str, table: &mut Table<'_>) -> Result<Kind> {
    let word = table.required("type")?;
    if word != words::FOREIGN_KEY {
        let found = words::KINDS.iter().find(|(known, _)| *known == word);
        return found.map(|(_, kind)| kind.clone()).ok_or_else(|| {
            let mut known: Vec<&str> = words::KINDS.iter().map(|(word, _)| *word).collect();
            known.push(words::FOREIGN_KEY);
            table.wrong("type", format!("{word:?} is none of {}", known.join(", ")))
        });
    }
    let to = table.required("to")?;
    let (to_app, model) = to.split_once('.').unwrap_or((app, &to));
    let word = table.required("on_delete")?;
    let found = words::ON_DELETE.iter().find(|(known, _)| *known == word);
    let on_delete = found.map(|(_, on_delete)| *on_delete).ok_or_else(|| {
        let known: Vec<&str> = words::ON_DELETE.iter().map(|(word, _)| *word).collect();
        table.wrong("on_delete", format!("{word:?} is none of {}", known.join(", ")))
    })?;
    Ok(Kind::ForeignKey { to: ModelKey::new(to_app, model), on_delete })
}
