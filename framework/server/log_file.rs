//! A file the log goes to, which can be moved away while it is written to.
//!
//! Flow: `logrotate` renames the file → USR1 to the arbiter → each process opens the path anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::{Error, Kind, Result};

/// Of this process, as its log is.
static OF_PROCESS: OnceLock<LogFile> = OnceLock::new();

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// Held for one write.
    file: Mutex<File>,
}

/// Opens the file of this process; the first call counts.
pub(super) fn start(path: &Path) -> Result<()> {
    if OF_PROCESS.get().is_some() {
        return Ok(());
    }
    let file = open(path).map_err(|error| {
        Error::because(Kind::Settings, format!("opening log.file {}", path.display()), error)
    })?;
    let path = std::path::absolute(path)?;
    OF_PROCESS.get_or_init(|| LogFile { path, file: Mutex::new(file) });
    Ok(())
}

/// The file of this process, if it has one.
pub(super) fn of_process() -> Option<&'static LogFile> {
    OF_PROCESS.get()
}

/// Opens the path anew, if this process has a file. If that fails the old file is written on.
pub(super) fn reopen() {
    let Some(log) = OF_PROCESS.get() else { return };
    match open(&log.path) {
        Ok(file) => *log.file.lock().unwrap_or_else(PoisonError::into_inner) = file,
        Err(error) => tracing::error!(%error, "cannot open the log file anew"),
    }
}

/// Where it is, if this process has one.
pub(super) fn path() -> Option<&'static Path> {
    OF_PROCESS.get().map(|log| log.path.as_path())
}

fn open(path: &Path) -> io::Result<File> {
    // Appended to: several processes write to it.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

impl LogFile {
    /// Appends a whole line. There is nobody to tell that a disk is full.
    pub(super) fn line(&self, line: &[u8]) {
        let _full = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line);
    }
}
