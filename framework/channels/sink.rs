//! Where a connection's messages go: the seam between the table and whoever owns the stream.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// The end of a connection that the table writes to. Nothing here blocks or calls the table back.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// Writes `frames`, which are whole, if it is open and has taken all it was given before.
    /// What is not written all closes it, and it drains by itself when it can.
    fn write(&self, frames: &[u8]) -> Written;

    /// There is something to drain.
    fn wake(&self);

    /// It has everything: it may be written to.
    fn open(&self);

    /// Its connection is no more, and nothing may leave any more; its client may be told to come
    /// again.
    fn dismiss(&self, _comes_again: bool) {
        self.wake();
    }

    /// Whether it wants long messages compressed.
    fn is_deflated(&self) -> bool {
        false
    }
}

/// What became of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// They are on their way.
    All,
    /// The first so many are, or will be.
    Frames(u64),
}

/// A reader that asks for itself.
impl Sink for Notify {
    fn write(&self, _: &[u8]) -> Written {
        self.notify_one();
        Written::Frames(0)
    }

    fn wake(&self) {
        self.notify_one();
    }

    fn open(&self) {}
}

/// What happens to a member of a group that lags further than the worker remembers the group
/// (`channels.history_messages`, `channels.history_bytes`). Until then it misses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Its connection is closed with 1013; it comes back and asks for the state.
    #[default]
    Close,
    /// It misses the oldest messages and reads on with those still there.
    DropOldest,
    /// Left behind, it reads the oldest 64 KiB still there and misses what came behind them.
    DropNewest,
    /// Of messages sent as the latest of something (`send_latest`) it gets only the last of each,
    /// as soon as it lags at all; beyond that, as [`DropOldest`](Self::DropOldest).
    Latest,
}
