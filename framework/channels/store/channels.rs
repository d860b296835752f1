//! The named channels of a store: their queues, what comes to them later, and who waits for an
//! answer.
//!
//! Invariants:
//! - A message is handed to one reader, or expires, or is counted as refused.
//! - A delayed message that is due goes into its channel even if that is full: it was taken when
//!   there was room for it.
//! - Whose worker ends reads nothing more and waits for no answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::queue::{Handed, Letter, Queue, Sent};
use super::remembered::Remembered;
use super::{Effect, WorkerId, tell};
use crate::channels::calls::{ChannelAsk, ChannelTell};
use crate::channels::frame::Frame;
use crate::channels::pattern::Capacities;
use crate::channels::protocol::{Ask, Key, Tell};
use crate::channels::{ChannelStatistics, GroupName, Limits};

/// Channels the store holds at once; beyond it a request gets no answer.
const NAMES_MAX: usize = 1_000_000;
/// Idle channels whose numbers are kept.
const COUNTED_MAX: usize = 10_000;
/// How long they are kept.
const COUNTED_AGE: Duration = Duration::from_secs(3600);
/// Bytes of delayed messages in all channels; beyond it another one is refused.
const DELAYED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Questions without an answer yet; beyond it another one is refused.
const CALLS_MAX: usize = 262_144;

#[derive(Debug)]
pub(super) struct Channels {
    expiry: Duration,
    delayed_max: usize,
    capacities: Capacities,
    queues: HashMap<GroupName, Queue>,
    /// By the time they are due, in the order they were sent.
    later: BTreeMap<(Duration, u64), (GroupName, Frame)>,
    later_last: u64,
    later_bytes: usize,
    /// Who waits for an answer, and where.
    calls: HashMap<Key, WorkerId>,
    /// Where a worker has readers that wait.
    reading: HashMap<WorkerId, BTreeSet<GroupName>>,
    remembered: Remembered,
    /// Of the latest message of a channel.
    letter_last: u64,
}

impl Channels {
    /// `epoch`: larger than any of an earlier store, whose messages may be given back to this one.
    pub(super) fn new(limits: &Limits, capacities: Capacities, epoch: u64) -> Self {
        Self {
            expiry: limits.expiry,
            delayed_max: limits.delayed,
            capacities,
            queues: HashMap::new(),
            later: BTreeMap::new(),
            later_last: 0,
            later_bytes: 0,
            calls: HashMap::new(),
            reading: HashMap::new(),
            remembered: Remembered::default(),
            letter_last: epoch,
        }
    }

    /// When the next delayed message is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// Channels in which workers have readers that wait.
    #[cfg(test)]
    pub(super) fn read(&self) -> usize {
        self.reading.values().map(BTreeSet::len).sum()
    }

    fn next_letter(&mut self) -> u64 {
        self.letter_last += 1;
        self.letter_last
    }

    /// Puts what is due where it belongs.
    pub(super) fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(((due, _), (channel, frame))) = self.later.pop_first() else { return };
            self.later_bytes -= frame.len();
            let (number, expiry) = (self.next_letter(), self.expiry);
            // Its time begins when it was due, whenever we hear of it.
            let Some(queue) = self.queue(due, &channel, effects) else { continue };
            queue.counted.delayed -= 1;
            let handed = queue.put(due, Letter { number, frame, asker: None }, expiry);
            self.hand(channel, handed, effects);
        }
    }

    /// The queue of `channel` without what is too old, made if there is room for it.
    fn queue(
        &mut self,
        now: Duration,
        channel: &GroupName,
        effects: &mut Vec<Effect>,
    ) -> Option<&mut Queue> {
        if !self.queues.contains_key(channel) {
            if self.queues.len() >= NAMES_MAX {
                return None;
            }
            let queue = Queue::new(self.capacities.of(channel));
            self.queues.insert(channel.clone(), queue);
        }
        let queue = self.queues.get_mut(channel)?;
        queue.used = now;
        for asker in queue.expire(now) {
            answer(&mut self.calls, asker, None, effects);
        }
        Some(queue)
    }

    /// A message of a channel; `retry`: it may have come before.
    fn send(
        &mut self,
        now: Duration,
        (key, retry): (Key, bool),
        (channel, letter): (&GroupName, Letter),
        effects: &mut Vec<Effect>,
    ) -> Option<Sent> {
        if retry && self.remembered.has(key) {
            return Some(Sent::Repeated);
        }
        let expiry = self.expiry;
        let sent = self.queue(now, channel, effects)?.send(now, letter, expiry);
        if !matches!(sent, Sent::Full) {
            self.remembered.add(key);
        }
        Some(sent)
    }

    /// What a worker asks of a channel.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) {
        match ask {
            Ask::Send { key, retry, channel, frame } => {
                let letter = Letter { number: self.next_letter(), frame, asker: None };
                let sent = self.send(now, (key, retry), (&channel, letter), effects);
                let (Some(sent), request) = (sent, key.request) else { return };
                self.report(worker, sent, channel, (request, Tell::Done { request }), effects);
            }
            Ask::Receive { request, channel } => {
                let Some(queue) = self.queue(now, &channel, effects) else { return };
                let handed = queue.receive(worker, request);
                if handed.is_none() {
                    self.reading.entry(worker).or_default().insert(channel.clone());
                }
                hand(channel, handed, effects);
            }
            Ask::Cancel { request, channel } => {
                if let Some(queue) = self.queues.get_mut(&channel) {
                    queue.cancel(worker, request);
                }
                self.has_read(worker, &channel);
            }
            Ask::Return { channel, number, frame } => {
                self.give_back(now, channel, Letter { number, frame, asker: None }, effects);
            }
            Ask::Channel(ask) => self.hear_more(now, worker, ask, effects),
            _ => {}
        }
    }

    /// A reader of `worker` in `channel` waits no more.
    fn has_read(&mut self, worker: WorkerId, channel: &GroupName) {
        if self.queues.get(channel).is_some_and(|queue| queue.has_reader_of(worker)) {
            return;
        }
        if let Some(channels) = self.reading.get_mut(&worker) {
            channels.remove(channel);
        }
    }

    /// Tells the reader who has a message now, if one has.
    fn hand(&mut self, channel: GroupName, handed: Option<Handed>, effects: &mut Vec<Effect>) {
        if let Some((worker, ..)) = handed {
            self.has_read(worker, &channel);
        }
        hand(channel, handed, effects);
    }

    fn give_back(
        &mut self,
        now: Duration,
        channel: GroupName,
        letter: Letter,
        effects: &mut Vec<Effect>,
    ) {
        let expiry = self.expiry;
        let Some(queue) = self.queue(now, &channel, effects) else { return };
        let handed = queue.give_back(now, letter, expiry);
        self.hand(channel, handed, effects);
    }

    fn hear_more(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: ChannelAsk,
        effects: &mut Vec<Effect>,
    ) {
        match ask {
            ChannelAsk::SendAfter { .. } => self.send_after(now, worker, ask, effects),
            ChannelAsk::Call { .. } => self.call(now, worker, ask, effects),
            ChannelAsk::Answer { request, asker, frame } => {
                answer(&mut self.calls, asker, frame, effects);
                tell(effects, worker, Tell::Done { request });
            }
            ChannelAsk::Await { key } => {
                self.calls.insert(key, worker);
            }
            ChannelAsk::Abandon { key } => {
                self.calls.remove(&key);
            }
            ChannelAsk::Return { channel, number, frame, asker } => {
                let letter = Letter { number, frame, asker: Some(asker) };
                self.give_back(now, channel, letter, effects);
            }
            ChannelAsk::Inspect { request, channel } => {
                let numbers = self.inspect(now, channel.as_ref(), effects);
                let told = ChannelTell::Inspected { request, numbers };
                tell(effects, worker, Tell::Channel(told));
            }
            ChannelAsk::Flush { request, channel } => {
                self.flush(&channel, effects);
                tell(effects, worker, Tell::Done { request });
            }
        }
    }

    fn send_after(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: ChannelAsk,
        effects: &mut Vec<Effect>,
    ) {
        let ChannelAsk::SendAfter { key, retry, channel, frame, delay } = ask else { return };
        let request = key.request;
        let bytes = self.later_bytes + frame.len();
        let is_full = self.later.len() >= self.delayed_max || bytes > DELAYED_BYTES_MAX;
        if retry && self.remembered.has(key) {
            tell(effects, worker, Tell::Done { request });
            return;
        }
        let Some(queue) = self.queue(now, &channel, effects) else { return };
        if is_full {
            queue.counted.refused += 1;
            tell(effects, worker, Tell::Full { request });
            return;
        }
        queue.counted.messages += 1;
        queue.counted.delayed += 1;
        self.remembered.add(key);
        self.later_bytes = bytes;
        self.later_last += 1;
        self.later.insert((now.saturating_add(delay), self.later_last), (channel, frame));
        tell(effects, worker, Tell::Done { request });
    }

    fn call(
        &mut self,
        now: Duration,
        worker: WorkerId,
        ask: ChannelAsk,
        effects: &mut Vec<Effect>,
    ) {
        let ChannelAsk::Call { key, retry, channel, frame } = ask else { return };
        let request = key.request;
        if self.calls.len() >= CALLS_MAX {
            tell(effects, worker, Tell::Full { request });
            return;
        }
        let letter = Letter { number: self.next_letter(), frame, asker: Some(key) };
        let sent = self.send(now, (key, retry), (&channel, letter), effects);
        let Some(sent) = sent else { return };
        if !matches!(sent, Sent::Full) {
            self.calls.insert(key, worker);
        }
        let called = Tell::Channel(ChannelTell::Called { request });
        self.report(worker, sent, channel, (request, called), effects);
    }

    /// Tells the sender what became of its message, and the reader, if one has it now.
    #[expect(clippy::too_many_arguments, reason = "what is said, to whom, and where to say it")]
    fn report(
        &mut self,
        worker: WorkerId,
        sent: Sent,
        channel: GroupName,
        (request, done): (u64, Tell),
        effects: &mut Vec<Effect>,
    ) {
        match sent {
            Sent::Full => tell(effects, worker, Tell::Full { request }),
            Sent::Queued | Sent::Repeated => tell(effects, worker, done),
            Sent::Handed(handed) => {
                tell(effects, worker, done);
                self.hand(channel, Some(handed), effects);
            }
        }
    }

    fn inspect(
        &mut self,
        now: Duration,
        channel: Option<&GroupName>,
        effects: &mut Vec<Effect>,
    ) -> ChannelStatistics {
        let calls = &mut self.calls;
        let mut total = ChannelStatistics::default();
        let mut add = |queue: &mut Queue| {
            for asker in queue.expire(now) {
                answer(calls, asker, None, effects);
            }
            total.add(&numbers(queue, now));
        };
        match channel {
            Some(channel) => self.queues.get_mut(channel).into_iter().for_each(&mut add),
            None => self.queues.values_mut().for_each(&mut add),
        }
        total
    }

    fn flush(&mut self, channel: &GroupName, effects: &mut Vec<Effect>) {
        let Some(queue) = self.queues.get_mut(channel) else { return };
        for asker in queue.flush() {
            answer(&mut self.calls, asker, None, effects);
        }
        queue.counted.delayed = 0;
        let bytes = &mut self.later_bytes;
        self.later.retain(|_, (of, frame)| {
            let is_kept = of != channel;
            *bytes -= if is_kept { 0 } else { frame.len() };
            is_kept
        });
    }

    /// Drops what waits in all channels.
    pub(super) fn flush_all(&mut self, effects: &mut Vec<Effect>) {
        let mut channels: Vec<GroupName> = self.queues.keys().cloned().collect();
        channels.sort();
        for channel in channels {
            self.flush(&channel, effects);
        }
    }

    /// A worker is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        for channel in self.reading.remove(&worker).unwrap_or_default() {
            if let Some(queue) = self.queues.get_mut(&channel) {
                queue.forget(worker);
            }
        }
        self.calls.retain(|_, asker| *asker != worker);
    }

    /// Drops what is too old, and channels nobody has used for long.
    pub(super) fn sweep(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let is_crowded = self.queues.len() > COUNTED_MAX;
        let calls = &mut self.calls;
        self.queues.retain(|_, queue| {
            for asker in queue.expire(now) {
                answer(calls, asker, None, effects);
            }
            let is_recent = now.saturating_sub(queue.used) < COUNTED_AGE && !is_crowded;
            !queue.is_idle() || is_recent
        });
    }
}

fn numbers(queue: &Queue, now: Duration) -> ChannelStatistics {
    ChannelStatistics {
        channels: 1,
        pending: queue.pending() as u64,
        delayed: queue.counted.delayed,
        readers: queue.readers() as u64,
        oldest: queue.oldest(now),
        messages: queue.counted.messages,
        delivered: queue.counted.delivered,
        expired: queue.counted.expired,
        refused: queue.counted.refused,
    }
}

fn hand(channel: GroupName, handed: Option<Handed>, effects: &mut Vec<Effect>) {
    let Some((reader, request, Letter { number, frame, asker })) = handed else { return };
    let told = match asker {
        None => Tell::Received { request, channel, number, frame },
        Some(asker) => Tell::Channel(ChannelTell::Taken { request, channel, number, frame, asker }),
    };
    tell(effects, reader, told);
}

/// Answers who still waits.
fn answer(
    calls: &mut HashMap<Key, WorkerId>,
    asker: Key,
    frame: Option<Frame>,
    effects: &mut Vec<Effect>,
) {
    if let Some(worker) = calls.remove(&asker) {
        let told = ChannelTell::Answered { request: asker.request, frame };
        tell(effects, worker, Tell::Channel(told));
    }
}
