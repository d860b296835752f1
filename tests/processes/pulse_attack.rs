//! Attacks and crowds with figures. In short form; `HULSE_TEST_LONG` is the full size.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Wire};
use rustix::process::Pid;
use tokio::time::interval;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const HANDSHAKE: &str = "GET /echo/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn sized(short: usize, long: usize) -> usize {
    if std::env::var_os("HULSE_TEST_LONG").is_some() { long } else { short }
}

/// Lets this process have as many descriptors as it may.
fn take_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let all = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    if setrlimit(Resource::Nofile, all).is_err() {
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    }
}

/// Asks on eight connections, 50 times a second on each, for `time`; the 99th percentile of how
/// long an answer took.
async fn bystanders(pulse: &Pulse, time: Duration) -> Duration {
    let visitor = |_| async {
        let mut wire = Wire::connect(pulse.address()).await;
        let mut beat = interval(Duration::from_millis(20));
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            beat.tick().await;
            let asked = Instant::now();
            wire.send(GET).await;
            assert_eq!(wire.reply().await.expect("an answer").status, 200);
            took.push(asked.elapsed());
        }
        took
    };
    let mut took = join_all((0..8).map(visitor)).await.concat();
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test]
async fn slow_senders_do_not_slow_the_others_down() {
    take_descriptors();
    let attackers = sized(300, 2000);
    let pulse = Pulse::start_testsite(&["-w", "2", "--header-timeout", "30"]).await;
    let time = Duration::from_secs(3);
    let alone = bystanders(&pulse, time).await;
    let mut slow = Vec::new();
    for _ in 0..attackers {
        let mut wire = Wire::connect(pulse.address()).await;
        wire.send("POST /upload/ HTTP/1.1\r\nHost: localhost\r\nX: ").await;
        slow.push(wire);
    }
    // Each sends a byte a second.
    let attack = async {
        let mut beat = interval(Duration::from_secs(1));
        loop {
            beat.tick().await;
            for wire in &mut slow {
                wire.send("y").await;
            }
        }
    };
    let attacked = tokio::select! {
        attacked = bystanders(&pulse, time) => attacked,
        () = attack => unreachable!("it goes on for ever"),
    };
    println!("{attackers} slow senders: p99 {alone:?} without, {attacked:?} with them");
    // Both share two cores with other tests: below a few milliseconds a factor says nothing.
    let noise = Duration::from_millis(20);
    assert!(attacked < alone * 2 + noise, "{attacked:?} instead of {alone:?}");
}

/// What a process keeps in memory for itself, bytes.
fn resident(process: Pid) -> usize {
    let path = format!("/proc/{}/smaps_rollup", process.as_raw_nonzero());
    let rollup = std::fs::read_to_string(path).unwrap();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    };
    of("Private_Dirty:")
}

/// Opens that many connections that have said `words` and were answered.
async fn connections(pulse: &Pulse, count: usize, words: &str, status: u16) -> Vec<Wire> {
    let mut open = Vec::new();
    while open.len() < count {
        let some = (0..100.min(count - open.len())).map(|_| async {
            let mut wire = Wire::connect(pulse.address()).await;
            wire.send(words).await;
            assert_eq!(wire.reply().await.expect("an answer").status, status);
            wire
        });
        open.extend(join_all(some).await);
    }
    open
}

#[tokio::test]
async fn idle_connections_and_sockets_cost_little_memory() {
    take_descriptors();
    let count = sized(400, 10_000);
    let pulse = Pulse::start_testsite(&["-w", "4"]).await;
    // What a worker makes once, it has made.
    drop((
        connections(&pulse, 100, GET, 200).await,
        connections(&pulse, 100, HANDSHAKE, 101).await,
    ));
    let all = || pulse.workers().into_iter().map(resident).sum::<usize>();
    let before = all();
    let idle = connections(&pulse, count, GET, 200).await;
    let with_idle = all();
    let sockets = connections(&pulse, count, HANDSHAKE, 101).await;
    let with_sockets = all();
    let each = |more: usize, less: usize| more.saturating_sub(less) / count;
    let (of_idle, of_socket) = (each(with_idle, before), each(with_sockets, with_idle));
    println!("{count} idle connections: {of_idle} bytes each; {count} sockets: {of_socket} each");
    // Few of them pay for pages that more would share.
    assert!(of_idle < 24 * 1024 && of_socket < 40 * 1024, "{of_idle}, {of_socket}");
    assert_eq!(idle.len() + sockets.len(), 2 * count);
    bystanders(&pulse, Duration::from_millis(200)).await;
}

/// Processor time a process has used.
fn used(process: Pid) -> Duration {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // The kernel's unit is a hundredth of a second, on all architectures there are.
    Duration::from_millis(ticks * 10)
}

#[tokio::test]
async fn out_of_descriptors_it_burns_no_processor_time() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let worker = pulse.workers()[0];
    let few = Rlimit { current: Some(64), maximum: Some(64) };
    prlimit(Some(worker), Resource::Nofile, few).unwrap();
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(Wire::connect(pulse.address()).await);
    }
    pulse.said("cannot accept").await;
    let (before, begun) = (used(worker), Instant::now());
    let mut beat = interval(Duration::from_secs(1));
    for _ in 0..3 {
        beat.tick().await;
    }
    let share = (used(worker) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("out of descriptors: {:.1} % of a core", share * 100.0);
    assert!(share < 0.5, "{share}");
    drop(held);
    let begun = Instant::now();
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(GET).await;
    assert_eq!(wire.reply().await.unwrap().status, 200);
    println!("it serves {:?} after relief", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2));
}
