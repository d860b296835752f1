//! Visitors that ask as fast as they can, or as people do, on kept connections and on fresh ones,
//! and count.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(30);

/// How often each of those asks who do not hurry.
const PACE: Duration = Duration::from_millis(100);

/// What a crowd has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) answered: usize,
    /// What went wrong, in words.
    pub(crate) failures: Vec<String>,
    /// How many of them found nobody who listens.
    pub(crate) refused: usize,
    /// The longest wait for an answer.
    pub(crate) slowest: Duration,
    /// Answers that said they were the last of their connection.
    pub(crate) last: usize,
}

impl Seen {
    /// How many were let in, and not answered as they should be.
    pub(crate) fn failed(&self) -> usize {
        self.failures.len() - self.refused
    }
}

/// What they ask for at `/`: whose cookie they bring, and which body is right.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) cookie: String,
    pub(crate) is_right: fn(&[u8]) -> bool,
}

/// The testsite's.
const HELLO: Page = Page { cookie: String::new(), is_right: |body| body == b"Hello World!\n" };

/// Visitors that ask again and again until they are stopped.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    answered: watch::Sender<usize>,
    visitors: Vec<JoinHandle<Seen>>,
}

impl Crowd {
    /// `kept` visitors keep their connection, `fresh` ones make one for each request.
    pub(crate) fn come(address: &str, kept: usize, fresh: usize) -> Self {
        Self::come_for(&HELLO, address, kept, fresh)
    }

    /// The same, for another page.
    pub(crate) fn come_for(page: &Page, address: &str, kept: usize, fresh: usize) -> Self {
        Self::of(page, address, (kept, fresh), None)
    }

    /// The same, each ten times a second. As a browser does, they look before they ask whether the
    /// connection they have kept was closed.
    pub(crate) fn stroll(address: &str, kept: usize, fresh: usize) -> Self {
        Self::of(&HELLO, address, (kept, fresh), Some(PACE))
    }

    fn of(
        page: &Page,
        address: &str,
        (kept, fresh): (usize, usize),
        pace: Option<Duration>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = watch::Sender::new(0);
        let visitor = |number: usize| {
            let visitor = Visitor {
                page: page.clone(),
                address: address.to_owned(),
                is_kept: number < kept,
                pace: pace.map(|pace| (pace, pace * number as u32 / (kept + fresh) as u32)),
                connection: None,
                seen: Seen::default(),
            };
            tokio::spawn(visitor.visit(Arc::clone(&stop), answered.clone()))
        };
        let visitors = (0..kept + fresh).map(visitor).collect();
        Self { stop, answered, visitors }
    }

    /// Waits until so many were answered.
    pub(crate) async fn answered(&self, count: usize) {
        let mut answered = self.answered.subscribe();
        answered.wait_for(|answered| *answered >= count).await.unwrap();
    }

    /// Stops them; what they have seen.
    pub(crate) async fn go(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for seen in join_all(self.visitors).await.into_iter().map(Result::unwrap) {
            all.answered += seen.answered;
            all.last += seen.last;
            all.refused += seen.refused;
            all.slowest = all.slowest.max(seen.slowest);
            all.failures.extend(seen.failures);
        }
        all
    }
}

struct Visitor {
    page: Page,
    address: String,
    is_kept: bool,
    /// How often he asks, and when first.
    pace: Option<(Duration, Duration)>,
    connection: Option<BufReader<TcpStream>>,
    seen: Seen,
}

impl Visitor {
    async fn visit(mut self, stop: Arc<AtomicBool>, answered: watch::Sender<usize>) -> Seen {
        let mut pace = self.pace.map(|(pace, first)| interval_at(Instant::now() + first, pace));
        pace.iter_mut().for_each(|pace| pace.set_missed_tick_behavior(MissedTickBehavior::Delay));
        while !stop.load(Ordering::Relaxed) {
            if let Some(pace) = &mut pace {
                pace.tick().await;
                self.look();
            }
            let begun = Instant::now();
            match timeout(WAIT, self.ask()).await {
                Ok(Ok(())) => {
                    self.seen.answered += 1;
                    self.seen.slowest = self.seen.slowest.max(begun.elapsed());
                    answered.send_modify(|answered| *answered += 1);
                }
                Ok(Err(error)) => {
                    self.connection = None;
                    let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                    self.seen.refused += usize::from(is_refused);
                    self.seen.failures.push(error.to_string());
                }
                Err(_) => {
                    self.connection = None;
                    self.seen.failures.push("no answer in time".to_owned());
                }
            }
        }
        self.seen
    }

    /// Leaves a connection that was closed.
    fn look(&mut self) {
        let is_there = |connection: &BufReader<TcpStream>| {
            let read = connection.get_ref().try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        self.connection = self.connection.take().filter(is_there);
    }

    /// One request. A connection is left when its answer says that it was the last, and only then.
    async fn ask(&mut self) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(&self.address).await?),
        };
        let end = if self.is_kept { "" } else { "Connection: close\r\n" };
        let (host, cookie) = (&self.address, &self.page.cookie);
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n{end}\r\n");
        connection.get_mut().write_all(request.as_bytes()).await?;
        let (mut length, mut is_last, mut line) = (0, false, String::new());
        if connection.read_line(&mut line).await? == 0 {
            return Err(io::Error::other("closed instead of an answer"));
        }
        if !line.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(line));
        }
        loop {
            line.clear();
            connection.read_line(&mut line).await?;
            let (name, value) = line.trim().split_once(':').unwrap_or_default();
            match name.to_lowercase().as_str() {
                "" => break,
                "content-length" => length = value.trim().parse().unwrap(),
                "connection" => is_last = value.trim() == "close",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        if !(self.page.is_right)(&body) {
            return Err(io::Error::other("another page"));
        }
        if self.is_kept && !is_last {
            self.connection = Some(connection);
        }
        self.seen.last += usize::from(self.is_kept && is_last);
        Ok(())
    }
}
