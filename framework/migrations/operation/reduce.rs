//! The optimiser: fewer operations that do the same, as Django's.
//!
//! Flow: each operation is asked what it makes of each later one ([`Operation::reduce`]): both
//! together are something shorter, or the later one may be moved in front of it, or neither; until
//! nothing gets shorter.
//!
//! Invariants:
//! - SQL by hand, functions and what separates state from database are never crossed.
//! - What was filled into rows in between stays what rows get.

use crate::migrations::names;
use crate::migrations::state::{FieldState, ModelKey, ModelState, ProjectState, Value};

use super::Operation;

/// What an operation makes of a later one.
enum Reduced {
    /// Both together are these.
    To(Vec<Operation>),
    /// They do not touch each other.
    Apart,
    /// The later one must stay behind.
    Bound,
}

/// The shortest list that does what `operations` of a migration of `app` do.
#[must_use]
pub fn optimize(mut operations: Vec<Operation>, app: &str) -> Vec<Operation> {
    while let Some(shorter) = shortened(&operations, app) {
        operations = shorter;
    }
    operations
}

/// The list after the first pair that can be put together; `None` if there is none.
fn shortened(operations: &[Operation], app: &str) -> Option<Vec<Operation>> {
    for (at, operation) in operations.iter().enumerate() {
        // Whether what lies between may come before what both together are.
        let mut right = true;
        for (distance, other) in operations[at + 1..].iter().enumerate() {
            let made = match operation.reduce(other, app) {
                Reduced::Apart => continue,
                Reduced::Bound => {
                    right = false;
                    continue;
                }
                Reduced::To(made) => made,
            };
            let between = &operations[at + 1..=at + distance];
            let apart = |one: &Operation| matches!(one.reduce(other, app), Reduced::Apart);
            let middle = if right {
                [between.to_vec(), made].concat()
            } else if between.iter().all(apart) {
                [made, between.to_vec()].concat()
            } else {
                break;
            };
            let (before, after) = (&operations[..at], &operations[at + distance + 2..]);
            return Some([before.to_vec(), middle, after.to_vec()].concat());
        }
    }
    None
}

impl Operation {
    fn reduce(&self, other: &Self, app: &str) -> Reduced {
        let (Some(mine), Some(theirs)) = (self.model(), other.model()) else {
            return Reduced::Bound;
        };
        let name = match self {
            Self::RenameModel { to, .. } => to.as_str(),
            _ => mine,
        };
        if name == theirs
            && let Some(made) = self.together(other, app)
        {
            return Reduced::To(made);
        }
        if self.is_apart(other, app) { Reduced::Apart } else { Reduced::Bound }
    }

    /// Whether `other` may as well come first.
    fn is_apart(&self, other: &Self, app: &str) -> bool {
        let key = |name: &str| ModelKey::new(app, name);
        let names = match self {
            Self::RenameModel { from, to } => vec![key(from), key(to)],
            Self::CreateModel(model) => {
                let targets = model.fields.iter().filter_map(FieldState::target).cloned();
                // Creating and deleting what it points to must stay on its side.
                let ends = matches!(other, Self::DeleteModel { .. } | Self::RenameModel { .. });
                let targets = targets.filter(|_| ends);
                [model.key.clone()].into_iter().chain(targets).collect()
            }
            _ => return self.is_apart_in_model(other, app),
        };
        !names.iter().any(|name| other.references(name, app))
    }

    /// As [`Operation::is_apart`], for operations on one model: another field of it may be touched.
    fn is_apart_in_model(&self, other: &Self, app: &str) -> bool {
        let own = ModelKey::new(app, self.model().unwrap_or_default());
        let targets: Vec<&ModelKey> = self.fields().iter().filter_map(FieldState::target).collect();
        let moved = match other {
            Self::CreateModel(_) | Self::DeleteModel { .. } | Self::RenameModel { .. } => {
                targets.iter().any(|target| other.references(target, app))
            }
            _ => false,
        };
        if moved {
            return false;
        }
        if !other.references(&own, app) {
            return true;
        }
        let (Some(mine), Some(theirs)) = (self.touched(), other.touched()) else { return false };
        other.model() == self.model() && mine.iter().all(|name| !theirs.contains(name))
    }

    /// The fields of its model that it is about; `None` for what concerns all of it.
    fn touched(&self) -> Option<Vec<&str>> {
        Some(match self {
            Self::AddField { field, .. } | Self::AlterField { field, .. } => vec![&field.name],
            Self::RemoveField { field, .. } => vec![field],
            Self::RenameField { from, to, .. } => vec![from, to],
            Self::AddIndex { index, .. } if index.condition.is_none() => {
                index.fields.iter().map(|name| name.trim_start_matches('-')).collect()
            }
            Self::AddConstraint { constraint, .. } if constraint.condition().is_none() => {
                constraint.fields().iter().map(String::as_str).collect()
            }
            _ => return None,
        })
    }

    /// What both are together, if that is less; `other` is about the same model.
    fn together(&self, other: &Self, app: &str) -> Option<Vec<Self>> {
        match self {
            Self::CreateModel(model) => created(model, other, app),
            Self::RenameModel { from, .. } => match other {
                Self::RenameModel { to, .. } if to == from => Some(vec![]),
                Self::RenameModel { to, .. } => {
                    Some(vec![Self::RenameModel { from: from.clone(), to: to.clone() }])
                }
                _ => None,
            },
            // Another one takes its place before it goes on.
            Self::AlterModelTable { table, .. } if names::is_temporary(table) => None,
            Self::AlterModelOptions { .. } | Self::AlterModelTable { .. } => {
                let same = std::mem::discriminant(self) == std::mem::discriminant(other);
                let gone = matches!(other, Self::DeleteModel { .. });
                (same || gone).then(|| vec![other.clone()])
            }
            Self::AddField { model, field, fill } => added(model, (field, fill.as_ref()), other),
            Self::AlterField { model, field, fill } => {
                altered(model, (field, fill.as_ref()), other)
            }
            Self::RenameField { model, from, to } => match other {
                Self::RenameField { from: next, to: end, .. } if next == to => {
                    let (model, from, to) = (model.clone(), from.clone(), end.clone());
                    let is_back = from == to;
                    let rename = Self::RenameField { model, from, to };
                    Some(if is_back { vec![] } else { vec![rename] })
                }
                Self::RemoveField { field, .. } if field == to => {
                    let (model, field) = (model.clone(), from.clone());
                    Some(vec![Self::RemoveField { model, field }])
                }
                _ => None,
            },
            _ => self.index_together(other),
        }
    }

    fn index_together(&self, other: &Self) -> Option<Vec<Self>> {
        match (self, other) {
            (Self::AddIndex { index, .. }, Self::RemoveIndex { name, .. })
                if index.name == *name =>
            {
                Some(vec![])
            }
            (Self::AddIndex { model, index, concurrently }, Self::RenameIndex { from, to, .. })
                if index.name == *from =>
            {
                let mut index = index.clone();
                index.name.clone_from(to);
                let (model, concurrently) = (model.clone(), *concurrently);
                Some(vec![Self::AddIndex { model, index, concurrently }])
            }
            (Self::AddConstraint { constraint, .. }, Self::RemoveConstraint { name, .. })
                if constraint.name == *name =>
            {
                Some(vec![])
            }
            (
                Self::RenameIndex { model, from, to },
                Self::RenameIndex { from: next, to: end, .. },
            ) if next == to => {
                let (model, from, to) = (model.clone(), from.clone(), end.clone());
                Some(vec![Self::RenameIndex { model, from, to }])
            }
            _ => None,
        }
    }
}

/// `create_model` and what follows on the same model.
fn created(model: &ModelState, other: &Operation, app: &str) -> Option<Vec<Operation>> {
    if let Operation::DeleteModel { .. } = other {
        return Some(vec![]);
    }
    if matches!(other, Operation::RunSql { .. } | Operation::Run { .. } | Operation::CreateModel(_))
    {
        return None;
    }
    let mut state = ProjectState::default();
    state.push(model.clone());
    other.apply(app, &mut state).ok()?;
    let made = state.models().first()?.clone();
    // The model a foreign key now points to itself under a new name is followed by `apply`.
    Some(vec![Operation::CreateModel(made)])
}

type Filled<'a> = (&'a FieldState, Option<&'a Value>);

/// `add_field` and what follows on the same field.
fn added(model: &str, (field, fill): Filled<'_>, other: &Operation) -> Option<Vec<Operation>> {
    let model = model.to_owned();
    match other {
        Operation::RemoveField { field: name, .. } if *name == field.name => Some(vec![]),
        Operation::AlterField { field: to, fill: later, .. } if to.name == field.name => {
            // The rows have what the first gave them, unless that was NULL.
            let given = fill.or(field.default.as_ref());
            let is_same_kind = to.kind == field.kind;
            let rows = match given {
                Some(_) if !is_same_kind => return None,
                Some(given) => Some(given),
                None => later.as_ref(),
            };
            let is_default = rows.is_some() && rows == to.default.as_ref();
            let fill = rows.filter(|_| !is_default).cloned();
            // NULL stays in the rows, but a default would now fill them.
            if fill.is_none() && field.null && given.is_none() && to.default.is_some() && to.null {
                return None;
            }
            Some(vec![Operation::AddField { model, field: to.clone(), fill }])
        }
        Operation::RenameField { from, to, .. } if *from == field.name => {
            let field = renamed(field, to);
            Some(vec![Operation::AddField { model, field, fill: fill.cloned() }])
        }
        _ => None,
    }
}

/// `alter_field` and what follows on the same field.
fn altered(model: &str, (field, fill): Filled<'_>, other: &Operation) -> Option<Vec<Operation>> {
    match other {
        Operation::RemoveField { field: name, .. } if *name == field.name => {
            Some(vec![other.clone()])
        }
        Operation::AlterField { field: to, fill: later, .. } if to.name == field.name => {
            if names::is_temporary(&field.column) || fill.is_some() && to.kind != field.kind {
                return None;
            }
            let fill = later.as_ref().or(fill).cloned();
            let (model, field) = (model.to_owned(), to.clone());
            Some(vec![Operation::AlterField { model, field, fill }])
        }
        Operation::RenameField { from, to, .. } if *from == field.name => {
            let (model, field) = (model.to_owned(), renamed(field, to));
            let altered = Operation::AlterField { model, field, fill: fill.cloned() };
            Some(vec![other.clone(), altered])
        }
        _ => None,
    }
}

fn renamed(field: &FieldState, to: &str) -> FieldState {
    let mut new = FieldState { name: to.to_owned(), ..field.clone() };
    if field.column == FieldState::default_column(&field.name, &field.kind) {
        new.column = FieldState::default_column(to, &field.kind);
    }
    new
}
