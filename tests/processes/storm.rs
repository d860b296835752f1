//! Hundreds of sockets on four workers at up to 2,000 messages a second, whose senders do not wait
//! for their answers, while a worker and the store are killed and a worker is stopped for ten
//! seconds: who comes back with its place ends with every message once and in order.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use hulse_tests::Pulse;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, watch};
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Streams, each with a sender.
const ROOMS: usize = 40;
/// Sockets that read each stream; in a `--long` run 24, which makes a thousand sockets in all.
const READERS: usize = 9;
const READERS_LONG: usize = 24;
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

type Socket = WebSocketStream<TcpStream>;

/// A client as `hulse.js` is one: it knows its place, and says again what was not answered.
struct Client {
    address: String,
    room: String,
    /// By which its keys are known on its next connection.
    hello: String,
    at: Option<String>,
    seen: Vec<u64>,
    gaps: usize,
    came: usize,
}

impl Client {
    fn new(pulse: &Pulse, room: usize, number: usize) -> Self {
        Self {
            address: pulse.address().to_owned(),
            room: format!("chat/r{room}"),
            hello: format!("client-{room:04}-{number:04}"),
            at: None,
            seen: Vec::new(),
            gaps: 0,
            came: 0,
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
                self.gaps += usize::from(is_back && frame["recovered"] != true);
                self.at = frame["at"].as_str().map(ToOwned::to_owned);
                self.came += 1;
                return Some(socket);
            }
        }
    }

    async fn connect(&mut self) -> Socket {
        loop {
            if let Ok(Some(socket)) = timeout(PATIENCE, self.try_connect()).await {
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
            self.at = Some(at.to_owned());
        }
    }

    /// Reads until it has as many as were sent, once that is known.
    async fn read(mut self, joined: &Barrier, mut sent: watch::Receiver<Option<usize>>) -> Self {
        let mut socket = self.connect().await;
        joined.wait().await;
        while sent.borrow_and_update().is_none_or(|count| self.seen.len() < count) {
            tokio::select! {
                frame = next(&mut socket) => match frame {
                    Some(frame) => self.hear(&frame),
                    None => socket = self.connect().await,
                },
                _ = sent.changed() => {}
            }
        }
        self
    }

    /// Sends numbers at its pace until it is told to stop, each again and again until it is
    /// answered; how many.
    async fn send(mut self, joined: &Barrier, stop: watch::Receiver<bool>) -> usize {
        let mut socket = self.connect().await;
        joined.wait().await;
        let mut pace = interval(Duration::from_secs(1) / RATE);
        let mut again = interval(AGAIN);
        let mut waiting = VecDeque::new();
        let mut refused = BTreeSet::new();
        let mut count = 0;
        while !*stop.borrow() || !waiting.is_empty() {
            let may_send = !*stop.borrow() && waiting.len() < WAITING_MAX;
            let is_well = tokio::select! {
                // After a fault it hurries: it catches up with its pace.
                _ = pace.tick(), if may_send => {
                    waiting.push_back(count);
                    count += 1;
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
                socket = self.connect().await;
                for number in &waiting {
                    // Should it fail, the connection ends, and that is heard.
                    self.say(&mut socket, *number).await;
                }
            }
        }
        count
    }

    async fn say(&self, socket: &mut Socket, number: usize) -> bool {
        let frame = json!({ "send": self.room, "key": format!("k{number}"), "data": number });
        socket.send(Message::text(frame.to_string())).await.is_ok()
    }
}

/// Takes an answer from those that are waited for, and notes which have to be said again; whether
/// the connection can go on.
fn is_well(frame: &Value, waiting: &mut VecDeque<usize>, refused: &mut BTreeSet<usize>) -> bool {
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
async fn let_run(time: Duration) {
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

/// What may happen at any moment.
const KINDS: [&str; 6] = [
    "worker killed",
    "all workers killed",
    "store killed",
    "worker stopped",
    "store stopped",
    "reload",
];

/// Faults drawn by a number that is printed, and taken from `HULSE_SEED` if that is set.
#[expect(clippy::print_stdout, reason = "the seed of the run")]
async fn random_faults(pulse: &Pulse) {
    let seed = std::env::var("HULSE_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("HULSE_SEED={random}");
    let mut draw = |below: usize| {
        // Knuth's MMIX generator; its high bits are the good ones.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let_run(Duration::from_secs(1)).await;
    for _ in 0..if is_long() { 60 } else { 5 } {
        let kind = KINDS[draw(KINDS.len())];
        let workers = pulse.workers();
        let worker = workers.get(draw(workers.len().max(1))).copied();
        let victims = match kind {
            "all workers killed" => workers,
            "store killed" | "store stopped" => pulse.store().into_iter().collect(),
            "reload" => Vec::new(),
            _ => worker.into_iter().collect(),
        };
        let signal = if kind.ends_with("stopped") { Signal::STOP } else { Signal::KILL };
        for victim in &victims {
            // It may be gone by itself: an old one of a reload.
            let _gone = kill_process(*victim, signal);
        }
        if kind == "reload" {
            let said = pulse.try_manage(&["ctl", "reload"], &[]).await;
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        let_run(Duration::from_millis(200 + draw(1000) as u64)).await;
        for victim in victims {
            let _gone = kill_process(victim, Signal::CONT);
        }
        let_run(Duration::from_millis(draw(1500) as u64)).await;
    }
    let_run(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn through_random_faults_every_message_comes_once_and_in_order() {
    let pulse = Pulse::start_testsite(&["-w", "3"]).await;
    storm(&pulse, random_faults(&pulse)).await;
}

/// Who lost their connections all at once.
const CROWD: usize = 300;
const CROWD_LONG: usize = 1000;

#[tokio::test]
async fn a_crowd_that_returns_at_once_is_back_soon() {
    let count = if is_long() { CROWD_LONG } else { CROWD };
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let mut clients: Vec<_> = (0..count).map(|i| Client::new(&pulse, i % ROOMS, i)).collect();
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
    assert!(last < Duration::from_secs(5), "{last:?}");
    assert!(clients.iter().all(|client| client.gaps == 0 && client.came == 2));
}

/// How often the workers are replaced.
const RELOADS: usize = 3;
const RELOADS_LONG: usize = 20;

fn is_long() -> bool {
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

/// Has clients read and say things while `faults` happen; how often one had to come back.
#[expect(clippy::print_stdout, reason = "the figures of the run")]
async fn storm(pulse: &Pulse, faults: impl Future<Output = ()>) -> usize {
    let readers = if is_long() { READERS_LONG } else { READERS };
    let joined = Barrier::new(ROOMS * (readers + 1) + 1);
    let (stop, stopped) = watch::channel(false);
    let (counts, known): (Vec<_>, Vec<_>) = (0..ROOMS).map(|_| watch::channel(None)).unzip();
    let reading = join_all((0..ROOMS * readers).map(|i| {
        let client = Client::new(pulse, i % ROOMS, i);
        client.read(&joined, known[i % ROOMS].clone())
    }));
    let sending = join_all(counts.iter().enumerate().map(|(room, count)| {
        let sending = Client::new(pulse, room, 9999).send(&joined, stopped.clone());
        async move {
            let sent = sending.await;
            count.send_replace(Some(sent));
            sent
        }
    }));
    let driving = async {
        joined.wait().await;
        let start = Instant::now();
        faults.await;
        stop.send_replace(true);
        start.elapsed()
    };
    let all = async { tokio::join!(reading, sending, driving) };
    let faults = Duration::from_secs(if is_long() { 600 } else { 40 });
    let (clients, sent, took) = timeout(faults + END, all).await.unwrap();
    for client in &clients {
        let expected: Vec<u64> = (0..client.seen.len() as u64).collect();
        assert!(client.seen == expected, "{}: not each once and in order", client.room);
        assert_eq!(client.gaps, 0, "{} was told of a gap", client.room);
    }
    let (sent, came) = (sent.iter().sum::<usize>(), clients.iter().map(|c| c.came).sum::<usize>());
    println!("{sent} messages in {took:?} to {} sockets; they came {came} times", clients.len());
    came - clients.len()
}
