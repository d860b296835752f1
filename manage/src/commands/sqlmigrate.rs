//! `manage sqlmigrate`: the SQL of a migration, for the database in use.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::db::Database;
use hulse::migrations;

use super::migrate::installed;
use crate::context::Context;
use crate::output::tell;

/// Prints the SQL of a migration without running it.
#[derive(Debug, Args)]
pub(crate) struct Sqlmigrate {
    /// Label of the app.
    app: String,
    /// Name of the migration, or its beginning.
    name: String,
    /// The SQL that undoes it.
    #[arg(long)]
    backwards: bool,
}

impl Sqlmigrate {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        installed(context.project(), &self.app)?;
        let graph = context.project().migrations()?;
        // One that was squashed has SQL of its own, too.
        let old = graph.unsquashed()?;
        let (graph, migration) = match graph.find(&self.app, &self.name) {
            Ok(migration) => (&graph, migration),
            Err(error) => (&old, old.find(&self.app, &self.name).map_err(|_| error)?),
        };
        let dialect = context.block_on(async {
            let database = Database::connect(&settings.database, &settings.base).await?;
            let dialect = database.dialect();
            database.close().await;
            Ok(dialect)
        })?;
        tell(migrations::sql(dialect, graph, migration, self.backwards)?);
        Ok(ExitCode::SUCCESS)
    }
}
