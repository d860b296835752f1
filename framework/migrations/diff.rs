//! From two states to the operations that lead from one to the other. Pure.
//!
//! Order, as Django's autodetector: renamed models and fields, options, removed and renamed
//! indexes and constraints, created models, removed, added and altered fields, tables, foreign keys
//! that had to wait for their table, added indexes and constraints, deleted models.

use std::collections::BTreeSet;

use crate::error::Result;

use super::constraint::{ConstraintState, IndexState};
use super::rename::Rename;
use super::state::{FieldState, ModelKey, ModelState, ProjectState, Value};
use super::{Operation, names, rekey};

/// One operation of an app, and which others must come before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Label of the app whose migration it goes into.
    pub app: String,
    /// What is done.
    pub operation: Operation,
    /// Places in the list of changes of what must be done before it.
    pub requires: Vec<usize>,
    /// Whether its table is made in the same list, so that there are no rows yet.
    pub is_new_table: bool,
}

/// The operations that lead from `old` to `new`, in an order in which they can run.
///
/// `renamed` are those of [`renames`](super::renames) that are meant as such. A field that is added
/// without a default and may not be NULL comes without a `fill`: see [`Change::lacks_fill`].
#[must_use]
pub fn diff(old: &ProjectState, new: &ProjectState, renamed: &[Rename]) -> Vec<Change> {
    let mut old = old.clone();
    let mut changes = Changes::default();
    for rename in renamed {
        changes.rename(rename, &mut old);
    }
    let kept: Vec<Pair<'_>> =
        new.models().iter().filter_map(|new| Some((old.model(&new.key)?, new))).collect();
    for (old, new) in kept.iter().filter(|(old, new)| old.options != new.options) {
        let (model, options) = (old.key.model.clone(), new.options.clone());
        changes.push(&new.key, Operation::AlterModelOptions { model, options });
    }
    // Without a table of ours there is nothing to follow.
    let is_ours = |(old, new): &Pair<'_>| old.options.managed && new.options.managed;
    let kept: Vec<Pair<'_>> = kept.into_iter().filter(is_ours).collect();
    for pair in &kept {
        remove_indexes(*pair, &followed(*pair), &mut changes);
    }
    let mut gone: Vec<&ModelState> =
        old.models().iter().filter(|model| new.model(&model.key).is_none()).collect();
    make_room(&mut gone, &old, new, &mut changes);
    for (old, wanting) in kept.iter().filter(|(old, kept)| old.table != kept.table) {
        let wants = |one: &&ModelState| one.key != wanting.key && is_same(&one.table, &old.table);
        if new.models().iter().any(|one| wants(&one)) {
            let (model, table) = (old.key.model.clone(), names::temporary(&old.table));
            changes.push(&old.key, Operation::AlterModelTable { model, table });
        }
    }
    let waiting = create_models(&old, new, &mut changes);
    let rekeyed = changes.rekey(&kept, &old);
    for (_, new) in &kept {
        remove_fields(rekeyed.model(&new.key).unwrap_or(new), new, &mut changes);
    }
    for (_, new) in &kept {
        free_columns(rekeyed.model(&new.key).unwrap_or(new), new, &mut changes);
        add_and_alter_fields(rekeyed.model(&new.key).unwrap_or(new), new, &mut changes);
    }
    for (_, new) in kept.iter().filter(|(old, new)| old.table != new.table) {
        let (model, table) = (new.key.model.clone(), new.table.clone());
        changes.push(&new.key, Operation::AlterModelTable { model, table });
    }
    for (model, field) in waiting {
        changes.add_field(&model.key, field.clone());
    }
    add_indexes(&old, new, &mut changes);
    delete_models(gone, &mut changes);
    changes.list
}

/// A model before and after.
type Pair<'a> = (&'a ModelState, &'a ModelState);

impl Change {
    /// Whether rows that exist need a value that nobody has given yet: what to ask for.
    #[must_use]
    pub fn lacks_fill(&self) -> Option<(&str, &FieldState)> {
        match &self.operation {
            Operation::AddField { model, field, fill: None }
                if !field.null && field.default.is_none() && !self.is_new_table =>
            {
                Some((model, field))
            }
            _ => None,
        }
    }

    /// Whether a column stops allowing NULL and nobody has said what takes its place.
    #[must_use]
    pub fn may_meet_null(&self, old: &ProjectState) -> Option<(&str, &FieldState)> {
        let Operation::AlterField { model, field, fill: None } = &self.operation else {
            return None;
        };
        let before = old.model(&ModelKey::new(&self.app, model))?.field(&field.name)?;
        (before.null && !field.null && field.default.is_none()).then_some((model, field))
    }

    /// Gives rows that exist `value`.
    pub fn set_fill(&mut self, value: Value) {
        if let Operation::AddField { fill, .. } | Operation::AlterField { fill, .. } =
            &mut self.operation
        {
            *fill = Some(value);
        }
    }
}

/// Sees that `changes` can be done to `old`, before anything is written.
///
/// # Errors
/// One does not fit, like another primary key; in the words `migrate` would have.
pub fn check_changes(changes: &[Change], old: &ProjectState) -> Result<()> {
    let mut state = old.clone();
    for Change { app, operation, .. } in changes {
        let done = operation.apply(app, &mut state);
        done.map_err(|error| error.context(format!("{app}: {}", operation.describe())))?;
    }
    Ok(())
}

#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    /// For each change the models it unlinks its own from.
    unlinked: Vec<(usize, ModelKey)>,
}

impl Changes {
    fn push(&mut self, model: &ModelKey, operation: Operation) {
        let targets = operation.fields().iter().filter_map(FieldState::target);
        let mut requires: Vec<usize> = targets.filter_map(|to| self.made(to)).collect();
        if let Operation::DeleteModel { .. } = operation {
            let unlinked = self.unlinked.iter().filter(|(_, from)| from == model);
            requires.extend(unlinked.map(|(place, _)| *place));
        }
        requires.sort_unstable();
        requires.dedup();
        let is_new_table = self.list.iter().any(|change| change.operation.creates() == Some(model));
        self.list.push(Change { app: model.app.clone(), operation, requires, is_new_table });
    }

    /// As `push`; the change takes the last field away that points from its model to `targets`.
    fn unlink<'a>(
        &mut self,
        model: &ModelKey,
        operation: Operation,
        targets: impl Iterator<Item = &'a ModelKey>,
    ) {
        let place = self.list.len();
        self.unlinked.extend(targets.map(|to| (place, to.clone())));
        self.push(model, operation);
    }

    /// A rename that does not fit the state is no rename.
    fn rename(&mut self, rename: &Rename, state: &mut ProjectState) {
        let operation = rename.operation();
        let name = match &operation {
            Operation::RenameModel { to, .. } => to,
            other => other.model().unwrap_or_default(),
        };
        let key = ModelKey::new(rename.app(), name);
        if operation.apply(rename.app(), state).is_ok() {
            self.push(&key, operation);
        }
    }

    /// Makes other fields the primary keys where they are; the state after that.
    fn rekey(&mut self, kept: &[Pair<'_>], old: &ProjectState) -> ProjectState {
        let mut state = old.clone();
        for (old, new) in kept {
            for operation in rekey::operations(old, new) {
                // One that does not fit is told of by `check_changes`.
                let _ = operation.apply(&new.key.app, &mut state);
                self.push(&new.key, operation);
            }
        }
        state
    }

    /// The change by which the model of this name comes about.
    fn made(&self, key: &ModelKey) -> Option<usize> {
        self.list.iter().position(|change| match &change.operation {
            Operation::CreateModel(model) => model.key == *key,
            Operation::RenameModel { to, .. } => change.app == key.app && *to == key.model,
            _ => false,
        })
    }

    fn add_field(&mut self, model: &ModelKey, field: FieldState) {
        let needs_now = field.is_automatic() && field.default.is_none() && !field.null;
        let fill = needs_now.then(|| Value::Text("now".to_owned()));
        self.push(model, Operation::AddField { model: model.model.clone(), field, fill });
    }
}

/// Removes the indexes and constraints that are gone, renames those that only have another name.
fn remove_indexes((old, new): Pair<'_>, followed: &ModelState, changes: &mut Changes) {
    let mut renames: Vec<(&str, &str)> = Vec::new();
    for (before, later) in old.constraints.iter().zip(&followed.constraints) {
        if new.constraints.contains(later) {
            continue;
        }
        if let Some(after) = renamed_constraint(later, followed, new) {
            renames.push((&before.name, &after.name));
            continue;
        }
        let (model, name) = (new.key.model.clone(), before.name.clone());
        changes.push(&new.key, Operation::RemoveConstraint { model, name });
    }
    for (before, later) in old.indexes.iter().zip(&followed.indexes) {
        if new.indexes.contains(later) {
            continue;
        }
        if let Some(after) = renamed_index(later, followed, new) {
            renames.push((&before.name, &after.name));
            continue;
        }
        let (model, name) = (new.key.model.clone(), before.name.clone());
        changes.push(&new.key, Operation::RemoveIndex { model, name, concurrently: false });
    }
    let mut rename = |from: String, to: String| {
        let model = new.key.model.clone();
        changes.push(&new.key, Operation::RenameIndex { model, from, to });
    };
    // Two that change places meet on the way.
    let meets = |name: &str| renames.iter().any(|(from, _)| *from == name);
    for (from, to) in renames.iter().filter(|(_, to)| meets(to)) {
        rename((*from).to_owned(), names::temporary(to));
    }
    for (from, to) in &renames {
        let from = if meets(to) { names::temporary(to) } else { (*from).to_owned() };
        rename(from, (*to).to_owned());
    }
}

/// The old model once its columns and its table are the new ones: what is named after them has
/// followed, and needs no operation of its own.
fn followed((old, new): Pair<'_>) -> ModelState {
    let mut followed = ModelState { table: new.table.clone(), ..old.clone() };
    for field in &mut followed.fields {
        if let Some(new) = new.field(&field.name) {
            field.column.clone_from(&new.column);
        }
    }
    followed.follow(old);
    followed
}

/// The index `before` under its new name.
fn renamed_index<'a>(
    before: &IndexState,
    old: &ModelState,
    new: &'a ModelState,
) -> Option<&'a IndexState> {
    let same = |one: &&IndexState| one.fields == before.fields && one.condition == before.condition;
    let is_new = |one: &&IndexState| !old.indexes.contains(one);
    new.indexes.iter().find(|one| same(one) && is_new(one))
}

/// The constraint `before` under its new name.
fn renamed_constraint<'a>(
    before: &ConstraintState,
    old: &ModelState,
    new: &'a ModelState,
) -> Option<&'a ConstraintState> {
    let is_new = |one: &&ConstraintState| !old.constraints.contains(one);
    new.constraints.iter().find(|one| one.rule == before.rule && is_new(one))
}

fn add_indexes(old: &ProjectState, new: &ProjectState, changes: &mut Changes) {
    for new in new.models() {
        let before = old.model(&new.key);
        if before.is_some_and(|old| !(old.options.managed && new.options.managed)) {
            continue;
        }
        let before = before.map(|old| followed((old, new)));
        let before = before.as_ref();
        let model = &new.key.model;
        for index in &new.indexes {
            let is_known = before.is_some_and(|old| {
                let renamed = |one: &IndexState| renamed_index(one, old, new) == Some(index);
                old.indexes.contains(index) || old.indexes.iter().any(renamed)
            });
            if !is_known {
                let (model, index) = (model.clone(), index.clone());
                let operation = Operation::AddIndex { model, index, concurrently: false };
                changes.push(&new.key, operation);
            }
        }
        for constraint in &new.constraints {
            let is_known = before.is_some_and(|old| {
                let found = |one: &ConstraintState| renamed_constraint(one, old, new);
                let renamed = |one: &ConstraintState| found(one) == Some(constraint);
                old.constraints.contains(constraint) || old.constraints.iter().any(renamed)
            });
            if !is_known {
                let (model, constraint) = (model.clone(), constraint.clone());
                changes.push(&new.key, Operation::AddConstraint { model, constraint });
            }
        }
    }
}

/// Creates the new models, each after those of its app that it points to; returns the foreign keys
/// that must wait: of a circle, and to new models of other apps.
fn create_models<'a>(
    old: &ProjectState,
    new: &'a ProjectState,
    changes: &mut Changes,
) -> Vec<(&'a ModelState, &'a FieldState)> {
    let mut waiting = Vec::new();
    let mut left: Vec<&ModelState> =
        new.models().iter().filter(|model| old.model(&model.key).is_none()).collect();
    while !left.is_empty() {
        let is_left = |to: &ModelKey| left.iter().any(|other| other.key == *to);
        let waits = |model: &ModelState, own: bool| {
            model.fields.iter().any(|field| {
                let Some(to) = field.target().filter(|to| **to != model.key) else { return false };
                (field.primary_key || own && to.app == model.key.app) && is_left(to)
            })
        };
        let free = left.iter().position(|model| !waits(model, true));
        // In a circle, one whose primary key at least can be made.
        let free = free.or_else(|| left.iter().position(|model| !waits(model, false)));
        let model = left.remove(free.unwrap_or(0));
        let is_ready = |field: &&FieldState| {
            let Some(to) = field.target() else { return true };
            let made = to.app == model.key.app && changes.made(to).is_some();
            field.primary_key || *to == model.key || made || old.model(to).is_some()
        };
        let (ready, later): (Vec<_>, Vec<_>) = model.fields.iter().partition(is_ready);
        let created = ModelState {
            fields: ready.into_iter().cloned().collect(),
            indexes: Vec::new(),
            constraints: Vec::new(),
            ..model.clone()
        };
        changes.push(&model.key, Operation::CreateModel(created));
        waiting.extend(later.into_iter().map(|field| (model, field)));
    }
    waiting
}

fn remove_fields(old: &ModelState, new: &ModelState, changes: &mut Changes) {
    for field in old.fields.iter().filter(|field| new.field(&field.name).is_none()) {
        let (model, name) = (new.key.model.clone(), field.name.clone());
        let operation = Operation::RemoveField { model, field: name };
        changes.unlink(&new.key, operation, field.target().into_iter());
    }
}

/// Moves columns out of the way whose names other fields get.
fn free_columns(old: &ModelState, new: &ModelState, changes: &mut Changes) {
    for field in &old.fields {
        let stays = new.field(&field.name).is_none_or(|to| to.column == field.column);
        let wants = |to: &FieldState| to.name != field.name && is_same(&to.column, &field.column);
        if !stays && new.fields.iter().any(wants) {
            let column = names::temporary(&field.column);
            let (model, field) = (new.key.model.clone(), FieldState { column, ..field.clone() });
            changes.push(&new.key, Operation::AlterField { model, field, fill: None });
        }
    }
}

/// Whether two names are one to a database: to SQLite and to some servers of MariaDB case is
/// nothing.
fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn add_and_alter_fields(old: &ModelState, new: &ModelState, changes: &mut Changes) {
    for field in &new.fields {
        match old.field(&field.name) {
            None => changes.add_field(&new.key, field.clone()),
            Some(before) if before != field => {
                let (model, field) = (new.key.model.clone(), field.clone());
                let operation = Operation::AlterField { model, field, fill: None };
                changes.unlink(&new.key, operation, before.target().into_iter());
            }
            Some(_) => {}
        }
    }
}

/// Deletes what nobody points to first, if its table's name is wanted by another model.
fn make_room(
    gone: &mut Vec<&ModelState>,
    old: &ProjectState,
    new: &ProjectState,
    changes: &mut Changes,
) {
    let is_wanted =
        |model: &ModelState| new.models().iter().any(|one| is_same(&one.table, &model.table));
    let (early, late): (Vec<_>, Vec<_>) = gone.drain(..).partition(|model| {
        let is_free = old.referring(&model.key).all(|(other, _)| other.key == model.key);
        is_free && is_wanted(model)
    });
    delete_models(early, changes);
    *gone = late;
}

/// Deletes the models that are gone, those first that point to others; in a circle the foreign keys
/// go before the tables.
fn delete_models(mut left: Vec<&ModelState>, changes: &mut Changes) {
    let mut unlinked: BTreeSet<(&ModelKey, &str)> = BTreeSet::new();
    while !left.is_empty() {
        let pointers = |key: &ModelKey| -> Vec<(&ModelState, &FieldState)> {
            let others = left.iter().filter(|model| model.key != *key);
            let fields = others.flat_map(|model| model.fields.iter().map(move |f| (*model, f)));
            fields.filter(|(_, field)| field.target() == Some(key)).collect()
        };
        let is_free = |model: &&ModelState| {
            let mut pointers = pointers(&model.key).into_iter();
            pointers.all(|(model, field)| unlinked.contains(&(&model.key, field.name.as_str())))
        };
        if let Some(free) = left.iter().position(is_free) {
            let model = left.remove(free);
            let operation = Operation::DeleteModel { model: model.key.model.clone() };
            // It may point to itself: that goes with it.
            let targets = model.fields.iter().filter_map(FieldState::target);
            let targets = targets.filter(|to| **to != model.key);
            changes.unlink(&model.key, operation, targets);
            continue;
        }
        for (model, field) in pointers(&left[0].key) {
            cut(model, field, changes);
            unlinked.insert((&model.key, &field.name));
        }
    }
}

/// Removes a foreign key of a model that goes, and before it what stands on it.
fn cut(model: &ModelState, field: &FieldState, changes: &mut Changes) {
    let mut rest = model.clone();
    while let Some(name) = rest.user_of(&field.name).map(str::to_owned) {
        let model_name = model.key.model.clone();
        let is_index = rest.indexes.iter().any(|index| index.name == name);
        rest.indexes.retain(|index| index.name != name);
        rest.constraints.retain(|constraint| constraint.name != name);
        let operation = if is_index {
            Operation::RemoveIndex { model: model_name, name, concurrently: false }
        } else {
            Operation::RemoveConstraint { model: model_name, name }
        };
        changes.push(&model.key, operation);
    }
    let (name, field_name) = (model.key.model.clone(), field.name.clone());
    let operation = Operation::RemoveField { model: name, field: field_name };
    changes.unlink(&model.key, operation, field.target().into_iter());
}
