//! The process in which a build runs: this program again, at the head of a process group with all
//! that the build starts.
//!
//! Flow: [`message`] → the child's stdin → [`build_for_arbiter`] starts the build, whose words go
//! to stderr, and ends as it does.
//!
//! Invariant: the arbiter holds the other end of stdin, so its end, however it comes, is the end of
//! the build.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Read, Result, Stdin, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group};

use crate::error;

/// Longest command, bytes.
const WORDS_BYTES_MAX: u32 = 1024 * 1024;

/// What `cargo run` says to the program it starts, and must not say to another cargo: build scripts
/// that ask for these would run again each time, and all that rests on them.
const CARGO_VARIABLES: [&str; 21] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_RUSTC_CURRENT_DIR",
];

/// Where the linker looks; cargo and rustup put folders of their own in front of it.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Tells the child which command to run: how many bytes, and its words, each with a zero behind it.
pub(super) fn message(words: &[OsString]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &bytes].concat()
}

/// Runs the build that stdin names, and is over with it or with the process at its other end.
///
/// # Errors
/// The build fails; why was said.
pub(in crate::server) fn build_for_arbiter() -> error::Result<()> {
    let mut stdin = std::io::stdin();
    if getpgrp() != getpid() {
        return Err(error::Error::usage("this process is started by pulse, not by hand"));
    }
    let words = read(&mut stdin)?;
    thread::Builder::new().name("arbiter".into()).spawn(move || follow(stdin))?;
    let (name, rest) = words.split_first().ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
    let mut command = Command::new(name);
    command.args(rest).stdin(Stdio::null());
    for name in CARGO_VARIABLES {
        command.env_remove(name);
    }
    if let Some(folders) = std::env::var_os(LIBRARIES) {
        match others(&folders, &std::env::current_exe()?) {
            Some(folders) => command.env(LIBRARIES, folders),
            None => command.env_remove(LIBRARIES),
        };
    }
    let failed = match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => {
            let words = format!("running {}: {error}", name.display());
            // The arbiter may be gone.
            drop(writeln!(std::io::stderr(), "{words}"));
            words
        }
    };
    Err(error::Error::of(error::Kind::Server, failed))
}

fn read(stdin: &mut Stdin) -> Result<Vec<OsString>> {
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > WORDS_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(Error::other)?];
    stdin.read_exact(&mut bytes)?;
    let mut words: Vec<_> = bytes.split(|byte| *byte == 0).collect();
    words.pop();
    Ok(words.into_iter().map(|word| OsString::from_vec(word.to_vec())).collect())
}

/// Ends the whole group, this process too, when the arbiter has ended.
fn follow(mut stdin: Stdin) {
    // Nothing more is said.
    while matches!(stdin.read(&mut [0; 64]), Ok(1..)) {}
    // It fails for no group of one's own.
    let _ = kill_current_process_group(Signal::TERM);
}

/// Those of the folders that neither cargo nor rustup has put there for `program`: build scripts
/// that ask for them would run again each time. `None` if there are no others.
pub(super) fn others(folders: &OsStr, program: &Path) -> Option<OsString> {
    let built = program.parent();
    let is_theirs = |folder: &Path| {
        built.is_some_and(|built| folder.starts_with(built))
            || folder.iter().any(|part| part == "rustlib" || part == "toolchains")
    };
    let others: Vec<_> =
        std::env::split_paths(folders).filter(|folder| !is_theirs(folder)).collect();
    if others.is_empty() { None } else { std::env::join_paths(others).ok() }
}
