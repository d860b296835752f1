//! `pulse`: arbiter, store, workers.
//!
//! Flow: [`pulse`] → `prepare` (addresses, database, migrations) → `arbiter`, one loop that starts
//! and replaces `children` → each child is this program again, in [`child`]: a `worker`, whose
//! `accept` takes connections that `serve` answers with the [`handler`], or the `store`. With
//! `server.reload` `development` builds and reloads what changes on disk. At a reload WebSockets go
//! on in the new worker, over the line of `takeover`.
//!
//! Invariants:
//! - The only room that makes processes. None of them outlives the arbiter by more than seconds:
//!   they hear its end on the `control` socket.
//! - The arbiter binds; workers accept on copies of its sockets, so a dead worker refuses nobody.
//! - A start that fails leaves nothing running.

mod accept;
mod address;
mod arbiter;
mod backoff;
mod balance;
mod beside;
mod child;
mod children;
mod control;
mod ctl;
mod development;
mod figures;
mod handler;
mod in_force;
mod log;
mod log_file;
mod manager;
mod monitor;
mod pid_file;
mod prepare;
mod private_file;
mod privileges;
mod runworker;
mod serve;
mod service;
mod signals;
mod staying;
mod store;
mod stream;
mod takeover;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod upgrade;
mod visitors;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::apps::Project;
use crate::conf::{ServiceManager, Settings};
use crate::error::{Error, Kind, Result};

use arbiter::{Arbiter, Plan, Reloads, Times};
use children::Nursery;
use control::{Leave, Preparation};
use ctl::Desk;
use development::Developer;
use manager::Manager;
use monitor::Monitor;
use pid_file::PidFile;
use signals::Signals;
use upgrade::Predecessor;

pub use beside::{layer_beside, running_layer};
pub use children::Role;
pub use ctl::{Request, ask_running};
pub use development::Say;
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
    /// Take over from the arbiter that has started this process.
    pub is_successor: bool,
    /// The command line of this process, its name first: what a successor is started with.
    pub arguments: Vec<OsString>,
    /// Where the words of a build go, with `server.reload`.
    pub say: Say,
    /// The words of it that lead to this command: what a child is started with, and `--child` with
    /// its role. Its settings it is handed.
    pub command: Vec<OsString>,
}

impl Options {
    /// What the workers of a reload do about the database.
    fn preparation(&self) -> Preparation {
        match (self.migrate, self.allow_unmigrated) {
            (true, _) => Preparation::Migrate,
            (false, true) => Preparation::Nothing,
            (false, false) => Preparation::Check,
        }
    }
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
    let services = prepare::background(project, settings, data_store)?;
    let tls = tls::config(settings)?.is_some();
    let manager = ServiceManager::read();
    privileges::set_umask(settings)?;
    let identity = privileges::wanted(settings)?;
    let mut predecessor = options.is_successor.then(Predecessor::meet).transpose()?;
    let pid_path = options.pid_file.clone();
    let mut pid_file = PidFile::begin(pid_path.as_deref(), predecessor.is_some())?;
    let mut bound = predecessor.as_mut().map_or_else(Vec::new, Predecessor::take_binds);
    let metrics = prepare::bind_metrics(settings, &mut bound)?;
    let (binds, listeners) = prepare::bind(settings, &manager.descriptors, bound)?;
    // There is no other thread yet.
    identity.map_or(Ok(()), |identity| prepare::become_user(settings, &identity, &listeners))?;
    child::runtime(1)?.block_on(async {
        let mut signals = Signals::new()?;
        let desk = desk(predecessor.as_mut(), settings)?;
        let (handed_over, monitor) = (CancellationToken::new(), Monitor::default());
        let urls = listeners.iter().map(|it| it.url(tls)).collect::<Result<Vec<_>>>()?;
        let manager = Manager::new(&manager);
        let prepared = prepare::database(project, settings, &options);
        if !is_prepared(prepared, &manager, &mut signals).await? {
            return Ok(());
        }
        let (store_path, store) = prepare::store(data_store, settings)?.unzip();
        let plan = Plan {
            workers,
            services,
            board: balance::Board::new()?,
            listeners,
            urls: urls.clone(),
            data_store,
            store,
            store_path,
            monitor: monitor.clone(),
            times: Times::new(settings),
            database: options.preparation(),
            manager,
            binds,
            metrics: metrics.as_ref().map(address::Listener::socket).transpose()?,
            control: desk.as_ref().map(Desk::socket).transpose()?,
            reloads: Reloads::begin(),
            replaced: if settings.server.reload { Leave::Stop } else { Leave::Replaced },
            handed_over: handed_over.clone(),
            stopping: CancellationToken::new(),
        };
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut beside = JoinSet::new();
        if let Some(listener) = metrics {
            tracing::info!("metrics are at {}", listener.url(false)?);
            beside.spawn(monitor.serve(listener));
        }
        beside.spawn(signals.forward(sender.clone()));
        if let Some(desk) = desk {
            beside.spawn(desk.serve(sender.clone(), handed_over));
        }
        let serving = CancellationToken::new();
        if let Some(dev) = Developer::of(project, settings, &options, &plan, sender.clone())? {
            beside.spawn(dev.run(serving.clone()));
        }
        let nursery = Nursery::new(options.arguments, options.command, sender);
        let arbiter = Arbiter::new(plan, nursery, settings, load)?;
        let mut ready = || {
            serving.cancel();
            urls.iter().for_each(|url| listening(url));
            let take_over = |before: &Predecessor| before.take_over(pid_path.as_deref());
            pid_file = pid_file.take().or(predecessor.as_ref().and_then(take_over));
        };
        arbiter.run(&mut events, &mut ready).await
    })
}

/// Where `ctl` is answered, if it is: on the predecessor's socket, if there is one.
fn desk(predecessor: Option<&mut Predecessor>, settings: &Settings) -> Result<Option<Desk>> {
    match predecessor.and_then(|before| before.control.take()) {
        Some(bound) => Desk::new(bound),
        None => Desk::open(settings),
    }
}

/// Waits until the database is `prepared`; `false` if a signal wants the end before that is done.
async fn is_prepared(
    prepared: impl Future<Output = Result<()>>,
    manager: &Manager,
    signals: &mut Signals,
) -> Result<bool> {
    let mut beat = interval(manager::PREPARING);
    tokio::pin!(prepared);
    let stop = loop {
        tokio::select! {
            prepared = &mut prepared => return prepared.map(|()| true).map_err(not_begun),
            stop = signals.stop() => break stop,
            _ = beat.tick() => manager.preparing(),
        }
    };
    tracing::info!(?stop, "stopped before it began");
    Ok(false)
}

/// Whatever keeps the server from starting is an error of the server.
fn not_begun(error: Error) -> Error {
    if error.exit_code() == 2 { error } else { Error::of(Kind::Server, error.to_string()) }
}

/// What a process does that [`pulse`] started as `role`, with the settings it is handed. What goes
/// wrong at the start is told to the arbiter too.
///
/// # Errors
/// It cannot start.
pub fn child(project: &Project, role: Role) -> Result<()> {
    match role {
        Role::Worker => worker::work(project),
        Role::Store => store::keep(project),
        Role::Service => service::keep(project),
        Role::Builder => development::build_for_arbiter(),
        Role::Successor => Err(Error::usage("a successor is no child: it is started by USR2")),
    }
}
