//! `pulse`: arbiter, store, workers.
//!
//! Flow: [`pulse`] → `prepare` (addresses, database, migrations) → `arbiter`, one loop that starts
//! and replaces `children` → each child is this program again, in [`child`]: a `worker`, whose
//! `accept` takes connections that `serve` answers with the [`handler`], or the `store`.
//!
//! Invariants:
//! - The only room that makes processes. None of them outlives the arbiter by more than seconds:
//!   they hear its end on the `control` socket.
//! - The arbiter binds; workers accept on copies of its sockets, so a dead worker refuses nobody.
//! - A start that fails leaves nothing running.

mod accept;
mod address;
mod answers;
mod arbiter;
mod backoff;
mod balance;
mod beside;
mod child;
mod children;
mod control;
mod ctl;
mod figures;
mod handler;
mod log;
mod monitor;
mod pid_file;
mod place;
mod prepare;
mod reload;
mod runworker;
mod serve;
mod signals;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod visitors;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::apps::Project;
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};

use arbiter::{Arbiter, Plan, Times};
use children::Nursery;
use control::Preparation;
use ctl::Desk;
use monitor::Monitor;
use pid_file::PidFile;
use prepare::DataStore;
use signals::Signals;

pub use beside::{layer_beside, running_layer};
pub use children::Role;
pub use ctl::{Request, ask_running};
pub use handler::{Handler, handler};
pub use log::start_log;
pub use runworker::{Readers, runworker};

/// Events that may wait for the arbiter; a child says one a second.
const EVENTS_MAX: usize = 1024;

/// How to serve, beside the settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Apply unapplied migrations first.
    pub migrate: bool,
    /// Start although migrations are unapplied.
    pub allow_unmigrated: bool,
    /// Where to write the arbiter's process id.
    pub pid_file: Option<PathBuf>,
    /// The command line of this process, its name first: what a child is started with, and
    /// `--child` with its role.
    pub arguments: Vec<OsString>,
}

/// Serves until a signal or an operator stops it. `load` reads the settings: now, and again for
/// each reload. `listening` is called with each address once all workers serve.
///
/// Call it on the main thread.
///
/// # Errors
/// It cannot start: an address is taken, the database out of reach, a worker fails to start.
/// Nothing is left running then.
pub fn pulse(
    project: &Project,
    load: &dyn Fn() -> Result<Settings>,
    options: Options,
    listening: &mut dyn FnMut(&str),
) -> Result<()> {
    let settings = &load()?;
    let (data_store, workers) = prepare::workers(settings)?;
    prepare::channels(project, settings)?;
    let tls = tls::config(settings)?.is_some();
    child::runtime(1)?.block_on(async {
        let signals = Signals::new()?;
        let _pid_file = options.pid_file.as_deref().map(PidFile::write).transpose()?;
        let desk = Desk::open(settings)?;
        let listeners = prepare::bind(settings)?;
        let (monitor, metrics) = (Monitor::default(), prepare::bind_metrics(settings)?);
        let urls =
            listeners.iter().map(|listener| listener.url(tls)).collect::<Result<Vec<_>>>()?;
        prepare::database(project, settings, &options).await.map_err(not_begun)?;
        let (store_path, store) = match data_store {
            DataStore::Pulse => prepare::bind_store(settings).map(|(p, l)| (Some(p), Some(l)))?,
            DataStore::Memory | DataStore::Redis => (None, None),
        };
        let plan = Plan {
            workers,
            board: balance::Board::new()?,
            listeners,
            urls: urls.clone(),
            data_store,
            store,
            store_path,
            monitor: monitor.clone(),
            times: Times::new(settings),
            database: match (options.migrate, options.allow_unmigrated) {
                (true, _) => Preparation::Migrate,
                (false, true) => Preparation::Nothing,
                (false, false) => Preparation::Check,
            },
        };
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut beside = JoinSet::new();
        if let Some(listener) = metrics {
            tracing::info!("metrics are at {}", listener.url(false)?);
            beside.spawn(monitor.serve(listener));
        }
        beside.spawn(signals.forward(sender.clone()));
        if let Some(desk) = desk {
            beside.spawn(desk.serve(sender.clone()));
        }
        let nursery = Nursery::new(options.arguments, sender);
        let arbiter = Arbiter::new(plan, nursery, settings, load);
        let mut ready = || urls.iter().for_each(|url| listening(url));
        arbiter.run(&mut events, &mut ready).await
    })
}

/// Whatever keeps the server from starting is an error of the server.
fn not_begun(error: Error) -> Error {
    if error.exit_code() == 2 { error } else { Error::of(Kind::Server, error.to_string()) }
}

/// What a process does that [`pulse`] started as `role`. What goes wrong at the start is told to
/// the arbiter too.
///
/// # Errors
/// It cannot start.
pub fn child(project: &Project, settings: Settings, role: Role) -> Result<()> {
    match role {
        Role::Worker => worker::work(project, settings),
        Role::Store => store::keep(&settings),
    }
}
