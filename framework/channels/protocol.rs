//! What a worker asks of the store, and what the store tells a worker.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::calls::{ChannelAsk, ChannelTell};
use super::frame::Frame;
use super::groups::{GroupAsk, GroupTell};
use super::position::Lineage;
use super::values::calls::{Outcome, ValueAsk};
use super::{GroupName, Position};
use crate::error::{Error, Kind, Result};

/// Longest name of a message, bytes.
const NAME_BYTES_MAX: usize = 200;

/// Protocol version in [`Ask::Hello`]; another one is refused.
pub(crate) const VERSION: u32 = 5;

/// Names one publish for ever, so that a repeated one is recognised: the sender's random session
/// and the number of its request; or a digest of the name a sender gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) session: u64,
    pub(crate) request: u64,
}

impl Key {
    /// The key of what its sender calls `name`.
    pub(super) fn named(name: &str) -> Result<Self> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            let words = format!("the name of a message has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::of(Kind::BadGroupName, words));
        }
        let digest = Sha256::digest(name.as_bytes());
        let half = |at: usize| u64::from_le_bytes(digest[at..at + 8].try_into().expect("8 bytes"));
        Ok(Self { session: half(0), request: half(8) })
    }
}

/// One message of a group, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) key: Key,
    /// What it is the latest of, a digest: it takes the place of those before. 0: of nothing.
    pub(crate) of: u64,
    /// Made by the store because somebody came or went; no part of what a newcomer reads.
    pub(crate) is_presence: bool,
    pub(crate) frame: Frame,
}

/// The place of a message whose sender may say it again, without the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) offset: u64,
    pub(crate) key: Key,
}

/// A presence with its messages encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) key: Box<str>,
    /// How long after its last connection it still counts as present.
    pub(crate) grace: Duration,
    /// Where the group's order was when it was counted, `joined` included; 0-0 before that.
    pub(crate) since: Position,
    pub(crate) joined: Frame,
    pub(crate) left: Frame,
}

/// From a worker. `request` numbers are the worker's own; the answer carries them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The first word. `resumed`: this worker was linked before, announcements follow.
    Hello {
        version: u32,
        resumed: bool,
        /// The largest epoch, version or token it has seen: later ones are larger.
        latest: u64,
    },
    /// After a new link: this worker has members of `group` and knows it up to `position`.
    Announce {
        group: GroupName,
        position: Position,
        lineage: Lineage,
    },
    /// A message of an announced group this worker still holds.
    AnnounceEntry {
        group: GroupName,
        epoch: u64,
        entry: Entry,
    },
    /// What it knows came before those, newest first.
    AnnounceNames {
        group: GroupName,
        epoch: u64,
        names: Vec<Named>,
    },
    /// A presence of one of its connections.
    AnnouncePerson {
        group: GroupName,
        connection: u64,
        person: Person,
    },
    /// All that is to be announced was.
    Announced,
    Subscribe {
        request: u64,
        group: GroupName,
    },
    Unsubscribe {
        group: GroupName,
    },
    /// `retry`: it may have arrived before.
    Publish {
        key: Key,
        retry: bool,
        group: GroupName,
        frame: Frame,
    },
    Enter {
        request: u64,
        group: GroupName,
        connection: u64,
        person: Person,
    },
    /// Ends a presence. Answered, so that it is repeated if the store dies meanwhile.
    Leave {
        request: u64,
        group: GroupName,
        connection: u64,
    },
    Send {
        key: Key,
        retry: bool,
        channel: GroupName,
        frame: Frame,
    },
    Receive {
        request: u64,
        channel: GroupName,
    },
    Cancel {
        request: u64,
        channel: GroupName,
    },
    /// A message of a channel reached this worker when nobody waited for it any more.
    Return {
        channel: GroupName,
        /// The one it was handed out with.
        number: u64,
        frame: Frame,
    },
    /// A message that takes the place of those before it of the same thing, for who lags.
    PublishLatest {
        key: Key,
        retry: bool,
        group: GroupName,
        of: u64,
        frame: Frame,
    },
    /// Something about groups.
    Group(GroupAsk),
    /// Something of the values, counters and locks.
    Value(ValueAsk),
    /// A message that its sender named: it is published once, however often it comes.
    PublishOnce {
        request: u64,
        key: Key,
        group: GroupName,
        frame: Frame,
    },
    /// At most `limit` messages after `since`; without it the latest.
    History {
        request: u64,
        group: GroupName,
        since: Option<Position>,
        limit: u32,
    },
    /// More about named channels.
    Channel(ChannelAsk),
}

/// What an [`Ask`] is about, for a store in several parts.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    /// The link itself, or all parts.
    All,
    /// What has this name.
    Name(&'a str),
    /// The question with this key.
    Question(Key),
}

impl Ask {
    /// What it is about.
    #[cfg(feature = "redis")]
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::Hello { .. } | Self::Announced => Subject::All,
            Self::Announce { group: name, .. }
            | Self::AnnounceEntry { group: name, .. }
            | Self::AnnounceNames { group: name, .. }
            | Self::AnnouncePerson { group: name, .. }
            | Self::Subscribe { group: name, .. }
            | Self::Unsubscribe { group: name }
            | Self::Publish { group: name, .. }
            | Self::PublishOnce { group: name, .. }
            | Self::PublishLatest { group: name, .. }
            | Self::Enter { group: name, .. }
            | Self::Leave { group: name, .. }
            | Self::History { group: name, .. }
            | Self::Send { channel: name, .. }
            | Self::Receive { channel: name, .. }
            | Self::Cancel { channel: name, .. }
            | Self::Return { channel: name, .. } => Subject::Name(name.as_str()),
            Self::Value(ask) => Subject::Name(&ask.name),
            Self::Channel(ask) => ask.subject(),
            Self::Group(ask) => ask.subject(),
        }
    }

    /// Whether it holds a message that nobody else has: it outlives a link.
    pub(super) fn goes_back(&self) -> bool {
        matches!(self, Self::Return { .. } | Self::Channel(ChannelAsk::Return { .. }))
    }
}

/// From the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// The worker is subscribed; messages after `position` follow.
    Subscribed {
        request: u64,
        group: GroupName,
        position: Position,
        lineage: Lineage,
    },
    /// Behind [`Subscribed`](Self::Subscribed): the latest that came before, newest first. Should
    /// the store die, this worker knows them.
    Names {
        group: GroupName,
        epoch: u64,
        names: Vec<Named>,
    },
    Published {
        request: u64,
        position: Position,
    },
    Entered {
        request: u64,
        position: Position,
        first: bool,
        roster: Vec<Frame>,
        history: Vec<Frame>,
    },
    /// A request without a result of its own is done.
    Done {
        request: u64,
    },
    /// The channel is full.
    Full {
        request: u64,
    },
    Received {
        request: u64,
        channel: GroupName,
        /// Grows in the channel: what is given back goes where it was.
        number: u64,
        frame: Frame,
    },
    Deliver {
        group: GroupName,
        epoch: u64,
        entry: Entry,
    },
    /// The worker's position is called this from now on: nothing is lost, but the store restarted
    /// and counts in a new epoch.
    Renew {
        group: GroupName,
        position: Position,
        lineage: Lineage,
    },
    /// What lies between the worker's position and this one is lost to it.
    Gap {
        group: GroupName,
        position: Position,
    },
    Group(GroupTell),
    Valued {
        request: u64,
        outcome: Outcome,
    },
    /// The messages follow `since` without a hole if they are `recovered`.
    History {
        request: u64,
        top: Position,
        recovered: bool,
        entries: Vec<Entry>,
    },
    /// More about named channels.
    Channel(ChannelTell),
}
