//! A connection leaves this process alive: another one goes on with it.
//!
//! Flow: draining begins and there is a [`Successor`] → [`Mover::give_away`] asks every slot → its
//! task, between two calls, packs what there is (`parcel`) and lends its descriptor → the other
//! process has all but begun (`resume`) and says so → it is told to go on, and the task here ends
//! without a word to the client or the consumer.
//!
//! Invariants:
//! - One of the two writes and reads, never both: the giver is silent from packing on, the taker
//!   until it is told to go on. Whatever fails before that, the connection is still the giver's.
//! - What cannot move goes on here and is sent away as ever, with 1012.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::handoff::{Handoff, Packed};
use super::parcel::{Luggage, Parcel};
use super::reply::Shared;
use super::slot::Slot;
use super::task::Reader;
use super::wheel::Wheel;
use crate::channels::Sink as _;
use crate::http::Request;
use crate::site::{Lifecycle, Site};

/// Connections on their way at once.
const MOVING_MAX: usize = 128;
/// How long nobody may move before those that are left stay: they are busy, or nobody takes them.
const MOVE_WAIT: Duration = Duration::from_secs(5);
/// How often those are looked at that could not move a moment ago.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Handles of a connection when nobody else has one: its task's two and its socket's own.
const HANDLES: usize = 3;

/// The process that goes on.
pub(crate) trait Successor: fmt::Debug + Send + Sync {
    /// Gives it a connection; whether it goes on with it from now on. If not, nothing of it was
    /// touched.
    fn take<'a>(
        &'a self,
        request: &'a Request,
        parcel: Parcel,
        stream: OwnedFd,
    ) -> BoxFuture<'a, bool>;
}

/// Gives connections to another process.
#[derive(Debug)]
pub(super) struct Mover {
    successor: Arc<dyn Successor>,
    places: Arc<Semaphore>,
    /// Somebody has moved, or stays.
    progress: Notify,
}

/// The right to move now.
#[derive(Debug)]
pub(super) struct Turn {
    mover: Arc<Mover>,
    place: Option<OwnedSemaphorePermit>,
}

/// When draining begins, `successor` goes on with the connections of this process that can move.
pub(crate) fn hand_on(site: &Site, successor: Arc<dyn Successor>) {
    Wheel::of(site).succeed(successor);
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.place = None;
        self.mover.progress.notify_one();
    }
}

impl Mover {
    pub(super) fn new(successor: Arc<dyn Successor>) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(MOVING_MAX));
        Arc::new(Self { successor, places, progress: Notify::new() })
    }

    fn turn(self: &Arc<Self>) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Turn { mover: Arc::clone(self), place: Some(place) })
    }

    /// Asks all to move, and waits until each has or stays, for two thirds of `window` at most.
    pub(super) async fn give_away(
        &self,
        (lifecycle, window): (&Lifecycle, Duration),
        slots: &[Weak<Slot>],
    ) {
        let end = Instant::now() + window * 2 / 3;
        let mut patient_until = Instant::now() + MOVE_WAIT;
        slots.iter().filter_map(Weak::upgrade).for_each(|slot| slot.ask_to_move());
        let mut asked: VecDeque<Weak<Slot>> = slots.iter().cloned().collect();
        loop {
            self.wake_some(&mut asked);
            if asked.is_empty() && self.places.available_permits() == MOVING_MAX {
                return;
            }
            tokio::select! {
                () = self.progress.notified() => patient_until = Instant::now() + MOVE_WAIT,
                () = sleep(LOOK_AGAIN) => {}
                () = lifecycle.hurrying() => break,
                () = sleep_until(end.min(patient_until)) => break,
            }
        }
        asked.iter().filter_map(Weak::upgrade).for_each(|slot| slot.stay());
    }

    /// Wakes as many as there are places for; those that have decided are forgotten.
    fn wake_some(&self, asked: &mut VecDeque<Weak<Slot>>) {
        let mut free = self.places.available_permits();
        for _ in 0..asked.len() {
            let Some(next) = asked.pop_front() else { return };
            let Some(slot) = next.upgrade().filter(|slot| slot.is_asked_to_move()) else {
                continue;
            };
            asked.push_back(next);
            if free == 0 {
                return;
            }
            free -= 1;
            slot.look();
        }
    }
}

/// Whether the connection can ever move as it is: its consumer says so, and no task works for it.
pub(super) fn is_movable(shared: &Shared, handoff: impl FnOnce() -> Handoff) -> bool {
    !shared.tasks.are_any() && packed(handoff).is_some()
}

/// What the consumer gives; `None`: the connection stays.
pub(super) fn packed(handoff: impl FnOnce() -> Handoff) -> Option<Packed> {
    let given = std::panic::catch_unwind(AssertUnwindSafe(handoff));
    given.inspect_err(|_| tracing::error!("a consumer's handoff panicked")).ok()?.pack()
}

/// The right to move now, if nothing of the connection is under way.
pub(super) fn turn(shared: &Arc<Shared>) -> Option<Turn> {
    // Who keeps a handle would be left with one of nothing.
    let is_alone = Arc::strong_count(shared) <= HANDLES && !shared.tasks.are_any();
    (is_alone && shared.slot.is_quiet()).then(|| shared.slot.mover()?.turn())?
}

/// Gives the connection to the other process; whether that goes on with it.
pub(super) async fn hand_over(
    shared: &Shared,
    (consumer, handoff): (&str, Option<Packed>),
    reader: &Reader,
    turn: Turn,
) -> bool {
    let slot = &shared.slot;
    slot.stay();
    let (Some(handoff), Some(stream)) = (handoff, slot.lend()) else { return false };
    // From here on neither ticks nor the wheel write.
    slot.begin_call();
    let is_gone = async {
        let stakes = shared.connection.stakes()?;
        let marked = shared.connection.marked()?;
        let (rest, parser) = reader.unread();
        let is_deflated = slot.is_deflated();
        let luggage = Luggage { consumer, handoff, is_deflated, rest, parser, stakes, marked };
        let parcel = Parcel::pack(&shared.request, luggage)?;
        Some(turn.mover.successor.take(&shared.request, parcel, stream).await)
    };
    let is_gone = is_gone.await == Some(true);
    slot.end_call();
    if is_gone {
        shared.place.moved();
    }
    is_gone
}
