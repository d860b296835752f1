//! Another arbiter in place of this one: after USR2, when also the arbiter's or the store's own
//! program is to be another one.
//!
//! Flow: the program that lies on disk is started beside this one and handed the listening sockets
//! and the control socket → it does all a start does, with a store and workers of its own → it says
//! "ready" → this one's workers leave, and then it ends. What is said to groups meanwhile reaches
//! those of its own store; who comes back is told of a gap.
//!
//! Invariants:
//! - The listening sockets are never closed; their files belong to the one who serves.
//! - A successor that ends or is not ready in time changes nothing.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::Result;
use crate::server::address::{self, Listener};
use crate::server::arbiter::{Arbiter, Phase};
use crate::server::children::{Birth, Role};
use crate::server::control::{self, PROTOCOL, Report, Start, Voice};
use crate::server::pid_file::PidFile;
use crate::server::prepare::METRICS;

/// What a successor gets, beside the descriptors, which are in this order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Legacy {
    /// What each listening socket was bound as: `127.0.0.1:8060`, `fd:3`.
    pub(super) binds: Vec<String>,
    /// Behind them comes the control socket.
    pub(super) has_control: bool,
}

/// Whom this process replaces.
#[derive(Debug)]
pub(super) struct Predecessor {
    socket: UnixStream,
    voice: Voice,
    binds: Vec<(String, Listener)>,
    pub(super) control: Option<Listener>,
    /// Whether the socket files are this process's to remove.
    owns: Arc<AtomicBool>,
}

impl Predecessor {
    /// Takes what it hands over, from stdin.
    pub(super) fn meet() -> Result<Self> {
        let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        let nothing = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::stdio::dup2_stdin(&rustix::fs::open("/dev/null", nothing, Mode::empty())?)?;
        let (start, sockets) = control::receive_start(&socket)
            .map_err(|error| error.context("this process is started by pulse, not by hand"))?;
        let mut sockets = sockets.into_iter();
        let owns: Arc<AtomicBool> = Arc::default();
        let binds = start.legacy.binds.into_iter().zip(&mut sockets).map(|(bind, socket)| {
            // A service manager's stay its own.
            let is_ours = if bind.starts_with("fd:") { Arc::default() } else { Arc::clone(&owns) };
            address::listener_of(socket, is_ours).map(|listener| (bind, listener))
        });
        let binds = binds.collect::<std::io::Result<Vec<_>>>()?;
        let control = sockets.next().filter(|_| start.legacy.has_control);
        let control = control.map(|socket| address::listener_of(socket, Arc::clone(&owns)));
        let (voice, control) = (Voice::default(), control.transpose()?);
        Ok(Self { socket, voice, binds, control, owns })
    }

    /// The listening sockets.
    pub(super) fn take_binds(&mut self) -> Vec<(String, Listener)> {
        std::mem::take(&mut self.binds)
    }

    /// From now on the site is this process's, and its id is in the file at `pid_path`.
    pub(super) fn take_over(&self, pid_path: Option<&Path>) -> Option<PidFile> {
        self.owns.store(true, Ordering::Relaxed);
        let written = pid_path.map(PidFile::overwrite).transpose();
        self.voice.report(&self.socket, &Report::Ready);
        written.unwrap_or_else(|error| {
            tracing::error!(%error, "the id of this process is not in its file");
            None
        })
    }
}

impl Arbiter<'_> {
    /// Starts a successor.
    pub(super) fn begin_upgrade(&mut self) {
        let begun = match self.phase {
            Phase::Serving if self.reload.is_none() && self.successor.is_none() => {
                self.spawn_successor().map_err(|error| error.to_string())
            }
            Phase::Serving => Err("a reload or another one is under way".to_owned()),
            Phase::Starting => Err("the site is still starting".to_owned()),
            Phase::Stopping(_) => Err("the site stops".to_owned()),
        };
        if let Err(words) = begun {
            tracing::error!("cannot start a successor, all goes on as it was: {words}");
        }
    }

    fn spawn_successor(&mut self) -> Result<()> {
        let control = self.plan.control.as_ref().map(AsFd::as_fd);
        let metrics = self.plan.metrics.as_ref().map(AsFd::as_fd);
        let mut binds = self.plan.binds.clone();
        binds.extend(metrics.map(|_| METRICS.to_owned()));
        let legacy = Legacy { binds, has_control: control.is_some() };
        let start = Start { protocol: PROTOCOL, legacy, ..Start::default() };
        let listeners = self.plan.listeners.iter().map(AsFd::as_fd);
        let sockets: Vec<BorrowedFd<'_>> = listeners.chain(metrics).chain(control).collect();
        let program = self.nursery.program()?;
        let generation = self.release.generation + 1;
        let requests_max = u64::MAX;
        let (role, start_wait) = (Role::Successor, self.plan.times.start);
        let (title, program) = ("the successor".into(), &program);
        let birth = Birth { role, title, program, generation, requests_max, start_wait };
        let successor = self.nursery.spawn(&birth, &start, &sockets)?;
        tracing::info!(process = successor.process, "starting a successor");
        self.successor = Some(successor);
        Ok(())
    }

    /// Kills a successor that does not get ready.
    pub(super) fn tend_successor(&self, now: Instant) {
        let times = &self.plan.times;
        let Some(successor) = self.successor.as_ref().filter(|s| !s.is_ready) else { return };
        // It has children of its own to start, and perhaps a database to migrate.
        if now >= times.silent_at(successor) + times.start {
            tracing::error!(process = successor.process, "the successor does not get ready");
            successor.kill();
        }
    }

    /// The successor serves: what is here leaves.
    pub(super) fn hand_over(&mut self) {
        let Some(successor) = &self.successor else { return };
        tracing::info!(process = successor.process, "handed over to the successor");
        self.plan.manager.handed_over(successor.process);
        self.plan.handed_over.cancel();
        self.plan.listeners.iter().for_each(Listener::leave_file);
        self.begin_leaving(Instant::now() + self.plan.times.graceful);
    }

    /// The successor has ended.
    pub(super) fn successor_ended(&mut self, words: &str) {
        let Some(successor) = self.successor.take() else { return };
        if matches!(self.phase, Phase::Serving) {
            let process = successor.process;
            tracing::error!(process, "the successor ended ({words}), all goes on as it was");
        }
    }
}
