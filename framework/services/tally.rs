//! What a service has done so far, for whoever looks after it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Numbers of one instance.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    is_ready: AtomicBool,
    /// Notified once, when it is.
    readied: Notify,
    handled: AtomicU64,
    /// Messages that waited when it last looked.
    waiting: AtomicU64,
}

impl Tally {
    /// It has started, or stands by.
    pub(super) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
        self.readied.notify_one();
    }

    /// Ends once it is ready.
    pub(crate) async fn ready(&self) {
        while !self.is_ready.load(Ordering::Relaxed) {
            self.readied.notified().await;
        }
    }

    pub(super) fn count(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages it has handled.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    pub(super) fn set_waiting(&self, messages: u64) {
        self.waiting.store(messages, Ordering::Relaxed);
    }

    /// Messages that wait in its mailbox, as it last saw it.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}
