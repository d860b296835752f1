//! Stopping: requests in flight finish, nothing is left, also when the arbiter is killed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use hulse_tests::{Pulse, Visitor};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest time until all is gone once the arbiter was killed.
const ORPHANS: Duration = Duration::from_secs(5);

/// Waits until none of the processes is there any more.
async fn gone(processes: &[Pid], at_most: Duration) {
    let begun = Instant::now();
    while processes.iter().any(|pid| is_alive(*pid)) {
        assert!(begun.elapsed() < at_most, "{processes:?} live on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether it runs: a killed child that nobody has waited for does not.
fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    test_kill_process(pid).is_ok() && stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn all(pulse: &Pulse) -> Vec<Pid> {
    pulse.workers().into_iter().chain(pulse.store()).collect()
}

/// Asks for the slow view and comes back once the server has the request.
async fn ask_slowly(pulse: &mut Pulse, milliseconds: u64) -> tokio::task::JoinHandle<String> {
    let mut visitor = Visitor::new(pulse.address());
    let path = format!("/slow/{milliseconds}/");
    let seen = pulse.log().len();
    let asking = tokio::spawn(async move { visitor.get(&path).await.body });
    pulse.said_after(seen, "slow begins").await;
    asking
}

#[tokio::test]
async fn a_term_lets_requests_in_flight_finish_and_leaves_nothing() {
    let mut pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let processes = all(&pulse);
    assert_eq!(processes.len(), 5);
    let slow = ask_slowly(&mut pulse, 1000).await;
    pulse.signal(Signal::TERM);
    assert_eq!(slow.await.unwrap(), "late\n");
    assert_eq!(pulse.ended().await.code(), Some(0));
    gone(&processes, Duration::ZERO).await;
    TcpListener::bind(pulse.address()).expect("the port is free");
    let left = std::fs::read_dir(pulse.folder().join(".hulse")).unwrap().count();
    assert_eq!(left, 0, "the store's socket is left behind");
}

#[tokio::test]
async fn a_request_that_never_ends_ends_with_the_grace() {
    let mut pulse = Pulse::start_testsite(&["-w", "2", "--graceful-timeout", "1"]).await;
    let slow = ask_slowly(&mut pulse, 60_000).await;
    let begun = Instant::now();
    pulse.signal(Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    slow.abort();
}

#[tokio::test]
async fn a_second_interrupt_stops_at_once() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let slow = ask_slowly(&mut pulse, 60_000).await;
    pulse.signal(Signal::INT);
    pulse.said("a second interrupt stops at once").await;
    pulse.signal(Signal::INT);
    let begun = Instant::now();
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2));
    slow.abort();
}

#[tokio::test]
async fn a_quit_stops_at_once() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let slow = ask_slowly(&mut pulse, 60_000).await;
    pulse.signal(Signal::QUIT);
    let begun = Instant::now();
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2));
    slow.abort();
}

#[tokio::test]
async fn a_killed_arbiter_leaves_no_orphan_not_even_a_hung_or_stopped_one() {
    let mut pulse = Pulse::start_testsite(&["-w", "3"]).await;
    let processes = all(&pulse);
    let slow = ask_slowly(&mut pulse, 60_000).await;
    let mut visitor = Visitor::new(pulse.address());
    let seen = pulse.log().len();
    let hanging = tokio::spawn(async move { visitor.get("/hang/60000/").await.status });
    pulse.said_after(seen, "hang begins").await;
    kill_process(pulse.workers()[0], Signal::STOP).unwrap();
    pulse.signal(Signal::KILL);
    assert!(pulse.ended().await.code().is_none());
    gone(&processes, ORPHANS).await;
    TcpListener::bind(pulse.address()).expect("the port is free");
    slow.abort();
    hanging.abort();
}
