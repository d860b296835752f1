//! The file that says which process the arbiter is.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use crate::error::{Error, Kind, Result};
use crate::server::private_file::{Identity, lock};

/// The file; dropping this removes it.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// A successor has put its own in the place of this one.
    identity: Option<Identity>,
    /// As long as it is open no other file has its inode.
    _open: File,
}

impl PidFile {
    /// As [`write`](Self::write), if there is to be a file; a successor writes it later.
    pub(super) fn begin(path: Option<&Path>, is_successor: bool) -> Result<Option<Self>> {
        path.filter(|_| !is_successor).map(Self::write).transpose()
    }

    /// Writes this process's id to `path`, unless a living process has.
    fn write(path: &Path) -> Result<Self> {
        let _folder = lock(path);
        if let Some(pid) = living(path) {
            let words = format!("{} says that process {pid} runs already", path.display());
            return Err(Error::of(Kind::Server, words));
        }
        Self::replace(path)
    }

    /// Writes this process's id to `path`, whoever has been there.
    pub(super) fn overwrite(path: &Path) -> Result<Self> {
        let _folder = lock(path);
        Self::replace(path)
    }

    /// As a new file, put in the place of what is there: a link is replaced and not followed, and
    /// who reads the file never finds half of it.
    fn replace(path: &Path) -> Result<Self> {
        let doing = format!("writing {}", path.display());
        let failed = |error| Error::because(Kind::Server, doing.clone(), error);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o644).clone();
        let mut file = match options.open(&new) {
            // Of a dead process that had this one's id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&new).map_err(&failed)?;
                options.open(&new).map_err(&failed)?
            }
            opened => opened.map_err(&failed)?,
        };
        let written = writeln!(file, "{}", std::process::id());
        let placed = written.and_then(|()| fs::rename(&new, path));
        placed.inspect_err(|_| drop(fs::remove_file(&new))).map_err(failed)?;
        Ok(Self { path: path.to_owned(), identity: Identity::of(path), _open: file })
    }
}

/// The process the file names, if it lives and is another one.
fn living(path: &Path) -> Option<i32> {
    let raw: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let pid = Pid::from_raw(raw)?;
    (pid != getpid() && is_there(test_kill_process(pid))).then_some(raw)
}

/// A process one may not send signals to is there all the same.
fn is_there(answer: rustix::io::Result<()>) -> bool {
    matches!(answer, Ok(()) | Err(Errno::PERM))
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(identity) = self.identity {
            identity.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_somebody_else_lives() {
        assert!(is_there(Ok(())) && is_there(Err(Errno::PERM)));
        assert!(!is_there(Err(Errno::SRCH)));
    }
}
