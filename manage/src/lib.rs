//! The command line of a Hulse site, and the `manage` binary.
//!
//! Flow: the site's `main` → [`run`] → `cli` reads the command line → `commands/<word>.rs` works,
//! with what it needs from its `Context` → an exit code.
//!
//! Invariants:
//! - The only crate that prints. Answers go to stdout, errors to stderr as one line.
//! - Exit codes: 0 done; 1 the work failed, or there is no such command; 2 it could not begin:
//!   usage, settings, an address that cannot be bound, a database that cannot be reached.
//!   `runserver` ends with 1 for all that keeps it from serving, as Django's does.
//!
//! A new command is a file in `commands/` and two lines in `commands/mod.rs`.

mod cli;
mod commands;
mod context;
mod hand_over;
mod inspectdb;
mod output;
mod progress;
mod prompt;
mod questions;

use std::process::ExitCode;

use hulse::{Error, Project};

pub use hand_over::hand_over;

/// Runs the command named on the command line: the whole of a site's `main`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     hulse_manage::run(hulse::Project::new("hello", env!("CARGO_MANIFEST_DIR")))
/// }
/// ```
#[must_use]
pub fn run(project: Project) -> ExitCode {
    let cli = match cli::parse(project.name()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let context = context::Context::new(project, &cli);
    cli.command.run(&context).unwrap_or_else(|error| fail(&error))
}

/// The one line that tells what went wrong.
#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
fn fail(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(error.exit_code())
}
