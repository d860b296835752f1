//! Attempts to sign in, counted by all workers and machines together.
//!
//! Flow: an attempt is counted before the password is looked at, so that many at once are no way
//! around it → from the last free one on each closes what it was counted under for twice as long →
//! behind the wait one may try again → who gets in is counted no more, and opens what he closed.
//!
//! Counted are: one account from one address; one address, for ten times as many; one account, for
//! ten times as many, but not from an address that somebody got in from within a month.
//!
//! Invariants:
//! - Whether there is such an account makes no difference: not in words, status or time.
//! - A stranger locks nobody out: what he does from his address counts there, and who has a hundred
//!   addresses closes the account to those it does not know, for `auth.login_wait_max` at most.
//! - Who has no address (a unix socket, and nobody believed who would tell it) counts by the
//!   account alone.
//! - While the data store is away everybody may try, as many at once as hashes are computed.

use std::time::Duration;

use futures_util::future::join_all;

use super::models::normalize_username;
use crate::error::Result;
use crate::http::{Request, too_many_requests};
use crate::middleware::{Said, address_of, ask, count, counter, forget};

/// How long attempts are counted together.
const WINDOW: Duration = Duration::from_secs(3600);
/// How long an account knows an address.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// An address, and an account, may be tried so many times as often as one from the other: many
/// share an address.
const FACTOR: i64 = 10;

/// An attempt that was counted.
#[derive(Debug)]
pub(super) struct Attempt {
    limits: Vec<Limit>,
    /// The value that says that the account knows the address.
    known: Option<String>,
}

#[derive(Debug)]
struct Limit {
    counter: String,
    free: i64,
    /// It is closed to others, by this attempt.
    is_ours: bool,
    /// It is that of the account from the address.
    is_pair: bool,
}

impl Limit {
    fn closed(&self) -> String {
        format!("{}.closed", self.counter)
    }
}

impl Attempt {
    /// Counts an attempt on `username`.
    ///
    /// # Errors
    /// 429: there were too many.
    pub(super) async fn begin(request: &Request, username: &str) -> Result<Self> {
        let free = i64::from(request.settings().auth.login_attempts);
        let account = normalize_username(username).to_lowercase();
        let address = address_of(request);
        let pair = format!("{} {account}", address.as_deref().unwrap_or_default());
        let limit = |name, key: &str, free, is_pair| {
            let counter = counter(name, key);
            Limit { counter, free, is_ours: false, is_pair }
        };
        let known = address.as_ref().map(|_| format!("{}.known", counter("login known", &pair)));
        let mut limits = Vec::new();
        if free == 0 {
            return Ok(Self { limits, known });
        }
        if let Some(address) = &address {
            limits.push(limit("login pair", &pair, free, true));
            limits.push(limit("login address", address, free * FACTOR, false));
        }
        let values = request.values();
        let is_known = match &known {
            Some(known) => ask(request, values.get(known)).await.told().flatten().is_some(),
            None => false,
        };
        if !is_known {
            limits.push(limit("login account", &account, free * FACTOR, false));
        }
        let mut attempt = Self { limits, known };
        attempt.check_open(request).await?;
        attempt.count(request).await?;
        Ok(attempt)
    }

    async fn check_open(&self, request: &Request) -> Result<()> {
        let names: Vec<String> = self.limits.iter().map(Limit::closed).collect();
        let values = request.values();
        let asked = names.iter().map(|name| ask(request, values.get(name)));
        let closed = join_all(asked).await.into_iter().filter_map(Said::told).flatten();
        match closed.filter_map(|closed| closed.left).max() {
            Some(left) => Err(too_many_requests(left)),
            None => Ok(()),
        }
    }

    /// Of those that come at once when there is no free one left, one is let through.
    async fn count(&mut self, request: &Request) -> Result<()> {
        let max = request.settings().auth.login_wait_max;
        let counting = self.limits.iter().map(|limit| count(request, &limit.counter, 1, WINDOW));
        let counted = join_all(counting).await;
        let mut longest = None;
        for (limit, counted) in self.limits.iter_mut().zip(counted) {
            let beyond = counted.map_or(0, |counted| counted.value - limit.free + 1);
            if beyond > 0 {
                let wait = wait(beyond, max);
                let values = request.values();
                match ask(request, values.add(&limit.closed(), "", Some(wait))).await {
                    // While the data store is away everybody may try; while it is full, nobody
                    // beyond the free ones: there is no place for a wait to end.
                    Said::Away => {}
                    Said::Told(Some(_)) => limit.is_ours = true,
                    Said::Told(None) | Said::Full => longest = longest.max(Some(wait)),
                }
            }
        }
        longest.map_or(Ok(()), |wait| Err(too_many_requests(wait)))
    }

    /// Opens again what it has closed.
    async fn open(&self, request: &Request) {
        let values = request.values();
        for limit in self.limits.iter().filter(|limit| limit.is_ours) {
            ask(request, values.remove(&limit.closed())).await;
        }
    }

    /// The attempt was right: it counts no more, nor do those before it from this address.
    pub(super) async fn succeed(self, request: &Request) {
        for limit in &self.limits {
            if limit.is_pair {
                forget(request, &limit.counter, WINDOW).await;
            } else {
                count(request, &limit.counter, -1, WINDOW).await;
            }
        }
        self.open(request).await;
        if let Some(known) = self.known.filter(|_| !self.limits.is_empty()) {
            let values = request.values();
            ask(request, values.set(&known, "", Some(KNOWN))).await;
        }
    }

    /// Nobody could tell whether it was right: it counts no more.
    pub(super) async fn undo(self, request: &Request) {
        for limit in &self.limits {
            count(request, &limit.counter, -1, WINDOW).await;
        }
        self.open(request).await;
    }
}

/// One second, then twice as long each time.
fn wait(beyond: i64, max: u64) -> Duration {
    let seconds = 1_u64 << (beyond - 1).clamp(0, 32);
    Duration::from_secs(seconds.min(max))
}

#[cfg(test)]
mod tests {
    use super::wait;

    #[test]
    fn waits_double_up_to_a_bound() {
        for (beyond, seconds) in [(1, 1), (2, 2), (5, 16), (40, 900), (i64::MAX, 900)] {
            assert_eq!(wait(beyond, 900).as_secs(), seconds, "{beyond}");
        }
    }
}
