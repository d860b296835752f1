//! `manage migrate`: brings the database's tables to where the migrations are.

use std::process::ExitCode;

use clap::Args;
use hulse::db::Database;
use hulse::migrations::{self, Graph, Options, Progress, Step, Target, diff};
use hulse::{Error, Project, Result};

use crate::context::Context;
use crate::output::tell;

/// The exit code of `--check` when something is to do, Django's.
const PENDING: u8 = 1;

/// Applies migrations: all, those of an app, or up or down to one of them.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Label of the app.
    app: Option<String>,
    /// Name of the migration to stand at, or its beginning; `zero` undoes all of the app's.
    name: Option<String>,
    /// Tells what would be done, and does nothing.
    #[arg(long)]
    plan: bool,
    /// Does nothing; the exit code is 1 if there is something to do.
    #[arg(long)]
    check: bool,
    /// Records migrations as applied, or as not applied, without changing a table.
    #[arg(long)]
    fake: bool,
}

impl Migrate {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let project = context.project();
        if let Some(app) = &self.app {
            installed(project, app)?;
        }
        let graph = project.migrations()?;
        let target = Target::parse(&graph, self.app.as_deref(), self.name.as_deref())?;
        context.block_on(async {
            let database = Database::connect(&settings.database, &settings.base).await?;
            let done = self.work(project, &database, &graph, &target).await;
            database.close().await;
            done
        })
    }

    async fn work(
        &self,
        project: &Project,
        database: &Database,
        graph: &Graph,
        target: &Target,
    ) -> Result<ExitCode> {
        if self.plan || self.check {
            let applied = migrations::applied(database).await?;
            let plan = graph.plan(target, &applied)?;
            if self.plan {
                tell(planned(&plan));
            }
            let is_due = self.check && !plan.is_empty();
            return Ok(if is_due { ExitCode::from(PENDING) } else { ExitCode::SUCCESS });
        }
        tell(heading(graph, target));
        let word = if self.fake { "FAKED" } else { "OK" };
        let mut progress = |progress: Progress<'_>| match progress {
            Progress::Plan([]) => tell("  No migrations to apply.\n"),
            Progress::Plan(_) => {}
            Progress::Begin(step) => tell(begun(step)),
            Progress::Done(_) => tell(format!(" {word}\n")),
        };
        let options = Options { fake: self.fake };
        let done = migrations::migrate(database, graph, target, options, &mut progress).await;
        if done.inspect_err(|_| tell("\n"))? == 0 && has_changes(project, graph)? {
            tell(
                "  Your models have changes that are not yet reflected in a migration, and so \
                 won't be applied.\n  Run `makemigrations` to make new migrations, and then \
                 `migrate` again to apply them.\n",
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An error unless the project has an app of this label, in Django's words.
pub(crate) fn installed(project: &Project, label: &str) -> Result<()> {
    if project.apps().iter().any(|app| app.label() == label) {
        return Ok(());
    }
    Err(Error::new(format!("No installed app with label '{label}'.")))
}

fn has_changes(project: &Project, graph: &Graph) -> Result<bool> {
    Ok(!diff(&graph.state(|_| true)?, &project.state(), &[]).is_empty())
}

fn heading(graph: &Graph, target: &Target) -> String {
    let words = match target {
        Target::All => {
            let mut apps: Vec<&str> = graph.migrations().map(|m| m.key.app.as_str()).collect();
            apps.sort_unstable();
            apps.dedup();
            let apps = if apps.is_empty() { "(none)".to_owned() } else { apps.join(", ") };
            format!("Apply all migrations: {apps}")
        }
        Target::App(app) => format!("Apply all migrations: {app}"),
        Target::Zero(app) => format!("Unapply all migrations: {app}"),
        Target::Migration(key) => {
            format!("Target specific migration: {}, from {}", key.name, key.app)
        }
    };
    format!("Operations to perform:\n  {words}\nRunning migrations:\n")
}

fn begun(step: Step<'_>) -> String {
    let word = if step.backwards { "Unapplying" } else { "Applying" };
    format!("  {word} {}...", step.migration.key)
}

fn planned(plan: &[Step<'_>]) -> String {
    let mut text = String::from("Planned operations:\n");
    if plan.is_empty() {
        text.push_str("  No planned migration operations.\n");
    }
    for step in plan {
        text.push_str(&format!("{}\n", step.migration.key));
        let words = step.migration.operations.iter().map(|operation| operation.describe());
        if step.backwards {
            text.extend(words.rev().map(|words| format!("    Undo {words}\n")));
        } else {
            text.extend(words.map(|words| format!("    {words}\n")));
        }
    }
    text
}
