//! What must hold when a schedule is over and everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Client, GROUPS, TRAVELLERS, WORKERS, World, limits, text_of};
use crate::channels::members::Reply;
use crate::channels::store::Event;
use crate::channels::{GroupName, Policy, Position};

/// Whether a message had left its group's history when another one came: it is not known any more
/// if its sender, who had no answer, says it again.
pub(super) fn is_forgotten(before: u64, offset: u64) -> bool {
    before + limits().history_messages as u64 <= offset
}

impl World {
    pub(super) fn check(&mut self) {
        self.check_order();
        self.check_answers();
        self.check_presence();
        self.check_travellers();
        self.check_policies();
        self.check_bounds();
    }

    /// Nothing is kept beyond its bounds; and nothing at all of who is gone.
    fn check_bounds(&mut self) {
        for group in GROUPS.map(|name| GroupName::new(name).unwrap()) {
            let kept = self.store.as_ref().unwrap().kept(&group);
            assert!(kept <= limits().history_messages, "seed {}: {kept} kept", self.seed);
        }
        for index in 0..WORKERS {
            while !self.workers[index].clients.is_empty() {
                self.disconnect(index);
            }
        }
        (0..TRAVELLERS).for_each(|at| self.go(at));
        self.carry_all();
        for worker in &self.workers {
            let left = worker.end.table.statistics();
            let all = (left.groups, left.connections, left.history_bytes, left.in_flight);
            assert_eq!(
                all,
                (0, 0, 0, 0),
                "seed {}: groups, connections, bytes, requests",
                self.seed
            );
        }
        for group in GROUPS.map(|name| GroupName::new(name).unwrap()) {
            assert!(self.store.as_ref().unwrap().present(&group).is_empty(), "seed {}", self.seed);
        }
    }

    /// Who may miss messages has the last one, but for whom that is what it misses; and who wants
    /// the latest of each thing has it.
    fn check_policies(&self) {
        let clients = self.workers.iter().flat_map(|worker| &worker.clients);
        for client in clients.filter(|client| client.policy != Policy::Close) {
            // Since it last may have been left behind by the end of an order.
            let is_left = |two: &[(Position, String)]| two[0].0.epoch != two[1].0.epoch;
            let begun = client.seen.windows(2).rposition(is_left).map_or(0, |at| at + 1);
            let seen = &client.seen[begun..];
            let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else { continue };
            let store = self.store.as_ref().unwrap();
            let top = store.top(&client.group).expect("it has messages");
            if last.epoch != top.epoch {
                // It has read nothing of the order there is.
                continue;
            }
            let is_there = last.offset == top.offset || client.policy == Policy::DropNewest;
            assert!(is_there, "seed {}: {top} is missing in {seen:?}", self.seed);
            if client.policy != Policy::Latest {
                continue;
            }
            let mut latest = BTreeMap::new();
            let kept = store.kept(&client.group) as u64;
            let since = Position { offset: top.offset - kept, ..top };
            for entry in store.reaches(&client.group, since).expect("it is kept") {
                if entry.of != 0 && entry.offset > first.offset {
                    latest.insert(entry.of, text_of(&entry.frame));
                }
            }
            // A cursor passes what is superseded at once, so a place does not name a message.
            let has_heard = |wanted: &String| seen.iter().any(|(_, text)| text == wanted);
            for text in latest.values() {
                assert!(has_heard(text), "seed {}: {text} in {seen:?}", self.seed);
            }
        }
    }

    /// Until nobody has anything to say.
    fn carry_all(&mut self) {
        for _ in 0..3 {
            self.now += Duration::from_secs(1);
            self.step(Event::Tick);
            for index in 0..WORKERS {
                self.step(Event::Drained(self.workers[index].end.link.unwrap()));
                while self.is_talking(index) {
                    self.speak(index);
                    self.hear(index);
                }
            }
        }
    }

    pub(super) fn is_talking(&self, index: usize) -> bool {
        let worker = &self.workers[index];
        !worker.end.up.is_empty()
            || !worker.end.table.outgoing.is_empty()
            || !worker.end.down.is_empty()
    }

    /// A place in a group's order has one message, whoever was told of it.
    fn check_order(&self) {
        let mut order: BTreeMap<&(GroupName, Position), &String> = BTreeMap::new();
        let alive = self.workers.iter().flat_map(|worker| &worker.told);
        for (place, text) in alive.chain(&self.told_dead) {
            let known = order.entry(place).or_insert(text);
            assert_eq!(*known, text, "seed {}: {place:?} has two messages", self.seed);
            let read = self.read.get(place).unwrap_or(text);
            assert_eq!(read, text, "seed {}: {place:?} was read otherwise", self.seed);
        }
        // Who passes nothing reads what is in its place.
        let clients = self.workers.iter().flat_map(|worker| &worker.clients);
        for client in clients.filter(|client| client.policy == Policy::Close) {
            for (position, text) in &client.seen {
                let known = order.get(&(client.group.clone(), *position)).unwrap_or(&text);
                assert_eq!(*known, text, "seed {}: {position} was seen otherwise", self.seed);
            }
        }
        let (mut places, mut named) = (BTreeMap::new(), BTreeMap::new());
        for ((group, position), text) in order {
            if text.starts_with("once") {
                // As long as it was kept it was known, if this store gave it its place.
                let store = self.store.as_ref().unwrap();
                let begun = store.taken_over(group).map_or(0, |last| last.offset);
                let is_its = store.top(group).is_some_and(|top| top.epoch == position.epoch);
                if !is_its || position.offset <= begun {
                    continue;
                }
                let before = named.insert((group, position.epoch, text), position.offset);
                let is_new = before.is_none_or(|before| is_forgotten(before, position.offset));
                assert!(is_new, "seed {}: {text} at {position} was known", self.seed);
            }
            if text.starts_with("message") && !self.unanswered.contains(text) {
                let before = places.insert((group, position.epoch, text), position.offset);
                let is_new = before.is_none_or(|before| is_forgotten(before, position.offset));
                assert!(is_new, "seed {}: {text} at {before:?} and {position}", self.seed);
            }
        }
    }

    /// Every request is answered once the links are up.
    fn check_answers(&mut self) {
        for worker in &mut self.workers {
            for (text, reply) in &mut worker.published {
                let reply = reply.try_recv();
                assert!(
                    matches!(reply, Ok(Reply::Published(_))),
                    "seed {}: {text} got {reply:?}",
                    self.seed
                );
            }
        }
    }

    /// Who is counted is who is there, and everybody who watched knows it.
    fn check_presence(&mut self) {
        let mut believers = 0;
        for group in GROUPS.map(|name| GroupName::new(name).unwrap()) {
            let clients = || self.workers.iter().flat_map(|worker| &worker.clients);
            let there: BTreeSet<String> = clients()
                .filter(|client| client.group == group)
                .filter_map(|client| client.key.clone())
                .collect();
            let counted = self.store.as_ref().unwrap().present(&group);
            assert_eq!(counted, there, "seed {}: presence in {group}", self.seed);
            let believing = |client: &&Client| client.group == group && !client.is_haunted;
            for client in clients().filter(believing) {
                let Some(believed) = &client.believed else { continue };
                assert_eq!(*believed, there, "seed {}: beliefs in {group}", self.seed);
                believers += 1;
            }
        }
        self.believers += believers;
    }
}
