//! The store: a pure state machine that gives every group one order. No IO, no clock, no chance.
//!
//! Flow: `hub` hears a worker → [`Store::step`] with the time and the event → [`Effect`]s → `hub`
//! carries them to the workers.
//!
//! Invariants:
//! - Offsets of a group are contiguous within an epoch, and everything a worker is told of a group
//!   follows its position or is announced as a gap.
//! - A subscriber is a cursor, not a queue: a worker that does not read costs nothing here.
//! - Presence is counted by owner (worker and connection number), so the end of a worker's link
//!   ends exactly what it held. The store knows no user.
//! - After a crash it takes over the highest position its workers still hold, and goes on in a new
//!   epoch: one place in a group's order never has two messages.

mod announce;
mod channels;
mod inspect;
mod presence;
mod queue;
mod remembered;
mod roster;
mod topic;
mod values;

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::calls::ChannelAsk;
use super::pattern::Capacities;
use super::protocol::{Ask, Entry, Key, Tell};
use super::ring::{room_for, thin_out};
use super::{GroupName, Limits, Position};
use channels::Channels;
use inspect::Poll;
use topic::Topic;
use values::Values;

/// How long a store process waits for announcements from its first link on, before it orders
/// messages: workers that have lost a store try again after 10, 20, 40 ms ..
pub(super) const SETTLE: Duration = Duration::from_millis(200);
/// How much longer it waits after each link that is not its worker's first.
const RECOVERY: Duration = Duration::from_millis(200);
/// Longest wait for links, whoever still comes.
const RECOVERY_MAX: Duration = Duration::from_millis(800);
/// Longest wait for a worker that has begun to announce what it knows.
const ANNOUNCE_MAX: Duration = Duration::from_secs(3);
/// Requests put off while recovering; beyond it they are dropped and their senders time out.
const DEFERRED_MAX: usize = 262_144;
/// Groups the store holds at once; beyond it a publish gets no answer.
const NAMES_MAX: usize = 1_000_000;
/// Bytes of history in all groups together; beyond it those with the most lose their oldest.
const HISTORY_BYTES_TOTAL: usize = 256 * 1024 * 1024;
/// Bytes a worker that could not be told gets at once when it can; the rest when it read these.
const CATCH_UP_BYTES_MAX: usize = 1024 * 1024;
/// How often what is empty and old is looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// One linked worker; a new link is a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

/// What happens to the store.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker's link is up.
    Connected(WorkerId),
    /// It asks for something.
    Asked(WorkerId, Ask),
    /// Its link ended: so does all it held.
    Gone(WorkerId),
    /// Its outbox is full: tell it nothing new of its groups.
    Blocked(WorkerId),
    /// Its outbox has room again.
    Drained(WorkerId),
    /// Time passed.
    Tick,
}

/// What the store wants told, in this order.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) to: To,
    pub(crate) tell: Tell,
}

/// Whom to tell.
#[derive(Debug)]
pub(crate) enum To {
    One(WorkerId),
    Many(Vec<WorkerId>),
}

impl To {
    /// All of them.
    pub(crate) fn all(&self) -> &[WorkerId] {
        match self {
            Self::One(worker) => std::slice::from_ref(worker),
            Self::Many(workers) => workers,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    limits: Limits,
    /// The epoch of the next group; only grows.
    epoch_next: u64,
    phase: Phase,
    settle: Duration,
    topics: HashMap<GroupName, Topic>,
    channels: Channels,
    values: Values,
    /// When presences end that have a grace period, if nobody comes.
    leaving: BTreeSet<(Duration, GroupName, Box<str>)>,
    /// Questions under way to workers.
    polls: BTreeMap<u64, Poll>,
    poll_last: u64,
    /// Since the start.
    messages: u64,
    workers: BTreeMap<WorkerId, Peer>,
    /// Who has begun to announce what it knows, and has not said that this was all.
    announcing: BTreeSet<WorkerId>,
    /// What was asked while recovering, in order; `None`: the worker's link ended.
    deferred: VecDeque<(WorkerId, Option<Ask>)>,
    history_bytes: usize,
    /// From here on room is made.
    history_bytes_max: usize,
    swept: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No worker has come yet.
    Fresh,
    /// Workers of an earlier store announce what they know.
    Recovering {
        /// When it ends, if nobody who announces is left.
        until: Duration,
        /// Beyond this nobody who comes puts that off.
        latest: Duration,
        /// When it ends in any case.
        end: Duration,
    },
    Open,
}

impl Phase {
    fn is_recovering(self) -> bool {
        matches!(self, Self::Recovering { .. })
    }
}

/// What the store must forget with a worker.
#[derive(Debug, Default)]
struct Peer {
    is_blocked: bool,
    subscribed: BTreeSet<GroupName>,
    present: BTreeSet<(GroupName, u64)>,
}

impl Store {
    /// An empty store. `epoch` must be larger than any epoch of an earlier store of the site.
    /// `settle`: how long its first workers may announce what they know from an earlier one.
    pub(crate) fn new(limits: Limits, epoch: u64, settle: Duration) -> Self {
        let capacities = Capacities::all(limits.capacity);
        Self {
            limits,
            epoch_next: epoch,
            phase: if settle.is_zero() { Phase::Open } else { Phase::Fresh },
            settle,
            topics: HashMap::new(),
            channels: Channels::new(&limits, capacities, epoch),
            values: Values::default(),
            leaving: BTreeSet::new(),
            polls: BTreeMap::new(),
            poll_last: 0,
            messages: 0,
            workers: BTreeMap::new(),
            announcing: BTreeSet::new(),
            deferred: VecDeque::new(),
            history_bytes: 0,
            history_bytes_max: HISTORY_BYTES_TOTAL,
            swept: Duration::ZERO,
        }
    }

    /// The same with other capacities of its channels; to be called before the first step.
    pub(crate) fn with_capacities(self, capacities: Capacities) -> Self {
        let channels = Channels::new(&self.limits, capacities, self.epoch_next);
        Self { channels, ..self }
    }

    /// When it wants to hear that time passed, at the latest.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let leaving = self.leaving.first().map(|(end, ..)| *end);
        leaving.into_iter().chain(self.channels.next_due()).min()
    }

    /// What follows from `event`.
    #[cfg(test)]
    pub(crate) fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.step_into(now, event, &mut effects);
        effects
    }

    /// The only way in: what follows from `event` is put behind `effects`. `now` never goes back.
    pub(crate) fn step_into(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        if self.has_recovered(now) {
            self.open(now, effects);
        }
        self.channels.advance(now, effects);
        if !self.phase.is_recovering() {
            self.end_graces(now, effects);
        }
        match event {
            Event::Connected(worker) => {
                self.workers.entry(worker).or_default();
                if self.phase == Phase::Fresh {
                    let (until, latest) = (now + self.settle, now + RECOVERY_MAX);
                    self.phase = Phase::Recovering { until, latest, end: now + ANNOUNCE_MAX };
                }
            }
            Event::Asked(worker, ask) => self.hear(now, worker, ask, effects),
            Event::Gone(worker) => self.forget(now, worker, effects),
            Event::Blocked(worker) => {
                if let Some(peer) = self.workers.get_mut(&worker) {
                    peer.is_blocked = true;
                }
            }
            Event::Drained(worker) => self.catch_up(worker, effects),
            Event::Tick => {}
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.sweep(now, effects);
        }
    }

    fn hear(&mut self, now: Duration, worker: WorkerId, ask: Ask, effects: &mut Vec<Effect>) {
        if !self.workers.contains_key(&worker) {
            return;
        }
        match ask {
            Ask::Hello { resumed, latest, .. } => {
                self.epoch_next = self.epoch_next.max(latest + 1);
                if let Phase::Recovering { until, latest, .. } = &mut self.phase
                    && resumed
                {
                    *until = (*until).max(now + RECOVERY).min(*latest);
                    self.announcing.insert(worker);
                }
            }
            Ask::Announced => {
                self.announcing.remove(&worker);
            }
            Ask::Announce { .. }
            | Ask::AnnounceEntry { .. }
            | Ask::AnnounceNames { .. }
            | Ask::AnnouncePerson { .. } => {
                self.announced(now, worker, ask, effects);
            }
            // Before an answer that another worker announces can get lost.
            Ask::Channel(ChannelAsk::Await { .. }) => {
                self.channels.hear(now, worker, ask, effects);
            }
            _ if self.phase.is_recovering() => {
                if self.deferred.len() < DEFERRED_MAX {
                    self.deferred.push_back((worker, Some(ask)));
                }
            }
            _ => self.answer(now, worker, ask, effects),
        }
    }

    fn answer(&mut self, now: Duration, worker: WorkerId, ask: Ask, effects: &mut Vec<Effect>) {
        match ask {
            Ask::Subscribe { request, group } => {
                self.subscribe(now, worker, (request, group), effects);
            }
            Ask::Unsubscribe { group } => {
                if let Some(topic) = self.topics.get_mut(&group) {
                    topic.subscribers.remove(&worker);
                }
                self.peer(worker, |peer| peer.subscribed.remove(&group));
            }
            Ask::Publish { key, retry, group, frame } => {
                let entry = Entry { offset: 0, key, of: 0, is_presence: false, frame };
                self.publish_for(now, (worker, retry), (&group, entry), effects);
            }
            Ask::PublishLatest { key, retry, group, of, frame } => {
                let entry = Entry { offset: 0, key, of, is_presence: false, frame };
                self.publish_for(now, (worker, retry), (&group, entry), effects);
            }
            Ask::Group(ask) => self.inspect(now, worker, ask, effects),
            Ask::Value(ask) => {
                let request = ask.key.request;
                let outcome = self.values.act(now, worker, ask, &mut self.epoch_next);
                tell(effects, worker, Tell::Valued { request, outcome });
            }
            Ask::PublishOnce { request, key, group, frame } => {
                let before = self.topics.get_mut(&group).and_then(|topic| {
                    let offset = topic.ring.find_named(key)?;
                    Some(Position { offset, ..topic.position() })
                });
                let entry = Entry { offset: 0, key, of: 0, is_presence: false, frame };
                let position = before.or_else(|| self.publish(now, &group, entry, effects));
                if let Some(position) = position {
                    tell(effects, worker, Tell::Published { request, position });
                }
            }
            Ask::Enter { .. } => self.enter(now, worker, ask, effects),
            Ask::Leave { request, group, connection } => {
                self.ask_leave(now, (worker, connection), (request, group), effects);
            }
            Ask::History { request, group, since, limit } => {
                let topic = topic_of(&mut self.topics, &mut self.epoch_next, &group);
                if let Some(topic) = topic {
                    let (recovered, entries) = topic.history(since, limit as usize);
                    let top = topic.position();
                    tell(effects, worker, Tell::History { request, top, recovered, entries });
                }
            }
            Ask::Send { .. }
            | Ask::Receive { .. }
            | Ask::Cancel { .. }
            | Ask::Return { .. }
            | Ask::Channel(_) => self.channels.hear(now, worker, ask, effects),
            Ask::Hello { .. }
            | Ask::Announced
            | Ask::Announce { .. }
            | Ask::AnnounceEntry { .. }
            | Ask::AnnounceNames { .. }
            | Ask::AnnouncePerson { .. } => {}
        }
    }

    fn subscribe(
        &mut self,
        now: Duration,
        worker: WorkerId,
        (request, group): (u64, GroupName),
        effects: &mut Vec<Effect>,
    ) {
        let Some(topic) = topic_of(&mut self.topics, &mut self.epoch_next, &group) else { return };
        let top = topic.position();
        let is_new = !topic.subscribers.contains_key(&worker);
        let position = *topic.subscribers.entry(worker).or_insert(top);
        let (lineage, epoch) = (topic.lineage.clone(), top.epoch);
        let names = if is_new { topic.names_for(worker, now) } else { Vec::new() };
        self.peer(worker, |peer| peer.subscribed.insert(group.clone()));
        let told = Tell::Subscribed { request, group: group.clone(), position, lineage };
        tell(effects, worker, told);
        if !names.is_empty() {
            tell(effects, worker, Tell::Names { group, epoch, names });
        }
    }

    /// Publishes what `worker` sends, unless that has come before.
    fn publish_for(
        &mut self,
        now: Duration,
        (worker, is_retry): (WorkerId, bool),
        (group, entry): (&GroupName, Entry),
        effects: &mut Vec<Effect>,
    ) {
        let key = entry.key;
        let topic = is_retry.then(|| self.topics.get(group)).flatten();
        let before = topic
            .and_then(|topic| Some(Position { offset: topic.ring.find(key)?, ..topic.position() }));
        let position = before.or_else(|| self.publish(now, group, entry, effects));
        if let Some(position) = position {
            tell(effects, worker, Tell::Published { request: key.request, position });
        }
    }

    /// Gives `entry` the next offset and tells every subscriber that is up to date.
    fn publish(
        &mut self,
        now: Duration,
        group: &GroupName,
        mut entry: Entry,
        effects: &mut Vec<Effect>,
    ) -> Option<Position> {
        let topic = topic_of(&mut self.topics, &mut self.epoch_next, group)?;
        let before = topic.position();
        topic.top += 1;
        topic.messages += 1;
        self.messages += 1;
        entry.offset = topic.top;
        let position = topic.position();
        let mut to = Vec::new();
        // Also to who is blocked: answers go on to come there, and messages in them.
        let is_for_all = group.is_own();
        for (worker, cursor) in &mut topic.subscribers {
            let peer = self.workers.get(worker);
            if *cursor == before && peer.is_some_and(|peer| is_for_all || !peer.is_blocked) {
                *cursor = position;
                to.push(*worker);
            }
        }
        let bytes = topic.ring.bytes();
        topic.ring.push(now, entry.clone(), &self.limits);
        self.history_bytes = self.history_bytes + topic.ring.bytes() - bytes;
        if self.history_bytes > self.history_bytes_max {
            let (count, total) = (self.topics.len(), self.history_bytes);
            let rings = self.topics.values_mut().map(|topic| &mut topic.ring);
            self.history_bytes -= thin_out(rings, (count, total));
            self.history_bytes_max = room_for(self.history_bytes, HISTORY_BYTES_TOTAL);
        }
        if !to.is_empty() {
            let deliver = Tell::Deliver { group: group.clone(), epoch: position.epoch, entry };
            effects.push(Effect { to: To::Many(to), tell: deliver });
        }
        Some(position)
    }

    fn forget(&mut self, now: Duration, worker: WorkerId, effects: &mut Vec<Effect>) {
        self.announcing.remove(&worker);
        if self.phase.is_recovering() {
            // Whom it leaves behind is told when there is an order to tell it in: who was about to
            // leave too, whom others perhaps know from the store before.
            self.deferred.retain(|(asked, ask)| {
                *asked != worker || matches!(ask, Some(Ask::Enter { .. } | Ask::Leave { .. }))
            });
            self.deferred.push_back((worker, None));
            return;
        }
        let Some(peer) = self.workers.remove(&worker) else { return };
        self.values.forget(worker);
        self.leave_polls(worker, effects);
        for group in peer.subscribed {
            if let Some(topic) = self.topics.get_mut(&group) {
                topic.subscribers.remove(&worker);
            }
        }
        self.channels.forget(worker);
        for (group, connection) in peer.present {
            self.leave(now, (worker, connection), &group, effects);
        }
    }

    /// Tells `worker` what its groups got while it could not be told.
    fn catch_up(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.workers.get_mut(&worker) else { return };
        peer.is_blocked = false;
        let mut room = CATCH_UP_BYTES_MAX;
        for group in &peer.subscribed {
            if let Some(topic) = self.topics.get_mut(group) {
                room = topic.catch_up(worker, group, room, effects);
            }
        }
        peer.is_blocked = room == 0;
    }

    /// Whether `worker` is told nothing new until [`Event::Drained`].
    pub(crate) fn is_blocked(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|peer| peer.is_blocked)
    }

    fn sweep(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.swept = now;
        self.history_bytes = 0;
        self.topics.retain(|_, topic| {
            topic.ring.trim(now, &self.limits);
            self.history_bytes += topic.ring.bytes();
            !topic.is_idle()
        });
        self.history_bytes_max = room_for(self.history_bytes, HISTORY_BYTES_TOTAL);
        self.values.advance(now);
        self.sweep_polls(now);
        self.channels.sweep(now, effects);
    }

    /// Where a group's order ends.
    #[cfg(test)]
    pub(crate) fn top(&self, group: &GroupName) -> Option<Position> {
        self.topics.get(group).map(Topic::position)
    }

    /// The last position of the epoch before.
    #[cfg(test)]
    pub(crate) fn taken_over(&self, group: &GroupName) -> Option<Position> {
        self.topics.get(group)?.lineage.ends().last().copied()
    }

    /// What a group has after `since`, if it has all of it.
    #[cfg(test)]
    pub(crate) fn reaches(&self, group: &GroupName, since: Position) -> Option<Vec<Entry>> {
        let (reaches, entries) = self.topics.get(group)?.history(Some(since), usize::MAX);
        reaches.then_some(entries)
    }

    /// Messages of a group that are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self, group: &GroupName) -> usize {
        self.topics.get(group).map_or(0, |topic| topic.ring.len())
    }

    /// Whether somebody is about to leave whose worker is none of `workers`.
    #[cfg(test)]
    pub(crate) fn has_orphans(&self, workers: &BTreeSet<WorkerId>) -> bool {
        self.topics.values().any(|topic| topic.roster.has_orphans(workers))
    }

    /// The keys counted as present.
    #[cfg(test)]
    pub(crate) fn present(&self, group: &GroupName) -> BTreeSet<String> {
        self.topics.get(group).map(|topic| topic.roster.keys()).unwrap_or_default()
    }

    fn peer<T>(&mut self, worker: WorkerId, change: impl FnOnce(&mut Peer) -> T) -> Option<T> {
        self.workers.get_mut(&worker).map(change)
    }
}

/// The topic of `group`, made if there is room for it.
fn topic_of<'a>(
    topics: &'a mut HashMap<GroupName, Topic>,
    epoch_next: &mut u64,
    group: &GroupName,
) -> Option<&'a mut Topic> {
    let has_room = topics.len() < NAMES_MAX;
    match topics.entry(group.clone()) {
        Slot::Occupied(known) => Some(known.into_mut()),
        Slot::Vacant(place) if has_room => {
            *epoch_next += 1;
            Some(place.insert(Topic::new(*epoch_next - 1)))
        }
        Slot::Vacant(_) => None,
    }
}

fn presence_entry(frame: super::frame::Frame) -> Entry {
    Entry { offset: 0, key: Key::default(), of: 0, is_presence: true, frame }
}

fn tell(effects: &mut Vec<Effect>, worker: WorkerId, tell: Tell) {
    effects.push(Effect { to: To::One(worker), tell });
}
