//! `manage pulse`: serves the site.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;

use crate::context::Context;

/// Serves the site: an arbiter, its data store and workers.
#[derive(Debug, Args)]
pub(crate) struct Pulse {}

impl Pulse {
    #[expect(clippy::unused_self, reason = "commands are called alike")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        context.settings()?;
        Ok(ExitCode::SUCCESS)
    }
}
