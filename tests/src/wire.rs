//! Bytes on a connection: what no well-behaved client would send, and what comes back.

use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(30);

/// How soon a connection must be closed that is to be closed at once.
const CLOSED: Duration = Duration::from_secs(5);

/// A connection without manners.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What came and was not taken yet.
    read: Vec<u8>,
    has_ended: bool,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// All lines before the empty one.
    pub head: String,
    /// What the length in the head says; of a chunked one the chunks.
    pub body: Vec<u8>,
}

impl Reply {
    /// The header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Wire {
    /// Connects to `address` (`127.0.0.1:PORT`).
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the site listens");
        Self { stream, read: Vec::new(), has_ended: false }
    }

    /// Sends bytes; that the other side has closed already is no matter.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = timeout(WAIT, self.stream.write_all(bytes.as_ref())).await.expect("it reads");
    }

    /// The next answer; `None` if the connection is closed instead.
    ///
    /// # Panics
    /// Neither comes, or it is no answer.
    pub async fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut reply = Reply { status: status.expect("a status line"), head, body: Vec::new() };
        let length = reply.header("content-length").map(|length| length.parse().expect("a number"));
        let has_none = reply.status < 200 || reply.status == 204 || reply.status == 304;
        match length {
            _ if has_none => {}
            Some(length) => {
                while self.read.len() < length && self.more().await {}
                reply.body = self.read.drain(..length.min(self.read.len())).collect();
            }
            None => {
                let ends = |read: &[u8]| read.windows(5).position(|five| five == b"0\r\n\r\n");
                while ends(&self.read).is_none() && self.more().await {}
                let end = ends(&self.read).map_or(self.read.len(), |at| at + 5);
                reply.body = self.read.drain(..end).collect();
            }
        }
        Some(reply)
    }

    /// Reads more; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 65_536];
        let read = timeout(WAIT, self.stream.read(&mut piece)).await.expect("an answer in time");
        let read = read.unwrap_or(0);
        self.read.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// Whether the other side closes the connection soon, saying nothing more.
    pub async fn is_closed(&mut self) -> bool {
        let mut piece = [0; 1024];
        let read = timeout(CLOSED, self.stream.read(&mut piece)).await;
        self.read.is_empty() && matches!(read, Ok(Ok(0) | Err(_)))
    }

    /// Waits until the other side closes the connection, and throws away what it says.
    ///
    /// # Panics
    /// It does not.
    pub async fn closed(&mut self) {
        while self.more().await {}
    }

    /// An answer that is there already, without its body. Notices the end, too.
    ///
    /// # Panics
    /// It is no answer.
    pub fn reply_now(&mut self) -> Option<Reply> {
        let mut piece = [0; 1024];
        match self.stream.try_read(&mut piece) {
            Ok(0) => self.has_ended = true,
            Ok(read) => self.read.extend_from_slice(&piece[..read]),
            Err(error) => self.has_ended |= error.kind() != std::io::ErrorKind::WouldBlock,
        }
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().expect("a status line");
        Some(Reply { status, head, body: Vec::new() })
    }

    /// Whether [`reply_now`](Self::reply_now) has seen the end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Cuts the wire: what comes from now on is thrown away before our kernel's TCP sees it, so the
    /// other side hears nothing more, neither that something has come nor that we are gone.
    ///
    /// # Panics
    /// The kernel knows no socket filters.
    pub fn cut(&self) {
        /// The classic BPF instruction that returns its constant: how much of a packet is kept.
        const RETURN: u16 = 0x06;
        let nothing = [SockFilter::new(RETURN, 0, 0, 0)];
        SockRef::from(&self.stream).attach_filter(&nothing).expect("a socket takes a filter");
    }

    /// Our port.
    ///
    /// # Panics
    /// It is not connected.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.stream.local_addr().expect("it is connected").port()
    }

    /// The connection itself.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}
