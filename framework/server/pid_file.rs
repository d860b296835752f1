//! The file that says which process the arbiter is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use crate::error::{Error, Kind, Result};

/// The file; dropping this removes it.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes this process's id to `path`, unless a living process has.
    pub(super) fn write(path: &Path) -> Result<Self> {
        let shown = path.display();
        if let Some(pid) = living(path) {
            let words = format!("{shown} says that process {pid} runs already");
            return Err(Error::of(Kind::Server, words));
        }
        Self::overwrite(path)
    }

    /// Writes this process's id to `path`, whoever has been there.
    pub(super) fn overwrite(path: &Path) -> Result<Self> {
        let shown = path.display();
        let failed = |error| Error::because(Kind::Server, format!("writing {shown}"), error);
        let options = OpenOptions::new().write(true).create(true).truncate(true).clone();
        let mut file = options.open(path).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(path.to_owned()))
    }
}

/// The process the file names, if it lives and is another one.
fn living(path: &Path) -> Option<i32> {
    let raw: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let pid = Pid::from_raw(raw)?;
    (test_kill_process(pid).is_ok() && pid != rustix::process::getpid()).then_some(raw)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A successor has written its own.
        let written = fs::read_to_string(&self.0).unwrap_or_default();
        if written.trim() == std::process::id().to_string() {
            drop(fs::remove_file(&self.0));
        }
    }
}
