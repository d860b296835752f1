//! What the store is asked about its groups: who is there, numbers, whether a worker has all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, Peer, Store, To, WorkerId, tell, topic_of};
use crate::channels::groups::{GroupAsk, GroupTell};
use crate::channels::protocol::Tell;
use crate::channels::{GroupName, GroupStatistics, MEMBERS_MAX, Position};

/// How long a worker may take to count its members.
const POLL_MAX: Duration = Duration::from_secs(10);

/// A question every worker with members of a group is asked.
#[derive(Debug)]
pub(super) struct Poll {
    asked: (WorkerId, u64),
    waits_for: BTreeSet<WorkerId>,
    names: Vec<GroupName>,
    until: Duration,
}

impl Store {
    pub(super) fn inspect(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: GroupAsk,
        effects: &mut Vec<Effect>,
    ) {
        match ask {
            GroupAsk::Present { request, group } => {
                let people = self.topics.get(&group).map(|topic| topic.roster.people());
                let people = people.unwrap_or_default();
                tell(effects, worker, Tell::Group(GroupTell::Present { request, people }));
            }
            GroupAsk::Members { request, group } => {
                self.begin_poll(now, (worker, request), &group, effects);
            }
            GroupAsk::Counted { poll, names } => self.count(worker, poll, names, effects),
            GroupAsk::Inspect { request, group } => {
                let numbers = self.numbers(now, group.as_ref());
                tell(effects, worker, Tell::Group(GroupTell::Inspected { request, numbers }));
            }
            GroupAsk::Flush { request } => {
                self.flush(effects);
                tell(effects, worker, Tell::Done { request });
            }
            GroupAsk::Compare { group, position } => {
                self.compare(worker, group, position, effects);
            }
        }
    }

    fn begin_poll(
        &mut self,
        now: Duration,
        asked: (WorkerId, u64),
        group: &GroupName,
        effects: &mut Vec<Effect>,
    ) {
        let topic = self.topics.get(group);
        let workers = topic.map(|topic| topic.subscribers.keys().copied().collect());
        let waits_for: BTreeSet<WorkerId> = workers.unwrap_or_default();
        self.poll_last += 1;
        let poll = self.poll_last;
        if !waits_for.is_empty() {
            let to = To::Many(waits_for.iter().copied().collect());
            let count = GroupTell::Count { poll, group: group.clone() };
            effects.push(Effect { to, tell: Tell::Group(count) });
        }
        let until = now + POLL_MAX;
        self.polls.insert(poll, Poll { asked, waits_for, names: Vec::new(), until });
        self.end_poll(poll, effects);
    }

    fn count(
        &mut self,
        worker: WorkerId,
        number: u64,
        mut names: Vec<GroupName>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(poll) = self.polls.get_mut(&number) else { return };
        if poll.waits_for.remove(&worker) {
            names.truncate(MEMBERS_MAX.saturating_sub(poll.names.len()));
            poll.names.append(&mut names);
            self.end_poll(number, effects);
        }
    }

    /// Answers if everybody has counted.
    fn end_poll(&mut self, number: u64, effects: &mut Vec<Effect>) {
        if self.polls.get(&number).is_some_and(|poll| poll.waits_for.is_empty())
            && let Some(mut poll) = self.polls.remove(&number)
        {
            let (worker, request) = poll.asked;
            poll.names.sort();
            let names = poll.names;
            tell(effects, worker, Tell::Group(GroupTell::Members { request, names }));
        }
    }

    /// `worker` is gone: its members are too.
    pub(super) fn leave_polls(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        let asked: Vec<u64> = self.polls.keys().copied().collect();
        for number in asked {
            if let Some(poll) = self.polls.get_mut(&number) {
                poll.waits_for.remove(&worker);
            }
            self.end_poll(number, effects);
        }
    }

    /// Forgets questions that nobody waits for any more.
    pub(super) fn sweep_polls(&mut self, now: Duration) {
        self.polls.retain(|_, poll| poll.until > now);
    }

    fn numbers(&self, now: Duration, group: Option<&GroupName>) -> GroupStatistics {
        let mut numbers = GroupStatistics::default();
        let is_meant = |name: &GroupName| group.map_or(!name.is_own(), |only| only == name);
        let topics = self.topics.iter().filter(|(name, _)| is_meant(name));
        for (_, topic) in topics {
            numbers.groups += 1;
            numbers.workers = numbers.workers.max(topic.subscribers.len() as u64);
            numbers.present += topic.roster.len() as u64;
            numbers.messages += topic.messages;
            numbers.kept += topic.ring.len() as u64;
            numbers.kept_bytes += topic.ring.bytes() as u64;
            numbers.gaps += topic.gaps;
            numbers.oldest = numbers.oldest.max(topic.ring.age(now));
        }
        if group.is_none() {
            numbers.workers = self.workers.len() as u64;
            numbers.messages = self.messages;
        }
        numbers
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.topics.clear();
        self.leaving.clear();
        self.polls.clear();
        self.values.clear();
        self.channels.flush_all(effects);
        self.history_bytes = 0;
        for peer in self.workers.values_mut() {
            let Peer { subscribed, present, .. } = peer;
            subscribed.clear();
            present.clear();
        }
        let mut to: Vec<WorkerId> = self.workers.keys().copied().collect();
        to.sort_unstable();
        effects.push(Effect { to: To::Many(to), tell: Tell::Group(GroupTell::Flushed) });
    }

    /// `worker` knows `group` up to `position`: it is told what it misses, if it does.
    fn compare(
        &mut self,
        worker: WorkerId,
        group: GroupName,
        position: Position,
        effects: &mut Vec<Effect>,
    ) {
        let Some(topic) = topic_of(&mut self.topics, &mut self.epoch_next, &group) else { return };
        topic.subscribers.insert(worker, position);
        self.catch_up_one(worker, &group, effects);
        self.peer(worker, |peer| peer.subscribed.insert(group));
    }
}
