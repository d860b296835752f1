//! The store with the workers around it: carries events in and effects out, in one order.
//!
//! Flow: a worker asks → [`Hub::step`] → [`Store::step`] → each effect to the port of its worker: a
//! table in this process, or the outbox of a link (encoded once for all).
//!
//! Invariants:
//! - The lock is held while effects are handed out, so every worker sees the store's order.
//! - An outbox over its bound blocks its worker in the store; what it misses waits in the rings.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::protocol::Tell;
use super::store::{Effect, Event, Store, WorkerId};
use super::wire;
use super::worker::{Seat, later};

/// Bytes a worker may leave unread before it is told nothing new.
const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Below this it is told again.
const OUTBOX_BYTES_LOW: usize = 1024 * 1024;

pub(super) struct Hub {
    started: Instant,
    inner: Mutex<Inner>,
    /// Something is due earlier than before.
    rescheduled: Notify,
}

struct Inner {
    store: Store,
    ports: HashMap<WorkerId, Port>,
    worker_last: u64,
}

/// The way to a worker.
enum Port {
    /// In this process.
    Table(Arc<Seat>),
    /// At the other end of a link.
    Outbox(Arc<Outbox>),
}

/// What a linked worker has not read yet, encoded. Shared by the hub and the link's writer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Mutex<BytesMut>,
    /// There is something to write.
    pub(super) filled: Notify,
    /// There is room for answers again.
    pub(super) drained: Notify,
}

impl Outbox {
    /// Takes all there is to write.
    pub(super) fn take(&self) -> BytesMut {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).split()
    }

    /// Whether the worker must read before it may ask more.
    pub(super) fn is_full(&self) -> bool {
        self.len() > OUTBOX_BYTES_MAX
    }

    fn len(&self) -> usize {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Hub {
    pub(super) fn new(store: Store) -> Self {
        let inner = Inner { store, ports: HashMap::new(), worker_last: 0 };
        Self { started: Instant::now(), inner: Mutex::new(inner), rescheduled: Notify::new() }
    }

    /// Adds a worker of this process.
    pub(super) fn attach(&self, seat: Arc<Seat>) -> WorkerId {
        self.add(Port::Table(seat))
    }

    /// Adds a linked worker.
    pub(super) fn link(&self, outbox: Arc<Outbox>) -> WorkerId {
        self.add(Port::Outbox(outbox))
    }

    fn add(&self, port: Port) -> WorkerId {
        let id = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.worker_last += 1;
            let id = WorkerId(inner.worker_last);
            inner.ports.insert(id, port);
            id
        };
        self.step(Event::Connected(id));
        id
    }

    /// Ends a worker.
    pub(super) fn remove(&self, worker: WorkerId) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).ports.remove(&worker);
        self.step(Event::Gone(worker));
        self.flush();
    }

    /// Ends the tick of the workers of this process.
    pub(super) fn flush(&self) {
        let seats: Vec<Arc<Seat>> = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let ports = inner.ports.values();
            ports
                .filter_map(|port| match port {
                    Port::Table(seat) => Some(Arc::clone(seat)),
                    Port::Outbox(_) => None,
                })
                .collect()
        };
        seats.iter().for_each(|seat| seat.flush());
    }

    /// Lets the store have `event` and hands out what follows from it.
    pub(super) fn step(&self, event: Event) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.started.elapsed();
        let Inner { store, ports, .. } = &mut *inner;
        let due = store.next_due();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in store.step(now, event) {
                hand_out(ports, &effect, &mut events);
            }
        }
        if store.next_due().is_some_and(|next| due.is_none_or(|due| next < due)) {
            self.rescheduled.notify_waiters();
        }
    }

    fn next_due(&self) -> Option<Duration> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).store.next_due()
    }

    /// Lets the store know whenever something is due, as long as it is awaited.
    pub(super) async fn turn(&self) -> Infallible {
        loop {
            let rescheduled = self.rescheduled.notified();
            tokio::pin!(rescheduled);
            // From here on nothing is missed.
            rescheduled.as_mut().enable();
            match self.next_due() {
                None => rescheduled.await,
                Some(due) => tokio::select! {
                    () = rescheduled => {}
                    () = sleep_until(later(self.started, due)) => {
                        self.step(Event::Tick);
                        self.flush();
                    }
                },
            }
        }
    }

    /// The writer of `worker` has written what it took: tell it what it missed, if it missed any.
    pub(super) fn written(&self, worker: WorkerId, outbox: &Outbox) {
        outbox.drained.notify_one();
        let is_blocked = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.store.is_blocked(worker)
        };
        if is_blocked && outbox.len() < OUTBOX_BYTES_LOW {
            self.step(Event::Drained(worker));
        }
    }
}

/// Carries one effect to the workers it is for; notes what follows from that at once.
fn hand_out(ports: &HashMap<WorkerId, Port>, effect: &Effect, events: &mut VecDeque<Event>) {
    let mut encoded = BytesMut::new();
    for worker in &effect.to {
        match ports.get(worker) {
            None => {}
            Some(Port::Table(seat)) => {
                if let Some(ask) = seat.tell(effect.tell.clone()) {
                    events.push_back(Event::Asked(*worker, ask));
                }
            }
            Some(Port::Outbox(outbox)) => {
                if encoded.is_empty() {
                    wire::encode_tell(&effect.tell, &mut encoded);
                }
                let mut bytes = outbox.bytes.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend_from_slice(&encoded);
                if bytes.len() > OUTBOX_BYTES_MAX && matches!(effect.tell, Tell::Deliver { .. }) {
                    events.push_back(Event::Blocked(*worker));
                }
                drop(bytes);
                outbox.filled.notify_one();
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
