//! WebSockets over TLS and over a unix socket: ticks, compression and slow readers as over TCP.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use hulse_tests::{Program, Pulse, Surroundings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::pulse_tls::Authority;

const WAIT: Duration = Duration::from_secs(30);
/// Messages of a burst: every tenth is long enough to be compressed.
const MESSAGES: usize = 300;
/// Of what a slow reader does not take: more than kernels and the group's history hold.
const FLOOD: usize = 64;
const FLOOD_BYTES: usize = 256 * 1024;

fn text(number: usize) -> String {
    if number.is_multiple_of(10) { format!("{number} ").repeat(300) } else { number.to_string() }
}

/// Opens a WebSocket that reads compressed messages.
async fn shake(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-extensions: permessage-deflate"), "{answer}");
}

/// First byte and payload of the next frame.
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let read = async {
        let first = stream.read_u8().await.unwrap();
        let length = match stream.read_u8().await.unwrap() {
            126 => u64::from(stream.read_u16().await.unwrap()),
            127 => stream.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    timeout(WAIT, read).await.expect("a frame")
}

fn unpacked(mut packed: Vec<u8>) -> String {
    packed.extend([0, 0, 0xFF, 0xFF]);
    let mut plain = Vec::with_capacity(1 << 20);
    Decompress::new(false).decompress_vec(&packed, &mut plain, FlushDecompress::Sync).unwrap();
    String::from_utf8(plain).unwrap()
}

/// Says all of it in the room `g`, as fast as it goes, and hears where each is.
async fn talk(pulse: &Pulse, texts: Vec<String>) {
    let stream = UnixStream::connect(pulse.folder().join("site.sock")).await.unwrap();
    let path = "ws://localhost/room/g/nobody/now/";
    let (socket, _) = tokio_tungstenite::client_async(path, stream).await.unwrap();
    let (mut say, mut hear) = socket.split();
    // Where it is itself comes first.
    let count = texts.len() + 1;
    let hearing = async {
        let mut placed = 0;
        while placed < count {
            let message = hear.next().await.unwrap().unwrap();
            placed += usize::from(message.to_text().is_ok_and(|text| text.starts_with("at ")));
        }
    };
    let saying = async {
        for text in texts {
            say.send(Message::text(text)).await.unwrap();
        }
    };
    let (heard, ()) = tokio::join!(timeout(WAIT, hearing), saying);
    heard.expect("each has its place");
}

/// What a WebSocket over `stream` is given of a burst and of a flood.
async fn listen(pulse: &Pulse, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    shake(&mut stream, "/feed/g/").await;
    talk(pulse, (0..MESSAGES).map(text).collect()).await;
    let mut packed = 0;
    for number in 0..MESSAGES {
        let (first, payload) = frame(&mut stream).await;
        let is_packed = first == 0xC1;
        assert!(is_packed || first == 0x81, "{first:#x}");
        packed += usize::from(is_packed);
        let heard = if is_packed { unpacked(payload) } else { String::from_utf8(payload).unwrap() };
        assert_eq!(heard, text(number));
    }
    assert_eq!(packed, MESSAGES / 10, "the long ones are compressed");
    // What does not get shorter by it, and is not read.
    let noise = |seed: usize| -> String {
        let mut state = seed as u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (state >> 33) as u8 % 90)
        };
        (0..FLOOD_BYTES).map(|_| next()).collect()
    };
    talk(pulse, (0..FLOOD).map(noise).collect()).await;
    loop {
        let (first, payload) = frame(&mut stream).await;
        if first == 0x88 {
            assert_eq!(payload[..2], 1013_u16.to_be_bytes(), "{payload:?}");
            return;
        }
    }
}

#[tokio::test]
async fn over_tls_and_a_unix_socket_ticks_are_compressed_and_slow_readers_closed() {
    let authority = Authority::new();
    let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let environment = vec![("HULSE_SERVER__DEFLATE".to_owned(), "true".to_owned())];
    let program = Program::Testsite;
    let surroundings = Surroundings { program, environment, database: None };
    let arguments = ["--tls-cert", &cert, "--tls-key", &key, "-w", "1", "-b", "unix:site.sock"];
    let pulse = Pulse::start_in(surroundings, &arguments).await;
    listen(&pulse, authority.connect(&pulse, &["http/1.1"]).await.unwrap()).await;
    let socket = pulse.folder().join("site.sock");
    listen(&pulse, UnixStream::connect(socket).await.unwrap()).await;
    assert_eq!(pulse.stop().await, 0);
}
