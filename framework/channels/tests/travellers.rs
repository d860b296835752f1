//! Clients that come and go with a position, on whatever worker: what they saw has no hole and
//! nothing twice, unless they were told that something is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};

use super::checks::is_forgotten;
use super::wires::End;
use super::{World, text_of};
use crate::channels::members::{Part, Reply, Start};
use crate::channels::protocol::{Ask, Key};
use crate::channels::{Frame, GroupName, Policy, Position};

/// As a connection does.
const ATTEMPTS_MAX: usize = 3;

pub(super) struct Traveller {
    pub(super) group: GroupName,
    stay: Option<Stay>,
    /// The last message it has; none before it has come for the first time.
    last: Option<Position>,
    /// What it saw since it last was told that something is lost.
    seen: BTreeMap<String, Position>,
}

struct Stay {
    worker: usize,
    id: u64,
    coming: Coming,
    attempts: usize,
    /// Of the store that was there when it came, if that had been told all that workers know.
    epoch: Option<u64>,
}

enum Coming {
    Subscribing(oneshot::Receiver<Reply>),
    Asking(oneshot::Receiver<Reply>),
    Here,
}

impl Traveller {
    pub(super) fn new(group: GroupName) -> Self {
        Self { group, stay: None, last: None, seen: BTreeMap::new() }
    }

    fn since(&self) -> Position {
        self.last.unwrap_or_default()
    }
}

impl World {
    /// All look what there is; one of them comes, or perhaps goes.
    pub(super) fn travel(&mut self) {
        (0..self.travellers.len()).for_each(|at| self.look(at));
        let at = self.chance.below(self.travellers.len());
        if self.travellers[at].stay.is_none() {
            let worker = self.chance.below(self.workers.len());
            self.come(at, worker);
        } else if self.chance.one_in(3) {
            self.go(at);
        }
    }

    /// All who are away come; the others look.
    pub(super) fn travel_home(&mut self) {
        for at in 0..self.travellers.len() {
            if self.travellers[at].stay.is_none() {
                let worker = self.chance.below(self.workers.len());
                self.come(at, worker);
            }
            self.look(at);
        }
    }

    /// Whoever was at a worker that is no more.
    pub(super) fn strand(&mut self, worker: usize) {
        for traveller in &mut self.travellers {
            if traveller.stay.as_ref().is_some_and(|stay| stay.worker == worker) {
                traveller.stay = None;
            }
        }
    }

    pub(super) fn go(&mut self, at: usize) {
        if let Some(stay) = self.travellers[at].stay.take() {
            self.workers[stay.worker].end.table.disconnect(stay.id);
        }
    }

    fn come(&mut self, at: usize, worker: usize) {
        let has_told = |end: &End| end.link.is_some() && end.unannounced == 0;
        let epoch = self.workers.iter().all(|worker| has_told(&worker.end)).then_some(self.epoch);
        let traveller = &mut self.travellers[at];
        let table = &mut self.workers[worker].end.table;
        let id = table.connect(Arc::new(Notify::new()));
        let part = Part::Join(Policy::Close);
        let start = table.resume(id, &traveller.group, part, traveller.since());
        traveller.stay = Some(Stay { worker, id, coming: Coming::Here, attempts: 0, epoch });
        self.start(at, &start.expect("it is connected"));
    }

    fn start(&mut self, at: usize, start: &Start) {
        let traveller = &mut self.travellers[at];
        let since = traveller.since();
        let Some(stay) = &mut traveller.stay else { return };
        let table = &mut self.workers[stay.worker].end.table;
        let group = traveller.group.clone();
        stay.attempts += 1;
        match start {
            Start::At(joined) => {
                stay.coming = Coming::Here;
                let (attempts, epoch, last) = (stay.attempts, stay.epoch, traveller.last);
                if joined.recovered {
                    assert_eq!(joined.position.offset, since.offset, "seed {}", self.seed);
                    self.recovered += 1;
                } else {
                    traveller.seen.clear();
                }
                traveller.last = Some(joined.position);
                if let Some(last) = last.filter(|_| !joined.recovered) {
                    // Who asks anew while the group runs away from it, or a store comes between, or
                    // is told late what the group had, may hear of one that is none any more.
                    let is_sure = attempts <= ATTEMPTS_MAX && epoch == Some(self.epoch);
                    let store = self.store.as_ref().filter(|_| is_sure);
                    let missed = store.and_then(|store| store.reaches(&group, last));
                    self.gaps += u64::from(is_sure);
                    assert!(missed.is_none(), "seed {}: a gap after {last}: {missed:?}", self.seed);
                }
            }
            Start::Unsubscribed => {
                let make = |key: Key| Ask::Subscribe { request: key.request, group };
                stay.coming = Coming::Subscribing(table.request(make).1);
            }
            Start::Short(_) if stay.attempts > ATTEMPTS_MAX => {
                let lost = table.place_lost(stay.id, &group).expect("it is a member");
                self.start(at, &lost);
            }
            Start::Short(_) => {
                let since = Some(since);
                let make = |key: Key| {
                    let request = key.request;
                    Ask::History { request, group, since, limit: u32::MAX }
                };
                stay.coming = Coming::Asking(table.request(make).1);
            }
        }
    }

    /// Goes on with what it has got.
    fn look(&mut self, at: usize) {
        let traveller = &mut self.travellers[at];
        let since = traveller.since();
        let Some(stay) = &mut traveller.stay else { return };
        let table = &mut self.workers[stay.worker].end.table;
        let start = match &mut stay.coming {
            Coming::Here => return self.read(at),
            Coming::Subscribing(answer) => {
                let Ok(_) = answer.try_recv() else { return };
                table.place(stay.id, &traveller.group, since)
            }
            Coming::Asking(answer) => {
                let Ok(Reply::Missed(missed)) = answer.try_recv() else { return };
                table.place_with(self.now, (stay.id, &traveller.group), since, &missed)
            }
        };
        self.start(at, &start.expect("it is a member"));
    }

    fn read(&mut self, at: usize) {
        let seed = self.seed;
        let traveller = &mut self.travellers[at];
        let Some(stay) = &traveller.stay else { return };
        let worker = &mut self.workers[stay.worker];
        loop {
            let mut out = BytesMut::new();
            let drained = worker.end.table.drain(stay.id, &mut out, 1);
            if drained.is_overrun {
                // It is closed, and comes back with what it has.
                return self.go(at);
            }
            if out.is_empty() {
                return;
            }
            let text = text_of(&Frame::parse(out.freeze()).unwrap());
            let position = worker.end.table.cursor_of(stay.id, &traveller.group).unwrap();
            let last = traveller.since();
            let is_next = last.offset + 1 == position.offset && last.epoch <= position.epoch;
            assert!(is_next, "seed {seed}: {position} after {last}");
            let place = (traveller.group.clone(), position);
            let known = self.read.entry(place).or_insert_with(|| text.clone());
            assert_eq!(*known, text, "seed {seed}: {position} is another message than it was");
            if text.starts_with("message") {
                // A sender without an answer says it again, and the next store does not know it if
                // no worker held it any more.
                let before = traveller.seen.insert(text.clone(), position);
                let is_doubtful = |before: Position| {
                    let is_forgotten = is_forgotten(before.offset, position.offset);
                    is_forgotten || self.unanswered.contains(&text)
                };
                assert!(
                    before.is_none_or(is_doubtful),
                    "seed {seed}: {text} at {before:?} and {position}"
                );
                self.doubled += u64::from(before.is_some());
            }
            traveller.last = Some(position);
        }
    }

    /// Everybody has everything there is.
    pub(super) fn check_travellers(&self) {
        for traveller in &self.travellers {
            let top = self.store.as_ref().unwrap().top(&traveller.group);
            let stay = traveller.stay.as_ref().expect("all have come");
            let cursor = self.workers[stay.worker].end.table.cursor_of(stay.id, &traveller.group);
            assert_eq!(cursor, top, "seed {}: in {}", self.seed, traveller.group);
            // What it read last may be in an epoch that was renamed since.
            let read = (traveller.last.map(|last| last.offset), top.map(|top| top.offset));
            assert_eq!(read.0, read.1, "seed {}: in {}", self.seed, traveller.group);
        }
    }
}
