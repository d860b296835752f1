//! A worker's end of its link to a store, in a test: the real table, and queues that a test cuts
//! and empties as it likes. And the one source of chance.

use std::collections::VecDeque;
use std::time::Duration;

use crate::channels::members::Table;
use crate::channels::protocol::{Ask, Tell};
use crate::channels::store::{Event, Store, WorkerId};

use super::limits;

/// splitmix64: enough chance for a test, and the same on every machine.
pub(in crate::channels) struct Chance(u64);

impl Chance {
    pub(in crate::channels) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::channels) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(in crate::channels) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(in crate::channels) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

pub(in crate::channels) struct End {
    pub(in crate::channels) table: Table,
    pub(in crate::channels) link: Option<WorkerId>,
    was_linked: bool,
    pub(in crate::channels) up: VecDeque<Ask>,
    /// How many of those are what a new store must hear first.
    pub(in crate::channels) unannounced: usize,
    pub(in crate::channels) down: VecDeque<Tell>,
}

impl End {
    pub(in crate::channels) fn new(session: u64) -> Self {
        Self {
            table: Table::new(limits(), session | 1),
            link: None,
            was_linked: false,
            up: VecDeque::new(),
            unannounced: 0,
            down: VecDeque::new(),
        }
    }

    /// It is linked as `id`, and begins with what it holds.
    pub(in crate::channels) fn link(&mut self, id: WorkerId) {
        self.link = Some(id);
        self.up = self.table.reconnected(self.was_linked).into();
        self.unannounced = self.up.len();
        self.was_linked = true;
    }

    /// Its link is cut, and what was on its way is lost; which link that was.
    pub(in crate::channels) fn cut(&mut self) -> Option<WorkerId> {
        let link = self.link.take()?;
        self.up.clear();
        self.unannounced = 0;
        self.down.clear();
        Some(link)
    }

    /// The next thing the store hears of it.
    pub(in crate::channels) fn say(&mut self) -> Option<Event> {
        let link = self.link?;
        self.up.extend(self.table.outgoing.pop_front());
        let ask = self.up.pop_front()?;
        self.unannounced = self.unannounced.saturating_sub(1);
        Some(Event::Asked(link, ask))
    }
}

/// Lets `store` have `event`; what follows is on its way to the ends it is for.
pub(in crate::channels) fn step<'a>(
    store: &mut Store,
    now: Duration,
    event: Event,
    ends: impl Iterator<Item = &'a mut End>,
) {
    let mut ends: Vec<&mut End> = ends.collect();
    for effect in store.step(now, event) {
        for end in &mut ends {
            if end.link.is_some_and(|link| effect.to.all().contains(&link)) {
                end.down.push_back(effect.tell.clone());
            }
        }
    }
}
