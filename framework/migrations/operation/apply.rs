//! What an operation does to the state.

use crate::error::Result;
use crate::migrations::state::{FieldState, ModelKey, ModelState, ProjectState};

use super::inverse::{existing_constraint, existing_index};
use super::{Operation, renames, wrong};

impl Operation {
    /// The state after this operation of a migration of `app`.
    pub(in crate::migrations) fn apply(&self, app: &str, state: &mut ProjectState) -> Result<()> {
        let key = |model: &str| ModelKey::new(app, model);
        match self {
            Self::CreateModel(model) => create_model(model, state)?,
            Self::DeleteModel { model } => delete_model(&key(model), state)?,
            Self::RenameModel { from, to } => renames::rename_model(state, &key(from), to)?,
            Self::AlterModelOptions { model, options } => {
                state.existing_mut(&key(model))?.options.clone_from(options);
            }
            Self::AddField { model, field, .. } => {
                let model = state.existing_mut(&key(model))?;
                if model.field(&field.name).is_some() {
                    let words = format!("{} already has a field {}", model.key, field.name);
                    return Err(wrong(words));
                }
                model.fields.push(field.clone());
            }
            Self::AlterField { model, field, .. } => {
                alter_field(state.existing_mut(&key(model))?, &field.name, field)?;
            }
            Self::AlterPrimaryKey { model, fields } => {
                alter_primary_key(state.existing_mut(&key(model))?, fields)?;
            }
            Self::RemoveField { model, field } => {
                remove_field(state.existing_mut(&key(model))?, field)?;
            }
            Self::RenameField { model, from, to } => {
                rename_field(state.existing_mut(&key(model))?, from, to)?;
            }
            Self::AlterModelTable { model, table } => {
                renames::rename_table(state, &key(model), table)?;
            }
            Self::RunSql { .. } | Self::Run { .. } => {}
            Self::Separate { state: operations, .. } => {
                for operation in operations {
                    operation.apply(app, state)?;
                }
            }
            index => {
                let model = key(index.model().unwrap_or_default());
                index.apply_to_model(state.existing_mut(&model)?)?;
            }
        }
        Ok(())
    }

    /// As [`Operation::apply`], for indexes and constraints.
    fn apply_to_model(&self, model: &mut ModelState) -> Result<()> {
        match self {
            Self::AddIndex { index, .. } => {
                is_free(model, &index.name)?;
                has_fields(model, &index.fields)?;
                model.indexes.push(index.clone());
            }
            Self::AddConstraint { constraint, .. } => {
                is_free(model, &constraint.name)?;
                has_fields(model, constraint.fields())?;
                model.constraints.push(constraint.clone());
            }
            Self::RemoveIndex { name, .. } => {
                // Files of before constraints had a name took away unique ones so, too.
                if existing_index(model, name).is_ok() {
                    model.indexes.retain(|index| index.name != *name);
                } else {
                    existing_constraint(model, name)?;
                    model.constraints.retain(|constraint| constraint.name != *name);
                }
            }
            Self::RemoveConstraint { name, .. } => {
                existing_constraint(model, name)?;
                model.constraints.retain(|constraint| constraint.name != *name);
            }
            Self::RenameIndex { from, to, .. } => {
                if existing_constraint(model, from).is_err() {
                    existing_index(model, from)?;
                }
                is_free(model, to)?;
                let indexes = model.indexes.iter_mut().map(|index| &mut index.name);
                let constraints = model.constraints.iter_mut().map(|one| &mut one.name);
                indexes.chain(constraints).filter(|name| *name == from).for_each(|name| {
                    name.clone_from(to);
                });
            }
            _ => {}
        }
        Ok(())
    }
}

fn has_fields(model: &ModelState, fields: &[String]) -> Result<()> {
    for name in fields {
        model.existing_field(name.trim_start_matches('-'))?;
    }
    Ok(())
}

fn is_free(model: &ModelState, name: &str) -> Result<()> {
    if existing_index(model, name).is_ok() || existing_constraint(model, name).is_ok() {
        return Err(wrong(format!("{} already has an index or constraint {name}", model.key)));
    }
    Ok(())
}

fn create_model(model: &ModelState, state: &mut ProjectState) -> Result<()> {
    if state.model(&model.key).is_some() {
        return Err(wrong(format!("there is already a model {}", model.key)));
    }
    model.primary_key()?;
    state.push(model.clone());
    Ok(())
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

/// Puts `field` in the place of the one called `name`.
fn alter_field(model: &mut ModelState, name: &str, field: &FieldState) -> Result<()> {
    let old = model.existing_field(name)?;
    if old.primary_key != field.primary_key {
        return Err(wrong(format!(
            "{}.{name} becomes or stops being the primary key: that takes an `alter_primary_key`",
            model.key
        )));
    }
    replace_fields(model, &[(name, field)]);
    Ok(())
}

/// Puts fields in the place of those called so.
fn replace_fields(model: &mut ModelState, fields: &[(&str, &FieldState)]) {
    let before = model.clone();
    for (name, field) in fields {
        for (known, old) in model.fields.iter_mut().zip(&before.fields) {
            if old.name == *name {
                known.clone_from(field);
            }
        }
    }
    model.follow(&before);
}

fn alter_primary_key(model: &mut ModelState, fields: &[FieldState; 2]) -> Result<()> {
    let [new, old] = fields;
    let is_key = model.primary_key()?.name == old.name;
    if !is_key || !new.primary_key || new.null || old.primary_key {
        return Err(wrong(format!(
            "of {} the primary key is {}; an `alter_primary_key` tells of the new key and of that",
            model.key,
            model.primary_key()?.name
        )));
    }
    model.existing_field(&new.name)?;
    replace_fields(model, &[(&new.name, new), (&old.name, old)]);
    Ok(())
}

fn remove_field(model: &mut ModelState, name: &str) -> Result<()> {
    if model.existing_field(name)?.primary_key {
        return Err(wrong(format!("{}.{name} is the primary key and cannot go", model.key)));
    }
    if let Some(user) = model.user_of(name) {
        let words = format!("{}.{name} cannot go: index or constraint {user} uses it", model.key);
        return Err(wrong(words));
    }
    model.fields.retain(|field| field.name != name);
    Ok(())
}

/// Also its column, if that follows from the name.
pub(super) fn rename_field(model: &mut ModelState, from: &str, to: &str) -> Result<()> {
    let mut field = model.existing_field(from)?.clone();
    if model.field(to).is_some() {
        return Err(wrong(format!("{} already has a field {to}", model.key)));
    }
    if field.column == FieldState::default_column(from, &field.kind) {
        field.column = FieldState::default_column(to, &field.kind);
    }
    to.clone_into(&mut field.name);
    alter_field(model, from, &field)
}
