//! Signing out while others speak, or losing password, account, right or group: whatever is said
//! after the answer reaches no socket of that session, on whichever worker or machine.
//!
//! `HULSE_TEST_LONG` tries 2,000 interleavings at each place, of which every other is a logout;
//! `HULSE_SEED=n` begins with that one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use hulse_tests::{Program, Pulse, RedisServer, Surroundings, Visitor, VisitorSocket, promised};
use tokio::sync::oneshot;
use tokio::time::timeout;

const INTERLEAVINGS: u64 = 120;
/// With `HULSE_TEST_LONG`.
const INTERLEAVINGS_LONG: u64 = 2000;
/// How many run at once, to be in each other's way.
const AT_ONCE: usize = 8;
/// What may happen to somebody who does not sign out.
const CAUSES: [&str; 4] = ["password", "account", "right", "group"];
/// How soon a socket must be closed.
fn closed_within() -> Duration {
    promised(Duration::from_secs(1), Duration::from_secs(5))
}
const DISMISSED: u16 = 4401;
/// What is said after somebody has signed out.
const SAID_AFTER: u64 = 3;

/// splitmix64: the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }

    fn of<'a>(&mut self, addresses: &'a [String]) -> &'a str {
        &addresses[self.below(addresses.len())]
    }
}

fn surroundings(database: Option<String>) -> Surroundings {
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "yes".to_owned())];
    Surroundings { program: Program::Testsite, database, environment }
}

/// Reads numbers until the socket is closed: when, and which came.
async fn read(mut socket: VisitorSocket) -> (Instant, u16, Vec<u64>) {
    let mut heard = Vec::new();
    loop {
        match socket.frame().await {
            Ok(text) => heard.push(text.parse().expect("a number")),
            Err(code) => return (Instant::now(), code, heard),
        }
    }
}

/// Says numbers to a room, from any address, until told to stop and a few more.
async fn speak(
    addresses: Vec<String>,
    room: String,
    mut chance: Chance,
    (begun, mut stop): (Arc<AtomicU64>, oneshot::Receiver<()>),
) {
    let mut left = SAID_AFTER;
    while left > 0 {
        if stop.try_recv().is_ok() || left < SAID_AFTER {
            left -= 1;
        }
        let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
        let path = format!("/say/{room}/{number}/");
        assert_eq!(Visitor::new(chance.of(&addresses)).get(&path).await.status, 200);
    }
}

async fn interleave(addresses: &[String], seed: u64) {
    let mut chance = Chance(seed);
    let room = format!("room-{seed}");
    let mut visitor = Visitor::new(chance.of(addresses));
    assert_eq!(visitor.get(&format!("/sign-in/name-{seed}/")).await.status, 200);
    let mut sockets = Vec::new();
    for _ in 0..=chance.below(2) {
        let mut at = visitor.at(chance.of(addresses));
        sockets.push(tokio::spawn(read(at.socket(&format!("/feed/{room}/")).await)));
    }
    let (begun, (stop, stopped)) = (Arc::new(AtomicU64::new(0)), oneshot::channel());
    let heard = (Arc::clone(&begun), stopped);
    let speaking = speak(addresses.to_vec(), room, Chance(!seed), heard);
    let speaking = tokio::spawn(speaking);
    let before = chance.below(4) as u64;
    while begun.load(Ordering::SeqCst) < before {
        tokio::task::yield_now().await;
    }
    let other = CAUSES[chance.below(CAUSES.len())];
    let cause = if seed.is_multiple_of(2) { "logout" } else { other };
    let revoke = format!("/revoke/{cause}/");
    let gone = visitor.at(chance.of(addresses)).get(&revoke).await;
    let (last, answered) = (begun.load(Ordering::SeqCst), Instant::now());
    assert_eq!(gone.body, "revoked", "seed {seed}, {cause}");
    // It may have stopped by itself only if it failed.
    let _ = stop.send(());
    for socket in sockets {
        let (closed, code, heard) = socket.await.expect("it is read to its end");
        assert_eq!(code, DISMISSED, "seed {seed}, {cause}");
        assert!(
            heard.iter().all(|number| *number <= last),
            "seed {seed}, {cause}: {heard:?} past {last}"
        );
        let late = closed.saturating_duration_since(answered);
        assert!(late < closed_within(), "seed {seed}, {cause}: closed {late:?} later");
    }
    speaking.await.expect("all was said");
}

async fn interleave_all(addresses: Vec<String>) {
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    let count = if is_long { INTERLEAVINGS_LONG } else { INTERLEAVINGS };
    let first = std::env::var("HULSE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let all = stream::iter(first..first + count).for_each_concurrent(AT_ONCE, |seed| {
        let addresses = &addresses;
        async move {
            let one = interleave(addresses, seed);
            assert!(timeout(Duration::from_secs(30), one).await.is_ok(), "seed {seed} hangs");
        }
    });
    all.await;
}

#[tokio::test]
async fn nothing_said_after_a_logout_reaches_a_socket_on_either_of_two_workers() {
    let pulse = Pulse::start_in(surroundings(None), &["-w", "2"]).await;
    interleave_all(vec![pulse.address().to_owned()]).await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn nor_on_either_of_two_machines_that_share_a_sharded_redis() {
    let (Some(one), Some(other)) = (RedisServer::start().await, RedisServer::start().await) else {
        return;
    };
    let url = format!("redis://{},{}/3?prefix=revoked", one.host(), other.host());
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    let start = || async {
        let arguments = ["-w", "1", "--data-store", &url];
        Pulse::start_in(surroundings(Some(database.clone())), &arguments).await
    };
    let (here, there) = (start().await, start().await);
    interleave_all(vec![here.address().to_owned(), there.address().to_owned()]).await;
    assert_eq!((here.stop().await, there.stop().await), (0, 0));
}
