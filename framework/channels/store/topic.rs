//! A group as the store sees it: its order, its latest messages, who listens and who is present.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::roster::Roster;
use super::{Effect, WorkerId, tell};
use crate::channels::frame::Frame;
use crate::channels::position::Lineage;
use crate::channels::protocol::{Entry, Key, Named, Tell};
use crate::channels::ring::{NAMES_AGE, NAMES_MAX, Ring};
use crate::channels::{GroupName, Limits, Position};

/// Messages a newcomer is shown.
const HISTORY_SHOWN_MAX: usize = 50;
/// Bytes a newcomer is shown.
const HISTORY_SHOWN_BYTES_MAX: usize = 256 * 1024;

/// How long a worker is not told the names of what came before again.
const NAMES_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of one answer with messages; a link carries a little more in one piece.
const HISTORY_BYTES_MAX: usize = 17 * 1024 * 1024;
/// What an entry costs beside its frame on a link, bytes.
const ENTRY_BYTES_MAX: usize = 32;

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
    pub(super) roster: Roster,
    /// Since the store knows it.
    pub(super) messages: u64,
    /// How often a worker was told that something is lost to it.
    pub(super) gaps: u64,
    /// What workers announced while recovering, by offset.
    announced: BTreeMap<u64, Entry>,
    /// What they knew by name alone.
    names: BTreeMap<u64, Key>,
    /// Who was just told the names of what came before.
    told_names: BTreeMap<WorkerId, Duration>,
    /// Since when workers said that somebody is counted, while recovering; by key.
    pub(super) claims: Vec<(Box<str>, Position)>,
}

impl Topic {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            top: 0,
            lineage: Lineage::default(),
            ring: Ring::default(),
            subscribers: BTreeMap::new(),
            roster: Roster::default(),
            messages: 0,
            gaps: 0,
            announced: BTreeMap::new(),
            names: BTreeMap::new(),
            told_names: BTreeMap::new(),
            claims: Vec::new(),
        }
    }

    /// While recovering: a worker knows the group up to `position`. What others announced stays as
    /// far as that is on the way there: a worker that had not heard of the store before this one
    /// calls places by their names of before.
    pub(super) fn advance(&mut self, position: Position, lineage: Lineage) {
        let epoch = self.epoch;
        if epoch != position.epoch {
            // What lies behind the new end was lost, whatever the one before it had.
            let is_on_the_way = |offset: u64| {
                offset <= position.offset && lineage.leads_from(Position { epoch, offset })
            };
            self.announced.retain(|offset, _| is_on_the_way(*offset));
            self.names.retain(|offset, _| is_on_the_way(*offset));
        }
        // Who was told of a gap knows less of what led here than others.
        if epoch != position.epoch || lineage.ends().len() > self.lineage.ends().len() {
            self.lineage = lineage;
        }
        self.epoch = position.epoch;
        self.top = position.offset;
    }

    /// Whether a place that a worker tells of is one of this order.
    fn has_place(&self, epoch: u64, offset: u64) -> bool {
        self.lineage.renamed(Position { epoch, offset }, self.position()).is_some()
    }

    /// While recovering: keeps a message that a worker still held.
    pub(super) fn remember(&mut self, epoch: u64, entry: Entry, limits: &Limits) {
        if self.has_place(epoch, entry.offset) {
            self.announced.insert(entry.offset, entry);
            if self.announced.len() > limits.history_messages {
                self.announced.pop_first();
            }
        }
    }

    /// While recovering: keeps what a worker knew by name alone.
    pub(super) fn remember_names(&mut self, epoch: u64, names: Vec<Named>) {
        for Named { offset, key } in names {
            if self.has_place(epoch, offset) {
                self.names.insert(offset, key);
            }
        }
        while self.names.len() > NAMES_MAX {
            self.names.pop_first();
        }
    }

    /// As [`remember_names`](Self::remember_names), later.
    pub(super) fn learn(&mut self, now: Duration, epoch: u64, names: Vec<Named>) {
        let top = self.position();
        let Self { lineage, ring, .. } = self;
        let has_place =
            |name: &Named| lineage.renamed(Position { epoch, offset: name.offset }, top).is_some();
        ring.add_names(now, names.into_iter().filter(has_place));
    }

    /// What a worker that is new here is to know of what came before; nothing if it is so often,
    /// for whoever comes and goes costs a look at each.
    pub(super) fn names_for(&mut self, worker: WorkerId, now: Duration) -> Vec<Named> {
        self.told_names.retain(|_, at| now.saturating_sub(*at) < NAMES_PAUSE);
        if self.told_names.contains_key(&worker) {
            return Vec::new();
        }
        let names = self.ring.names(u64::MAX, now.saturating_sub(NAMES_AGE));
        let names: Vec<Named> = names.collect();
        if !names.is_empty() {
            self.told_names.insert(worker, now);
        }
        names
    }

    /// The end of recovery: what was announced becomes the history.
    pub(super) fn put_together(&mut self, now: Duration, limits: &Limits) {
        for (_, entry) in std::mem::take(&mut self.announced) {
            self.ring.push(now, entry, limits);
        }
        if self.ring.get(self.top).is_none() {
            self.ring.keep_names();
        }
        let names = std::mem::take(&mut self.names).into_iter();
        self.ring.add_names(now, names.map(|(offset, key)| Named { offset, key }));
    }

    /// Takes over from an earlier store, in an epoch of our own: a worker that knows more than
    /// those we have heard cannot take what we add for what it has.
    pub(super) fn take_over(&mut self, epoch: u64) {
        if self.epoch != 0 {
            self.lineage.end(self.position());
        }
        self.epoch = epoch;
    }

    /// What the others are to be told of who is here: that they came was lost with an earlier
    /// store, or the last that was heard is that they left.
    pub(super) fn unheard(&mut self) -> Vec<Frame> {
        let top = self.position();
        let claims = std::mem::take(&mut self.claims);
        let is_heard = |since: Position| self.lineage.renamed(since, top).is_some();
        let heard: BTreeSet<Box<str>> =
            claims.into_iter().filter(|(_, since)| is_heard(*since)).map(|(key, _)| key).collect();
        self.roster.unheard(&heard, &self.ring)
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.roster.is_empty() && self.ring.bytes() == 0
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
            self.gaps += 1;
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
