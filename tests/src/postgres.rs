//! A PostgreSQL server of a test's own, which it may kill.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::geteuid;
use tempfile::TempDir;

/// Where Debian keeps its programs, a folder a version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// It does not run as root.
const OWNER: &str = "postgres";

/// A server of one test, without regard for its disk. Dropping it kills it.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    port: u16,
    folder: TempDir,
}

impl PostgresServer {
    /// One that runs; `None`, said aloud, if its programs are missing.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: needs PostgreSQL's programs ({PROGRAMS}/*/bin)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        if geteuid().is_root() {
            let owner = Some(number_of(OWNER));
            chown(folder.path(), owner, owner).expect("root may");
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let server = Self { programs, port, folder };
        server.run("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        server.start_again();
        Some(server)
    }

    /// `postgres://..`, the same all its lives.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once, as `pg_ctl stop -m immediate` does: connections are told that it was
    /// terminated, new ones are refused, and it recovers when it is started again.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self) {
        self.run("pg_ctl", &["stop", "-m", "immediate"]);
    }

    /// Starts it after [`kill`](Self::kill), and waits until it serves.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&self) {
        let log = self.folder.path().join("log");
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off",
            self.port
        );
        self.run("pg_ctl", &["start", "-w", "-l", &log.to_string_lossy(), "-o", &options]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.output(program, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let program = self.programs.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", OWNER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let data = self.folder.path().join("data");
        command.arg("-D").arg(data).args(arguments).current_dir("/");
        // What it starts would keep a pipe open.
        if arguments.first() == Some(&"start") {
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let status = command.status().expect("pg_ctl runs");
            return Output { status, stdout: Vec::new(), stderr: Vec::new() };
        }
        command.output().expect("it runs")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.output("pg_ctl", &["stop", "-m", "immediate"]);
    }
}

/// The folder of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(Path::new(PROGRAMS)).ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").is_file()).max()
}

/// A user's number, which is his group's as well.
fn number_of(user: &str) -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let line = users.lines().find(|line| line.split(':').next() == Some(user));
    let number = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    number.unwrap_or_else(|| panic!("there is no user {user}"))
}
