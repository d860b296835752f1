//! From two states to the operations that lead from one to the other. Pure.
//!
//! Order, as Django's autodetector: renamed fields, removed indexes, created models, removed, added
//! and altered fields, foreign keys that had to wait for their table, added indexes, deleted
//! models.

use std::collections::BTreeSet;

use crate::models;

use super::Operation;
use super::state::{FieldState, IndexState, Kind, ModelKey, ModelState, ProjectState, Value};

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

/// A field that may have got another name: its definition is otherwise the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The model.
    pub model: ModelKey,
    /// Name before.
    pub from: String,
    /// Name now.
    pub to: String,
    /// What it holds, as Django names such a field.
    pub kind: &'static str,
}

/// The fields that may have been renamed between `old` and `new`.
#[must_use]
pub fn possible_renames(old: &ProjectState, new: &ProjectState) -> Vec<Rename> {
    let mut renames = Vec::new();
    for (old, new) in kept(old, new) {
        let added = new.fields.iter().filter(|field| old.field(&field.name).is_none());
        for to in added {
            let gone = old.fields.iter().filter(|field| new.field(&field.name).is_none());
            let alike = gone.filter(|from| is_renamed(from, to));
            renames.extend(alike.map(|from| Rename {
                model: new.key.clone(),
                from: from.name.clone(),
                to: to.name.clone(),
                kind: to.kind.field_name(),
            }));
        }
    }
    renames
}

fn is_renamed(from: &FieldState, to: &FieldState) -> bool {
    let column = FieldState::default_column(&to.name, &to.kind);
    let column = if from.column == FieldState::default_column(&from.name, &from.kind) {
        column
    } else {
        from.column.clone()
    };
    *to == FieldState { name: to.name.clone(), column, ..from.clone() }
}

/// The operations that lead from `old` to `new`, in an order in which they can run.
///
/// `renames` are those of [`possible_renames`] that are meant as such. A field that is added
/// without a default and may not be NULL comes without a `fill`: see [`Change::lacks_fill`].
#[must_use]
pub fn diff(old: &ProjectState, new: &ProjectState, renames: &[Rename]) -> Vec<Change> {
    let mut old = old.clone();
    let mut changes = Changes::default();
    for rename in renames {
        let operation = Operation::RenameField {
            model: rename.model.model.clone(),
            from: rename.from.clone(),
            to: rename.to.clone(),
        };
        // A rename that does not fit the state is no rename.
        if operation.apply(&rename.model.app, &mut old).is_ok() {
            changes.push(&rename.model, operation);
        }
    }
    let kept = kept(&old, new);
    remove_indexes(&kept, &mut changes);
    let waiting = create_models(&old, new, &mut changes);
    for (old, new) in &kept {
        remove_fields(old, new, &mut changes);
    }
    for (old, new) in &kept {
        add_and_alter_fields(old, new, &mut changes);
    }
    for (_, new) in kept.iter().filter(|(old, new)| old.table != new.table) {
        let (model, table) = (new.key.model.clone(), new.table.clone());
        changes.push(&new.key, Operation::AlterModelTable { model, table });
    }
    for (model, field) in waiting {
        changes.add_field(&model.key, field.clone());
    }
    add_indexes(&old, new, &mut changes);
    delete_models(&old, new, &mut changes);
    changes.list
}

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

#[derive(Default)]
struct Changes {
    list: Vec<Change>,
}

impl Changes {
    fn push(&mut self, model: &ModelKey, operation: Operation) {
        let mut requires: Vec<usize> = Vec::new();
        let fields: &[FieldState] = match &operation {
            Operation::CreateModel(model) => &model.fields,
            Operation::AddField { field, .. } | Operation::AlterField { field, .. } => {
                std::slice::from_ref(field)
            }
            _ => &[],
        };
        requires.extend(fields.iter().filter_map(|field| self.created(field.target()?)));
        if let Operation::DeleteModel { .. } = operation {
            requires.extend(self.unlinked());
        }
        let is_new_table = self.created(model).is_some();
        self.list.push(Change { app: model.app.clone(), operation, requires, is_new_table });
    }

    fn created(&self, key: &ModelKey) -> Option<usize> {
        self.list.iter().position(|change| change.operation.creates() == Some(key))
    }

    /// Everything that may have pointed to a model that goes.
    fn unlinked(&self) -> Vec<usize> {
        let unlinks = |operation: &Operation| {
            matches!(
                operation,
                Operation::RemoveField { .. }
                    | Operation::AlterField { .. }
                    | Operation::DeleteModel { .. }
            )
        };
        let list = self.list.iter().enumerate();
        list.filter(|(_, change)| unlinks(&change.operation)).map(|(place, _)| place).collect()
    }

    fn add_field(&mut self, model: &ModelKey, field: FieldState) {
        let needs_now = field.is_automatic() && field.default.is_none() && !field.null;
        let fill = needs_now.then(|| Value::Text("now".to_owned()));
        self.push(model, Operation::AddField { model: model.model.clone(), field, fill });
    }
}

/// The models that are in both, old and new side by side.
fn kept<'a>(old: &'a ProjectState, new: &'a ProjectState) -> Vec<(&'a ModelState, &'a ModelState)> {
    new.models().iter().filter_map(|model| Some((old.model(&model.key)?, model))).collect()
}

fn remove_indexes(kept: &[(&ModelState, &ModelState)], changes: &mut Changes) {
    for (old, new) in kept {
        for index in old.indexes.iter().filter(|index| !has_index(new, index)) {
            let (model, name) = (new.key.model.clone(), index.name.clone());
            changes.push(&new.key, Operation::RemoveIndex { model, name });
        }
    }
}

fn add_indexes(old: &ProjectState, new: &ProjectState, changes: &mut Changes) {
    for model in new.models() {
        let before = old.model(&model.key);
        let is_new = |index: &&IndexState| before.is_none_or(|before| !has_index(before, index));
        for index in model.indexes.iter().filter(is_new) {
            let (name, index) = (model.key.model.clone(), index.clone());
            changes.push(&model.key, Operation::AddIndex { model: name, index });
        }
    }
}

/// Whether it has such an index, whatever its name.
fn has_index(model: &ModelState, index: &IndexState) -> bool {
    let same = |known: &IndexState| known.fields == index.fields && known.unique == index.unique;
    model.indexes.iter().any(same)
}

/// Creates the new models, those first that others of the same app point to. Returns the foreign
/// keys that must wait: those to other apps' new models and those that close a circle.
fn create_models<'a>(
    old: &ProjectState,
    new: &'a ProjectState,
    changes: &mut Changes,
) -> Vec<(&'a ModelState, &'a FieldState)> {
    let mut left: Vec<&ModelState> =
        new.models().iter().filter(|model| old.model(&model.key).is_none()).collect();
    let mut waiting = Vec::new();
    while !left.is_empty() {
        let waits = |model: &ModelState| {
            let targets = model.fields.iter().filter_map(FieldState::target);
            let mut own = targets.filter(|to| to.app == model.key.app && **to != model.key);
            own.any(|to| left.iter().any(|other| other.key == *to))
        };
        let free = left.iter().position(|model| !waits(model)).unwrap_or(0);
        let model = left.remove(free);
        let is_ready = |to: &ModelKey| {
            let made = to.app == model.key.app && changes.created(to).is_some();
            *to == model.key || made || old.model(to).is_some()
        };
        let (ready, later): (Vec<_>, Vec<_>) =
            model.fields.iter().partition(|field| field.target().is_none_or(is_ready));
        let created = ModelState {
            fields: ready.into_iter().cloned().collect(),
            indexes: Vec::new(),
            ..model.clone()
        };
        changes.push(&model.key, Operation::CreateModel(created));
        waiting.extend(later.into_iter().map(|field| (model, field)));
    }
    waiting
}

fn remove_fields(old: &ModelState, new: &ModelState, changes: &mut Changes) {
    for field in old.fields.iter().filter(|field| new.field(&field.name).is_none()) {
        let (model, field) = (new.key.model.clone(), field.name.clone());
        changes.push(&new.key, Operation::RemoveField { model, field });
    }
}

fn add_and_alter_fields(old: &ModelState, new: &ModelState, changes: &mut Changes) {
    for field in &new.fields {
        match old.field(&field.name) {
            None => changes.add_field(&new.key, field.clone()),
            Some(before) if before != field => {
                let (model, field) = (new.key.model.clone(), field.clone());
                changes.push(&new.key, Operation::AlterField { model, field, fill: None });
            }
            Some(_) => {}
        }
    }
}

/// Deletes the models that are gone, those first that point to others; in a circle the foreign keys
/// go before the tables.
fn delete_models(old: &ProjectState, new: &ProjectState, changes: &mut Changes) {
    let mut left: Vec<&ModelState> =
        old.models().iter().filter(|model| new.model(&model.key).is_none()).collect();
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
            let key = &left.remove(free).key;
            changes.push(key, Operation::DeleteModel { model: key.model.clone() });
            continue;
        }
        for (model, field) in pointers(&left[0].key) {
            let (name, field_name) = (model.key.model.clone(), field.name.clone());
            changes.push(&model.key, Operation::RemoveField { model: name, field: field_name });
            unlinked.insert((&model.key, &field.name));
        }
    }
}

impl Kind {
    /// Reads what a person typed as a value for such a column.
    #[must_use]
    pub fn parse(&self, typed: &str) -> Option<Value> {
        let typed = typed.trim();
        let text = |fits: bool| fits.then(|| Value::Text(typed.to_owned()));
        match self {
            Self::Boolean => typed.to_lowercase().parse().ok().map(Value::Bool),
            Self::BigAuto | Self::SmallInteger | Self::Integer | Self::BigInteger => {
                typed.parse().ok().map(Value::Int)
            }
            Self::PositiveSmallInteger | Self::PositiveInteger | Self::PositiveBigInteger => {
                typed.parse().ok().filter(|number| *number >= 0).map(Value::Int)
            }
            Self::Float => typed.parse().ok().map(Value::Float),
            Self::Char | Self::Text => Some(Value::Text(unquoted(typed).to_owned())),
            Self::DateTime => {
                text(typed == "now" || chrono::DateTime::parse_from_rfc3339(typed).is_ok())
            }
            Self::Date => text(typed == "now" || typed.parse::<chrono::NaiveDate>().is_ok()),
            Self::Time => text(typed == "now" || typed.parse::<chrono::NaiveTime>().is_ok()),
            Self::Decimal => text(typed.parse::<rust_decimal::Decimal>().is_ok()),
            Self::Duration => text(models::duration::parse(typed).is_some()),
            Self::Uuid => text(typed.parse::<uuid::Uuid>().is_ok()),
            Self::Json => text(typed.parse::<serde_json::Value>().is_ok()),
            Self::Binary => None,
            Self::ForeignKey { .. } => {
                let number = typed.parse().ok().map(Value::Int);
                number.or_else(|| Some(Value::Text(unquoted(typed).to_owned())))
            }
        }
    }
}

/// The text inside quotes, if there are any.
fn unquoted(typed: &str) -> &str {
    let inside = |mark: char| typed.strip_prefix(mark)?.strip_suffix(mark);
    inside('"').or_else(|| inside('\'')).unwrap_or(typed)
}
