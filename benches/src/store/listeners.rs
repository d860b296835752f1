//! Sockets as browsers have them: raw TCP, one thread, one task each, that note when messages come.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Done;
use super::site::now;

/// A message's frame from a server: two bytes before 64.
const FRAME_BYTES: usize = 66;
/// How long a connection may take.
const WAIT: Duration = Duration::from_secs(30);
/// How often it is looked whether all has come.
const LOOK: Duration = Duration::from_millis(20);

/// Many sockets. Dropping it closes them.
pub(crate) struct Listeners {
    shared: Rc<Shared>,
    _readers: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// How long each message took to each socket, nanoseconds.
    delays: RefCell<Vec<u64>>,
    lost: Cell<usize>,
}

impl Listeners {
    /// So many groups with sockets, and how many each has.
    pub(crate) async fn connect(address: &str, audience: (usize, usize)) -> Done<Self> {
        let shared = Rc::new(Shared::default());
        let mut readers = JoinSet::new();
        for group in 0..audience.0 {
            for _ in 0..audience.1 {
                let stream = timeout(WAIT, open(address, group)).await??;
                readers.spawn_local(read(stream, Rc::clone(&shared)));
            }
        }
        Ok(Self { shared, _readers: readers })
    }

    /// What came before does not count.
    pub(crate) fn forget(&self) {
        self.shared.delays.borrow_mut().clear();
    }

    /// How long the messages took so far, nanoseconds.
    pub(crate) fn heard(&self) -> Done<Vec<u64>> {
        match self.shared.lost.get() {
            0 => Ok(self.shared.delays.take()),
            lost => Err(format!("{lost} sockets were closed").into()),
        }
    }

    /// The same, once so many have come.
    pub(crate) async fn wait_for(&self, count: u64, wait: Duration) -> Done<Vec<u64>> {
        let end = Instant::now() + wait;
        while (self.shared.delays.borrow().len() as u64) < count {
            if Instant::now() > end {
                let came = self.shared.delays.borrow().len();
                let lost = self.shared.lost.get();
                let told = format!("{came} of {count} deliveries came, {lost} sockets were closed");
                return Err(told.into());
            }
            tokio::time::sleep(LOOK).await;
        }
        self.heard()
    }
}

async fn open(address: &str, group: usize) -> Done<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET /ws/{group}/ HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nOrigin: http://{address}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(stream)
}

async fn read(mut stream: TcpStream, shared: Rc<Shared>) {
    let mut bytes = Vec::with_capacity(64 * 1024);
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        let (now, whole) = (now(), bytes.len() / FRAME_BYTES * FRAME_BYTES);
        let mut delays = shared.delays.borrow_mut();
        for frame in bytes[..whole].chunks_exact(FRAME_BYTES) {
            let text = std::str::from_utf8(&frame[2..]).unwrap_or_default();
            // Where nobody asks for delays there are no times in the texts.
            delays.push(text.trim_end().parse().map_or(0, |sent| now.saturating_sub(sent)));
        }
        drop(delays);
        bytes.drain(..whole);
    }
    shared.lost.set(shared.lost.get() + 1);
}
