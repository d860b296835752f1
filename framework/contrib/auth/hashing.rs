//! The bounded pool on which passwords are hashed.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB. Unbounded, a hundred logins at once
//! would be 2 GiB and stall everything else, so few run, some wait, and the rest are told to come
//! back.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::passwords::{self, Cost, Verdict};
use crate::error::{Error, Result};
use crate::site::Site;

/// The pool of one site.
#[derive(Debug)]
struct Hashing {
    /// One permit a hash being computed. The computation holds it, not the caller: a client that
    /// goes away does not stop argon2.
    running: Arc<Semaphore>,
    /// One permit a hash being computed or waiting.
    admitted: Arc<Semaphore>,
    cost: Cost,
}

impl Hashing {
    fn of(site: &Site) -> Arc<Self> {
        site.keep(|site| {
            let settings = &site.settings().auth;
            let threads = settings.hashing_threads.max(1);
            Self {
                running: Arc::new(Semaphore::new(threads)),
                admitted: Arc::new(Semaphore::new(threads + settings.hashing_queue)),
                cost: Cost::of(settings),
            }
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Cost) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            let message = "too many passwords are being checked; try again in a moment";
            return Err(Error::status(StatusCode::SERVICE_UNAVAILABLE, message));
        };
        let running = Arc::clone(&self.running).acquire_owned().await?;
        let cost = self.cost;
        let hashing = tokio::task::spawn_blocking(move || {
            let _held_to_the_end = (admitted, running);
            work(cost)
        });
        hashing.await?
    }
}

/// The hash to store for `password`.
///
/// # Errors
/// It is too long, or too many hashes wait already (503).
pub(super) async fn hash(site: &Site, password: &str) -> Result<String> {
    let password = password.to_owned();
    Hashing::of(site).run(move |cost| passwords::hash(&password, cost)).await
}

/// Compares `password` with `stored`; `None` is an account that does not exist, and costs the same.
///
/// # Errors
/// Too many hashes wait already (503).
pub(super) async fn verify(site: &Site, password: &str, stored: Option<String>) -> Result<Verdict> {
    let password = password.to_owned();
    let pool = Hashing::of(site);
    pool.run(move |cost| passwords::verify(&password, stored.as_deref(), cost)).await
}
