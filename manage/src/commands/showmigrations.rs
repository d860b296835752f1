//! `manage showmigrations`: which migrations there are and which are applied.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::db::Database;
use hulse::migrations::{self, Applied, Graph, Migration};

use super::migrate::installed;
use crate::context::Context;
use crate::output::tell;

/// Lists migrations; `[X]` marks those that are applied.
#[derive(Debug, Args)]
pub(crate) struct Showmigrations {
    /// Labels of apps; without any, all.
    apps: Vec<String>,
    /// By app (as without a flag).
    #[arg(short, long)]
    list: bool,
    /// In the order in which they are applied.
    #[arg(short, long, conflicts_with = "list")]
    plan: bool,
}

impl Showmigrations {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let project = context.project();
        for app in &self.apps {
            installed(project, app)?;
        }
        let graph = project.migrations()?;
        let recorded = context.block_on(async {
            let database = Database::connect(&settings.database, &settings.base).await?;
            let recorded = migrations::applied(&database).await;
            database.close().await;
            recorded
        })?;
        let (graph, applied) = graph.seen(&recorded)?;
        let marks = Marks { recorded, applied };
        let all = project.apps().iter().map(|app| app.label());
        let labels: BTreeSet<&str> = if self.apps.is_empty() {
            all.collect()
        } else {
            self.apps.iter().map(String::as_str).collect()
        };
        tell(if self.plan {
            in_order(&graph, &marks, &labels)
        } else {
            by_app(&graph, &marks, &labels)
        });
        Ok(ExitCode::SUCCESS)
    }
}

struct Marks {
    recorded: Applied,
    applied: Applied,
}

impl Marks {
    /// `X` for what is applied, `-` for a squashed one whose record `migrate` has yet to make.
    fn of(&self, migration: &Migration) -> char {
        match (self.applied.contains(&migration.key), self.recorded.contains(&migration.key)) {
            (false, _) => ' ',
            (true, true) => 'X',
            (true, false) => '-',
        }
    }
}

/// What follows the name of a squashed one.
fn squashed(migration: &Migration) -> String {
    match migration.replaces.len() {
        0 => String::new(),
        count => format!(" ({count} squashed migrations)"),
    }
}

fn by_app(graph: &Graph, marks: &Marks, labels: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    for label in labels {
        text.push_str(&format!("{label}\n"));
        let before = text.len();
        for migration in graph.of(label) {
            let (mark, name) = (marks.of(migration), &migration.key.name);
            text.push_str(&format!(" [{mark}] {name}{}\n", squashed(migration)));
        }
        if text.len() == before {
            text.push_str(" (no migrations)\n");
        }
    }
    text
}

fn in_order(graph: &Graph, marks: &Marks, labels: &BTreeSet<&str>) -> String {
    let shown = graph.migrations().filter(|m| labels.contains(m.key.app.as_str()));
    let line = |migration: &Migration| {
        format!("[{}]  {}{}\n", marks.of(migration), migration.key, squashed(migration))
    };
    let text: String = shown.map(line).collect();
    if text.is_empty() { "(no migrations)\n".to_owned() } else { text }
}
