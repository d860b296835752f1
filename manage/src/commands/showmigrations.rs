//! `manage showmigrations`: which migrations there are and which are applied.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::db::Database;
use hulse::migrations::{self, Applied, Graph};

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
        let applied = context.block_on(async {
            let database = Database::connect(&settings.database, &settings.base).await?;
            let applied = migrations::applied(&database).await;
            database.close().await;
            applied
        })?;
        let all = project.apps().iter().map(|app| app.label());
        let labels: BTreeSet<&str> = if self.apps.is_empty() {
            all.collect()
        } else {
            self.apps.iter().map(String::as_str).collect()
        };
        tell(if self.plan {
            in_order(&graph, &applied, &labels)
        } else {
            by_app(&graph, &applied, &labels)
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn by_app(graph: &Graph, applied: &Applied, labels: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    for label in labels {
        text.push_str(&format!("{label}\n"));
        let before = text.len();
        for migration in graph.of(label) {
            let mark = if applied.contains(&migration.key) { 'X' } else { ' ' };
            text.push_str(&format!(" [{mark}] {}\n", migration.key.name));
        }
        if text.len() == before {
            text.push_str(" (no migrations)\n");
        }
    }
    text
}

fn in_order(graph: &Graph, applied: &Applied, labels: &BTreeSet<&str>) -> String {
    let shown = graph.migrations().filter(|m| labels.contains(m.key.app.as_str()));
    let line = |migration: &migrations::Migration| {
        let mark = if applied.contains(&migration.key) { 'X' } else { ' ' };
        format!("[{mark}]  {}\n", migration.key)
    };
    let text: String = shown.map(line).collect();
    if text.is_empty() { "(no migrations)\n".to_owned() } else { text }
}
