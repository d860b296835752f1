//! One step of a migration: what it does to the state, how it is undone, what it is called.
//!
//! The DDL of each is in `schema`, its words in a file in `file`.

use crate::error::{Error, Kind as ErrorKind, Result};

use super::state::{FieldState, IndexState, ModelKey, ModelState, ProjectState, Value};

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
    /// A new index over several columns.
    AddIndex {
        /// The model.
        model: String,
        /// The index.
        index: IndexState,
    },
    /// Such an index goes.
    RemoveIndex {
        /// The model.
        model: String,
        /// Its name.
        name: String,
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
    /// SQL by hand; the state stays as it is.
    RunSql {
        /// One or more statements.
        forwards: String,
        /// What undoes them; without it the migration cannot be undone.
        backwards: Option<String>,
    },
}

impl Operation {
    /// The state after this operation of a migration of `app`.
    pub(super) fn apply(&self, app: &str, state: &mut ProjectState) -> Result<()> {
        match self {
            Self::CreateModel(model) => {
                if state.model(&model.key).is_some() {
                    return Err(wrong(format!("there is already a model {}", model.key)));
                }
                model.primary_key()?;
                state.push(model.clone());
            }
            Self::DeleteModel { model } => delete_model(&ModelKey::new(app, model), state)?,
            Self::AddField { model, field, .. } => {
                let model = state.existing_mut(&ModelKey::new(app, model))?;
                if model.field(&field.name).is_some() {
                    let words = format!("{} already has a field {}", model.key, field.name);
                    return Err(wrong(words));
                }
                model.fields.push(field.clone());
            }
            Self::AlterField { model, field, .. } => {
                let model = state.existing_mut(&ModelKey::new(app, model))?;
                alter_field(model, &field.name, field)?;
            }
            Self::RemoveField { model, field } => {
                remove_field(state.existing_mut(&ModelKey::new(app, model))?, field)?;
            }
            Self::RenameField { model, from, to } => {
                rename_field(state.existing_mut(&ModelKey::new(app, model))?, from, to)?;
            }
            Self::AlterModelTable { model, table } => {
                state.existing_mut(&ModelKey::new(app, model))?.table.clone_from(table);
            }
            Self::AddIndex { model, index } => {
                let model = state.existing_mut(&ModelKey::new(app, model))?;
                for name in &index.fields {
                    model.existing_field(name.trim_start_matches('-'))?;
                }
                model.indexes.push(index.clone());
            }
            Self::RemoveIndex { model, name } => {
                let model = state.existing_mut(&ModelKey::new(app, model))?;
                existing_index(model, name)?;
                model.indexes.retain(|index| index.name != *name);
            }
            Self::Run { .. } | Self::RunSql { .. } => {}
        }
        Ok(())
    }

    /// The operation that undoes this one, given the state before it.
    pub(super) fn inverse(&self, app: &str, before: &ProjectState) -> Result<Self> {
        let model_before = |model: &str| before.existing(&ModelKey::new(app, model));
        Ok(match self {
            Self::CreateModel(model) => Self::DeleteModel { model: model.key.model.clone() },
            Self::DeleteModel { model } => Self::CreateModel(model_before(model)?.clone()),
            Self::AddField { model, field, .. } => {
                Self::RemoveField { model: model.clone(), field: field.name.clone() }
            }
            Self::AlterField { model, field, .. } => Self::AlterField {
                model: model.clone(),
                field: model_before(model)?.existing_field(&field.name)?.clone(),
                fill: None,
            },
            Self::RemoveField { model, field } => Self::AddField {
                model: model.clone(),
                field: model_before(model)?.existing_field(field)?.clone(),
                fill: None,
            },
            Self::RenameField { model, from, to } => {
                Self::RenameField { model: model.clone(), from: to.clone(), to: from.clone() }
            }
            Self::AlterModelTable { model, .. } => Self::AlterModelTable {
                model: model.clone(),
                table: model_before(model)?.table.clone(),
            },
            Self::AddIndex { model, index } => {
                Self::RemoveIndex { model: model.clone(), name: index.name.clone() }
            }
            Self::RemoveIndex { model, name } => Self::AddIndex {
                model: model.clone(),
                index: existing_index(model_before(model)?, name)?.clone(),
            },
            Self::Run { function, back, elidable } => Self::Run {
                function: back.clone().ok_or_else(|| {
                    wrong(format!("`run = \"{function}\"` without a `run_back` cannot be undone"))
                })?,
                back: Some(function.clone()),
                elidable: *elidable,
            },
            Self::RunSql { forwards, backwards } => Self::RunSql {
                forwards: backwards.clone().ok_or_else(|| {
                    wrong("a `run_sql` without `backwards` cannot be undone".to_owned())
                })?,
                backwards: Some(forwards.clone()),
            },
        })
    }

    /// The model whose table it makes.
    pub(super) fn creates(&self) -> Option<&ModelKey> {
        match self {
            Self::CreateModel(model) => Some(&model.key),
            _ => None,
        }
    }

    /// In words, as `makemigrations` and `sqlmigrate` print it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::CreateModel(model) => format!("Create model {}", model.key.model),
            Self::DeleteModel { model } => format!("Delete model {model}"),
            Self::AddField { model, field, .. } => {
                format!("Add field {} to {}", field.name, model.to_lowercase())
            }
            Self::AlterField { model, field, .. } => {
                format!("Alter field {} on {}", field.name, model.to_lowercase())
            }
            Self::RemoveField { model, field } => {
                format!("Remove field {field} from {}", model.to_lowercase())
            }
            Self::RenameField { model, from, to } => {
                format!("Rename field {from} on {} to {to}", model.to_lowercase())
            }
            Self::AlterModelTable { model, table } => {
                format!("Rename table for {} to {table}", model.to_lowercase())
            }
            Self::AddIndex { model, index } => {
                let fields = index.fields.join(", ");
                format!(
                    "Create index {} on field(s) {fields} of model {}",
                    index.name,
                    model.to_lowercase()
                )
            }
            Self::RemoveIndex { model, name } => {
                format!("Remove index {name} from {}", model.to_lowercase())
            }
            Self::Run { function, .. } => format!("Run {function}"),
            Self::RunSql { .. } => "Raw SQL operation".to_owned(),
        }
    }

    /// `+` adds, `-` takes away, `~` changes: in front of the words `makemigrations` prints.
    #[must_use]
    pub fn sign(&self) -> char {
        match self {
            Self::CreateModel(_) | Self::AddField { .. } | Self::AddIndex { .. } => '+',
            Self::DeleteModel { .. } | Self::RemoveField { .. } | Self::RemoveIndex { .. } => '-',
            Self::AlterField { .. } | Self::RenameField { .. } | Self::AlterModelTable { .. } => {
                '~'
            }
            Self::Run { .. } => 'p',
            Self::RunSql { .. } => 's',
        }
    }

    /// Its part of an automatic file name, as in Django: `post_slug`, `remove_post_slug`.
    pub(super) fn fragment(&self) -> Option<String> {
        let low = |model: &str| model.to_lowercase();
        Some(match self {
            Self::CreateModel(model) => low(&model.key.model),
            Self::DeleteModel { model } => format!("delete_{}", low(model)),
            Self::AddField { model, field, .. } => format!("{}_{}", low(model), field.name),
            Self::AlterField { model, field, .. } => {
                format!("alter_{}_{}", low(model), field.name)
            }
            Self::RemoveField { model, field } => format!("remove_{}_{field}", low(model)),
            Self::RenameField { model, from, to } => {
                format!("rename_{from}_{}_{to}", low(model))
            }
            Self::AlterModelTable { model, .. } => format!("alter_{}_table", low(model)),
            Self::AddIndex { model, index } => format!("{}_{}", low(model), index.name),
            Self::RemoveIndex { model, name } => format!("remove_{}_{name}", low(model)),
            Self::Run { .. } | Self::RunSql { .. } => return None,
        })
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}

fn existing_index<'a>(model: &'a ModelState, name: &str) -> Result<&'a IndexState> {
    let found = model.indexes.iter().find(|index| index.name == name);
    found.ok_or_else(|| wrong(format!("{} has no index {name}", model.key)))
}

fn delete_model(key: &ModelKey, state: &mut ProjectState) -> Result<()> {
    state.existing(key)?;
    let pointer = state.referring(key).find(|(model, _)| model.key != *key);
    if let Some((model, field)) = pointer {
        let words = format!("{key} cannot go: {}.{} still points to it", model.key, field.name);
        return Err(wrong(words));
    }
    state.remove(key);
    Ok(())
}

fn alter_field(model: &mut ModelState, name: &str, field: &FieldState) -> Result<()> {
    let old = model.existing_field(name)?;
    if old.primary_key != field.primary_key {
        return Err(wrong(format!(
            "{}.{name} cannot become or stop being the primary key; make a new model instead",
            model.key
        )));
    }
    for known in &mut model.fields {
        if known.name == name {
            known.clone_from(field);
        }
    }
    Ok(())
}

fn remove_field(model: &mut ModelState, name: &str) -> Result<()> {
    if model.existing_field(name)?.primary_key {
        return Err(wrong(format!("{}.{name} is the primary key and cannot go", model.key)));
    }
    let uses = |index: &&IndexState| index.fields.iter().any(|f| f.trim_start_matches('-') == name);
    if let Some(index) = model.indexes.iter().find(uses) {
        let words = format!("{}.{name} cannot go: index {} uses it", model.key, index.name);
        return Err(wrong(words));
    }
    model.fields.retain(|field| field.name != name);
    Ok(())
}

fn rename_field(model: &mut ModelState, from: &str, to: &str) -> Result<()> {
    let mut field = model.existing_field(from)?.clone();
    if model.field(to).is_some() {
        return Err(wrong(format!("{} already has a field {to}", model.key)));
    }
    if field.column == FieldState::default_column(from, &field.kind) {
        field.column = FieldState::default_column(to, &field.kind);
    }
    to.clone_into(&mut field.name);
    alter_field(model, from, &field)?;
    for name in model.indexes.iter_mut().flat_map(|index| &mut index.fields) {
        if name.trim_start_matches('-') == from {
            *name = name.replace(from, to);
        }
    }
    Ok(())
}
