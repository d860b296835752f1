//! Who takes a place among those that are served, and that who gets none can read why.

use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Surroundings, Wire};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Far above what an answer takes, far below every patience.
const SOON: Duration = Duration::from_secs(8);

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A site with so many places for requests, and one more that waits a second for one.
async fn with_places(places: &str) -> Pulse {
    let environment = [("HULSE_SERVER__REQUESTS_QUEUE", "1"), ("HULSE_SERVER__REQUESTS_WAIT", "1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Default::default() };
    Pulse::start_in(surroundings, &["-w", "1", "--max-concurrent-requests", places]).await
}

/// An upload that has begun: its view waits for the body.
async fn upload(pulse: &Pulse, bytes: usize) -> Wire {
    let mut wire = Wire::connect(pulse.address()).await;
    let head = format!(
        "POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n\
         Content-Length: {bytes}\r\nExpect: 100-continue\r\n\r\n"
    );
    wire.send(head).await;
    assert_eq!(wire.reply().await.unwrap().status, 100);
    wire
}

/// Takes a place for `milliseconds`.
async fn slow(pulse: &mut Pulse, milliseconds: u32) -> Wire {
    let seen = pulse.log().len();
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(format!("GET /slow/{milliseconds}/ HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    pulse.said_after(seen, "slow begins").await;
    wire
}

#[tokio::test]
async fn who_is_waited_for_takes_no_place() {
    let mut pulse = with_places("2").await;
    let mut uploads = join_all((0..8).map(|_| upload(&pulse, 6))).await;
    for wire in &mut uploads {
        wire.send("he").await;
    }
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(GET).await;
    assert_eq!(wire.reply().await.unwrap().status, 200);

    // Whose body is there counts again: with all places taken, one may wait.
    let first = slow(&mut pulse, 4000).await;
    let second = slow(&mut pulse, 4000).await;
    for wire in uploads.iter_mut().take(2) {
        wire.send("llo!").await;
    }
    let ends = join_all(uploads.iter_mut().take(2).map(Wire::reply)).await;
    for reply in ends.into_iter().flatten() {
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.head);
    }
    for mut wire in [first, second] {
        assert_eq!(wire.reply().await.unwrap().status, 200);
    }
    for wire in uploads.iter_mut().skip(2) {
        wire.send("llo!").await;
        let reply = wire.reply().await.unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, "6 bytes\n".as_bytes()));
    }
}

#[tokio::test]
async fn who_sends_a_body_to_a_busy_site_can_read_that_it_is() {
    const BYTES: usize = 4_000_000;
    let mut pulse = with_places("1").await;
    let _slow = slow(&mut pulse, 30_000).await;
    let asks = (0..6).map(|_| async {
        let stream = TcpStream::connect(pulse.address()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let head = format!(
            "POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n\
             Content-Length: {BYTES}\r\n\r\n"
        );
        let body = vec![b'x'; BYTES];
        let mut answer = String::new();
        let sent = async {
            writing.write_all(head.as_bytes()).await?;
            writing.write_all(&body).await?;
            writing.shutdown().await
        };
        let (sent, read) = tokio::join!(sent, reading.read_to_string(&mut answer));
        assert!(sent.is_ok() && read.is_ok(), "{sent:?} {read:?} {answer}");
        answer
    });
    for answer in timeout(SOON * 2, join_all(asks)).await.unwrap() {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

#[tokio::test]
async fn who_has_all_his_connections_can_read_why_another_is_refused() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--max-connections-per-address", "1"]).await;
    let mut held = Wire::connect(pulse.address()).await;
    held.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(held.reply().await.unwrap().status, 200);
    for _ in 0..20 {
        // He has said something already when he is refused.
        let mut stream = TcpStream::connect(pulse.address()).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 503 "), "{read:?} {answer}");
    }
}

#[tokio::test]
async fn one_place_serves_every_address() {
    let arguments = ["-w", "1", "--max-connections", "1", "-b", "unix:site.sock"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    pulse.said("listening on unix:").await;
    for _ in 0..2 {
        for _ in 0..2 {
            let mut wire = Wire::connect(pulse.address()).await;
            wire.send(GET).await;
            let reply = timeout(SOON, wire.reply()).await.expect("this address is served too");
            assert_eq!(reply.unwrap().status, 200);
            wire.closed().await;
        }
        let mut stream = UnixStream::connect(pulse.folder().join("site.sock")).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        read.expect("this address is served too").unwrap();
        assert!(answer.ends_with("Hello World!\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_holds_no_stop_up_and_warns_of_nothing() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--proxy-protocol", "127.0.0.1"]).await;
    drop(Wire::connect(pulse.address()).await);
    let _silent = Wire::connect(pulse.address()).await;
    // The connections before this one are accepted by now.
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send("PROXY UNKNOWN\r\n").await;
    wire.send(GET).await;
    assert_eq!(wire.reply().await.unwrap().status, 200);
    pulse.signal(Signal::TERM);
    let ended = timeout(SOON, pulse.ended()).await.expect("it waits for no head");
    assert_eq!(ended.code(), Some(0));
    assert!(!pulse.log().contains("WARN"), "{}", pulse.log());
}

#[tokio::test]
async fn who_names_no_host_has_asked_the_address_he_reached() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "-b", "0.0.0.0:0"]).await;
    let line = pulse.said("//0.0.0.0:").await;
    let port = line.rsplit(':').next().unwrap().trim_end_matches('/');
    let mut wire = Wire::connect(&format!("127.0.0.1:{port}")).await;
    wire.send("GET /who/ HTTP/1.0\r\n\r\n").await;
    let reply = wire.reply().await.unwrap();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(body.contains(&format!("127.0.0.1:{port}")), "{body}");
}
