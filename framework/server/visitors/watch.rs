//! Patience with clients: who says nothing, too little or takes nothing loses the connection.
//!
//! Flow: each connection has a [`Watched`] in which its stream and its requests write down what
//! they wait for → one task a worker, [`Watch::look`], looks at all of them twice a second and cuts
//! those that made it wait too long.
//!
//! Invariants:
//! - Nothing on the way of a request reads a clock or sets a timer for this: times are looks,
//!   counted by the task. So a cut comes up to a second late, and never early.
//! - What waits for the site (a slow view, an event stream with nothing to tell) is never cut.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{MissedTickBehavior, interval};

use crate::conf;
use crate::server::figures::Figures;

/// Looks a second.
const LOOKS: u32 = 2;

/// How long a client may make the server wait, in looks.
#[derive(Clone, Copy, Debug)]
struct Patience {
    header: u32,
    keep_alive: u32,
    write: u32,
}

/// All connections of a worker.
#[derive(Debug)]
pub(in crate::server) struct Watch {
    patience: Patience,
    now: Arc<AtomicU32>,
    figures: Arc<Figures>,
    /// Those that are gone are dropped at the next look.
    connections: Mutex<Vec<Weak<Watched>>>,
}

/// What a connection waits for.
#[derive(Debug)]
pub(in crate::server) struct Watched {
    now: Arc<AtomicU32>,
    figures: Arc<Figures>,
    phase: AtomicU8,
    /// The look at which the phase began.
    since: AtomicU32,
    /// Requests that are not answered to the end; HTTP/2 has several.
    requests: AtomicU32,
    /// The look since which nothing of an answer is taken; 0: nothing waits.
    stalled: AtomicU32,
    cut: AtomicU8,
    /// Whether the client may still be sending what nobody reads.
    lingers: AtomicBool,
    is_multiplexed: AtomicBool,
    /// Wakes the connection's task when it is cut.
    waker: AtomicWaker,
}

/// What is waited for, as far as the client is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::server) enum Phase {
    /// Nothing was said yet.
    New,
    /// A request's head has begun.
    Head,
    /// A request is being answered. Its body has a clock of its own.
    Busy,
    /// Everything is answered.
    Idle,
    /// It is a WebSocket now, which has its own clock.
    Upgraded,
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::server) enum Cut {
    /// No request came, or not the whole head of one.
    Header = 1,
    /// No other request came.
    KeepAlive = 2,
    /// The answer is not taken.
    Write = 3,
}

impl Patience {
    fn new(settings: &conf::Server) -> Self {
        // One more than asked for: the first look may come at once.
        let looks = |seconds: u64| {
            u32::try_from(seconds).unwrap_or(u32::MAX / LOOKS - 1).min(u32::MAX / LOOKS - 1) * LOOKS
                + 1
        };
        Self {
            header: looks(settings.header_timeout),
            keep_alive: looks(settings.keep_alive),
            write: looks(settings.write_timeout),
        }
    }

    /// What it is out of, for one that is in `phase` since `waited` looks and has `stalled`.
    fn is_over(self, phase: Phase, waited: u32, stalled: Option<u32>) -> Option<Cut> {
        if phase != Phase::Upgraded && stalled.is_some_and(|looks| looks > self.write) {
            return Some(Cut::Write);
        }
        match phase {
            Phase::New | Phase::Head => (waited > self.header).then_some(Cut::Header),
            Phase::Idle => (waited > self.keep_alive).then_some(Cut::KeepAlive),
            Phase::Busy | Phase::Upgraded => None,
        }
    }
}

impl Watch {
    pub(in crate::server) fn new(settings: &conf::Server, figures: Arc<Figures>) -> Arc<Self> {
        let patience = Patience::new(settings);
        // Look 0 was never: it stands for "not".
        let now = Arc::new(AtomicU32::new(1));
        Arc::new(Self { patience, now, figures, connections: Mutex::default() })
    }

    /// Watches a connection from its first moment on.
    pub(in crate::server) fn begin(&self) -> Arc<Watched> {
        self.figures.connected();
        let watched = Arc::new(Watched {
            now: Arc::clone(&self.now),
            figures: Arc::clone(&self.figures),
            phase: AtomicU8::new(Phase::New as u8),
            since: AtomicU32::new(self.now.load(Ordering::Relaxed)),
            requests: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            cut: AtomicU8::new(0),
            lingers: AtomicBool::new(false),
            is_multiplexed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.push(Arc::downgrade(&watched));
        watched
    }

    /// Looks at all connections for ever.
    pub(in crate::server) async fn look(&self) {
        let mut looks = interval(Duration::from_secs(1) / LOOKS);
        // After a hang the clients get the time they were owed.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.retain(|connection| {
                let Some(connection) = connection.upgrade() else { return false };
                if let Some(why) = connection.is_over(self.patience, now) {
                    connection.cut(why);
                    self.figures.cut(why);
                    // A last request that is there is answered yet, and watched as any other.
                    if why == Cut::KeepAlive {
                        connection.enter(Phase::New);
                    }
                    return why == Cut::KeepAlive;
                }
                connection.phase() != Phase::Upgraded
            });
        }
    }
}

impl Watched {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Head as u8 => Phase::Head,
            phase if phase == Phase::Busy as u8 => Phase::Busy,
            phase if phase == Phase::Idle as u8 => Phase::Idle,
            phase if phase == Phase::Upgraded as u8 => Phase::Upgraded,
            _ => Phase::New,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn is_over(&self, patience: Patience, now: u32) -> Option<Cut> {
        let waited = now.wrapping_sub(self.since.load(Ordering::Relaxed));
        let stalled = self.stalled.load(Ordering::Relaxed);
        patience.is_over(self.phase(), waited, (stalled > 0).then(|| now.wrapping_sub(stalled)))
    }

    fn cut(&self, why: Cut) {
        self.cut.store(why as u8, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Its requests cannot be told apart by the bytes that come: HTTP/2 says other things too.
    pub(in crate::server) fn multiplexed(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
        self.enter(Phase::New);
    }

    /// Bytes came: the first ones of a head start its clock.
    pub(in crate::server) fn heard(&self, bytes: usize) {
        self.figures.read(bytes);
        if matches!(self.phase(), Phase::New | Phase::Idle)
            && !self.is_multiplexed.load(Ordering::Relaxed)
        {
            self.enter(Phase::Head);
        }
    }

    /// A request's head is complete.
    pub(in crate::server) fn requested(&self) {
        self.figures.begun();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.lingers.store(false, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// A request is answered to the end.
    pub(in crate::server) fn answered(&self) {
        self.figures.ended();
        let is_last = self.requests.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && self.phase() != Phase::Upgraded {
            self.enter(Phase::Idle);
        }
    }

    /// It is no HTTP any more.
    pub(in crate::server) fn upgraded(&self) {
        self.enter(Phase::Upgraded);
    }

    /// A write could go on, or not.
    pub(in crate::server) fn wrote(&self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.figures.wrote(bytes);
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// What the client is still sending is not read: it is to be given time to read the answer.
    pub(in crate::server) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether the client may be sending what nobody reads: a body, or a head that is no head.
    pub(in crate::server) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed) || self.phase() == Phase::Head
    }

    /// Ready once it is cut, and told once.
    pub(in crate::server) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        self.waker.register(cx.waker());
        match self.cut.swap(0, Ordering::Relaxed) {
            cut if cut == Cut::Header as u8 => Poll::Ready(Cut::Header),
            cut if cut == Cut::KeepAlive as u8 => Poll::Ready(Cut::KeepAlive),
            cut if cut == Cut::Write as u8 => Poll::Ready(Cut::Write),
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { header: 20, keep_alive: 150, write: 120 };

    #[test]
    fn each_phase_has_its_own_end() {
        let check = |phase, waited, stalled, expected| {
            assert_eq!(PATIENCE.is_over(phase, waited, stalled), expected, "{phase:?} {waited}");
        };
        check(Phase::New, 20, None, None);
        check(Phase::New, 21, None, Some(Cut::Header));
        check(Phase::Head, 21, None, Some(Cut::Header));
        check(Phase::Idle, 150, None, None);
        check(Phase::Idle, 151, None, Some(Cut::KeepAlive));
        check(Phase::Busy, 1_000_000, None, None);
        check(Phase::Busy, 1_000_000, Some(120), None);
        check(Phase::Busy, 0, Some(121), Some(Cut::Write));
        check(Phase::Idle, 0, Some(121), Some(Cut::Write));
        check(Phase::Upgraded, 1_000_000, Some(1_000_000), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_cut_a_little_after_its_time_and_never_before() {
        let settings = conf::Server { header_timeout: 10, keep_alive: 75, ..Default::default() };
        let watch = Watch::new(&settings, Arc::default());
        let (silent, kept) = (watch.begin(), watch.begin());
        kept.heard(1);
        kept.requested();
        kept.answered();
        let began = tokio::time::Instant::now();
        let cut = |watched: Arc<Watched>| async move {
            let why = std::future::poll_fn(|cx| watched.poll_cut(cx)).await;
            (why, began.elapsed().as_secs())
        };
        let cuts = async { tokio::join!(cut(silent), cut(kept)) };
        let cuts = tokio::select! {
            cuts = cuts => cuts,
            () = watch.look() => unreachable!("it goes on for ever"),
        };
        assert_eq!(cuts, ((Cut::Header, 10), (Cut::KeepAlive, 75)));
    }
}
