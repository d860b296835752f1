//! Who is present in a group: counted by the connections that hold a key.
//!
//! Invariant: who has a grace period is gone only when it is over and nobody came with the key
//! meanwhile; till then the worker that asked has no answer, so it asks a later store again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;

use super::WorkerId;
use crate::channels::frame::Frame;
use crate::channels::groups::Counted;
use crate::channels::protocol::Person;
use crate::channels::ring::Ring;

/// Bytes of the roster a newcomer gets; who does not fit is left out.
const ROSTER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A connection of a worker.
pub(super) type Owner = (WorkerId, u64);

#[derive(Debug, Default)]
pub(super) struct Roster {
    /// By key.
    present: BTreeMap<Box<str>, Present>,
    owners: BTreeMap<Owner, Box<str>>,
}

#[derive(Debug)]
struct Present {
    person: Person,
    connections: u32,
    /// When it ends, if nobody comes.
    leaves: Option<Duration>,
    /// Who is told that it has ended, or that it goes on with others.
    waiting: Vec<(WorkerId, u64)>,
}

/// What follows from the end of a connection's presence.
#[derive(Debug)]
pub(super) enum Left {
    /// Nothing: others hold the key.
    Held,
    /// The group is to be told.
    Gone(Frame),
    /// It may come back until then.
    Later(Duration, Box<str>),
}

impl Roster {
    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> std::collections::BTreeSet<String> {
        self.present.keys().map(ToString::to_string).collect()
    }

    #[cfg(test)]
    pub(super) fn has_orphans(&self, workers: &std::collections::BTreeSet<WorkerId>) -> bool {
        self.present.values().any(|present| {
            let is_awaited = present.waiting.iter().any(|(worker, _)| workers.contains(worker));
            present.leaves.is_some() && !is_awaited
        })
    }

    pub(super) fn key_of(&self, owner: Owner) -> Option<&str> {
        self.owners.get(&owner).map(AsRef::as_ref)
    }

    /// Counts `owner` under the person's key: whether it is the first there, and who waited for
    /// the end that does not come now.
    pub(super) fn add(&mut self, owner: Owner, person: Person) -> (bool, Vec<(WorkerId, u64)>) {
        if self.owners.insert(owner, person.key.clone()).is_some() {
            return (false, Vec::new());
        }
        let Some(present) = self.present.get_mut(&person.key) else {
            let key = person.key.clone();
            let (leaves, waiting) = (None, Vec::new());
            self.present.insert(key, Present { person, connections: 1, leaves, waiting });
            return (true, Vec::new());
        };
        // Of several connections, the one that needs the most time to come back.
        let grace = present.person.grace.max(person.grace);
        present.person = Person { grace, ..person };
        present.connections += 1;
        present.leaves = None;
        (false, std::mem::take(&mut present.waiting))
    }

    /// Uncounts `owner`.
    pub(super) fn remove(&mut self, now: Duration, owner: Owner) -> Left {
        let Some(key) = self.owners.remove(&owner) else { return Left::Held };
        let Some(present) = self.present.get_mut(&key) else { return Left::Held };
        present.connections -= 1;
        if present.connections > 0 {
            return Left::Held;
        }
        if present.person.grace.is_zero() {
            return self.present.remove(&key).map_or(Left::Held, |p| Left::Gone(p.person.left));
        }
        let end = now + present.person.grace;
        present.leaves = Some(end);
        Left::Later(end, key)
    }

    /// What the others are to be told of who is here: of who is not among `heard`, and of those of
    /// whom the last they heard is that they left: their worker was away, and was back when there
    /// was no store to say so.
    pub(super) fn unheard(&self, heard: &BTreeSet<Box<str>>, ring: &Ring) -> Vec<Frame> {
        let said = ring.iter().filter(|entry| entry.is_presence);
        let last: HashMap<&Bytes, u64> =
            said.map(|entry| (entry.frame.bytes(), entry.offset)).collect();
        let here = self.present.values().map(|present| &present.person);
        let is_unheard = |person: &&Person| {
            let is_gone = last.get(person.left.bytes()) > last.get(person.joined.bytes());
            is_gone || !heard.contains(&person.key)
        };
        here.filter(is_unheard).map(|person| person.joined.clone()).collect()
    }

    /// Lets `request` of `worker` wait for the end of `key`.
    pub(super) fn wait(&mut self, key: &str, worker: WorkerId, request: u64) {
        if let Some(present) = self.present.get_mut(key) {
            present.waiting.push((worker, request));
        }
    }

    /// The time of `key` is over at `end`, unless it has another one by now: what to tell the
    /// group, and who waits.
    pub(super) fn end(
        &mut self,
        key: &str,
        end: Duration,
    ) -> Option<(Frame, Vec<(WorkerId, u64)>)> {
        if self.present.get(key)?.leaves != Some(end) {
            return None;
        }
        self.present.remove(key).map(|present| (present.person.left, present.waiting))
    }

    /// The `joined` of everybody but `key`.
    pub(super) fn others(&self, key: &str) -> Vec<Frame> {
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

    /// Everybody, in the order of their keys.
    pub(super) fn people(&self) -> Vec<Counted> {
        let mut bytes = 0;
        self.present
            .iter()
            .map(|(key, present)| Counted {
                key: key.clone(),
                joined: present.person.joined.clone(),
                connections: present.connections,
            })
            .take_while(|person| {
                bytes += person.key.len() + person.joined.len();
                bytes <= ROSTER_BYTES_MAX
            })
            .collect()
    }
}
