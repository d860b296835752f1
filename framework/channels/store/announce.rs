//! What workers tell a store that lost its memory, and one whose link was cut.

use std::time::Duration;

use super::presence::settle;
use super::{CATCH_UP_BYTES_MAX, Effect, Phase, Store, Topic, WorkerId, presence_entry};
use crate::channels::protocol::{Ask, Entry, Named};
use crate::channels::{GroupName, Position};

impl Store {
    /// Whether all is announced that workers know, or has taken too long.
    pub(super) fn has_recovered(&self, now: Duration) -> bool {
        let Phase::Recovering { until, end, .. } = self.phase else { return false };
        now >= end || (now >= until && self.announcing.is_empty())
    }

    pub(super) fn announced(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) {
        match ask {
            Ask::Announce { .. } => self.adopt(worker, ask, effects),
            Ask::AnnounceEntry { group, epoch, entry } => {
                self.remember(now, &group, epoch, entry);
            }
            Ask::AnnounceNames { group, epoch, names } => {
                self.remember_names(now, &group, epoch, names);
            }
            Ask::AnnouncePerson { .. } => self.welcome(now, worker, ask, effects),
            _ => {}
        }
    }

    /// `worker` knows `group` up to `position`: take that over if it is the latest, and see that
    /// the worker gets what it misses.
    fn adopt(&mut self, worker: WorkerId, ask: Ask, effects: &mut Vec<Effect>) {
        let Ask::Announce { group, position, lineage } = ask else { return };
        self.epoch_next = self.epoch_next.max(position.epoch + 1);
        let is_known = self.topics.contains_key(&group);
        let topic = self.topics.entry(group.clone()).or_insert_with(|| Topic::new(0));
        if (self.phase.is_recovering() || !is_known) && position >= topic.position() {
            topic.advance(position, lineage);
        }
        topic.subscribers.insert(worker, position);
        if !self.phase.is_recovering() {
            if !is_known {
                topic.take_over(self.epoch_next);
                self.epoch_next += 1;
            }
            self.catch_up_one(worker, &group, effects);
        }
        self.peer(worker, |peer| peer.subscribed.insert(group));
    }

    /// Keeps a message that a worker still held.
    fn remember(&mut self, now: Duration, group: &GroupName, epoch: u64, entry: Entry) {
        if !self.phase.is_recovering() {
            self.remember_late(now, group, epoch, entry);
            return;
        }
        if let Some(topic) = self.topics.get_mut(group) {
            topic.remember(epoch, entry, &self.limits);
        }
    }

    /// Keeps what a worker knew by name alone.
    fn remember_names(&mut self, now: Duration, group: &GroupName, epoch: u64, names: Vec<Named>) {
        let Some(topic) = self.topics.get_mut(group) else { return };
        if self.phase.is_recovering() {
            return topic.remember_names(epoch, names);
        }
        let bytes = topic.ring.bytes();
        topic.learn(now, epoch, names);
        self.history_bytes = self.history_bytes + topic.ring.bytes() - bytes;
    }

    /// A worker that was slow tells what it holds, newest first: it is kept where it is the one
    /// before those that are known, else its name. Else what it asks again would be sent twice.
    fn remember_late(&mut self, now: Duration, group: &GroupName, epoch: u64, entry: Entry) {
        let Some(topic) = self.topics.get_mut(group) else { return };
        let first = topic.ring.first().unwrap_or(topic.top + 1);
        let position = Position { epoch, offset: entry.offset };
        let is_before = entry.offset + 1 == first && topic.lineage.leads_from(position);
        if is_before && topic.ring.len() < self.limits.history_messages {
            let bytes = topic.ring.bytes();
            topic.ring.extend_back(now, &[entry]);
            self.history_bytes += topic.ring.bytes() - bytes;
        } else if !entry.is_presence {
            let name = Named { offset: entry.offset, key: entry.key };
            self.remember_names(now, group, epoch, vec![name]);
        }
    }

    /// Counts a presence. While recovering everybody knows of it already, unless it was counted
    /// behind what is left of the group's order.
    fn welcome(&mut self, now: Duration, worker: WorkerId, ask: Ask, effects: &mut Vec<Effect>) {
        let Ask::AnnouncePerson { group, connection, person } = ask else { return };
        let is_known = self.topics.contains_key(&group);
        let topic = self.topics.entry(group.clone()).or_insert_with(|| Topic::new(0));
        let joined = person.joined.clone();
        if self.phase.is_recovering() {
            topic.claims.push((person.key.clone(), person.since));
        }
        let (is_first, waiting) = topic.roster.add((worker, connection), person);
        settle(&waiting, effects);
        if !self.phase.is_recovering() && !is_known {
            topic.take_over(self.epoch_next);
            self.epoch_next += 1;
        }
        if is_first && !self.phase.is_recovering() {
            self.publish(now, &group, presence_entry(joined), effects);
        }
        self.peer(worker, |peer| peer.present.insert((group, connection)));
    }

    /// The end of recovery: histories are put together, laggards told, what waited is answered.
    pub(super) fn open(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.phase = Phase::Open;
        self.announcing.clear();
        let mut groups: Vec<GroupName> = self.topics.keys().cloned().collect();
        groups.sort();
        for group in groups {
            let Some(topic) = self.topics.get_mut(&group) else { continue };
            topic.take_over(self.epoch_next);
            self.epoch_next += 1;
            topic.put_together(now, &self.limits);
            self.history_bytes += topic.ring.bytes();
            let unheard = topic.unheard();
            let workers: Vec<WorkerId> = topic.subscribers.keys().copied().collect();
            for worker in workers {
                self.catch_up_one(worker, &group, effects);
            }
            for joined in unheard {
                self.publish(now, &group, presence_entry(joined), effects);
            }
        }
        for (worker, ask) in std::mem::take(&mut self.deferred) {
            match ask {
                Some(ask) => self.answer(now, worker, ask, effects),
                None => self.forget(now, worker, effects),
            }
        }
    }

    pub(super) fn catch_up_one(
        &mut self,
        worker: WorkerId,
        group: &GroupName,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.workers.get_mut(&worker).filter(|peer| !peer.is_blocked) else {
            return;
        };
        if let Some(topic) = self.topics.get_mut(group) {
            peer.is_blocked = topic.catch_up(worker, group, CATCH_UP_BYTES_MAX, effects) == 0;
        }
    }
}
