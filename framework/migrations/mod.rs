//! State, diff, files, executor: how tables follow the models.
//!
//! Flow, writing (`makemigrations`): [`ProjectState::of`] today's models, and the state replayed
//! from files ([`Graph::load`], [`Graph::state`]) → [`diff`] → [`arrange`] → [`Migration::text`].
//!
//! Flow, running (`migrate`): files → [`Graph`] → [`migrate`]: lock, record, plan, DDL, functions
//! ([`DataMigrations`]) on rows as they were ([`History`]).
//!
//! Invariants:
//! - Works on descriptions: never asks the models what they looked like, nor the live database,
//!   but for `--fake-initial`, `inspectdb` and tests ([`inspect`](mod@inspect)).
//! - Everything up to the executor is pure; files are read by [`Source`] alone, written by
//!   `manage`.
//! - Asks nobody: questions are asked by `manage`, between [`diff`] and [`arrange`].

mod arrange;
mod condition;
mod constraint;
mod diff;
mod executor;
mod fake;
mod file;
mod functions;
mod graph;
mod hint;
mod history;
pub mod inspect;
mod names;
mod operation;
mod plan;
mod recorder;
mod rekey;
mod rename;
mod replace;
mod run;
mod schema;
mod signals;
mod source;
mod state;
mod typed;
mod unfinished;
mod work;

#[cfg(test)]
mod tests;

use crate::db::Database;
use crate::error::{Error, Kind as ErrorKind, Result};

pub use arrange::arrange;
pub use constraint::{ConstraintState, IndexState, ModelOptions, Rule};
pub use diff::{Change, check_changes, diff};
pub use executor::{On, Options, Progress, applied, migrate, prune};
pub use file::{Migration, MigrationKey};
pub use functions::{Call, DataMigration, DataMigrations};
pub use graph::{Applied, Graph};
pub use history::{Batches, HistoricModel, HistoricRow, History};
pub use operation::{Operation, SqlText, optimize};
pub use plan::{Step, Target};
pub use rename::{Rename, renames};
pub use signals::{Planned, PostMigrate, PreMigrate};
pub use source::{File, Source};
pub use state::{FieldState, Kind, ModelKey, ModelState, ProjectState, Value};
pub use work::sql;

/// Applies everything that is not yet applied; returns how many migrations that were.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_all<'a>(on: impl Into<On<'a>>, graph: &Graph) -> Result<usize> {
    migrate(on, graph, &Target::All, Options::default(), &mut |_| {}).await
}

/// The migrations that are not yet applied, in the order in which they would run.
///
/// # Errors
/// Migrations are in conflict, their history has gaps, or the database cannot be read.
pub async fn unapplied(database: &Database, graph: &Graph) -> Result<Vec<MigrationKey>> {
    let (graph, applied) = graph.seen(&applied(database).await?)?;
    let plan = graph.plan(&Target::All, &applied)?;
    Ok(plan.into_iter().map(|step| step.migration.key.clone()).collect())
}

impl Migration {
    /// Its file's text; `heading` becomes the comment at the top.
    #[must_use]
    pub fn text(&self, heading: &str) -> String {
        file::write(self, heading)
    }

    /// Reads a file's text; `path` is for messages.
    ///
    /// # Errors
    /// The text is wrong; file, line and key are told.
    pub fn parse(key: MigrationKey, path: &str, text: &str) -> Result<Self> {
        file::read(key, path, text)
    }
}

impl Error {
    /// Migrations are in conflict, inconsistent, unknown or irreversible, or a file is wrong.
    ///
    /// If you see this, the message names the migration; nothing of it was applied.
    #[must_use]
    pub fn is_migration(&self) -> bool {
        self.kind() == ErrorKind::Migration
    }
}
