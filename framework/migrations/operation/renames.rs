//! Renaming a model or its table: what is named after them follows.
//!
//! A many-to-many field `tags` of `Post` has its rows in a model made for it: `Post_tags`, table
//! `blog_post_tags`, with the foreign keys `post` and `tag` (`from_post` and `to_post` if it
//! relates posts to posts). It is known by that shape, and follows the models at its two ends.

use crate::error::Result;
use crate::migrations::state::{Kind, ModelKey, ModelState, ProjectState};

use super::apply::rename_field;
use super::wrong;

/// The field of `owner` for which `model` was made.
pub(in crate::migrations) fn field_of<'a>(
    model: &'a ModelState,
    owner: &ModelKey,
) -> Option<&'a str> {
    let name = model.key.model.strip_prefix(owner.model.as_str())?.strip_prefix('_')?;
    let mut targets = model.fields.iter().filter_map(|field| field.target());
    let is_made = model.fields.len() == 3 && model.fields[0].kind == Kind::BigAuto;
    (model.key.app == owner.app && is_made && targets.any(|to| to == owner)).then_some(name)
}

/// Whether `model` was made for a many-to-many field of a model of `state`.
pub(in crate::migrations) fn is_between(state: &ProjectState, model: &ModelState) -> bool {
    state.models().iter().any(|owner| field_of(model, &owner.key).is_some())
}

/// Renames the model and, where they follow from its name, its table, the models of its
/// many-to-many fields and their foreign keys.
pub(super) fn rename_model(state: &mut ProjectState, from: &ModelKey, to: &str) -> Result<()> {
    let new = ModelKey::new(&from.app, to);
    let old_model = state.existing(from)?.clone();
    if state.model(&new).is_some() {
        return Err(wrong(format!("there is already a model {new}")));
    }
    let between: Vec<(ModelKey, Option<String>)> = state
        .models()
        .iter()
        .filter(|model| is_between(state, model))
        .filter(|model| model.fields.iter().any(|field| field.target() == Some(from)))
        .map(|model| (model.key.clone(), field_of(model, from).map(str::to_owned)))
        .collect();
    state.rekey(from, &new);
    let mut keys = Vec::with_capacity(between.len());
    for (key, field) in between {
        let renamed = field.map(|field| ModelKey::new(&from.app, &format!("{to}_{field}")));
        if let Some(renamed) = &renamed {
            state.rekey(&key, renamed);
        }
        keys.push(renamed.unwrap_or(key));
    }
    if old_model.table == ModelState::default_table(from) {
        rename_table(state, &new, &ModelState::default_table(&new))?;
    }
    for key in keys {
        rename_ends(state.existing_mut(&key)?, &from.model, to)?;
    }
    Ok(())
}

/// Renames the foreign keys that are called after the model.
fn rename_ends(between: &mut ModelState, from: &str, to: &str) -> Result<()> {
    let (from, to) = (from.to_lowercase(), to.to_lowercase());
    for start in ["", "from_", "to_"] {
        let (old, new) = (format!("{start}{from}"), format!("{start}{to}"));
        if old != new && between.field(&old).is_some() {
            rename_field(between, &old, &new)?;
        }
    }
    Ok(())
}

/// Gives the model another table; the tables of its many-to-many fields follow if they are called
/// after it.
pub(super) fn rename_table(state: &mut ProjectState, key: &ModelKey, table: &str) -> Result<()> {
    let old = state.existing(key)?.table.clone();
    let mut renamed = vec![(key.clone(), table.to_owned())];
    for model in state.models() {
        if let Some(field) = field_of(model, key)
            && model.table == format!("{old}_{field}")
        {
            renamed.push((model.key.clone(), format!("{table}_{field}")));
        }
    }
    for (key, table) in renamed {
        let model = state.existing_mut(&key)?;
        let before = model.clone();
        model.table = table;
        model.follow(&before);
    }
    Ok(())
}
