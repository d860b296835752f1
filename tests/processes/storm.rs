//! Hundreds of sockets on several workers at up to 2,000 messages a second, whose senders do not
//! wait for their answers, while processes are killed and stopped: who comes back with its place
//! ends with every message, once and in order.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use hulse_tests::{Pulse, promised};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, watch};
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::crowd::Crowd;

/// Streams, each with a sender.
pub(crate) const ROOMS: usize = 40;
/// Sockets that read each stream; in a `--long` run 24, which makes a thousand sockets in all.
pub(crate) const READERS: usize = 9;
pub(crate) const READERS_LONG: usize = 24;
/// Sends of one client that may wait for their answers, as many as `hulse.js` keeps.
const WAITING_MAX: usize = 100;
/// Messages of each sender a second: 2,000 in all.
const RATE: u32 = 50;
/// How long a client waits for a connection or an answer before it tries again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client waits before it says again what was refused for the moment.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest wait for the end.
const END: Duration = Duration::from_secs(60);
/// What each sender says last.
const LAST: u64 = u64::MAX;

type Socket = WebSocketStream<TcpStream>;

/// A client as `hulse.js` is one: it knows its place, and says again what was not answered.
struct Client {
    address: String,
    room: String,
    /// By which its keys are known on its next connection.
    hello: String,
    at: Option<String>,
    seen: Vec<u64>,
    /// How much it had seen when it was told of a gap.
    gaps: Vec<usize>,
    came: usize,
    watched: watch::Sender<Watched>,
    /// What it has heard last, or how much it has said.
    last: Arc<AtomicU64>,
}

/// What is seen of all clients while they are at it.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    /// How many have joined and not lost their connection.
    present: usize,
    /// The longest that one was without.
    away: Duration,
}

impl Client {
    fn new(address: &str, room: usize, number: usize, watched: watch::Sender<Watched>) -> Self {
        Self {
            address: address.to_owned(),
            room: format!("chat/r{room}"),
            hello: format!("client-{:016x}", RandomState::new().hash_one(number)),
            at: None,
            seen: Vec::new(),
            gaps: Vec::new(),
            came: 0,
            watched,
            last: Arc::default(),
        }
    }

    /// One try to connect and join.
    async fn try_connect(&mut self) -> Option<Socket> {
        let url = format!("ws://{}/stream/", self.address);
        let tcp = TcpStream::connect(&self.address).await.ok()?;
        let (mut socket, _) = client_async(url.into_client_request().ok()?, tcp).await.ok()?;
        let mut join = json!({ "join": self.room });
        if let Some(at) = &self.at {
            join["at"] = at.as_str().into();
        }
        let hello = json!({ "hello": self.hello });
        for frame in [hello, join] {
            socket.send(Message::text(frame.to_string())).await.ok()?;
        }
        loop {
            let frame = next(&mut socket).await?;
            if frame["error"].is_string() {
                return None;
            }
            if frame["joined"].is_string() {
                let is_back = self.at.is_some();
                if is_back && frame["recovered"] != true {
                    self.gaps.push(self.seen.len());
                }
                self.at = frame["at"].as_str().map(ToOwned::to_owned);
                self.came += 1;
                return Some(socket);
            }
        }
    }

    async fn reconnect(&mut self) -> Socket {
        self.watched.send_modify(|watched| watched.present -= 1);
        self.connect().await
    }

    async fn connect(&mut self) -> Socket {
        let begun = Instant::now();
        loop {
            if let Ok(Some(socket)) = timeout(PATIENCE, self.try_connect()).await {
                let away = if self.came > 1 { begun.elapsed() } else { Duration::ZERO };
                self.watched.send_modify(|watched| {
                    watched.present += 1;
                    watched.away = watched.away.max(away);
                });
                return socket;
            }
            // A moment, so as not to knock without a pause.
            let _elapsed = timeout(Duration::from_millis(50), pending::<()>()).await;
        }
    }

    /// Takes a message in.
    fn hear(&mut self, frame: &Value) {
        if frame["stream"].is_string()
            && let (Some(number), Some(at)) = (frame["data"].as_u64(), frame["at"].as_str())
        {
            self.seen.push(number);
            self.last.store(number, Ordering::Relaxed);
            self.at = Some(at.to_owned());
        }
    }

    /// Reads until it has heard what is said last.
    async fn read(mut self, joined: &Barrier) -> Self {
        let mut socket = self.connect().await;
        joined.wait().await;
        while self.seen.last() != Some(&LAST) {
            match next(&mut socket).await {
                Some(frame) => self.hear(&frame),
                None => {
                    drop(socket);
                    socket = self.reconnect().await;
                }
            }
        }
        self.seen.pop();
        self
    }

    /// Sends numbers at its pace until it is told to stop, each again and again until it is
    /// answered; how many.
    async fn send(mut self, joined: &Barrier, stop: watch::Receiver<bool>) -> u64 {
        let mut socket = self.connect().await;
        joined.wait().await;
        let mut pace = interval(Duration::from_secs(1) / RATE);
        let mut again = interval(AGAIN);
        let mut waiting = VecDeque::new();
        let mut refused = BTreeSet::new();
        let (mut count, mut is_over) = (0, false);
        loop {
            if *stop.borrow() && waiting.is_empty() {
                if is_over {
                    return count;
                }
                // Now that all before it is answered.
                is_over = true;
                waiting.push_back(LAST);
                self.say(&mut socket, LAST).await;
            }
            let may_send = !*stop.borrow() && waiting.len() < WAITING_MAX;
            let is_well = tokio::select! {
                // After a fault it hurries: it catches up with its pace.
                _ = pace.tick(), if may_send => {
                    waiting.push_back(count);
                    count += 1;
                    self.last.store(count, Ordering::Relaxed);
                    self.say(&mut socket, count - 1).await
                }
                _ = again.tick(), if !refused.is_empty() => {
                    let mut is_well = true;
                    for number in std::mem::take(&mut refused) {
                        is_well &= self.say(&mut socket, number).await;
                    }
                    is_well
                }
                heard = timeout(PATIENCE, next(&mut socket)) => {
                    let heard = heard.ok().flatten();
                    heard.is_some_and(|frame| is_well(&frame, &mut waiting, &mut refused))
                }
            };
            if !is_well {
                refused.clear();
                drop(socket);
                socket = self.reconnect().await;
                for number in &waiting {
                    // Should it fail, the connection ends, and that is heard.
                    self.say(&mut socket, *number).await;
                }
            }
        }
    }

    async fn say(&self, socket: &mut Socket, number: u64) -> bool {
        let frame = json!({ "send": self.room, "key": format!("k{number}"), "data": number });
        socket.send(Message::text(frame.to_string())).await.is_ok()
    }
}

/// Takes an answer from those that are waited for, and notes which have to be said again; whether
/// the connection can go on.
fn is_well(frame: &Value, waiting: &mut VecDeque<u64>, refused: &mut BTreeSet<u64>) -> bool {
    let number = |key: &Value| key.as_str().and_then(|key| key.strip_prefix('k')?.parse().ok());
    if let Some(sent) = number(&frame["sent"]) {
        waiting.retain(|number| *number != sent);
        return true;
    }
    match (frame["error"].as_str(), number(&frame["key"])) {
        (Some("unavailable"), Some(number)) => {
            refused.insert(number);
            true
        }
        (error, _) => error.is_none(),
    }
}

/// The next frame; `None`: the connection is over.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Lets so much time pass: what the test is about is the load meanwhile.
pub(crate) async fn let_run(time: Duration) {
    let _elapsed = timeout(time, pending::<()>()).await;
}

async fn faults(pulse: &Pulse) {
    let_run(Duration::from_secs(2)).await;
    kill_process(pulse.workers()[0], Signal::KILL).unwrap();
    let_run(Duration::from_secs(2)).await;
    kill_process(pulse.store().expect("there is a store"), Signal::KILL).unwrap();
    let_run(Duration::from_secs(2)).await;
    let stopped = pulse.workers()[1];
    kill_process(stopped, Signal::STOP).unwrap();
    let_run(Duration::from_secs(10)).await;
    // It may have been replaced by now.
    let _gone = kill_process(stopped, Signal::CONT);
    let_run(Duration::from_secs(2)).await;
}

/// Who lost their connections all at once.
const CROWD: usize = 300;
const CROWD_LONG: usize = 1000;

#[tokio::test]
async fn a_crowd_that_returns_at_once_is_back_soon() {
    let count = if is_long() { CROWD_LONG } else { CROWD };
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let mut clients: Vec<_> = (0..count)
        .map(|i| Client::new(pulse.address(), i % ROOMS, i, watch::Sender::default()))
        .collect();
    let sockets = join_all(clients.iter_mut().map(Client::connect)).await;
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    let begun = Instant::now();
    let back = clients.iter_mut().zip(sockets).map(|(client, mut socket)| async move {
        assert!(next(&mut socket).await.is_none(), "its worker was killed");
        client.connect().await;
        begun.elapsed()
    });
    let mut took = join_all(back).await;
    took.sort();
    let (half, last) = (took[count / 2], took[count - 1]);
    println!("{count} clients are back: half of them after {half:?}, all after {last:?}");
    assert!(last < promised(Duration::from_secs(5), Duration::from_secs(20)), "{last:?}");
    assert!(clients.iter().all(|client| client.gaps.is_empty() && client.came == 2));
}

/// How often the workers are replaced.
const RELOADS: usize = 3;
const RELOADS_LONG: usize = 20;

pub(crate) fn is_long() -> bool {
    std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty())
}

/// Reload after reload.
async fn reloads(pulse: &Pulse) {
    let_run(Duration::from_secs(1)).await;
    for _ in 0..if is_long() { RELOADS_LONG } else { RELOADS } {
        pulse.manage(&["ctl", "reload"], &[]).await;
    }
    let_run(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn in_a_storm_of_faults_every_message_comes_once_and_in_order() {
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    assert!(storm(&pulse, faults(&pulse)).await > 0, "nobody had to come back");
}

#[tokio::test]
async fn through_reloads_every_message_comes_once_and_in_order() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let returns = storm(&pulse, reloads(&pulse)).await;
    let status = pulse.status().await;
    println!("{} moved, {returns} had to come back", status["sockets_moved"]);
    assert!(status["sockets_moved"].as_u64() > Some(0));
    assert_eq!(status["deaths"], 0);
}

/// The largest storm at a site in which nobody may miss anything; how often one had to come back.
async fn storm(pulse: &Pulse, faults: impl Future<Output = ()>) -> usize {
    let readers = if is_long() { READERS_LONG } else { READERS };
    let came = Storm::new(&[pulse.address()], ROOMS, readers).run(faults).await;
    came.missed_nothing();
    came.returns
}

/// Clients that read and say things.
pub(crate) struct Storm {
    addresses: Vec<String>,
    rooms: usize,
    readers: usize,
    watched: watch::Sender<Watched>,
    /// What each reader has heard last, then how much each sender has said.
    last: Vec<Arc<AtomicU64>>,
}

/// What came of them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How often one had to come back.
    pub(crate) returns: usize,
    /// How often one was told of a gap.
    pub(crate) gaps: usize,
    /// What readers did not hear, all together.
    pub(crate) missed: u64,
    /// What they heard twice.
    pub(crate) doubled: usize,
}

impl Outcome {
    /// # Panics
    /// Somebody did.
    pub(crate) fn missed_nothing(&self) {
        assert_eq!((self.gaps, self.missed, self.doubled), (0, 0, 0), "{self:?}");
    }
}

impl Storm {
    /// `rooms` streams with a sender and `readers` each, spread over sites at these addresses.
    pub(crate) fn new(addresses: &[&str], rooms: usize, readers: usize) -> Self {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        let last = (0..rooms * (readers + 1)).map(|_| Arc::default()).collect();
        Self { addresses, rooms, readers, watched: watch::Sender::default(), last }
    }

    /// How many there are.
    pub(crate) fn clients(&self) -> usize {
        self.rooms * (self.readers + 1)
    }

    /// Waits until all have a connection; the longest that one was without since the last time.
    pub(crate) async fn present(&self) -> Duration {
        let mut watched = self.watched.subscribe();
        let all = watched.wait_for(|watched| watched.present == self.clients());
        drop(timeout(END, all).await.expect("all come back"));
        let mut away = Duration::ZERO;
        self.watched.send_modify(|watched| std::mem::swap(&mut watched.away, &mut away));
        away
    }

    /// Waits until each reader has heard what has been said until now: so much all workers know.
    pub(crate) async fn caught_up(&self) {
        let last = |at: usize| self.last[at].load(Ordering::Relaxed);
        let readers = self.rooms * self.readers;
        let said: Vec<u64> = (0..self.rooms).map(|room| last(readers + room)).collect();
        let has_all = |at: usize| last(at).saturating_add(1) >= said[at % self.rooms];
        let mut look = interval(Duration::from_millis(20));
        let all = async {
            while !(0..readers).all(has_all) {
                look.tick().await;
            }
        };
        timeout(END, all).await.expect("all hear what was said");
    }

    /// The one at this place, readers first.
    fn client(&self, at: usize) -> Client {
        let address = &self.addresses[at % self.addresses.len()];
        let client = Client::new(address, at % self.rooms, at, self.watched.clone());
        Client { last: Arc::clone(&self.last[at]), ..client }
    }

    /// Has them read and speak while `faults` happen. Each reader has every message in order, but
    /// for what he was told that he has missed.
    #[expect(clippy::print_stdout, reason = "the figures of the run")]
    pub(crate) async fn run(&self, faults: impl Future<Output = ()>) -> Outcome {
        let (rooms, readers) = (self.rooms, self.readers);
        let joined = Barrier::new(self.clients() + 1);
        let (stop, stopped) = watch::channel(false);
        let reading = (0..rooms * readers).map(|i| self.client(i).read(&joined));
        let sending = (0..rooms).map(|i| {
            let sender = self.client(rooms * readers + i);
            sender.send(&joined, stopped.clone())
        });
        let driving = async {
            joined.wait().await;
            let start = Instant::now();
            faults.await;
            stop.send_replace(true);
            start.elapsed()
        };
        let all = async { tokio::join!(join_all(reading), join_all(sending), driving) };
        let faults = Duration::from_secs(if is_long() { 600 } else { 40 });
        let (clients, sent, took) = timeout(faults + END, all).await.expect("it comes to an end");
        let mut outcome = Outcome::default();
        for (index, client) in clients.iter().enumerate() {
            outcome.doubled += client.doubled();
            let heard: BTreeSet<u64> = client.seen.iter().copied().collect();
            outcome.missed += sent[index % rooms] - heard.len() as u64;
            outcome.gaps += client.gaps.len();
            outcome.returns += client.came - 1;
        }
        println!(
            "{} messages in {took:?} to {} sockets: {} returns, {} gaps told, {} missed, \
             {} doubled",
            sent.iter().sum::<u64>(),
            clients.len(),
            outcome.returns,
            outcome.gaps,
            outcome.missed,
            outcome.doubled
        );
        outcome
    }
}

impl Client {
    /// Between two gaps nothing is missing or comes too early; how much came twice.
    fn doubled(&self) -> usize {
        let (mut begin, mut doubled) = (0, 0);
        for (index, end) in self.gaps.iter().copied().chain([self.seen.len()]).enumerate() {
            let piece = &self.seen[begin..end];
            let mut next = piece.first().copied().filter(|_| index > 0).unwrap_or_default();
            for (at, heard) in piece.iter().enumerate() {
                let around = &piece[at.saturating_sub(3)..(at + 4).min(piece.len())];
                assert!(*heard <= next, "{}: {next} is missing: {around:?}", self.room);
                doubled += usize::from(*heard < next);
                next = next.max(heard + 1);
            }
            begin = end;
        }
        doubled
    }
}

/// Kills one; the process is there again, and says that it serves, after this.
async fn killed(pulse: &mut Pulse, victim: Pid) -> (Duration, Duration) {
    let (count, seen, begun) = (pulse.workers().len(), pulse.log().len(), Instant::now());
    kill_process(victim, Signal::KILL).unwrap();
    let mut look = interval(Duration::from_millis(2));
    let is_back = |pulse: &Pulse| {
        let workers = pulse.workers();
        workers.len() >= count && !workers.contains(&victim)
    };
    while !is_back(pulse) {
        look.tick().await;
    }
    let back = begun.elapsed();
    pulse.said_after(seen, "is ready").await;
    (back, begun.elapsed())
}

#[tokio::test]
async fn killed_workers_refuse_nobody_and_are_back_at_once() {
    let mut pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let storm = Storm::new(&[pulse.address()], 10, if is_long() { 9 } else { 5 });
    let pause = Duration::from_millis(if is_long() { 2000 } else { 300 });
    let faults = async {
        for (what, kills) in [("one worker", 1), ("five in a row", 5), ("all at once", 4)] {
            let crowd = Crowd::stroll(pulse.address(), 10, 10);
            let_run(pause).await;
            let (mut back, mut serving) = (Duration::ZERO, Duration::ZERO);
            if what == "all at once" {
                let (seen, begun) = (pulse.log().len(), Instant::now());
                let workers = pulse.workers();
                workers.iter().for_each(|worker| kill_process(*worker, Signal::KILL).unwrap());
                pulse.said_after(seen, "is ready").await;
                serving = begun.elapsed();
            } else {
                for _ in 0..kills {
                    let victim = pulse.workers()[0];
                    let took = killed(&mut pulse, victim).await;
                    (back, serving) = (back.max(took.0), serving.max(took.1));
                    let_run(pause / 10).await;
                }
            }
            let_run(pause).await;
            let away = storm.present().await;
            let seen = crowd.go().await;
            println!(
                "{what}: {} requests answered, {} failed, {} refused; process back after {back:?}, \
                 serves after {serving:?}; clients back after {away:?}",
                seen.answered,
                seen.failed(),
                seen.refused,
            );
            assert_eq!(seen.refused, 0);
            // What was under way on the dead: of 20 visitors at most one each.
            assert!(seen.failures.len() <= 20 * kills, "{:?}", seen.failures);
            let busy = Duration::from_secs(10);
            assert!(back < promised(Duration::from_secs(1), busy), "{back:?}");
            assert!(serving < promised(Duration::from_secs(2), busy), "{serving:?}");
            assert!(away < promised(Duration::from_secs(5), 2 * busy), "{away:?}");
        }
    };
    let outcome = storm.run(faults).await;
    outcome.missed_nothing();
    assert!(outcome.returns > 50, "all had to come back");
    assert_eq!(pulse.stop().await, 0);
}
