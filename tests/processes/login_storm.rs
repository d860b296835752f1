//! Two hundred people sign in at once: what that costs the others, and in memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Surroundings, Visitor, promised};
use rustix::process::Pid;

/// In short form: hashes are nice to all others, so that many take for ever on a busy machine.
const LOGINS: usize = 60;
const LOGINS_LONG: usize = 200;
/// Hashes computed at once in a worker, and its memory for each (19 MiB, OWASP's least).
const THREADS: u64 = 1;
const HASH_KIB: u64 = 19_456;
/// What a worker may grow by beside them: connections and pages.
const BESIDE_KIB: u64 = 48 * 1024;
/// Until the last has his answer. Row 6 of what must hold says 30 s of an optimised build.
const ANSWERED: Duration = Duration::from_secs(30);
/// What another page may take meanwhile, of a hundred the slowest.
fn p99_max() -> Duration {
    promised(Duration::from_millis(100), Duration::from_secs(1))
}
/// Pages looked at to know what they take without.
const QUIET: usize = 200;

fn peak_kib(process: Pid) -> u64 {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(path).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

async fn page(address: &str) -> Duration {
    let begun = Instant::now();
    assert_eq!(Visitor::new(address).get("/").await.status, 200);
    begun.elapsed()
}

async fn sign_in(address: &str, number: usize) -> u16 {
    let mut visitor = Visitor::new(address);
    visitor.get("/accounts/login/").await;
    let name = format!("nobody-{number}");
    let fields = [("username", name.as_str()), ("password", "correct horse battery")];
    visitor.post("/accounts/login/", &fields).await.status
}

#[tokio::test]
async fn logins_at_once_take_bounded_memory_and_leave_the_others_served() {
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    let logins = if is_long { LOGINS_LONG } else { LOGINS };
    let settings = [
        ("TESTSITE_ACCOUNTS", "yes".to_owned()),
        ("HULSE_AUTH__HASHING_THREADS", THREADS.to_string()),
        ("HULSE_AUTH__HASHING_QUEUE", logins.to_string()),
        // They come from one address.
        ("HULSE_AUTH__LOGIN_ATTEMPTS", "0".to_owned()),
    ];
    let environment = settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let surroundings = Surroundings { program: Program::Testsite, database: None, environment };
    let pulse = Pulse::start_in(surroundings, &["-w", "2"]).await;
    let address = pulse.address().to_owned();
    // Once, so that what is made at the first hash is there.
    assert_eq!(sign_in(&address, 0).await, 200);
    let mut quiet = Vec::new();
    for _ in 0..QUIET {
        quiet.push(page(&address).await);
    }
    let before: Vec<u64> = pulse.workers().into_iter().map(peak_kib).collect();

    let is_over = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn({
        let (address, is_over) = (address.clone(), Arc::clone(&is_over));
        async move {
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                times.push(page(&address).await);
            }
            times
        }
    });
    let begun = Instant::now();
    let statuses = join_all((1..=logins).map(|number| sign_in(&address, number))).await;
    let took = begun.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let (quiet, stormy) = (p99(quiet), p99(others.await.unwrap()));
    let grown: Vec<u64> =
        pulse.workers().into_iter().map(peak_kib).zip(before).map(|(now, was)| now - was).collect();

    println!(
        "{logins} logins in {took:?}; p99 {quiet:?} before, {stormy:?} meanwhile; {grown:?} KiB"
    );
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(took < ANSWERED, "{took:?}");
    assert!(stormy < p99_max().max(2 * quiet), "p99 {stormy:?}, {quiet:?} without");
    for grown in grown {
        assert!(grown < THREADS * HASH_KIB + BESIDE_KIB, "a worker grew by {grown} KiB");
    }
    assert_eq!(pulse.stop().await, 0);
}
