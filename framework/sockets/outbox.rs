//! What a consumer has sent and its connection's task has not taken yet: bytes, with a bound.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::channels::Frame;
use crate::error::{Error, Kind, Result};

/// Bytes that wait before a sender waits too. One message may be larger.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

/// A close the site asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// There is something to take.
    pub(super) filled: Notify,
    /// There is room again, or never will be.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    close: Option<Close>,
    /// Somebody takes: full means wait. Before that full is an error.
    is_running: bool,
    is_closed: bool,
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `frame` behind what waits; waits for room while the client is slow.
    pub(super) async fn push(&self, frame: &Frame) -> Result<()> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.state();
                if state.is_closed || state.close.is_some() {
                    return Err(closed("the socket is closed"));
                }
                if state.bytes.len() < OUTBOX_BYTES_MAX {
                    state.bytes.extend_from_slice(frame.bytes());
                    self.filled.notify_one();
                    return Ok(());
                }
                if !state.is_running {
                    return Err(closed("more was sent before the handshake than waits"));
                }
            }
            room.await;
        }
    }

    /// Asks for a close after what waits; the first one counts.
    pub(super) fn close(&self, close: Close) -> Result<()> {
        let mut state = self.state();
        if state.is_closed {
            return Err(closed("the socket is closed"));
        }
        state.close.get_or_insert(close);
        self.filled.notify_one();
        Ok(())
    }

    /// From now on somebody takes.
    pub(super) fn run(&self) {
        self.state().is_running = true;
    }

    /// Moves all that waits behind `out`; the close, if it is time for it.
    pub(super) fn take(&self, out: &mut BytesMut) -> Option<Close> {
        let mut state = self.state();
        if !state.bytes.is_empty() {
            if out.is_empty() {
                *out = std::mem::take(&mut state.bytes);
            } else {
                out.extend_from_slice(&state.bytes);
                state.bytes = BytesMut::new();
            }
            self.room.notify_waiters();
        }
        state.close.clone()
    }

    /// Nothing leaves any more; senders get an error.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.bytes = BytesMut::new();
        self.room.notify_waiters();
    }
}

pub(super) fn closed(message: &str) -> Error {
    Error::of(Kind::SocketClosed, message)
}

impl Error {
    /// The socket is closed: nothing can be sent to it or joined by it.
    #[must_use]
    pub fn is_socket_closed(&self) -> bool {
        self.kind() == Kind::SocketClosed
    }
}
