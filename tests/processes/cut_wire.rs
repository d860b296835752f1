//! Clients behind a wire that was cut: nothing comes of them any more, not even that something has
//! arrived, and nobody says that they are gone. Each is dropped all the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Visitor, Wire};
use tokio::time::{interval, timeout};

/// What a client does when its wire is cut, what it has said by then, and the status of the answer.
const KINDS: [(&str, &str, Option<u16>); 8] = [
    ("an idle connection", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(200)),
    ("who waits for a view", "GET /slow/600000/ HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ("who was reading", "GET /large/50000000/ HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ("a poll", "GET /stream/?join=chat/quiet HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ("a reader of events", EVENTS_OF_QUIET, None),
    ("a reader of events that come", EVENTS, None),
    ("a WebSocket", SOCKET_OF_QUIET, Some(101)),
    ("a WebSocket to which is spoken", SOCKET, Some(101)),
];

const EVENTS_OF_QUIET: &str = "GET /stream/?join=chat/quiet HTTP/1.1\r\nHost: localhost\r\n\
                               Accept: text/event-stream\r\n\r\n";
const EVENTS: &str = "GET /stream/?join=chat/loud HTTP/1.1\r\nHost: localhost\r\n\
                      Accept: text/event-stream\r\n\r\n";
const SOCKET_OF_QUIET: &str = "GET /room/quiet/ann/now/ HTTP/1.1\r\nHost: localhost\r\n\
                               Connection: Upgrade\r\nUpgrade: websocket\r\n\
                               Sec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SOCKET: &str = "GET /feed/chat-loud/ HTTP/1.1\r\nHost: localhost\r\n\
                      Connection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// With `HULSE_TEST_LONG` it is tried with the defaults.
fn is_long() -> bool {
    std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty())
}

async fn begin(pulse: &Pulse, said: &str, status: Option<u16>) -> Wire {
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(said).await;
    if let Some(status) = status {
        assert_eq!(wire.reply().await.unwrap().status, status, "{said}");
    }
    let mut look = interval(Duration::from_millis(5));
    let taken = async {
        while pulse.worker_of(wire.port()).is_none() {
            look.tick().await;
        }
    };
    timeout(Duration::from_secs(30), taken).await.expect("some worker takes it");
    wire
}

#[tokio::test]
async fn clients_behind_a_cut_wire_are_dropped() {
    let small = ["-w", "1", "--write-timeout", "2", "--ping-interval", "1"];
    let (arguments, bound) = match is_long() {
        true => (&small[..2], Duration::from_secs(60)),
        false => (&small[..], Duration::from_secs(6)),
    };
    let mut pulse = Pulse::start_testsite(arguments).await;
    // These are quiet too, but there.
    let mut idle = Wire::connect(pulse.address()).await;
    idle.send(KINDS[0].1).await;
    assert_eq!(idle.reply().await.unwrap().status, 200);
    let mut watcher = Visitor::new(pulse.address()).socket("/room/quiet/nobody/now/").await;
    assert!(watcher.frame().await.unwrap().starts_with("at "));
    let speaker = pulse.address().to_owned();
    let mut speaker = Visitor::new(&speaker).socket("/room/chat-loud/nobody/now/").await;

    let wires = join_all(KINDS.map(|(_, said, status)| begin(&pulse, said, status))).await;
    assert_eq!(watcher.frame().await.unwrap(), "ann joined");
    // It reads, and so answers its pings.
    let watching = tokio::spawn(async move {
        loop {
            if let Ok(heard) = timeout(Duration::from_secs(5), watcher.frame()).await {
                return (heard, watcher);
            }
        }
    });
    pulse.said("slow begins").await;
    let mut left: BTreeMap<u16, &str> =
        wires.iter().zip(KINDS).map(|(wire, (kind, ..))| (wire.port(), kind)).collect();
    wires.iter().for_each(Wire::cut);
    let begun = Instant::now();
    let mut look = interval(Duration::from_millis(100));
    while !left.is_empty() {
        assert!(begun.elapsed() < bound, "still there: {left:?}");
        look.tick().await;
        speaker.send("loud").await;
        while !speaker.frame().await.unwrap().starts_with("at ") {}
        let held = pulse.connections();
        left.retain(|port, kind| {
            let is_held = held.iter().any(|(_, known)| known == port);
            if !is_held {
                println!("{kind}: dropped after {:.1} s", begun.elapsed().as_secs_f64());
            }
            is_held
        });
    }
    let (heard, mut watcher) = watching.await.unwrap();
    assert_eq!(heard.unwrap(), "ann left");
    watcher.send("still here").await;
    while watcher.frame().await.unwrap() != "still here" {}
    idle.send(KINDS[0].1).await;
    assert_eq!(idle.reply().await.unwrap().status, 200);
}
