//! Taking back what connections were let in for: somebody has left, or may no longer do what he
//! could.
//!
//! Flow: a connection that was let in on somebody's word carries [`Mark`]s, and its worker is
//! subscribed to the layer's own groups of dismissals ([`Connection::watch`]), one on each shard →
//! [`Layer::dismiss`] publishes to all of them and waits for their places → each worker obeys
//! (`members/marks`) before it hands out anything that came behind.
//!
//! Invariants:
//! - A dismissal has a place among all messages of its shard: what is published after
//!   [`Layer::dismiss`] has returned reaches nobody it was about, on no worker.
//! - Also on one whose link was cut: the names of those groups sort before all others, and that is
//!   the order in which a worker is told what it missed. If the history does not reach, everybody
//!   marked is asked again.
//! - No name a site can make is one of theirs.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::members::{Reply, Suspicion};
use super::protocol::{Ask, Key};
use super::worker::unavailable;
use super::{Connection, GroupName, Layer, Message, Position};
use crate::error::{Error, Kind, Result};

/// The code of a connection that is dismissed: of those free for a site's own use, the one that
/// ends as the status 401 does.
pub(crate) const DISMISSED: u16 = 4401;
/// The code of one whose client is to come again, as whoever it is by now: a restart (RFC 6455's
/// registry).
pub(crate) const COME_AGAIN: u16 = 1012;
/// Marks of one dismissal.
const MARKS_MAX: usize = 10_000;

/// On whose word a connection was let in, opaque: `Mark::new("user 5")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark(u64);

impl Mark {
    /// The mark of a text: the first 64 bits of its SHA-256, the same on every machine.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(digest[..8].iter().fold(0, |mark, byte| mark << 8 | u64::from(*byte)))
    }

    /// The least, and the greatest.
    pub(super) const ENDS: (Self, Self) = (Self(u64::MIN), Self(u64::MAX));
}

/// Which connections to end, or to ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dismissal {
    /// Those with any of these marks.
    of: Vec<Mark>,
    /// But not those with this one.
    except: Option<Mark>,
    /// They may go on if they are let in again.
    may_stay: bool,
    /// Their clients are to come again.
    #[serde(default)]
    is_again: bool,
}

impl Dismissal {
    /// Ends all connections with this mark: sockets with 4401.
    #[must_use]
    pub fn close(mark: Mark) -> Self {
        Self { of: vec![mark], except: None, may_stay: false, is_again: false }
    }

    /// Ends all connections with this mark, so that they come again: sockets with 1012. What they
    /// were opened for has another name now, which only a new handshake brings.
    #[must_use]
    pub fn come_again(mark: Mark) -> Self {
        Self { is_again: true, ..Self::close(mark) }
    }

    /// Asks all connections with these marks, at most 10,000, whether they may stay. Until that is
    /// known nothing is delivered to them.
    #[must_use]
    pub fn ask_again(marks: impl IntoIterator<Item = Mark>) -> Self {
        let of = marks.into_iter().take(MARKS_MAX).collect();
        Self { of, except: None, may_stay: true, is_again: false }
    }

    /// Leaves those alone that have this mark too.
    #[must_use]
    pub fn except(self, mark: Mark) -> Self {
        Self { except: Some(mark), ..self }
    }

    pub(super) fn read(message: &Message) -> Option<Self> {
        serde_json::from_str(message.text()?).ok()
    }

    pub(super) fn marks(&self) -> &[Mark] {
        &self.of
    }

    pub(super) fn may_stay(&self) -> bool {
        self.may_stay
    }

    pub(super) fn is_again(&self) -> bool {
        self.is_again
    }

    /// Whether it is about a connection with these marks.
    pub(super) fn is_about(&self, marks: &[Mark]) -> bool {
        self.of.iter().any(|mark| marks.contains(mark)) && !self.spares(marks)
    }

    pub(super) fn spares(&self, marks: &[Mark]) -> bool {
        self.except.is_some_and(|except| marks.contains(&except))
    }
}

/// What a connection is marked with, for a process that goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marked {
    pub(crate) marks: Vec<Mark>,
    /// Up to where its process has obeyed.
    pub(crate) seen: Seen,
}

/// Up to where dismissals were obeyed: one place for each group of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen(pub(super) Vec<Position>);

impl Layer {
    /// Ends connections in all processes, or has them asked again. What is published after this has
    /// returned reaches none of them, unless it may stay.
    ///
    /// # Errors
    /// The store cannot be reached in time (`is_layer_unavailable`), or a shard of it. This
    /// process's connections are dismissed all the same, the others' when the store is back.
    pub async fn dismiss(&self, dismissal: &Dismissal) -> Result<()> {
        let message = Message::from(serde_json::to_string(dismissal)?);
        let (frame, worker) = (self.frame(&message)?, self.worker());
        let groups = worker.table().dismissal_groups();
        let published = groups.iter().map(|group| async {
            let (to, frame) = (group.clone(), frame.clone());
            let make = |key| Ask::Publish { key, retry: false, group: to, frame };
            match worker.request(message.len(), make).await {
                Ok(Reply::Published(_)) => Ok(()),
                Ok(reply) => Err(super::unexpected(&reply)),
                Err(error) => Err(error),
            }
        });
        let published = join_all(published).await;
        let missed = groups.iter().zip(&published).filter(|(_, done)| done.is_err());
        let missed: Vec<GroupName> = missed.map(|(group, _)| group.clone()).collect();
        if !missed.is_empty() {
            worker.change(|table| {
                table.dismiss_later(&missed, &frame);
                table.dismiss(dismissal);
            });
        }
        published.into_iter().collect()
    }
}

impl Connection {
    /// From now on it can be dismissed; up to where that has been done. To be called before it is
    /// asked on whose word it is, so that what changes meanwhile is noticed.
    ///
    /// # Errors
    /// The store cannot be reached in time, or the connection is closed.
    pub(crate) async fn watch(&self) -> Result<Seen> {
        // Bound first: a match would keep the table locked while it waits for the store.
        let missing = self.worker.table().watch(self.id);
        let missing = missing.ok_or_else(closed)?;
        let subscribed = missing.into_iter().map(|group| {
            let make = |key: Key| Ask::Subscribe { request: key.request, group };
            self.worker.request(0, make)
        });
        join_all(subscribed).await.into_iter().collect::<Result<Vec<Reply>>>()?;
        let seen = self.worker.table().seen();
        seen.ok_or_else(unavailable)
    }

    /// It is on the word of these. What was dismissed since `seen` is made up for at once.
    pub(crate) fn mark(&self, marks: &[Mark], seen: &Seen) {
        self.worker.change(|table| table.mark(self.id, marks, seen));
    }

    /// What another process must know to go on with it; `None`: it cannot, for it is in doubt.
    pub(crate) fn marked(&self) -> Option<Marked> {
        let table = self.worker.table();
        if table.is_doubtful(self.id) {
            return None;
        }
        let marks = table.marks_of(self.id);
        let seen = if marks.is_empty() { Seen::default() } else { table.seen()? };
        Some(Marked { marks, seen })
    }

    /// On whose word it is.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.worker.table().marks_of(self.id)
    }

    /// It may stay; unless there is a later doubt.
    pub(crate) fn settle(&self, doubt: Suspicion) {
        self.worker.table().settle(self.id, doubt);
    }

    /// Whether it may take part in `group` too, if `max` is how many it may be in.
    pub(crate) fn has_room(&self, group: &GroupName, max: usize) -> bool {
        self.worker.table().has_room(self.id, group, max)
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_closed(&self) -> bool {
        !self.worker.table().is_connected(self.id)
    }
}

fn closed() -> Error {
    Error::of(Kind::SocketClosed, "the connection is closed")
}
