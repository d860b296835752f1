//! `manage migrate`: brings the database's tables to where the migrations are.

use std::process::ExitCode;

use clap::Args;
use hulse::db::Database;
use hulse::migrations::{self, Applied, Graph, Options, Progress, Step, Target, diff};
use hulse::{Error, Project, Result, Site};

use crate::context::Context;
use crate::output::tell;

/// The exit code of `--check` when something is to do, Django's.
const PENDING: u8 = 1;

/// Applies migrations: all, those of an app, or up or down to one of them.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
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
    /// Only records an app's first migration if its tables are all there.
    #[arg(long)]
    fake_initial: bool,
    /// Forgets an app's recorded migrations that have no file any more.
    #[arg(long)]
    prune: bool,
    /// Asks nothing; there is nothing to ask.
    #[arg(long, visible_alias = "no-input", hide = true)]
    noinput: bool,
}

impl Migrate {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let project = context.project();
        if let Some(app) = &self.app {
            installed(project, app)?;
        }
        let graph = project.migrations()?;
        if self.plan || self.check {
            let settings = context.settings()?;
            return context.block_on(async {
                let database = Database::connect(&settings.database, &settings.base).await?;
                let told = self.look(&database, &graph).await;
                database.close().await;
                told
            });
        }
        context.with_site(async |site| {
            if self.prune {
                return self.prune(site, &graph).await;
            }
            self.work(project, site, &graph).await
        })
    }

    fn target(&self, graph: &Graph) -> Result<Target> {
        Target::parse(graph, self.app.as_deref(), self.name.as_deref())
    }

    async fn look(&self, database: &Database, graph: &Graph) -> Result<ExitCode> {
        let (graph, applied) = seen(database, graph).await?;
        let plan = graph.plan(&self.target(&graph)?, &applied)?;
        if self.plan {
            tell(planned(&plan));
        }
        let is_due = self.check && !plan.is_empty();
        Ok(if is_due { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
    }

    async fn prune(&self, site: &Site, graph: &Graph) -> Result<ExitCode> {
        let Some(app) = &self.app else {
            let words = "Migrations can be pruned only when an app is specified.";
            return Err(Error::new(words));
        };
        tell("  Pruning migrations:\n");
        let gone = migrations::prune(site.database(), graph, app).await?;
        for key in &gone {
            tell(format!("    Pruning {key}... OK\n"));
        }
        if gone.is_empty() {
            tell("    No migrations to prune.\n");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn work(&self, project: &Project, site: &Site, graph: &Graph) -> Result<ExitCode> {
        let (graph, applied) = seen(site.database(), graph).await?;
        let target = self.target(&graph)?;
        // A conflict or a gap is told before anything that sounds like work.
        graph.plan(&target, &applied)?;
        tell(heading(&graph, &target));
        let mut is_begun = false;
        let mut progress = |progress: Progress<'_>| match progress {
            Progress::Plan([]) => tell("  No migrations to apply.\n"),
            Progress::Plan(_) => {}
            Progress::Begin(step) => {
                is_begun = true;
                tell(begun(step));
            }
            Progress::Done { step, faked } => {
                is_begun = false;
                tell(ended(step, faked));
            }
        };
        let options = Options { fake: self.fake, fake_initial: self.fake_initial };
        let done = migrations::migrate(site, &graph, &target, options, &mut progress).await;
        if is_begun {
            tell("\n");
        }
        if done? == 0 && has_changes(project, &graph)? {
            tell(
                "  Your models have changes that are not yet reflected in a migration, and so \
                 won't be applied.\n  Run `makemigrations` to make new migrations, and then \
                 `migrate` again to apply them.\n",
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The graph as it is in force on the database, and what is applied there.
pub(crate) async fn seen(database: &Database, graph: &Graph) -> Result<(Graph, Applied)> {
    graph.seen(&migrations::applied(database).await?)
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

fn ended(step: Step<'_>, faked: bool) -> &'static str {
    match (faked, step.migration.atomic) {
        (true, _) => " FAKED\n",
        (false, true) => " OK\n",
        (false, false) => " OK (not atomic: recorded after its last operation)\n",
    }
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
