//! What the arbiter and its children tell each other, over the socketpair that is a child's stdin.
//!
//! Flow: arbiter → child: one [`Start`] with descriptors beside it (a worker's: the board, then
//! the listening sockets; the store's: its socket), later [`Order`]s.
//! Child → arbiter: [`Report`]s. End of file means that the other one is gone.
//!
//! A message is a kind byte, a length (u32, little endian) and that many bytes.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Kind, Result};

/// Most listening sockets handed to a child. The kernel takes 253 descriptors in one message.
pub(super) const LISTENERS_MAX: usize = 64;

/// Most descriptors in a message: the listening sockets and the board.
const DESCRIPTORS_MAX: usize = LISTENERS_MAX + 1;

/// Longest message, bytes; a path and an error's words fit.
const MESSAGE_BYTES_MAX: usize = 65_536;

const HEAD_BYTES: usize = 5;

/// The first message: what a child is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// A worker's number, from 1.
    pub(super) number: usize,
    /// How many workers there are.
    pub(super) workers: usize,
    /// The data store's socket; none with `memory://`.
    pub(super) store: Option<PathBuf>,
}

/// Arbiter → child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish what is begun, then end.
    Drain,
}

/// Child → arbiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It serves.
    Ready,
    /// Its runtime still turns.
    Alive,
    /// It cannot start, and why.
    Failed(String),
}

impl Order {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Drain => message(b'D', &[]),
        }
    }

    fn decode(kind: u8) -> Option<Self> {
        (kind == b'D').then_some(Self::Drain)
    }
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => message(b'R', &[]),
            Self::Alive => message(b'A', &[]),
            Self::Failed(words) => message(b'F', words.as_bytes()),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            b'R' => Some(Self::Ready),
            b'A' => Some(Self::Alive),
            b'F' => Some(Self::Failed(String::from_utf8_lossy(payload).into_owned())),
            _ => None,
        }
    }
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MESSAGE_BYTES_MAX)];
    let mut bytes = vec![kind];
    let length = u32::try_from(payload.len()).expect("cut to MESSAGE_BYTES_MAX above");
    bytes.extend(length.to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn parse_head(head: [u8; HEAD_BYTES]) -> Result<(u8, usize)> {
    let [kind, length @ ..] = head;
    match usize::try_from(u32::from_le_bytes(length)) {
        Ok(length) if length <= MESSAGE_BYTES_MAX => Ok((kind, length)),
        _ => Err(broken("too long a message")),
    }
}

/// Sends the first message with `sockets` beside it. The socket must be fresh: it then fits.
pub(super) fn send_start(
    control: &UnixStream,
    start: &Start,
    sockets: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = message(b'S', &serde_json::to_vec(start)?);
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(broken("too many sockets"));
    }
    let sent =
        rustix::net::sendmsg(control, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(broken("the first message did not fit")) }
}

/// Waits for the first message and the sockets beside it.
pub(super) fn receive_start(mut control: &UnixStream) -> Result<(Start, Vec<OwnedFd>)> {
    let mut head = [0; HEAD_BYTES];
    let mut sockets = Vec::new();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(&mut head)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            sockets.extend(handed);
        }
    }
    if received.bytes != HEAD_BYTES {
        return Err(broken("the arbiter is gone"));
    }
    let (_, length) = parse_head(head)?;
    let mut payload = vec![0; length];
    control.read_exact(&mut payload)?;
    Ok((serde_json::from_slice(&payload)?, sockets))
}

/// Waits for the next order; `None` once the arbiter is gone.
pub(super) fn receive_order(mut control: &UnixStream) -> Option<Order> {
    loop {
        let mut head = [0; HEAD_BYTES];
        control.read_exact(&mut head).ok()?;
        let (kind, length) = parse_head(head).ok()?;
        let mut payload = vec![0; length];
        control.read_exact(&mut payload).ok()?;
        // An order of a newer arbiter is passed over.
        if let Some(order) = Order::decode(kind) {
            return Some(order);
        }
    }
}

/// Tells the arbiter. It never waits: an arbiter that is stopped must not stop its workers.
pub(super) fn report(control: &UnixStream, report: &Report) {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // That nobody listens is heard by `receive_order`.
    let _nobody_listens = rustix::net::send(control.as_fd(), &report.encode(), flags);
}

/// Waits for a child's next report; `None` once it is gone.
pub(super) async fn receive_report(
    control: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Report>> {
    loop {
        let mut head = [0; HEAD_BYTES];
        match control.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (kind, length) = parse_head(head)?;
        let mut payload = vec![0; length];
        control.read_exact(&mut payload).await?;
        if let Some(report) = Report::decode(kind, &payload) {
            return Ok(Some(report));
        }
    }
}

fn broken(words: &str) -> Error {
    Error::of(Kind::Server, format!("the control socket: {words}"))
}
