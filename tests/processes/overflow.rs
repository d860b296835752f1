//! A worker that stops while others say more than the store keeps for it.

use std::time::Duration;

use hulse_tests::{Pulse, Visitor, VisitorSocket};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

/// Longest wait for what comes sooner or later.
const WAIT: Duration = Duration::from_secs(30);

/// Bytes of a message; all together eight times what the store keeps for a link, and sixteen times
/// a group's history.
const MESSAGE_BYTES: usize = 256 * 1024;
const MESSAGES: usize = 256;
/// Said behind those, in another group.
const SMALL: usize = 100;
/// What the store may grow by, bytes: 8 MiB for the link, 4 MiB of history, and what is on its way.
const GROWTH_MAX: usize = 32 * 1024 * 1024;

/// Bytes of a process in memory.
fn resident(process: Pid) -> usize {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib = line.trim().trim_end_matches(" kB").parse::<usize>();
    kib.expect("a number") * 1024
}

/// A socket in a room, at a worker that is `at`, or is not.
async fn come(pulse: &Pulse, room: &str, at: Option<Pid>, is_at: bool) -> VisitorSocket {
    let coming = async {
        loop {
            let path = format!("/room/{room}/nobody/now/");
            let mut socket = Visitor::new(pulse.address()).socket(&path).await;
            assert!(socket.frame().await.unwrap().starts_with("at "));
            if at.is_none() || (pulse.worker_of(socket.port) == at) == is_at {
                return socket;
            }
        }
    };
    timeout(WAIT, coming).await.expect("that worker takes one")
}

async fn say(socket: &mut VisitorSocket, text: &str) {
    socket.send(text).await;
    let answered = async { while !socket.frame().await.unwrap().starts_with("at ") {} };
    timeout(WAIT, answered).await.expect("it is answered");
}

#[expect(clippy::print_stdout, reason = "the figure of the run")]
fn say_aloud(words: &str) {
    println!("{words}");
}

#[tokio::test]
async fn what_a_stopped_worker_does_not_read_is_bounded_and_read_again_or_told_as_a_gap() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut flooded = come(&pulse, "flood", None, true).await;
    let stopped = pulse.worker_of(flooded.port);
    let mut patient = come(&pulse, "trickle", stopped, true).await;
    let mut flooding = come(&pulse, "flood", stopped, false).await;
    let mut trickling = come(&pulse, "trickle", stopped, false).await;
    let stopped = stopped.expect("a worker holds it");
    let store = pulse.store().expect("there is a store");

    kill_process(stopped, Signal::STOP).unwrap();
    let before = resident(store);
    let text = "x".repeat(MESSAGE_BYTES);
    let mut most = 0;
    for _ in 0..MESSAGES {
        say(&mut flooding, &text).await;
        most = most.max(resident(store));
    }
    for number in 0..SMALL {
        say(&mut trickling, &number.to_string()).await;
    }
    kill_process(stopped, Signal::CONT).unwrap();

    let grown = most.saturating_sub(before);
    say_aloud(&format!("the store grew by {} KiB", grown / 1024));
    assert!(grown < GROWTH_MAX, "{grown} bytes for what nobody reads");
    // What the history still has is read from there; what it has lost is a gap.
    for number in 0..SMALL {
        assert_eq!(patient.frame().await.unwrap(), number.to_string());
    }
    assert_eq!(flooded.close_code().await, 1013);
    // It is the same worker, and hears all again.
    let mut back = come(&pulse, "flood", Some(stopped), true).await;
    say(&mut flooding, "after").await;
    assert_eq!(back.frame().await.unwrap(), "after");
    assert_eq!(pulse.stop().await, 0);
}
