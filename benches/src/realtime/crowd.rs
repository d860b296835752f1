//! The clients: raw TCP, one thread, one task per socket that counts bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Done;

/// What is sent: 64 bytes of text.
const TEXT: [u8; 64] = [b'x'; 64];
/// A frame of it from a server: two bytes before.
const FRAME_BYTES: u64 = 66;
/// Sockets that send, in turns.
const SENDERS: u64 = 32;
/// Connections set up at the same time.
const CONNECTING: usize = 64;
/// Room for one read, bytes.
const READ_BYTES: usize = 64 * 1024;
/// How long a connection may take.
const WAIT: Duration = Duration::from_secs(30);

/// Many sockets of one server. Dropping it closes them.
pub(crate) struct Crowd {
    shared: Rc<Shared>,
    /// One task a socket.
    _readers: JoinSet<()>,
}

struct Shared {
    streams: Vec<Rc<TcpStream>>,
    frame: Vec<u8>,
    received: Cell<u64>,
    sent: Cell<u64>,
    outstanding: Cell<u64>,
    lost: Cell<usize>,
    /// When the last message was sent, and how long it took to each socket.
    timed: Cell<Option<Instant>>,
    delays: RefCell<Vec<Duration>>,
}

/// A socket in the group that reads nothing after its handshake. Dropping it closes it.
pub(crate) struct Blocked {
    _stream: Rc<TcpStream>,
}

impl Blocked {
    pub(crate) async fn connect(address: &str, cookie: Option<String>) -> Done<Self> {
        let stream = timeout(WAIT, open(address, &head("/ws/", address, &line(cookie)))).await??;
        Ok(Self { _stream: stream })
    }
}

/// What a client of streams says first, masked with zeros: it joins the group by a name.
const JOIN: &[u8] = b"\x81\x8c\0\0\0\0{\"join\":\"g\"}";

/// Many sockets that have joined the group as a stream. Dropping it closes them.
pub(crate) struct Audience {
    _readers: JoinSet<()>,
}

impl Audience {
    pub(crate) async fn connect(address: &str, count: usize) -> Done<Self> {
        let mut readers = JoinSet::new();
        for _ in 0..count {
            let stream = timeout(WAIT, open(address, &head("/stream/", address, ""))).await??;
            if stream.try_write(JOIN).ok() != Some(JOIN.len()) {
                return Err("a join does not leave".into());
            }
            readers.spawn_local(async move {
                let mut scratch = vec![0; 4096];
                while stream.readable().await.is_ok() {
                    if stream.try_read(&mut scratch).ok() == Some(0) {
                        break;
                    }
                }
            });
        }
        Ok(Self { _readers: readers })
    }
}

/// The header with a visitor's cookies, if there are any.
fn line(cookie: Option<String>) -> String {
    cookie.map(|pairs| format!("Cookie: {pairs}\r\n")).unwrap_or_default()
}

fn head(path: &str, address: &str, cookie: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Origin: http://{address}\r\n{cookie}Accept-Language: en-US,en;q=0.5\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

impl Crowd {
    pub(crate) async fn connect(address: &str, cookie: Option<String>, count: usize) -> Done<Self> {
        let head = head("/ws/", address, &line(cookie));
        let mut connecting = JoinSet::new();
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            if connecting.len() == CONNECTING {
                streams.extend(connecting.join_next().await.transpose()?.transpose()?);
            }
            let (address, head) = (address.to_owned(), head.clone());
            connecting.spawn_local(async move {
                let opened = timeout(WAIT, open(&address, &head)).await;
                opened.unwrap_or_else(|_| Err("no answer to a handshake".into()))
            });
        }
        while let Some(stream) = connecting.join_next().await {
            streams.push(stream??);
        }
        let shared = Rc::new(Shared {
            streams,
            frame: frame(),
            received: Cell::new(0),
            sent: Cell::new(0),
            outstanding: Cell::new(0),
            lost: Cell::new(0),
            timed: Cell::new(None),
            delays: RefCell::default(),
        });
        let mut readers = JoinSet::new();
        for stream in &shared.streams {
            readers.spawn_local(read(Rc::clone(stream), Rc::clone(&shared)));
        }
        Ok(Self { shared, _readers: readers })
    }

    /// Sends until it ends: always `outstanding` messages that not everybody has received.
    pub(crate) fn start(&self, outstanding: u64) {
        self.shared.outstanding.set(outstanding);
        self.shared.advance();
    }

    /// Messages received so far, by all sockets together.
    pub(crate) fn deliveries(&self) -> Done<u64> {
        match self.shared.lost.get() {
            0 => Ok(self.shared.received.get() / FRAME_BYTES),
            lost => Err(format!("{lost} sockets were closed").into()),
        }
    }

    /// How long 50 messages a second take to each socket.
    pub(crate) async fn latency(&self, time: Duration) -> Done<Vec<Duration>> {
        let until = Instant::now() + time;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while Instant::now() < until {
            pace.tick().await;
            self.shared.timed.set(Some(Instant::now()));
            self.shared.send();
        }
        self.deliveries()?;
        Ok(self.shared.delays.take())
    }
}

impl Shared {
    fn advance(&self) {
        let outstanding = self.outstanding.get();
        if outstanding == 0 {
            return;
        }
        let complete = self.received.get() / (FRAME_BYTES * self.streams.len() as u64);
        while self.sent.get() < complete + outstanding {
            self.send();
        }
    }

    fn send(&self) {
        let sent = self.sent.get();
        let stream = &self.streams[(sent % SENDERS) as usize];
        if stream.try_write(&self.frame).ok() != Some(self.frame.len()) {
            self.lost.set(self.lost.get() + 1);
        }
        self.sent.set(sent + 1);
    }
}

/// The frame a client sends, masked.
fn frame() -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81, 0x80 | TEXT.len() as u8];
    frame.extend(mask);
    frame.extend(TEXT.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

async fn open(address: &str, head: &str) -> Done<Rc<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(Rc::new(stream))
}

async fn read(stream: Rc<TcpStream>, shared: Rc<Shared>) {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    }
    loop {
        if stream.readable().await.is_err() {
            break;
        }
        match SCRATCH.with_borrow_mut(|scratch| stream.try_read(scratch)) {
            Ok(0) => break,
            Ok(count) => {
                shared.received.set(shared.received.get() + count as u64);
                if let Some(sent) = shared.timed.get() {
                    shared.delays.borrow_mut().push(sent.elapsed());
                }
                shared.advance();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    shared.lost.set(shared.lost.get() + 1);
}
