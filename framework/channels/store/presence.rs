//! Coming and going: what the store does when a presence begins or ends.

use std::time::Duration;

use super::roster::{Left, Owner};
use super::{Effect, Store, WorkerId, presence_entry, tell, topic_of};
use crate::channels::GroupName;
use crate::channels::protocol::{Ask, Tell};

impl Store {
    pub(super) fn enter(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) {
        let Ask::Enter { request, group, connection, person } = ask else { return };
        let owner = (worker, connection);
        let Some(topic) = topic_of(&mut self.topics, &mut self.epoch_next, &group) else { return };
        if topic.roster.key_of(owner).is_some_and(|key| *key != *person.key) {
            self.leave(now, owner, &group, effects);
        }
        let Some(topic) = self.topics.get_mut(&group) else { return };
        let history = topic.latest();
        let roster = topic.roster.others(&person.key);
        let joined = person.joined.clone();
        let (first, waiting) = topic.roster.add(owner, person);
        settle(&waiting, effects);
        if first {
            self.publish(now, &group, presence_entry(joined), effects);
        }
        let position = self.topics[&group].position();
        self.peer(worker, |peer| peer.present.insert((group, connection)));
        tell(effects, worker, Tell::Entered { request, position, first, roster, history });
    }

    /// Ends a presence at the wish of its worker, which is told when it has ended.
    pub(super) fn ask_leave(
        &mut self,
        now: Duration,
        owner: Owner,
        (request, group): (u64, GroupName),
        effects: &mut Vec<Effect>,
    ) {
        let (worker, connection) = owner;
        match self.leave(now, owner, &group, effects) {
            None => tell(effects, worker, Tell::Done { request }),
            Some(key) => {
                if let Some(topic) = self.topics.get_mut(&group) {
                    topic.roster.wait(&key, worker, request);
                }
            }
        }
        self.peer(worker, |peer| peer.present.remove(&(group, connection)));
    }

    /// Ends a presence; the last of its key tells the group, or waits first. Then it is this key.
    pub(super) fn leave(
        &mut self,
        now: Duration,
        owner: Owner,
        group: &GroupName,
        effects: &mut Vec<Effect>,
    ) -> Option<Box<str>> {
        match self.topics.get_mut(group)?.roster.remove(now, owner) {
            Left::Held => None,
            Left::Gone(frame) => {
                self.publish(now, group, presence_entry(frame), effects);
                None
            }
            Left::Later(end, key) => {
                self.leaving.insert((end, group.clone(), key.clone()));
                Some(key)
            }
        }
    }

    /// Ends what has waited long enough.
    pub(super) fn end_graces(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while self.leaving.first().is_some_and(|(end, ..)| *end <= now) {
            let Some((end, group, key)) = self.leaving.pop_first() else { break };
            let ended = self.topics.get_mut(&group).and_then(|t| t.roster.end(&key, end));
            if let Some((frame, waiting)) = ended {
                self.publish(now, &group, presence_entry(frame), effects);
                settle(&waiting, effects);
            }
        }
    }
}

/// Tells those who asked for an end that it is settled.
pub(super) fn settle(waiting: &[(WorkerId, u64)], effects: &mut Vec<Effect>) {
    for (worker, request) in waiting {
        tell(effects, *worker, Tell::Done { request: *request });
    }
}
