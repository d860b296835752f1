//! Stopping: requests in flight finish, nothing is left, also when the arbiter is killed.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Visitor, VisitorSocket};
use rustix::process::{Signal, kill_process};

use crate::crowd::Crowd;

/// Longest time until all is gone once the arbiter was killed.
const ORPHANS: Duration = Duration::from_secs(5);

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
    assert_eq!((pulse.workers().len(), pulse.store().is_some()), (4, true));
    let slow = ask_slowly(&mut pulse, 1000).await;
    pulse.signal(Signal::TERM);
    assert_eq!(slow.await.unwrap(), "late\n");
    assert_eq!(pulse.ended().await.code(), Some(0));
    let left = pulse.all_ended().await;
    assert!(left < Duration::from_secs(1), "the arbiter did not wait for all: {left:?}");
    pulse.leaves_its_port().await;
    let left = std::fs::read_dir(pulse.folder().join(".hulse")).unwrap().count();
    assert_eq!(left, 0, "the store's socket is left behind");
}

#[tokio::test]
async fn a_term_under_load_drops_nothing_that_was_begun() {
    const SOCKETS: usize = 100;
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let address = pulse.address().to_owned();
    let open = |_| async { Visitor::new(&address).socket("/feed/news/").await };
    let mut sockets = join_all((0..SOCKETS).map(open)).await;
    let crowd = Crowd::come(pulse.address(), 10, 10);
    crowd.answered(200).await;
    let slow = ask_slowly(&mut pulse, 3000).await;
    let begun = Instant::now();
    pulse.signal(Signal::TERM);
    let codes = join_all(sockets.iter_mut().map(VisitorSocket::close_code)).await;
    assert_eq!(codes, [1001; SOCKETS]);
    let told = begun.elapsed();
    // Browsers close then, too.
    drop(sockets);
    assert_eq!(slow.await.unwrap(), "late\n");
    assert_eq!(pulse.ended().await.code(), Some(0));
    let took = begun.elapsed();
    let seen = crowd.go().await;
    println!(
        "TERM under load: {} answered, {} failed; {SOCKETS} sockets told after {told:?}; it ended \
         after {took:?}, the slow request's 3 s among them",
        seen.answered,
        seen.failed()
    );
    // They come as long as somebody listens, and are refused from then on.
    assert!(seen.failed() == 0 && seen.refused > 0, "{:?}", seen.failures);
    assert!(took < Duration::from_secs(10), "{took:?}");
    pulse.leaves_its_port().await;
}

#[tokio::test]
async fn a_signal_to_the_whole_group_leaves_draining_workers_their_store() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
        let slow = ask_slowly(&mut pulse, 500).await;
        for process in pulse.store().into_iter().chain(pulse.workers()) {
            kill_process(process, signal).unwrap();
        }
        pulse.signal(signal);
        assert_eq!(slow.await.unwrap(), "late\n");
        assert_eq!(pulse.ended().await.code(), Some(0));
        let log = pulse.log();
        assert!(!log.contains("lost the link"), "{log}");
    }
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
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    slow.abort();
}

#[tokio::test]
async fn a_quit_stops_at_once() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let slow = ask_slowly(&mut pulse, 60_000).await;
    pulse.signal(Signal::QUIT);
    let begun = Instant::now();
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    slow.abort();
}

#[tokio::test]
async fn a_killed_arbiter_leaves_no_orphan_not_even_a_hung_or_stopped_one() {
    let mut pulse = Pulse::start_testsite(&["-w", "3"]).await;
    let slow = ask_slowly(&mut pulse, 60_000).await;
    let mut visitor = Visitor::new(pulse.address());
    let seen = pulse.log().len();
    let hanging = tokio::spawn(async move { visitor.get("/hang/60000/").await.status });
    pulse.said_after(seen, "hang begins").await;
    kill_process(pulse.workers()[0], Signal::STOP).unwrap();
    pulse.signal(Signal::KILL);
    assert!(pulse.ended().await.code().is_none());
    let left = pulse.all_ended().await;
    assert!(left < ORPHANS, "{left:?}");
    pulse.leaves_its_port().await;
    slow.abort();
    hanging.abort();
}
