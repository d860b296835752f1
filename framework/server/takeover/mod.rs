//! WebSockets that go on in another worker: the line between the old one and the new one.
//!
//! Flow: the arbiter gives each an end of a socketpair → the old one offers a connection, its
//! descriptor beside it ([`Line`]) → the new one makes ready to go on with it and says so
//! ([`Reception`]) → the old one says that it may → the new one says that it has taken it, and goes
//! on → the old one lets go.
//!
//! A message is a kind byte, a length (u32, little endian) and that many bytes, the first eight of
//! which are the connection's number. One connection a message: what is wrong with one costs that
//! one, and the kernel's buffer bounds how many descriptors are on their way.
//!
//! Invariants:
//! - Neither waits for ever for the other: one that dies, hangs or speaks differently before it has
//!   said "taken" has taken nothing, and what it did not take is the old one's. Whether it could
//!   say so is the kernel's to decide, and for both the same: who hangs up first ends the line to
//!   that side, and what was said before can still be read.
//! - The end of the line is never a "yes".

mod line;
mod reception;
#[cfg(test)]
mod tests;

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::UnixStream;

pub(super) use line::Line;
pub(super) use reception::Reception;

use crate::server::control::{receive_beside, send_beside};
use crate::sockets::PARCEL_BYTES_MAX;

const HEAD_BYTES: usize = 5;
const NUMBER_BYTES: usize = 8;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Old: here is one, with its parcel.
    Offer,
    /// New: it could go on with it.
    Ready,
    /// New: it cannot.
    No,
    /// Old: it is yours, if you take it.
    Go,
    /// New: it is mine.
    Taken,
    /// Old: it stays.
    Stay,
}

/// A message.
#[derive(Debug)]
struct Said {
    /// `None`: one of a newer build, to be passed over.
    word: Option<Word>,
    number: u64,
    payload: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Word {
    fn byte(self) -> u8 {
        match self {
            Self::Offer => b'O',
            Self::Ready => b'R',
            Self::No => b'N',
            Self::Go => b'G',
            Self::Taken => b'T',
            Self::Stay => b'S',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Offer, Self::Ready, Self::No, Self::Go, Self::Taken, Self::Stay]
            .into_iter()
            .find(|word| word.byte() == byte)
    }
}

/// An end of the line on this worker's runtime.
fn end_of_line(descriptor: OwnedFd) -> Result<UnixStream> {
    let end = Pair::from(descriptor);
    end.set_nonblocking(true)?;
    UnixStream::from_std(end)
}

fn message(word: Word, number: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(NUMBER_BYTES + payload.len()).expect("bounded by PARCEL_BYTES_MAX");
    let mut bytes = vec![word.byte()];
    bytes.extend(length.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// Sends a whole message, `descriptor` beside it.
async fn send(line: &UnixStream, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let beside = descriptor.filter(|_| left.len() == bytes.len());
        let step = || send_beside(line.as_fd(), left, beside).map_err(Error::from);
        let sent = line.async_io(Interest::WRITABLE, step).await?;
        left = &left[sent..];
    }
    Ok(())
}

/// Fills `bytes`; `None` if the line ends before.
async fn fill(line: &UnixStream, bytes: &mut [u8]) -> Result<Option<Vec<OwnedFd>>> {
    let (mut there, mut handed) = (0, Vec::new());
    while there < bytes.len() {
        let (received, beside) = line
            .async_io(Interest::READABLE, || {
                let flags = RecvFlags::empty();
                receive_beside(line.as_fd(), &mut bytes[there..], flags).map_err(Error::from)
            })
            .await?;
        if received == 0 {
            return Ok(None);
        }
        there += received;
        handed.extend(beside);
    }
    Ok(Some(handed))
}

/// The next message; `None` at the end of the line.
async fn receive(line: &UnixStream) -> Result<Option<Said>> {
    let mut head = [0; HEAD_BYTES];
    let Some(mut handed) = fill(line, &mut head).await? else { return Ok(None) };
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(NUMBER_BYTES..=NUMBER_BYTES + PARCEL_BYTES_MAX).contains(&length) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    let Some(more) = fill(line, &mut payload).await? else { return Ok(None) };
    handed.extend(more);
    let (number, _) = payload.split_first_chunk().expect("as long as that at least");
    let number = u64::from_le_bytes(*number);
    payload.drain(..NUMBER_BYTES);
    let descriptor = handed.into_iter().next();
    Ok(Some(Said { word: Word::of(kind), number, payload, descriptor }))
}
