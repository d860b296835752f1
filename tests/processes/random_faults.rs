//! Faults drawn by chance, a second after another, while hundreds of sockets listen and speak.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hulse_tests::Pulse;
use rustix::process::{Signal, kill_process};

use crate::crowd::Crowd;
use crate::storm::{READERS, READERS_LONG, ROOMS, Storm, is_long, let_run};

/// What may happen at any moment.
const KINDS: [&str; 6] = [
    "worker killed",
    "all workers killed",
    "store killed",
    "worker stopped",
    "store stopped",
    "reload",
];

/// How many requests there are at least for each that fails: in the short form a few more at once
/// are a larger share.
fn answered_of_failed() -> usize {
    if is_long() { 100 } else { 30 }
}

/// Faults drawn by a number that is printed, and taken from `HULSE_SEED` if that is set.
#[expect(clippy::print_stdout, reason = "the seed of the run")]
async fn random_faults(pulse: &Pulse, storm: &Storm) {
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
    let begun = Instant::now();
    let mut died = None;
    for _ in 0..if is_long() { 60 } else { 5 } {
        let kind = KINDS[draw(KINDS.len())];
        // What the store and workers know together is lost if they die together: neither follows
        // the other before it is made up for.
        let is_store = kind == "store killed";
        if !kind.ends_with("stopped") && died.replace(is_store).is_some_and(|died| died != is_store)
        {
            storm.caught_up().await;
        }
        println!("{:.1} s: {kind}", begun.elapsed().as_secs_f64());
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
async fn through_random_faults_nobody_misses_anything() {
    let pulse = Pulse::start_testsite(&["-w", "3"]).await;
    let crowd = Crowd::stroll(pulse.address(), 10, 10);
    let readers = if is_long() { READERS_LONG } else { READERS };
    let storm = Storm::new(&[pulse.address()], ROOMS, readers);
    let outcome = storm.run(random_faults(&pulse, &storm)).await;
    let seen = crowd.go().await;
    println!(
        "{} requests answered, {} failed, {} refused",
        seen.answered,
        seen.failed(),
        seen.refused
    );
    assert_eq!(seen.refused, 0);
    let counted = seen.failures.len() * answered_of_failed();
    assert!(counted < seen.answered, "{:?}", seen.failures);
    outcome.missed_nothing();
}
