//! From changes to new migrations: which file each goes into, what it depends on, how it is called.
//!
//! An app gets one migration, or two when apps point at each other: the first without the foreign
//! keys that close the circle, the second with them.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::state::{FieldState, ModelKey, ProjectState};
use super::{Change, Migration, MigrationKey, Operation, optimize};

/// Longest automatic name before `_and_more`, as in Django.
const NAME_LENGTH_MAX: usize = 52;

/// Puts `changes` into migrations that follow those of `graph`. `new` is the state they lead to;
/// `name` takes the place of the automatic name.
#[must_use]
pub fn arrange(
    changes: Vec<Change>,
    new: &ProjectState,
    graph: &Graph,
    name: Option<&str>,
) -> Vec<Migration> {
    let mut work = Work { new, graph, name, made: Vec::new(), place: BTreeMap::new() };
    let mut left: Vec<(String, Vec<(usize, Change)>)> = Vec::new();
    for (place, change) in changes.into_iter().enumerate() {
        match left.iter_mut().find(|(app, _)| *app == change.app) {
            Some((_, list)) => list.push((place, change)),
            None => left.push((change.app.clone(), vec![(place, change)])),
        }
    }
    while !left.is_empty() {
        let ready = |list: &[(usize, Change)]| work.ready(list).iter().filter(|is| **is).count();
        let whole = left.iter().position(|(_, list)| ready(list) == list.len());
        let part = || left.iter().position(|(_, list)| ready(list) > 0);
        // `requires` points backwards only, so the earliest change is always ready.
        let chosen = whole.or_else(part).unwrap_or(0);
        let (app, list) = &mut left[chosen];
        let mut is_ready = work.ready(list).into_iter();
        let (now, later) =
            std::mem::take(list).into_iter().partition(|_| is_ready.next().unwrap_or(false));
        *list = later;
        work.make(app, now);
        left.retain(|(_, list)| !list.is_empty());
    }
    work.made
}

struct Work<'a> {
    new: &'a ProjectState,
    graph: &'a Graph,
    name: Option<&'a str>,
    made: Vec<Migration>,
    /// Where each change went.
    place: BTreeMap<usize, MigrationKey>,
}

impl Work<'_> {
    /// Which changes have all that they need from other apps, and do not follow one on the same
    /// model that has not.
    fn ready(&self, list: &[(usize, Change)]) -> Vec<bool> {
        let mut own: Vec<usize> = Vec::new();
        let mut late: Vec<&Change> = Vec::new();
        let mut ready = Vec::with_capacity(list.len());
        for (place, change) in list {
            let has = |need: &usize| own.contains(need) || self.place.contains_key(need);
            let meets = |other: &&Change| touches(other, change) || touches(change, other);
            let is_ready = change.requires.iter().all(has) && !late.iter().any(meets);
            ready.push(is_ready);
            if is_ready {
                own.push(*place);
            } else {
                late.push(change);
            }
        }
        ready
    }

    fn make(&mut self, app: &str, list: Vec<(usize, Change)>) {
        let mut dependencies: Vec<MigrationKey> = self.leaf(app).into_iter().collect();
        let needs = list.iter().flat_map(|(_, change)| &change.requires);
        let mut others: Vec<MigrationKey> =
            needs.filter_map(|need| self.place.get(need)).cloned().collect();
        for (_, change) in &list {
            others.extend(self.speakers(change));
            let targets = change.operation.fields().iter().filter_map(FieldState::target);
            let apps = targets.map(|to| to.app.as_str());
            others.extend(apps.filter_map(|other| self.leaf(other)));
        }
        others.retain(|key| key.app != app);
        others.sort();
        // Of one app the latest is enough: it depends on the earlier ones.
        others.dedup_by(|later, kept| {
            let same = later.app == kept.app;
            if same {
                kept.clone_from(later);
            }
            same
        });
        dependencies.extend(others);
        let places: Vec<usize> = list.iter().map(|(place, _)| *place).collect();
        let operations = list.into_iter().map(|(_, change)| change.operation).collect();
        let operations = ordered(optimize(operations, app), self.new);
        let key = MigrationKey::new(app, &self.next_name(app, &operations));
        self.place.extend(places.into_iter().map(|place| (place, key.clone())));
        self.made.push(Migration::new(key, dependencies, operations));
    }

    /// The last migration of `app`, made just now or known before.
    fn leaf(&self, app: &str) -> Option<MigrationKey> {
        let made = self.made.iter().rev().find(|migration| migration.key.app == app);
        made.map(|migration| migration.key.clone()).or_else(|| self.graph.leaf(app).cloned())
    }

    /// The last migrations of other apps that ever spoke of the model that goes or gets another
    /// name: replayed after it, they would not find it.
    fn speakers(&self, change: &Change) -> Vec<MigrationKey> {
        let (Operation::DeleteModel { model } | Operation::RenameModel { from: model, .. }) =
            &change.operation
        else {
            return Vec::new();
        };
        let mut names = vec![model.clone()];
        let own: Vec<&Migration> = self.graph.of(&change.app).collect();
        let steps = own.iter().flat_map(|one| &one.operations).flat_map(Operation::of_state);
        for operation in steps.collect::<Vec<_>>().into_iter().rev() {
            if let Operation::RenameModel { from, to } = operation
                && names.contains(to)
            {
                names.push(from.clone());
            }
        }
        let is_it = |to: &ModelKey| to.app == change.app && names.contains(&to.model);
        let speaks = |operation: &Operation| {
            operation.fields().iter().filter_map(FieldState::target).any(is_it)
        };
        let others = self.graph.migrations().filter(|one| one.key.app != change.app);
        let speaking =
            others.filter(|one| one.operations.iter().flat_map(Operation::of_state).any(speaks));
        speaking.filter_map(|one| self.graph.leaf(&one.key.app).cloned()).collect()
    }

    fn next_name(&self, app: &str, operations: &[Operation]) -> String {
        let number = self.leaf(app).map_or(1, |leaf| leaf.number() + 1);
        let words = match self.name {
            Some(name) => name.to_owned(),
            None if self.graph.leaf(app).is_none() => "initial".to_owned(),
            None => suggested(operations),
        };
        format!("{number:04}_{words}")
    }
}

/// `post_slug`, `remove_post_body_post_text`, `post_a_and_more`.
fn suggested(operations: &[Operation]) -> String {
    let fragments: Option<Vec<String>> = operations.iter().map(Operation::fragment).collect();
    let Some((first, rest)) = fragments.as_deref().and_then(<[String]>::split_first) else {
        return format!("auto_{}", chrono::Utc::now().format("%Y%m%d_%H%M"));
    };
    let mut name = first.clone();
    for fragment in rest {
        let longer = format!("{name}_{fragment}");
        if longer.len() > NAME_LENGTH_MAX {
            return format!("{name}_and_more");
        }
        name = longer;
    }
    name
}

/// Whether `change` speaks of the model that `other` is about.
fn touches(change: &Change, other: &Change) -> bool {
    let Some(model) = other.operation.model() else { return true };
    change.operation.references(&ModelKey::new(&other.app, model), &change.app)
}

/// Puts the fields of new models where the models have them: those that had to wait came last.
fn ordered(mut operations: Vec<Operation>, new: &ProjectState) -> Vec<Operation> {
    for operation in &mut operations {
        if let Operation::CreateModel(created) = operation
            && let Some(whole) = new.model(&created.key)
        {
            let order = |field: &FieldState| whole.fields.iter().position(|f| f.name == field.name);
            created.fields.sort_by_key(order);
        }
    }
    operations
}
