//! `manage pulse`: serves the site.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hulse::conf::Override;
use hulse::server::{self, Options, Role, Say};
use hulse::{Error, Result};

use crate::commands::pulse_limits::Limits;
use crate::commands::pulse_operation::Operation;
use crate::context::Context;
use crate::output::murmur;

/// Serves the site: an arbiter, its data store and workers.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Pulse {
    /// Where to listen.
    #[arg(
        short,
        long,
        value_name = "ADDRESS",
        help = "HOST:PORT, :PORT, [::1]:PORT or unix:PATH; port 0 takes a free one; repeatable"
    )]
    bind: Vec<String>,
    /// Worker processes; 0 is one a core.
    #[arg(short, long)]
    workers: Option<usize>,
    /// Threads a worker keeps for blocking views.
    #[arg(long)]
    thread_workers: Option<usize>,
    /// Runs blocking views as greenlets, so many at once: waiting takes a stack, not a thread.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "100")]
    greenlet: Option<usize>,
    /// pulse:// (a process of its own), memory:// (inside a single worker) or redis:// (shared by
    /// machines).
    ///
    /// redis://user:password@host:port,host:port/db?prefix=site, or rediss:// with TLS. Others can
    /// read the flags of a process: a password is better off in `HULSE_SERVER__DATA_STORE`.
    #[arg(long, value_name = "URL")]
    data_store: Option<String>,
    /// Applies unapplied migrations first.
    #[arg(long)]
    migrate: bool,
    /// Starts although migrations are unapplied.
    #[arg(long, conflicts_with = "migrate")]
    allow_unmigrated: bool,
    /// For development: builds and reloads what changes, and refreshes open pages; wants debug.
    #[arg(long)]
    reload: bool,
    /// A worker silent this long is replaced, seconds.
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// How long a stopping worker may finish, seconds.
    #[arg(long, value_name = "SECONDS")]
    graceful_timeout: Option<u64>,
    /// Named channels the workers read, or patterns; else all.
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    only_channels: Vec<String>,
    /// Named channels the workers leave to `runworker`, or patterns.
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    exclude_channels: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    operation: Operation,
    /// A tracing filter: info, hulse=debug,warn.
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// How the log is written.
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Logs one line a request.
    #[arg(long)]
    access_log: bool,
    /// Writes the arbiter's process id there; refuses if the one in it lives.
    #[arg(short, long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Prints the settings in force and where each comes from, and ends.
    #[arg(long)]
    print_config: bool,
    /// Takes over from the arbiter that has started this process.
    #[arg(long, hide = true)]
    successor: bool,
    /// What this process is, when the arbiter starts it.
    #[arg(long, hide = true)]
    child: Option<ChildRole>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ChildRole {
    Worker,
    Store,
    Service,
    Builder,
}

impl Pulse {
    #[expect(clippy::print_stdout, reason = "this crate is the one that prints")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(role) = self.child {
            return Ok(child(context, role));
        }
        let flags = self.overrides();
        if self.print_config {
            println!("{}", context.settings_with(flags)?.report());
            return Ok(ExitCode::SUCCESS);
        }
        let options = Options {
            migrate: self.migrate,
            allow_unmigrated: self.allow_unmigrated,
            pid_file: self.pid_file,
            is_successor: self.successor,
            arguments: arguments(),
            command: vec!["pulse".into()],
            say: Say::new(murmur),
        };
        let load = || context.settings_with(flags.clone());
        server::pulse(context.project(), &load, options, &mut listening)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The flags that are settings too.
    fn overrides(&self) -> Vec<Override> {
        let number = |n: Option<usize>| n.map(|n| n.to_string());
        let seconds = |n: Option<u64>| n.map(|n| n.to_string());
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        });
        let given = [
            ("server.workers", "--workers", number(self.workers)),
            ("server.thread_workers", "--thread-workers", number(self.thread_workers)),
            ("server.greenlets", "--greenlet", number(self.greenlet)),
            ("server.data_store", "--data-store", self.data_store.clone()),
            ("server.reload", "--reload", self.reload.then(|| "true".to_owned())),
            ("server.timeout", "--timeout", seconds(self.timeout)),
            ("server.graceful_timeout", "--graceful-timeout", seconds(self.graceful_timeout)),
            ("log.level", "--log-level", self.log_level.clone()),
            ("log.format", "--log-format", format),
            ("log.access", "--access-log", self.access_log.then(|| "true".to_owned())),
        ];
        let one = |(key, flag, value): (_, _, Option<String>)| {
            value.map(|value| Override::new(key, flag, value))
        };
        let mut overrides: Vec<Override> = given.into_iter().filter_map(one).collect();
        overrides.extend(self.limits.overrides());
        overrides.extend(self.operation.overrides());
        if !self.bind.is_empty() {
            overrides.push(Override::list("server.bind", "--bind", &self.bind));
        }
        let lists = [
            ("server.only_channels", "--only-channels", &self.only_channels),
            ("server.exclude_channels", "--exclude-channels", &self.exclude_channels),
        ];
        for (key, flag, names) in lists.into_iter().filter(|(.., names)| !names.is_empty()) {
            overrides.push(Override::list(key, flag, names));
        }
        overrides
    }
}

/// What children, and a successor, are started with.
pub(super) fn arguments() -> Vec<OsString> {
    std::env::args_os().filter(|word| word != "--successor").collect()
}

/// Says where the site can be reached, at once also into a pipe. That nobody reads it is no error.
fn listening(url: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(writeln!(stdout, "pulse: listening on {url}").and_then(|()| stdout.flush()));
}

/// A child tells the arbiter what goes wrong, which prints it.
pub(super) fn child(context: &Context, role: ChildRole) -> ExitCode {
    let role = match role {
        ChildRole::Worker => Role::Worker,
        ChildRole::Store => Role::Store,
        ChildRole::Service => Role::Service,
        ChildRole::Builder => Role::Builder,
    };
    let ended = server::child(context.project(), role);
    ended.map_or_else(|error: Error| ExitCode::from(error.exit_code()), |()| ExitCode::SUCCESS)
}
