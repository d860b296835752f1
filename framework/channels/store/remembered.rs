//! Which sends came, so that those are recognised that come again over a new link.

use std::collections::{HashMap, VecDeque};

use crate::channels::protocol::Key;

/// Sends of a process that are remembered: as many as it may have under way at once.
const REQUESTS_MAX: usize = 16 * 1024;
/// Processes whose sends are remembered; beyond it those that have sent nothing for longest are
/// forgotten.
const SENDERS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Remembered {
    senders: HashMap<u64, Sender>,
    /// Counts what came.
    came: u64,
}

#[derive(Debug, Default)]
struct Sender {
    /// In the order they came.
    requests: VecDeque<u64>,
    /// When something last did.
    used: u64,
}

impl Remembered {
    /// Whether the send with this key came before; a look at each of its process.
    pub(super) fn has(&self, key: Key) -> bool {
        let session = self.senders.get(&key.session);
        session.is_some_and(|session| session.requests.contains(&key.request))
    }

    /// The send with this key came.
    pub(super) fn add(&mut self, key: Key) {
        self.came += 1;
        let session = self.senders.entry(key.session).or_default();
        session.used = self.came;
        if session.requests.len() >= REQUESTS_MAX {
            session.requests.pop_front();
        }
        session.requests.push_back(key.request);
        if self.senders.len() > SENDERS_MAX {
            let oldest = self.senders.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                self.senders.remove(&oldest);
            }
        }
    }
}
