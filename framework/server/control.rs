//! What the arbiter and its children tell each other, over the socketpair that is a child's stdin.
//!
//! Flow: arbiter → child: one [`Start`] with descriptors beside it (the settings in force; then a
//! worker's: the board and the listening sockets; the store's: its socket), later [`Order`]s.
//! Child → arbiter: [`Report`]s. End of file means that the other one is gone.
//!
//! A message is a kind byte, a length (u32, little endian) and that many bytes. After a reload the
//! two may be different builds of the site: a kind that is not known is passed over, a field that
//! is missing has its default; what would be misunderstood all the same changes [`PROTOCOL`].

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Kind, Result};
use crate::server::figures::Snapshot;
use crate::server::upgrade::Legacy;

/// What an arbiter and a child of different builds must agree on; the store's link counts too.
pub(super) const PROTOCOL: u32 = 2;

/// Most listening sockets handed to a child. The kernel takes 253 descriptors in one message.
pub(super) const LISTENERS_MAX: usize = 64;

/// Most descriptors in a message: the listening sockets, the settings, and the board or the
/// metrics' and the control socket.
const DESCRIPTORS_MAX: usize = LISTENERS_MAX + 3;

/// Longest message, bytes; a path and an error's words fit.
const MESSAGE_BYTES_MAX: usize = 65_536;

const HEAD_BYTES: usize = 5;

/// Bytes of reports that wait for an arbiter that does not read; more are dropped.
const WAITING_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// The first message: what a child is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Start {
    pub(super) protocol: u32,
    /// A worker's number, from 1; two have the same while one replaces the other.
    pub(super) number: usize,
    /// Its seat on the board, from 1, which it has alone.
    pub(super) seat: usize,
    /// The data store's socket; none with `memory://`.
    pub(super) store: Option<PathBuf>,
    /// What to do about the database before it serves.
    pub(super) database: Preparation,
    /// Which service it is to be.
    pub(super) service: Option<String>,
    /// Of a successor.
    pub(super) legacy: Legacy,
    /// Which start and which reload of the site this is: pages in development are marked with it.
    pub(super) release: String,
}

/// What a worker does about the database before it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preparation {
    /// The arbiter has seen to it.
    #[default]
    Nothing,
    /// A reload may bring models whose migrations are unapplied: it refuses to start then.
    Check,
    /// It applies them.
    Migrate,
}

/// Arbiter → child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish what is begun, then end.
    Drain(Leave),
    /// Tell which groups have members.
    Groups(u64),
    /// Open the log file anew.
    Reopen,
    /// Go on with the WebSockets that come over the descriptor beside this.
    TakeIn,
}

/// Why a child is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The site stops.
    Stop,
    /// Others go on.
    Replaced,
}

/// Child → arbiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It serves.
    Ready,
    /// Its runtime still turns, and what it has done so far.
    Alive(Counts),
    /// What it has counted, for the metrics.
    Figures(Snapshot),
    /// It cannot start, and why.
    Failed(String),
    /// The answer to [`Order::Groups`].
    Groups(Groups),
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    /// Open connections, WebSockets among them.
    pub(super) connections: u64,
    /// Open WebSockets.
    pub(super) sockets: u64,
    /// Requests since it started.
    pub(super) requests: u64,
    /// Messages a service has handled.
    pub(super) handled: u64,
    /// Messages that wait in a service's mailbox.
    pub(super) waiting: u64,
    /// WebSockets that another worker went on with.
    pub(super) moved: u64,
    /// WebSockets closed with 1012, to come back to another worker.
    pub(super) sent_on: u64,
}

/// Groups with members in one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Groups {
    /// Of the [`Order::Groups`] this answers.
    pub(super) id: u64,
    /// How many members each has.
    pub(super) members: BTreeMap<String, u64>,
    /// Groups that did not fit.
    pub(super) left_out: u64,
}

impl Order {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Drain(Leave::Stop) => message(b'D', &[]),
            Self::Drain(Leave::Replaced) => message(b'D', b"replaced"),
            Self::Groups(id) => message(b'G', &id.to_le_bytes()),
            Self::Reopen => message(b'L', &[]),
            Self::TakeIn => message(b'T', &[]),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            b'D' if payload == b"replaced" => Some(Self::Drain(Leave::Replaced)),
            b'D' => Some(Self::Drain(Leave::Stop)),
            b'G' => Some(Self::Groups(u64::from_le_bytes(payload.try_into().ok()?))),
            b'L' => Some(Self::Reopen),
            b'T' => Some(Self::TakeIn),
            _ => None,
        }
    }
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => message(b'R', &[]),
            Self::Alive(counts) => message(b'A', &json(counts)),
            Self::Figures(told) => message(b'M', &json(told)),
            Self::Failed(words) => message(b'F', words.as_bytes()),
            Self::Groups(groups) => message(b'G', &json(groups)),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            b'R' => Some(Self::Ready),
            b'A' => Some(Self::Alive(serde_json::from_slice(payload).unwrap_or_default())),
            b'F' => Some(Self::Failed(String::from_utf8_lossy(payload).into_owned())),
            b'M' => serde_json::from_slice(payload).ok().map(Self::Figures),
            b'G' => serde_json::from_slice(payload).ok().map(Self::Groups),
            _ => None,
        }
    }
}

impl Groups {
    /// As many of `members` as a message takes, those with the most members first.
    pub(super) fn new(id: u64, mut members: Vec<(String, u64)>) -> Self {
        members.sort_by(|(a, many), (b, more)| more.cmp(many).then_with(|| a.cmp(b)));
        // A name, its quotes, a number, a comma.
        let bytes = |name: &str| name.len() + 24;
        let mut room = MESSAGE_BYTES_MAX - 256;
        let fit = members.iter().take_while(|(name, _)| {
            let fits = bytes(name) <= room;
            room = room.saturating_sub(bytes(name));
            fits
        });
        let fit = fit.count();
        let left_out = (members.len() - fit) as u64;
        members.truncate(fit);
        Self { id, members: members.into_iter().collect(), left_out }
    }
}

/// Names and numbers always become JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
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
    let (bytes, sockets) = receive_beside(control, &mut head, RecvFlags::WAITALL)?;
    if bytes != HEAD_BYTES {
        return Err(broken("the arbiter is gone"));
    }
    let (_, length) = parse_head(head)?;
    let mut payload = vec![0; length];
    control.read_exact(&mut payload)?;
    Ok((serde_json::from_slice(&payload)?, sockets))
}

/// Reads into `bytes` what comes, with the descriptors beside it.
pub(super) fn receive_beside(
    socket: impl AsFd,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut handed = Vec::new();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let pieces = &mut [IoSliceMut::new(bytes)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, pieces, &mut beside, flags)?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            handed.extend(descriptors);
        }
    }
    Ok((received.bytes, handed))
}

/// Sends what `socket` takes of `bytes` without waiting, `descriptor` beside the first of them.
pub(super) fn send_beside(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        let _fits = beside.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, flags)
}

/// Waits for the next order and the descriptor beside it; `None` once the arbiter is gone.
pub(super) fn receive_order(mut control: &UnixStream) -> Option<(Order, Option<OwnedFd>)> {
    loop {
        let mut head = [0; HEAD_BYTES];
        let (bytes, beside) = receive_beside(control, &mut head, RecvFlags::WAITALL).ok()?;
        // A signal may have come in between.
        control.read_exact(&mut head[bytes..]).ok()?;
        let (kind, length) = parse_head(head).ok()?;
        let mut payload = vec![0; length];
        control.read_exact(&mut payload).ok()?;
        // An order of a newer arbiter is passed over.
        if let Some(order) = Order::decode(kind, &payload) {
            return Some((order, beside.into_iter().next()));
        }
    }
}

/// The child's voice. It never waits: an arbiter that is stopped must not stop its workers.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// What the socket did not take yet, whole messages but for the first.
    waiting: Mutex<Vec<u8>>,
}

impl Voice {
    /// Tells the arbiter, as soon as it reads.
    pub(super) fn report(&self, control: &UnixStream, report: &Report) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = report.encode();
        if waiting.len() + bytes.len() <= WAITING_BYTES_MAX {
            waiting.extend(bytes);
        }
        while !waiting.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            // That nobody listens is heard by `receive_order`.
            let Ok(sent) = rustix::net::send(control.as_fd(), &waiting, flags) else { return };
            waiting.drain(..sent);
        }
        waiting.shrink_to(MESSAGE_BYTES_MAX);
    }
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
