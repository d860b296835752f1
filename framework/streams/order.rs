//! Sends of a client in the order in which it said them, though some are refused for the moment.
//!
//! A client does not wait for one answer before it says the next thing. So when a send is refused
//! with `unavailable`, those behind it are on their way already; handled now, they would come
//! before the one that is said again. They are refused the same way until it is their turn.
//!
//! Invariants:
//! - While sends of a stream are to be said again, only the first of them is handled.
//! - A client that gives one up waits no longer than [`PATIENCE`] for the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Refusal, Sent, Why};

/// How long the first of a stream's refused sends keeps its turn, from its last refusal on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Refused sends that are known of one client; beyond them order is not kept.
const KEYS_MAX: usize = 1000;

/// The refused sends of one client.
#[derive(Debug, Default)]
pub(super) struct Order {
    streams: BTreeMap<String, Queue>,
}

/// Keys of a stream, the first of them said first, and until when it is waited for.
#[derive(Debug)]
struct Queue {
    keys: VecDeque<String>,
    until: Instant,
}

impl Order {
    /// Whether it is this send's turn; otherwise it is to be said again after those before it.
    pub(super) fn admit(&mut self, sent: &Sent) -> Result<(), Refusal> {
        let Some(key) = sent.key.as_deref() else { return Ok(()) };
        let Some(queue) = self.streams.get(&sent.stream) else { return Ok(()) };
        if queue.until <= Instant::now() {
            self.streams.remove(&sent.stream);
            return Ok(());
        }
        if queue.keys.front().is_some_and(|first| first == key) {
            return Ok(());
        }
        let refusal = Refusal::new(Why::Unavailable).stream(&sent.stream).key(Some(key));
        self.note(sent, Some(&refusal));
        Err(refusal)
    }

    /// What came of a send: it is done with, or it has to be said again.
    pub(super) fn note(&mut self, sent: &Sent, refusal: Option<&Refusal>) {
        let Some(key) = sent.key.as_deref() else { return };
        let until = Instant::now() + PATIENCE;
        if refusal.is_none_or(|refusal| refusal.why != Why::Unavailable) {
            let Some(queue) = self.streams.get_mut(&sent.stream) else { return };
            queue.keys.retain(|known| known != key);
            queue.until = until;
            if queue.keys.is_empty() {
                self.streams.remove(&sent.stream);
            }
            return;
        }
        let is_full =
            self.streams.values().map(|queue| queue.keys.len()).sum::<usize>() >= KEYS_MAX;
        match self.streams.get_mut(&sent.stream) {
            Some(queue) if queue.keys.front().is_some_and(|first| first == key) => {
                queue.until = until;
            }
            Some(queue) if is_full || queue.keys.iter().any(|known| known == key) => {}
            Some(queue) => queue.keys.push_back(key.to_owned()),
            None if is_full => {}
            None => {
                let keys = VecDeque::from([key.to_owned()]);
                self.streams.insert(sent.stream.clone(), Queue { keys, until });
            }
        }
    }

    /// The keys of each stream that are waited for still, for another worker.
    pub(super) fn keys(&self) -> BTreeMap<String, VecDeque<String>> {
        let now = Instant::now();
        let waited_for = self.streams.iter().filter(|(_, queue)| queue.until > now);
        waited_for.map(|(stream, queue)| (stream.clone(), queue.keys.clone())).collect()
    }

    /// That of another worker; the first of each stream is waited for from now on.
    pub(super) fn with_keys(keys: BTreeMap<String, VecDeque<String>>) -> Self {
        let until = Instant::now() + PATIENCE;
        let queue = |(stream, keys)| (stream, Queue { keys, until });
        Self { streams: keys.into_iter().map(queue).collect() }
    }

    /// The client has left the stream: it says nothing of it again.
    pub(super) fn forget(&mut self, stream: &str) {
        self.streams.remove(stream);
    }
}
