//! What stands on a table beside its columns: indexes and constraints; and a model's options.
//!
//! Invariants:
//! - Each has a name that is unique in the database. One that nobody gave follows from table,
//!   columns and condition (`names`), also after a rename: no operation is written for it.

use crate::models::{self, Meta};

use super::state::ModelState;
use super::{condition, names};

/// An index over columns, or over part of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// Its name in the database.
    pub name: String,
    /// Names of fields, `-` in front for descending.
    pub fields: Vec<String>,
    /// Which rows are in it, as neutral SQL (`"live" = true`); all if `None`.
    pub condition: Option<String>,
}

/// What every row must fulfil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintState {
    /// Its name in the database.
    pub name: String,
    /// What it demands.
    pub rule: Rule,
}

/// What a constraint demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No two rows share all of these fields.
    Unique {
        /// Names of fields.
        fields: Vec<String>,
        /// Among which rows, as neutral SQL; all if `None`.
        condition: Option<String>,
        /// Whether two NULLs differ, as SQL has it.
        nulls_distinct: bool,
    },
    /// The condition, neutral SQL (`"price" > 0`), holds for every row.
    Check(String),
}

/// What a model says of itself that changes no table; except `managed`, which says whether
/// migrations do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOptions {
    /// Default order: field names, `-` in front for descending.
    pub ordering: Vec<String>,
    /// What people call a row, if not what follows from the model's name.
    pub verbose_name: Option<String>,
    /// What people call several, if not that with an `s`.
    pub verbose_name_plural: Option<String>,
    /// The fields that `latest` and `earliest` go by.
    pub get_latest_by: Vec<String>,
    /// Whether migrations make and change its table.
    pub managed: bool,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            ordering: Vec::new(),
            verbose_name: None,
            verbose_name_plural: None,
            get_latest_by: Vec::new(),
            managed: true,
        }
    }
}

impl ModelOptions {
    pub(super) fn of(meta: &Meta) -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let unless = |word: &str, default: String| (word != default).then(|| word.to_owned());
        Self {
            ordering: list(meta.ordering),
            verbose_name: unless(meta.verbose_name, words(meta.model)),
            verbose_name_plural: unless(
                meta.verbose_name_plural,
                format!("{}s", meta.verbose_name),
            ),
            get_latest_by: list(meta.get_latest_by),
            managed: meta.managed,
        }
    }
}

/// `BlogPost` becomes `blog post`, as the derive does it.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

impl IndexState {
    pub(super) fn of(meta: &Meta, index: &models::Index) -> Self {
        let fields: Vec<String> = index.fields.iter().map(|&name| name.to_owned()).collect();
        let condition = index.condition.map(|condition| text(condition, meta));
        let made = Self { name: index.name.to_owned(), fields, condition };
        if made.name.is_empty() {
            return Self { name: made.automatic(meta.table, &|name| column(meta, name)), ..made };
        }
        made
    }

    /// The name it has if nobody gave it one.
    fn automatic(&self, table: &str, column: &dyn Fn(&str) -> String) -> String {
        names::index(table, &signed(&self.fields, column), self.condition.as_deref(), "idx")
    }
}

impl ConstraintState {
    pub(super) fn of(meta: &Meta, constraint: &models::Constraint) -> Self {
        let rule = match &constraint.kind {
            models::ConstraintKind::Unique { fields, condition, nulls_distinct } => Rule::Unique {
                fields: fields.iter().map(|&name| name.to_owned()).collect(),
                condition: condition.map(|condition| text(condition, meta)),
                nulls_distinct: *nulls_distinct,
            },
            models::ConstraintKind::Check(condition) => Rule::Check(text(*condition, meta)),
        };
        let made = Self { name: constraint.name.to_owned(), rule };
        if made.name.is_empty() {
            return Self { name: made.automatic(meta.table, &|name| column(meta, name)), ..made };
        }
        made
    }

    fn automatic(&self, table: &str, column: &dyn Fn(&str) -> String) -> String {
        match &self.rule {
            Rule::Unique { fields, condition, .. } => {
                names::index(table, &signed(fields, column), condition.as_deref(), "uniq")
            }
            Rule::Check(check) => names::index(table, &[], Some(check), "check"),
        }
    }

    /// The names of the fields it is about; a check is about columns.
    pub(super) fn fields(&self) -> &[String] {
        match &self.rule {
            Rule::Unique { fields, .. } => fields,
            Rule::Check(_) => &[],
        }
    }

    pub(super) fn condition(&self) -> Option<&str> {
        match &self.rule {
            Rule::Unique { condition, .. } => condition.as_deref(),
            Rule::Check(check) => Some(check),
        }
    }

    fn condition_mut(&mut self) -> Option<&mut String> {
        match &mut self.rule {
            Rule::Unique { condition, .. } => condition.as_mut(),
            Rule::Check(check) => Some(check),
        }
    }

    fn fields_mut(&mut self) -> &mut [String] {
        match &mut self.rule {
            Rule::Unique { fields, .. } => fields,
            Rule::Check(_) => &mut [],
        }
    }
}

impl ModelState {
    /// Gives indexes and constraints whose name is empty the one they have if nobody names them.
    #[must_use]
    pub fn named(mut self) -> Self {
        let (mut indexes, mut constraints) = (self.indexes.clone(), self.constraints.clone());
        for index in indexes.iter_mut().filter(|index| index.name.is_empty()) {
            index.name = index.automatic(&self.table, &|name| self.column_of(name));
        }
        for one in constraints.iter_mut().filter(|one| one.name.is_empty()) {
            one.name = one.automatic(&self.table, &|name| self.column_of(name));
        }
        (self.indexes, self.constraints) = (indexes, constraints);
        self
    }

    /// Whether an index or constraint speaks of the field `name`: by its name.
    pub(super) fn user_of(&self, name: &str) -> Option<&str> {
        let column = self.field(name).map_or("", |field| field.column.as_str());
        let is_used = |fields: &[String], text: Option<&str>| {
            fields.iter().any(|field| field.trim_start_matches('-') == name)
                || text.is_some_and(|text| condition::columns(text).iter().any(|c| c == column))
        };
        let indexes = self.indexes.iter().map(|one| (&one.name, &*one.fields, &one.condition));
        let index = indexes
            .filter(|(_, fields, text)| is_used(fields, text.as_deref()))
            .map(|(name, ..)| name.as_str());
        let constraints = self.constraints.iter();
        let constraint = constraints
            .filter(|one| is_used(one.fields(), one.condition()))
            .map(|one| one.name.as_str());
        index.chain(constraint).next()
    }

    /// Lets names, fields and conditions of indexes and constraints follow from `before`: the model
    /// with the same fields in the same places.
    pub(super) fn follow(&mut self, before: &Self) {
        let pairs = before.fields.iter().zip(&self.fields);
        let fields: Vec<(String, String)> =
            pairs.clone().map(|(old, new)| (old.name.clone(), new.name.clone())).collect();
        let columns: Vec<(String, String)> =
            pairs.map(|(old, new)| (old.column.clone(), new.column.clone())).collect();
        let rename = |name: &mut String| {
            let bare = name.trim_start_matches('-');
            if let Some((_, new)) = fields.iter().find(|(old, _)| old == bare) {
                *name = name.replace(bare, new);
            }
        };
        let mut indexes = self.indexes.clone();
        for index in &mut indexes {
            let was_automatic =
                index.name == index.automatic(&before.table, &|name| before.column_of(name));
            index.fields.iter_mut().for_each(rename);
            if let Some(text) = &mut index.condition {
                *text = condition::renamed(text, &columns);
            }
            if was_automatic {
                index.name = index.automatic(&self.table, &|name| self.column_of(name));
            }
        }
        let mut constraints = self.constraints.clone();
        for one in &mut constraints {
            let was_automatic =
                one.name == one.automatic(&before.table, &|name| before.column_of(name));
            one.fields_mut().iter_mut().for_each(rename);
            if let Some(text) = one.condition_mut() {
                *text = condition::renamed(text, &columns);
            }
            if was_automatic {
                one.name = one.automatic(&self.table, &|name| self.column_of(name));
            }
        }
        self.options.ordering.iter_mut().for_each(rename);
        self.options.get_latest_by.iter_mut().for_each(rename);
        (self.indexes, self.constraints) = (indexes, constraints);
    }

    fn column_of(&self, name: &str) -> String {
        self.field(name).map_or_else(|| name.to_owned(), |field| field.column.clone())
    }
}

/// # Panics
/// If the model asks for what no constraint can: its author must say it otherwise.
fn text(condition: models::Condition, meta: &Meta) -> String {
    condition.sql(meta).expect("a condition of an index or constraint is one all databases know")
}

/// `-created` becomes `-created_at` if that is the column's name.
fn signed(fields: &[String], column: &dyn Fn(&str) -> String) -> Vec<String> {
    let one = |name: &String| match name.strip_prefix('-') {
        Some(bare) => format!("-{}", column(bare)),
        None => column(name),
    };
    fields.iter().map(one).collect()
}

fn column(meta: &Meta, name: &str) -> String {
    meta.field(name).map_or(name, |field| field.column).to_owned()
}
