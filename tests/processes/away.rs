//! What a site rests on goes away for a while, at a storm of messages and with visitors beside it:
//! its arbiter, its store, Redis, PostgreSQL. `HULSE_TEST_LONG` is the full size: ten seconds each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{
    Network, PostgresServer, Program, Pulse, RedisServer, Surroundings, Visitor, promised,
    site_command, site_folder_of,
};
use rustix::process::{Signal, kill_process};

use crate::crowd::{Crowd, Seen};
use crate::storm::{Outcome, Storm, is_long, let_run};

const TESTSITE: Surroundings =
    Surroundings { program: Program::Testsite, database: None, environment: Vec::new() };

/// How long something is away.
fn away() -> Duration {
    Duration::from_secs(if is_long() { 10 } else { 1 })
}

/// How long all is well between two faults.
fn well() -> Duration {
    Duration::from_millis(if is_long() { 2000 } else { 200 })
}

#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn tell(what: &str, seen: &Seen, outcome: &Outcome) {
    println!(
        "{what}: {} requests answered, {} failed, {} refused, slowest {:?}; {outcome:?}",
        seen.answered,
        seen.failed(),
        seen.refused,
        seen.slowest,
    );
}

/// Kills the arbiter in a storm and starts the site anew, on the same port and in the same folder.
#[expect(clippy::print_stdout, reason = "the figures of the run")]
async fn arbiter_killed(arguments: &[&str]) -> Outcome {
    let mut pulse = Pulse::start_testsite(arguments).await;
    let storm = Storm::new(&[pulse.address()], 10, 4);
    let crowd = Crowd::stroll(pulse.address(), 5, 5);
    let mut again = None;
    let faults = async {
        let_run(well()).await;
        let begun = Instant::now();
        pulse.signal(Signal::KILL);
        pulse.ended().await;
        pulse.all_ended().await;
        pulse.leaves_its_port().await;
        let free = begun.elapsed();
        let mut command = site_command(pulse.folder(), &TESTSITE);
        command.args(["pulse", "-b", pulse.address()]).args(arguments);
        let folder = site_folder_of(Program::Testsite);
        let started = Pulse::launch(command, folder, TESTSITE, "listening on http").await;
        assert_eq!(Visitor::new(started.address()).get("/").await.status, 200);
        let serves = begun.elapsed();
        let longest = storm.present().await;
        println!(
            "arbiter killed: port free after {free:?}, serves again after {serves:?}, all clients \
             back after {longest:?}"
        );
        assert!(free < Duration::from_secs(5) && serves - free < Duration::from_secs(5));
        again = Some(started);
        let_run(well()).await;
    };
    let outcome = storm.run(faults).await;
    tell("arbiter killed", &crowd.go().await, &outcome);
    assert!(outcome.returns >= 40, "all had to come back: {outcome:?}");
    assert_eq!(again.expect("it was started").stop().await, 0);
    outcome
}

#[tokio::test]
async fn a_site_whose_arbiter_was_killed_starts_anew_and_tells_of_the_gap() {
    let outcome = arbiter_killed(&["-w", "2"]).await;
    // What was in its store is gone, and everybody is told so.
    assert!(outcome.gaps >= 40, "{outcome:?}");
}

#[tokio::test]
async fn over_redis_nobody_misses_anything_when_the_arbiter_is_killed() {
    let Some(server) = RedisServer::start().await else { return };
    let url = format!("redis://{}/0?prefix=site", server.host());
    arbiter_killed(&["-w", "2", "--data-store", &url]).await.missed_nothing();
}

#[tokio::test]
async fn a_store_that_hangs_is_replaced_and_every_message_comes_once() {
    let arguments = ["-w", "2", "-t", "2"];
    let arguments = if is_long() { &arguments[..2] } else { &arguments[..] };
    let mut pulse = Pulse::start_testsite(arguments).await;
    let storm = Storm::new(&[pulse.address()], 10, 4);
    let crowd = Crowd::stroll(pulse.address(), 5, 5);
    let faults = async {
        let_run(well()).await;
        let (seen, begun) = (pulse.log().len(), Instant::now());
        kill_process(pulse.store().expect("there is one"), Signal::STOP).unwrap();
        pulse.said_after(seen, "the store is silent").await;
        pulse.said_after(seen, "the store is ready").await;
        println!("store stopped: another one serves after {:?}", begun.elapsed());
        let_run(well()).await;
        storm.present().await;
    };
    let outcome = storm.run(faults).await;
    let seen = crowd.go().await;
    tell("store stopped", &seen, &outcome);
    outcome.missed_nothing();
    assert_eq!(seen.failures, [""; 0]);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn redis_that_is_away_costs_no_page_and_no_message() {
    let disk = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = RedisServer::start_with(&disk).await else { return };
    let network = Network::before(&server.host()).await;
    let url = format!("redis://{}/0?prefix=site", network.host());
    let arguments = ["-w", "2", "--data-store", &url];
    let one = Pulse::start_testsite(&arguments).await;
    let other = Pulse::start_testsite(&arguments).await;
    let storm = Storm::new(&[one.address(), other.address()], 10, 4);
    let crowds = [&one, &other].map(|pulse| Crowd::stroll(pulse.address(), 5, 5));
    let faults = async {
        for fault in ["killed", "frozen", "cut", "200 ms away", "silent"] {
            let_run(well()).await;
            match fault {
                "killed" => {
                    server.kill().await;
                    let_run(away()).await;
                    server.start_again().await;
                }
                "frozen" => {
                    server.freeze();
                    let_run(away()).await;
                    server.thaw();
                }
                "cut" => network.cut(),
                "silent" => {
                    network.hold_answers();
                    let_run(away()).await;
                    network.thaw();
                }
                _ => {
                    network.delay(Duration::from_millis(200));
                    let_run(away()).await;
                    network.delay(Duration::ZERO);
                }
            }
            let begun = Instant::now();
            let longest = storm.present().await;
            println!(
                "Redis {fault}: all clients are there after {:?} more; none was away for more \
                 than {longest:?}",
                begun.elapsed()
            );
        }
        let_run(well()).await;
    };
    let outcome = storm.run(faults).await;
    for crowd in crowds {
        let seen = crowd.go().await;
        tell("Redis away", &seen, &outcome);
        assert_eq!(seen.failures, [""; 0]);
        assert!(
            seen.slowest < promised(Duration::from_secs(2), Duration::from_secs(5)),
            "{:?}",
            seen.slowest
        );
    }
    outcome.missed_nothing();
    assert_eq!((one.stop().await, other.stop().await), (0, 0));
}

/// Does it on another thread: here are the clients.
async fn beside(server: &Arc<PostgresServer>, what: fn(&PostgresServer)) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || what(&server)).await.unwrap();
}

#[tokio::test]
async fn postgres_that_is_away_costs_neither_pages_nor_sockets() {
    const WRITERS: usize = 8;
    let Some(server) = PostgresServer::start().map(Arc::new) else { return };
    let pulse =
        Pulse::start_in(Surroundings { database: Some(server.url()), ..TESTSITE }, &["-w", "2"])
            .await;
    let workers = pulse.workers();
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/rows/0/").await.status, 200);
    let storm = Storm::new(&[pulse.address()], 10, 4);
    let crowd = Crowd::stroll(pulse.address(), 5, 5);
    let mut written = 1;
    let faults = async {
        let_run(well()).await;
        beside(&server, PostgresServer::kill).await;
        // They wait for it, up to `database.wait_seconds`, but for who is given a dead connection.
        let writers: Vec<_> = (1..=WRITERS)
            .map(|number| {
                let mut writer = visitor.at(pulse.address());
                tokio::spawn(async move { writer.get(&format!("/rows/{number}/")).await.status })
            })
            .collect();
        let_run(away()).await;
        beside(&server, PostgresServer::start_again).await;
        let begun = Instant::now();
        let statuses: Vec<u16> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        written += statuses.iter().filter(|status| **status == 200).count();
        println!("PostgreSQL back: {WRITERS} writers told {statuses:?} in {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        let_run(well()).await;
    };
    let outcome = storm.run(faults).await;
    let seen = crowd.go().await;
    tell("PostgreSQL away", &seen, &outcome);
    outcome.missed_nothing();
    assert_eq!(outcome.returns, 0, "no socket has noticed");
    assert_eq!(seen.failures, [""; 0]);
    assert!(written > WRITERS / 2, "most have waited for it: {written}");
    assert_eq!(visitor.get("/rows/").await.body, written.to_string());
    assert_eq!(pulse.workers(), workers, "no worker has ended");
    assert_eq!(pulse.stop().await, 0);
}
