//! Text → migration.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::conf::nearest;
use crate::error::{Error, Result};
use crate::migrations::Operation;
use crate::migrations::operation::NOOP;

use super::table::{Source, Table};
use super::{Migration, MigrationKey, model, sql};

/// What an operation's table may begin with.
const OPERATIONS: [&str; 19] = [
    "create_model",
    "delete_model",
    "rename_model",
    "alter_model_options",
    "alter_model_table",
    "add_field",
    "alter_field",
    "alter_primary_key",
    "remove_field",
    "rename_field",
    "add_index",
    "remove_index",
    "rename_index",
    "add_constraint",
    "remove_constraint",
    "run_sql",
    "run",
    DATABASE,
    STATE,
];

/// What happens to the database alone.
const DATABASE: &str = "database_operations";

/// What happens to the state alone.
const STATE: &str = "state_operations";

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
    let initial = file.boolean("initial")?;
    let atomic = file.boolean("atomic")?.unwrap_or(true);
    let operations = operations(&key.app, &mut file, "operation")?;
    file.finish()?;
    Ok(Migration { key, dependencies, run_before, replaces, initial, atomic, operations })
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

fn operations(app: &str, table: &mut Table<'_>, word: &'static str) -> Result<Vec<Operation>> {
    table.tables(word)?.into_iter().map(|table| operation(app, table)).collect()
}

fn operation(app: &str, mut table: Table<'_>) -> Result<Operation> {
    let Some(word) = table.which(&OPERATIONS) else {
        return Err(unknown_operation(&table));
    };
    let operation = match word {
        DATABASE | STATE => Operation::Separate {
            database: operations(app, &mut table, DATABASE)?,
            state: operations(app, &mut table, STATE)?,
        },
        "run_sql" => sql::run_sql(&mut table)?,
        _ => {
            let subject = table.required(word)?;
            subject_operation(app, word, subject, &mut table)?
        }
    };
    table.finish()?;
    Ok(operation)
}

fn subject_operation(
    app: &str,
    word: &'static str,
    subject: String,
    table: &mut Table<'_>,
) -> Result<Operation> {
    Ok(match word {
        "create_model" => Operation::CreateModel(model::model(app, subject, table)?),
        "delete_model" => Operation::DeleteModel { model: subject },
        "rename_model" => Operation::RenameModel { from: subject, to: table.required("to")? },
        "alter_model_options" => {
            Operation::AlterModelOptions { model: subject, options: model::options(table)? }
        }
        "alter_model_table" => {
            Operation::AlterModelTable { model: subject, table: table.required("table")? }
        }
        "alter_primary_key" => {
            let fields = model::key_and_former(app, table)?;
            Operation::AlterPrimaryKey { model: subject, fields }
        }
        "run" => Operation::Run {
            function: function(table, "run", subject)?,
            back: table.text("run_back")?.map(|f| function(table, "run_back", f)).transpose()?,
            elidable: table.boolean("elidable")?.unwrap_or(false),
        },
        "add_field" | "alter_field" | "remove_field" | "rename_field" => {
            let (model, name) = model_and_field(table, word, &subject)?;
            field_operation(app, word, (model, name), table)?
        }
        _ => index_operation(word, subject, table)?,
    })
}

fn field_operation(
    app: &str,
    word: &str,
    (model, name): (String, String),
    table: &mut Table<'_>,
) -> Result<Operation> {
    Ok(match word {
        "remove_field" => Operation::RemoveField { model, field: name },
        "rename_field" => Operation::RenameField { model, from: name, to: table.required("to")? },
        _ => {
            let field = model::field(app, name, table)?;
            let fill = table.scalar("fill")?;
            match word {
                "add_field" => Operation::AddField { model, field, fill },
                _ => Operation::AlterField { model, field, fill },
            }
        }
    })
}

fn index_operation(word: &str, model: String, table: &mut Table<'_>) -> Result<Operation> {
    Ok(match word {
        "add_index" => match model::index(table)? {
            Ok(index) => {
                let concurrently = table.boolean("concurrently")?.unwrap_or(false);
                Operation::AddIndex { model, index, concurrently }
            }
            Err(constraint) => Operation::AddConstraint { model, constraint },
        },
        "remove_index" => {
            let concurrently = table.boolean("concurrently")?.unwrap_or(false);
            Operation::RemoveIndex { model, name: table.required("name")?, concurrently }
        }
        "rename_index" => {
            let (from, to) = (table.required("name")?, table.required("to")?);
            Operation::RenameIndex { model, from, to }
        }
        "add_constraint" => {
            Operation::AddConstraint { model, constraint: model::constraint(table)? }
        }
        _ => Operation::RemoveConstraint { model, name: table.required("name")? },
    })
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
