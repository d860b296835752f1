//! What the forms that are being read take of a process, all of them together and those from one
//! address. Of other bodies there is a bound for each alone.
//!
//! Invariants:
//! - What was taken is given back when the [`Held`] is dropped, whatever became of it.
//! - Large forms keep no small one out: the beginnings of all have a room of their own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use tokio::time::timeout;

use super::{Gathered, bounded_network, next_data, too_large};
use crate::conf;
use crate::error::{Error, Result};
use crate::site::Site;

/// So much of each form is its beginning: all of a login.
const BEGINNING_BYTES: u64 = 16 * 1024;

/// One address has an eighth of a room, or what one whole form may take if that is more.
const ADDRESS_PART: u64 = 8;

/// Bytes of forms.
#[derive(Debug, Default)]
struct Taken {
    /// Of their beginnings.
    beginnings: AtomicU64,
    /// Of what comes behind them.
    memory: AtomicU64,
    disk: AtomicU64,
}

/// Those of a site in this process.
#[derive(Debug, Default)]
struct Room {
    all: Taken,
    /// By address, with the number of its forms.
    of_addresses: Mutex<HashMap<String, (usize, Arc<Taken>)>>,
}

/// How much may be taken.
#[derive(Debug)]
struct Bound {
    setting: &'static str,
    all: u64,
    of_address: u64,
}

/// What one form has of it.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    /// Where it comes from, and what that has.
    origin: Option<(String, Arc<Taken>)>,
    memory_max: Bound,
    disk_max: Bound,
    memory: AtomicU64,
    disk: AtomicU64,
}

impl Held {
    /// Nothing yet, of the room of `site`, for a form from `address`.
    pub(crate) fn new(site: &Site, address: Option<IpAddr>) -> Self {
        let limits = &site.settings().http;
        let room: Arc<Room> = site.keep(|_| Room::default());
        let network = bounded_network(&site.settings().server, address);
        let form =
            limits.data_upload_max_memory_size.saturating_add(limits.file_upload_max_memory_size);
        let bound = |setting, all: u64, form: u64| Bound {
            setting,
            all,
            of_address: form.max(all / ADDRESS_PART),
        };
        Self {
            origin: network.map(|network| room.enter(network)),
            room,
            memory_max: bound("form_memory_max", limits.form_memory_max, form as u64),
            disk_max: bound("form_disk_max", limits.form_disk_max, limits.body_bytes_max),
            memory: AtomicU64::default(),
            disk: AtomicU64::default(),
        }
    }

    /// Takes memory.
    ///
    /// # Errors
    /// Others have it all, or others from this address all that is for one (503).
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        let before = self.memory.fetch_add(bytes, Ordering::Relaxed);
        let begun = beginning(before + bytes) - beginning(before);
        let has_begun = self.add(|taken| &taken.beginnings, begun, &self.memory_max);
        let has_rest = self.add(|taken| &taken.memory, bytes - begun, &self.memory_max);
        has_begun.and(has_rest)
    }

    /// Takes room on the disk.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn take_disk(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        self.disk.fetch_add(bytes, Ordering::Relaxed);
        self.add(|taken| &taken.disk, bytes, &self.disk_max)
    }

    /// Gives memory back.
    pub(crate) fn give_back(&self, bytes: usize) {
        let bytes = bytes as u64;
        let before = self.memory.fetch_sub(bytes, Ordering::Relaxed);
        let begun = beginning(before) - beginning(before - bytes);
        self.remove(|taken| &taken.beginnings, begun);
        self.remove(|taken| &taken.memory, bytes - begun);
    }

    fn add(&self, of: fn(&Taken) -> &AtomicU64, bytes: u64, bound: &Bound) -> Result<()> {
        let add = |taken: &Taken| of(taken).fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_address = self.origin.as_ref().map_or(0, |(_, taken)| add(taken));
        let all = add(&self.room.all);
        if bytes == 0 || (all <= bound.all && of_address <= bound.of_address) {
            return Ok(());
        }
        let who = match of_address <= bound.of_address {
            true => "the forms that are being read have all",
            false => "the forms from this address that are being read have its part",
        };
        let words = format!("{who} of http.{}", bound.setting);
        Err(Error::status(StatusCode::SERVICE_UNAVAILABLE, words))
    }

    fn remove(&self, of: fn(&Taken) -> &AtomicU64, bytes: u64) {
        let own = self.origin.iter().map(|(_, taken)| &**taken);
        for taken in own.chain([&self.room.all]) {
            of(taken).fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (memory, disk) = (*self.memory.get_mut(), *self.disk.get_mut());
        self.remove(|taken| &taken.beginnings, beginning(memory));
        self.remove(|taken| &taken.memory, memory - beginning(memory));
        self.remove(|taken| &taken.disk, disk);
        if let Some((network, _)) = self.origin.take() {
            self.room.leave(&network);
        }
    }
}

impl Room {
    /// A form more from there.
    fn enter(&self, network: String) -> (String, Arc<Taken>) {
        let mut of_addresses = self.of_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, taken) = of_addresses.entry(network.clone()).or_default();
        *count += 1;
        (network, Arc::clone(taken))
    }

    fn leave(&self, network: &str) {
        let mut of_addresses = self.of_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = of_addresses.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                of_addresses.remove(network);
            }
        }
    }
}

/// Of so many bytes those of the beginning.
fn beginning(bytes: u64) -> u64 {
    bytes.min(BEGINNING_BYTES)
}

/// Reads a form for as long as that may take.
///
/// # Errors
/// It takes longer (408), or those of `reading`.
pub(crate) async fn in_time<T>(
    limits: &conf::Http,
    reading: impl Future<Output = Result<T>>,
) -> Result<T> {
    let seconds = limits.form_timeout;
    timeout(Duration::from_secs(seconds), reading).await.unwrap_or_else(|_| {
        let words = format!("reading a form takes longer than http.form_timeout, {seconds} s");
        Err(Error::status(StatusCode::REQUEST_TIMEOUT, words))
    })
}

/// All of a form that holds no files; what is read counts, not what was announced.
///
/// # Errors
/// It is too large (413), comes too slowly (408), breaks off (400), or there is no room (503).
pub(crate) async fn whole_form(
    site: &Site,
    address: Option<IpAddr>,
    mut body: Body,
) -> Result<Bytes> {
    let (limits, held) = (&site.settings().http, Held::new(site, address));
    let limit = limits.data_upload_max_memory_size;
    let reading = async {
        let mut form = Gathered::default();
        while let Some(data) = next_data(&mut body).await? {
            if form.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            held.take(data.len())?;
            form.push(&data);
        }
        Ok(form.whole().into())
    };
    in_time(limits, reading).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::StatusCode;
    use tokio::time::Instant;

    use super::in_time;
    use crate::conf;
    use crate::error::Result;

    #[tokio::test(start_paused = true)]
    async fn a_form_that_does_not_end_is_given_up() {
        let limits = conf::Http { form_timeout: 600, ..conf::Http::default() };
        let begun = Instant::now();
        let never = in_time(&limits, pending::<Result<()>>()).await;
        assert_eq!(never.unwrap_err().status_code(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(begun.elapsed().as_secs(), 600);
        assert!(in_time(&limits, async { Ok(1) }).await.is_ok());
    }
}
