//! The servers that are compared, each in processes of its own.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;

use super::Done;
use super::tree::Tree;

/// Messages a receiver of the axum server may be behind.
const BROADCAST_MESSAGES: usize = 4096;
/// How long a server may take to begin.
const WAIT: Duration = Duration::from_secs(30);
/// Names Bun's program.
const BUN: &str = "BENCH_BUN";

/// Uses Bun's topics, which are uWebSockets'.
const BUN_SERVER: &str = r#"
const server = Bun.serve({
  port: 0, hostname: "127.0.0.1",
  fetch(request, server) { if (!server.upgrade(request)) return new Response("no"); },
  websocket: {
    open(socket) { socket.subscribe("g"); },
    message(socket, text) { server.publish("g", text); },
    idleTimeout: 0,
  },
});
console.log("listening on http://127.0.0.1:" + server.port);
"#;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Hulse,
    Axum,
    Bun,
}

impl Kind {
    /// Those that can be run here.
    pub(crate) fn present() -> impl Iterator<Item = Self> {
        let has_bun = std::env::var_os(BUN).is_some();
        [Self::Hulse, Self::Axum, Self::Bun].into_iter().filter(move |k| has_bun || *k != Self::Bun)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hulse => "hulse",
            Self::Axum => "axum",
            Self::Bun => "bun",
        })
    }
}

/// A running server. Dropping it kills all of its processes.
pub(crate) struct Server {
    kind: Kind,
    group: u32,
    address: String,
    _child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(kind: Kind) -> Done<Self> {
        let folder = tempfile::tempdir()?;
        let ours = std::env::current_exe()?;
        let mut command = match kind {
            Kind::Hulse => {
                let file = folder.path().join("settings.toml");
                std::fs::write(
                    &file,
                    "debug = true\nserver.connections_max = 20000\n\
                    database.url = \"sqlite://db.sqlite3\"\n",
                )?;
                let mut command = Command::new(ours);
                command.args(["pulse", "--migrate", "-w", "1", "-b", "127.0.0.1:0"]);
                command.env("HULSE_SETTINGS", file).env_remove("DATABASE_URL");
                command
            }
            Kind::Axum => {
                let mut command = Command::new(ours);
                command.arg("axum");
                command
            }
            Kind::Bun => {
                let mut command = Command::new(std::env::var_os(BUN).ok_or("no Bun")?);
                let file = folder.path().join("server.js");
                std::fs::write(&file, BUN_SERVER)?;
                command.arg(file);
                command
            }
        };
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
        Ok(Self { kind, group, address, _child: child, _folder: folder })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree { group: self.group }
    }

    /// Signs in where that is possible; the cookie to come with.
    pub(crate) async fn sign_in(&self) -> Done<Option<String>> {
        if self.kind != Kind::Hulse {
            return Ok(None);
        }
        let mut stream = TcpStream::connect(&self.address).await?;
        let request =
            format!("GET /enter/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let cookies = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        let pairs: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).collect();
        if pairs.is_empty() {
            return Err(format!("signing in: {answer}").into());
        }
        Ok(Some(pairs.join("; ")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.group).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads what a server says; tells the address it listens on.
fn read(said: impl BufRead, tell: oneshot::Sender<String>) {
    let mut tell = Some(tell);
    for line in said.lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on http://") {
            if let Some(tell) = tell.take() {
                // The one who waits may have given up.
                let _ = tell.send(address.trim().trim_end_matches('/').to_owned());
            }
        } else if line.contains("ERROR") || line.contains("WARN") {
            println!("    {line}");
        }
    }
}

/// The hand-written server: a task and a receiver per socket, axum's defaults, one thread.
pub(crate) fn serve_axum() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let (sender, _) = broadcast::channel::<Utf8Bytes>(BROADCAST_MESSAGES);
            let app = Router::new().route("/ws/", any(accept)).with_state(Arc::new(sender));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("listening on http://{}", listener.local_addr()?);
            axum::serve(listener, app).await
        })
    });
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn accept(
    State(sender): State<Arc<broadcast::Sender<Utf8Bytes>>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| live(socket, sender))
}

async fn live(mut socket: WebSocket, sender: Arc<broadcast::Sender<Utf8Bytes>>) {
    let mut receiver = sender.subscribe();
    loop {
        tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) => drop(sender.send(text)),
                Some(Ok(_)) => {}
                _ => return,
            },
            told = receiver.recv() => {
                let Ok(text) = told else { return };
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}
