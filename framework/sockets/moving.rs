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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::handoff::{Handoff, Packed};
use super::parcel::{Luggage, Parcel};
use super::reply::Shared;
use super::slot::{Silence, Slot};
use super::task::Reader;
use super::wheel::Wheel;
use crate::channels::Sink as _;
use crate::http::Request;
use crate::site::{Lifecycle, Site};

/// Connections on their way at once.
const MOVING_MAX: usize = 128;
/// How long nobody may move before those that are left stay: they are busy, or nobody takes them.
const MOVE_WAIT: Duration = Duration::from_secs(5);
/// How long a connection may have tasks: most that have one then have it as long as they are open.
const TASK_WAIT: Duration = Duration::from_secs(1);
/// How often those are looked at that could not move a moment ago.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Handles of a connection when nobody else has one: its task's two and its socket's own.
const HANDLES: usize = 3;

/// The process that goes on.
pub(crate) trait Successor: fmt::Debug + Send + Sync {
    /// Gives it a connection. Unless it has taken it, nothing of it was touched.
    fn take<'a>(
        &'a self,
        request: &'a Request,
        parcel: Parcel,
        stream: OwnedFd,
    ) -> BoxFuture<'a, Offered>;
}

/// What became of a connection that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The other process goes on with it.
    Taken,
    /// It does not, and knows why.
    Refused,
    /// It was not offered, for it is too large.
    TooLarge,
}

/// Gives connections to another process.
#[derive(Debug)]
pub(super) struct Mover {
    successor: Arc<dyn Successor>,
    places: Arc<Semaphore>,
    begun: Instant,
    moved: AtomicU64,
    /// Somebody has moved, or stays.
    progress: Notify,
    /// Why connections stay, as far as the log has it.
    told: Mutex<Vec<&'static str>>,
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
        let (begun, moved, progress) = (Instant::now(), AtomicU64::new(0), Notify::new());
        Arc::new(Self { successor, places, begun, moved, progress, told: Mutex::default() })
    }

    fn turn(self: &Arc<Self>) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Turn { mover: Arc::clone(self), place: Some(place) })
    }

    /// Tells why connections stay, each reason once: thousands may have the same.
    fn tell(&self, why: &'static str, path: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains(&why) {
            told.push(why);
            tracing::info!(path, "a WebSocket, and maybe others, cannot move: {why}");
        }
    }

    /// Asks all to move, and waits until each has or stays, for two thirds of `window` at most.
    pub(super) async fn give_away(
        &self,
        (lifecycle, window): (&Lifecycle, Duration),
        slots: &[Weak<Slot>],
    ) {
        let end = Instant::now() + window * 2 / 3;
        let (mut moved, mut patient_until) = (0, Instant::now() + MOVE_WAIT);
        slots.iter().filter_map(Weak::upgrade).for_each(|slot| slot.ask_to_move());
        let mut asked: VecDeque<Weak<Slot>> = slots.iter().cloned().collect();
        loop {
            self.wake_some(&mut asked);
            if asked.is_empty() && self.places.available_permits() == MOVING_MAX {
                return;
            }
            tokio::select! {
                () = self.progress.notified() => {}
                () = sleep(LOOK_AGAIN) => {}
                () = lifecycle.hurrying() => break,
                () = sleep_until(end.min(patient_until)) => break,
            }
            // Who only refuses is not waited for.
            let now_moved = self.moved.load(Ordering::Relaxed);
            if std::mem::replace(&mut moved, now_moved) != now_moved {
                patient_until = Instant::now() + MOVE_WAIT;
            }
        }
        let left = asked.iter().filter_map(Weak::upgrade).filter(|slot| slot.is_asked_to_move());
        let left = left.map(|slot| slot.stay()).count();
        if left > 0 {
            tracing::info!(left, "WebSockets were busy, or handles of them are kept: they stay");
        }
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

/// Whether nothing works for the connection and nobody has a handle of it: who keeps one would be
/// left with one of nothing. One that has a task for long stays.
pub(super) fn is_alone(shared: &Arc<Shared>) -> bool {
    if !shared.tasks.are_any() {
        return Arc::strong_count(shared) <= HANDLES;
    }
    let is_old = |mover: &Arc<Mover>| mover.begun.elapsed() >= TASK_WAIT;
    if shared.slot.mover().is_some_and(|mover| is_old(&mover)) {
        stay(shared, "it has a task");
    }
    false
}

/// The connection does not move.
pub(super) fn stay(shared: &Shared, why: &'static str) {
    shared.slot.stay();
    if let Some(mover) = shared.slot.mover() {
        mover.tell(why, shared.request.path());
    }
}

/// What the consumer gives; `None`: the connection stays.
pub(super) fn packed(handoff: impl FnOnce() -> Handoff) -> Option<Packed> {
    let given = std::panic::catch_unwind(AssertUnwindSafe(handoff));
    given.inspect_err(|_| tracing::error!("a consumer's handoff panicked")).ok()?.pack()
}

/// The right to move now, if nothing of the connection is under way.
pub(super) fn turn(shared: &Arc<Shared>) -> Option<Turn> {
    let slot = &shared.slot;
    (is_alone(shared) && slot.is_quiet() && !slot.is_broken()).then(|| slot.mover()?.turn())?
}

/// Gives the connection to the other process; whether that goes on with it.
pub(super) async fn hand_over(
    shared: &Shared,
    (consumer, handoff): (&str, Option<Packed>),
    reader: &Reader,
    turn: Turn,
) -> bool {
    let slot = &shared.slot;
    let silence = slot.silence();
    // From here on neither ticks nor the wheel write. One of another thread may have come before:
    // then it is asked again.
    if !slot.begin_if_quiet() {
        return false;
    }
    slot.stay();
    let packed = pack(shared, (consumer, handoff), reader, silence);
    let offered = match packed {
        Ok((parcel, stream)) => turn.mover.successor.take(&shared.request, parcel, stream).await,
        Err(why) => {
            turn.mover.tell(why, shared.request.path());
            Offered::Refused
        }
    };
    slot.end_call();
    match offered {
        Offered::Taken => {
            shared.place.moved();
            turn.mover.moved.fetch_add(1, Ordering::Relaxed);
        }
        Offered::Refused => {}
        Offered::TooLarge => turn.mover.tell("it is larger than 256 KiB", shared.request.path()),
    }
    offered == Offered::Taken
}

/// All there is of the connection; or why it cannot move.
fn pack(
    shared: &Shared,
    (consumer, handoff): (&str, Option<Packed>),
    reader: &Reader,
    silence: Silence,
) -> Result<(Parcel, OwnedFd), &'static str> {
    let handoff = handoff.ok_or("its consumer says so")?;
    let stream = shared.slot.lend().ok_or("only plain TCP connections can")?;
    let stakes = shared.connection.stakes().ok_or("it is on its way into a group")?;
    let marked = shared.connection.marked().ok_or("whether it may stay is not known")?;
    let (rest, parser) = reader.unread();
    let is_deflated = shared.slot.is_deflated();
    let luggage = Luggage { consumer, handoff, is_deflated, silence, rest, parser, stakes, marked };
    let parcel = Parcel::pack(&shared.request, luggage);
    Ok((parcel.ok_or("layers of the site have put values beside its request")?, stream))
}
