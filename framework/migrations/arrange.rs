//! From changes to new migrations: which file each goes into, what it depends on, how it is called.
//!
//! An app gets one migration, or two when apps point at each other: the first without the foreign
//! keys that close the circle, the second with them.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::state::{FieldState, IndexState, ModelKey, ModelState, ProjectState};
use super::{Change, Migration, MigrationKey, Operation};

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
        let ready = |list: &[(usize, Change)]| work.ready(list);
        let whole = left.iter().position(|(_, list)| ready(list) == list.len());
        let part = || left.iter().position(|(_, list)| ready(list) > 0);
        // `requires` points backwards only, so the earliest change is always ready.
        let chosen = whole.or_else(part).unwrap_or(0);
        let count = work.ready(&left[chosen].1).max(1);
        let (app, list) = &mut left[chosen];
        let later = list.split_off(count);
        let now = std::mem::replace(list, later);
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
    /// How many changes from the front have all that they need from other apps.
    fn ready(&self, list: &[(usize, Change)]) -> usize {
        let own: Vec<usize> = list.iter().map(|(place, _)| *place).collect();
        let has = |need: &usize| own.contains(need) || self.place.contains_key(need);
        list.iter().take_while(|(_, change)| change.requires.iter().all(has)).count()
    }

    fn make(&mut self, app: &str, list: Vec<(usize, Change)>) {
        let mut dependencies: Vec<MigrationKey> = self.leaf(app).into_iter().collect();
        let needs = list.iter().flat_map(|(_, change)| &change.requires);
        let mut others: Vec<MigrationKey> =
            needs.filter_map(|need| self.place.get(need)).cloned().collect();
        for (_, change) in &list {
            let targets = fields(&change.operation).iter().filter_map(FieldState::target);
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
        let operations = folded(operations, self.new);
        let key = MigrationKey::new(app, &self.next_name(app, &operations));
        self.place.extend(places.into_iter().map(|place| (place, key.clone())));
        self.made.push(Migration::new(key, dependencies, operations));
    }

    /// The last migration of `app`, made just now or known before.
    fn leaf(&self, app: &str) -> Option<MigrationKey> {
        let made = self.made.iter().rev().find(|migration| migration.key.app == app);
        made.map(|migration| migration.key.clone()).or_else(|| self.graph.leaf(app).cloned())
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

fn fields(operation: &Operation) -> &[FieldState] {
    match operation {
        Operation::CreateModel(model) => &model.fields,
        Operation::AddField { field, .. } | Operation::AlterField { field, .. } => {
            std::slice::from_ref(field)
        }
        _ => &[],
    }
}

/// Puts fields and indexes that wait into the `create_model` of the same migration where they can
/// be.
fn folded(operations: Vec<Operation>, new: &ProjectState) -> Vec<Operation> {
    let mut done: Vec<Operation> = Vec::new();
    for operation in operations {
        let is_folded = match &operation {
            Operation::AddField { model, field, .. } => fold_field(&mut done, model, field, new),
            Operation::AddIndex { model, index } => fold_index(&mut done, model, index),
            _ => false,
        };
        if !is_folded {
            done.push(operation);
        }
    }
    done
}

/// Whether `index` went into the `create_model` of `model`.
fn fold_index(done: &mut [Operation], model: &str, index: &IndexState) -> bool {
    let Some(created) = done.iter_mut().find_map(|one| created(one, model)) else { return false };
    let mut names = index.fields.iter().map(|name| name.trim_start_matches('-'));
    let fits = names.all(|name| created.field(name).is_some());
    if fits {
        created.indexes.push(index.clone());
    }
    fits
}

fn created<'a>(operation: &'a mut Operation, name: &str) -> Option<&'a mut ModelState> {
    match operation {
        Operation::CreateModel(model) if model.key.model == name => Some(model),
        _ => None,
    }
}

/// Whether `field` went into the `create_model` of `model`, at its place among the fields.
fn fold_field(done: &mut [Operation], model: &str, field: &FieldState, new: &ProjectState) -> bool {
    let place = |key: &ModelKey| done.iter().position(|one| one.creates() == Some(key));
    let is_own = |one: &Operation| one.creates().is_some_and(|key| key.model == model);
    let Some(own) = done.iter().position(is_own) else { return false };
    if field.target().and_then(place).is_some_and(|target| target > own) {
        return false;
    }
    let Some(created) = created(&mut done[own], model) else { return false };
    created.fields.push(field.clone());
    if let Some(whole) = new.model(&created.key) {
        let order = |field: &FieldState| whole.fields.iter().position(|f| f.name == field.name);
        created.fields.sort_by_key(order);
    }
    true
}
