//! `manage check`: everything that can be told wrong without serving a visitor.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hulse::Result;
use hulse::apps::Level;

use crate::context::Context;

/// Looks for mistakes in the project without serving it.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Exits with 1 from this level on.
    #[arg(long, value_enum, default_value = "error")]
    fail_level: FailLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailLevel {
    Info,
    Warning,
    Error,
}

impl Check {
    #[expect(clippy::print_stdout, reason = "this crate is the one that prints")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let found = context.project().check(&context.settings()?);
        for check in &found {
            println!("{check}");
        }
        match found.len() {
            0 => println!("no issues found"),
            1 => println!("1 issue found"),
            count => println!("{count} issues found"),
        }
        let failing = match self.fail_level {
            FailLevel::Info => Level::Info,
            FailLevel::Warning => Level::Warning,
            FailLevel::Error => Level::Error,
        };
        let failed = found.iter().any(|check| check.level >= failing);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
