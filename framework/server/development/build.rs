//! Building the project: a child that runs cargo, and what that says.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::{Say, builder};
use crate::conf::Settings;
use crate::server::Options;
use crate::server::children::{RUNNING, Role};

/// How much of what a failed build says is shown in the browser, bytes: the first errors are the
/// causes of the others.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Whether cargo's words have colours.
const COLOR: &str = "CARGO_TERM_COLOR";

/// How long the last words of a build may take that has ended: what it has left running may hold
/// the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Bytes read at once.
const PIECE_BYTES: usize = 8 * 1024;

/// How the program is built.
#[derive(Clone, Debug)]
pub(super) struct Build {
    words: Vec<OsString>,
    folder: PathBuf,
    program: PathBuf,
    /// What a child of this process is started with, its name first.
    command: Vec<OsString>,
}

impl Build {
    /// As the settings say, else with cargo as `program` was; `None` if there is nothing to build.
    pub(super) fn of(
        folder: &Path,
        settings: &Settings,
        program: &Path,
        options: &Options,
    ) -> Option<Self> {
        let program = program.to_owned();
        let command = options.arguments.iter().take(1).chain(&options.command).cloned().collect();
        let named = &settings.server.build;
        if !named.is_empty() {
            let words = named.iter().map(OsString::from).collect();
            return Some(Self { words, folder: settings.base.clone(), program, command });
        }
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            tracing::warn!("there is no {}: code is not watched", manifest.display());
            return None;
        }
        let words = cargo(&manifest, &program);
        Some(Self { words, folder: folder.to_owned(), program, command })
    }

    /// The file that it makes.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Builds; an error is what the compiler said, without colours. All of it is said as it comes.
    pub(super) async fn run(self, say: &Say) -> Result<(), String> {
        let failed = |error| format!("running {}: {error}", self.words[0].display());
        let mut command = Command::new(RUNNING);
        if let Some((name, words)) = self.command.split_first() {
            command.arg0(name).args(words);
        }
        command.args(["--child", Role::Builder.word()]);
        command.current_dir(&self.folder).kill_on_drop(true).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let is_chosen = ["NO_COLOR", COLOR].iter().any(|name| std::env::var_os(name).is_some());
        if std::io::stderr().is_terminal() && !is_chosen {
            command.env(COLOR, "always");
        }
        let mut child = command.spawn().map_err(failed)?;
        let mut group = Group::of(&child);
        // It stays open as long as this process lives and wants the build.
        let mut line = child.stdin.take();
        if let Some(line) = &mut line {
            line.write_all(&builder::message(&self.words)).await.map_err(failed)?;
        }
        let mut heard = Heard::default();
        let mut stderr = child.stderr.take();
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status.map_err(failed)?,
                true = heard.more(&mut stderr, say) => {}
            }
        };
        let last_words = async { while heard.more(&mut stderr, say).await {} };
        let _more_may_come = timeout(LAST_WORDS, last_words).await;
        drop(line);
        group.leave_alone();
        if !status.success() {
            let said = plain(&String::from_utf8_lossy(&heard.shown));
            return Err(if said.is_empty() { format!("the build ended: {status}") } else { said });
        }
        Ok(())
    }
}

/// What a build has said.
#[derive(Debug, Default)]
struct Heard {
    /// The beginning of it.
    shown: Vec<u8>,
    /// The first bytes of a character.
    half: Vec<u8>,
}

impl Heard {
    /// Reads some more and says it; `false` at its end.
    async fn more(&mut self, stderr: &mut Option<ChildStderr>, say: &Say) -> bool {
        let mut piece = [0; PIECE_BYTES];
        let read = match stderr {
            Some(stderr) => stderr.read(&mut piece).await.unwrap_or(0),
            None => 0,
        };
        let room = SHOWN_BYTES_MAX - self.shown.len();
        self.shown.extend_from_slice(&piece[..read.min(room)]);
        say.words(&self.whole(&piece[..read]));
        if read == 0 {
            *stderr = None;
        }
        read > 0
    }

    /// These and what was left before, up to the last whole character.
    fn whole(&mut self, bytes: &[u8]) -> String {
        self.half.extend_from_slice(bytes);
        let end = match std::str::from_utf8(&self.half) {
            // Only the last character can lack its end.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.half.len(),
        };
        let words: Vec<u8> = self.half.drain(..end).collect();
        String::from_utf8_lossy(&words).into_owned()
    }
}

/// All processes of a build: the builder, cargo, compilers, build scripts. Dropping it ends them.
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
