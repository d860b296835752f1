//! Redis as the store: any number of machines share one, or several as shards.
//!
//! Flow: the table's `outgoing` → [`Shards::carry`] → the shard's queue → its `link`, one task with
//! one connection → `conversation` makes scripts of what is asked, and of replies and messages
//! what the table is told.
//!
//! Invariants:
//! - Everything about a name is on one shard ([`Circle`]).
//! - Messages and replies come over one connection, so a worker sees them in the order in which
//!   Redis made them; that is what makes a subscription free of holes.
//! - A link that is cut is a worker that says again what it holds: nothing waits for it but
//!   messages of channels that go back.
//! - A worker's end is seen by the end of its link, not by a time.

mod address;
mod asks;
mod conversation;
mod expect;
mod link;
mod polls;
mod replies;
mod resp;
mod scripts;
mod shards;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::calls::{ChannelAsk, ChannelTell};
use super::groups::{GroupAsk, GroupTell};
use super::pattern::Capacities;
use super::protocol::{Ask, Key, Subject, Tell};
use super::worker::Worker;
use super::{ChannelStatistics, GroupName, GroupStatistics, Limits};
use crate::error::{Error, Kind, Result};
pub(super) use address::Address;
use shards::Circle;

/// What may wait for a shard; its link is cut beyond it, and what is still wanted asked again.
const QUEUED_MAX: usize = 1_000_000;

/// Times of emptying that are remembered.
const FLUSHES_MAX: usize = 16;
/// Those who ask all shards at once; beyond it the oldest is told nothing.
const TOTALS_MAX: usize = 1024;

/// The shards, as a worker's way to the store.
#[derive(Debug)]
pub(super) struct Shards {
    address: Address,
    limits: Limits,
    capacities: Capacities,
    /// The largest version or token the worker has been given.
    latest: Arc<AtomicU64>,
    circle: Circle,
    shards: Vec<Shard>,
    /// What each shard has said to those who asked all of them, by request.
    totals: Mutex<BTreeMap<u64, BTreeMap<usize, Said>>>,
    /// The latest times everything was emptied.
    flushes: Mutex<VecDeque<Bytes>>,
    /// Held while something is taken from the table and put in a shard's queue.
    routing: Mutex<()>,
}

#[derive(Debug)]
struct Shard {
    queue: Mutex<Queue>,
    /// There is something to write, or the queue is over its bound.
    filled: Notify,
    state: watch::Sender<State>,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    asks: VecDeque<Ask>,
    is_up: bool,
}

/// Whether a link is up, and what keeps it down.
#[derive(Clone, Debug)]
enum State {
    Up,
    Down(String),
}

impl Shards {
    pub(super) fn new(address: Address, limits: Limits, capacities: Capacities) -> Self {
        let shard = |_| Shard {
            queue: Mutex::default(),
            filled: Notify::new(),
            state: watch::Sender::new(State::Down("not connected yet".to_owned())),
        };
        let circle = Circle::new(&address.hosts);
        let shards = address.hosts.iter().map(shard).collect();
        Self {
            address,
            limits,
            capacities,
            latest: Arc::default(),
            circle,
            shards,
            totals: Mutex::default(),
            flushes: Mutex::default(),
            routing: Mutex::new(()),
        }
    }

    /// A group on each shard, the same for all workers.
    pub(super) fn dismissal_groups(&self) -> Vec<GroupName> {
        let on = |shard| {
            let mut names = (0..).map(GroupName::of_dismissals);
            let found = names.find(|name| self.circle.shard(name.as_str()) == shard);
            found.expect("every shard has its share of all names")
        };
        (0..self.shards.len()).map(on).collect()
    }

    /// Starts the links of `worker`; they end when the handles are dropped.
    pub(super) fn start(shards: &Arc<Self>, worker: &Arc<Worker>) -> Vec<AbortOnDropHandle<()>> {
        let link = |shard| link::run(Arc::clone(shards), shard, Arc::clone(worker));
        (0..shards.shards.len())
            .map(|shard| AbortOnDropHandle::new(tokio::spawn(link(shard))))
            .collect()
    }

    /// Ends when all links are up.
    pub(super) async fn ready(&self, wait: Duration) -> Result<()> {
        let all = self.shards.iter().enumerate().map(|(number, shard)| async move {
            let mut state = shard.state.subscribe();
            let up = state.wait_for(|state| matches!(state, State::Up));
            if tokio::time::timeout(wait, up).await.is_ok() {
                return Ok(());
            }
            let why = match &*shard.state.borrow() {
                State::Up => return Ok(()),
                State::Down(why) => why.clone(),
            };
            let words = format!("Redis at {}: {why}", self.address.hosts[number]);
            Err(Error::of(Kind::LayerUnavailable, words))
        });
        join_all(all).await.into_iter().collect()
    }

    /// Moves what `next` gives to the queues. While a link is down only what goes back is kept:
    /// the rest is asked again when it is up.
    pub(super) fn carry(&self, mut next: impl FnMut() -> Option<Ask>) {
        let _order = self.routing();
        while let Some(ask) = next() {
            match self.shard_for(&ask) {
                Some(shard) => self.put(shard, ask),
                None => {
                    if let Ask::Channel(ChannelAsk::Inspect { request, .. })
                    | Ask::Group(
                        GroupAsk::Inspect { request, .. } | GroupAsk::Flush { request },
                    ) = &ask
                    {
                        self.begin_total(*request);
                    }
                    (0..self.shards.len()).for_each(|shard| self.put(shard, ask.clone()));
                }
            }
        }
    }

    fn begin_total(&self, request: u64) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.insert(request, BTreeMap::new());
        if totals.len() > TOTALS_MAX {
            totals.pop_first();
        }
    }

    /// What all shards have said to a request, once all have; if only one was asked, what it says.
    fn all_said(&self, request: u64, shard: usize, said: Said) -> Option<Vec<Said>> {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = totals.get_mut(&request) else { return Some(vec![said]) };
        parts.insert(shard, said);
        if parts.len() < self.shards.len() {
            return None;
        }
        totals.remove(&request).map(|parts| parts.into_values().collect())
    }

    fn put(&self, shard: usize, ask: Ask) {
        let shard = &self.shards[shard];
        let mut queue = shard.queue();
        if queue.is_up || ask.goes_back() {
            queue.asks.push_back(ask);
        }
        drop(queue);
        shard.filled.notify_one();
    }

    /// The link of `shard` is up: what `worker` has to say comes first, then what is carried.
    fn connected(&self, shard: usize, worker: &Worker, resumed: bool) {
        let _order = self.routing();
        let is_mine = |ask: &Ask| self.shard_for(ask).is_none_or(|its| its == shard);
        let mut asks = VecDeque::from(worker.table().reconnected_where(resumed, &is_mine));
        let mut queue = self.shards[shard].queue();
        asks.append(&mut queue.asks);
        *queue = Queue { asks, is_up: true };
    }

    /// The link of `shard` is down, for this reason.
    fn disconnected(&self, shard: usize, why: String) {
        let _order = self.routing();
        let mut queue = self.shards[shard].queue();
        queue.is_up = false;
        queue.asks.retain(Ask::goes_back);
        self.shards[shard].state.send_replace(State::Down(why));
    }

    /// The shard that `ask` is for; `None`: all of them.
    fn shard_for(&self, ask: &Ask) -> Option<usize> {
        match ask.subject() {
            Subject::All => None,
            Subject::Name(name) => Some(self.circle.shard(name)),
            // Not where the question was put: who answers knows its key only.
            Subject::Question(Key { session, request }) => {
                Some(self.circle.shard(&format!("{session:x}:{request:x}")))
            }
        }
    }

    fn routing(&self) -> MutexGuard<'_, ()> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one shard says to who asked all.
#[derive(Clone, Copy, Debug)]
enum Said {
    Channels(ChannelStatistics),
    Groups(GroupStatistics),
    Done,
}

/// Where a link's conversation says what it heard.
struct Ear<'a> {
    shards: &'a Shards,
    shard: usize,
    worker: &'a Worker,
}

impl Ear<'_> {
    /// The numbers of all shards are told once all have said theirs.
    fn tell(&self, tell: Tell) {
        let (request, said) = match &tell {
            Tell::Channel(ChannelTell::Inspected { request, numbers }) => {
                (*request, Said::Channels(*numbers))
            }
            Tell::Group(GroupTell::Inspected { request, numbers }) => {
                (*request, Said::Groups(*numbers))
            }
            _ => return self.worker.tell(tell),
        };
        let Some(all) = self.shards.all_said(request, self.shard, said) else { return };
        let (mut channels, mut groups) = (ChannelStatistics::default(), GroupStatistics::default());
        for said in all {
            match said {
                Said::Channels(numbers) => channels.add(&numbers),
                Said::Groups(numbers) => add(&mut groups, &numbers),
                Said::Done => {}
            }
        }
        self.worker.tell(match said {
            Said::Groups(_) => Tell::Group(GroupTell::Inspected { request, numbers: groups }),
            _ => Tell::Channel(ChannelTell::Inspected { request, numbers: channels }),
        });
    }

    /// Redis will not do what was asked, and why.
    fn refuse(&self, request: u64, words: &str) {
        self.worker.table().refused(request, words.to_owned());
    }

    /// This shard has forgotten all it had.
    fn forgotten(&self, request: u64) {
        if self.shards.all_said(request, self.shard, Said::Done).is_some() {
            self.worker.tell(Tell::Done { request });
        }
    }

    /// Everything is emptied; each shard says so, and the first is believed.
    fn flushed(&self, id: &Bytes) {
        let mut flushes = self.shards.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        if flushes.contains(id) {
            return;
        }
        flushes.push_back(id.clone());
        if flushes.len() > FLUSHES_MAX {
            flushes.pop_front();
        }
        drop(flushes);
        self.worker.tell(Tell::Group(GroupTell::Flushed));
    }

    fn has_group(&self, group: &GroupName) -> bool {
        self.worker.table().has_group(group)
    }

    /// This worker's connections that take part in `group`.
    fn names_in(&self, group: &GroupName) -> Vec<GroupName> {
        self.worker.table().names_in(group)
    }
}

fn add(total: &mut GroupStatistics, numbers: &GroupStatistics) {
    total.groups += numbers.groups;
    // Each shard knows all workers.
    total.workers = total.workers.max(numbers.workers);
    total.present += numbers.present;
    total.messages += numbers.messages;
    total.kept += numbers.kept;
    total.kept_bytes += numbers.kept_bytes;
    total.gaps += numbers.gaps;
    total.oldest = total.oldest.max(numbers.oldest);
}

impl Shard {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
