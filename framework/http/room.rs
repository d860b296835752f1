//! What the forms that are being read take of a process, all of them together.
//!
//! Invariant: what was taken is given back when the [`Held`] is dropped, whatever became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use tokio::time::timeout;

use super::{next_data, too_large};
use crate::conf;
use crate::error::{Error, Result};
use crate::site::Site;

/// Bytes of all forms of a site in this process.
#[derive(Debug, Default)]
struct Room {
    memory: AtomicU64,
    disk: AtomicU64,
}

/// What one form has of it.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    memory_max: u64,
    disk_max: u64,
    memory: AtomicU64,
    disk: AtomicU64,
}

impl Held {
    /// Nothing yet, of the room of `site`.
    pub(crate) fn new(site: &Site) -> Self {
        let limits = &site.settings().http;
        Self {
            room: site.keep(|_| Room::default()),
            memory_max: limits.form_memory_max,
            disk_max: limits.form_disk_max,
            memory: AtomicU64::default(),
            disk: AtomicU64::default(),
        }
    }

    /// Takes memory.
    ///
    /// # Errors
    /// Others have it all (503).
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        self.memory.fetch_add(bytes, Ordering::Relaxed);
        let before = self.room.memory.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.memory_max { Err(full("form_memory_max")) } else { Ok(()) }
    }

    /// Takes room on the disk.
    ///
    /// # Errors
    /// Others have it all (503).
    pub(crate) fn take_disk(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        self.disk.fetch_add(bytes, Ordering::Relaxed);
        let before = self.room.disk.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.disk_max { Err(full("form_disk_max")) } else { Ok(()) }
    }

    /// Gives memory back.
    pub(crate) fn give_back(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
        self.room.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.memory.fetch_sub(*self.memory.get_mut(), Ordering::Relaxed);
        self.room.disk.fetch_sub(*self.disk.get_mut(), Ordering::Relaxed);
    }
}

fn full(setting: &str) -> Error {
    let words = format!("the forms that are being read have all of http.{setting}");
    Error::status(StatusCode::SERVICE_UNAVAILABLE, words)
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
pub(crate) async fn whole_form(site: &Site, mut body: Body) -> Result<Bytes> {
    let (limits, held) = (&site.settings().http, Held::new(site));
    let limit = limits.data_upload_max_memory_size;
    let reading = async {
        let mut form = Vec::new();
        while let Some(data) = next_data(&mut body).await? {
            if form.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            held.take(data.len())?;
            form.extend_from_slice(&data);
        }
        Ok(form.into())
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
