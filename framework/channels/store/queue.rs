//! A named channel: first in, first out, each message to one reader.

use std::collections::VecDeque;
use std::time::Duration;

use super::WorkerId;
use crate::channels::Limits;
use crate::channels::frame::Frame;
use crate::channels::protocol::Key;

/// Sends remembered, so that a repeated one is recognised.
const REMEMBERED_MAX: usize = 128;

/// A reader's worker and request, and what it gets.
pub(super) type Handed = (WorkerId, u64, Frame);

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// With the time each expires at.
    unread: VecDeque<(Duration, Frame)>,
    /// In the order they asked; empty while there is something to read.
    readers: VecDeque<(WorkerId, u64)>,
    remembered: VecDeque<Key>,
}

/// What is sent, and whether it may have come before.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) key: Key,
    pub(super) retry: bool,
    pub(super) frame: Frame,
}

#[derive(Debug)]
pub(super) enum Sent {
    Full,
    Queued,
    Handed(Handed),
}

impl Queue {
    pub(super) fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.readers.is_empty()
    }

    pub(super) fn expire(&mut self, now: Duration) {
        while self.unread.front().is_some_and(|(expires, _)| *expires <= now) {
            self.unread.pop_front();
        }
    }

    pub(super) fn send(&mut self, now: Duration, sending: Sending, limits: &Limits) -> Sent {
        let Sending { key, retry, frame } = sending;
        if retry && self.remembered.contains(&key) {
            return Sent::Queued;
        }
        if self.readers.is_empty() && self.unread.len() >= limits.capacity {
            return Sent::Full;
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(key);
        match self.readers.pop_front() {
            Some((worker, request)) => Sent::Handed((worker, request, frame)),
            None => {
                self.unread.push_back((now + limits.expiry, frame));
                Sent::Queued
            }
        }
    }

    pub(super) fn receive(&mut self, worker: WorkerId, request: u64) -> Option<Handed> {
        match self.unread.pop_front() {
            Some((_, frame)) => Some((worker, request, frame)),
            None => {
                self.readers.push_back((worker, request));
                None
            }
        }
    }

    pub(super) fn cancel(&mut self, worker: WorkerId, request: u64) {
        self.readers.retain(|reader| *reader != (worker, request));
    }

    /// Takes back what reached nobody, as the next to be read.
    pub(super) fn give_back(
        &mut self,
        now: Duration,
        frame: Frame,
        limits: &Limits,
    ) -> Option<Handed> {
        match self.readers.pop_front() {
            Some((worker, request)) => Some((worker, request, frame)),
            None => {
                self.unread.push_front((now + limits.expiry, frame));
                None
            }
        }
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.readers.retain(|(reader, _)| *reader != worker);
    }
}
