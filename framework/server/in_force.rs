//! The settings a release runs with, in a sealed file in memory that its children are handed: what
//! has become of the settings' files meanwhile is of no matter to a worker that is replaced.
//!
//! Invariant: secrets are in it. It is on no disk, in no command line and in no environment; only
//! who holds the descriptor can read it, and nobody can change it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::conf::{Sections, Settings, thaw};
use crate::error::{Error, Kind, Result};

/// Longest settings, bytes: of several files and the environment.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Settings in force. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct InForce(Arc<File>);

impl InForce {
    /// Those of `settings`; at the keys `held` they are those of `before`.
    pub(super) fn new(settings: &Settings, before: &Settings, held: &[&str]) -> Result<Self> {
        let bytes = settings.freeze(before, held)?;
        let failed = |error| Error::because(Kind::Server, "keeping the settings in force", error);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("settings", flags).map_err(|e| failed(e.into()))?);
        file.write_all(&bytes).map_err(failed)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals).map_err(|e| failed(e.into()))?;
        Ok(Self(Arc::new(file)))
    }

    /// Those that were handed down as `fd`.
    pub(super) fn read(fd: OwnedFd, sections: &Sections) -> Result<Settings> {
        let file = File::from(fd);
        let length = file.metadata()?.len();
        if length > BYTES_MAX {
            return Err(Error::of(Kind::Server, "the settings in force are too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        // All who hold it share its place in it.
        file.read_exact_at(&mut bytes, 0)?;
        thaw(&bytes, sections)
    }
}

impl AsFd for InForce {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
