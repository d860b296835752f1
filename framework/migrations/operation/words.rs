//! What an operation is called: in the terminal and in automatic names of files.

use super::Operation;

impl Operation {
    /// In words, as `makemigrations` and `sqlmigrate` print it.
    #[must_use]
    pub fn describe(&self) -> String {
        let low = |model: &str| model.to_lowercase();
        match self {
            Self::CreateModel(model) => format!("Create model {}", model.key.model),
            Self::DeleteModel { model } => format!("Delete model {model}"),
            Self::RenameModel { from, to } => format!("Rename model {from} to {to}"),
            Self::AlterModelOptions { model, .. } => {
                format!("Change Meta options on {}", low(model))
            }
            Self::AddField { model, field, .. } => {
                format!("Add field {} to {}", field.name, low(model))
            }
            Self::AlterField { model, field, .. } => {
                format!("Alter field {} on {}", field.name, low(model))
            }
            Self::AlterPrimaryKey { model, fields: [key, _] } => {
                format!("Make field {} the primary key of {}", key.name, low(model))
            }
            Self::RemoveField { model, field } => {
                format!("Remove field {field} from {}", low(model))
            }
            Self::RenameField { model, from, to } => {
                format!("Rename field {from} on {} to {to}", low(model))
            }
            Self::AlterModelTable { model, table } => {
                format!("Rename table for {} to {table}", low(model))
            }
            Self::AddIndex { model, index, .. } => {
                let (name, fields) = (&index.name, index.fields.join(", "));
                format!("Create index {name} on field(s) {fields} of model {}", low(model))
            }
            Self::RemoveIndex { model, name, .. } => {
                format!("Remove index {name} from {}", low(model))
            }
            Self::RenameIndex { model, from, to } => {
                format!("Rename index {from} on {} to {to}", low(model))
            }
            Self::AddConstraint { model, constraint } => {
                format!("Create constraint {} on model {}", constraint.name, low(model))
            }
            Self::RemoveConstraint { model, name } => {
                format!("Remove constraint {name} from model {}", low(model))
            }
            Self::RunSql { .. } => "Raw SQL operation".to_owned(),
            Self::Run { function, .. } => format!("Run {function}"),
            Self::Separate { .. } => "Custom state/database change combination".to_owned(),
        }
    }

    /// `+` adds, `-` takes away, `~` changes: in front of the words `makemigrations` prints.
    #[must_use]
    pub fn sign(&self) -> char {
        match self {
            Self::CreateModel(_)
            | Self::AddField { .. }
            | Self::AddIndex { .. }
            | Self::AddConstraint { .. } => '+',
            Self::DeleteModel { .. }
            | Self::RemoveField { .. }
            | Self::RemoveIndex { .. }
            | Self::RemoveConstraint { .. } => '-',
            Self::RenameModel { .. }
            | Self::AlterModelOptions { .. }
            | Self::AlterField { .. }
            | Self::AlterPrimaryKey { .. }
            | Self::RenameField { .. }
            | Self::AlterModelTable { .. }
            | Self::RenameIndex { .. } => '~',
            Self::RunSql { .. } => 's',
            Self::Run { .. } => 'p',
            Self::Separate { .. } => '?',
        }
    }

    /// Its part of an automatic file name, as in Django: `post_slug`, `remove_post_slug`.
    pub(in crate::migrations) fn fragment(&self) -> Option<String> {
        let low = |model: &str| model.to_lowercase();
        Some(match self {
            Self::CreateModel(model) => low(&model.key.model),
            Self::DeleteModel { model } => format!("delete_{}", low(model)),
            Self::RenameModel { from, to } => format!("rename_{}_{}", low(from), low(to)),
            Self::AlterModelOptions { model, .. } => format!("alter_{}_options", low(model)),
            Self::AddField { model, field, .. } => format!("{}_{}", low(model), field.name),
            Self::AlterField { model, field, .. } => {
                format!("alter_{}_{}", low(model), field.name)
            }
            Self::AlterPrimaryKey { model, fields: [key, _] } => {
                format!("{}_key_{}", low(model), key.name)
            }
            Self::RemoveField { model, field } => format!("remove_{}_{field}", low(model)),
            Self::RenameField { model, from, to } => {
                format!("rename_{from}_{}_{to}", low(model))
            }
            Self::AlterModelTable { model, .. } => format!("alter_{}_table", low(model)),
            Self::AddIndex { model, index, .. } => format!("{}_{}", low(model), low(&index.name)),
            Self::RemoveIndex { model, name, .. } | Self::RemoveConstraint { model, name } => {
                format!("remove_{}_{}", low(model), low(name))
            }
            Self::RenameIndex { from, to, .. } => format!("rename_{}_{}", low(from), low(to)),
            Self::AddConstraint { model, constraint } => {
                format!("{}_{}", low(model), low(&constraint.name))
            }
            Self::RunSql { .. } | Self::Run { .. } | Self::Separate { .. } => return None,
        })
    }
}
