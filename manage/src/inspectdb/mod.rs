//! From the tables of a live database to the source of models that read them.
//!
//! Flow: `commands/inspectdb` → [`source`] → `names` (structs and fields), `field` (types) → text.
//!
//! Invariants:
//! - What it writes compiles: what no field can hold is a comment that says so, and a table without
//!   a usable key is a comment whole.
//! - Every model says `managed = false`: migrations leave tables alone that they did not make.

mod field;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hulse::db::Dialect;
use hulse::migrations::inspect::{Column, Counted, ForeignKey, Index, Table};

use field::Type;
use names::{Names, struct_name};

/// Longest line of a comment, bytes.
const COLUMNS_MAX: usize = 100;

/// A table on its way to a struct.
struct Model<'a> {
    table: &'a Table,
    name: String,
    /// Its primary key's column; `None` if no struct can be made.
    key: Option<&'a str>,
    /// What there is to say about it.
    notes: Vec<String>,
}

/// The source of models for `tables` of a database of this dialect.
pub(crate) fn source(dialect: Dialect, tables: &[Table]) -> String {
    let mut names = Names::default();
    let mut models: Vec<Model<'_>> = tables
        .iter()
        .map(|table| {
            let (key, notes) = key(dialect, table);
            // The derive makes a struct of that name, too.
            let name = names.take_both(&struct_name(&table.name), "Columns");
            Model { table, name, key, notes }
        })
        .collect();
    models.sort_by(|one, other| one.table.name.cmp(&other.table.name));
    let known: BTreeMap<&str, (&str, &str)> = models
        .iter()
        .filter_map(|model| Some((&*model.table.name, (&*model.name, model.key?))))
        .collect();
    let mut used = BTreeSet::from(["Model"]);
    let bodies: Vec<String> =
        models.iter().map(|model| text(dialect, model, &known, &mut used)).collect();
    format!("{}{}", heading(&used), bodies.concat())
}

fn heading(used: &BTreeSet<&'static str>) -> String {
    let mut text = String::from(
        "//! Models of tables that were there before, written by `inspectdb`; yours to edit.\n\
         //!\n\
         //! Look at each: move it to its app, give it a name and `on_delete`, say which text may\n\
         //! be empty. Without `managed = false` migrations would make and change its table.\n\n",
    );
    let chosen = |from: &[&'static str]| -> Vec<&str> {
        from.iter().copied().filter(|word| used.contains(word)).collect()
    };
    let own =
        ["Decimal", "ForeignKey", "Id", "JsonValue", "Model", "NaiveTime", "OneToOne", "Uuid"];
    text.push_str(&format!("use hulse::models::{{{}}};\n", chosen(&own).join(", ")));
    let moments = chosen(&["DateTime", "NaiveDate", "Utc"]);
    if !moments.is_empty() {
        text.push_str(&format!("use hulse::prelude::{{{}}};\n", moments.join(", ")));
    }
    text
}

/// The column that is the primary key, and what to say about it.
fn key(dialect: Dialect, table: &Table) -> (Option<&str>, Vec<String>) {
    let holds = |name: &str| {
        let column = table.column(name)?;
        let kind = field::of(dialect, column, table)?;
        kind.may_be_key().then_some(column.name.as_str())
    };
    let fits = |name: &str| holds(name).filter(|_| table.column(name).is_some_and(|c| !c.null));
    match table.primary_key.as_slice() {
        [one] => match fits(one) {
            Some(key) => (Some(key), Vec::new()),
            None => (None, vec![format!("its primary key {one} has a type no key can have")]),
        },
        [first, ..] => {
            let all = table.primary_key.join(", ");
            let note = format!(
                "The primary key is of several columns, ({all}), and a model's is of one: {first} \
                 alone may name several rows. Read with it, write elsewhere."
            );
            match fits(first) {
                Some(key) => (Some(key), vec![note]),
                None => (None, vec![format!("its primary key ({all}) is of several columns")]),
            }
        }
        [] => {
            let unique = table.indexes.iter().filter_map(alone).find_map(&fits);
            // Of a view's columns nobody knows whether they allow NULL.
            let named = || table.indexes.is_empty().then(|| holds("id")).flatten();
            match unique.or_else(named) {
                Some(key) => {
                    let note = format!("The table has no primary key; {key} stands in for it.");
                    (Some(key), vec![note])
                }
                None => (None, vec!["it has no primary key".to_owned()]),
            }
        }
    }
}

/// The one column that a unique index over all rows is about.
fn alone(index: &Index) -> Option<&str> {
    match index.parts.as_slice() {
        [part] if index.unique && index.condition.is_none() && !part.is_expression => {
            Some(&part.sql)
        }
        _ => None,
    }
}

type Known<'a> = BTreeMap<&'a str, (&'a str, &'a str)>;

fn text(
    dialect: Dialect,
    model: &Model<'_>,
    known: &Known<'_>,
    used: &mut BTreeSet<&'static str>,
) -> String {
    let table = model.table;
    let Some(key) = model.key else {
        let why = model.notes.join("; ");
        let columns = table.columns.iter().map(|c| format!("//   {}: {}\n", c.name, c.kind));
        return format!(
            "\n// No model for the table {}: {why}. Its columns:\n{}",
            one_line(&table.name),
            columns.collect::<String>()
        );
    };
    let mut names = Names::fields();
    let mut fields = String::new();
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    for column in &table.columns {
        let link = link(table, column, known);
        let wanted = match (&link, column.name.to_lowercase().strip_suffix("_id")) {
            (Some(_), Some(bare)) if !bare.is_empty() && table.column(bare).is_none() => {
                bare.to_owned()
            }
            _ => column.name.to_lowercase(),
        };
        let Some(kind) = field::of(dialect, column, table) else {
            fields.push_str(&format!(
                "    // {}: no field has the type {}.\n",
                one_line(&column.name),
                one_line(&column.kind)
            ));
            continue;
        };
        let name = names.take(&wanted);
        let line = Line { column, kind, name: &name, is_key: column.name == key, link };
        fields.push_str(&line.text(table, used));
        named.insert(&column.name, name);
    }
    let notes = model.notes.iter().map(|note| comment(note));
    format!(
        "\n{}#[derive(Model, Debug, Clone)]\n#[model(table = {:?}, managed = false{})]\n\
         pub struct {} {{\n{fields}}}\n",
        notes.collect::<String>(),
        table.name,
        together(table, &named),
        model.name,
    )
}

/// `, unique(author, slug)` for each unique index over several columns.
fn together(table: &Table, named: &BTreeMap<&str, String>) -> String {
    let over = |index: &Index| {
        let is_whole = index.unique && index.condition.is_none() && index.parts.len() > 1;
        let fields = index.parts.iter().map(|part| {
            let name = named.get(part.sql.as_str())?;
            (!part.is_expression).then(|| name.clone())
        });
        let fields: Option<Vec<String>> = fields.collect();
        fields.filter(|_| is_whole).map(|fields| format!(", unique({})", fields.join(", ")))
    };
    table.indexes.iter().filter_map(over).collect()
}

/// The struct that `column` points to, if it is a foreign key to the key of one.
fn link<'a>(table: &Table, column: &Column, known: &Known<'a>) -> Option<&'a str> {
    let is_it = |key: &&ForeignKey| key.columns == [column.name.as_str()];
    let key = table.foreign_keys.iter().find(is_it)?;
    let (name, to) = known.get(key.table.as_str())?;
    (key.to == [*to]).then_some(*name)
}

/// A field on its way to its text.
struct Line<'a> {
    column: &'a Column,
    kind: Type,
    name: &'a str,
    is_key: bool,
    link: Option<&'a str>,
}

impl Line<'_> {
    fn text(&self, table: &Table, used: &mut BTreeSet<&'static str>) -> String {
        let Line { column, kind, is_key, .. } = self;
        let counted = *is_key && column.counted != Counted::No && self.link.is_none();
        let unique = table.indexes.iter().any(|index| alone(index) == Some(&*column.name));
        let mut words: Vec<String> = Vec::new();
        if *is_key && !(counted && self.name == "id") {
            words.push("primary_key".to_owned());
        }
        let mut ty = match self.link {
            Some(to) if unique || *is_key => {
                used.insert("OneToOne");
                format!("OneToOne<{to}>")
            }
            Some(to) => {
                used.insert("ForeignKey");
                format!("ForeignKey<{to}>")
            }
            None if counted => {
                used.insert("Id");
                "Id".to_owned()
            }
            None => {
                used.extend(kind.uses());
                words.extend(kind.words());
                kind.rust().to_owned()
            }
        };
        if self.link.is_some() {
            words.push("on_delete = do_nothing".to_owned());
        } else if unique && !is_key {
            words.push("unique".to_owned());
        }
        let bare = self.name.trim_start_matches("r#");
        let usual = if self.link.is_some() { format!("{bare}_id") } else { bare.to_owned() };
        if column.name != usual {
            words.push(format!("column = {:?}", column.name));
        }
        if column.null && !is_key {
            ty = format!("Option<{ty}>");
        }
        let mut text = String::new();
        text.extend(kind.note().map(|note| format!("    // {note}\n")));
        if column.generated {
            text.push_str("    // The database computes it: it cannot be saved.\n");
        }
        if !words.is_empty() {
            text.push_str(&format!("    #[field({})]\n", words.join(", ")));
        }
        text.push_str(&format!("    pub {}: {ty},\n", self.name));
        text
    }
}

/// A comment of as many lines as it needs.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("//")];
    for word in one_line(text).split_whitespace() {
        let is_full = lines.last().is_some_and(|line| line.len() + word.len() >= COLUMNS_MAX);
        if is_full {
            lines.push(String::from("//"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// Names are data: in a comment they must not end it.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
