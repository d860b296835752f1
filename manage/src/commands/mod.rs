//! The commands, one file each. To add one: its `mod`, its line in [`Command`], its line in `run`.

mod check;
mod dbshell;
mod pulse;
mod routes;

use std::process::ExitCode;

use clap::Subcommand;
use hulse::Result;

use crate::context::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Check),
    Dbshell(dbshell::Dbshell),
    Pulse(pulse::Pulse),
    Routes(routes::Routes),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(context),
            Self::Dbshell(dbshell) => dbshell.run(context),
            Self::Pulse(pulse) => pulse.run(context),
            Self::Routes(routes) => routes.run(context),
        }
    }
}
