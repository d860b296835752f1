//! How often somebody may ask, counted by all workers and machines together.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, RedisServer, Visitor};
use rustix::process::{Signal, kill_process};

/// What the line of the site allows in a minute.
const FREE: usize = 5;
/// Requests at once.
const AT_ONCE: usize = 24;

/// The statuses of that many requests, from new connections to any of these addresses.
async fn ask(addresses: &[&str], count: usize) -> Vec<u16> {
    let asked = (0..count).map(|number| {
        let mut visitor = Visitor::new(addresses[number % addresses.len()]);
        async move {
            let answer = visitor.get("/throttled/").await;
            if answer.status == 429 {
                let seconds: u64 = answer.headers["retry-after"].parse().unwrap();
                assert!((1..=60).contains(&seconds), "{seconds}");
            }
            answer.status
        }
    });
    join_all(asked).await
}

fn served(statuses: &[u16]) -> usize {
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[tokio::test]
async fn four_workers_count_together_and_a_store_that_is_away_refuses_nobody() {
    let pulse = Pulse::start_program(Program::Testsite, &["-w", "4"]).await;
    let here = [pulse.address()];
    let store = pulse.store().expect("a store of its own");
    kill_process(store, Signal::STOP).unwrap();
    let begun = Instant::now();
    assert_eq!(served(&ask(&here, 4 * FREE).await), 4 * FREE);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    kill_process(store, Signal::CONT).unwrap();
    // Each worker leaves it alone for a second more; what was asked before may count.
    let begun = Instant::now();
    let all: usize = {
        let mut all = 0;
        while begun.elapsed() < Duration::from_secs(20) {
            let now = served(&ask(&here, AT_ONCE).await);
            all += now;
            if now == 0 {
                break;
            }
        }
        all
    };
    assert_eq!(served(&ask(&here, AT_ONCE).await), 0, "after {all}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn of_many_requests_at_once_on_four_workers_just_as_many_pass_as_may() {
    let pulse = Pulse::start_program(Program::Testsite, &["-w", "4"]).await;
    assert_eq!(served(&ask(&[pulse.address()], AT_ONCE).await), FREE);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn two_machines_count_together_in_redis() {
    let Some(redis) = RedisServer::start().await else { return };
    let url = format!("redis://{}/0", redis.host());
    let arguments = ["-w", "2", "--data-store", &url];
    let one = Pulse::start_program(Program::Testsite, &arguments).await;
    let other = Pulse::start_program(Program::Testsite, &arguments).await;
    assert_eq!(served(&ask(&[one.address(), other.address()], AT_ONCE).await), FREE);
    assert_eq!((one.stop().await, other.stop().await), (0, 0));
}
