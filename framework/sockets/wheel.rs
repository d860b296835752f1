//! The clock of a site's sockets: one task that looks at each of them a few times a minute.
//!
//! Flow: a connection that begins is noted for one period later → [`turn`] looks at those whose
//! time has come ([`Slot::check`]) and notes them again. As they began at different times, so are
//! they looked at: pings leave spread over the period.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::moving::{Mover, Successor};
use super::slot::Slot;
use crate::conf;
use crate::site::Site;

/// The unit of time here.
const TICK: Duration = Duration::from_millis(100);
/// Ticks of a second.
const TICKS: u32 = 10;
/// The tick at which a wheel begins, an hour: a client that comes from another process may have
/// been silent for as long before. 0 means never elsewhere.
const BEGIN: u32 = 60 * 60 * TICKS;
/// Connections a second that are sent to the process that goes on in this one's place: each costs
/// that one a handshake.
const SENT_AWAY_A_SECOND: u32 = 500;
/// Time between two of them, or two handfuls.
const SEND_PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked who is left, once all are to go.
const LAST_LOOKS: Duration = Duration::from_millis(100);
/// Longest time between two looks at a connection, in ticks.
const PERIOD_MAX: u32 = 5 * TICKS;

/// How long a client may be silent, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until it is pinged.
    pub(super) interval: u32,
    /// From then on, and for one that takes nothing.
    pub(super) timeout: u32,
}

impl Patience {
    fn new(settings: &conf::Server) -> Self {
        let ticks = |seconds: u64| {
            u32::try_from(seconds.max(1)).unwrap_or(u32::MAX).min(u32::MAX / 4 / TICKS) * TICKS
        };
        Self { interval: ticks(settings.ping_interval), timeout: ticks(settings.ping_timeout) }
    }

    /// Time between two looks: a fault is found a quarter of its time late at most.
    fn period(self) -> u32 {
        (self.interval.min(self.timeout) / 4).clamp(1, PERIOD_MAX)
    }
}

#[derive(Debug)]
pub(super) struct Wheel {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections by the tick at which to look at them.
    due: BTreeMap<u32, Vec<Weak<Slot>>>,
    /// There is a task.
    is_turning: bool,
    /// Who gives connections away, while that goes on.
    mover: Option<Arc<Mover>>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { started: Instant::now(), state: Mutex::default() }
    }
}

impl Wheel {
    /// The wheel of a site.
    pub(super) fn of(site: &Site) -> Arc<Self> {
        site.keep(|_| Self::default())
    }

    /// Ticks since it was made, and [`BEGIN`].
    pub(super) fn now(&self) -> u32 {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        BEGIN.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The tick so many ticks ago.
    pub(super) fn before(&self, ticks: u32) -> u32 {
        self.now().saturating_sub(ticks).max(1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When draining begins, `successor` goes on with those that can move.
    pub(super) fn succeed(&self, successor: Arc<dyn Successor>) {
        let mut state = self.state();
        // Without connections there is nothing to give.
        state.mover = state.is_turning.then(|| Mover::new(successor));
    }

    /// Who gives connections away.
    pub(super) fn mover(&self) -> Option<Arc<Mover>> {
        self.state().mover.clone()
    }

    /// Looks after a connection that begins, until it is gone.
    pub(super) fn watch(self: &Arc<Self>, site: &Site, slot: &Arc<Slot>) {
        let due = self.now() + Patience::new(&site.settings().server).period();
        let must_turn = {
            let mut state = self.state();
            state.due.entry(due).or_default().push(Arc::downgrade(slot));
            !std::mem::replace(&mut state.is_turning, true)
        };
        if must_turn {
            site.lifecycle().spawn(turn(Arc::clone(self), site.clone()));
        } else if site.lifecycle().is_draining() {
            slot.drain();
        }
    }

    /// Those whose time has come.
    fn take(&self, now: u32) -> Vec<Weak<Slot>> {
        let mut state = self.state();
        let later = state.due.split_off(&(now + 1));
        std::mem::replace(&mut state.due, later).into_values().flatten().collect()
    }

    /// Forgets those that are gone before their time has come.
    fn forget_gone(&self) {
        let mut state = self.state();
        state.due.retain(|_, slots| {
            slots.retain(|slot| slot.strong_count() > 0);
            !slots.is_empty()
        });
    }

    /// When to look next; `None`: at nobody, and the task ends.
    fn next(&self) -> Option<Instant> {
        let mut state = self.state();
        let next = state.due.first_key_value().map(|(tick, _)| *tick);
        state.is_turning = next.is_some();
        next.map(|tick| self.started + TICK * tick.saturating_sub(BEGIN))
    }
}

/// Tells all of them to end: in one moment if the server goes away, else a few at a time, within
/// `window`.
async fn send_away(site: &Site, slots: &[Weak<Slot>], window: Duration) {
    let lifecycle = site.lifecycle();
    let slots: Vec<_> = slots.iter().filter(|slot| slot.strong_count() > 0).collect();
    let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let window = window
        .min(Duration::from_secs(1).mul_f64(f64::from(count) / f64::from(SENT_AWAY_A_SECOND)));
    let turns = (window.as_millis() / SEND_PAUSE.as_millis()).max(1);
    let handful = slots.len().div_ceil(usize::try_from(turns).unwrap_or(usize::MAX)).max(1);
    let mut is_spread = turns > 1;
    for handful in slots.chunks(handful) {
        handful.iter().filter_map(|slot| slot.upgrade()).for_each(|slot| slot.drain());
        if is_spread {
            tokio::select! {
                () = lifecycle.hurrying() => is_spread = false,
                () = sleep(SEND_PAUSE) => {}
            }
        }
    }
}

/// Looks at connections until there are none.
async fn turn(wheel: Arc<Wheel>, site: Site) {
    let patience = Patience::new(&site.settings().server);
    let mut is_draining = false;
    while let Some(next) = wheel.next() {
        tokio::select! {
            biased;
            () = site.lifecycle().draining(), if !is_draining => {
                is_draining = true;
                let slots: Vec<_> = wheel.state().due.values().flatten().cloned().collect();
                let (begun, lifecycle) = (Instant::now(), site.lifecycle());
                let window = lifecycle.replaced().unwrap_or_default();
                if let Some(mover) = wheel.mover() {
                    mover.give_away((lifecycle, window), &slots).await;
                }
                wheel.state().mover = None;
                send_away(&site, &slots, window.saturating_sub(begun.elapsed())).await;
            }
            () = sleep_until(next) => {}
            () = sleep(LAST_LOOKS), if is_draining => {}
        }
        if is_draining {
            wheel.forget_gone();
        }
        let now = wheel.now();
        let live: Vec<Arc<Slot>> = wheel.take(now).iter().filter_map(Weak::upgrade).collect();
        live.iter().for_each(|slot| slot.check(now, patience));
        if !live.is_empty() {
            let again = live.iter().map(Arc::downgrade);
            wheel.state().due.entry(now + patience.period()).or_default().extend(again);
        }
    }
    wheel.state().mover = None;
}
