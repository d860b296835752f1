//! permessage-deflate: agreed on only where it is switched on, long messages only, once for all,
//! and what is packed is unpacked as far as a message may be large.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use hulse::Result;
use hulse::conf::Settings;
use hulse::sockets::{Consumer, Socket, socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{KEY, Server, WAIT, serve_with, settings};

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const MESSAGE_MAX: usize = 100_000;

/// In the group `all`; repeats to it what it hears, and says `alone ..` to its client only.
#[derive(Default)]
struct Repeats;

impl Consumer for Repeats {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.accept().await?;
        socket.join("all").await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        if text.starts_with("alone") {
            return socket.send(text).await;
        }
        socket.group("all").send(text).await
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<()> {
        socket.group("all").send(bytes.to_vec()).await
    }
}

fn deflating() -> Settings {
    let mut settings = settings();
    settings.server.deflate = true;
    settings.server.message_bytes_max = MESSAGE_MAX;
    settings
}

async fn server(settings: Settings) -> Server {
    serve_with(settings, [socket("ws/", Repeats::default)]).await
}

/// A client that reads bytes.
struct Client(TcpStream);

impl Client {
    /// Connects with this offer; the answer to it.
    async fn connect(server: &Server, offer: &str) -> (Self, Option<String>) {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        let agreed =
            answer.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        (Self(stream), agreed.map(str::to_owned))
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(0x80 | payload.len() as u8),
            Ok(middle) => {
                frame.push(0x80 | 126);
                frame.extend(middle.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// First byte and payload of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        };
        timeout(WAIT, read).await.expect("a frame")
    }

    /// The next message, and the bytes it was on the way.
    async fn message(&mut self) -> (Vec<u8>, usize) {
        let (first, payload) = self.frame().await;
        let length = payload.len();
        match first {
            0x81 | 0x82 => (payload, length),
            0xC1 | 0xC2 => (unpacked(payload), length),
            other => panic!("{other:#x} {payload:?}"),
        }
    }

    /// The code it is closed with.
    async fn code(&mut self) -> u16 {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88);
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

/// What is wrong, the frames that are, and the code it ends with.
type Wrong<'a> = (&'a str, &'a [(u8, Vec<u8>)], u16);

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(plain, &mut packed, FlushCompress::Sync).unwrap();
    packed.truncate(packed.len() - 4);
    packed
}

fn unpacked(mut packed: Vec<u8>) -> Vec<u8> {
    packed.extend([0, 0, 0xFF, 0xFF]);
    let mut plain = Vec::with_capacity(1 << 20);
    let mut decompress = Decompress::new(false);
    decompress.decompress_vec(&packed, &mut plain, FlushDecompress::Sync).unwrap();
    plain
}

#[tokio::test]
async fn it_is_agreed_on_where_it_is_switched_on_and_can_be_done() {
    let off = server(settings()).await;
    assert_eq!(Client::connect(&off, OFFER).await.1, None);
    let on = server(deflating()).await;
    for (offer, agreed) in [
        (OFFER, Some(AGREED)),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(AGREED)),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-bzip2", None),
    ] {
        let (_, answer) = Client::connect(&on, offer).await;
        assert_eq!(answer.as_deref(), agreed, "{offer}");
    }
}

#[tokio::test]
async fn long_messages_leave_packed_for_those_who_agreed() {
    let server = server(deflating()).await;
    let (mut packs, _) = Client::connect(&server, OFFER).await;
    let (mut plain, _) = Client::connect(&server, "x-other").await;
    let long = "to everybody ".repeat(500);
    for text in [&long, "short", &long] {
        plain.send(0x81, text.as_bytes()).await;
        for (client, is_packed) in [(&mut packs, text.len() > 256), (&mut plain, false)] {
            let (heard, bytes) = client.message().await;
            assert_eq!(heard, text.as_bytes());
            assert_eq!(bytes < text.len() / 10, is_packed, "{bytes} of {}", text.len());
        }
    }
    let alone = format!("alone {long}");
    packs.send(0x81, alone.as_bytes()).await;
    let (heard, bytes) = packs.message().await;
    assert_eq!(heard, alone.as_bytes());
    assert!(bytes < 500, "{bytes}");
    // A hundred at once are a batch, and more than one write.
    let tail = "and more ".repeat(300);
    for number in 0..100 {
        plain.send(0x81, format!("{number} {tail}").as_bytes()).await;
    }
    for number in 0..100 {
        let (heard, bytes) = packs.message().await;
        assert_eq!(String::from_utf8(heard).unwrap(), format!("{number} {tail}"));
        assert!(bytes < 300, "{bytes}");
    }
}

#[tokio::test]
async fn what_a_client_packs_is_unpacked() {
    let server = server(deflating()).await;
    let (mut client, _) = Client::connect(&server, OFFER).await;
    client.send(0xC1, &packed("päckchen".as_bytes())).await;
    assert_eq!(client.message().await.0, "päckchen".as_bytes());
    client.send(0xC2, &packed(&[0xFF, 0xFE])).await;
    assert_eq!(client.message().await.0, [0xFF, 0xFE]);
    // In pieces: only the first says so. A ping may stand between them.
    let bytes = packed("alone in three pieces".as_bytes());
    client.send(0x41, &bytes[..5]).await;
    client.send(0x89, b"?").await;
    client.send(0x00, &bytes[5..9]).await;
    client.send(0x80, &bytes[9..]).await;
    assert_eq!(client.frame().await, (0x8A, b"?".to_vec()));
    assert_eq!(client.message().await.0, b"alone in three pieces");
    client.send(0x81, b"alone and as it is").await;
    assert_eq!(client.message().await.0, b"alone and as it is");
}

#[tokio::test]
async fn what_is_packed_wrongly_ends_the_connection() {
    let server = server(deflating()).await;
    let cases: [Wrong<'_>; 7] = [
        ("a bomb", &[(0xC1, packed(&vec![b'x'; 50_000_000]))], 1009),
        ("one byte too much", &[(0xC1, packed(&vec![b'x'; MESSAGE_MAX + 1]))], 1009),
        ("no UTF-8 in it", &[(0xC1, packed(&[0xC0, 0x80]))], 1007),
        ("not packed", &[(0xC1, vec![0xFF; 8])], 1007),
        ("a packed ping", &[(0xC9, vec![])], 1002),
        ("a packed second piece", &[(0x41, packed(b"a")), (0xC0, packed(b"b"))], 1002),
        ("another extension's bit", &[(0xA1, vec![])], 1002),
    ];
    for (name, frames, code) in cases {
        let (mut client, _) = Client::connect(&server, OFFER).await;
        for (first, payload) in frames {
            client.send(*first, payload).await;
        }
        assert_eq!(client.code().await, code, "{name}");
    }
    let (mut client, _) = Client::connect(&server, "x-other").await;
    client.send(0xC1, &packed(b"nobody agreed")).await;
    assert_eq!(client.code().await, 1002);
}
