//! HTTP/2 clients that are not there any more, or want too much at once.

use std::time::Duration;

use hulse_tests::Pulse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::client::TlsStream;

use crate::pulse_tls::Authority;

/// Longest wait for what must come.
const WAIT: Duration = Duration::from_secs(30);

fn get(path: &str) -> http::Request<()> {
    http::Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

fn is_connected(pulse: &Pulse, port: u16) -> bool {
    pulse.connections().iter().any(|(_, known)| *known == port)
}

#[tokio::test]
async fn who_answers_no_ping_is_dropped_and_who_does_is_not() {
    let authority = Authority::new();
    let pings = ["--ping-interval", "1", "--ping-timeout", "5"];
    let arguments = [&pings[..], &["--log-level", "hulse=debug"]].concat();
    let mut pulse = authority.start(&arguments).await;
    // One whose connection is looked after, for longer than it may be silent.
    let stream = authority.connect(&pulse, &["h2"]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (patient, _) = client.send_request(get("/slow/8000/"), true).unwrap();
    pulse.said("slow begins").await;

    // One that falls silent while its request is answered; its kernel goes on to say that all came.
    let seen = pulse.log().len();
    let stream = authority.connect(&pulse, &["h2"]).await.unwrap();
    let port = stream.get_ref().0.local_addr().unwrap().port();
    let (client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut silent = None;
    let begun = async {
        let mut client = client.ready().await.unwrap();
        silent = Some(client.send_request(get("/slow/60000/"), true).unwrap());
        pulse.said_after(seen, "slow begins").await;
    };
    tokio::select! {
        () = begun => {}
        _ended = &mut connection => panic!("it is ended at once"),
    }
    assert!(is_connected(&pulse, port));
    pulse.said_after(seen, "a connection ended early").await;
    // The kernel needs a moment more. (To look often would keep the other from answering.)
    let mut look = interval(Duration::from_millis(100));
    let dropped = async {
        while is_connected(&pulse, port) {
            look.tick().await;
        }
    };
    timeout(WAIT, dropped).await.expect("it is dropped");
    drop((connection, silent));
    assert_eq!(patient.await.unwrap().status(), 200);
    assert_eq!(pulse.stop().await, 0);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;

/// Frame flags: the last of its stream, with its headers complete.
const WHOLE: u8 = 0x5;

/// The frame flag of the last of a stream.
const LAST: u8 = 0x1;

/// The error code of a request that was not even looked at: it may be sent again.
const REFUSED: [u8; 4] = [0, 0, 0, 7];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET `path` without a table: indexed method and scheme, then two names with their values.
fn ask(stream: u32, path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x87];
    for (name, value) in [(4, path), (1, "localhost")] {
        head.extend([name, u8::try_from(value.len()).unwrap()]);
        head.extend(value.as_bytes());
    }
    frame(HEADERS, WHOLE, stream, &head)
}

/// The next frame: its kind, whether it is the last of its stream, the stream, its payload.
async fn hear(connection: &mut TlsStream<TcpStream>) -> (u8, bool, u32, Vec<u8>) {
    let heard = async {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        connection.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        (head[3], head[4] & LAST != 0, stream, payload)
    };
    timeout(WAIT, heard).await.expect("a frame in time")
}

#[tokio::test]
async fn the_hundred_and_first_request_at_once_is_refused_and_the_others_answered() {
    const AT_ONCE: u32 = 100;
    let authority = Authority::new();
    let pulse = authority.start(&[]).await;
    let mut connection = authority.connect(&pulse, &["h2"]).await.unwrap();
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(SETTINGS, 0, 0, &[]));
    // Who counts streams has numbers that are odd.
    for number in 0..=AT_ONCE {
        all.extend(ask(2 * number + 1, "/slow/2000/"));
    }
    connection.write_all(&all).await.unwrap();
    let (mut answered, mut refused) = (0, Vec::new());
    while answered < AT_ONCE {
        match hear(&mut connection).await {
            (DATA | HEADERS, true, ..) => answered += 1,
            (RESET, _, stream, code) => refused.push((stream, code)),
            _ => {}
        }
    }
    assert_eq!(refused, [(2 * AT_ONCE + 1, REFUSED.to_vec())]);
    // Now there is room again.
    connection.write_all(&ask(2 * AT_ONCE + 3, "/who/")).await.unwrap();
    loop {
        let (kind, _, stream, _) = hear(&mut connection).await;
        if stream == 2 * AT_ONCE + 3 {
            assert_eq!(kind, HEADERS);
            break;
        }
    }
    drop(connection);
    assert_eq!(pulse.stop().await, 0);
}
