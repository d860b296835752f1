//! What undoes an operation.

use crate::error::Result;
use crate::migrations::constraint::{ConstraintState, IndexState};
use crate::migrations::state::{FieldState, ModelKey, ModelState, ProjectState};

use super::{Operation, wrong};

impl Operation {
    /// The operation that undoes this one, given the state before it.
    pub(in crate::migrations) fn inverse(&self, app: &str, before: &ProjectState) -> Result<Self> {
        let model_before = |model: &str| before.existing(&ModelKey::new(app, model));
        Ok(match self {
            Self::CreateModel(model) => Self::DeleteModel { model: model.key.model.clone() },
            Self::DeleteModel { model } => Self::CreateModel(model_before(model)?.clone()),
            Self::RenameModel { from, to } => {
                Self::RenameModel { from: to.clone(), to: from.clone() }
            }
            Self::AlterModelOptions { model, .. } => Self::AlterModelOptions {
                model: model.clone(),
                options: model_before(model)?.options.clone(),
            },
            Self::AddField { model, field, .. } => {
                Self::RemoveField { model: model.clone(), field: field.name.clone() }
            }
            Self::AlterField { model, field, .. } => Self::AlterField {
                model: model.clone(),
                field: model_before(model)?.existing_field(&field.name)?.clone(),
                fill: None,
            },
            Self::AlterPrimaryKey { model, fields: [new, old] } => {
                let before = model_before(model)?;
                let was = |field: &FieldState| before.existing_field(&field.name).cloned();
                Self::AlterPrimaryKey { model: model.clone(), fields: [was(old)?, was(new)?] }
            }
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
            Self::RunSql { forwards, backwards, elidable } => Self::RunSql {
                forwards: backwards.clone().ok_or_else(|| {
                    wrong("a `run_sql` without `backwards` cannot be undone".to_owned())
                })?,
                backwards: Some(forwards.clone()),
                elidable: *elidable,
            },
            Self::Run { function, back, elidable } => Self::Run {
                function: back.clone().ok_or_else(|| {
                    wrong(format!("`run = \"{function}\"` without a `run_back` cannot be undone"))
                })?,
                back: Some(function.clone()),
                elidable: *elidable,
            },
            Self::Separate { database, state } => Self::Separate {
                database: inverses(database, app, before)?,
                state: inverses(state, app, before)?,
            },
            index => index.inverse_of_index(model_before(index.model().unwrap_or_default())?)?,
        })
    }

    /// As [`Operation::inverse`], for indexes and constraints.
    fn inverse_of_index(&self, before: &ModelState) -> Result<Self> {
        let model = before.key.model.clone();
        Ok(match self {
            Self::AddIndex { index, concurrently, .. } => {
                let (name, concurrently) = (index.name.clone(), *concurrently);
                Self::RemoveIndex { model, name, concurrently }
            }
            Self::RemoveIndex { name, concurrently, .. } => match existing_index(before, name) {
                Ok(index) => {
                    let (index, concurrently) = (index.clone(), *concurrently);
                    Self::AddIndex { model, index, concurrently }
                }
                Err(unknown) => {
                    let constraint = existing_constraint(before, name).map_err(|_| unknown)?;
                    Self::AddConstraint { model, constraint: constraint.clone() }
                }
            },
            Self::RenameIndex { from, to, .. } => {
                Self::RenameIndex { model, from: to.clone(), to: from.clone() }
            }
            Self::AddConstraint { constraint, .. } => {
                Self::RemoveConstraint { model, name: constraint.name.clone() }
            }
            Self::RemoveConstraint { name, .. } => {
                let constraint = existing_constraint(before, name)?.clone();
                Self::AddConstraint { model, constraint }
            }
            other => return Err(wrong(format!("{} has no inverse", other.describe()))),
        })
    }
}

/// What undoes all of `operations`, last first.
fn inverses(operations: &[Operation], app: &str, before: &ProjectState) -> Result<Vec<Operation>> {
    let mut state = before.clone();
    let mut made = Vec::with_capacity(operations.len());
    for operation in operations {
        made.push(operation.inverse(app, &state)?);
        operation.apply(app, &mut state)?;
    }
    made.reverse();
    Ok(made)
}

/// The index of this name.
pub(super) fn existing_index<'a>(model: &'a ModelState, name: &str) -> Result<&'a IndexState> {
    let found = model.indexes.iter().find(|index| index.name == name);
    found.ok_or_else(|| wrong(format!("{} has no index {name}", model.key)))
}

/// The constraint of this name.
pub(in crate::migrations) fn existing_constraint<'a>(
    model: &'a ModelState,
    name: &str,
) -> Result<&'a ConstraintState> {
    let found = model.constraints.iter().find(|constraint| constraint.name == name);
    found.ok_or_else(|| wrong(format!("{} has no constraint {name}", model.key)))
}
