//! The signals the arbiter listens to. Its children pass over most of them, which a terminal or a
//! service manager sends to all.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::server::arbiter::{Event, Stop};

/// Those that mean something to us, from now on ours.
#[derive(Debug)]
pub(super) struct Signals {
    term: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    more: Signal,
    fewer: Signal,
    reopen: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signalled {
    Stop(Stop),
    /// HUP: new workers in place of the old ones.
    Reload,
    /// TTIN: one worker more.
    More,
    /// TTOU: one worker fewer.
    Fewer,
    /// USR1: the log file was moved away.
    Reopen,
    /// USR2: another program takes over.
    Upgrade,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        // Terminals send these two to who reads or writes in their background; no name in tokio.
        let (more, fewer) = (rustix::process::Signal::TTIN, rustix::process::Signal::TTOU);
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            more: signal(SignalKind::from_raw(more.as_raw()))?,
            fewer: signal(SignalKind::from_raw(fewer.as_raw()))?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.term.recv() => Signalled::Stop(Stop::Gracefully),
            _ = self.interrupt.recv() => Signalled::Stop(Stop::Interrupt),
            _ = self.quit.recv() => Signalled::Stop(Stop::AtOnce),
            _ = self.hang_up.recv() => Signalled::Reload,
            _ = self.more.recv() => Signalled::More,
            _ = self.fewer.recv() => Signalled::Fewer,
            _ = self.reopen.recv() => Signalled::Reopen,
            _ = self.upgrade.recv() => Signalled::Upgrade,
        }
    }

    /// The next one that wants an end; the others pass unheard.
    pub(super) async fn stop(&mut self) -> Stop {
        loop {
            if let Signalled::Stop(stop) = self.next().await {
                return stop;
            }
        }
    }

    /// The next one that wants an end of a process that reloads nothing: HUP is one then, its
    /// terminal was closed.
    pub(super) async fn end(&mut self) -> Stop {
        loop {
            match self.next().await {
                Signalled::Stop(stop) => return stop,
                Signalled::Reload => return Stop::Gracefully,
                Signalled::More | Signalled::Fewer | Signalled::Reopen | Signalled::Upgrade => {}
            }
        }
    }

    /// Ends with the next TERM; all others pass unheard.
    pub(super) async fn term(&mut self) {
        while self.stop().await != Stop::Gracefully {}
    }

    /// Passes all on.
    pub(super) async fn forward(mut self, events: mpsc::Sender<Event>) {
        loop {
            let signalled = self.next().await;
            if events.send(Event::Signalled(signalled)).await.is_err() {
                return;
            }
        }
    }
}
