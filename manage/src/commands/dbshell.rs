//! `manage dbshell`: the database's own command line, with the site's connection.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Args;
use hulse::db::Shell;
use hulse::{Error, Result};

use crate::context::Context;

/// Opens the database's own command line (sqlite3, psql or mariadb).
#[derive(Debug, Args)]
pub(crate) struct Dbshell {
    /// Passed on to it, after `--`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Dbshell {
    /// Returns only if the program could not be started: it takes this process's place.
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let shell = Shell::of(&settings.database, &settings.base)?;
        let mut command = Command::new(shell.program);
        command.args(shell.arguments).args(self.arguments);
        if let Some((variable, password)) = &shell.password {
            command.env(variable, password.expose());
        }
        let failed = command.exec();
        Err(Error::usage(match failed.kind() {
            ErrorKind::NotFound => {
                format!("{} is not installed, or not on the PATH", shell.program)
            }
            _ => format!("starting {}: {failed}", shell.program),
        }))
    }
}
