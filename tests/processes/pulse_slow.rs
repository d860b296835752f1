//! Clients that take their time: each kind is cut off, and nobody who is only patient.

use std::future::Future;
use std::time::{Duration, Instant};

use hulse_tests::{Pulse, Wire};
use rustix::process::{Signal, kill_process};
use tokio::time::interval;

/// Small values of every patience, seconds.
const SMALL: [&str; 10] = [
    "--header-timeout",
    "2",
    "--body-timeout",
    "2",
    "--keep-alive",
    "4",
    "--write-timeout",
    "2",
    "-w",
    "1",
];

/// Cut within these.
const TWO: std::ops::Range<Duration> = Duration::from_millis(1900)..Duration::from_millis(4500);
const FOUR: std::ops::Range<Duration> = Duration::from_millis(3900)..Duration::from_millis(6500);

const HEAD: &str = "POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n";

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let begun = Instant::now();
    work.await;
    begun.elapsed()
}

/// Sends a byte of `bytes` every 100 ms until the other side has had enough.
async fn trickle(mut wire: Wire, bytes: &'static [u8]) -> Option<u16> {
    let mut stream_end = Box::pin(async move {
        let mut beat = interval(Duration::from_millis(100));
        let mut replied = None;
        for byte in bytes.iter().cycle() {
            beat.tick().await;
            wire.send([*byte]).await;
            if let Some(reply) = wire.reply_now() {
                replied = Some(reply.status);
            }
            if wire.has_ended() {
                return replied;
            }
        }
        None
    });
    (&mut stream_end).await
}

#[tokio::test]
async fn who_makes_the_server_wait_is_cut_off() {
    let pulse = Pulse::start_testsite(&SMALL).await;
    let address = pulse.address();
    let silent = timed(async { Wire::connect(address).await.closed().await });
    let half_head = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
        wire.closed().await;
    });
    let trickled_head = timed(async {
        let wire = Wire::connect(address).await;
        assert_eq!(
            trickle(wire, b"GET / HTTP/1.1\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n").await,
            None
        );
    });
    let idle = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
        wire.closed().await;
    });
    let second_head = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
        wire.send("GET / HT").await;
        wire.closed().await;
    });
    let stalled_body = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send(format!("{HEAD}Content-Length: 5\r\n\r\nhe")).await;
        assert_eq!(wire.reply().await.unwrap().status, 408);
        wire.closed().await;
    });
    let trickled_body = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send(format!("{HEAD}Content-Length: 500000\r\n\r\n")).await;
        assert_eq!(trickle(wire, b"x").await, Some(408));
    });
    let trickled_chunks = timed(async {
        let mut wire = Wire::connect(address).await;
        wire.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")).await;
        assert_eq!(trickle(wire, b"1\r\nx\r\n").await, Some(408));
    });
    let (silent, half_head, trickled_head, idle, second_head) =
        tokio::join!(silent, half_head, trickled_head, idle, second_head);
    let (stalled_body, trickled_body, trickled_chunks) =
        tokio::join!(stalled_body, trickled_body, trickled_chunks);
    let two = [
        silent,
        half_head,
        trickled_head,
        second_head,
        stalled_body,
        trickled_body,
        trickled_chunks,
    ];
    assert!(two.iter().all(|took| TWO.contains(took)), "{two:?}");
    assert!(FOUR.contains(&idle), "{idle:?}");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off() {
    let pulse = Pulse::start_testsite(&SMALL).await;
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send("GET /large/50000000/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let port = wire.port();
    let begun = Instant::now();
    let mut look = interval(Duration::from_millis(20));
    while !pulse.connections().iter().any(|(_, known)| *known == port) {
        look.tick().await;
    }
    while pulse.connections().iter().any(|(_, known)| *known == port) {
        look.tick().await;
    }
    assert!(TWO.contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_waits_for_a_slow_view_is_not_cut_off() {
    let pulse = Pulse::start_testsite(&SMALL).await;
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send("GET /slow/7000/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let reply = wire.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, "late\n".as_bytes()));
    // A slow upload that brings enough is welcome.
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(format!("{HEAD}Content-Length: 60000\r\n\r\n")).await;
    let mut beat = interval(Duration::from_millis(100));
    for _ in 0..60 {
        beat.tick().await;
        wire.send([b'x'; 1000]).await;
    }
    assert_eq!(wire.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_websocket_that_does_not_answer_pings_is_dropped() {
    let arguments = ["-w", "1", "--ping-interval", "1", "--ping-timeout", "2"];
    let pulse = Pulse::start_testsite(&arguments).await;
    let mut wire = Wire::connect(pulse.address()).await;
    let handshake = "GET /echo/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    wire.send(handshake).await;
    assert_eq!(wire.reply().await.unwrap().status, 101);
    let took = timed(wire.closed()).await;
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_request_that_is_there_when_its_connection_has_idled_long_enough_is_answered() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let pulse = Pulse::start_testsite(&["-w", "1", "--keep-alive", "1"]).await;
    let worker = pulse.workers()[0];
    let mut answered = 0;
    while answered < 60 {
        let mut idle = Vec::new();
        // Connections of every age.
        let mut beat = interval(Duration::from_millis(30));
        for _ in 0..60 {
            beat.tick().await;
            let mut wire = Wire::connect(pulse.address()).await;
            wire.send(GET).await;
            assert_eq!(wire.reply().await.unwrap().status, 200);
            idle.push(wire);
        }
        kill_process(worker, Signal::STOP).unwrap();
        let stat = format!("/proc/{}/stat", worker.as_raw_nonzero());
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            beat.tick().await;
        }
        // Who is not closed now must not be closed without an answer.
        idle.retain_mut(|wire| wire.reply_now().is_none() && !wire.has_ended());
        for wire in &mut idle {
            wire.send(GET).await;
        }
        kill_process(worker, Signal::CONT).unwrap();
        for wire in &mut idle {
            let reply = wire.reply().await.map(|reply| reply.status);
            assert_eq!(reply, Some(200), "after {answered}");
            answered += 1;
        }
    }
}
