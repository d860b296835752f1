//! A real `pulse` of a site, an example or the testsite: started for one test, gone with it.
//!
//! Flow: [`Pulse::start`] builds the examples if they are stale → runs one with a folder of its own
//! for settings, database and sockets → reads from its first line where it listens.
//!
//! Invariants:
//! - Two of them share nothing: port, database and runtime folder are each one's own.
//! - Whatever a test does, none of its processes outlives it: they form one process group.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait for a line, an end, a beginning.
const WAIT: Duration = Duration::from_secs(60);

/// Which site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// The example with one room for everybody.
    #[default]
    Djchat,
    /// The example whose pages show what is saved.
    Liveblog,
    /// The example where everybody moves a marker.
    Markers,
    /// The example with many rooms over one socket.
    Multichat,
    /// `src/bin/testsite.rs`: slow views, views that hang, views that write.
    Testsite,
}

/// What a started site has besides its command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Which site it is.
    pub program: Program,
    /// `DATABASE_URL`; without one a SQLite file in its folder.
    pub database: Option<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
}

/// A running `djchat pulse`. Dropping it kills all of its processes.
#[derive(Debug)]
pub struct Pulse {
    arbiter: Child,
    group: Pid,
    address: String,
    /// What it says on stdout and stderr, as it comes. Ends with the last of its processes.
    log: watch::Receiver<String>,
    readers: [JoinHandle<()>; 2],
    folder: TempDir,
    surroundings: Surroundings,
}

impl Program {
    /// The example's name; `None` for what is no example.
    fn example(self) -> Option<&'static str> {
        match self {
            Self::Djchat => Some("djchat"),
            Self::Liveblog => Some("liveblog"),
            Self::Markers => Some("markers"),
            Self::Multichat => Some("multichat"),
            Self::Testsite => None,
        }
    }
}

impl Pulse {
    /// `djchat pulse --migrate -b 127.0.0.1:0` with `arguments`, listening.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_in(Surroundings::default(), arguments).await
    }

    /// The same of the testsite.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn start_testsite(arguments: &[&str]) -> Self {
        Self::start_program(Program::Testsite, arguments).await
    }

    /// The same of another site.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn start_program(program: Program, arguments: &[&str]) -> Self {
        Self::start_in(Surroundings { program, ..Surroundings::default() }, arguments).await
    }

    /// The same with other surroundings.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn start_in(surroundings: Surroundings, arguments: &[&str]) -> Self {
        let folder = site_folder_of(surroundings.program);
        let mut command = site_command(folder.path(), &surroundings);
        command.args(["pulse", "--migrate", "-b", "127.0.0.1:0"]).args(arguments);
        Self::launch(command, folder, surroundings, "listening on http").await
    }

    /// The testsite's `runserver` on a free port, with settings and files of the test's own.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn start_runserver(folder: TempDir, arguments: &[&str]) -> Self {
        let program = Program::Testsite;
        let surroundings = Surroundings { program, ..Surroundings::default() };
        let mut command = site_command(folder.path(), &surroundings);
        command.args(["runserver", "0"]).args(arguments);
        Self::launch(command, folder, surroundings, "development server at http").await
    }

    /// Any command that serves a site, once it has said where, in a line with `words`.
    /// `surroundings` are for the commands after it.
    ///
    /// # Panics
    /// It ends or says nothing instead.
    pub async fn launch(
        mut command: Command,
        folder: TempDir,
        surroundings: Surroundings,
        words: &str,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut arbiter = command.process_group(0).spawn().expect("djchat starts");
        let group = pid_of(arbiter.id().expect("it has not been waited for"));
        let (said, log) = watch::channel(String::new());
        let stdout = arbiter.stdout.take().expect("its stdout is piped");
        let stderr = arbiter.stderr.take().expect("its stderr is piped");
        let readers = [
            tokio::spawn(keep(BufReader::new(stdout), said.clone())),
            tokio::spawn(keep(BufReader::new(stderr), said)),
        ];
        let mut pulse =
            Self { arbiter, group, address: String::new(), log, readers, folder, surroundings };
        let line = pulse.said(words).await;
        let address = line.rsplit("://").next().expect("an address after it");
        pulse.address = address.trim().trim_end_matches('/').to_owned();
        pulse
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The page at `path` (`/accounts/login/`).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The folder of its settings, database and sockets.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The arbiter's process.
    #[must_use]
    pub fn arbiter(&self) -> Pid {
        self.group
    }

    /// The worker processes there are now.
    #[must_use]
    pub fn workers(&self) -> Vec<Pid> {
        self.children("worker")
    }

    /// The store's process, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<Pid> {
        self.children("store").first().copied()
    }

    /// The arbiter's children whose command line says `--child ROLE`.
    fn children(&self, role: &str) -> Vec<Pid> {
        let arbiter = self.group.as_raw_nonzero();
        let list = format!("/proc/{arbiter}/task/{arbiter}/children");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        let is_of_role = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
            words.windows(2).any(|two| two[0] == b"--child" && two[1] == role.as_bytes())
        };
        let ids = list.split_whitespace().filter_map(|id| id.parse().ok());
        ids.filter(is_of_role).map(pid_of).collect()
    }

    /// The worker that holds the connection whose client has this local port.
    ///
    /// Nothing in an answer tells it; the kernel does.
    #[must_use]
    pub fn worker_of(&self, client_port: u16) -> Option<Pid> {
        let found = self.connections().into_iter().find(|&(_, port)| port == client_port);
        found.map(|(worker, _)| worker)
    }

    /// Every connection of the workers: whose, and the client's port.
    ///
    /// # Panics
    /// `/proc` cannot be read.
    #[must_use]
    pub fn connections(&self) -> Vec<(Pid, u16)> {
        let own = self.address.rsplit(':').next().and_then(|port| port.parse().ok());
        let own: u16 = own.expect("an address with a port");
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        let by_inode: HashMap<String, u16> =
            table.lines().filter_map(|line| established(line, own)).collect();
        let mut connections = Vec::new();
        for worker in self.workers() {
            let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", worker.as_raw_nonzero()))
            else {
                continue;
            };
            for file in files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok()) {
                if let Some(&port) = file.to_str().and_then(|name| by_inode.get(name)) {
                    connections.push((worker, port));
                }
            }
        }
        connections
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits for a line that contains `words`, also one said already.
    ///
    /// # Panics
    /// It does not come.
    pub async fn said(&mut self, words: &str) -> String {
        self.said_after(0, words).await
    }

    /// Waits for a line that contains `words` beyond the first `seen` bytes of [`log`](Self::log).
    ///
    /// # Panics
    /// It does not come.
    pub async fn said_after(&mut self, seen: usize, words: &str) -> String {
        let line = |log: &str| log[seen..].lines().find(|l| l.contains(words)).map(str::to_owned);
        if let Ok(Ok(log)) = timeout(WAIT, self.log.wait_for(|log| line(log).is_some())).await {
            return line(&log).expect("it was just found");
        }
        panic!("djchat never said {words:?}:\n{}", self.log())
    }

    /// Sends a signal to the arbiter.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.group, signal).expect("the arbiter is there");
    }

    /// Waits until the arbiter has ended.
    ///
    /// # Panics
    /// It does not.
    pub async fn ended(&mut self) -> ExitStatus {
        match timeout(WAIT, self.arbiter.wait()).await {
            Ok(status) => status.expect("it is ours to wait for"),
            Err(_) => panic!("djchat does not end:\n{}", self.log()),
        }
    }

    /// Waits until the last of its processes has ended, also of those the arbiter left behind, and
    /// says how long that took.
    ///
    /// # Panics
    /// One lives on.
    pub async fn all_ended(&mut self) -> Duration {
        let begun = Instant::now();
        // Each holds an end of the pipes its words come through.
        let closed = async { while self.log.changed().await.is_ok() {} };
        if timeout(WAIT, closed).await.is_err() {
            panic!("some process of it lives on:\n{}", self.log())
        }
        begun.elapsed()
    }

    /// Waits until its port is free. A process that ends closes its pipes first and its sockets a
    /// moment later.
    ///
    /// # Panics
    /// The port stays taken.
    pub async fn leaves_its_port(&self) {
        let address = self.address().to_owned();
        let mut look = tokio::time::interval(Duration::from_millis(2));
        let freed = async {
            while std::net::TcpListener::bind(&address).is_err() {
                look.tick().await;
            }
        };
        timeout(WAIT, freed).await.expect("the port is free");
    }

    /// SIGTERM, then the exit code.
    ///
    /// # Panics
    /// It does not end, or by a signal.
    pub async fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
    }

    /// Runs another command of the same site (`createsuperuser`) to its end.
    ///
    /// # Panics
    /// It fails.
    pub async fn manage(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.try_manage(arguments, environment).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{complained}");
        said
    }
}

impl Pulse {
    /// The same, whatever comes of it.
    ///
    /// # Panics
    /// It does not end.
    pub async fn try_manage(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = site_command(self.folder.path(), &self.surroundings);
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
        timeout(WAIT, command.output()).await.expect("in time").expect("it starts")
    }

    /// `ctl status --json`.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn status(&self) -> serde_json::Value {
        let said = self.manage(&["ctl", "status", "--json"], &[]).await;
        serde_json::from_str(&said).expect("a line of JSON")
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // Fails only if all of them have ended.
        let _ = kill_process_group(self.group, Signal::KILL);
        for reader in &self.readers {
            reader.abort();
        }
    }
}

/// Of a line of `/proc/net/tcp`: the socket's name and the peer's port, if it is an established
/// connection to the port `own`.
fn established(line: &str, own: u16) -> Option<(String, u16)> {
    const ESTABLISHED: &str = "01";
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
    let is_ours = *words.get(3)? == ESTABLISHED && port(words[1])? == own;
    is_ours.then(|| Some((format!("socket:[{}]", words.get(9)?), port(words[2])?)))?
}

/// An empty folder with djchat's settings in it.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn site_folder() -> TempDir {
    site_folder_of(Program::Djchat)
}

/// An empty folder with the program's settings in it.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn site_folder_of(program: Program) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("settings.toml");
    match program.example() {
        Some(name) => {
            let settings = repository().join(format!("examples/{name}/settings.toml"));
            std::fs::copy(settings, file).expect("the example's settings");
        }
        None => std::fs::write(file, "debug = true\n").expect("a file"),
    }
    folder
}

/// The site's program with its settings in `folder`; the caller adds the command.
///
/// # Panics
/// The examples cannot be built.
#[must_use]
pub fn site_command(folder: &Path, surroundings: &Surroundings) -> Command {
    let program = match surroundings.program.example() {
        Some(name) => examples().join(name),
        // cargo builds the programs of this package with its tests.
        None => programs().join("testsite"),
    };
    let mut command = Command::new(program);
    command.current_dir(folder).env("HULSE_SETTINGS", folder.join("settings.toml"));
    match &surroundings.database {
        Some(url) => command.env("DATABASE_URL", url),
        None => command.env_remove("DATABASE_URL"),
    };
    command.envs(surroundings.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// The folder of the examples' programs, built now if they are older than their sources.
fn examples() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = std::process::Command::new(cargo)
            // As `tests/run` builds it: with other features everything would be built again.
            .args(["build", "--quiet", "--workspace", "--bins"])
            .current_dir(repository())
            .status();
        assert!(built.expect("cargo runs").success(), "the examples do not build");
        programs()
    })
}

/// target/debug/deps/processes-0123 → target/debug
pub(crate) fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("this test's program");
    test.ancestors().nth(2).expect("a target folder").to_owned()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn pid_of(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Adds every line to the log until the pipe closes.
async fn keep(lines: BufReader<impl AsyncRead + Unpin>, log: watch::Sender<String>) {
    let mut lines = lines.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| {
            log.push_str(&line);
            log.push('\n');
        });
    }
}
