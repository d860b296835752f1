//! Load for a while: what the processes hold at its end is what they held at its beginning.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Visitor};
use rustix::process::Pid;
use tokio::time::interval;

use crate::crowd::Crowd;

fn sized(short: u64, long: u64) -> Duration {
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    Duration::from_secs(if is_long { long } else { short })
}

/// Bytes that are resident, and open descriptors, of a process.
fn holds(process: Pid) -> (usize, usize) {
    let folder = format!("/proc/{}", process.as_raw_nonzero());
    let rollup = std::fs::read_to_string(format!("{folder}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    let kilobytes: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    (kilobytes * 1024, std::fs::read_dir(format!("{folder}/fd")).unwrap().count())
}

fn all_hold(pulse: &Pulse) -> (usize, usize) {
    let processes = pulse.workers().into_iter().chain(pulse.store()).chain([pulse.arbiter()]);
    processes.map(holds).fold((0, 0), |(a, b), (bytes, files)| (a + bytes, b + files))
}

/// Says something fifty times a second for `time`, and waits until each is heard by all; how many.
async fn chat(pulse: &Pulse, time: Duration) -> usize {
    let visitor = Visitor::new(pulse.address());
    let mut listeners = Vec::new();
    for _ in 0..10 {
        listeners.push(visitor.at(pulse.address()).socket("/feed/soak/").await);
    }
    let mut speaker = visitor.at(pulse.address()).socket("/room/soak/nobody/now/").await;
    speaker.frame().await.unwrap();
    let (begun, mut beat, mut said) = (Instant::now(), interval(Duration::from_millis(20)), 0);
    while begun.elapsed() < time {
        beat.tick().await;
        let text = format!("text {said}");
        speaker.send(&text).await;
        let heard = join_all(listeners.iter_mut().map(|listener| listener.frame())).await;
        assert!(heard.iter().all(|heard| heard.as_deref() == Ok(&text)), "{heard:?}");
        while !speaker.frame().await.unwrap().starts_with("at ") {}
        said += 1;
    }
    said
}

#[tokio::test]
async fn under_steady_load_nothing_grows() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    // A ring of 4,096 messages is full after 82 s.
    let (warm, time) = (sized(4, 120), sized(5, 600));
    let crowd = Crowd::stroll(pulse.address(), 20, 20);
    chat(&pulse, warm).await;
    let before = all_hold(&pulse);
    let mut said = 0;
    for tenth in 1..=10 {
        said += chat(&pulse, time / 10).await;
        println!("after {:?}: {:?}", time / 10 * tenth, all_hold(&pulse));
    }
    let after = all_hold(&pulse);
    let seen = crowd.go().await;
    let grown = after.0 as f64 / before.0 as f64 - 1.0;
    println!(
        "{time:?}: {} requests, {said} messages, memory {} KB and {:+.1} %, descriptors {} and {}",
        seen.answered,
        before.0 / 1024,
        grown * 100.0,
        before.1,
        after.1
    );
    assert_eq!(seen.failures, [""; 0]);
    // In a short run the buffers of the first seconds count; a leak shows in the long one.
    let allowed = if time > Duration::from_secs(60) { 0.05 } else { 0.15 };
    assert!(grown < allowed, "{before:?}, {after:?}");
    assert!(after.1 <= before.1 + 8, "{before:?}, {after:?}");
}
