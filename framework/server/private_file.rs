//! Files whose names two processes may want at once: sockets, and the file of a process id.
//!
//! Invariants:
//! - Who looks whether a name is free and takes it holds the folder's lock meanwhile, so that two
//!   that start at once do not take away what the other has just made.
//! - Only a file that is known to be one's own is removed: by device and inode, not by name.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How long another may hold a folder. Whoever does so for longer is up to something else: what is
/// kept apart here takes milliseconds.
const WAIT: Duration = Duration::from_secs(2);

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Which file a name stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file at `path` itself, be it a link.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::symlink_metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }

    /// Removes the file at `path` if it is this one.
    pub(super) fn remove(self, path: &Path) {
        let _folder = lock(path);
        if Self::of(path) == Some(self) {
            // Gone already is as good.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Holds the folder of `path` until it is dropped; `None` where that cannot be had: a folder that
/// may not be read, or somebody else's lock.
pub(super) fn lock(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    let begun = Instant::now();
    while flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        if begun.elapsed() > WAIT {
            return None;
        }
        thread::sleep(PAUSE);
    }
    Some(folder)
}
