//! A group as the store sees it: its order, its latest messages, who listens and who is present.

use std::collections::BTreeMap;

use super::{Effect, WorkerId, tell};
use crate::channels::frame::Frame;
use crate::channels::position::Lineage;
use crate::channels::protocol::{Entry, Person, Tell};
use crate::channels::ring::Ring;
use crate::channels::{GroupName, Position};

/// Messages a newcomer is shown.
const HISTORY_SHOWN_MAX: usize = 50;
/// Bytes a newcomer is shown.
const HISTORY_SHOWN_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the roster a newcomer gets; who does not fit is left out.
const ROSTER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of one answer with messages; a link carries a little more in one piece.
const HISTORY_BYTES_MAX: usize = 17 * 1024 * 1024;
/// What an entry costs beside its frame on a link, bytes.
const ENTRY_BYTES_MAX: usize = 32;

/// A connection of a worker.
type Owner = (WorkerId, u64);

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) epoch: u64,
    /// Offset of the last message.
    pub(super) top: u64,
    /// Epochs given by earlier stores, whose offsets go on here.
    pub(super) lineage: Lineage,
    pub(super) ring: Ring,
    /// Up to where each subscribed worker has been told.
    pub(super) subscribers: BTreeMap<WorkerId, Position>,
    /// By key.
    present: BTreeMap<Box<str>, Present>,
    owners: BTreeMap<Owner, Box<str>>,
    /// What workers announced while recovering, by offset.
    pub(super) announced: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Present {
    person: Person,
    connections: usize,
}

impl Topic {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            top: 0,
            lineage: Lineage::default(),
            ring: Ring::default(),
            subscribers: BTreeMap::new(),
            present: BTreeMap::new(),
            owners: BTreeMap::new(),
            announced: BTreeMap::new(),
        }
    }

    /// Takes over from an earlier store, in an epoch of our own: a worker that knows more than
    /// those we have heard cannot take what we add for what it has.
    pub(super) fn take_over(&mut self, epoch: u64) {
        if self.epoch != 0 {
            self.lineage.end(self.position());
        }
        self.epoch = epoch;
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.owners.is_empty() && self.ring.is_empty()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> std::collections::BTreeSet<String> {
        self.present.keys().map(ToString::to_string).collect()
    }

    pub(super) fn key_of(&self, owner: Owner) -> Option<&str> {
        self.owners.get(&owner).map(AsRef::as_ref)
    }

    /// Counts `owner` under the person's key; whether it is the first there.
    pub(super) fn add(&mut self, owner: Owner, person: Person) -> bool {
        if self.owners.insert(owner, person.key.clone()).is_some() {
            return false;
        }
        let key = person.key.clone();
        let present = self.present.entry(key).or_insert(Present { person, connections: 0 });
        present.connections += 1;
        present.connections == 1
    }

    /// Uncounts `owner`; what to tell the group if it was the last of its key.
    pub(super) fn remove(&mut self, owner: Owner) -> Option<Frame> {
        let key = self.owners.remove(&owner)?;
        let present = self.present.get_mut(&key)?;
        present.connections -= 1;
        if present.connections > 0 {
            return None;
        }
        self.present.remove(&key).map(|present| present.person.left)
    }

    /// The `joined` of everybody but `key`.
    pub(super) fn roster(&self, key: &str) -> Vec<Frame> {
        let mut bytes = 0;
        self.present
            .iter()
            .filter(|(other, _)| ***other != *key)
            .map(|(_, present)| present.person.joined.clone())
            .take_while(|frame| {
                bytes += frame.len();
                bytes <= ROSTER_BYTES_MAX
            })
            .collect()
    }

    /// The latest messages a newcomer may read, oldest first.
    pub(super) fn latest(&self) -> Vec<Frame> {
        let mut bytes = 0;
        let mut frames: Vec<Frame> = self
            .ring
            .iter()
            .rev()
            .filter(|entry| !entry.is_presence)
            .take(HISTORY_SHOWN_MAX)
            .map(|entry| entry.frame.clone())
            .take_while(|frame| {
                bytes += frame.len();
                bytes <= HISTORY_SHOWN_BYTES_MAX
            })
            .collect();
        frames.reverse();
        frames
    }

    /// At most `limit` messages after `since`, oldest first, and whether none is missing before
    /// them; without `since` the latest.
    pub(super) fn history(&self, since: Option<Position>, limit: usize) -> (bool, Vec<Entry>) {
        let mut bytes = 0;
        let has_room = |entry: &&Entry| {
            bytes += ENTRY_BYTES_MAX + entry.frame.len();
            bytes <= HISTORY_BYTES_MAX
        };
        let Some(since) = since else {
            let latest = self.ring.iter().rev().take(limit).take_while(has_room);
            let mut latest: Vec<Entry> = latest.cloned().collect();
            latest.reverse();
            return (false, latest);
        };
        let Some(since) = self.lineage.renamed(since, self.position()) else {
            return (false, Vec::new());
        };
        let Some(missed) = self.ring.after(since.offset) else {
            return (since.offset == self.top, Vec::new());
        };
        (true, missed.take(limit).take_while(has_room).cloned().collect())
    }

    /// Tells `worker` what comes after its cursor, or that it is lost; at most about `room` bytes.
    /// Answers with the room that is left: 0 means there is more.
    pub(super) fn catch_up(
        &mut self,
        worker: WorkerId,
        group: &GroupName,
        mut room: usize,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let top = self.position();
        let Some(cursor) = self.subscribers.get_mut(&worker) else { return room };
        if let Some(position) = self.lineage.renamed(*cursor, top)
            && position != *cursor
        {
            *cursor = position;
            let (group, lineage) = (group.clone(), self.lineage.clone());
            tell(effects, worker, Tell::Renew { group, position, lineage });
        }
        let is_held = cursor.offset >= top.offset || self.ring.get(cursor.offset + 1).is_some();
        if cursor.epoch != top.epoch || cursor.offset > top.offset || !is_held {
            *cursor = top;
            tell(effects, worker, Tell::Gap { group: group.clone(), position: top });
        }
        while room > 0 && cursor.offset < top.offset {
            let Some(entry) = self.ring.get(cursor.offset + 1) else { break };
            cursor.offset += 1;
            room = room.saturating_sub(entry.frame.len());
            let (group, entry) = (group.clone(), entry.clone());
            tell(effects, worker, Tell::Deliver { group, epoch: top.epoch, entry });
        }
        room
    }
}
