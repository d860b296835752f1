//! Groups: named sets of connections, across all workers of a site; and named channels.
//!
//! Flow: [`Layer::publish`] → `worker` → `link` → the store's process (`serve` → `hub` → `store`)
//! → every worker that has members → `members` → at the end of the tick each member's `sink`, whole
//! batches at a time; who cannot take them drains later. In one process `hub` stands
//! right behind `worker`, and nothing else changes.
//!
//! Invariants:
//! - One order per group, the store's: also the sender's own connections hear a message from there.
//! - A message is encoded once, by its sender, however many members and workers there are.
//! - At most once. A slow connection lags in a ring and is closed when that leaves it behind; it
//!   never holds up others.
//! - What a connection holds ends with it; what a worker holds ends with its link.
//! - A message of a named channel has one reader, a question one answer, which only who asked gets.
//! - Who is dismissed gets nothing that is published afterwards, wherever it is connected.
//! - Knows no user, session or table.

mod asker;
mod calls;
#[cfg(test)]
mod channel_tests;
mod connection;
mod deflate;
mod dismiss;
mod envelope;
mod frame;
mod groups;
mod hub;
mod inspect;
mod layer;
mod link;
mod members;
mod message;
mod name;
mod pattern;
mod position;
mod protocol;
#[cfg(feature = "redis")]
mod redis;
mod ring;
mod serve;
mod sink;
mod stake;
mod store;
#[cfg(test)]
mod tests;
mod values;
mod wire;
mod worker;

use std::time::{Duration, SystemTime};

use crate::conf;
use crate::error::{Error, Kind, Result};

pub use asker::{Asker, Received};
pub use connection::Connection;
#[cfg(test)]
pub(crate) use deflate::DEFLATED;
pub(crate) use deflate::deflate_frames;
pub(crate) use dismiss::{COME_AGAIN, DISMISSED, Marked};
pub use dismiss::{Dismissal, Mark};
pub(crate) use envelope::Envelope;
pub(crate) use frame::{Frame, frame_bytes, frame_texts};
pub(crate) use inspect::MEMBERS_MAX;
pub use inspect::{GroupStatistics, Present};
pub use layer::Layer;
pub use link::socket_path;
pub(crate) use link::{has_store, is_store_socket, store_socket};
pub(crate) use members::Suspicion;
pub use message::{
    ChannelStatistics, Delivery, Entered, History, Joined, Message, Presence, Statistics,
};
pub use name::GroupName;
pub(crate) use pattern::fits;
pub use position::Position;
pub use serve::{End, serve};
pub use sink::Policy;
pub(crate) use sink::{Sink, Written};
pub(crate) use stake::{Stake, blob};
pub use values::{Counted, Lock, Token, Value, Values, Version};

/// Whether `url` is one that [`Layer::redis`] takes.
///
/// # Errors
/// It is not, or this build knows no Redis (the feature `redis`); the error does not repeat it.
pub fn check_redis(url: &str) -> Result<()> {
    #[cfg(feature = "redis")]
    return redis::Address::parse(url).map(drop);
    #[cfg(not(feature = "redis"))]
    Err(no_redis(url))
}

#[cfg(not(feature = "redis"))]
fn no_redis(_: &str) -> Error {
    let words = "this build knows no Redis: turn on the feature `redis` of the crate `hulse`";
    Error::of(Kind::Usage, words)
}

/// Largest message whatever the settings say, bytes: what a link carries in one piece.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest time a message may be delayed: longer ones belong into a table.
const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages a group keeps.
    pub(crate) history_messages: usize,
    /// Bytes a group keeps.
    pub(crate) history_bytes: usize,
    /// How long it keeps them.
    pub(crate) history_age: Duration,
    /// How long after its last connection somebody still counts as present.
    pub(crate) presence_grace: Duration,
    /// Unread messages a channel holds.
    pub(crate) capacity: usize,
    /// How long it holds them.
    pub(crate) expiry: Duration,
    /// Delayed messages in all channels.
    pub(crate) delayed: usize,
}

impl Limits {
    fn new(settings: &conf::Channels) -> Self {
        Self {
            history_messages: settings.history_messages.max(1),
            history_bytes: settings.history_bytes,
            history_age: Duration::from_secs(settings.history_seconds),
            presence_grace: Duration::from_secs(settings.presence_grace_seconds),
            capacity: settings.capacity,
            expiry: Duration::from_secs(settings.expiry_seconds),
            delayed: settings.delayed_messages,
        }
    }
}

/// An epoch later than any of an earlier store: milliseconds since 1970 with room for 4096 groups
/// made in each, below 2^53 (a number any JSON reader keeps) until 2039.
fn epoch_now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> 12) << 12
}

/// An error if `message` is larger than `max` bytes.
fn too_large(message: &Message, max: usize) -> Result<()> {
    too_many_bytes(message.len(), max)
}

/// An error if a message of `length` bytes is larger than `max`.
fn too_many_bytes(length: usize, max: usize) -> Result<()> {
    if length <= max {
        return Ok(());
    }
    let words = format!("a message of {length} bytes: at most {max} are carried");
    Err(Error::of(Kind::MessageTooLarge, words))
}

/// The store answered something else than was asked: a defect of this room.
fn unexpected(reply: &members::Reply) -> Error {
    Error::of(Kind::Other, format!("the store answered out of turn: {reply:?}"))
}
