//! The bounded pool on which passwords are hashed.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB. Unbounded, a hundred logins at once
//! would be 2 GiB and stall everything else, so few run, some wait, and the rest are told to come
//! back.
//!
//! The threads are its own, and each gives its memory from hash to hash: the C library keeps what a
//! hash used, for the thread that used it, and cuts pieces from it that the next hash then misses.
//! They also stand behind the others, which have pages to serve.
//!
//! Not all hashes cost the same: those of another hasher, or of settings from before, tell by their
//! time that there is such an account. So who is refused waits as long as the dearest took that was
//! computed here within half an hour; nobody's thread is kept for that. The first such comparison
//! of a process, and the first behind half an hour without, still tell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;

use super::passwords::{self, Cost, Scratch, Verdict};
use crate::error::{Error, Result};
use crate::site::Site;

/// How far its threads stand behind the others (`nice`): a third of their share.
const NICE: i32 = 5;

/// Most threads that a worker has without a word.
const SHARE_MAX: usize = 2;

/// How long a comparison is known at least, and half of how long at most.
const LATELY: Duration = Duration::from_secs(1800);

/// Longest that somebody who is refused waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The pool of one site.
#[derive(Debug)]
struct Hashing {
    /// What is to be computed. The threads end when this is dropped.
    jobs: mpsc::Sender<Job>,
    /// One permit a hash being computed or waiting. The computation holds it, not the caller: a
    /// client that goes away does not stop argon2.
    admitted: Arc<Semaphore>,
    cost: Cost,
    dearest: Mutex<Dearest>,
}

/// What the dearest comparisons took: by time, as a crowd of cheap ones is had for nothing.
#[derive(Debug)]
struct Dearest {
    /// Since when `now` counts.
    since: Instant,
    now: Duration,
    /// In the half hour before.
    before: Duration,
}

impl Dearest {
    fn new(since: Instant) -> Self {
        Self { since, now: Duration::ZERO, before: Duration::ZERO }
    }

    /// Takes note of one; what the dearest took lately.
    fn note(&mut self, took: Duration, at: Instant) -> Duration {
        let gone = at.saturating_duration_since(self.since);
        if gone >= LATELY {
            let before = if gone < 2 * LATELY { self.now } else { Duration::ZERO };
            *self = Self { before, ..Self::new(at) };
        }
        self.now = self.now.max(took);
        self.now.max(self.before)
    }
}

impl Hashing {
    fn of(site: &Site) -> Arc<Self> {
        site.keep(|site| {
            let settings = &site.settings().auth;
            let threads = match settings.hashing_threads {
                0 => share(site.settings().server.workers),
                threads => threads,
            };
            let places = threads + settings.hashing_queue;
            let (jobs, waiting) = mpsc::channel(places);
            let waiting = Arc::new(Mutex::new(waiting));
            for _ in 0..threads {
                let waiting = Arc::clone(&waiting);
                let thread = thread::Builder::new().name("hashing".into());
                // Without any there is nobody who takes a job, and who asks is told so.
                if let Err(error) = thread.spawn(move || compute(&waiting)) {
                    tracing::error!(%error, "a thread for hashing passwords cannot be started");
                }
            }
            let admitted = Arc::new(Semaphore::new(places));
            let dearest = Mutex::new(Dearest::new(Instant::now()));
            Self { jobs, admitted, cost: Cost::of(settings), dearest }
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Cost, &mut Scratch) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            return Err(busy());
        };
        let (cost, (told, said)) = (self.cost, oneshot::channel());
        let job = move |scratch: &mut Scratch| {
            let _held_to_the_end = admitted;
            // Whoever asked may be gone.
            let _gone = told.send(work(cost, scratch));
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| busy())?;
        said.await?
    }
}

/// The part of one of so many workers in the cores: with more threads than those, hashes would only
/// take memory and turns from each other and from pages.
fn share(workers: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // As `pulse` counts its workers.
    let workers = if workers == 0 { cores } else { workers };
    (cores / workers).clamp(1, SHARE_MAX)
}

/// One thread of the pool.
fn compute(waiting: &Mutex<mpsc::Receiver<Job>>) {
    // Not to be had everywhere, and not needed.
    let _as_before = setpriority_process(Some(gettid()), NICE);
    let mut scratch = Scratch::default();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(|| job(&mut scratch))).is_err() {
            tracing::error!("hashing a password panicked");
        }
    }
}

fn busy() -> Error {
    let message = "too many passwords are being checked; try again in a moment";
    Error::status(StatusCode::SERVICE_UNAVAILABLE, message)
}

/// The hash to store for `password`.
///
/// # Errors
/// It is too long, or too many hashes wait already (503).
pub(super) async fn hash(site: &Site, password: &str) -> Result<String> {
    let password = password.to_owned();
    Hashing::of(site).run(move |cost, scratch| passwords::hash(&password, cost, scratch)).await
}

/// Compares `password` with `stored`; `None` is an account that does not exist, and costs the same.
///
/// # Errors
/// Too many hashes wait already (503).
pub(super) async fn verify(site: &Site, password: &str, stored: Option<String>) -> Result<Verdict> {
    let password = password.to_owned();
    let pool = Hashing::of(site);
    let work = move |cost, scratch: &mut Scratch| {
        let begun = Instant::now();
        let verdict = passwords::verify(&password, stored.as_deref(), cost, scratch);
        Ok((verdict, begun.elapsed()))
    };
    let (verdict, took) = pool.run(work).await?;
    let dearest = {
        let mut dearest = pool.dearest.lock().unwrap_or_else(PoisonError::into_inner);
        dearest.note(took, Instant::now())
    };
    if matches!(verdict, Ok(Verdict::Wrong)) {
        sleep(dearest.saturating_sub(took).min(PATIENCE)).await;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Dearest, LATELY};

    #[test]
    fn the_dearest_is_known_for_half_an_hour_however_many_cheap_ones_follow() {
        let (begun, ms) = (Instant::now(), Duration::from_millis);
        let mut dearest = Dearest::new(begun);
        assert_eq!(dearest.note(ms(1), begun), ms(1));
        assert_eq!(dearest.note(ms(90), begun + LATELY / 2), ms(90));
        let end = begun + LATELY * 3 / 2;
        for number in 0..10_000 {
            let at = begun + LATELY / 2 + LATELY * number / 10_000;
            assert_eq!(dearest.note(ms(1), at), ms(90));
        }
        assert_eq!(dearest.note(ms(1), end + LATELY), ms(1));
        assert_eq!(dearest.note(ms(1), end + LATELY * 9), ms(1));
    }
}
