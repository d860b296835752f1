//! A worker that is killed: what it has said before, and where it was a member.

use std::time::{Duration, Instant};

use hulse_tests::{Pulse, RedisServer, Visitor, VisitorSocket, Wire, promised};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

/// How soon what it held must be gone.
fn gone() -> Duration {
    promised(Duration::from_secs(1), Duration::from_secs(5))
}

/// Longest wait for what comes sooner or later.
const WAIT: Duration = Duration::from_secs(30);

/// Sockets of a group until two workers have some; each with its worker.
async fn on_both(pulse: &Pulse, group: &str) -> Vec<(VisitorSocket, Pid)> {
    let mut sockets: Vec<(VisitorSocket, Pid)> = Vec::new();
    let coming = async {
        while sockets.iter().all(|(_, worker)| *worker == sockets[0].1) {
            let socket = Visitor::new(pulse.address()).socket(&format!("/feed/{group}/")).await;
            let worker = pulse.worker_of(socket.port).expect("some worker holds it");
            sockets.push((socket, worker));
        }
    };
    timeout(WAIT, coming).await.expect("both have one");
    sockets
}

async fn members(pulse: &Pulse, group: &str) -> usize {
    let answer = Visitor::new(pulse.address()).get(&format!("/members/{group}/")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body.parse().unwrap()
}

async fn forgets(pulse: &Pulse) {
    let sockets = on_both(pulse, "g").await;
    let (count, doomed) = (sockets.len(), sockets[0].1);
    assert_eq!(members(pulse, "g").await, count);
    let left = sockets.iter().filter(|(_, worker)| *worker != doomed).count();
    let begun = Instant::now();
    kill_process(doomed, Signal::KILL).unwrap();
    let forgetting = async { while members(pulse, "g").await != left {} };
    timeout(WAIT, forgetting).await.unwrap_or_else(|_| panic!("{left} of {count} should be left"));
    assert!(begun.elapsed() < gone(), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_killed_worker_is_a_member_of_nothing_within_a_second() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    forgets(&pulse).await;
    let Some(server) = RedisServer::start().await else { return };
    let url = format!("redis://{}/0?prefix=site", server.host());
    forgets(&Pulse::start_testsite(&["-w", "2", "--data-store", &url]).await).await;
}

#[tokio::test]
async fn what_a_worker_has_said_arrives_though_it_is_killed_at_once() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let (mut feed, listening) = on_both(&pulse, "g").await.remove(0);
    for round in 0..3 {
        let mut wire = timeout(WAIT, at_another(&pulse, listening)).await.expect("it gets one");
        let path = format!("/last-words/g/{round}/");
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).await;
        wire.closed().await;
        assert_eq!(feed.frame().await.unwrap(), round.to_string());
    }
}

/// A connection that another worker has: its words have to get out of it.
async fn at_another(pulse: &Pulse, listening: Pid) -> Wire {
    loop {
        let mut wire = Wire::connect(pulse.address()).await;
        wire.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
        if pulse.worker_of(wire.port()).is_some_and(|worker| worker != listening) {
            return wire;
        }
    }
}
