//! Migration → text.

use std::fmt::Write;

use crate::migrations::Operation;
use crate::migrations::state::{FieldState, IndexState, Kind, ModelState, Value};

use super::{Migration, words};

/// The file's text; `heading` becomes its first line, a comment.
pub(in crate::migrations) fn write(migration: &Migration, heading: &str) -> String {
    let mut text = format!("# {heading}\n\n{}", keys("dependencies", &migration.dependencies));
    for (word, list) in [("run_before", &migration.run_before), ("replaces", &migration.replaces)] {
        if !list.is_empty() {
            text.push_str(&keys(word, list));
        }
    }
    if !migration.atomic {
        text.push_str(&line("atomic", "false"));
    }
    for operation in &migration.operations {
        text.push_str("\n[[operation]]\n");
        text.push_str(&body(operation));
    }
    text
}

fn keys(word: &str, list: &[super::MigrationKey]) -> String {
    let pair = |key: &super::MigrationKey| format!("[{}, {}]", quoted(&key.app), quoted(&key.name));
    let pairs: Vec<String> = list.iter().map(pair).collect();
    match pairs.as_slice() {
        [] => format!("{word} = []\n"),
        [one] => format!("{word} = [{one}]\n"),
        several => {
            let lines: String = several.iter().map(|pair| format!("    {pair},\n")).collect();
            format!("{word} = [\n{lines}]\n")
        }
    }
}

fn body(operation: &Operation) -> String {
    match operation {
        Operation::CreateModel(model) => create_model(model),
        Operation::DeleteModel { model } => line("delete_model", &quoted(model)),
        Operation::AddField { model, field, fill } => {
            with_field("add_field", model, field, fill.as_ref())
        }
        Operation::AlterField { model, field, fill } => {
            with_field("alter_field", model, field, fill.as_ref())
        }
        Operation::RemoveField { model, field } => {
            line("remove_field", &quoted(&format!("{model}.{field}")))
        }
        Operation::RenameField { model, from, to } => {
            line("rename_field", &quoted(&format!("{model}.{from}"))) + &line("to", &quoted(to))
        }
        Operation::AlterModelTable { model, table } => {
            line("alter_model_table", &quoted(model)) + &line("table", &quoted(table))
        }
        Operation::AddIndex { model, index } => {
            line("add_index", &quoted(model)) + &lines(&index_options(index))
        }
        Operation::RemoveIndex { model, name } => {
            line("remove_index", &quoted(model)) + &line("name", &quoted(name))
        }
        Operation::Run { function, back, elidable } => {
            let mut options = vec![("run", quoted(function))];
            options.extend(back.as_ref().map(|back| ("run_back", quoted(back))));
            options.extend(elidable.then(|| ("elidable", "true".to_owned())));
            lines(&options)
        }
        Operation::RunSql { forwards, backwards } => {
            let backwards = backwards.as_ref().map(|sql| line("backwards", &quoted(sql)));
            line("run_sql", &quoted(forwards)) + &backwards.unwrap_or_default()
        }
    }
}

type Options = Vec<(&'static str, String)>;

fn create_model(model: &ModelState) -> String {
    let mut text = line("create_model", &quoted(&model.key.model));
    if model.table != ModelState::default_table(&model.key) {
        text.push_str(&line("table", &quoted(&model.table)));
    }
    if !model.indexes.is_empty() {
        text.push_str("indexes = [\n");
        for index in &model.indexes {
            let _ = writeln!(text, "    {},", inline(&index_options(index)));
        }
        text.push_str("]\n");
    }
    text.push_str("\n[operation.fields]\n");
    for field in &model.fields {
        text.push_str(&line(&field.name, &inline(&field_options(field))));
    }
    text
}

fn with_field(word: &str, model: &str, field: &FieldState, fill: Option<&Value>) -> String {
    let mut options = field_options(field);
    options.extend(fill.map(|value| ("fill", literal(value))));
    line(word, &quoted(&format!("{model}.{}", field.name))) + &lines(&options)
}

fn field_options(field: &FieldState) -> Options {
    let mut options = vec![("type", quoted(words::kind(&field.kind)))];
    if let Kind::ForeignKey { to, on_delete } = &field.kind {
        options.push(("to", quoted(&to.to_string())));
        options.push(("on_delete", quoted(words::on_delete(*on_delete))));
    }
    let mut flag = |key: &'static str, value: bool, default: bool| {
        if value != default {
            options.push((key, value.to_string()));
        }
    };
    let foreign = field.target().is_some() && !field.unique && !field.primary_key;
    flag("primary_key", field.primary_key, false);
    flag("null", field.null, false);
    flag("unique", field.unique, false);
    flag("index", field.index, foreign);
    flag("auto_now", field.auto_now, false);
    flag("auto_now_add", field.auto_now_add, false);
    options.extend(field.max_length.map(|length| ("max_length", length.to_string())));
    if let Some((digits, places)) = field.digits {
        options.push(("max_digits", digits.to_string()));
        options.push(("decimal_places", places.to_string()));
    }
    options.extend(field.default.as_ref().map(|value| ("default", literal(value))));
    if field.column != FieldState::default_column(&field.name, &field.kind) {
        options.push(("column", quoted(&field.column)));
    }
    options
}

fn index_options(index: &IndexState) -> Options {
    let fields: Vec<String> = index.fields.iter().map(|name| quoted(name)).collect();
    let mut options =
        vec![("name", quoted(&index.name)), ("fields", format!("[{}]", fields.join(", ")))];
    if index.unique {
        options.push(("unique", "true".to_owned()));
    }
    options
}

fn line(key: &str, value: &str) -> String {
    format!("{key} = {value}\n")
}

fn lines(options: &Options) -> String {
    options.iter().map(|(key, value)| line(key, value)).collect()
}

fn inline(options: &Options) -> String {
    let pairs: Vec<String> =
        options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => toml::Value::from(*value).to_string(),
        Value::Text(value) => quoted(value),
    }
}
