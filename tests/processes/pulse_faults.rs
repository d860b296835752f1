//! Faults while it serves: workers killed, stopped, hung, dying at every start; the store killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Visitor, promised};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use crate::crowd::Crowd;

/// A killed process is back within this time.
fn back() -> Duration {
    promised(Duration::from_secs(1), Duration::from_secs(5))
}

/// Longest wait for what takes its time.
const WAIT: Duration = Duration::from_secs(30);

/// One request on a connection of its own.
async fn ask(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(io::Error::other(answer)) }
}

#[tokio::test]
async fn a_stopped_worker_is_replaced() {
    let mut pulse = Pulse::start_testsite(&["-w", "2", "-t", "1"]).await;
    let victim = pulse.workers()[0];
    let seen = pulse.log().len();
    kill_process(victim, Signal::STOP).unwrap();
    pulse.said_after(seen, "is silent").await;
    pulse.said_after(seen, "is ready").await;
    assert!(!pulse.workers().contains(&victim));
    ask(pulse.address(), "/").await.unwrap();
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_hung_worker_is_replaced_and_few_requests_hang_with_it() {
    let arguments = ["-w", "4", "-t", "2"];
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    let arguments = if is_long { &arguments[..2] } else { &arguments[..] };
    let mut pulse = Pulse::start_testsite(arguments).await;
    let crowd = Crowd::stroll(pulse.address(), 10, 10);
    crowd.answered(20).await;
    let seen = pulse.log().len();
    let address = pulse.address().to_owned();
    let hanging = tokio::spawn(async move { ask(&address, "/hang/60000/").await });
    pulse.said_after(seen, "hang begins").await;
    let begun = Instant::now();
    pulse.said_after(seen, "is silent").await;
    assert!(hanging.await.unwrap().is_err());
    pulse.said_after(seen, "is ready").await;
    let took = begun.elapsed();
    let seen = crowd.go().await;
    let (hung, all) = (seen.failures.len(), seen.answered + seen.failures.len());
    println!("a worker hangs: replaced after {took:?}; of {all} requests {hung} hung with it");
    // Its fair share: it holds a quarter of those who keep their connections.
    assert!(hung * 4 <= all, "{:?}", seen.failures);
    // By the default it is ten seconds and more.
    assert!(took < Duration::from_secs(if is_long { 12 } else { 9 }), "{took:?}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_killed_store_is_back_in_a_second() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let victim = pulse.store().unwrap();
    let seen = pulse.log().len();
    kill_process(victim, Signal::KILL).unwrap();
    let begun = Instant::now();
    pulse.said_after(seen, "the store is ready").await;
    assert!(begun.elapsed() < back());
    assert_ne!(pulse.store(), Some(victim));
    ask(pulse.address(), "/").await.unwrap();
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn workers_that_die_at_every_start_are_started_ever_less_often() {
    let pulse = Pulse::start_testsite(&["-w", "8"]).await;
    let arbiter = pulse.arbiter();
    fs::write(pulse.folder().join("die-at-start"), "").unwrap();
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    // How many had died when.
    let mut deaths = Vec::new();
    let (begun, mut look) = (Instant::now(), interval(Duration::from_millis(20)));
    while begun.elapsed() < Duration::from_secs(3) {
        let log = pulse.log();
        let died = log.lines().filter(|line| line.contains("died (signal: 6")).count();
        deaths.push((Instant::now(), died));
        look.tick().await;
    }
    let rate = |(at, died): &(Instant, usize)| {
        let second = Duration::from_secs(1);
        let earlier = deaths.iter().rfind(|(earlier, _)| *at - *earlier >= second);
        let (earlier, before) = earlier.copied().unwrap_or((*at - second, 0));
        (died - before) as f64 / (*at - earlier).as_secs_f64()
    };
    let most = deaths.iter().map(rate).fold(0.0, f64::max);
    println!("8 workers that die at every start: {most:.1} starts a second at most");
    // 17 on a machine that is not busy; what is seen 0.3 s late makes 23 of them. Without a place's
    // own patience it would be hundreds, and 32 if all were started twice as often.
    assert!((8.0..28.0).contains(&most), "{most}: {}", pulse.log());
    assert_eq!(pulse.arbiter(), arbiter);
    fs::remove_file(pulse.folder().join("die-at-start")).unwrap();
    let begun = Instant::now();
    ask(pulse.address(), "/").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "it waits for the next start");
    println!("it serves {:?} after the mend", begun.elapsed());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn out_of_descriptors_it_waits_and_recovers() {
    const OPEN_MAX: usize = 300;
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let worker = pulse.workers()[0];
    limit_descriptors(worker, 64);
    let seen = pulse.log().len();
    let mut held = Vec::new();
    for _ in 0..OPEN_MAX {
        held.push(TcpStream::connect(pulse.address()).await.unwrap());
    }
    pulse.said_after(seen, "cannot accept").await;
    drop(held);
    let begun = Instant::now();
    ask(pulse.address(), "/").await.unwrap();
    assert!(begun.elapsed() < promised(Duration::from_secs(2), Duration::from_secs(10)));
    pulse.said_after(seen, "accepting again").await;
    assert_eq!(pulse.workers(), [worker]);
}

fn limit_descriptors(process: Pid, most: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    prlimit(Some(process), Resource::Nofile, limit).unwrap();
}

#[tokio::test]
async fn beyond_the_most_connections_clients_wait_their_turn() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--max-connections", "2"]).await;
    let first = TcpStream::connect(pulse.address()).await.unwrap();
    let second = TcpStream::connect(pulse.address()).await.unwrap();
    let mut waiting = Box::pin(ask(pulse.address(), "/"));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "a third connection is served: {early:?}");
    drop((first, second));
    tokio::time::timeout(WAIT, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_hung_up_on() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut silent = TcpStream::connect(pulse.address()).await.unwrap();
    let mut slow = TcpStream::connect(pulse.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let begun = Instant::now();
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        tokio::time::timeout(WAIT, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_writers_on_one_sqlite_file_lose_nothing() {
    const CLIENTS: usize = 64;
    const ROWS: usize = 25;
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let mut processes = BTreeSet::new();
    ask(pulse.address(), "/rows/").await.unwrap();
    let address = pulse.address();
    let client = |client: usize| async move {
        for row in 0..ROWS {
            let path = format!("/rows/{}/", client * ROWS + row);
            ask(address, &path).await.unwrap();
        }
        ask(address, "/process/").await.unwrap()
    };
    for answer in join_all((0..CLIENTS).map(client)).await {
        processes.insert(answer.lines().last().unwrap().to_owned());
    }
    let rows = Visitor::new(address).get("/rows/").await.body;
    assert_eq!(rows, (CLIENTS * ROWS).to_string());
    assert!(processes.len() > 1, "one worker did it all");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn an_arbiter_that_was_stopped_blames_nobody_for_it() {
    let mut pulse = Pulse::start_testsite(&["-w", "2", "-t", "2"]).await;
    let before = (pulse.workers(), pulse.store());
    pulse.signal(Signal::STOP);
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(5) {
        ask(pulse.address(), "/slow/100/").await.unwrap();
    }
    pulse.signal(Signal::CONT);
    pulse.said("the arbiter was held up").await;
    // What lay in its sockets meanwhile it has read before it answers.
    assert_eq!(pulse.manage(&["ctl", "ping"], &[]).await.lines().count(), 1);
    assert_eq!((pulse.workers(), pulse.store()), before);
    assert!(!pulse.log().contains("is silent"), "{}", pulse.log());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    const CONNECTIONS: usize = 40;
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let mut visitors = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut visitor = TcpStream::connect(pulse.address()).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", pulse.address());
        visitor.write_all(request.as_bytes()).await.unwrap();
        assert_ne!(visitor.read(&mut [0; 1024]).await.unwrap(), 0);
        visitors.push(visitor);
    }
    let mut held = BTreeMap::new();
    for (worker, _) in pulse.connections() {
        *held.entry(worker.as_raw_nonzero()).or_insert(0) += 1;
    }
    assert_eq!(held.values().sum::<usize>(), CONNECTIONS, "{held:?}");
    let fair = CONNECTIONS / 4;
    assert!(held.values().all(|&count| count.abs_diff(fair) <= fair / 2), "{held:?}");
}
