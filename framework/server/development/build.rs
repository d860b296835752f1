//! Building the project: cargo as a child, and what it says.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::Say;
use crate::conf::Settings;

/// How much of what a failed build says is shown in the browser, bytes: the first errors are the
/// causes of the others.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at once.
const PIECE_BYTES: usize = 8 * 1024;

/// What `cargo run` says to the program it starts, and must not say to another cargo: build scripts
/// that ask for these would run again each time, and all that rests on them.
const CARGO_VARIABLES: [&str; 22] = [
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
    "LD_LIBRARY_PATH",
];

/// How the program is built.
#[derive(Clone, Debug)]
pub(super) struct Build {
    words: Vec<OsString>,
    folder: PathBuf,
    program: PathBuf,
}

impl Build {
    /// As the settings say, else with cargo as `program` was; `None` if there is nothing to build.
    pub(super) fn of(folder: &Path, settings: &Settings, program: &Path) -> Option<Self> {
        let program = program.to_owned();
        let named = &settings.server.build;
        if !named.is_empty() {
            let words = named.iter().map(OsString::from).collect();
            return Some(Self { words, folder: settings.base.clone(), program });
        }
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            tracing::warn!("there is no {}: code is not watched", manifest.display());
            return None;
        }
        let words = cargo(&manifest, &program);
        Some(Self { words, folder: folder.to_owned(), program })
    }

    /// The file that it makes.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Builds; an error is what the compiler said, without colours. All of it is said as it comes.
    pub(super) async fn run(self, say: &Say) -> Result<(), String> {
        let (name, words) = self.words.split_first().ok_or("there is nothing to run")?;
        let mut command = Command::new(name);
        command.args(words).current_dir(&self.folder).kill_on_drop(true).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in CARGO_VARIABLES {
            command.env_remove(name);
        }
        if std::io::stderr().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let failed = |error| format!("running {}: {error}", name.display());
        let mut child = command.spawn().map_err(failed)?;
        let mut group = Group::of(&child);
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            let mut piece = vec![0; PIECE_BYTES];
            while let Ok(read @ 1..) = stderr.read(&mut piece).await {
                say.words(&String::from_utf8_lossy(&piece[..read]));
                let room = SHOWN_BYTES_MAX - said.len();
                said.extend_from_slice(&piece[..read.min(room)]);
            }
        }
        let status = child.wait().await.map_err(failed)?;
        group.leave_alone();
        if !status.success() {
            let said = plain(&String::from_utf8_lossy(&said));
            return Err(if said.is_empty() { format!("the build ended: {status}") } else { said });
        }
        Ok(())
    }
}

/// All processes of a build: cargo, compilers, build scripts. Dropping it ends them.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The build is over: what it has left running (a compiler's cache) may stay.
    fn leave_alone(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only if all of them have ended.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

/// `cargo build` of the program's package, in the profile it was built in: the folder it lies in is
/// named for that.
pub(super) fn cargo(manifest: &Path, program: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        ["cargo", "build", "-q", "--manifest-path"].map(Into::into).into();
    words.push(manifest.into());
    if let Some(name) = program.file_stem() {
        words.extend(["--bin".into(), name.to_owned()]);
    }
    let folder = program.parent().and_then(Path::file_name);
    let profile = folder.and_then(|name| name.to_str()).unwrap_or("debug");
    if !profile.is_empty() && profile != "debug" {
        words.extend(["--profile".into(), profile.into()]);
    }
    words
}

/// Without what colours it in a terminal: `ESC [ .. m`, and links, `ESC ] .. ESC \`.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = match rest.as_bytes().first() {
            Some(b'[') => rest[1..].find(|c: char| ('@'..='~').contains(&c)).map(|end| end + 2),
            Some(b']') => rest.find("\x1b\\").map(|end| end + 2),
            _ => Some(0),
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    plain.push_str(rest);
    plain.trim().to_owned()
}
