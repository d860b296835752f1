//! The servers that are compared, each in processes of its own, on one core.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::Done;
use super::tree::Tree;

/// The one user, and what it signs in with.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// How long a server may take to begin or to answer.
const WAIT: Duration = Duration::from_secs(30);

const SETTINGS: &str = "debug = false\n\
    secret_key = \"0123456789abcdef0123456789abcdef0123456789abcdef01\"\n\
    allowed_hosts = [\"127.0.0.1\"]\n\
    log.level = \"info\"\n\
    database.url = \"sqlite://db.sqlite3\"\n\
    auth.login_redirect_url = \"/plain/\"\n\
    auth.login_attempts = 0\n";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hulse,
    Axum,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hulse => "hulse",
            Self::Axum => "axum",
        })
    }
}

/// A running server. Dropping it kills all of its processes.
pub(crate) struct Server {
    kind: Kind,
    address: String,
    /// The cookie of a visitor who is signed in.
    cookie: String,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts it, waits until it listens, and gives it its rows.
    pub(crate) fn start(kind: Kind) -> Done<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = pinned("1", std::env::current_exe()?.as_os_str());
        match kind {
            Kind::Hulse => {
                let file = folder.path().join("settings.toml");
                std::fs::write(&file, SETTINGS)?;
                command.args(["pulse", "--migrate", "-w", "1", "-b", "127.0.0.1:0"]);
                command.env("HULSE_SETTINGS", file).env_remove("DATABASE_URL");
            }
            Kind::Axum => drop(command.arg("axum")),
        }
        command.current_dir(folder.path());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (said, pipe) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(pipe.try_clone()?).stderr(pipe);
        let child = command.spawn()?;
        drop(command);
        let (tell, told) = mpsc::sync_channel(1);
        // Ends with the last of the server's processes.
        let _reader = std::thread::spawn(move || read(BufReader::new(said), &tell));
        let address = told.recv_timeout(WAIT)?;
        let mut server = Self { kind, address, cookie: String::new(), child, folder };
        let answer = server.get("/prepare/")?;
        let cookies = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        let pairs: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).collect();
        if pairs.is_empty() {
            return Err(format!("preparing: {answer}").into());
        }
        server.cookie = pairs.join("; ");
        Ok(server)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree { group: self.child.id() }
    }

    /// A command that runs where the server does not.
    #[expect(clippy::unused_self, reason = "it is this server's other core")]
    pub(crate) fn on_other_core(&self, program: &str) -> Command {
        pinned("0", program.as_ref())
    }

    /// Kills the worker; how long it takes until the next one has answered.
    pub(crate) fn restart_worker(&self) -> Done<Duration> {
        let worker = self.get("/worker/")?;
        let id = worker.lines().last().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
        let began = Instant::now();
        kill_process(id.ok_or("no worker")?, Signal::KILL)?;
        loop {
            // The first connection may have been accepted by the one that was killed.
            if self.get("/plain/").is_ok_and(|answer| answer.ends_with("Hello World!\n")) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > WAIT {
                return Err("no worker came back".into());
            }
        }
    }

    fn get(&self, path: &str) -> Done<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(WAIT))?;
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// `program` on one core.
fn pinned(core: &str, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads what a server says; tells the address it listens on.
fn read(said: impl BufRead, tell: &mpsc::SyncSender<String>) {
    for line in said.lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on http://") {
            // The one who waits may have given up.
            let _ = tell.try_send(address.trim().trim_end_matches('/').to_owned());
        } else if line.contains("ERROR") || line.contains("WARN") || line.contains("panicked") {
            println!("    {line}");
        }
    }
}
