//! Squashed migrations and those they stand for: which of them are in force on a database.
//!
//! As Django's loader: while none or all of them are applied, the squashed one is in force and
//! takes their place in everybody's dependencies; else they are, and take its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind as ErrorKind, Result};

use super::graph::{Applied, Parents};
use super::{Migration, MigrationKey};

/// The names of an app's first and last migration in `dependencies`, Django's.
const FIRST: &str = "__first__";
const LATEST: &str = "__latest__";

/// The migrations that are not in force, and what takes their place.
pub(super) type Gone = BTreeMap<MigrationKey, Vec<MigrationKey>>;

type Files = BTreeMap<MigrationKey, Migration>;

/// How much of a migration is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    None,
    Some,
    All,
}

/// What is not in force where `recorded` is applied, and what counts as applied.
/// `unsquashed` prefers the old ones wherever they have files.
pub(super) fn settle(all: &Files, recorded: &Applied, unsquashed: bool) -> Result<(Gone, Applied)> {
    let mut gone = Gone::new();
    let mut applied = recorded.clone();
    for migration in all.values().filter(|migration| !migration.replaces.is_empty()) {
        let key = &migration.key;
        let share = share(all, recorded, key, &mut Vec::new())?;
        let has_files = migration.replaces.iter().all(|replaced| all.contains_key(replaced));
        match share {
            _ if unsquashed && has_files => {
                gone.insert(key.clone(), last(all, migration, recorded)?);
                continue;
            }
            Share::Some => {
                applied.remove(key);
                gone.insert(key.clone(), last(all, migration, recorded)?);
                continue;
            }
            Share::All => {
                applied.insert(key.clone());
            }
            Share::None => {
                applied.remove(key);
            }
        }
        for replaced in &migration.replaces {
            // Another squashed one may stand for it too; the one in force counts.
            gone.entry(replaced.clone()).or_insert_with(|| vec![key.clone()]);
        }
    }
    Ok((gone, applied))
}

fn share(
    all: &Files,
    recorded: &Applied,
    key: &MigrationKey,
    path: &mut Vec<MigrationKey>,
) -> Result<Share> {
    let replaces = all.get(key).map_or(&[][..], |migration| &migration.replaces);
    let has_files = replaces.iter().any(|replaced| all.contains_key(replaced));
    if replaces.is_empty() || (!has_files && recorded.contains(key)) {
        return Ok(if recorded.contains(key) { Share::All } else { Share::None });
    }
    if path.contains(key) {
        return Err(wrong(format!("migration {key} stands for itself")));
    }
    path.push(key.clone());
    let shares = replaces.iter().map(|replaced| share(all, recorded, replaced, path));
    let shares: Vec<Share> = shares.collect::<Result<_>>()?;
    path.pop();
    Ok(match shares.as_slice() {
        all if all.iter().all(|share| *share == Share::All) => Share::All,
        all if all.iter().all(|share| *share == Share::None) => Share::None,
        _ => Share::Some,
    })
}

/// Of what `migration` stands for, that on which nothing else of it depends.
fn last(all: &Files, migration: &Migration, recorded: &Applied) -> Result<Vec<MigrationKey>> {
    for replaced in &migration.replaces {
        if !all.contains_key(replaced) {
            let done = migration.replaces.iter().filter(|key| recorded.contains(key));
            let done: Vec<String> = done.map(ToString::to_string).collect();
            return Err(wrong(format!(
                "migration {} stands for {replaced}, which has no file any more, but of all it \
                 stands for only {} is applied: bring the old files back and apply them first",
                migration.key,
                done.join(", ")
            )));
        }
    }
    let followed = |key: &MigrationKey| {
        migration.replaces.iter().any(|other| all[other].dependencies.contains(key))
    };
    Ok(migration.replaces.iter().filter(|key| !followed(key)).cloned().collect())
}

/// What each migration in force must come after.
pub(super) fn parents(all: &Files, gone: &Gone) -> Result<Parents> {
    let in_force = |key: &&MigrationKey| !gone.contains_key(key);
    let mut parents: Parents =
        all.keys().filter(in_force).map(|key| (key.clone(), BTreeSet::new())).collect();
    for migration in all.values() {
        // What was replaced leaves its dependencies to what takes its place.
        let stands: Vec<MigrationKey> = present(all, gone, &migration.key);
        if gone.contains_key(&migration.key) && !migration.replaces.is_empty() {
            continue;
        }
        for dependency in &migration.dependencies {
            let found = resolve(all, gone, dependency).ok_or_else(|| {
                wrong(format!(
                    "migration {} depends on {dependency}, which does not exist",
                    migration.key
                ))
            })?;
            for place in &stands {
                let own = parents.entry(place.clone()).or_default();
                own.extend(found.iter().filter(|parent| *parent != place).cloned());
            }
        }
        for later in &migration.run_before {
            let found = resolve(all, gone, later).ok_or_else(|| {
                wrong(format!(
                    "migration {} is to run before {later}, which does not exist",
                    migration.key
                ))
            })?;
            for later in found {
                let others = stands.iter().filter(|place| **place != later).cloned();
                parents.entry(later.clone()).or_default().extend(others.collect::<Vec<_>>());
            }
        }
    }
    Ok(parents)
}

/// What a dependency on `key` means; `None` if there is nothing of this name.
fn resolve(all: &Files, gone: &Gone, key: &MigrationKey) -> Option<Vec<MigrationKey>> {
    let mut own = all.keys().filter(|known| known.app == key.app && !gone.contains_key(known));
    let named = match key.name.as_str() {
        FIRST => own.find(|known| {
            all[known].dependencies.iter().all(|dependency| dependency.app != known.app)
        }),
        LATEST => {
            let own: Vec<&MigrationKey> = own.collect();
            let follows = |key: &&MigrationKey| {
                own.iter().any(|other| all[*other].dependencies.contains(key))
            };
            own.iter().copied().find(|key| !follows(key))
        }
        _ => Some(key),
    };
    let found = present(all, gone, named?);
    (!found.is_empty()).then_some(found)
}

/// What is in force in the place of `key`; nothing if there is no such file.
fn present(all: &Files, gone: &Gone, key: &MigrationKey) -> Vec<MigrationKey> {
    let mut found = Vec::new();
    let mut open = vec![key];
    let mut seen = BTreeSet::new();
    while let Some(key) = open.pop() {
        match gone.get(key) {
            Some(places) if seen.insert(key) => open.extend(places),
            Some(_) => {}
            None => found.extend(all.contains_key(key).then(|| key.clone())),
        }
    }
    found
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}
