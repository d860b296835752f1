//! `manage runworker`: reads named channels of the running site.

use std::process::ExitCode;

use clap::Args;
use hulse::Result;
use hulse::channels::GroupName;
use hulse::server::{self, Readers};

use crate::context::Context;
use crate::output::tell;

/// Reads named channels of the running site in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct Runworker {
    /// Names of channels, or patterns (`mail.*`); none: all of the site's.
    channels: Vec<String>,
    /// Names or patterns of channels it leaves out.
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Messages handled at once.
    #[arg(long, visible_alias = "threads", value_name = "COUNT", default_value_t = 1)]
    concurrency: usize,
}

impl Runworker {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let readers = Readers {
            channels: self.channels,
            exclude: self.exclude,
            concurrency: self.concurrency,
        };
        server::runworker(context.project(), settings, &readers, &mut reading)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn reading(channels: &[GroupName]) {
    let names: Vec<&str> = channels.iter().map(GroupName::as_str).collect();
    tell(format!("runworker: reading {}\n", names.join(", ")));
}
