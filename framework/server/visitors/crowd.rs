//! How many may come: connections of one address, and requests that are answered at once.
//!
//! Flow: `serve` asks [`Addresses`] once a connection and [`Gate`] once a request; what they give
//! is a place, kept as long as it lasts.
//!
//! Invariant: a request that cannot be begun soon is told so at once (503, `Retry-After`): a queue
//! that grows makes everybody wait for answers that nobody waits for any more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::conf;

/// Bits of an IPv6 address that tell visitors apart: the rest is one customer's own.
const V6_BITS: u32 = 64;

/// Connections by address.
#[derive(Debug)]
pub(in crate::server) struct Addresses {
    /// 0: as many as anybody likes.
    max: u32,
    held: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection of an address. Dropping it lets another one in.
#[derive(Debug)]
pub(in crate::server) struct Of {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub(in crate::server) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// A place for a connection of `address`; an error if it has all it may have.
    pub(in crate::server) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<Option<Of>, Full> {
        let Some(address) = address.filter(|_| self.max > 0).map(group) else { return Ok(None) };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= self.max {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(Of { addresses: Arc::clone(self), address }))
    }
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Full;

impl Drop for Of {
    fn drop(&mut self) {
        let mut held = self.addresses.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// Addresses that count as one.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> (128 - V6_BITS) << (128 - V6_BITS)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Requests that are answered at once, and some that wait for it.
#[derive(Debug)]
pub(in crate::server) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_max: usize,
    wait: Duration,
}

impl Gate {
    pub(in crate::server) fn new(settings: &conf::Server) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.requests_max.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            queue_max: settings.requests_queue,
            wait: Duration::from_secs(settings.requests_wait),
        }
    }

    /// A place, perhaps after a while; an error if the queue is full or too slow.
    pub(in crate::server) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue_max {
            return Err(Full);
        }
        let place = timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        drop(waiting);
        place.map_err(|_| Full)?.map_err(|_| Full)
    }
}

/// One that waits, also if it is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_one_more_when_one_ends() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().ok());
        let (first, _second) = (enter("1.2.3.4").unwrap(), enter("::ffff:1.2.3.4").unwrap());
        assert!(enter("1.2.3.4").is_err());
        let _other = enter("1.2.3.5").unwrap();
        drop(first);
        let _third = enter("1.2.3.4").unwrap();
        let _v6 = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_err() && enter("2001:db8:0:1::").is_ok());
        assert_eq!(addresses.held.lock().unwrap().len(), 3);
        // A unix socket's has no address.
        assert!((0..5).all(|_| addresses.enter(None).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_gate_lets_a_few_wait_and_not_for_long() {
        let settings = conf::Server {
            requests_max: 1,
            requests_queue: 1,
            requests_wait: 5,
            ..Default::default()
        };
        let gate = Gate::new(&settings);
        let first = gate.enter().await.unwrap();
        let (waited, refused) = tokio::join!(gate.enter(), gate.enter());
        assert!(waited.is_err() && refused.is_err());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
        let (second, ()) = tokio::join!(gate.enter(), async { drop(first) });
        assert!(second.is_ok());
    }
}
