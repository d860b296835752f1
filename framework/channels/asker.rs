//! A message of a named channel in its reader's hands, and the way back to who asked.

use std::fmt;
use std::sync::Arc;

use super::calls::ChannelAsk;
use super::frame::Frame;
use super::members::Reply;
use super::protocol::{Ask, Key};
use super::worker::Worker;
use super::{Message, too_large};
use crate::error::{Error, Kind, Result};

/// What a reader of a named channel gets.
#[derive(Debug)]
pub struct Received {
    /// What was sent.
    pub message: Message,
    /// Who waits for an answer; nobody after a `send`.
    pub asker: Option<Asker>,
}

/// Somebody who asked and waits. Dropping it tells them that there will be no answer.
pub struct Asker {
    worker: Arc<Worker>,
    message_bytes_max: usize,
    /// `None` once answered.
    key: Option<Key>,
}

impl Asker {
    pub(super) fn new(worker: Arc<Worker>, message_bytes_max: usize, key: Key) -> Self {
        Self { worker, message_bytes_max, key: Some(key) }
    }

    /// Answers. Who does not wait any more is not told.
    ///
    /// # Errors
    /// The answer is too large, or the store cannot be reached.
    pub async fn answer(mut self, message: impl Into<Message> + Send) -> Result<()> {
        let message = message.into();
        too_large(&message, self.message_bytes_max)?;
        let Some(asker) = self.key.take() else { return Ok(()) };
        let (frame, bytes) = (Some(Frame::new(&message)), message.len());
        let make =
            |key: Key| Ask::Channel(ChannelAsk::Answer { request: key.request, asker, frame });
        match self.worker.request(bytes, make).await? {
            Reply::Done => Ok(()),
            reply => Err(super::unexpected(&reply)),
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let Some(asker) = self.key.take() else { return };
        let make = |key: Key| {
            Ask::Channel(ChannelAsk::Answer { request: key.request, asker, frame: None })
        };
        self.worker.change(|table| table.order(make));
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

pub(super) fn no_answer(words: String) -> Error {
    Error::of(Kind::NoAnswer, words)
}

impl Error {
    /// A question (`ask`) got no answer: not in time, its handler failed or ended without one, or
    /// it expired unread.
    ///
    /// If you see this, look whether anybody reads the channel (`manage runworker`), and for its
    /// handler in that process's log.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        self.kind() == Kind::NoAnswer
    }
}
