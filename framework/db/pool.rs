//! A pool of connections of one kind.
//!
//! Flow: [`Pool::acquire`] takes a seat, then an idle connection or a new one → [`Held`] → dropped,
//! it puts the connection back, or closes it if it is not as it was.
//!
//! Invariants:
//! - A connection that ran a statement to its end goes back at once, in the drop itself. sqlx's own
//!   pool (0.9) asks each one first whether it still lives, in a task of its own: a round trip that
//!   the next statement waits for.
//! - One with an open transaction, an unfinished statement or a changed setting never goes back.
//! - Seats are given in the order of asking.

use std::ops::{Add, Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout};

/// Pause before asking again a server that refuses connections, because it is just starting.
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// How many connections, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: u32,
    /// Waiting for a seat, and again for a new connection.
    pub(super) wait: Duration,
    /// A connection idle for longer is asked whether it still lives. `None`: it always does.
    pub(super) trusted_idle: Option<Duration>,
    /// One idle for longer is closed.
    pub(super) idle_max: Option<Duration>,
    /// One older is not used again.
    pub(super) life_max: Option<Duration>,
}

/// The connections to one place. A cheap clone; the last one closes those that are idle.
pub(super) struct Pool<C: Connection>(Arc<Inner<C>>);

struct Inner<C: Connection> {
    options: C::Options,
    limits: Limits,
    seats: Arc<Semaphore>,
    /// The last one back is the first one out; the oldest lie at the bottom.
    idle: Mutex<Vec<Idle<C>>>,
    /// How often there was no seat at once.
    waits: AtomicU64,
}

/// Numbers of a process's pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    /// Connections somebody uses, or makes.
    pub(crate) used: u64,
    /// Open ones that nobody uses.
    pub(crate) idle: u64,
    /// How often somebody had to wait for one.
    pub(crate) waits: u64,
}

impl Add for PoolCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            used: self.used + other.used,
            idle: self.idle + other.idle,
            waits: self.waits + other.waits,
        }
    }
}

struct Idle<C> {
    connection: C,
    made: Instant,
    since: Instant,
}

/// A connection in use.
pub(super) struct Held<C: Connection> {
    /// `None` only while being dropped.
    connection: Option<C>,
    made: Instant,
    /// Why it may not go back to the pool; all `false` if it may.
    pub(super) state: State,
    pool: Arc<Inner<C>>,
    /// Given back after the connection.
    _seat: OwnedSemaphorePermit,
}

/// What keeps a connection from being used by others. Dropped with any of these it is closed, and
/// the database rolls back: that needs no waiting and cannot be done by halves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// From just before BEGIN until COMMIT or ROLLBACK was answered.
    pub(super) open: bool,
    /// A statement is under way.
    pub(super) running: bool,
    /// A setting of the session was changed, or the connection broke.
    pub(super) spoiled: bool,
}

impl<C: Connection> Pool<C> {
    pub(super) fn new(options: C::Options, limits: Limits) -> Self {
        let seats = usize::try_from(limits.connections).unwrap_or(1).max(1);
        let seats = Arc::new(Semaphore::new(seats));
        let (idle, waits) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { options, limits, seats, idle, waits }))
    }

    /// How it is.
    pub(super) fn counts(&self) -> PoolCounts {
        let Inner { limits, seats, waits, .. } = &*self.0;
        let seats_max = u64::from(limits.connections.max(1));
        PoolCounts {
            used: seats_max.saturating_sub(seats.available_permits() as u64),
            idle: self.0.idle().len() as u64,
            waits: waits.load(Ordering::Relaxed),
        }
    }

    /// A connection that works.
    pub(super) async fn acquire(&self) -> sqlx::Result<Held<C>> {
        let seat = self.seat().await?;
        let held = |connection, made| Held {
            connection: Some(connection),
            made,
            state: State::default(),
            pool: Arc::clone(&self.0),
            _seat: seat,
        };
        while let Some(mut idle) = self.0.take() {
            if self.0.lives(&mut idle).await {
                return Ok(held(idle.connection, idle.made));
            }
        }
        let new = timeout(self.0.limits.wait, self.connect()).await;
        Ok(held(new.map_err(|_| sqlx::Error::PoolTimedOut)??, Instant::now()))
    }

    async fn seat(&self) -> sqlx::Result<OwnedSemaphorePermit> {
        match Arc::clone(&self.0.seats).try_acquire_owned() {
            Ok(seat) => Ok(seat),
            Err(TryAcquireError::Closed) => Err(sqlx::Error::PoolClosed),
            Err(TryAcquireError::NoPermits) => {
                self.0.waits.fetch_add(1, Ordering::Relaxed);
                let seat = Arc::clone(&self.0.seats).acquire_owned();
                let seat = timeout(self.0.limits.wait, seat).await;
                seat.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<C> {
        loop {
            match self.0.options.connect().await {
                Err(failed) if is_starting(&failed) => tokio::time::sleep(STARTING_PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// Waits until all are back and closes them.
    pub(super) async fn close(&self) {
        // Whoever asked before is still served.
        let Ok(_all) = self.0.seats.acquire_many(self.0.limits.connections.max(1)).await else {
            return;
        };
        self.0.seats.close();
        let idle = std::mem::take(&mut *self.0.idle());
        for idle in idle {
            if let Err(error) = idle.connection.close().await {
                tracing::debug!(%error, "closing a database connection");
            }
        }
    }
}

/// Whether the server is there, but not ready yet.
fn is_starting(failed: &sqlx::Error) -> bool {
    match failed {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

impl<C: Connection> Inner<C> {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that came back last. Those that nobody needed for long are closed on this occasion.
    fn take(&self) -> Option<Idle<C>> {
        let mut idle = self.idle();
        let found = idle.pop();
        let too_old = self
            .limits
            .idle_max
            .map_or(0, |max| idle.iter().take_while(|idle| idle.since.elapsed() > max).count());
        let closed: Vec<_> = idle.drain(..too_old).collect();
        drop(idle);
        drop(closed);
        found
    }

    async fn lives(&self, idle: &mut Idle<C>) -> bool {
        let over = |limit: Option<Duration>, time: Instant| {
            limit.is_some_and(|limit| time.elapsed() > limit)
        };
        if over(self.limits.life_max, idle.made) || over(self.limits.idle_max, idle.since) {
            return false;
        }
        !over(self.limits.trusted_idle, idle.since) || idle.connection.ping().await.is_ok()
    }
}

impl<C: Connection> Deref for Held<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection.as_ref().expect("only dropping takes it")
    }
}

impl<C: Connection> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection.as_mut().expect("only dropping takes it")
    }
}

impl<C: Connection> Drop for Held<C> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let State { open, running, spoiled } = self.state;
        if open || running || spoiled || self.pool.seats.is_closed() {
            return;
        }
        self.pool.idle().push(Idle { connection, made: self.made, since: Instant::now() });
    }
}
