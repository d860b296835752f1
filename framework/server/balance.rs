//! Connections spread evenly: the kernel wakes all workers for each, and mostly the same one
//! comes first.
//!
//! Flow: all workers share one small file in memory with a number each, the connections it holds. A
//! worker that holds more than another lets a moment pass before it accepts; if nobody else came,
//! the others are busy, and it takes what is there.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::fs::MemfdFlags;

use crate::error::Result;

/// The number of a seat nobody has: what a file that grows is filled with. A worker's is one more
/// than the connections it holds.
const ABSENT: u32 = 0;

/// Seats on a board: the workers there may be, and as many that are being replaced.
pub(super) const SEATS_MAX: usize = 2048;

/// Bytes of a number.
const NUMBER_BYTES: usize = 4;

/// The shared numbers.
#[derive(Debug)]
pub(super) struct Board {
    file: File,
}

impl Board {
    /// With all seats empty. It grows with the highest seat that is taken.
    pub(super) fn new() -> Result<Self> {
        let file = File::from(rustix::fs::memfd_create("workers", MemfdFlags::CLOEXEC)?);
        Ok(Self { file })
    }

    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// Nobody has this seat, for now.
    pub(super) fn leave(&self, seat: usize) {
        self.write(seat, ABSENT);
    }

    fn write(&self, seat: usize, number: u32) {
        // Who serves no visitor has none.
        let Some(before) = seat.checked_sub(1) else { return };
        let offset = before.min(SEATS_MAX - 1) * NUMBER_BYTES;
        // Memory does not fail; and if it did, connections would be spread less evenly.
        let _uneven = self.file.write_all_at(&number.to_le_bytes(), offset as u64);
    }

    /// The least any worker holds, if that can be told.
    fn least(&self, numbers: &mut [u8]) -> Option<u32> {
        let read = self.file.read_at(numbers, 0).unwrap_or(0);
        let (numbers, _) = numbers[..read].as_chunks::<NUMBER_BYTES>();
        let present = numbers.iter().map(|n| u32::from_le_bytes(*n)).filter(|n| *n != ABSENT);
        present.min().map(|least| least - 1)
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A worker's own part of it. A clone is the same part.
#[derive(Clone, Debug)]
pub(super) struct Share(Arc<Part>);

#[derive(Debug)]
struct Part {
    board: Board,
    seat: usize,
    held: AtomicU32,
    /// It takes no more, whatever it still holds.
    has_left: AtomicBool,
    requests: AtomicU64,
}

/// One connection, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted(Share);

impl Share {
    /// The part of who has this seat.
    pub(super) fn new(board: Board, seat: usize) -> Self {
        board.write(seat, 1);
        let (held, has_left, requests) = Default::default();
        Self(Arc::new(Part { board, seat, held, has_left, requests }))
    }

    pub(super) fn count(&self) -> Counted {
        let before = self.0.held.fetch_add(1, Ordering::Relaxed);
        self.0.show(before + 1);
        Counted(self.clone())
    }

    /// Counts a request.
    pub(super) fn count_request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Connections held.
    pub(super) fn held(&self) -> u32 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether some worker holds fewer connections than this one.
    pub(super) fn is_ahead(&self) -> bool {
        let held = self.held();
        let least = || self.0.board.least(&mut vec![0; SEATS_MAX * NUMBER_BYTES]);
        held > 0 && least().is_some_and(|least| held > least)
    }

    /// Leaves the board: this worker takes no more.
    pub(super) fn leave(&self) {
        self.0.has_left.store(true, Ordering::Relaxed);
        self.0.board.leave(self.0.seat);
    }
}

impl Part {
    fn show(&self, held: u32) {
        if !self.has_left.load(Ordering::Relaxed) {
            self.board.write(self.seat, held.saturating_add(1));
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let part = &self.0.0;
        let before = part.held.fetch_sub(1, Ordering::Relaxed);
        part.show(before.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(original: &Board) -> Board {
        Board::from_fd(original.as_fd().try_clone_to_owned().unwrap())
    }

    #[test]
    fn the_one_that_holds_more_than_another_is_ahead() {
        let shared = Board::new().unwrap();
        shared.leave(3);
        let one = Share::new(board(&shared), 1);
        let first = one.count();
        assert!(!one.is_ahead(), "the others are not there");
        let two = Share::new(board(&shared), 2);
        assert!(one.is_ahead() && !two.is_ahead());
        let _second = two.count();
        assert!(!one.is_ahead() && !two.is_ahead());
        drop(first);
        assert!(two.is_ahead());
        shared.leave(1);
        assert!(!two.is_ahead());
    }

    #[test]
    fn who_has_left_counts_no_more_while_his_connections_end() {
        let shared = Board::new().unwrap();
        let (old, new) = (Share::new(board(&shared), 1), Share::new(board(&shared), 2));
        let held = [old.count(), old.count()];
        old.leave();
        drop(held);
        let _first = new.count();
        assert!(!new.is_ahead(), "it would leave its visitors to one who takes none");
    }

    #[test]
    fn a_seat_nobody_ever_took_is_nobody() {
        let shared = Board::new().unwrap();
        shared.leave(0);
        let (two, five) = (Share::new(board(&shared), 2), Share::new(board(&shared), 5));
        let _held = (two.count(), five.count());
        assert!(!two.is_ahead() && !five.is_ahead());
    }
}
