//! What was asked of Redis, so that the next reply is understood.

use crate::channels::protocol::Entry;
use crate::channels::{GroupName, Position};

/// MiB of replies asked for at once: Redis cuts a link when 32 MiB wait to be read.
pub(super) const WEIGHT_MAX: usize = 16;

/// What the next reply is the answer to.
#[derive(Debug)]
pub(super) enum Expect {
    Nothing,
    Beat,
    Subscribed {
        request: u64,
        group: GroupName,
    },
    Past {
        group: GroupName,
        since: Option<Position>,
        purpose: Purpose,
    },
    Published {
        request: u64,
    },
    Entered {
        request: u64,
    },
    Left {
        request: u64,
    },
    Done {
        request: u64,
    },
    Sent {
        request: u64,
    },
    Received {
        request: u64,
        channel: GroupName,
    },
    Called {
        request: u64,
    },
    Awaited {
        request: u64,
    },
    Inspected {
        request: u64,
    },
    /// And under which key Redis keeps the outcome until it is heard, if it does.
    Valued {
        request: u64,
        kept: Option<String>,
    },
    Present {
        request: u64,
    },
    Members {
        request: u64,
    },
    Surveyed {
        request: u64,
    },
    Forgotten {
        request: u64,
    },
}

/// What a page of a group's past is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// This worker misses it.
    CatchUp,
    /// Somebody asked for so many; what has come of them.
    History { request: u64, limit: usize, entries: Vec<Entry> },
}

impl Expect {
    /// How much of a link it may take until it is read, in MiB.
    pub(super) fn weight(&self) -> usize {
        match self {
            // A page; a page of the latest is all of them.
            Self::Past { since: Some(_), .. } => 1,
            Self::Past { since: None, .. } => WEIGHT_MAX,
            // A roster.
            Self::Entered { .. } => 2,
            Self::Present { .. } => 8,
            _ => 0,
        }
    }
}
