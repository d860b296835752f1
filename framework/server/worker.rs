//! A worker: one runtime, one open site, the sockets it was handed.
//!
//! Flow: start from the arbiter → layer, site, handler (built once) → "ready" → accept → drain:
//! close the listening sockets, WebSockets say 1001, running requests finish → end. If another one
//! goes on in its place: leave the listening sockets to it, WebSockets say 1012 one after the
//! other, idle connections may bring one more request and are told that it was the last → end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::apps::Project;
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::Options;
use crate::server::accept::{Acceptor, Socket};
use crate::server::balance::{Board, Share};
use crate::server::child::{self, Begun, Control, Heard, ORPHAN_SECONDS_MAX};
use crate::server::control::{Counts, Leave, Preparation, Start};
use crate::server::development::{Release, tell_findings};
use crate::server::handler::Handler;
use crate::server::prepare;
use crate::server::serve::Serving;
use crate::server::signals::Signals;
use crate::server::takeover::{Line, Reception};
use crate::server::told::Told;
use crate::services::run_here;
use crate::site::Site;
use crate::sockets::{Cap, hand_on, run_background};

/// Threads beside `server.thread_workers` and `auth.hashing_threads`: name lookups and file reads.
const OTHER_THREADS: usize = 8;

/// How long the database's connections may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The worker's life.
pub(super) fn work(project: &Project) -> Result<()> {
    let Begun { mut control, start, settings, sockets } = child::begin(project)?;
    let blocking = settings.server.thread_workers + settings.auth.hashing_threads + OTHER_THREADS;
    child::runtime(blocking)?.block_on(async {
        // A service manager may send to all what is meant for the arbiter, also while this begins.
        let mut signals = Signals::new()?;
        // Migrations take the time they take.
        let prepared = prepare_database(project, &settings, start.database);
        let prepared = control.while_working(prepared).await;
        prepared.inspect_err(|error| control.failed(error))?;
        let begun = begin(project, settings, &start, sockets).await;
        let (site, acceptor, sockets) = begun.inspect_err(|error| control.failed(error))?;
        let reception = Reception::new(&site, project.resolver(), &acceptor);
        serve(&mut control, &mut signals, (&site, &acceptor, &reception), sockets).await
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
    if start.number == 1 {
        // All would say the same.
        tell_findings(project, &site, &start.release).await;
    }
    site.layer().ready().await?;
    run_background(&site, project.resolver());
    if site.settings().server.data_store.expose() == "memory://" {
        // Nobody else would reach them.
        run_here(&site, &project.services()?);
    }
    let share = Share::new(board, start.seat);
    site.keep(|_| Release(start.release.clone()));
    let serving = Serving::new(Handler::new(project, &site), site.settings())?;
    let acceptor = Acceptor::new(serving, connections_max, share);
    let patience = Duration::from_secs(site.settings().server.write_timeout);
    let sockets = descriptors.map(|socket| Socket::from_fd(socket, patience));
    let sockets = sockets.collect::<Result<_>>()?;
    Ok((site, acceptor, sockets))
}

/// What a reload brings may want another database than what it replaces.
async fn prepare_database(project: &Project, settings: &Settings, what: Preparation) -> Result<()> {
    let migrate = match what {
        Preparation::Nothing => return Ok(()),
        Preparation::Check => false,
        Preparation::Migrate => true,
    };
    prepare::database(project, settings, &Options { migrate, ..Options::default() }).await
}

async fn serve(
    control: &mut Control,
    signals: &mut Signals,
    (site, acceptor, reception): (&Site, &Acceptor, &Reception),
    sockets: Vec<Socket>,
) -> Result<()> {
    let mut accepting = JoinSet::new();
    for socket in sockets {
        accepting.spawn(acceptor.clone().accept(socket));
    }
    let (counted, share, cap) = (site.clone(), acceptor.share().clone(), Cap::of(site));
    control.count_with(move || {
        let sockets = cap.counts();
        Counts {
            connections: share.held().into(),
            sockets: counted.layer().statistics().connections as u64,
            requests: share.requests(),
            moved: sockets.moved,
            sent_on: sockets.sent_on,
            ..Counts::default()
        }
    });
    let mut beside = JoinSet::new();
    if !site.settings().server.metrics_bind.is_empty() {
        let told = Told::new(site, acceptor);
        beside.spawn(told.clone().watch_database());
        control.figure_with(move || told.snapshot());
    }
    control.ready();
    // A terminal's INT goes to the whole group; what to do about it is the arbiter's to say.
    let leave = tokio::select! {
        leave = leave(control, site, reception) => leave,
        () = signals.term() => Some((Leave::Stop, None)),
    };
    if let Some((leave, line)) = leave {
        let begun = Instant::now();
        let grace = Duration::from_secs(site.settings().server.graceful_timeout);
        let draining = async {
            if leave == Leave::Replaced {
                // What comes is to move on with all others.
                tokio::select! {
                    () = reception.over(grace) => {}
                    () = site.lifecycle().hurrying() => {}
                }
            }
            let grace = grace.saturating_sub(begun.elapsed());
            match line.map(|line| Line::open(line, site.lifecycle(), grace)).transpose() {
                Ok(line) => line.into_iter().for_each(|line| hand_on(site, Arc::new(line))),
                Err(error) => tracing::warn!(%error, "there is no line to the new worker"),
            }
            drain(site, acceptor, accepting, (leave, grace)).await;
        };
        // The arbiter watches the time, and the heartbeat goes on.
        tokio::select! {
            () = draining => {}
            () = hurry(control, site, acceptor, reception) => {}
        }
        // What it has counted since the last beat.
        control.beat();
    } else {
        let drain = drain(site, acceptor, accepting, (Leave::Stop, Duration::ZERO));
        let _late = timeout(Duration::from_secs(ORPHAN_SECONDS_MAX), drain).await;
    }
    let _late = timeout(CLOSE_MAX, site.database().close()).await;
    Ok(())
}

/// Does what the arbiter wants until it wants the end; `None`: it is gone.
async fn leave(
    control: &mut Control,
    site: &Site,
    reception: &Reception,
) -> Option<(Leave, Option<OwnedFd>)> {
    loop {
        match control.heard().await {
            Heard::Drain(leave, line) => return Some((leave, line)),
            Heard::TakeIn(line) => reception.open(line),
            Heard::Orphaned => return None,
            Heard::Groups(id) => control.groups(id, site.layer().local_groups()),
        }
    }
}

/// While it drains: what was to be left to others must end after all if the site stops. Ends once
/// the arbiter is gone and time has run out.
async fn hurry(control: &mut Control, site: &Site, acceptor: &Acceptor, reception: &Reception) {
    while let Some((leave, _)) = leave(control, site, reception).await {
        if leave == Leave::Stop {
            site.lifecycle().hurry();
            acceptor.hurry();
        }
    }
    sleep(Duration::from_secs(ORPHAN_SECONDS_MAX)).await;
}

async fn drain(
    site: &Site,
    acceptor: &Acceptor,
    mut accepting: JoinSet<()>,
    (leave, grace): (Leave, Duration),
) {
    match leave {
        Leave::Stop => acceptor.close(),
        Leave::Replaced => {
            site.lifecycle().be_replaced(grace / 2);
            acceptor.leave(grace / 2);
        }
    }
    while accepting.join_next().await.is_some() {}
    tokio::join!(acceptor.finish(), site.lifecycle().drain());
    // A last request may have made a WebSocket.
    site.lifecycle().drain().await;
}
