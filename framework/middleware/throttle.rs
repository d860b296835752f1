//! Throttles: how often somebody may ask, counted by all workers and machines together.
//!
//! Flow: `path(..).throttle(..)` puts a [`Throttle`] on the line or include → the stack calls
//! [`admit`] before anybody is asked who it is → a counter of the data store, by the throttle's
//! name and whoever asks → 429 with `Retry-After` once there were too many.
//!
//! Invariants:
//! - Who is refused costs one question to the store and no query, but for what the key itself asks.
//! - While the store is away nobody is refused, and the log says so: a throttle is no lock. Nor
//!   does anybody wait for it: a request gives it half a second, those of the next second nothing.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::channels::{Counted, GroupName};
use crate::error::Result;
use crate::http::{Request, too_many_requests};
use crate::site::Site;
use crate::urls::{Matched, Route};

/// How long an answer of the store is waited for.
const STORE_WAIT: Duration = Duration::from_millis(500);
/// How long it is not asked when it had none.
const STORE_REST: Duration = Duration::from_secs(1);

type FindKey = dyn Fn(Request) -> BoxFuture<'static, Result<Option<String>>> + Send + Sync;

/// How often each may ask: `max` times in a window of time that opens with the first.
///
/// ```
/// use std::time::Duration;
///
/// use hulse::middleware::Throttle;
/// use hulse::prelude::*;
///
/// # async fn search() -> &'static str { "" }
/// # fn api() -> Urls { Urls::default() }
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// async fn token(request: Request) -> Result<Option<String>> {
///     Ok(request.header("authorization").map(str::to_owned))
/// }
///
/// let urls = Urls::new([
///     path("search/", search).throttle(Throttle::per_address("search", 30, MINUTE)),
///     include("api/", api())
///         .throttle(Throttle::per_user("api", 600, MINUTE))
///         .throttle(Throttle::by("api-token", 100, MINUTE, token)),
/// ]);
/// ```
#[derive(Clone)]
pub struct Throttle {
    name: Cow<'static, str>,
    max: u32,
    window: Duration,
    key: Arc<FindKey>,
}

/// Those of a line or include.
#[derive(Clone, Debug, Default)]
struct Throttles(Vec<Throttle>);

impl Throttle {
    /// Each address by itself; of IPv6 each network of 64 bits, which is what one customer has.
    /// Throttles of one name count together.
    #[must_use]
    pub fn per_address(name: impl Into<Cow<'static, str>>, max: u32, window: Duration) -> Self {
        Self::by(name, max, window, async |request: Request| Ok(address_of(&request)))
    }

    /// Each key that `key` gives by itself; who has none may ask as often as he likes.
    pub fn by<F, Fut>(
        name: impl Into<Cow<'static, str>>,
        max: u32,
        window: Duration,
        key: F,
    ) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<String>>> + Send + 'static,
    {
        let key: Arc<FindKey> = Arc::new(move |request| Box::pin(key(request)));
        Self { name: name.into(), max, window, key }
    }

    /// Counts one more, for what is no line of the URL table.
    ///
    /// # Errors
    /// There were too many: 429, with when to come again
    /// ([`Error::retry_after`](crate::Error::retry_after)). Or those of the key.
    pub async fn admit(&self, request: &Request) -> Result<()> {
        let Some(key) = (self.key)(request.clone()).await? else { return Ok(()) };
        match count(request, &counter(&self.name, &key), 1, self.window).await {
            Some(counted) if counted.value > i64::from(self.max) => {
                Err(too_many_requests(counted.left))
            }
            _ => Ok(()),
        }
    }
}

impl Route {
    /// Admits nobody who asks more often than `throttle` says: others are told 429 and when to come
    /// again. Of an include: all lines in it, together. A WebSocket's handshake counts too.
    #[must_use]
    pub fn throttle(self, throttle: Throttle) -> Self {
        self.attach_changed(|throttles: &mut Throttles| throttles.0.push(throttle))
    }
}

/// Lets a request pass that has not come too often.
pub(crate) async fn admit(request: &Request) -> Result<()> {
    let Some(line) = request.extension::<Matched>().map(Matched::line) else { return Ok(()) };
    for throttle in line.all_attached::<Throttles>().flat_map(|throttles| &throttles.0) {
        throttle.admit(request).await?;
    }
    Ok(())
}

/// The address a request is counted under.
pub(crate) fn address_of(request: &Request) -> Option<String> {
    request.remote_address().map(network)
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// The name of a counter; what is counted stands in it as a hash.
pub(crate) fn counter(name: &str, key: &str) -> String {
    let hash = GroupName::hashed("throttle", &format!("{name} {key}"));
    hash.expect("a prefix and hexadecimal digits").to_string()
}

/// Counts in the data store; `None` if that is away.
pub(crate) async fn count(
    site: &Site,
    counter: &str,
    by: i64,
    window: Duration,
) -> Option<Counted> {
    ask(site, site.values().count(counter, by, window)).await
}

/// What the data store says to something that is asked for each request; `None` if it is away.
pub(crate) async fn ask<T>(site: &Site, asked: impl Future<Output = Result<T>>) -> Option<T> {
    let resting = site.keep(|_| Resting::default());
    if resting.is_on() {
        return None;
    }
    let error = match timeout(STORE_WAIT, asked).await {
        Ok(Ok(said)) => return Some(said),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the data store takes too long".to_owned(),
    };
    tracing::warn!(error, "nobody is throttled");
    resting.begin();
    None
}

/// Since when the store is left alone.
#[derive(Debug, Default)]
struct Resting(Mutex<Option<Instant>>);

impl Resting {
    fn is_on(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < STORE_REST)
    }

    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("name", &self.name)
            .field("max", &self.max)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn addresses_are_counted_by_customer() {
        for (address, counted) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "0:0:0:0::/64"),
        ] {
            assert_eq!(network(address.parse().unwrap()), counted);
        }
    }
}
