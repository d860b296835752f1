//! `manage optimizemigration`: fewer operations that do the same.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::migrations::optimize;

use super::migrate::installed;
use super::squashmigrations::write;
use crate::context::Context;
use crate::output::tell;

/// The exit code of `--check` when something could be shorter, Django's.
const LONGER: u8 = 1;

/// Makes a migration's list of operations as short as it can be.
#[derive(Debug, Args)]
pub(crate) struct Optimizemigration {
    /// Label of the app.
    app: String,
    /// Name of the migration, or its beginning.
    name: String,
    /// Writes nothing; the exit code is 1 if it could be shorter.
    #[arg(long)]
    check: bool,
}

impl Optimizemigration {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let project = context.project();
        installed(project, &self.app)?;
        let graph = project.migrations()?;
        let mut migration = graph.find(&self.app, &self.name)?.clone();
        let before = migration.operations.len();
        migration.operations = optimize(migration.operations, &self.app);
        let after = migration.operations.len();
        if after == before {
            tell("No optimizations possible.\n");
            return Ok(ExitCode::SUCCESS);
        }
        tell(format!("Optimizing from {before} operations to {after} operations.\n"));
        if self.check {
            return Ok(ExitCode::from(LONGER));
        }
        let now = chrono::Utc::now().format("%Y-%m-%d %H:%M");
        let heading = format!("Written by `optimizemigration` on {now} UTC; yours to edit.");
        let path = write(project, &migration, &heading)?;
        tell(format!("Optimized migration {path}\n"));
        Ok(ExitCode::SUCCESS)
    }
}
