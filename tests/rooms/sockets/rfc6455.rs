//! What RFC 6455 says of frames, case by case, over a TCP socket (taken out of hyper) and over a
//! unix socket (whatever hyper hands over): the same bytes in, the same bytes out.

use std::cell::RefCell;
use std::path::PathBuf;

use hulse::Project;
use hulse::channels::Layer;
use hulse::sockets::socket;
use hulse::urls::Urls;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::Just;
use proptest::test_runner::{Config, TestRunner};
use proptest::{prop_assert_eq, prop_oneof};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::{Echo, KEY, Server, WAIT, echo_with, end, settings};

/// The largest message here.
const MESSAGE_MAX: usize = 100_000;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A masked frame with the shortest form of its length.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, MASK)
}

fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload, MASK)
}

/// What a server sends.
fn answer(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(0x80 | opcode, payload, [0; 4]);
    let header = bytes.len() - payload.len();
    bytes.drain(header - 4..header);
    bytes[1] &= 0x7F;
    bytes
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[derive(Debug)]
struct Case {
    name: String,
    sent: Vec<u8>,
    expected: Vec<u8>,
    /// What `disconnect` is told.
    code: u16,
}

#[derive(Default)]
struct Table(Vec<Case>);

impl Table {
    /// `sent` is all right and answered with `answers`; the client's goodbye after it is too.
    fn good(&mut self, name: impl Into<String>, sent: &[Vec<u8>], answers: &[Vec<u8>]) {
        let bye = close(1000, "");
        let sent = [sent.concat(), whole(CLOSE, &bye)].concat();
        let expected = [answers.concat(), answer(CLOSE, &bye)].concat();
        self.0.push(Case { name: name.into(), sent, expected, code: 1000 });
    }

    /// `sent` ends the connection with `code`, after `answers`, without a byte more.
    fn bad(&mut self, name: impl Into<String>, sent: &[Vec<u8>], answers: &[Vec<u8>], code: u16) {
        let reason = match code {
            1002 => "protocol error",
            1007 => "text is not UTF-8",
            _ => "message too large",
        };
        let expected = [answers.concat(), answer(CLOSE, &close(code, reason))].concat();
        self.0.push(Case { name: name.into(), sent: sent.concat(), expected, code });
    }

    fn lengths(&mut self) {
        for length in [0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 65_535, 65_536, MESSAGE_MAX] {
            for (opcode, of) in [(TEXT, "text"), (BINARY, "bytes")] {
                for mask in [MASK, [0; 4]] {
                    let payload = vec![b'a'; length];
                    let sent = [frame(0x80 | opcode, &payload, mask)];
                    let name = format!("{of} of {length}, mask {mask:?}");
                    self.good(name, &sent, &[answer(opcode, &payload)]);
                }
            }
        }
        for (form, length) in [(126, 0_u64), (126, 125), (127, 0), (127, 126), (127, 65_535)] {
            let mut sent = vec![0x81, 0x80 | form];
            match form {
                126 => sent.extend((length as u16).to_be_bytes()),
                _ => sent.extend(length.to_be_bytes()),
            }
            self.bad(format!("length {length} in form {form}"), &[sent], &[], 1002);
        }
        let negative = vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1];
        self.bad("a length with its first bit set", &[negative], &[], 1002);
        let over = vec![b'a'; MESSAGE_MAX + 1];
        self.bad("a text over the limit", &[whole(TEXT, &over)], &[], 1009);
        self.bad("bytes over the limit", &[whole(BINARY, &over)], &[], 1009);
        let head = whole(BINARY, &over)[..10].to_vec();
        self.bad("the length over the limit alone", &[head], &[], 1009);
        let huge = vec![0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        self.bad("the largest length there is", &[huge], &[], 1009);
        let half = vec![b'a'; MESSAGE_MAX / 2];
        let fits = [part(TEXT, &half), whole(0, &half)];
        self.good("two halves of the limit", &fits, &[answer(TEXT, &over[1..])]);
        let more = [part(TEXT, &half), part(0, &half), whole(0, b"a")];
        self.bad("a fragment over the limit", &more, &[], 1009);
    }

    fn headers(&mut self) {
        for reserved in 1..8_u8 {
            for opcode in [0, TEXT, BINARY, CLOSE, PING, PONG] {
                let sent = [vec![0x80 | reserved << 4 | opcode]];
                self.bad(format!("RSV {reserved:03b} with opcode {opcode}"), &sent, &[], 1002);
            }
        }
        for opcode in (3..8).chain(11..16) {
            for is_final in [0x80, 0] {
                self.bad(format!("opcode {opcode}"), &[vec![is_final | opcode]], &[], 1002);
            }
        }
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            let sent = [whole(TEXT, b"first"), vec![0x80 | opcode, 0x05]];
            let name = format!("opcode {opcode} without a mask");
            self.bad(name, &sent, &[answer(TEXT, b"first")], 1002);
        }
    }

    fn control(&mut self) {
        for length in [0, 1, 2, 64, 124, 125] {
            let payload = vec![0xFE; length];
            let name = format!("a ping of {length}");
            self.good(name, &[whole(PING, &payload)], &[answer(PONG, &payload)]);
            self.good(format!("a pong of {length}"), &[whole(PONG, &payload)], &[]);
        }
        for opcode in [CLOSE, PING, PONG] {
            self.bad(format!("opcode {opcode} in pieces"), &[vec![opcode]], &[], 1002);
            for form in [126, 127] {
                let sent = [vec![0x80 | opcode, 0x80 | form]];
                self.bad(format!("opcode {opcode} of form {form}"), &sent, &[], 1002);
            }
        }
        let pings: Vec<_> = (0..10_u8).map(|i| whole(PING, &[i])).collect();
        let pongs: Vec<_> = (0..10_u8).map(|i| answer(PONG, &[i])).collect();
        self.good("ten pings", &pings, &pongs);
    }

    fn fragments(&mut self) {
        let hello = [answer(TEXT, b"Hello")];
        let between = [answer(PONG, b"p"), answer(TEXT, b"Hello")];
        self.good("two fragments", &[part(TEXT, b"Hel"), whole(0, b"lo")], &hello);
        let empty = [part(TEXT, b""), part(0, b""), part(0, b"Hello"), whole(0, b"")];
        self.good("empty fragments", &empty, &hello);
        self.good("nothing in fragments", &[part(TEXT, b""), whole(0, b"")], &[answer(TEXT, b"")]);
        let single: Vec<_> = std::iter::once(part(TEXT, b"H"))
            .chain(b"ell".iter().map(|byte| part(0, &[*byte])))
            .chain([whole(0, b"o")])
            .collect();
        self.good("a byte a fragment", &single, &hello);
        let pinged = [part(TEXT, b"Hel"), whole(PING, b"p"), whole(0, b"lo")];
        self.good("a ping between fragments", &pinged, &between);
        let ponged = [part(TEXT, b"Hel"), whole(PONG, b"p"), whole(0, b"lo")];
        self.good("a pong between fragments", &ponged, &hello);
        let bytes = [part(BINARY, b"He"), part(0, b"ll"), whole(0, b"o")];
        self.good("bytes in fragments", &bytes, &[answer(BINARY, b"Hello")]);
        let two = [part(TEXT, b"a"), whole(0, b"b"), part(BINARY, b"c"), whole(0, b"d")];
        self.good("two of them", &two, &[answer(TEXT, b"ab"), answer(BINARY, b"cd")]);
        for opcode in [TEXT, BINARY] {
            for first in [0x80 | opcode, opcode] {
                let sent = [part(TEXT, b"Hel"), vec![first]];
                self.bad("a message inside a message", &sent, &[], 1002);
            }
        }
        for first in [0x80, 0] {
            self.bad("a continuation of nothing", &[vec![first]], &[], 1002);
            let after = [whole(TEXT, b"Hello"), vec![first]];
            self.bad("a continuation of what is complete", &after, &hello, 1002);
            let ended = [part(TEXT, b"Hel"), whole(0, b"lo"), vec![first]];
            self.bad("a continuation of what has ended", &ended, &hello, 1002);
        }
    }

    fn texts(&mut self) {
        let good = [
            "\u{0}",
            "\u{7f}",
            "\u{80}",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{fffd}",
            "\u{ffff}",
            "\u{10000}",
            "\u{10ffff}",
            "\u{1F600}",
            "\u{3ba}\u{1f79}\u{3c3}",
            "a\u{fe0f}b",
        ];
        for text in good {
            let bytes = text.as_bytes();
            let answers = [answer(TEXT, bytes)];
            self.good(format!("{text:?}"), &[whole(TEXT, bytes)], &answers);
            for cut in 1..bytes.len() {
                let sent = [part(TEXT, &bytes[..cut]), whole(0, &bytes[cut..])];
                self.good(format!("{text:?} cut at {cut}"), &sent, &answers);
            }
        }
        let bad: [&[u8]; 24] = [
            b"\x80",
            b"\xbf",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xc2\xc2",
            b"\xe0\x80",
            b"\xe0\x9f\xbf",
            b"\xed\xa0",
            b"\xed\xbf\xbf",
            b"\xe2\x28",
            b"\xe2\x82\x28",
            b"\xf0\x80",
            b"\xf0\x8f\xbf",
            b"\xf0\x28",
            b"\xf0\x90\x28",
            b"\xf0\x90\x8c\x28",
            b"\xf4\x90",
            b"\xf5",
            b"\xf8\x88",
            b"\xfc",
            b"\xfe",
            b"\xff",
            b"ab\xffcd",
            b"\xce\xba\xed\xa0\x80",
        ];
        for bytes in bad {
            self.bad(format!("{bytes:x?}"), &[whole(TEXT, bytes)], &[], 1007);
            // At once: the message is not complete, and never will be.
            self.bad(format!("{bytes:x?} at first"), &[part(TEXT, bytes)], &[], 1007);
            let later = [part(TEXT, b"ok"), part(0, bytes)];
            self.bad(format!("{bytes:x?} later"), &later, &[], 1007);
            let answers = [answer(BINARY, bytes)];
            self.good(format!("{bytes:x?} as bytes"), &[whole(BINARY, bytes)], &answers);
        }
        let cut_short: [&[u8]; 4] = [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"ok\xf0"];
        for bytes in cut_short {
            self.bad(format!("{bytes:x?} and no more"), &[whole(TEXT, bytes)], &[], 1007);
            let sent = [part(TEXT, bytes), whole(0, b"")];
            self.bad(format!("{bytes:x?} and an empty end"), &sent, &[], 1007);
        }
    }

    fn goodbyes(&mut self) {
        let mut bye = |name: &str, payload: &[u8], code: u16| {
            let sent = [whole(TEXT, b"a"), whole(CLOSE, payload), whole(TEXT, b"b")].concat();
            let expected = [answer(TEXT, b"a"), answer(CLOSE, payload)].concat();
            self.0.push(Case { name: name.to_owned(), sent, expected, code });
        };
        bye("a goodbye without a code", b"", 1005);
        for code in (1000..1004).chain(1007..1015).chain([3000, 3999, 4000, 4999]) {
            bye(&format!("a goodbye with {code}"), &close(code, ""), code);
        }
        bye("a goodbye with a reason", &close(1000, "gr\u{fc}\u{df} dich"), 1000);
        bye("a goodbye with the longest reason", &close(4000, &"r".repeat(123)), 4000);
        let bad = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
        for code in bad {
            let sent = [whole(CLOSE, &close(code, ""))];
            self.bad(format!("a goodbye with {code}"), &sent, &[], 1002);
        }
        self.bad("half a code", &[whole(CLOSE, &[3])], &[], 1002);
        let reason = [&close(1000, "")[..], b"\xff"].concat();
        self.bad("a reason that is no text", &[whole(CLOSE, &reason)], &[], 1007);
    }
}

fn table() -> Vec<Case> {
    let mut table = Table::default();
    table.lengths();
    table.headers();
    table.control();
    table.fragments();
    table.texts();
    table.goodbyes();
    table.0
}

/// Shakes hands, then sends `sent` in these pieces; all that comes back.
async fn talk<S>(mut stream: S, sent: &[u8], pieces: &[usize]) -> Vec<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(stream.read_u8().await.unwrap());
    }
    assert!(heard.starts_with(b"HTTP/1.1 101"));
    heard.clear();
    let (mut input, mut output) = tokio::io::split(stream);
    let send = async {
        let mut rest = sent;
        for piece in pieces.iter().cycle().take_while(|_| !pieces.is_empty()) {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            // The server may have said goodbye already.
            if output.write_all(now).await.is_err() || later.is_empty() {
                break;
            }
            rest = later;
            tokio::task::yield_now().await;
        }
        if pieces.is_empty() {
            let _refused = output.write_all(rest).await;
        }
        // Open until the server has closed its side: what it says must not depend on our end.
        output
    };
    let read = input.read_to_end(&mut heard);
    let (output, read) = timeout(WAIT, async { tokio::join!(send, read) }).await.expect("an end");
    read.unwrap();
    drop(output);
    heard
}

/// The echo site, over TCP and over a unix socket, with what its consumers are told at the end.
struct Both {
    tcp: (Server, mpsc::Receiver<u16>),
    unix: (PathBuf, mpsc::Receiver<u16>),
    /// Ends with the test.
    _task: JoinSet<()>,
    _folder: TempDir,
}

impl Both {
    async fn open() -> Self {
        let mut limited = settings();
        limited.server.message_bytes_max = MESSAGE_MAX;
        let tcp = echo_with(limited.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (ended, ends) = mpsc::channel(100);
        limited.base = folder.path().to_owned();
        let urls = Urls::new([socket("echo", move || Echo(ended.clone()))]);
        let project = Project::new("sockets", folder.path()).urls(urls);
        let layer = Layer::memory(&limited.channels);
        let site = project.open(limited, layer).await.unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let handler = hulse::server::handler(&project, &site);
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, handler).await.unwrap() });
        Self { tcp, unix: (path, ends), _task: task, _folder: folder }
    }

    /// What comes back, and the code at the end: over TCP, and over a unix socket.
    async fn talk(&mut self, sent: &[u8], pieces: &[usize]) -> [(Vec<u8>, u16); 2] {
        let stream = TcpStream::connect(self.tcp.0.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let tcp = talk(stream, sent, pieces).await;
        let tcp = (tcp, end(&mut self.tcp.1).await);
        let stream = UnixStream::connect(&self.unix.0).await.unwrap();
        let unix = talk(stream, sent, pieces).await;
        [tcp, (unix, end(&mut self.unix.1).await)]
    }
}

#[tokio::test]
async fn every_case_of_rfc_6455_ends_the_same_on_both_paths() {
    let mut both = Both::open().await;
    let cases = table();
    assert!(cases.len() >= 350, "{}", cases.len());
    for Case { name, sent, expected, code } in cases {
        for (heard, ended) in both.talk(&sent, &[]).await {
            assert!(heard == expected, "{name}: {:x?}", &heard[heard.len().min(200)..]);
            assert_eq!(ended, code, "{name}");
        }
    }
}

#[tokio::test]
async fn however_a_conversation_is_cut_it_stays_the_same() {
    let mut both = Both::open().await;
    let text = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5} \u{1F600} ".repeat(20);
    let (one, two) = text.as_bytes().split_at(101);
    let sent = [
        whole(TEXT, b"short"),
        part(TEXT, one),
        whole(PING, b"between"),
        whole(0, two),
        whole(BINARY, &[0xFF; 300]),
        whole(CLOSE, &close(1001, "away")),
    ];
    let expected = [
        answer(TEXT, b"short"),
        answer(PONG, b"between"),
        answer(TEXT, text.as_bytes()),
        answer(BINARY, &[0xFF; 300]),
        answer(CLOSE, &close(1001, "away")),
    ];
    for size in [1, 2, 3, 5, 7, 13, 64, 127, 1000] {
        for (heard, code) in both.talk(&sent.concat(), &[size]).await {
            assert!(heard == expected.concat(), "in pieces of {size}");
            assert_eq!(code, 1001);
        }
    }
}

#[tokio::test]
async fn a_fault_is_found_before_the_rest_of_its_frame() {
    let mut both = Both::open().await;
    // A text of 1000 bytes of which two came, and they are no UTF-8.
    let sent = [0x81, 0x80 | 126, 0x03, 0xE8, 0, 0, 0, 0, 0xC0, 0x80];
    for (heard, code) in both.talk(&sent, &[1]).await {
        assert_eq!(heard, answer(CLOSE, &close(1007, "text is not UTF-8")));
        assert_eq!(code, 1007);
    }
}

/// What tungstenite's server would answer that repeats what it hears.
fn oracle(sent: &[u8]) -> Vec<u8> {
    let pipe = Pipe { input: std::io::Cursor::new(sent.to_vec()), output: Vec::new() };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let mut server = WebSocket::from_raw_socket(pipe, Role::Server, Some(config));
    let fault = loop {
        match server.read() {
            Ok(Frame::Close(_)) => break None,
            Ok(frame @ (Frame::Text(_) | Frame::Binary(_))) => server.send(frame).unwrap(),
            Ok(_) => server.flush().unwrap(),
            Err(WsError::Capacity(CapacityError::MessageTooLong { .. })) => {
                break Some((1009, "message too large"));
            }
            Err(WsError::Utf8(_)) => break Some((1007, "text is not UTF-8")),
            Err(WsError::Protocol(_)) => break Some((1002, "protocol error")),
            Err(error) => panic!("{error}"),
        }
    };
    // After a goodbye it says that it is closed.
    let _closed = server.flush();
    let mut output = std::mem::take(&mut server.get_mut().output);
    if let Some((code, reason)) = fault {
        output.extend(answer(CLOSE, &close(code, reason)));
    }
    output
}

struct Pipe {
    input: std::io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl std::io::Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.input, into)
    }
}

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One frame of a random conversation.
#[derive(Clone, Debug)]
struct Step {
    /// 0 to 3 text, 4 and 5 bytes, 6 ping, 7 pong, 8 bytes that claim to be text, 9 any first byte.
    kind: u8,
    is_final: bool,
    payload: Vec<u8>,
    mask: [u8; 4],
    first: u8,
}

fn steps() -> impl Strategy<Value = (Vec<Step>, Vec<usize>)> {
    let kinds = prop_oneof![20 => 0..8_u8, 1 => Just(8), 1 => Just(9)];
    let payload = prop_oneof![vec(any::<u8>(), 0..126), vec(any::<u8>(), 0..2000)];
    let step = (kinds, any::<bool>(), payload, any::<[u8; 4]>(), any::<u8>()).prop_map(
        |(kind, is_final, payload, mask, first)| Step { kind, is_final, payload, mask, first },
    );
    (vec(step, 1..12), vec(1..3000_usize, 1..6))
}

/// The bytes of a conversation, mostly allowed, with a goodbye at its end.
fn bytes(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut is_inside = false;
    for step in steps {
        let text: Vec<u8> = step
            .payload
            .iter()
            .flat_map(|byte| {
                char::from_u32(u32::from(*byte) * 17).unwrap_or('?').to_string().into_bytes()
            })
            .collect();
        let (opcode, payload) = match step.kind {
            0..4 => (TEXT, &text),
            4 | 5 => (BINARY, &step.payload),
            6 => (PING, &step.payload),
            7 => (PONG, &step.payload),
            8 => (TEXT, &step.payload),
            _ => (step.first & 0x0F, &step.payload),
        };
        let is_control = opcode & 8 != 0;
        let opcode = if is_inside && !is_control && step.kind < 9 { 0 } else { opcode };
        let first = match step.kind {
            9 => step.first,
            _ => opcode | if step.is_final || is_control { 0x80 } else { 0 },
        };
        // Where tungstenite is milder or later the table says what is right.
        let is_goodbye = first & 0x0F == CLOSE;
        let length = if is_goodbye {
            0
        } else if is_control {
            payload.len().min(125)
        } else {
            payload.len()
        };
        bytes.extend(frame(first, &payload[..length], step.mask));
        if !is_control {
            is_inside = first & 0x80 == 0;
        }
    }
    bytes.extend(whole(CLOSE, &close(1000, "")));
    bytes
}

#[test]
fn random_conversations_in_random_pieces_end_as_tungstenite_ends_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let both = RefCell::new(runtime.block_on(Both::open()));
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    runner
        .run(&steps(), |(steps, pieces)| {
            let sent = bytes(&steps);
            let expected = oracle(&sent);
            for (heard, _) in runtime.block_on(both.borrow_mut().talk(&sent, &pieces)) {
                prop_assert_eq!(&heard, &expected);
            }
            Ok(())
        })
        .unwrap();
}
