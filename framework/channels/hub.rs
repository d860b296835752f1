//! The store with the workers around it: carries events in and effects out, in one order.
//!
//! Flow: a worker asks → [`Hub::step`] → [`Store::step`] → each effect to the port of its worker: a
//! table in this process, or the outbox of a link (encoded once for all).
//!
//! Invariants:
//! - The lock is held while effects are handed out, so every worker sees the store's order.
//! - What one read of a link brings is one turn: one lock, one look at the clock, no memory of its
//!   own for each message.
//! - An outbox over its bound blocks its worker in the store; what it misses waits in the rings.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::protocol::{Ask, Tell, VERSION};
use super::store::{Effect, Event, Store, WorkerId};
use super::wire::{self, BadFrame};
use super::worker::{Seat, later};

/// Bytes a worker may leave unread before it is told nothing new.
const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes for encoding one effect that are kept for the next.
const ENCODED_BYTES_MAX: usize = 64 * 1024;
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
    ports: BTreeMap<WorkerId, Port>,
    worker_last: u64,
    turn: Turn,
}

/// What a turn needs, kept for the next.
#[derive(Default)]
struct Turn {
    events: VecDeque<Event>,
    effects: Vec<Effect>,
    encoded: BytesMut,
}

/// What became of the words of a worker.
pub(super) enum Heard {
    /// The store has them all.
    All,
    /// It must read before it may ask more.
    Full,
    /// It speaks another version of the protocol.
    Stranger,
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
        let (ports, turn) = (BTreeMap::new(), Turn::default());
        let inner = Inner { store, ports, worker_last: 0, turn };
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
        self.turn_with(|inner, now| inner.step(now, event));
    }

    /// Lets the store have all whole frames of `bytes`, which come from `worker`.
    ///
    /// # Errors
    /// One cannot be read.
    pub(super) fn hear(
        &self,
        worker: WorkerId,
        outbox: &Outbox,
        bytes: &mut BytesMut,
    ) -> Result<Heard, BadFrame> {
        self.turn_with(|inner, now| {
            while !outbox.is_full() {
                let Some(ask) = wire::next_ask(bytes)? else { return Ok(Heard::All) };
                if matches!(ask, Ask::Hello { version, .. } if version != VERSION) {
                    return Ok(Heard::Stranger);
                }
                inner.step(now, Event::Asked(worker, ask));
            }
            Ok(Heard::Full)
        })
    }

    fn turn_with<T>(&self, act: impl FnOnce(&mut Inner, Duration) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.started.elapsed();
        let due = inner.store.next_due();
        let value = act(&mut inner, now);
        let store = &inner.store;
        if store.next_due().is_some_and(|next| due.is_none_or(|due| next < due)) {
            self.rescheduled.notify_waiters();
        }
        value
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

impl Inner {
    fn step(&mut self, now: Duration, event: Event) {
        let Self { store, ports, turn: Turn { events, effects, encoded }, .. } = self;
        events.push_back(event);
        while let Some(event) = events.pop_front() {
            store.step_into(now, event, effects);
            for effect in effects.drain(..) {
                encoded.clear();
                hand_out(ports, &effect, events, encoded);
            }
        }
        if encoded.capacity() > ENCODED_BYTES_MAX {
            *encoded = BytesMut::new();
        }
    }
}

/// Carries one effect to the workers it is for; notes what follows from that at once.
fn hand_out(
    ports: &BTreeMap<WorkerId, Port>,
    effect: &Effect,
    events: &mut VecDeque<Event>,
    encoded: &mut BytesMut,
) {
    for worker in effect.to.all() {
        match ports.get(worker) {
            None => {}
            Some(Port::Table(seat)) => {
                if let Some(ask) = seat.tell(effect.tell.clone()) {
                    events.push_back(Event::Asked(*worker, ask));
                }
            }
            Some(Port::Outbox(outbox)) => {
                if encoded.is_empty() {
                    wire::encode_tell(&effect.tell, encoded);
                }
                let mut bytes = outbox.bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let was_empty = bytes.is_empty();
                bytes.extend_from_slice(encoded);
                if bytes.len() > OUTBOX_BYTES_MAX && matches!(effect.tell, Tell::Deliver { .. }) {
                    events.push_back(Event::Blocked(*worker));
                }
                drop(bytes);
                if was_empty {
                    // Else its writer knows, and takes until there is nothing.
                    outbox.filled.notify_one();
                }
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
