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
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::MemfdFlags;

use crate::error::Result;

/// The number of a place without a worker.
const ABSENT: u32 = u32::MAX;

/// Bytes of a number.
const NUMBER_BYTES: usize = 4;

/// The shared numbers.
#[derive(Debug)]
pub(super) struct Board {
    file: File,
}

impl Board {
    /// For workers 1 to `workers`, none of which is there.
    pub(super) fn new(workers: usize) -> Result<Self> {
        let file = File::from(rustix::fs::memfd_create("workers", MemfdFlags::CLOEXEC)?);
        file.write_all_at(&vec![0xff; workers * NUMBER_BYTES], 0)?;
        Ok(Self { file })
    }

    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// The worker is not there any more.
    pub(super) fn leave(&self, worker: usize) {
        self.write(worker, ABSENT);
    }

    fn write(&self, worker: usize, number: u32) {
        let offset = worker.saturating_sub(1) * NUMBER_BYTES;
        // Memory does not fail; and if it did, connections would be spread less evenly.
        let _uneven = self.file.write_all_at(&number.to_le_bytes(), offset as u64);
    }

    /// The least any worker holds; 0 if that cannot be told.
    fn least(&self, numbers: &mut [u8]) -> u32 {
        let read = self.file.read_at(numbers, 0).unwrap_or(0);
        let (numbers, _) = numbers[..read].as_chunks::<NUMBER_BYTES>();
        let present = numbers.iter().map(|n| u32::from_le_bytes(*n)).filter(|n| *n != ABSENT);
        present.min().unwrap_or(0)
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
    worker: usize,
    workers: usize,
    held: AtomicU32,
}

/// One connection, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted(Share);

impl Share {
    pub(super) fn new(board: Board, worker: usize, workers: usize) -> Self {
        board.write(worker, 0);
        Self(Arc::new(Part { board, worker, workers, held: AtomicU32::new(0) }))
    }

    pub(super) fn count(&self) -> Counted {
        let before = self.0.held.fetch_add(1, Ordering::Relaxed);
        self.0.board.write(self.0.worker, before + 1);
        Counted(self.clone())
    }

    /// Whether some worker holds fewer connections than this one.
    pub(super) fn is_ahead(&self) -> bool {
        let held = self.0.held.load(Ordering::Relaxed);
        held > 0 && held > self.0.board.least(&mut vec![0; self.0.workers * NUMBER_BYTES])
    }

    /// Leaves the board: this worker takes no more.
    pub(super) fn leave(&self) {
        self.0.board.leave(self.0.worker);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let part = &self.0.0;
        let before = part.held.fetch_sub(1, Ordering::Relaxed);
        part.board.write(part.worker, before.saturating_sub(1));
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
        let shared = Board::new(3).unwrap();
        let one = Share::new(board(&shared), 1, 3);
        let first = one.count();
        assert!(!one.is_ahead(), "the others are not there");
        let two = Share::new(board(&shared), 2, 3);
        assert!(one.is_ahead() && !two.is_ahead());
        let _second = two.count();
        assert!(!one.is_ahead() && !two.is_ahead());
        drop(first);
        assert!(two.is_ahead());
        shared.leave(1);
        assert!(!two.is_ahead());
    }
}
