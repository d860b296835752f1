//! Migration → text.

use crate::migrations::Operation;
use crate::migrations::constraint::{ConstraintState, IndexState, ModelOptions, Rule};
use crate::migrations::operation::SqlText;
use crate::migrations::state::{FieldState, Kind, ModelState, Value};

use super::{Migration, words};

/// The file's text; `heading` becomes its first line, a comment.
pub(in crate::migrations) fn write(migration: &Migration, heading: &str) -> String {
    let mut text = format!("# {heading}\n\n{}", attributes(migration));
    text.push_str(&operations(&migration.operations, "operation"));
    text
}

fn operations(list: &[Operation], word: &str) -> String {
    list.iter().map(|one| format!("\n[[{word}]]\n{}", body(one, word))).collect()
}

/// What stands in front of the operations.
fn attributes(migration: &Migration) -> String {
    let mut text = keys("dependencies", &migration.dependencies);
    for (word, list) in [("run_before", &migration.run_before), ("replaces", &migration.replaces)] {
        if !list.is_empty() {
            text.push_str(&keys(word, list));
        }
    }
    text.extend(migration.initial.map(|initial| line("initial", &initial.to_string())));
    if !migration.atomic {
        text.push_str("atomic = false\n");
    }
    text
}

fn keys(word: &str, keys: &[super::MigrationKey]) -> String {
    let pair = |key: &super::MigrationKey| format!("[{}, {}]", quoted(&key.app), quoted(&key.name));
    let pairs: Vec<String> = keys.iter().map(pair).collect();
    match pairs.as_slice() {
        [] => format!("{word} = []\n"),
        [one] => format!("{word} = [{one}]\n"),
        several => {
            let lines: String = several.iter().map(|pair| format!("    {pair},\n")).collect();
            format!("{word} = [\n{lines}]\n")
        }
    }
}

/// The lines of an operation's table; `place` is that table's name.
fn body(operation: &Operation, place: &str) -> String {
    match operation {
        Operation::CreateModel(model) => create_model(model, place),
        Operation::DeleteModel { model } => line("delete_model", &quoted(model)),
        Operation::RenameModel { from, to } => {
            line("rename_model", &quoted(from)) + &line("to", &quoted(to))
        }
        Operation::AlterModelOptions { model, options } => {
            line("alter_model_options", &quoted(model)) + &lines(&model_options(options))
        }
        Operation::AddField { model, field, fill } => {
            with_field("add_field", model, field, fill.as_ref())
        }
        Operation::AlterField { model, field, fill } => {
            with_field("alter_field", model, field, fill.as_ref())
        }
        Operation::AlterPrimaryKey { model, fields: both } => {
            line("alter_primary_key", &quoted(model)) + &fields(both, place)
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
        Operation::RunSql { forwards, backwards, elidable } => {
            let mut options = vec![("run_sql", sql_text(forwards))];
            options.extend(backwards.as_ref().map(|sql| ("backwards", sql_text(sql))));
            options.extend(elidable.then(|| ("elidable", "true".to_owned())));
            lines(&options)
        }
        Operation::Run { function, back, elidable } => {
            let mut options = vec![("run", quoted(function))];
            options.extend(back.as_ref().map(|back| ("run_back", quoted(back))));
            options.extend(elidable.then(|| ("elidable", "true".to_owned())));
            lines(&options)
        }
        Operation::Separate { database, state } => separate(database, state, place),
        index => index_body(index),
    }
}

fn index_body(operation: &Operation) -> String {
    let concurrent = |concurrently: &bool| match concurrently {
        true => line("concurrently", "true"),
        false => String::new(),
    };
    match operation {
        Operation::AddIndex { model, index, concurrently } => {
            let options = lines(&index_options(index));
            line("add_index", &quoted(model)) + &options + &concurrent(concurrently)
        }
        Operation::RemoveIndex { model, name, concurrently } => {
            let name = line("name", &quoted(name));
            line("remove_index", &quoted(model)) + &name + &concurrent(concurrently)
        }
        Operation::RenameIndex { model, from, to } => {
            let names = line("name", &quoted(from)) + &line("to", &quoted(to));
            line("rename_index", &quoted(model)) + &names
        }
        Operation::AddConstraint { model, constraint } => {
            line("add_constraint", &quoted(model)) + &lines(&constraint_options(constraint))
        }
        Operation::RemoveConstraint { model, name } => {
            line("remove_constraint", &quoted(model)) + &line("name", &quoted(name))
        }
        _ => String::new(),
    }
}

/// Tables inside the operation's; a list without operations must still be told.
fn separate(database: &[Operation], state: &[Operation], place: &str) -> String {
    let mut text = String::new();
    for (word, list) in [("database_operations", database), ("state_operations", state)] {
        if list.is_empty() {
            text.push_str(&line(word, "[]"));
        }
    }
    for (word, list) in [("database_operations", database), ("state_operations", state)] {
        text.push_str(&operations(list, &format!("{place}.{word}")));
    }
    text
}

type Options = Vec<(&'static str, String)>;

fn create_model(model: &ModelState, place: &str) -> String {
    let mut text = line("create_model", &quoted(&model.key.model));
    if model.table != ModelState::default_table(&model.key) {
        text.push_str(&line("table", &quoted(&model.table)));
    }
    text.push_str(&lines(&model_options(&model.options)));
    let indexes: Vec<Options> = model.indexes.iter().map(index_options).collect();
    let constraints: Vec<Options> = model.constraints.iter().map(constraint_options).collect();
    for (word, list) in [("indexes", indexes), ("constraints", constraints)] {
        if !list.is_empty() {
            let rows: String = list.iter().map(|one| format!("    {},\n", inline(one))).collect();
            text.push_str(&format!("{word} = [\n{rows}]\n"));
        }
    }
    text + &fields(&model.fields, place)
}

fn fields(fields: &[FieldState], place: &str) -> String {
    let row = |field: &FieldState| line(&key(&field.name), &inline(&field_options(field)));
    let rows: String = fields.iter().map(row).collect();
    format!("\n[{place}.fields]\n{rows}")
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

fn model_options(options: &ModelOptions) -> Options {
    let mut made = Options::new();
    let lists = [("ordering", &options.ordering), ("get_latest_by", &options.get_latest_by)];
    let texts = [
        ("verbose_name", &options.verbose_name),
        ("verbose_name_plural", &options.verbose_name_plural),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    made.extend(lists.map(|(word, list)| (word, texts_list(list))));
    made.extend(texts.into_iter().filter_map(|(word, text)| Some((word, quoted(text.as_ref()?)))));
    if !options.managed {
        made.push(("managed", "false".to_owned()));
    }
    made
}

fn index_options(index: &IndexState) -> Options {
    let mut options = vec![("name", quoted(&index.name)), ("fields", texts_list(&index.fields))];
    options.extend(index.condition.as_ref().map(|text| ("condition", quoted(text))));
    options
}

fn constraint_options(constraint: &ConstraintState) -> Options {
    let mut options = vec![("name", quoted(&constraint.name))];
    match &constraint.rule {
        Rule::Check(check) => options.push(("check", quoted(check))),
        Rule::Unique { fields, condition, nulls_distinct } => {
            options.push(("unique", texts_list(fields)));
            options.extend(condition.as_ref().map(|text| ("condition", quoted(text))));
            if !nulls_distinct {
                options.push(("nulls_distinct", "false".to_owned()));
            }
        }
    }
    options
}

fn sql_text(sql: &SqlText) -> String {
    let value = |list: &Vec<String>| match list.as_slice() {
        [one] => quoted(one),
        several => texts_list(several),
    };
    match sql {
        SqlText::Same(list) => value(list),
        SqlText::Each(each) => {
            let pairs: Vec<String> =
                each.iter().map(|(word, list)| format!("{word} = {}", value(list))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn texts_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A name as a key; what is not plain ASCII needs quotes.
fn key(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain { name.to_owned() } else { quoted(name) }
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
