//! Redis servers that tests may use, and ones of a test's own that it may kill.

use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Names the servers, with commas: `redis://127.0.0.1:7301,redis://127.0.0.1:7302`.
const SERVERS: &str = "HULSE_TEST_REDIS";
/// Names the program; else `redis-server` is looked for.
const PROGRAM: &str = "HULSE_TEST_REDIS_SERVER";
/// Longest wait for a server.
const WAIT: Duration = Duration::from_secs(30);

/// The first `count` servers as `host:port`; `None`, said aloud, if there are fewer.
#[must_use]
pub fn redis_servers(count: usize) -> Option<Vec<String>> {
    let urls = std::env::var(SERVERS).unwrap_or_default();
    let hosts = urls.split(',').filter_map(|url| url.trim().strip_prefix("redis://"));
    let hosts: Vec<String> =
        hosts.map(|host| host.trim_end_matches('/').to_owned()).take(count).collect();
    if hosts.len() < count {
        println!("skipped: needs {count} Redis ({SERVERS})");
        return None;
    }
    Some(hosts)
}

/// A `redis-server` of one test. Dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// One without persistence; `None`, said aloud, if the program is missing.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Option<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    /// One with `arguments`. What they say of files is about its own folder; `PORT` is its port.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_with(arguments: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            println!("skipped: needs redis-server ({PROGRAM})");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let port = free_port().await;
        let process = run(&program, port, &arguments, &folder).await;
        Some(Self { program, port, arguments, folder, process })
    }

    /// `127.0.0.1:PORT`, the same all its lives.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a machine that loses its power does.
    ///
    /// # Panics
    /// It cannot be killed.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it runs");
    }

    /// Starts it again after [`kill`](Self::kill).
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_again(&mut self) {
        self.process = run(&self.program, self.port, &self.arguments, &self.folder).await;
    }

    /// Stops it where it stands: it answers nothing, and its connections stay.
    ///
    /// # Panics
    /// It is gone.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// It is gone.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it runs");
    }

    fn pid(&self) -> Pid {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).expect("it was not waited for")
    }

    /// Says `line` to it; the first line of its answer.
    ///
    /// # Panics
    /// There is none.
    pub async fn command(&self, line: &str) -> String {
        let asking = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).await?;
            std::io::Result::Ok(answer.trim_end().to_owned())
        };
        timeout(WAIT, asking).await.expect("an answer in time").expect("an answer")
    }
}

/// `HULSE_TEST_REDIS_SERVER`, or the program on the path.
fn program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return Some(program.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("redis-server")).find(|p| p.is_file())
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    listener.local_addr().expect("its address").port()
}

async fn run(program: &PathBuf, port: u16, arguments: &[String], folder: &TempDir) -> Child {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]);
    let port = port.to_string();
    let arguments = arguments.iter().map(|word| if word == "PORT" { &port } else { word });
    command.arg(folder.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().expect("redis-server starts");
    let mut said = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let waiting = async {
        while let Some(line) = said.next_line().await.expect("it speaks UTF-8") {
            if line.contains("Ready to accept connections") {
                return true;
            }
        }
        false
    };
    let is_ready = timeout(WAIT, waiting).await.expect("redis-server is ready in time");
    assert!(is_ready, "redis-server ends at once");
    process
}

/// A network between a worker and a server, which can fail without a word.
#[derive(Debug)]
pub struct Network {
    host: String,
    is_open: watch::Sender<bool>,
    has_answers: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
    cuts: watch::Sender<u32>,
    accepting: AbortHandle,
}

/// One way through a [`Network`]: whether it is open, how long it takes, and how often all was cut.
#[derive(Clone)]
struct Way {
    is_open: watch::Receiver<bool>,
    delay: watch::Receiver<Duration>,
    cuts: watch::Receiver<u32>,
}

impl Network {
    /// One in front of `host`.
    ///
    /// # Panics
    /// There is no port for it.
    pub async fn before(host: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("its address").to_string();
        let (is_open, has_answers) = (watch::Sender::new(true), watch::Sender::new(true));
        let (cuts, delay) = (watch::Sender::new(0), watch::Sender::new(Duration::ZERO));
        let way = |is_open: &watch::Sender<bool>| Way {
            is_open: is_open.subscribe(),
            delay: delay.subscribe(),
            cuts: cuts.subscribe(),
        };
        let ways = (way(&is_open), way(&has_answers));
        let accepting = tokio::spawn(accept(listener, host.to_owned(), ways));
        Self { host: own, is_open, has_answers, delay, cuts, accepting: accepting.abort_handle() }
    }

    /// Its own `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Carries nothing any more, and says so to nobody.
    pub fn freeze(&self) {
        self.is_open.send_replace(false);
        self.has_answers.send_replace(false);
    }

    /// Carries what is asked, but no answers.
    pub fn hold_answers(&self) {
        self.has_answers.send_replace(false);
    }

    /// From now on what goes through takes at least so long, either way.
    pub fn delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Cuts all connections; what was on its way is lost. New ones are carried.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        self.thaw();
    }

    /// Carries on.
    pub fn thaw(&self) {
        self.is_open.send_replace(true);
        self.has_answers.send_replace(true);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, host: String, (there, back): (Way, Way)) {
    let mut pumps = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&host).await else { continue };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        for (way, pumping) in [
            (&there, pump_boxed(from_client, to_server, there.clone())),
            (&back, pump_boxed(from_server, to_client, back.clone())),
        ] {
            let mut cuts = way.cuts.clone();
            cuts.mark_unchanged();
            pumps.spawn(async move {
                tokio::select! {
                    biased;
                    _ = cuts.changed() => {}
                    () = pumping => {}
                }
            });
        }
    }
}

fn pump_boxed(
    from: impl AsyncReadExt + Unpin + Send + 'static,
    to: impl AsyncWriteExt + Unpin + Send + 'static,
    way: Way,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(pump(from, to, way))
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut way: Way,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        let delay = *way.delay.borrow_and_update();
        if !delay.is_zero() {
            let _elapsed = timeout(delay, pending::<()>()).await;
        }
        if way.is_open.wait_for(|is_open| *is_open).await.is_err()
            || count == 0
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}
