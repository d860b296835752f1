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
#[command(version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The settings file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "The settings file; else HULSE_SETTINGS, settings.toml here, or the project's"
    )]
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
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    command
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| complain(&error, &arguments))
}

#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
fn complain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    // A command's own words are its usage.
    let is_command = |word: &OsString| names.iter().any(|name| word == name.as_str());
    let is_whole = |word: &String| {
        !arguments.iter().skip(1).take_while(|before| *before != word.as_str()).any(is_command)
    };
    let unknown = unknown_command(error).filter(is_whole);
    if let Some(word) = unknown {
        eprintln!("{}", unknown_command_line(&word, &names));
        return ExitCode::from(UNKNOWN_COMMAND);
    }
    let code = error.exit_code();
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("{}", one_line(&error.to_string()));
    } else {
        // A closed pipe is no reason to fail differently.
        drop(error.print());
    }
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

/// clap's words up to its usage: `error: unexpected argument '--nope' found; tip: ..`.
fn one_line(words: &str) -> String {
    let told = words.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let told = told.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    told.collect::<Vec<_>>().join("; ")
}

fn unknown_command(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => Some(word.clone()),
        _ => None,
    }
}

fn unknown_command_line(word: &str, names: &[String]) -> String {
    match hulse::conf::nearest(word, names.iter().map(String::as_str)) {
        Some(near) => format!("Unknown command: '{word}'. Did you mean {near}?"),
        None => format!("Unknown command: '{word}'. `help` lists the commands there are."),
    }
}
