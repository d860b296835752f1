//! `manage squashmigrations`: one migration in the place of several.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use hulse::migrations::{Applied, Graph, Migration, MigrationKey, Operation, optimize};
use hulse::{Error, Project, Result};

use super::migrate::installed;
use crate::context::Context;
use crate::output::tell;
use crate::questions::Answers;

/// Writes one migration that stands for an app's migrations up to one of them.
#[derive(Debug, Args)]
pub(crate) struct Squashmigrations {
    /// Label of the app.
    app: String,
    /// The first or, alone, the last migration to squash: its name or the beginning of it.
    first: String,
    /// The last migration to squash.
    last: Option<String>,
    /// Keeps every operation as it is.
    #[arg(long)]
    no_optimize: bool,
    /// Asks nothing.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
    /// What the new file is called after its number.
    #[arg(long, value_parser = super::makemigrations::name)]
    squashed_name: Option<String>,
}

impl Squashmigrations {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let project = context.project();
        installed(project, &self.app)?;
        let graph = project.migrations()?;
        graph.check_conflicts()?;
        let chosen = self.chosen(&graph)?;
        tell("Will squash the following migrations:\n");
        chosen.iter().for_each(|migration| tell(format!(" - {}\n", migration.key.name)));
        if !self.noinput && !Answers::of_a_person().is_squash() {
            return Ok(ExitCode::SUCCESS);
        }
        let squashed = self.squashed(&chosen)?;
        if graph.has_file(&squashed.key) {
            return Err(Error::new(format!(
                "Migration {} already exists. Use a different name.",
                squashed.key.name
            )));
        }
        let now = chrono::Utc::now().format("%Y-%m-%d %H:%M");
        let heading = format!("Written by `squashmigrations` on {now} UTC; yours to edit.");
        let path = write(project, &squashed, &heading)?;
        tell(format!(
            "Created new squashed migration {path}\n  \
             You should commit this migration but leave the old ones in place;\n  \
             the new migration will be used for new installs. Once you are sure\n  \
             all instances of the codebase have applied the migrations you squashed,\n  \
             you can delete them.\n"
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// The migrations of the app from the first to the last that is named, in order.
    fn chosen<'a>(&self, graph: &'a Graph) -> Result<Vec<&'a Migration>> {
        let (first, last) = match &self.last {
            Some(last) => (Some(self.first.as_str()), last.as_str()),
            None => (None, self.first.as_str()),
        };
        let last = graph.find(&self.app, last)?;
        let all = graph.forwards(std::slice::from_ref(&last.key), &Applied::new());
        let own = all.into_iter().filter(|migration| migration.key.app == self.app);
        let mut own: Vec<&Migration> = own.collect();
        if let Some(first) = first {
            let first = graph.find(&self.app, first)?;
            let place = own.iter().position(|migration| migration.key == first.key);
            let place = place.ok_or_else(|| {
                Error::new(format!(
                    "The migration '{}' cannot be found. Maybe it comes after the migration '{}'?",
                    first.key, last.key
                ))
            })?;
            own.drain(..place);
        }
        Ok(own)
    }

    fn squashed(&self, chosen: &[&Migration]) -> Result<Migration> {
        let keys: Vec<MigrationKey> =
            chosen.iter().map(|migration| migration.key.clone()).collect();
        let mut dependencies: Vec<MigrationKey> = Vec::new();
        let mut operations: Vec<Operation> = Vec::new();
        let mut squashed = Migration::new(self.key(chosen), Vec::new(), Vec::new());
        for migration in chosen {
            let others = migration.dependencies.iter().filter(|key| !keys.contains(key));
            dependencies.extend(others.cloned());
            squashed.run_before.extend(migration.run_before.iter().cloned());
            squashed.atomic &= migration.atomic;
            operations.extend(migration.operations.iter().cloned());
        }
        dependencies.sort();
        dependencies.dedup();
        squashed.dependencies = dependencies;
        // What stood for others passes them on: their files may be gone.
        squashed.replaces = keys;
        squashed.initial = chosen.first().filter(|first| first.is_initial()).map(|_| true);
        squashed.operations =
            if self.no_optimize { operations } else { shortened(operations, &self.app) };
        Ok(squashed)
    }

    fn key(&self, chosen: &[&Migration]) -> MigrationKey {
        let name = |at: Option<&&Migration>| {
            at.map_or_else(String::new, |migration| migration.key.name.clone())
        };
        let (first, last) = (name(chosen.first()), name(chosen.last()));
        let number = chosen.first().map_or(1, |first| first.key.number());
        let words = match (&self.squashed_name, &self.last) {
            (Some(words), Some(_)) => format!("{number:04}_{words}"),
            (Some(words), None) => format!("0001_{words}"),
            (None, Some(_)) => format!("{first}_squashed_{last}"),
            (None, None) => format!("0001_squashed_{last}"),
        };
        MigrationKey::new(&self.app, &words)
    }
}

/// The optimised list, without what may be left out; both are told.
fn shortened(operations: Vec<Operation>, app: &str) -> Vec<Operation> {
    tell("Optimizing...\n");
    let before = operations.len();
    let is_needed = |operation: &Operation| {
        !matches!(
            operation,
            Operation::Run { elidable: true, .. } | Operation::RunSql { elidable: true, .. }
        )
    };
    let after = optimize(operations.into_iter().filter(is_needed).collect(), app);
    tell(match after.len() {
        after if after == before => "  No optimizations possible.\n".to_owned(),
        after => format!("  Optimized from {before} operations to {after} operations.\n"),
    });
    after
}

/// Writes the file of a migration of the project's own; returns its path as it is shown.
pub(crate) fn write(project: &Project, migration: &Migration, heading: &str) -> Result<String> {
    let folder = project.migrations_folder().join(&migration.key.app);
    let path = folder.join(format!("{}.toml", migration.key.name));
    if !folder.is_dir() {
        return Err(Error::new(format!(
            "the migrations of {} are not in the project's folder {}, so there is nowhere to write",
            migration.key.app,
            project.migrations_folder().display()
        )));
    }
    let failed = |error: std::io::Error| Error::new(format!("writing {}: {error}", path.display()));
    fs::write(&path, migration.text(heading)).map_err(failed)?;
    Ok(shown(&path))
}

/// A path as seen from the current folder.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
