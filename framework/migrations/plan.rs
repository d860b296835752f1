//! What `migrate` is asked for, and which migrations that means.

use crate::error::{Error, Kind as ErrorKind, Result};

use super::graph::{Applied, Graph};
use super::{Migration, MigrationKey};

/// Where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything applied.
    All,
    /// Everything of one app, and what it needs.
    App(String),
    /// One app exactly at this migration: forwards to it, or backwards to it.
    Migration(MigrationKey),
    /// Nothing of one app, nor what needs it.
    Zero(String),
}

/// One migration to run or to undo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The migration.
    pub migration: &'a Migration,
    /// Whether it is undone.
    pub backwards: bool,
}

impl Target {
    /// The target that the words after `migrate` name: nothing, an app, an app and the beginning of
    /// a migration's name, or an app and `zero`.
    ///
    /// # Errors
    /// The app has no migrations, or no or several names begin so; in Django's words.
    pub fn parse(graph: &Graph, app: Option<&str>, name: Option<&str>) -> Result<Self> {
        let Some(app) = app else { return Ok(Self::All) };
        if graph.of(app).next().is_none() {
            return Err(wrong(format!("App '{app}' does not have migrations.")));
        }
        Ok(match name {
            None => Self::App(app.to_owned()),
            Some("zero") => Self::Zero(app.to_owned()),
            Some(name) => Self::Migration(graph.find(app, name)?.key.clone()),
        })
    }
}

impl Graph {
    /// The one migration of `app` whose name is or begins with `name`.
    ///
    /// # Errors
    /// None or several do; in Django's words.
    pub fn find<'a>(&'a self, app: &'a str, name: &str) -> Result<&'a Migration> {
        if let Some(exact) = self.get(&MigrationKey::new(app, name)) {
            return Ok(exact);
        }
        let mut found = self.of(app).filter(|migration| migration.key.name.starts_with(name));
        let first = found.next().ok_or_else(|| {
            wrong(format!("Cannot find a migration matching '{name}' from app '{app}'."))
        })?;
        if found.next().is_some() {
            return Err(wrong(format!(
                "More than one migration matches '{name}' in app '{app}'. Please be more specific."
            )));
        }
        Ok(first)
    }

    /// The migrations to run or undo, in order, to get from `applied` to `target`.
    ///
    /// # Errors
    /// Migrations are in conflict, or `applied` has gaps.
    pub fn plan(&self, target: &Target, applied: &Applied) -> Result<Vec<Step<'_>>> {
        self.check_conflicts()?;
        self.check_history(applied)?;
        let keys = |app: &str| self.of(app).map(|m| m.key.clone()).collect::<Vec<_>>();
        let forwards = |keys: &[MigrationKey]| {
            let plan = self.forwards(keys, applied).into_iter();
            plan.map(|migration| Step { migration, backwards: false }).collect()
        };
        let backwards = |keys: &[MigrationKey]| {
            let plan = self.backwards(keys, applied).into_iter();
            plan.map(|migration| Step { migration, backwards: true }).collect()
        };
        Ok(match target {
            Target::All => forwards(&self.migrations().map(|m| m.key.clone()).collect::<Vec<_>>()),
            Target::App(app) => forwards(&keys(app)),
            Target::Zero(app) => backwards(&keys(app)),
            Target::Migration(key) if applied.contains(key) => {
                let after =
                    self.of(&key.app).filter(|m| self.parents(&m.key).any(|parent| parent == key));
                backwards(&after.map(|m| m.key.clone()).collect::<Vec<_>>())
            }
            Target::Migration(key) if self.get(key).is_none() => {
                return Err(wrong(format!(
                    "migration {key} is not in force on this database: a squashed one takes its \
                     place, or the ones it stands for take its"
                )));
            }
            Target::Migration(key) => forwards(std::slice::from_ref(key)),
        })
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}
