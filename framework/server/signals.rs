//! The signals the arbiter and its workers listen to, and the store does not.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::server::arbiter::{Event, Stop};

/// TERM, INT and QUIT, from now on ours.
#[derive(Debug)]
pub(super) struct Signals {
    term: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.term.recv() => Stop::Gracefully,
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.quit.recv() => Stop::AtOnce,
        }
    }

    /// Ends with the next TERM; INT and QUIT pass unheard.
    pub(super) async fn term(&mut self) {
        while self.next().await != Stop::Gracefully {}
    }

    /// Passes all on.
    pub(super) async fn forward(mut self, events: mpsc::Sender<Event>) {
        loop {
            let stop = self.next().await;
            if events.send(Event::Stop(stop)).await.is_err() {
                return;
            }
        }
    }
}
