//! Text → migration.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::conf::nearest;
use crate::error::{Error, Result};
use crate::migrations::Operation;
use crate::migrations::operation::NOOP;
use crate::migrations::state::{FieldState, IndexState, Kind, ModelKey, ModelState};

use super::table::{Source, Table};
use super::{Migration, MigrationKey, words};

/// What an operation's table may begin with.
const OPERATIONS: [&str; 11] = [
    "create_model",
    "delete_model",
    "add_field",
    "alter_field",
    "remove_field",
    "rename_field",
    "alter_model_table",
    "add_index",
    "remove_index",
    "run_sql",
    "run",
];

/// Reads the migration `key` from `text`; `path` is for messages.
pub(in crate::migrations) fn read(key: MigrationKey, path: &str, text: &str) -> Result<Migration> {
    let source = Source { path, text };
    let parsed = DeTable::parse(text).map_err(|error| {
        source.error(error.span().map_or(0, |span| span.start), error.message())
    })?;
    let mut file = Table::new(source, 0, parsed.get_ref());
    let dependencies = keys(&mut file, "dependencies")?;
    let run_before = keys(&mut file, "run_before")?;
    let replaces = keys(&mut file, "replaces")?;
    let atomic = file.boolean("atomic")?.unwrap_or(true);
    let tables = file.tables("operation")?;
    file.finish()?;
    let operations = tables.into_iter().map(|table| operation(&key.app, table));
    let operations = operations.collect::<Result<_>>()?;
    Ok(Migration { key, dependencies, run_before, replaces, atomic, operations })
}

/// A list of pairs of app and name.
fn keys(file: &mut Table<'_>, word: &'static str) -> Result<Vec<MigrationKey>> {
    const WANTED: &str = "must be a list of pairs like [[\"auth\", \"0001_initial\"]]";
    let Some(value) = file.value(word) else { return Ok(Vec::new()) };
    let pair = |item: &Spanned<DeValue<'_>>| {
        let pair = item.get_ref().as_array()?;
        let word = |index: usize| pair.get(index)?.get_ref().as_str();
        (pair.len() == 2).then_some(MigrationKey::new(word(0)?, word(1)?))
    };
    let pairs = value.get_ref().as_array().and_then(|list| list.iter().map(pair).collect());
    pairs.ok_or_else(|| file.wrong(word, WANTED))
}

fn operation(app: &str, mut table: Table<'_>) -> Result<Operation> {
    let Some(word) = table.which(&OPERATIONS) else {
        return Err(unknown_operation(&table));
    };
    let subject = table.required(word)?;
    let operation = match word {
        "create_model" => Operation::CreateModel(model(app, subject, &mut table)?),
        "delete_model" => Operation::DeleteModel { model: subject },
        "add_field" | "alter_field" => {
            let (model, name) = model_and_field(&table, word, &subject)?;
            let field = field(app, name, &mut table)?;
            let fill = table.scalar("fill")?;
            match word {
                "add_field" => Operation::AddField { model, field, fill },
                _ => Operation::AlterField { model, field, fill },
            }
        }
        "remove_field" => {
            let (model, field) = model_and_field(&table, word, &subject)?;
            Operation::RemoveField { model, field }
        }
        "rename_field" => {
            let (model, from) = model_and_field(&table, word, &subject)?;
            Operation::RenameField { model, from, to: table.required("to")? }
        }
        "alter_model_table" => {
            Operation::AlterModelTable { model: subject, table: table.required("table")? }
        }
        "add_index" => Operation::AddIndex { model: subject, index: index(&mut table)? },
        "remove_index" => Operation::RemoveIndex { model: subject, name: table.required("name")? },
        "run" => Operation::Run {
            function: function(&table, "run", subject)?,
            back: table.text("run_back")?.map(|f| function(&table, "run_back", f)).transpose()?,
            elidable: table.boolean("elidable")?.unwrap_or(false),
        },
        _ => Operation::RunSql { forwards: subject, backwards: table.text("backwards")? },
    };
    table.finish()?;
    Ok(operation)
}

fn unknown_operation(table: &Table<'_>) -> Error {
    let Some((first, ..)) = table.entries().first() else {
        return table.error("an empty operation");
    };
    let known = OPERATIONS.join(", ");
    let near = nearest(first, OPERATIONS);
    let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    table.error(format!("`{first}` is no operation{near} (operations: {known})"))
}

/// `Post.slug` as model and field.
fn model_and_field(table: &Table<'_>, key: &str, subject: &str) -> Result<(String, String)> {
    let parts = subject.split_once('.').filter(|(model, field)| is_word(model) && is_word(field));
    let (model, field) = parts.ok_or_else(|| {
        table.wrong(key, format!("must be a model and a field like \"Post.slug\", not {subject:?}"))
    })?;
    Ok((model.to_owned(), field.to_owned()))
}

/// `blog.fill_slugs`, or `noop` for nothing to do.
fn function(table: &Table<'_>, key: &str, text: String) -> Result<String> {
    let parts = text.split_once('.').filter(|(app, name)| is_word(app) && is_word(name));
    if parts.is_none() && text != NOOP {
        let words = format!("must be an app and a function like \"blog.fill_slugs\", not {text:?}");
        return Err(table.wrong(key, words));
    }
    Ok(text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn model(app: &str, name: String, table: &mut Table<'_>) -> Result<ModelState> {
    let key = ModelKey { app: app.to_owned(), model: name };
    let table_name = table.text("table")?.unwrap_or_else(|| ModelState::default_table(&key));
    let indexes = table.tables("indexes")?;
    let indexes: Result<_> = indexes
        .into_iter()
        .map(|mut one| {
            let index = index(&mut one)?;
            one.finish()?;
            Ok(index)
        })
        .collect();
    let Some(value) = table.value("fields") else {
        return Err(table.error("`fields` is missing"));
    };
    let Some(entries) = value.get_ref().as_table() else {
        return Err(table.wrong("fields", "must be a table"));
    };
    let entries = Table::new(table.source, value.span().start, entries);
    let fields: Result<_> = entries
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
        .collect();
    Ok(ModelState { key, table: table_name, fields: fields?, indexes: indexes? })
}

fn index(table: &mut Table<'_>) -> Result<IndexState> {
    let name = table.required("name")?;
    let fields = table.texts("fields")?;
    if fields.is_empty() {
        return Err(table.error("`fields` is missing: an index needs at least one"));
    }
    Ok(IndexState { name, fields, unique: table.boolean("unique")?.unwrap_or(false) })
}

fn field(app: &str, name: String, table: &mut Table<'_>) -> Result<FieldState> {
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
