//! The command line: what every command shares, and what a mistyped one is told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;

/// The exit code of an unknown command, Django's.
const UNKNOWN_COMMAND: u8 = 1;

/// Manages this site.
#[derive(Debug, Parser)]
#[command(version, subcommand_required = true, infer_long_args = false)]
pub(crate) struct Cli {
    /// The settings file; otherwise HULSE_SETTINGS, settings.toml here, or the project's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the process's command line; `Err` is the exit code once all has been said.
pub(crate) fn parse(name: &'static str) -> Result<Cli, ExitCode> {
    parse_from(name, std::env::args_os())
}

fn parse_from(
    name: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Cli, ExitCode> {
    let command = Cli::command().name(name).bin_name(name);
    command
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| complain(&error))
}

#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
fn complain(error: &clap::Error) -> ExitCode {
    if let Some(word) = unknown_command(error) {
        let names = Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        eprintln!("{}", unknown_command_line(&word, names));
        return ExitCode::from(UNKNOWN_COMMAND);
    }
    let code = error.exit_code();
    // A closed pipe is no reason to fail differently.
    drop(error.print());
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

fn unknown_command(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => Some(word.clone()),
        _ => None,
    }
}

fn unknown_command_line(word: &str, names: Vec<String>) -> String {
    match hulse::conf::nearest(word, names.iter().map(String::as_str)) {
        Some(near) => format!("Unknown command: '{word}'. Did you mean {near}?"),
        None => format!("Unknown command: '{word}'. `help` lists the commands there are."),
    }
}
