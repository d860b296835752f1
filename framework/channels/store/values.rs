//! The store's values, counters and locks.
//!
//! Invariants:
//! - Bounded in number and bytes: values with an end make room, soonest first; all else is refused.
//! - Counters have room of their own: what visitors can make many of pushes nothing else out.
//! - What is over is over at its moment, whenever it is looked at; it is dropped soon after.
//! - Versions and tokens come from the store's one growing number, as epochs do.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::WorkerId;
use crate::channels::protocol::Key;
use crate::channels::values::calls::{Action, Outcome, ValueAsk, When};

/// Values and locks together.
const COUNT_MAX: usize = 1_000_000;
/// Bytes of them all.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Counters, and the bytes of them.
const COUNTERS_MAX: usize = 500_000;
const COUNTER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// What each costs beside its bytes and twice its name, bytes (rounded up).
const SLOT_BYTES: usize = 160;
/// Answers remembered for those who ask again over a new link.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Values {
    values: HashMap<Box<str>, Slot>,
    counters: HashMap<Box<str>, Counter>,
    locks: HashMap<Box<str>, Held>,
    /// When values end.
    ends: BTreeSet<(Duration, Box<str>)>,
    /// When counters and locks end.
    due: BTreeSet<(Duration, Kind, Box<str>)>,
    /// Of values and locks.
    bytes: usize,
    counter_bytes: usize,
    remembered: VecDeque<(Key, Outcome)>,
    /// Values that made room for others, since the start.
    pub(super) evicted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Lock,
}

#[derive(Debug)]
struct Slot {
    bytes: Bytes,
    version: u64,
    end: Option<Duration>,
}

#[derive(Debug)]
struct Counter {
    value: i64,
    end: Duration,
}

#[derive(Debug)]
struct Held {
    by: WorkerId,
    token: u64,
    end: Duration,
}

impl Values {
    /// Drops everything.
    pub(super) fn clear(&mut self) {
        let remembered = std::mem::take(&mut self.remembered);
        *self = Self { remembered, evicted: self.evicted, ..Self::default() };
    }

    /// Does what `worker` asks for. `number` only grows.
    pub(super) fn act(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: ValueAsk,
        number: &mut u64,
    ) -> Outcome {
        let ValueAsk { key, retry, name, action } = ask;
        self.advance(now);
        if retry && let Some(outcome) = self.again(worker, key, &name) {
            return outcome;
        }
        if action == Action::Get {
            return self.get(now, &name);
        }
        let outcome = match action {
            Action::Get => Outcome::No,
            Action::Set { bytes, lasts, when } => {
                let end = lasts.map(|lasts| now.saturating_add(lasts));
                self.set(name, Slot { bytes, version: 0, end }, when, number)
            }
            Action::Remove => done(self.take(&name).is_some()),
            Action::Touch { lasts } => {
                self.touch(&name, lasts.map(|lasts| now.saturating_add(lasts)))
            }
            Action::Count { by, window } => self.count(now, name, by, window),
            Action::Lock { lasts } => self.lock(worker, name, now.saturating_add(lasts), number),
            Action::Extend { token, lasts } => self.extend(&name, token, now.saturating_add(lasts)),
            Action::Unlock { token } => done(self.unlock(&name, token)),
            Action::Abandon { asked } => {
                let taken = self.remembered.iter().rev().find(|known| known.0 == asked);
                match taken {
                    Some((_, Outcome::Locked { token })) => {
                        let token = *token;
                        done(self.unlock(&name, token))
                    }
                    _ => Outcome::No,
                }
            }
        };
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back((key, outcome.clone()));
        outcome
    }

    /// What came of an action that came before. A lock that is free again meanwhile, because its
    /// link ended, may be another's by now: it is asked for anew.
    fn again(&mut self, worker: WorkerId, key: Key, name: &str) -> Option<Outcome> {
        let (_, outcome) = self.remembered.iter().rev().find(|known| known.0 == key)?;
        let outcome = outcome.clone();
        if let Outcome::Locked { token } = outcome {
            let held = self.locks.get_mut(name).filter(|held| held.token == token)?;
            held.by = worker;
        }
        Some(outcome)
    }

    /// Frees what `worker` has locked.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let held = self.locks.iter().filter(|(_, held)| held.by == worker);
        let names: Vec<Box<str>> = held.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.free(&name);
        }
    }

    /// Drops what is over.
    pub(super) fn advance(&mut self, now: Duration) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            let Some((_, name)) = self.ends.pop_first() else { break };
            self.take(&name);
        }
        while self.due.first().is_some_and(|(end, ..)| *end <= now) {
            match self.due.pop_first() {
                Some((_, Kind::Counter, name)) => {
                    self.counters.remove(&name);
                    self.counter_bytes -= cost(&name, 0);
                }
                Some((_, Kind::Lock, name)) => self.free(&name),
                None => break,
            }
        }
    }

    fn get(&self, now: Duration, name: &str) -> Outcome {
        match self.values.get(name) {
            None => Outcome::No,
            Some(slot) => Outcome::Found {
                bytes: slot.bytes.clone(),
                version: slot.version,
                left: slot.end.map(|end| end.saturating_sub(now)),
            },
        }
    }

    fn set(&mut self, name: Box<str>, slot: Slot, when: When, number: &mut u64) -> Outcome {
        let version = self.values.get(&name).map(|slot| slot.version);
        let may = match when {
            When::Always => true,
            When::Absent => version.is_none(),
            When::At(from) => version == Some(from),
        };
        if !may {
            return Outcome::No;
        }
        let before = self.take(&name);
        if !self.make_room(cost(&name, slot.bytes.len())) {
            // What was there stays.
            if let Some(before) = before {
                self.put(name, before);
            }
            return Outcome::Full;
        }
        let version = next(number);
        self.put(name, Slot { version, ..slot });
        Outcome::Done { version }
    }

    fn put(&mut self, name: Box<str>, slot: Slot) {
        self.bytes += cost(&name, slot.bytes.len());
        if let Some(end) = slot.end {
            self.ends.insert((end, name.clone()));
        }
        self.values.insert(name, slot);
    }

    fn take(&mut self, name: &str) -> Option<Slot> {
        let slot = self.values.remove(name)?;
        self.bytes -= cost(name, slot.bytes.len());
        if let Some(end) = slot.end {
            self.ends.remove(&(end, name.into()));
        }
        Some(slot)
    }

    fn touch(&mut self, name: &str, end: Option<Duration>) -> Outcome {
        match self.take(name) {
            None => Outcome::No,
            Some(slot) => {
                self.put(name.into(), Slot { end, ..slot });
                done(true)
            }
        }
    }

    fn count(&mut self, now: Duration, name: Box<str>, by: i64, window: Duration) -> Outcome {
        if let Some(counter) = self.counters.get_mut(&name) {
            counter.value = counter.value.saturating_add(by);
            let left = counter.end.saturating_sub(now);
            return Outcome::Counted { value: counter.value, left };
        }
        if by != 0 && !window.is_zero() {
            let bytes = self.counter_bytes + cost(&name, 0);
            if self.counters.len() >= COUNTERS_MAX || bytes > COUNTER_BYTES_MAX {
                return Outcome::Full;
            }
            let end = now.saturating_add(window);
            self.counter_bytes = bytes;
            self.due.insert((end, Kind::Counter, name.clone()));
            self.counters.insert(name, Counter { value: by, end });
        }
        Outcome::Counted { value: by, left: window }
    }

    fn lock(&mut self, by: WorkerId, name: Box<str>, end: Duration, number: &mut u64) -> Outcome {
        if self.locks.contains_key(&name) {
            return Outcome::No;
        }
        if !self.make_room(cost(&name, 0)) {
            return Outcome::Full;
        }
        let token = next(number);
        self.bytes += cost(&name, 0);
        self.due.insert((end, Kind::Lock, name.clone()));
        self.locks.insert(name, Held { by, token, end });
        Outcome::Locked { token }
    }

    fn extend(&mut self, name: &str, token: u64, end: Duration) -> Outcome {
        let Some(held) = self.locks.get_mut(name).filter(|held| held.token == token) else {
            return Outcome::No;
        };
        self.due.remove(&(held.end, Kind::Lock, name.into()));
        held.end = end;
        self.due.insert((end, Kind::Lock, name.into()));
        done(true)
    }

    fn unlock(&mut self, name: &str, token: u64) -> bool {
        let is_its = self.locks.get(name).is_some_and(|held| held.token == token);
        if is_its {
            self.free(name);
        }
        is_its
    }

    fn free(&mut self, name: &str) {
        if let Some(held) = self.locks.remove(name) {
            self.due.remove(&(held.end, Kind::Lock, name.into()));
            self.bytes -= cost(name, 0);
        }
    }

    /// Makes room for one more of so many bytes; whether there is.
    fn make_room(&mut self, bytes: usize) -> bool {
        let is_full = |all: &Self| {
            all.values.len() + all.locks.len() >= COUNT_MAX || all.bytes + bytes > BYTES_MAX
        };
        while is_full(self) {
            let Some((_, name)) = self.ends.pop_first() else { return false };
            self.take(&name);
            self.evicted += 1;
        }
        true
    }
}

fn cost(name: &str, bytes: usize) -> usize {
    SLOT_BYTES + 2 * name.len() + bytes
}

fn done(is_done: bool) -> Outcome {
    if is_done { Outcome::Done { version: 0 } } else { Outcome::No }
}

fn next(number: &mut u64) -> u64 {
    let taken = *number;
    *number += 1;
    taken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{COUNTER_BYTES_MAX, Values, WorkerId, cost};
    use crate::channels::protocol::Key;
    use crate::channels::values::calls::{Action, Outcome, ValueAsk, When};

    const HOUR: Duration = Duration::from_secs(3600);

    fn act(values: &mut Values, name: &str, action: Action) -> Outcome {
        let key = Key { session: 1, request: 1 };
        let ask = ValueAsk { key, retry: false, name: name.into(), action };
        values.act(Duration::ZERO, WorkerId(1), ask, &mut 1)
    }

    fn count(values: &mut Values, name: &str) -> Outcome {
        act(values, name, Action::Count { by: 1, window: HOUR })
    }

    #[test]
    fn counters_fill_their_own_room_and_push_nothing_out() {
        let mut values = Values::default();
        let set = Action::Set { bytes: "kept".into(), lasts: Some(HOUR), when: When::Always };
        act(&mut values, "session", set);
        assert!(matches!(count(&mut values, "known"), Outcome::Counted { value: 1, .. }));
        let long = "x".repeat(190);
        let most = COUNTER_BYTES_MAX / cost(&format!("{long}{:06}", 0), 0);
        let refused = (0..=most)
            .find(|number| count(&mut values, &format!("{long}{number:06}")) == Outcome::Full);
        assert!(refused.is_some_and(|number| number + 3 > most), "{refused:?} of {most}");
        assert!(matches!(act(&mut values, "session", Action::Get), Outcome::Found { .. }));
        assert!(matches!(count(&mut values, "known"), Outcome::Counted { value: 2, .. }));
        let set = Action::Set { bytes: "new".into(), lasts: Some(HOUR), when: When::Always };
        assert!(matches!(act(&mut values, "another session", set), Outcome::Done { .. }));
        assert_eq!(values.evicted, 0);
        values.advance(HOUR);
        assert_eq!((values.counter_bytes, values.bytes), (0, 0));
        assert!(matches!(count(&mut values, "new"), Outcome::Counted { value: 1, .. }));
    }
}
