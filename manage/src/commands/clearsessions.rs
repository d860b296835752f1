//! `manage clearsessions`: deletes the sessions that have ended.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::contrib::sessions;

use crate::context::Context;

/// Deletes the sessions that have ended.
#[derive(Debug, Args)]
pub(crate) struct Clearsessions {}

impl Clearsessions {
    #[expect(clippy::unused_self, reason = "every command is called so")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        context.with_site(async |site| {
            sessions::clear_expired(site).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
