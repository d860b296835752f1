//! One step of a migration: what it does to the state, how it is undone, what it is called.
//!
//! The DDL of each is in `schema`, its words in a file in `file`.

mod apply;
mod inverse;
mod reduce;
mod renames;
mod words;

use std::collections::BTreeMap;

use crate::error::{Error, Kind as ErrorKind};

use super::constraint::{ConstraintState, IndexState, ModelOptions};
use super::state::{FieldState, ModelKey, ModelState, Value};

pub(super) use inverse::existing_constraint;
pub use reduce::optimize;
pub(super) use renames::{field_of, is_between};

/// A function that does nothing: the way back of what needs none.
pub(super) const NOOP: &str = "noop";

/// One step. Models are named within the migration's own app.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A new table.
    CreateModel(ModelState),
    /// A table goes, with its rows.
    DeleteModel {
        /// The model.
        model: String,
    },
    /// A model with another name; its table, the tables of its many-to-many fields and what is
    /// named after them follow.
    RenameModel {
        /// Name before.
        from: String,
        /// Name afterwards.
        to: String,
    },
    /// Other options; no table changes.
    AlterModelOptions {
        /// The model.
        model: String,
        /// All of them, as they are afterwards.
        options: ModelOptions,
    },
    /// A new column.
    AddField {
        /// The model.
        model: String,
        /// The column.
        field: FieldState,
        /// What rows that exist get; not kept as the column's default.
        fill: Option<Value>,
    },
    /// A column with other properties.
    AlterField {
        /// The model.
        model: String,
        /// The column as it is afterwards.
        field: FieldState,
        /// What takes the place of NULL in rows that exist.
        fill: Option<Value>,
    },
    /// Another field becomes the primary key; no column comes or goes.
    AlterPrimaryKey {
        /// The model.
        model: String,
        /// The new key and the former one, as they are afterwards.
        fields: [FieldState; 2],
    },
    /// A column goes, with its values.
    RemoveField {
        /// The model.
        model: String,
        /// Name of the field.
        field: String,
    },
    /// A column with another name.
    RenameField {
        /// The model.
        model: String,
        /// Name before.
        from: String,
        /// Name afterwards.
        to: String,
    },
    /// A table with another name.
    AlterModelTable {
        /// The model.
        model: String,
        /// Name of the table afterwards.
        table: String,
    },
    /// A new index.
    AddIndex {
        /// The model.
        model: String,
        /// The index.
        index: IndexState,
        /// Whether PostgreSQL makes it without keeping writers waiting.
        concurrently: bool,
    },
    /// An index goes.
    RemoveIndex {
        /// The model.
        model: String,
        /// Its name.
        name: String,
        /// Whether PostgreSQL drops it without keeping writers waiting.
        concurrently: bool,
    },
    /// An index or a constraint with another name.
    RenameIndex {
        /// The model.
        model: String,
        /// Name before.
        from: String,
        /// Name afterwards.
        to: String,
    },
    /// A new constraint.
    AddConstraint {
        /// The model.
        model: String,
        /// The constraint.
        constraint: ConstraintState,
    },
    /// A constraint goes.
    RemoveConstraint {
        /// The model.
        model: String,
        /// Its name.
        name: String,
    },
    /// SQL by hand; the state stays as it is.
    RunSql {
        /// One or more statements.
        forwards: SqlText,
        /// What undoes them; without it the migration cannot be undone.
        backwards: Option<SqlText>,
        /// Whether squashing may leave it out: rows that are not there yet do not need it.
        elidable: bool,
    },
    /// A function of an app, for rows rather than tables; the state stays as it is.
    Run {
        /// App and name, `blog.fill_slugs`; or `noop`.
        function: String,
        /// The function that undoes it; without one the migration cannot be undone.
        back: Option<String>,
        /// Whether squashing may leave it out: rows that are not there yet do not need it.
        elidable: bool,
    },
    /// Some operations on the database alone, others on the state alone.
    Separate {
        /// What happens to the database.
        database: Vec<Self>,
        /// What happens to the state.
        state: Vec<Self>,
    },
}

/// SQL by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlText {
    /// For every database. Each text may hold several statements.
    Same(Vec<String>),
    /// For each database its own, by `sqlite`, `postgres` or `mysql`.
    Each(BTreeMap<String, Vec<String>>),
}

impl From<&str> for SqlText {
    fn from(text: &str) -> Self {
        Self::Same(vec![text.to_owned()])
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}

/// What one operation speaks of: for the order of operations and for folding them.
impl Operation {
    /// The model whose table it makes.
    pub(super) fn creates(&self) -> Option<&ModelKey> {
        match self {
            Self::CreateModel(model) => Some(&model.key),
            _ => None,
        }
    }

    /// The model it is about, by its name; `None` for what may be about anything.
    pub(super) fn model(&self) -> Option<&str> {
        match self {
            Self::CreateModel(model) => Some(&model.key.model),
            Self::RenameModel { from, .. } => Some(from),
            Self::DeleteModel { model }
            | Self::AlterModelOptions { model, .. }
            | Self::AddField { model, .. }
            | Self::AlterField { model, .. }
            | Self::AlterPrimaryKey { model, .. }
            | Self::RemoveField { model, .. }
            | Self::RenameField { model, .. }
            | Self::AlterModelTable { model, .. }
            | Self::AddIndex { model, .. }
            | Self::RemoveIndex { model, .. }
            | Self::RenameIndex { model, .. }
            | Self::AddConstraint { model, .. }
            | Self::RemoveConstraint { model, .. } => Some(model),
            Self::RunSql { .. } | Self::Run { .. } | Self::Separate { .. } => None,
        }
    }

    /// The fields it brings.
    pub(super) fn fields(&self) -> &[FieldState] {
        match self {
            Self::CreateModel(model) => &model.fields,
            Self::AddField { field, .. } | Self::AlterField { field, .. } => {
                std::slice::from_ref(field)
            }
            Self::AlterPrimaryKey { fields, .. } => fields,
            _ => &[],
        }
    }

    /// What it does to the state: itself, or the operations that were set apart for that.
    pub(super) fn of_state(&self) -> Vec<&Self> {
        match self {
            Self::Separate { state, .. } => state.iter().flat_map(Self::of_state).collect(),
            one => vec![one],
        }
    }

    /// Whether it speaks of the model `key`, in a migration of `app`.
    pub(super) fn references(&self, key: &ModelKey, app: &str) -> bool {
        let Some(model) = self.model() else { return true };
        let is_own = |name: &str| app == key.app && name == key.model;
        let is_renamed = matches!(self, Self::RenameModel { to, .. } if is_own(to));
        let points = self.fields().iter().any(|field| field.target() == Some(key));
        is_own(model) || is_renamed || points
    }
}
