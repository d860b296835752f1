//! `manage routes`: the URL table as it is matched, first to last.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;

use crate::context::Context;

/// Lists the site's URLs and their names.
#[derive(Debug, Args)]
pub(crate) struct Routes {}

impl Routes {
    #[expect(clippy::print_stdout, reason = "this crate is the one that prints")]
    #[expect(clippy::unused_self, reason = "commands are called alike")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        for line in context.project().resolver().lines() {
            println!("/{:<40} {}", line.route(), line.name().unwrap_or("-"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
