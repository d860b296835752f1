//! A worker: one runtime, one open site, the sockets it was handed.
//!
//! Flow: start from the arbiter → layer, site, handler (built once) → "ready" → accept → drain:
//! close the listening sockets, WebSockets say 1001, running requests finish → end.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::apps::Project;
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::accept::{Acceptor, Socket};
use crate::server::balance::{Board, Share};
use crate::server::child::{self, Control, Heard, ORPHAN_SECONDS_MAX};
use crate::server::control::Start;
use crate::server::handler;
use crate::server::prepare;
use crate::server::serve::Serving;
use crate::server::signals::Signals;
use crate::site::Site;
use crate::sockets::run_background;

/// Threads beside `server.thread_workers` and `auth.hashing_threads`: name lookups and file reads.
const OTHER_THREADS: usize = 8;

/// How long the database's connections may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The worker's life.
pub(super) fn work(project: &Project, settings: Settings) -> Result<()> {
    let (mut control, start, sockets) = child::begin(&settings)?;
    let blocking = settings.server.thread_workers + settings.auth.hashing_threads + OTHER_THREADS;
    child::runtime(blocking)?.block_on(async {
        let begun = begin(project, settings, &start, sockets).await;
        let (site, acceptor, sockets) = begun.inspect_err(|error| control.failed(error))?;
        serve(&mut control, &site, &acceptor, sockets).await
    })
}

async fn begin(
    project: &Project,
    settings: Settings,
    start: &Start,
    descriptors: Vec<OwnedFd>,
) -> Result<(Site, Acceptor, Vec<Socket>)> {
    let mut descriptors = descriptors.into_iter();
    let board = descriptors.next().map(Board::from_fd);
    let board = board.ok_or_else(|| Error::of(Kind::Server, "the worker got no board"))?;
    let layer = prepare::layer(&settings, start.store.as_deref())?;
    let connections_max = settings.server.connections_max;
    let site = project.open(settings, layer).await?;
    site.layer().ready().await?;
    run_background(&site, project.resolver());
    let share = Share::new(board, start.number, start.workers);
    let serving = Serving::new(handler(project, &site), site.settings());
    let acceptor = Acceptor::new(serving, connections_max, share);
    let sockets = descriptors.map(Socket::from_fd).collect::<Result<_>>()?;
    Ok((site, acceptor, sockets))
}

async fn serve(
    control: &mut Control,
    site: &Site,
    acceptor: &Acceptor,
    sockets: Vec<Socket>,
) -> Result<()> {
    let mut signals = Signals::new()?;
    let mut accepting = JoinSet::new();
    for socket in sockets {
        accepting.spawn(acceptor.clone().accept(socket));
    }
    control.ready();
    // A terminal's INT goes to the whole group; what to do about it is the arbiter's to say.
    let heard = tokio::select! {
        heard = control.heard() => heard,
        () = signals.term() => Heard::Drain,
    };
    let drain = drain(site, acceptor, accepting);
    match heard {
        // The arbiter watches the time, and the heartbeat goes on.
        Heard::Drain => tokio::select! {
            () = drain => {}
            _orphaned = heard_orphaned(control) => {}
        },
        Heard::Orphaned => {
            let _late = timeout(Duration::from_secs(ORPHAN_SECONDS_MAX), drain).await;
        }
    }
    let _late = timeout(CLOSE_MAX, site.database().close()).await;
    Ok(())
}

/// Ends once the arbiter is gone and time has run out.
async fn heard_orphaned(control: &mut Control) {
    while control.heard().await == Heard::Drain {}
    tokio::time::sleep(Duration::from_secs(ORPHAN_SECONDS_MAX)).await;
}

async fn drain(site: &Site, acceptor: &Acceptor, mut accepting: JoinSet<()>) {
    acceptor.close();
    while accepting.join_next().await.is_some() {}
    tokio::join!(acceptor.finish(), site.lifecycle().drain());
}
