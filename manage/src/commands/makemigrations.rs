//! `manage makemigrations`: writes what changed in the models as migration files.
//!
//! Flow: state of the files and of the models → possible renames asked → `diff` → missing values
//! asked → `arrange` → files. Asks no database.

use std::collections::BTreeSet;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hulse::migrations::{
    Change, Graph, Migration, MigrationKey, arrange, check_changes, diff, renames,
};
use hulse::{Error, Project, Result};

use super::migrate::installed;
use crate::context::Context;
use crate::output::tell;
use crate::questions::{self, Answers};

/// The exit code of `--check` when something is missing, Django's.
const MISSING: u8 = 1;

/// Writes migrations for what changed in the models.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Makemigrations {
    /// Labels of apps; without any, all of the project's own.
    apps: Vec<String>,
    /// Writes nothing; the exit code is 1 if something would be written.
    #[arg(long)]
    check: bool,
    /// Tells what would be written, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Asks nothing.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
    /// What the file is called after its number.
    #[arg(short, long, value_parser = name)]
    name: Option<String>,
    /// Writes an empty migration to be filled by hand.
    #[arg(long)]
    empty: bool,
    /// Joins the ends of migrations that were made side by side.
    #[arg(long)]
    merge: bool,
    /// Reads and writes `FOLDER/<app>/` instead of the project's: for apps that bring their own.
    #[arg(long, hide = true, requires = "apps")]
    folder: Option<PathBuf>,
}

/// A name that makes a file name and reads like Django's.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("lower case letters, digits and `_` only".to_owned())
}

impl Makemigrations {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let project = context.project();
        for app in &self.apps {
            installed(project, app)?;
        }
        if self.empty && self.apps.is_empty() {
            let words = "You must supply at least one app label when using --empty.";
            return Err(Error::new(words));
        }
        let graph = project.migrations_with(self.folder.as_deref())?;
        if self.merge {
            return self.merge(project, &graph);
        }
        graph.check_conflicts()?;
        let written = if self.empty {
            self.apps.iter().map(|app| self.blank(app, &graph)).collect()
        } else {
            match self.changed(project, &graph)? {
                Ok(migrations) => migrations,
                Err(code) => return Ok(code),
            }
        };
        if written.is_empty() {
            tell(match self.apps.as_slice() {
                [app] => format!("No changes detected in app '{app}'\n"),
                [] => "No changes detected\n".to_owned(),
                apps => format!("No changes detected in apps '{}'\n", apps.join("', '")),
            });
            return Ok(ExitCode::SUCCESS);
        }
        self.write(project, &written)?;
        if context.settings().is_ok_and(|found| found.database.url.expose().starts_with("postgres"))
        {
            tell(hints(&graph, &written)?);
        }
        Ok(if self.check { ExitCode::from(MISSING) } else { ExitCode::SUCCESS })
    }

    /// The migrations that bring the files to where the models are; an exit code if a question was
    /// not answered.
    fn changed(
        &self,
        project: &Project,
        graph: &Graph,
    ) -> Result<Result<Vec<Migration>, ExitCode>> {
        let (old, new) = (graph.state(|_| true)?, project.state());
        let mut answers = self.answers();
        let renames = renames(&old, &new, &mut |rename| answers.is_rename(rename));
        if let Some(code) = answers.given_up() {
            return Ok(Err(code));
        }
        let changes = diff(&old, &new, &renames);
        check_changes(&changes, &old)?;
        let mut changes = self.chosen(project, changes)?;
        for change in &mut changes {
            if let Some(code) = questions::fill(change, &old, &mut answers) {
                return Ok(Err(code));
            }
        }
        Ok(Ok(arrange(changes, &new, graph, self.name.as_deref())))
    }

    fn answers(&self) -> Answers {
        let asks = !self.noinput && !self.check && stdin().is_terminal();
        if asks { Answers::of_a_person() } else { Answers::none() }
    }

    /// The changes of the apps asked for, and of those they need.
    fn chosen(&self, project: &Project, changes: Vec<Change>) -> Result<Vec<Change>> {
        let mut chosen = BTreeSet::new();
        for app in project.apps() {
            let label = app.label();
            let asked = self.apps.is_empty() || self.apps.iter().any(|app| app == label);
            if asked && (self.folder.is_some() || !project.has_foreign_migrations(app.as_ref())?) {
                chosen.insert(label.to_owned());
            }
        }
        while let Some(app) = needed(&changes, &chosen) {
            let app = app.to_owned();
            let known = project.apps().iter().find(|known| known.label() == app);
            if let Some(known) = known
                && project.has_foreign_migrations(known.as_ref())?
            {
                return Err(Error::new(format!(
                    "the models of {app} have changes that its own migrations do not have; they \
                     come with the app and are not written here"
                )));
            }
            chosen.insert(app);
        }
        let mut places = Vec::with_capacity(changes.len());
        let mut kept: Vec<Change> = Vec::new();
        for mut change in changes {
            places.push(kept.len());
            if chosen.contains(&change.app) {
                for need in &mut change.requires {
                    *need = places[*need];
                }
                kept.push(change);
            }
        }
        Ok(kept)
    }

    fn blank(&self, app: &str, graph: &Graph) -> Migration {
        let leaf = graph.leaf(app);
        let number = leaf.map_or(1, |leaf| leaf.number() + 1);
        let words = self.name.clone().unwrap_or_else(|| match leaf {
            None => "initial".to_owned(),
            Some(_) => "custom".to_owned(),
        });
        let key = MigrationKey::new(app, &format!("{number:04}_{words}"));
        Migration::new(key, leaf.cloned().into_iter().collect(), Vec::new())
    }

    fn merge(&self, project: &Project, graph: &Graph) -> Result<ExitCode> {
        let mut written = Vec::new();
        for (app, leaves) in graph.conflicts() {
            if !self.apps.is_empty() && !self.apps.contains(&app) {
                continue;
            }
            tell(format!("Merging {app}\n"));
            for leaf in &leaves {
                let branch = graph.branch(leaf, &leaves);
                let words: String = branch.into_iter().map(operations).collect();
                tell(format!("  Branch {}\n{words}", leaf.name));
            }
            if !self.noinput && !self.answers().is_merge() {
                return Ok(ExitCode::SUCCESS);
            }
            let number = leaves.iter().map(MigrationKey::number).max().unwrap_or(0) + 1;
            let name = self
                .name
                .clone()
                .unwrap_or_else(|| format!("merge_{}", chrono::Utc::now().format("%Y%m%d_%H%M")));
            let key = MigrationKey::new(&app, &format!("{number:04}_{name}"));
            written.push(Migration::new(key, leaves, Vec::new()));
        }
        if written.is_empty() {
            tell("No conflicts detected to merge.\n");
        }
        self.write(project, &written)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the files and tells about them.
    fn write(&self, project: &Project, migrations: &[Migration]) -> Result<()> {
        let folder = self.folder.clone().unwrap_or_else(|| project.migrations_folder());
        let is_written = !self.check && !self.dry_run;
        if is_written && self.folder.is_none() && !project.folder().is_dir() {
            return Err(Error::new(format!(
                "the project's folder {} is not here, so there is nowhere to write migrations",
                project.folder().display()
            )));
        }
        let now = chrono::Utc::now().format("%Y-%m-%d %H:%M");
        let heading = format!("Written by `makemigrations` on {now} UTC; yours to edit.");
        for migration in migrations {
            let app = &migration.key.app;
            let path = folder.join(app).join(format!("{}.toml", migration.key.name));
            let here = std::env::current_dir().unwrap_or_default();
            let shown = path.strip_prefix(&here).unwrap_or(&path).display();
            tell(format!("Migrations for '{app}':\n  {shown}\n{}", operations(migration)));
            if is_written {
                let failed = |error: std::io::Error| {
                    Error::new(format!("writing {}: {error}", path.display()))
                };
                fs::create_dir_all(folder.join(app)).map_err(failed)?;
                fs::write(&path, migration.text(&heading)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// An app that a chosen one needs and that is not chosen.
fn needed<'a>(changes: &'a [Change], chosen: &BTreeSet<String>) -> Option<&'a str> {
    let mine = changes.iter().filter(|change| chosen.contains(&change.app));
    let needs = mine.flat_map(|change| &change.requires).map(|&need| changes[need].app.as_str());
    needs.into_iter().find(|app| !chosen.contains(*app))
}

/// What users of a running site would notice, a line each.
fn hints(graph: &Graph, migrations: &[Migration]) -> Result<String> {
    let mut state = graph.state(|_| true)?;
    let mut text = String::new();
    for migration in migrations {
        for (operation, hint) in migration.operations.iter().zip(migration.hints(&state)) {
            if let Some(hint) = hint {
                let words = operation.describe();
                text.push_str(&format!("Hint for {}, {words}:\n  {hint}\n", migration.key));
            }
        }
        migration.apply(&mut state)?;
    }
    Ok(text)
}

fn operations(migration: &Migration) -> String {
    let line = |operation: &hulse::migrations::Operation| {
        format!("    {} {}\n", operation.sign(), operation.describe())
    };
    migration.operations.iter().map(line).collect()
}
