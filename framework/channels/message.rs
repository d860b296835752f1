//! What travels through the layer, as a site writes it.

use std::time::Duration;

use bytes::Bytes;

use super::Position;

/// What travels through the layer and reaches a browser: one text or binary frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// Its length, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The bytes, of a text too.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<serde_json::Value> for Message {
    fn from(value: serde_json::Value) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// Who somebody is in a group, and what the others are told. The layer knows no users: connections
/// with the same `key` are one entry, however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whom to count: 1 to 200 bytes, for example a user's id.
    pub key: String,
    /// Sent to the group when the first connection with this key enters.
    pub joined: Message,
    /// Sent to the group when the last one is gone, its worker killed included.
    pub left: Message,
}

/// What somebody finds who enters a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// Whether this is the first connection with its key: the others were just told `joined`.
    pub first: bool,
    /// The `joined` message of everybody else who is present, in the order of their keys.
    pub roster: Vec<Message>,
    /// The group's latest messages before this moment, oldest first: at most 50 and 256 KiB, and
    /// without those of presence.
    pub history: Vec<Message>,
}

/// A message of a group in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it is in the group's order.
    pub position: Position,
    /// What was sent.
    pub message: Message,
    /// Whether the layer itself sent it because somebody came or went.
    pub is_presence: bool,
}

/// Where a connection's part in a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What comes after this position is for the connection, all of it and in order.
    pub position: Position,
    /// Whether it goes on from the position it asked for. Else something may be lost to it, and
    /// it needs the state as a whole; always so if it asked for none.
    pub recovered: bool,
}

/// Messages a group still has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Oldest first.
    pub messages: Vec<Delivery>,
    /// Where the group's order ended when this was read. If the last message is before it, there is
    /// more.
    pub top: Position,
    /// Whether nothing is missing between the position asked for and the first message. Without it
    /// there are no messages; or the latest, if no position was asked for.
    pub recovered: bool,
}

/// What the layer has done and holds, seen from one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Groups with a member in this process.
    pub groups: usize,
    /// Connections of this process.
    pub connections: usize,
    /// Bytes of recent messages kept for connections that lag.
    pub history_bytes: usize,
    /// Messages that came in for groups, since the start.
    pub delivered: u64,
    /// Connections that lagged further than the history reaches, since the start; they were closed.
    pub overruns: u64,
    /// Messages that slow members missed by their policy, since the start.
    pub dropped: u64,
    /// Connections that were dismissed, since the start.
    pub dismissed: u64,
    /// Requests to the store not yet answered.
    pub in_flight: usize,
    /// Times the link to the store was set up, since the start; always 0 without a store process.
    pub links: u64,
}

/// What a named channel, or all of them, hold and have done since they were first used. A store
/// that restarts begins anew, and forgets a channel that nobody has used for an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatistics {
    /// Channels counted here.
    pub channels: u64,
    /// Messages that wait for a reader.
    pub pending: u64,
    /// Messages that come later.
    pub delayed: u64,
    /// Readers that wait for a message.
    pub readers: u64,
    /// How long the oldest pending message has waited.
    pub oldest: Option<Duration>,
    /// Messages that were taken, delayed ones included.
    pub messages: u64,
    /// Messages that a reader got.
    pub delivered: u64,
    /// Messages that nobody read in time.
    pub expired: u64,
    /// Messages that were not taken: the channel was full.
    pub refused: u64,
}

impl ChannelStatistics {
    /// Adds those of another channel.
    pub(super) fn add(&mut self, other: &Self) {
        self.channels += other.channels;
        self.pending += other.pending;
        self.delayed += other.delayed;
        self.readers += other.readers;
        self.oldest = self.oldest.max(other.oldest);
        self.messages += other.messages;
        self.delivered += other.delivered;
        self.expired += other.expired;
        self.refused += other.refused;
    }
}
