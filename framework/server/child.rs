//! What every child does alike: it takes its start from stdin, says how it is, hears its orders.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::control::{self, Order, Report, Start};

/// How long a child outlives its arbiter at most: what is begun may finish, but the site may be
/// started again meanwhile.
pub(super) const ORPHAN_SECONDS_MAX: u64 = 3;

/// Orders that may wait; there is only one kind.
const ORDERS_MAX: usize = 8;

/// The exit code of a child that had to end itself.
const ORPHANED: i32 = 1;

/// The child's end of the control socket.
#[derive(Debug)]
pub(super) struct Control {
    socket: Arc<UnixStream>,
    orders: mpsc::Receiver<Heard>,
    /// How often it says that it lives.
    beat: Duration,
}

/// What a child hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Finish and end.
    Drain,
    /// The arbiter is gone; finish soon.
    Orphaned,
}

/// Takes the control socket from stdin, and the start with its sockets from there.
pub(super) fn begin(settings: &Settings) -> Result<(Control, Start, Vec<OwnedFd>)> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let socket = Arc::new(UnixStream::from(stdin));
    // A program that a view starts must not find the control socket on its stdin.
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    // A child that was stopped wakes up to see that the arbiter is gone.
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
    let (start, sockets) = control::receive_start(&socket)
        .map_err(|error| error.context("this process is started by pulse, not by hand"))?;
    let (heard, orders) = mpsc::channel(ORDERS_MAX);
    let listening = Arc::clone(&socket);
    thread::Builder::new().name("control".into()).spawn(move || listen(&listening, &heard))?;
    let beat = Duration::from_secs(settings.server.timeout).div_f32(4.0);
    let beat = beat.min(Duration::from_secs(1));
    Ok((Control { socket, orders, beat }, start, sockets))
}

/// Passes orders on. It is a thread, so that also a child whose runtime hangs ends with its
/// arbiter.
#[expect(clippy::exit, reason = "the runtime may hang; nobody is left who could kill the process")]
fn listen(socket: &UnixStream, heard: &mpsc::Sender<Heard>) {
    while let Some(Order::Drain) = control::receive_order(socket) {
        let _told_already = heard.try_send(Heard::Drain);
    }
    let _told_already = heard.try_send(Heard::Orphaned);
    thread::sleep(Duration::from_secs(ORPHAN_SECONDS_MAX));
    std::process::exit(ORPHANED);
}

impl Control {
    pub(super) fn ready(&self) {
        control::report(&self.socket, &Report::Ready);
    }

    /// Tells why it cannot start.
    pub(super) fn failed(&self, error: &Error) {
        control::report(&self.socket, &Report::Failed(error.to_string()));
    }

    /// Says "alive" every beat and ends with what is heard.
    pub(super) async fn heard(&mut self) -> Heard {
        let mut beat = interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => control::report(&self.socket, &Report::Alive),
                heard = self.orders.recv() => return heard.unwrap_or(Heard::Orphaned),
            }
        }
    }
}

/// A current-thread runtime whose blocking pool has `blocking` threads.
pub(super) fn runtime(blocking: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking)
        .build()
        .map_err(|error| Error::because(Kind::Server, "starting the runtime", error))
}
