//! Values, counters and locks that all processes of a site share, in the store's memory.
//!
//! Flow: [`Values`] → `worker` → the store (`store/values`) → the answer.
//!
//! Invariants:
//! - One thing after the other: what is asked is done whole, in the store's order.
//! - Nothing here outlives the store's process. Versions and tokens never go back, not even then.
//! - What a worker has locked is free when its link ends; over Redis, where a link may end and its
//!   process live, five seconds after its last word.

pub(crate) mod calls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::members::Reply;
use super::protocol::{Ask, Key};
use super::worker::{Worker, later};
use crate::error::{Error, Kind, Result};
use calls::{Action, Outcome, ValueAsk, When};

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 200;
/// Shortest and longest pause before a lock is asked for again.
const LOCK_PAUSE_MS: std::ops::RangeInclusive<u64> = 10..=50;

/// The values, counters and locks of a site. A cheap clone.
///
/// Each of the three kinds has names of its own: any text of 1 to 200 bytes. They live in the data
/// store's memory: all processes see the same, and when that process is restarted they are gone.
#[derive(Clone, Debug)]
pub struct Values {
    worker: Arc<Worker>,
    bytes_max: usize,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What was set.
    pub bytes: Bytes,
    /// Which setting it was; see [`Values::swap`].
    pub version: Version,
    /// How long it will be there still; `None` is for ever.
    pub left: Option<Duration>,
}

/// Names one setting of a value for ever: no other has it, of whatever name, not even after the
/// store was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What it stands at.
    pub value: i64,
    /// When it begins again at 0.
    pub left: Duration,
}

impl Values {
    pub(super) fn new(worker: Arc<Worker>, bytes_max: usize) -> Self {
        Self { worker, bytes_max }
    }

    /// The value of this name, if it has one.
    ///
    /// # Errors
    /// The name is bad, or the store cannot be reached in time.
    pub async fn get(&self, name: &str) -> Result<Option<Value>> {
        match self.ask(name, 0, Action::Get).await? {
            Outcome::Found { bytes, version, left } => {
                Ok(Some(Value { bytes, version: Version(version), left }))
            }
            outcome => nothing(&outcome).map(|()| None),
        }
    }

    /// Sets a value, for `lasts` or for ever.
    ///
    /// # Errors
    /// As [`get`](Self::get); the value is larger than a message may be; or the store is full
    /// (`is_store_full`): values with an end make room for others, soonest first, others do not.
    pub async fn set(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
        lasts: Option<Duration>,
    ) -> Result<Version> {
        let set = self.set_when(name, bytes.into(), lasts, When::Always).await?;
        set.ok_or_else(|| super::unexpected(&Reply::Valued(Outcome::No)))
    }

    /// Sets a value if there is none of this name; whether it was set.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn add(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
        lasts: Option<Duration>,
    ) -> Result<Option<Version>> {
        self.set_when(name, bytes.into(), lasts, When::Absent).await
    }

    /// Sets a value if it still is of version `from`; else somebody was quicker: get it and try
    /// again.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn swap(
        &self,
        name: &str,
        from: Version,
        bytes: impl Into<Bytes>,
        lasts: Option<Duration>,
    ) -> Result<Option<Version>> {
        self.set_when(name, bytes.into(), lasts, When::At(from.0)).await
    }

    async fn set_when(
        &self,
        name: &str,
        bytes: Bytes,
        lasts: Option<Duration>,
        when: When,
    ) -> Result<Option<Version>> {
        let length = bytes.len();
        if length > self.bytes_max {
            return Err(Error::of(
                Kind::MessageTooLarge,
                format!("a value of {length} bytes: at most {} are kept", self.bytes_max),
            ));
        }
        match self.ask(name, length, Action::Set { bytes, lasts, when }).await? {
            Outcome::Done { version } => Ok(Some(Version(version))),
            outcome => nothing(&outcome).map(|()| None),
        }
    }

    /// Removes a value; whether there was one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn remove(&self, name: &str) -> Result<bool> {
        self.is_done(name, Action::Remove).await
    }

    /// Lets a value stay for `lasts` from now on, or for ever; whether there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn touch(&self, name: &str, lasts: Option<Duration>) -> Result<bool> {
        self.is_done(name, Action::Touch { lasts }).await
    }

    /// Adds `by` to a counter. The first to count opens a window of time; when it ends the counter
    /// begins again at 0. 0 only looks.
    ///
    /// # Errors
    /// As [`get`](Self::get); or there are 500,000 counters, or 128 MiB of them, whose windows
    /// are open (`is_store_full`).
    pub async fn count(&self, name: &str, by: i64, window: Duration) -> Result<Counted> {
        match self.ask(name, 0, Action::Count { by, window }).await? {
            Outcome::Counted { value, left } => Ok(Counted { value, left }),
            Outcome::Full => Err(full()),
            outcome => Err(super::unexpected(&Reply::Valued(outcome))),
        }
    }

    /// Takes a lock for at most `lasts`, if nobody holds it.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn lock(&self, name: &str, lasts: Duration) -> Result<Option<Lock>> {
        match self.ask(name, 0, Action::Lock { lasts }).await? {
            Outcome::Locked { token } => {
                let values = self.clone();
                Ok(Some(Lock { values, name: name.into(), token: Token(token), is_held: true }))
            }
            outcome => nothing(&outcome).map(|()| None),
        }
    }

    /// As [`lock`](Self::lock), and waits up to `wait` for who holds it. Those who wait get it in
    /// no particular order.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn lock_within(
        &self,
        name: &str,
        lasts: Duration,
        wait: Duration,
    ) -> Result<Option<Lock>> {
        let deadline = later(Instant::now(), wait);
        loop {
            let lock = self.lock(name, lasts).await?;
            if lock.is_some() || Instant::now() >= deadline {
                return Ok(lock);
            }
            sleep(Duration::from_millis(rand::random_range(LOCK_PAUSE_MS))).await;
        }
    }

    async fn is_done(&self, name: &str, action: Action) -> Result<bool> {
        match self.ask(name, 0, action).await? {
            Outcome::Done { .. } => Ok(true),
            outcome => nothing(&outcome).map(|()| false),
        }
    }

    async fn ask(&self, name: &str, bytes: usize, action: Action) -> Result<Outcome> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            let words = format!("the name of a value has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::of(Kind::BadGroupName, words));
        }
        let name = name.into();
        let make = |key: Key| Ask::Value(ValueAsk { key, retry: false, name, action });
        let reply = self.worker.request(bytes, make).await;
        // Redis answers, and has no memory left.
        let reply = reply.map_err(|no| if no.to_string().contains(": OOM ") { full() } else { no });
        match reply? {
            Reply::Valued(outcome) => Ok(outcome),
            Reply::Locked(_, token) => Ok(Outcome::Locked { token }),
            reply => Err(super::unexpected(&reply)),
        }
    }
}

/// What an outcome means that is none of those hoped for.
fn nothing(outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::No => Ok(()),
        Outcome::Full => Err(full()),
        outcome => Err(super::unexpected(&Reply::Valued(outcome.clone()))),
    }
}

fn full() -> Error {
    Error::of(Kind::StoreFull, "the data store holds as many values as it may")
}

/// Which taking of a lock this is. A later one is larger, of all locks together and also after the
/// store was restarted: what is guarded can refuse a token smaller than the largest it has seen,
/// from somebody who was asleep while the lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The number, below 2^53.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock that is held. Dropping it frees it; so does its time, and the end of this process (over
/// Redis five seconds after that).
#[derive(Debug)]
pub struct Lock {
    values: Values,
    name: Box<str>,
    token: Token,
    is_held: bool,
}

impl Lock {
    /// Which taking it is.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Holds it for `lasts` from now on; `false`: it is another's, or free, since its time was over
    /// or the store was away.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn extend(&self, lasts: Duration) -> Result<bool> {
        let action = Action::Extend { token: self.token.0, lasts };
        self.values.is_done(&self.name, action).await
    }

    /// Frees it; whether it was still held.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn release(mut self) -> Result<bool> {
        self.is_held = false;
        let action = Action::Unlock { token: self.token.0 };
        self.values.is_done(&self.name, action).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_held {
            let (name, action) = (self.name.clone(), Action::Unlock { token: self.token.0 });
            let make = |key: Key| Ask::Value(ValueAsk { key, retry: false, name, action });
            self.values.worker.change(|table| table.order(make));
        }
    }
}

impl Error {
    /// The data store holds as many values, counters and locks as it may.
    ///
    /// If you see this, give values an end (`lasts`): those make room for others.
    #[must_use]
    pub fn is_store_full(&self) -> bool {
        self.kind() == Kind::StoreFull
    }
}
