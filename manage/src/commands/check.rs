//! `manage check`: everything that can be told wrong without serving a visitor.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;

use crate::context::Context;

/// Looks for mistakes in the project without serving it.
#[derive(Debug, Args)]
pub(crate) struct Check {}

impl Check {
    #[expect(clippy::print_stdout, reason = "this crate is the one that prints")]
    #[expect(clippy::unused_self, reason = "commands are called alike")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        context.settings()?;
        println!("no issues found");
        Ok(ExitCode::SUCCESS)
    }
}
