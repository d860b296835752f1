//! A named channel: first in, first out, each message to one reader.

use std::collections::VecDeque;
use std::time::Duration;

use super::WorkerId;
use crate::channels::frame::Frame;
use crate::channels::protocol::Key;

/// A message of a channel.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Grows with each that comes: what is given back goes where it was.
    pub(super) number: u64,
    pub(super) frame: Frame,
    /// Who waits for an answer.
    pub(super) asker: Option<Key>,
}

/// A reader's worker and request, and what it gets.
pub(super) type Handed = (WorkerId, u64, Letter);

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    /// By number; with the time each came and the one it expires at, which never decreases either.
    unread: VecDeque<(Duration, Duration, Letter)>,
    /// In the order they asked; empty while there is something to read.
    readers: VecDeque<(WorkerId, u64)>,
    pub(super) counted: Counted,
    /// When something last happened to it.
    pub(super) used: Duration,
}

/// Since the channel was first used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) messages: u64,
    pub(super) delivered: u64,
    pub(super) expired: u64,
    pub(super) refused: u64,
    /// Still to come.
    pub(super) delayed: u64,
}

#[derive(Debug)]
pub(super) enum Sent {
    Full,
    /// It came before.
    Repeated,
    Queued,
    Handed(Handed),
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            unread: VecDeque::new(),
            readers: VecDeque::new(),
            counted: Counted::default(),
            used: Duration::ZERO,
        }
    }

    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.readers.is_empty() && self.counted.delayed == 0
    }

    pub(super) fn pending(&self) -> usize {
        self.unread.len()
    }

    pub(super) fn readers(&self) -> usize {
        self.readers.len()
    }

    /// How long the oldest unread message has waited.
    pub(super) fn oldest(&self, now: Duration) -> Option<Duration> {
        self.unread.front().map(|(came, ..)| now.saturating_sub(*came))
    }

    /// Drops what is too old; the questions among it.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Key> {
        let mut askers = Vec::new();
        while self.unread.front().is_some_and(|(_, expires, _)| *expires <= now) {
            let gone = self.unread.pop_front();
            askers.extend(gone.and_then(|(.., letter)| letter.asker));
            self.counted.expired += 1;
        }
        askers
    }

    /// Drops what waits to be read; the questions among it.
    pub(super) fn flush(&mut self) -> Vec<Key> {
        self.unread.drain(..).filter_map(|(.., letter)| letter.asker).collect()
    }

    /// A new message.
    pub(super) fn send(&mut self, now: Duration, letter: Letter, expiry: Duration) -> Sent {
        if self.readers.is_empty() && self.unread.len() >= self.capacity {
            self.counted.refused += 1;
            return Sent::Full;
        }
        self.counted.messages += 1;
        self.put(now, letter, expiry).map_or(Sent::Queued, Sent::Handed)
    }

    /// Gives `letter` to who waits, or keeps it, also beyond the capacity.
    pub(super) fn put(
        &mut self,
        now: Duration,
        letter: Letter,
        expiry: Duration,
    ) -> Option<Handed> {
        match self.readers.pop_front() {
            Some((worker, request)) => {
                self.counted.delivered += 1;
                Some((worker, request, letter))
            }
            None => {
                self.unread.push_back((now, now.saturating_add(expiry), letter));
                None
            }
        }
    }

    pub(super) fn receive(&mut self, worker: WorkerId, request: u64) -> Option<Handed> {
        match self.unread.pop_front() {
            Some((.., letter)) => {
                self.counted.delivered += 1;
                Some((worker, request, letter))
            }
            None => {
                self.readers.push_back((worker, request));
                None
            }
        }
    }

    pub(super) fn cancel(&mut self, worker: WorkerId, request: u64) {
        self.readers.retain(|reader| *reader != (worker, request));
    }

    /// Takes back what reached nobody: for who waits, or where it was.
    pub(super) fn give_back(
        &mut self,
        now: Duration,
        letter: Letter,
        expiry: Duration,
    ) -> Option<Handed> {
        if let Some((worker, request)) = self.readers.pop_front() {
            return Some((worker, request, letter));
        }
        self.counted.delivered = self.counted.delivered.saturating_sub(1);
        let place = self.unread.partition_point(|(.., before)| before.number < letter.number);
        // Not later than those behind it, which would outlive their time.
        let behind = self.unread.get(place).map(|(_, expires, _)| *expires);
        let expires = behind.unwrap_or(now.saturating_add(expiry));
        self.unread.insert(place, (now, expires, letter));
        None
    }

    /// Whether a reader of `worker` waits.
    pub(super) fn has_reader_of(&self, worker: WorkerId) -> bool {
        self.readers.iter().any(|(reader, _)| *reader == worker)
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.readers.retain(|(reader, _)| *reader != worker);
    }
}
