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
//! - A store that is full opens nothing: what it has no room for is counted here, by this process.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::channels::{Counted, GroupName};
use crate::error::Result;
use crate::http::{Request, bounded_network, network, too_many_requests};
use crate::site::Site;
use crate::urls::{Matched, Route};

/// How long an answer of the store is waited for.
const STORE_WAIT: Duration = Duration::from_millis(500);
/// How long it is not asked when it had none.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long the log is not told again that it is full.
const STORE_TOLD: Duration = Duration::from_secs(10);
/// Counters of this process, for what the store has no room for. Those that share one are counted
/// together: rather too much than nothing.
const OWN_COUNTERS: u64 = 65_536;

type FindKey = dyn Fn(Request) -> BoxFuture<'static, Result<Option<String>>> + Send + Sync;

/// How often each may ask: `max` times in a window of time that opens with the first.
///
/// ```
/// use std::time::Duration;
///
/// use hulse::middleware::Throttle;
/// use hulse::prelude::*;
/// use hulse::signing::Signer;
///
/// # async fn search() -> &'static str { "" }
/// # fn api() -> Urls { Urls::default() }
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// /// The client a token names that this site has made: what anybody can invent is no key, for
/// /// each invention would have a count of its own.
/// async fn client(request: Request) -> Result<Option<String>> {
///     let token = request.header("authorization").unwrap_or_default();
///     let client = Signer::new(request.settings(), "api.client").unsign(token).ok();
///     let address = || request.remote_address().map(|address| format!("address {address}"));
///     Ok(client.map(|client| format!("client {client}")).or_else(address))
/// }
///
/// let urls = Urls::new([
///     path("search/", search).throttle(Throttle::per_address("search", 30, MINUTE)),
///     include("api/", api())
///         .throttle(Throttle::per_user("api", 600, MINUTE))
///         .throttle(Throttle::by("api-client", 100, MINUTE, client)),
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

    /// Each key that `key` gives by itself; who has none may ask as often as he likes. A key is
    /// something known to be true: a header as it came is one that anybody can change each time.
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
        Box::pin(throttle.admit(request)).await?;
    }
    Ok(())
}

/// The address a request is counted under.
pub(crate) fn address_of(request: &Request) -> Option<String> {
    request.remote_address().map(network)
}

/// The same where the site has said nothing about how many visitors an address has.
pub(crate) fn bounded_address_of(request: &Request) -> Option<String> {
    bounded_network(&request.settings().server, request.remote_address())
}

/// The name of a counter; what is counted stands in it as a hash.
pub(crate) fn counter(name: &str, key: &str) -> String {
    let hash = GroupName::hashed("throttle", &format!("{name} {key}"));
    hash.expect("a prefix and hexadecimal digits").to_string()
}

/// Counts in the data store, or here if that is full; `None` if it is away.
pub(crate) async fn count(
    site: &Site,
    counter: &str,
    by: i64,
    window: Duration,
) -> Option<Counted> {
    match ask(site, site.values().count(counter, by, window)).await {
        Said::Told(counted) => Some(counted),
        Said::Full => {
            let own = site.keep(|_| Own::default());
            own.tell();
            Some(own.count(counter, by, window))
        }
        Said::Away => None,
    }
}

/// Counts nothing any more of what was counted, in the data store or here.
pub(crate) async fn forget(site: &Site, counter: &str, window: Duration) {
    let values = site.values();
    let known = ask(site, values.count(counter, 0, window)).await.told();
    if let Some(known) = known.filter(|known| known.value > 0) {
        ask(site, values.count(counter, -known.value, window)).await;
    }
    if let Some(own) = site.kept::<Own>() {
        own.forget(counter);
    }
}

/// What the data store says to something that is asked for each request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<T> {
    Told(T),
    /// It has no room for it.
    Full,
    Away,
}

impl<T> Said<T> {
    /// What it said, if it did.
    pub(crate) fn told(self) -> Option<T> {
        match self {
            Self::Told(said) => Some(said),
            Self::Full | Self::Away => None,
        }
    }
}

/// Asks the data store; who waits too long rests, and so do those behind him.
pub(crate) async fn ask<T>(site: &Site, asked: impl Future<Output = Result<T>>) -> Said<T> {
    let resting = site.keep(|_| Resting::default());
    if resting.is_on() {
        return Said::Away;
    }
    let error = match timeout(STORE_WAIT, asked).await {
        Ok(Ok(said)) => return Said::Told(said),
        Ok(Err(error)) if error.is_store_full() => return Said::Full,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the data store takes too long".to_owned(),
    };
    tracing::warn!(error, "nobody is throttled");
    resting.begin();
    Said::Away
}

/// Counters of this process.
#[derive(Debug, Default)]
struct Own {
    /// So that nobody can choose whom he is counted with.
    hasher: RandomState,
    counters: Mutex<HashMap<u64, (i64, Instant)>>,
    /// When the log was told last.
    told: Mutex<Option<Instant>>,
}

impl Own {
    fn count(&self, counter: &str, by: i64, window: Duration) -> Counted {
        let (place, now) = (self.place(counter), Instant::now());
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, end) = counters.entry(place).or_insert((0, now + window));
        if *end <= now {
            (*value, *end) = (0, now + window);
        }
        *value = value.saturating_add(by);
        Counted { value: *value, left: *end - now }
    }

    fn forget(&self, counter: &str) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.remove(&self.place(counter));
    }

    fn place(&self, counter: &str) -> u64 {
        self.hasher.hash_one(counter) % OWN_COUNTERS
    }

    /// Says it now and then.
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > STORE_TOLD) {
            *told = Some(Instant::now());
            tracing::warn!("the data store is full: each process throttles by itself");
        }
    }
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
    use std::time::Duration;

    use super::{OWN_COUNTERS, Own};

    #[tokio::test(start_paused = true)]
    async fn what_the_store_has_no_room_for_is_counted_in_a_bounded_place() {
        let (own, window) = (Own::default(), Duration::from_secs(60));
        for value in 1..=3 {
            assert_eq!(own.count("ann", 1, window).value, value);
        }
        for name in 0..3 * OWN_COUNTERS {
            own.count(&name.to_string(), 1, window);
        }
        assert!(own.counters.lock().unwrap().len() as u64 <= OWN_COUNTERS);
        assert!(own.count("ann", 0, window).value >= 3);
        own.forget("ann");
        assert_eq!(own.count("ann", 1, window).value, 1, "who got in is counted no more");
        tokio::time::advance(window).await;
        assert_eq!(own.count("ann", 1, window).value, 1);
    }
}
