//! What workers tell a store that lost its memory, and one whose link was cut.

use std::time::Duration;

use super::{CATCH_UP_BYTES_MAX, Effect, Phase, Store, Topic, WorkerId, presence_entry};
use crate::channels::GroupName;
use crate::channels::protocol::{Ask, Entry, Person, Position};

impl Store {
    pub(super) fn announced(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) {
        match ask {
            Ask::Announce { group, position } => {
                self.adopt(worker, &group, position, effects);
            }
            Ask::AnnounceEntry { group, epoch, entry } => self.remember(&group, epoch, entry),
            Ask::AnnouncePerson { group, connection, person } => {
                self.welcome(now, (worker, connection), group, person, effects);
            }
            _ => {}
        }
    }

    fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Recovering { .. })
    }

    /// `worker` knows `group` up to `position`: take over what is later than ours, if it can be.
    fn adopt(
        &mut self,
        worker: WorkerId,
        group: &GroupName,
        position: Position,
        effects: &mut Vec<Effect>,
    ) {
        self.epoch_next = self.epoch_next.max(position.epoch + 1);
        let topic = self.topics.entry(group.clone()).or_insert_with(|| Topic::new(0));
        if position > topic.position() {
            if topic.has_assigned {
                // Two histories share these offsets; neither may pass for the other.
                topic.epoch = self.epoch_next;
                self.epoch_next += 1;
                topic.ring.clear();
            } else {
                if topic.epoch != position.epoch {
                    topic.announced.clear();
                    topic.ring.clear();
                }
                topic.epoch = position.epoch;
                topic.top = position.offset;
            }
        }
        topic.subscribers.insert(worker, position);
        let others: Vec<WorkerId> = topic.subscribers.keys().copied().collect();
        self.peer(worker, |peer| peer.subscribed.insert(group.clone()));
        if !self.is_recovering() {
            for other in others {
                self.catch_up_one(other, group, effects);
            }
        }
    }

    /// Keeps a message that a worker still held; only a store that is recovering needs it.
    fn remember(&mut self, group: &GroupName, epoch: u64, entry: Entry) {
        if !self.is_recovering() {
            return;
        }
        if let Some(topic) = self.topics.get_mut(group)
            && topic.epoch == epoch
            && entry.offset <= topic.top
        {
            topic.announced.insert(entry.offset, entry);
            if topic.announced.len() > self.limits.history_messages {
                topic.announced.pop_first();
            }
        }
    }

    /// Counts a presence. While recovering everybody knows of it already.
    fn welcome(
        &mut self,
        now: Duration,
        owner: (WorkerId, u64),
        group: GroupName,
        person: Person,
        effects: &mut Vec<Effect>,
    ) {
        let topic = self.topics.entry(group.clone()).or_insert_with(|| Topic::new(0));
        let joined = person.joined.clone();
        if topic.add(owner, person) && !self.is_recovering() {
            self.number(&group);
            self.publish(now, &group, presence_entry(joined), effects);
        }
        self.peer(owner.0, |peer| peer.present.insert((group, owner.1)));
    }

    /// Gives a group that nobody knew a position for its epoch.
    fn number(&mut self, group: &GroupName) {
        if let Some(topic) = self.topics.get_mut(group)
            && topic.epoch == 0
        {
            topic.epoch = self.epoch_next;
            self.epoch_next += 1;
        }
    }

    /// The end of recovery: histories are put together, laggards told, what waited is answered.
    pub(super) fn open(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.phase = Phase::Open;
        let mut groups: Vec<GroupName> = self.topics.keys().cloned().collect();
        groups.sort();
        for group in groups {
            self.number(&group);
            let Some(topic) = self.topics.get_mut(&group) else { continue };
            for (_, entry) in std::mem::take(&mut topic.announced) {
                topic.ring.push(now, entry, &self.limits);
            }
            if topic.ring.get(topic.top).is_none() {
                topic.ring.clear();
            }
            self.history_bytes += topic.ring.bytes();
            let workers: Vec<WorkerId> = topic.subscribers.keys().copied().collect();
            for worker in workers {
                self.catch_up_one(worker, &group, effects);
            }
        }
        for (worker, ask) in std::mem::take(&mut self.deferred) {
            self.answer(now, worker, ask, effects);
        }
    }

    fn catch_up_one(&mut self, worker: WorkerId, group: &GroupName, effects: &mut Vec<Effect>) {
        let Some(peer) = self.workers.get_mut(&worker).filter(|peer| !peer.is_blocked) else {
            return;
        };
        if let Some(topic) = self.topics.get_mut(group) {
            peer.is_blocked = topic.catch_up(worker, group, CATCH_UP_BYTES_MAX, effects) == 0;
        }
    }
}
