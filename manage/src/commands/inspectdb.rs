//! `manage inspectdb`: models for tables that are there already.

use std::process::ExitCode;

use clap::Args;
use hulse::db::Database;
use hulse::migrations::inspect::{Table, inspect, inspect_views};
use hulse::{Error, Result};

use crate::context::Context;
use crate::inspectdb::source;
use crate::output::tell;

/// What the framework's own tables begin with: they have no model.
const OWN: &str = "hulse_migration";

/// Prints models that read the database's tables.
#[derive(Debug, Args)]
pub(crate) struct Inspectdb {
    /// Names of tables; without any, all.
    tables: Vec<String>,
    /// Views, too.
    #[arg(long)]
    include_views: bool,
}

impl Inspectdb {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let (dialect, tables) = context.block_on(async {
            let database = Database::connect(&settings.database, &settings.base).await?;
            let tables = self.read(&database).await;
            database.close().await;
            Ok((database.dialect(), tables?))
        })?;
        tell(source(dialect, &tables));
        Ok(ExitCode::SUCCESS)
    }

    async fn read(&self, database: &Database) -> Result<Vec<Table>> {
        let connection = database.connection();
        let mut tables = inspect(&connection).await?.tables;
        let known = |name: &String, all: &[Table]| all.iter().any(|table| table.name == *name);
        if self.include_views || !self.tables.iter().all(|name| known(name, &tables)) {
            tables.extend(inspect_views(&connection).await?);
        }
        if let Some(strange) = self.tables.iter().find(|name| !known(name, &tables)) {
            return Err(Error::new(format!("There is no table or view '{strange}'.")));
        }
        tables.retain(|table| match self.tables.as_slice() {
            [] => !table.name.starts_with(OWN),
            wanted => wanted.contains(&table.name),
        });
        Ok(tables)
    }
}
