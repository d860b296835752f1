//! What the arbiter knows of the site as a whole: metrics for Prometheus, and whether it is well.
//!
//! Flow: workers tell their figures with their heartbeat → [`Monitor::told`] → a request to
//! `server.metrics_bind` is answered from what was told last: `/metrics`, `/healthz`, `/readyz`.
//!
//! Invariants:
//! - The arbiter asks nobody when somebody asks it: an answer is never late because a worker hangs.
//! - Counters never go down: what a worker has counted stays when it is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::error::Result;
use crate::server::address::Listener;
use crate::server::figures::Snapshot;

/// Who may ask at once.
const ASKING_MAX: usize = 32;

/// How long a question and its answer may take.
const ASKING_WAIT: Duration = Duration::from_secs(5);

/// Longest question, bytes.
const QUESTION_BYTES_MAX: usize = 8192;

/// How long accepting pauses when it fails.
const PAUSE: Duration = Duration::from_millis(250);

/// Counts whether the worker reaches the database, among what it tells.
pub(super) const DATABASE_AWAY: &str = "hulse_database_away";

/// A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Monitor(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What each child that lives told last.
    live: HashMap<u64, Snapshot>,
    /// What those that are gone have counted.
    past: Snapshot,
    life: Life,
    deaths: u64,
}

/// How the site is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) is_draining: bool,
    /// Workers there should be, and those that serve.
    pub(super) wanted: usize,
    pub(super) ready: usize,
}

impl Monitor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child has told its figures.
    pub(super) fn told(&self, child: u64, told: Snapshot) {
        self.state().live.insert(child, told);
    }

    /// A child has ended.
    pub(super) fn ended(&self, child: u64, has_died: bool) {
        let mut state = self.state();
        state.deaths += u64::from(has_died);
        if let Some(last) = state.live.remove(&child) {
            state.past.merge(&Snapshot { counters: last.counters, ..Snapshot::default() });
        }
    }

    /// The site is so now.
    pub(super) fn lives(&self, life: Life) {
        self.state().life = life;
    }

    fn metrics(&self) -> String {
        let state = self.state();
        let mut all = state.past.clone();
        state.live.values().for_each(|told| all.merge(told));
        all.add("hulse_children_died_total", state.deaths);
        all.gauge("hulse_workers_ready", state.life.ready as u64);
        all.gauge("hulse_workers_wanted", state.life.wanted as u64);
        all.text()
    }

    /// Why the site should get no visitors now.
    fn unready(&self) -> Option<String> {
        let state = self.state();
        let Life { is_draining, wanted, ready } = state.life;
        let away = |told: &Snapshot| told.gauges.get(DATABASE_AWAY).is_some_and(|away| *away > 0);
        if is_draining {
            Some("draining".to_owned())
        } else if ready < wanted || wanted == 0 {
            Some(format!("{ready} of {wanted} workers are ready"))
        } else if state.live.values().any(away) {
            Some("the database is away".to_owned())
        } else {
            None
        }
    }

    fn answer(&self, path: &str) -> (&'static str, String) {
        match path {
            "/metrics" => ("200 OK", self.metrics()),
            "/healthz" => ("200 OK", "up\n".to_owned()),
            "/readyz" => match self.unready() {
                None => ("200 OK", "ready\n".to_owned()),
                Some(why) => ("503 Service Unavailable", format!("{why}\n")),
            },
            _ => ("404 Not Found", "there are /metrics, /healthz and /readyz\n".to_owned()),
        }
    }

    /// Answers whoever asks at `listener`, for ever.
    pub(super) async fn serve(self, listener: Listener) {
        if let Err(error) = self.answer_at(listener).await {
            tracing::error!(%error, "the metrics cannot be asked for");
        }
    }

    async fn answer_at(self, listener: Listener) -> Result<()> {
        let places = Arc::new(Semaphore::new(ASKING_MAX));
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let place = Arc::clone(&places).acquire_owned().await;
                    match listener.accept().await {
                        Ok((stream, _)) => drop(tokio::spawn(self.clone().ask(stream, place))),
                        Err(_) => sleep(PAUSE).await,
                    }
                }
            }
            Listener::Unix(listener, _file) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    let place = Arc::clone(&places).acquire_owned().await;
                    match listener.accept().await {
                        Ok((stream, _)) => drop(tokio::spawn(self.clone().ask(stream, place))),
                        Err(_) => sleep(PAUSE).await,
                    }
                }
            }
        }
    }

    /// One question, one answer, within a few seconds. `_place` is free afterwards.
    async fn ask<T>(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, _place: T) {
        let asked = async {
            let Some(path) = question(&mut stream).await else { return };
            let (status, text) = self.answer(&path);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            // Whoever asked may be gone.
            let _gone = stream.write_all((head + &text).as_bytes()).await;
            let _gone = stream.shutdown().await;
        };
        let _late = timeout(ASKING_WAIT, asked).await;
    }
}

/// The path of a GET.
async fn question(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        if read.len() > QUESTION_BYTES_MAX || stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let mut words = head.split(' ');
    let is_get = matches!(words.next(), Some("GET" | "HEAD"));
    let path = words.next().filter(|_| is_get)?;
    Some(path.split('?').next().unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_counted_stays_when_it_is_gone() {
        let monitor = Monitor::default();
        let told = |count, now| {
            let mut told = Snapshot::default();
            told.add("hulse_x_total", count);
            told.gauge("hulse_y", now);
            told
        };
        monitor.told(1, told(5, 2));
        monitor.told(2, told(7, 3));
        monitor.told(1, told(6, 2));
        let has = |line: &str| assert!(monitor.metrics().lines().any(|l| l == line), "{line}");
        has("hulse_x_total 13");
        has("hulse_y 5");
        monitor.ended(1, true);
        has("hulse_x_total 13");
        has("hulse_y 3");
        has("hulse_children_died_total 1");
    }

    #[test]
    fn the_site_is_ready_when_all_of_it_is() {
        let monitor = Monitor::default();
        let check = |status: &str| assert!(monitor.answer("/readyz").0.starts_with(status));
        let life = |ready, is_draining| monitor.lives(Life { is_draining, wanted: 2, ready });
        check("503");
        life(1, false);
        check("503");
        life(2, false);
        check("200");
        let mut away = Snapshot::default();
        away.gauge(DATABASE_AWAY, 1);
        monitor.told(1, away);
        check("503");
        monitor.told(1, Snapshot::default());
        check("200");
        life(2, true);
        check("503");
        assert!(monitor.answer("/healthz").0.starts_with("200"));
        assert!(monitor.answer("/").0.starts_with("404"));
    }
}
