//! All migrations and what depends on what: order, conflicts, plans.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind as ErrorKind, Result};

use super::{Migration, MigrationKey, ProjectState};

/// The migrations of all apps that are in force: of squashed ones and those they stand for, either.
/// Every dependency exists and there is no circle.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Every file.
    pub(super) all: BTreeMap<MigrationKey, Migration>,
    /// Those in force.
    migrations: BTreeMap<MigrationKey, Migration>,
    /// What must be applied before each: dependencies, those who `run_before` it, and what the
    /// migrations depended on that a squashed one stands for.
    parents: Parents,
    /// All keys in force, each after what it depends on.
    order: Vec<MigrationKey>,
}

/// What has been applied, by key.
pub type Applied = BTreeSet<MigrationKey>;

/// By migration what must be applied before it.
pub(super) type Parents = BTreeMap<MigrationKey, BTreeSet<MigrationKey>>;

impl Graph {
    /// Puts `migrations` in order, as for a database where nothing is applied: squashed migrations
    /// are in force, not those they stand for.
    ///
    /// # Errors
    /// A dependency does not exist, or the dependencies go round in a circle.
    pub fn new(migrations: impl IntoIterator<Item = Migration>) -> Result<Self> {
        let all = migrations.into_iter().map(|migration| (migration.key.clone(), migration));
        Ok(Self::settled(all.collect(), &Applied::new(), false)?.0)
    }

    /// The graph for a database on which `recorded` is recorded, and what counts as applied there:
    /// where only some of the migrations that a squashed one stands for are, they are in force;
    /// where all are, it counts as applied.
    ///
    /// # Errors
    /// Some are applied, but another has no file any more.
    pub fn seen(&self, recorded: &Applied) -> Result<(Self, Applied)> {
        Self::settled(self.all.clone(), recorded, false)
    }

    /// The graph in which squashed migrations leave their place to those they stand for, where
    /// these have files.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn unsquashed(&self) -> Result<Self> {
        Ok(Self::settled(self.all.clone(), &Applied::new(), true)?.0)
    }

    fn settled(
        all: BTreeMap<MigrationKey, Migration>,
        recorded: &Applied,
        unsquashed: bool,
    ) -> Result<(Self, Applied)> {
        let (gone, applied) = super::replace::settle(&all, recorded, unsquashed)?;
        let parents = super::replace::parents(&all, &gone)?;
        let migrations = all.iter().filter(|(key, _)| !gone.contains_key(key));
        let migrations = migrations.map(|(key, one)| (key.clone(), one.clone())).collect();
        let order = ordered(&parents)?;
        Ok((Self { all, migrations, parents, order }, applied))
    }

    /// What must be applied before the migration of this key.
    pub fn parents(&self, key: &MigrationKey) -> impl Iterator<Item = &MigrationKey> {
        self.parents.get(key).into_iter().flatten()
    }

    /// Every migration that stands for others, in force or not.
    pub fn replacing(&self) -> impl Iterator<Item = &Migration> {
        self.all.values().filter(|migration| !migration.replaces.is_empty())
    }

    /// Whether there is a file of this key, in force or not.
    #[must_use]
    pub fn has_file(&self, key: &MigrationKey) -> bool {
        self.all.contains_key(key)
    }

    /// All migrations, each after what it depends on.
    pub fn migrations(&self) -> impl Iterator<Item = &Migration> {
        self.order.iter().map(|key| &self.migrations[key])
    }

    /// The migration of this key.
    #[must_use]
    pub fn get(&self, key: &MigrationKey) -> Option<&Migration> {
        self.migrations.get(key)
    }

    /// The migrations of `app`, in order.
    pub fn of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Migration> {
        self.migrations().filter(move |migration| migration.key.app == app)
    }

    /// The migration of `app` that no other of the app depends on. The first of several.
    #[must_use]
    pub fn leaf<'a>(&'a self, app: &'a str) -> Option<&'a MigrationKey> {
        self.leaves(app).into_iter().next()
    }

    fn leaves<'a>(&'a self, app: &'a str) -> Vec<&'a MigrationKey> {
        let followed =
            |key: &MigrationKey| self.of(app).any(|m| self.parents(&m.key).any(|p| p == key));
        self.of(app).map(|migration| &migration.key).filter(|key| !followed(key)).collect()
    }

    /// An error if an app has two ends, as after merging two branches that each added a migration.
    ///
    /// # Errors
    /// Django's words, naming the ends.
    pub fn check_conflicts(&self) -> Result<()> {
        let apps: BTreeSet<&str> = self.order.iter().map(|key| key.app.as_str()).collect();
        let mut conflicts = Vec::new();
        for app in apps {
            let leaves = self.leaves(app);
            if leaves.len() > 1 {
                let names: Vec<&str> = leaves.iter().map(|key| key.name.as_str()).collect();
                conflicts.push(format!("{} in {app}", names.join(", ")));
            }
        }
        if conflicts.is_empty() {
            return Ok(());
        }
        Err(wrong(format!(
            "Conflicting migrations detected; multiple leaf nodes in the migration graph: ({}).\n\
             To fix them run 'manage makemigrations --merge'",
            conflicts.join("; ")
        )))
    }

    /// The ends of each app that has several.
    #[must_use]
    pub fn conflicts(&self) -> BTreeMap<String, Vec<MigrationKey>> {
        let apps: BTreeSet<&str> = self.order.iter().map(|key| key.app.as_str()).collect();
        let ends = apps
            .into_iter()
            .map(|app| (app.to_owned(), self.leaves(app).into_iter().cloned().collect::<Vec<_>>()));
        ends.filter(|(_, leaves)| leaves.len() > 1).collect()
    }

    /// The migrations of its app that `leaf` follows and not all of `leaves` do, it included: its
    /// branch, in order.
    #[must_use]
    pub fn branch(&self, leaf: &MigrationKey, leaves: &[MigrationKey]) -> Vec<&Migration> {
        let before = |leaf: &MigrationKey| {
            let all = self.forwards(std::slice::from_ref(leaf), &Applied::new()).into_iter();
            all.filter(|migration| migration.key.app == leaf.app).collect::<Vec<_>>()
        };
        let others: Vec<_> = leaves.iter().map(before).collect();
        let is_common = |migration: &&Migration| others.iter().all(|all| all.contains(migration));
        before(leaf).into_iter().filter(|migration| !is_common(migration)).collect()
    }

    /// An error if something is applied before what it depends on.
    ///
    /// # Errors
    /// Django's words, naming the two.
    pub fn check_history(&self, applied: &Applied) -> Result<()> {
        for migration in self.migrations().filter(|migration| applied.contains(&migration.key)) {
            let missing = self.parents(&migration.key).find(|key| !applied.contains(*key));
            if let Some(missing) = missing {
                return Err(wrong(format!(
                    "Migration {} is applied before its dependency {missing} on database.",
                    migration.key
                )));
            }
        }
        Ok(())
    }

    /// What must run, in order, so that `targets` are applied.
    #[must_use]
    pub fn forwards(&self, targets: &[MigrationKey], applied: &Applied) -> Vec<&Migration> {
        let mut wanted: BTreeSet<&MigrationKey> = BTreeSet::new();
        let mut open: Vec<&MigrationKey> = targets.iter().collect();
        while let Some(key) = open.pop() {
            if self.migrations.contains_key(key) && wanted.insert(key) {
                open.extend(self.parents(key));
            }
        }
        let is_due = |m: &&Migration| wanted.contains(&m.key) && !applied.contains(&m.key);
        self.migrations().filter(is_due).collect()
    }

    /// What must be undone, in order, so that `roots` are not applied: they and all that depend on
    /// them.
    #[must_use]
    pub fn backwards(&self, roots: &[MigrationKey], applied: &Applied) -> Vec<&Migration> {
        let mut doomed: BTreeSet<&MigrationKey> = roots.iter().collect();
        for migration in self.migrations() {
            if self.parents(&migration.key).any(|key| doomed.contains(key)) {
                doomed.insert(&migration.key);
            }
        }
        let is_due = |m: &&Migration| doomed.contains(&m.key) && applied.contains(&m.key);
        let mut plan: Vec<&Migration> = self.migrations().filter(is_due).collect();
        plan.reverse();
        plan
    }

    /// The state after the migrations that `included` says yes to.
    ///
    /// # Errors
    /// An operation does not fit what came before it.
    pub fn state(&self, included: impl Fn(&MigrationKey) -> bool) -> Result<ProjectState> {
        let mut state = ProjectState::default();
        for migration in self.migrations().filter(|migration| included(&migration.key)) {
            migration.apply(&mut state)?;
        }
        Ok(state)
    }
}

impl Migration {
    /// Brings `state` to where it is after this migration.
    ///
    /// # Errors
    /// An operation does not fit.
    pub fn apply(&self, state: &mut ProjectState) -> Result<()> {
        for operation in &self.operations {
            operation.apply(&self.key.app, state).map_err(|error| self.blame(operation, error))?;
        }
        Ok(())
    }

    /// `error`, with the migration and operation it came from.
    pub(super) fn blame(&self, operation: &super::Operation, error: Error) -> Error {
        error.context(format!("migration {}: {}", self.key, operation.describe().to_lowercase()))
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}

/// Depth first, by name, without recursion: a long chain must not use up the stack.
fn ordered(parents: &Parents) -> Result<Vec<MigrationKey>> {
    let mut order = Vec::with_capacity(parents.len());
    let mut done: BTreeSet<&MigrationKey> = BTreeSet::new();
    for start in parents.keys() {
        let mut path: Vec<&MigrationKey> = vec![start];
        while let Some(key) = path.last().copied() {
            match parents[key].iter().find(|parent| !done.contains(parent)) {
                Some(parent) if path.contains(&parent) => {
                    let circle: Vec<String> = path.iter().map(ToString::to_string).collect();
                    return Err(wrong(format!(
                        "migrations depend on each other in a circle: {} → {parent}",
                        circle.join(" → ")
                    )));
                }
                Some(parent) => path.push(parent),
                None => {
                    path.pop();
                    if done.insert(key) {
                        order.push(key.clone());
                    }
                }
            }
        }
    }
    Ok(order)
}
