//! The server in processes of its own, and what they have done.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Done;

/// How long the server may take to begin, or to answer beyond what it was asked for.
const WAIT: Duration = Duration::from_secs(30);
/// Kernel ticks a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

/// A running site. Dropping it kills all of its processes.
pub(crate) struct Server {
    group: u32,
    address: String,
    workers: usize,
    _child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(workers: usize) -> Done<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("settings.toml");
        fs::write(&file, "debug = true\ndatabase.url = \"sqlite://db.sqlite3\"\n")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["pulse", "--migrate", "-b", "127.0.0.1:0", "-w", &workers.to_string()]);
        command.env("HULSE_SETTINGS", file).env_remove("DATABASE_URL");
        command.current_dir(folder.path()).process_group(0);
        let (said, pipe) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(pipe.try_clone()?).stderr(pipe);
        let child = command.spawn()?;
        drop(command);
        let group = child.id().ok_or("the server ended at once")?;
        let (tell, told) = oneshot::channel();
        // Ends with the last of the server's processes.
        let _reader = std::thread::spawn(move || read(BufReader::new(said), tell));
        let address = timeout(WAIT, told).await??;
        Ok(Self { group, address, workers, _child: child, _folder: folder })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks each worker for `path` at the same moment; the numbers they answer.
    pub(crate) async fn ask_each_worker(&self, path: &str) -> Done<Vec<u64>> {
        let mut connections = Vec::new();
        let mut processes = std::collections::BTreeSet::new();
        // Which worker accepts a connection is chance, though the idle ones go first.
        for _ in 0..64 * self.workers {
            let mut stream = AsyncReader::new(TcpStream::connect(&self.address).await?);
            let (process, _) = ask(&mut stream, "/publish/0/0/1/", &self.address).await?;
            if processes.insert(process) {
                connections.push(stream);
            }
            if processes.len() == self.workers {
                break;
            }
        }
        if connections.len() < self.workers {
            return Err("some workers accept nothing".into());
        }
        let mut asking = tokio::task::JoinSet::new();
        for mut stream in connections {
            let (path, address) = (path.to_owned(), self.address.clone());
            asking.spawn_local(async move { ask(&mut stream, &path, &address).await });
        }
        let mut counts = Vec::new();
        while let Some(answer) = asking.join_next().await {
            counts.push(answer??.1);
        }
        Ok(counts)
    }
}

/// One request over a connection that stays; the worker's process and its number.
async fn ask(stream: &mut AsyncReader<TcpStream>, path: &str, host: &str) -> Done<(u64, u64)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut length, mut line) = (0, String::new());
    while line.trim_end() != "" || length == 0 {
        line.clear();
        if timeout(WAIT, stream.read_line(&mut line)).await?? == 0 {
            return Err("a worker hangs up".into());
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body)?;
    let (process, count) = body.trim().split_once(' ').ok_or(format!("it says {body}"))?;
    Ok((process.parse()?, count.parse()?))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.group).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads what the server says; tells the address it listens on.
fn read(said: impl BufRead, tell: oneshot::Sender<String>) {
    let mut tell = Some(tell);
    for line in said.lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on http://")
            && let Some(tell) = tell.take()
        {
            // The one who waits may have given up.
            let _ = tell.send(address.trim().trim_end_matches('/').to_owned());
        }
    }
}

/// What the processes of a server have done so far.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// CPU seconds of all.
    pub(crate) all: f64,
    /// Those of the store's process, in the kernel and elsewhere.
    pub(crate) store_system: f64,
    store_user: f64,
    /// How often it has waited for something.
    pub(crate) store_wakeups: f64,
}

impl Work {
    pub(crate) fn of(server: &Server) -> Done<Self> {
        let mut work = Self::default();
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            // Processes come and go while the folder is read.
            let Ok(stat) = fs::read_to_string(process.join("stat")) else { continue };
            let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
            let numbers: Vec<u64> =
                rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect();
            if numbers.len() < 13 || numbers[2] != u64::from(server.group) {
                continue;
            }
            let (user, system) = (numbers[11] as f64 / TICKS, numbers[12] as f64 / TICKS);
            work.all += user + system;
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            if command.split(|byte| *byte == 0).any(|word| word == b"store") {
                (work.store_user, work.store_system) = (user, system);
                let status = fs::read_to_string(process.join("status"))?;
                let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
                work.store_wakeups = line.unwrap_or("0").trim().parse()?;
            }
        }
        Ok(work)
    }

    /// CPU seconds of the store's process.
    pub(crate) fn store(&self) -> f64 {
        self.store_system + self.store_user
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            all: self.all - before.all,
            store_system: self.store_system - before.store_system,
            store_user: self.store_user - before.store_user,
            store_wakeups: self.store_wakeups - before.store_wakeups,
        }
    }
}
