//! How many WebSockets a process holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::channels::Mark;
use crate::site::Site;

/// Codes that are counted by themselves; the last stands for all others.
pub(crate) const CODES: [u16; 12] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 0];

/// The WebSockets of a site in this process.
#[derive(Debug, Default)]
pub(crate) struct Cap {
    held: AtomicUsize,
    opened: AtomicU64,
    refused: AtomicU64,
    groups_refused: AtomicU64,
    heard: AtomicU64,
    moved: AtomicU64,
    sent_on: AtomicU64,
    /// How many were closed from here, by the place of the code in [`CODES`].
    closed: [AtomicU64; CODES.len()],
    /// How many count under a mark: a user, a session, an address.
    claimed: Mutex<HashMap<Mark, usize>>,
}

/// Numbers of a process's WebSockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketCounts {
    /// Open now.
    pub(crate) held: u64,
    /// Opened ever.
    pub(crate) opened: u64,
    /// Refused for lack of a place.
    pub(crate) refused: u64,
    /// Times one was to join more groups than it may.
    pub(crate) groups_refused: u64,
    /// Messages of clients.
    pub(crate) heard: u64,
    /// Those another process went on with.
    pub(crate) moved: u64,
    /// Closed with 1012, to come back to another process.
    pub(crate) sent_on: u64,
    /// Closed from here, in the order of [`CODES`].
    pub(crate) closed: [u64; CODES.len()],
}

/// The place of one. Dropping it lets another one in.
#[derive(Debug)]
pub(super) struct Place {
    cap: Arc<Cap>,
    claims: Mutex<Vec<Mark>>,
}

impl Cap {
    /// That of a site.
    pub(crate) fn of(site: &Site) -> Arc<Self> {
        site.keep(|_| Self::default())
    }

    /// A place, if `max` (0: any number) are not there yet.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        let place = Place::new(self);
        if max > 0 && before >= max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        Some(place)
    }

    /// The same for one that another process gives up; it was counted there.
    pub(super) fn enter_moved(self: &Arc<Self>, max: usize) -> Option<Place> {
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        let place = Place::new(self);
        (max == 0 || before < max).then_some(place)
    }

    /// What there is and was.
    pub(crate) fn counts(&self) -> SocketCounts {
        SocketCounts {
            held: self.held.load(Ordering::Relaxed) as u64,
            opened: self.opened.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            groups_refused: self.groups_refused.load(Ordering::Relaxed),
            heard: self.heard.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
            sent_on: self.sent_on.load(Ordering::Relaxed),
            closed: self.closed.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl Place {
    fn new(cap: &Arc<Cap>) -> Self {
        Self { cap: Arc::clone(cap), claims: Mutex::default() }
    }

    /// Counts it under `mark` too, until it ends; whether those are no more than `max` by now.
    pub(super) fn claim(&self, mark: Mark, max: usize) -> bool {
        let mut claimed = lock(&self.cap.claimed);
        let count = claimed.entry(mark).or_default();
        if *count >= max {
            self.cap.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        *count += 1;
        lock(&self.claims).push(mark);
        true
    }

    /// It was to join a group more than it may.
    pub(super) fn refused_group(&self) {
        self.cap.groups_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a message of its client.
    pub(super) fn heard(&self) {
        self.cap.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// It is closed from here, with this code.
    pub(super) fn closed(&self, code: u16) {
        let place = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.cap.closed[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Another process goes on with it.
    pub(super) fn moved(&self) {
        self.cap.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Its client is told to come back to another process.
    pub(super) fn sent_on(&self) {
        self.cap.sent_on.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let claims = std::mem::take(self.claims.get_mut().unwrap_or_else(PoisonError::into_inner));
        for mark in claims {
            let mut claimed = lock(&self.cap.claimed);
            if let Some(count) = claimed.get_mut(&mark) {
                *count -= 1;
                if *count == 0 {
                    claimed.remove(&mark);
                }
            }
        }
        self.cap.held.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
