//! Clients in a process of their own, so that a test has descriptors and time left:
//! `holder ADDRESS COUNT KIND` says `held` once all of them are there, and ends with its input.
//!
//! Kinds: `idle` has asked for a page and keeps the connection; `sockets` a WebSocket that echoes;
//! `slow` never ends its request's head and sends a byte of it a second.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::Wire;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tokio::time::interval;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HANDSHAKE: &str = "GET /echo/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const HALF: &str = "POST /upload/ HTTP/1.1\r\nHost: localhost\r\nX: ";
/// In how many turns a second the slow ones send.
const TURNS: u32 = 100;
/// Connections made at the same time.
const AT_ONCE: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count, kind] = arguments.as_slice() else { return ExitCode::from(2) };
    let (Ok(count), Some((words, status))) = (count.parse(), said_by(kind)) else {
        return ExitCode::from(2);
    };
    let most = getrlimit(Resource::Nofile).maximum;
    if setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).is_err() {
        return ExitCode::FAILURE;
    }
    let mut held = Vec::new();
    while held.len() < count {
        let some = (0..AT_ONCE.min(count - held.len())).map(|_| connect(address, words, status));
        held.extend(join_all(some).await);
    }
    say_held();
    let drip = async {
        let mut beat = interval(Duration::from_secs(1) / TURNS);
        while status.is_none() {
            // Each has its own second, as it had come at its own time.
            for turn in held.chunks_mut(count.div_ceil(TURNS as usize)) {
                beat.tick().await;
                for wire in turn {
                    wire.send("y").await;
                }
            }
        }
        std::future::pending().await
    };
    let (end, ended) = oneshot::channel::<()>();
    let _waiting = std::thread::spawn(move || {
        let _nothing = std::io::stdin().read(&mut [0]);
        drop(end);
    });
    tokio::select! {
        () = drip => {}
        _ended = ended => {}
    }
    ExitCode::SUCCESS
}

/// What a client says first, and the status of what it is answered, if it is.
fn said_by(kind: &str) -> Option<(&'static str, Option<u16>)> {
    match kind {
        "idle" => Some((GET, Some(200))),
        "sockets" => Some((HANDSHAKE, Some(101))),
        "slow" => Some((HALF, None)),
        _ => None,
    }
}

async fn connect(address: &str, words: &str, status: Option<u16>) -> Wire {
    let mut wire = Wire::connect(address).await;
    wire.send(words).await;
    if status.is_some() {
        let answered = wire.reply().await.map(|reply| reply.status);
        assert_eq!(answered, status, "the answer to a connection that is to be held");
    }
    wire
}

#[expect(clippy::print_stdout, reason = "the test waits for it")]
fn say_held() {
    println!("held");
}
