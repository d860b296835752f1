//! The control socket: how a running site is looked at and told what to do.
//!
//! Flow: `manage ctl status` → [`ask_running`] → a line of JSON over the socket → [`Desk`], one
//! task in the arbiter → an [`Event`] → the arbiter's answer → a line of JSON.
//!
//! Invariants:
//! - The socket is this user's alone (mode 0600): who may open it may stop the site.
//! - Bounded: conversations, a line, and the wait for it.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::address::{self, Listener, SocketFile, Who};
use crate::server::arbiter::Event;

/// Conversations at once; who comes beyond waits.
const CONVERSATIONS_MAX: usize = 16;

/// Longest line of who asks, bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Longest answer, bytes: names of groups and members of a thousand workers.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a line may take to come, or to be taken.
const LINE_WAIT: Duration = Duration::from_secs(2);

/// How long to wait for an answer that needs no work.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// How long to wait for a reload or an end: as long as its bounds let it take.
const WORK_WAIT: Duration = Duration::from_secs(3600);

/// Pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(250);

/// What can be asked of a running site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Whether it is there.
    Ping,
    /// How it and its children are.
    Status,
    /// How many connections each worker holds.
    Connections,
    /// Which groups have members, and how many.
    Groups,
    /// New workers in place of the old ones; answered when all are replaced, or none more will be.
    Reload,
    /// Another number of workers.
    Scale {
        /// How many.
        workers: usize,
    },
    /// A graceful end. The connection ends with the process.
    Stop,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Answer(oneshot::Sender<Result<Value, String>>);

impl Answer {
    /// One to give away, and what it will be.
    pub(super) fn pair() -> (Self, oneshot::Receiver<Result<Value, String>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(super) fn tell(self, value: Value) {
        // Who asked may be gone.
        let _gone = self.0.send(Ok(value));
    }

    pub(super) fn fail(self, words: impl Into<String>) {
        let _gone = self.0.send(Err(words.into()));
    }
}

/// The arbiter's end of the socket.
#[derive(Debug)]
pub(super) struct Desk {
    listener: UnixListener,
    /// Removed with this.
    file: SocketFile,
}

impl Desk {
    /// Speaks for whom the socket was bound by.
    pub(super) fn new(bound: Listener) -> Result<Option<Self>> {
        let Listener::Unix(listener, file) = bound else { return Ok(None) };
        listener.set_nonblocking(true)?;
        Ok(Some(Self { listener: UnixListener::from_std(listener)?, file }))
    }

    /// Another hold of the socket, to hand it on.
    pub(super) fn socket(&self) -> Result<OwnedFd> {
        Ok(self.listener.as_fd().try_clone_to_owned()?)
    }

    /// Listens at `server.control`; `None` if that is empty, or the default and taken.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>> {
        let Some(path) = path(settings) else { return Ok(None) };
        let shown = path.display();
        let failed = |error| {
            Error::because(Kind::Server, format!("making the control socket {shown}"), error)
        };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let bound = match address::bind_unix(&path, Who::Owner) {
            Ok(bound) => bound,
            Err(error) if error.kind() == ErrorKind::AddrInUse && !is_socket(&path) => {
                let words = format!("{shown} is a file and no control socket: --control another");
                return Err(Error::of(Kind::Server, words));
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let words = format!("another server answers on {shown}");
                // Nobody asked for this one: two servers of one folder are two ports.
                if settings.origin("server.control").is_none() {
                    tracing::warn!("{words}; `manage ctl` asks that one, give this one --control");
                    return Ok(None);
                }
                let remedy = "stop it, or give this one another --control";
                return Err(Error::of(Kind::Server, format!("{words}: {remedy}")));
            }
            Err(error) => return Err(failed(error)),
        };
        Self::new(bound)
    }

    /// Passes questions on and brings the answers, until it is dropped or another process has the
    /// socket.
    pub(super) async fn serve(self, events: mpsc::Sender<Event>, handed_over: CancellationToken) {
        let mut conversations = FuturesUnordered::new();
        loop {
            let is_full = conversations.len() >= CONVERSATIONS_MAX;
            tokio::select! {
                accepted = self.listener.accept(), if !is_full => match accepted {
                    Ok((stream, _)) => conversations.push(converse(stream, events.clone())),
                    Err(error) => {
                        tracing::error!(%error, "the control socket accepts nobody for a moment");
                        sleep(PAUSE).await;
                    }
                },
                Some(_) = conversations.next() => {}
                () = handed_over.cancelled() => {
                    self.file.leave();
                    return;
                }
            }
        }
    }
}

/// Answers one line after the other. Who breaks the rules is hung up on.
async fn converse(stream: UnixStream, events: mpsc::Sender<Event>) -> Option<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = tokio::io::BufReader::new(reading);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut reading).take(LINE_BYTES_MAX);
        let read = timeout(LINE_WAIT, bounded.read_line(&mut line)).await.ok()?.ok()?;
        if read == 0 || !line.ends_with('\n') {
            return None;
        }
        let request = serde_json::from_str(&line);
        let is_stop = matches!(request, Ok(Request::Stop));
        let answer = match request {
            Ok(request) => tokio::select! {
                answer = ask(&events, request) => answer?,
                // Who is gone takes no place from others. What was asked for is done all the same.
                () = has_hung_up(&mut reading) => return None,
            },
            Err(error) => Err(format!("not understood: {error}")),
        };
        let answer = match answer {
            Ok(answer) => json!({ "ok": true, "answer": answer }),
            Err(words) => json!({ "ok": false, "error": words }),
        };
        let answer = format!("{answer}\n");
        timeout(LINE_WAIT, writing.write_all(answer.as_bytes())).await.ok()?.ok()?;
        if is_stop {
            // The end of the connection says that the process has ended.
            has_hung_up(&mut reading).await;
            return None;
        }
    }
}

/// Waits for the other side's end. What it says meanwhile is left where it is.
async fn has_hung_up(reading: &mut (impl AsyncBufRead + Unpin)) {
    if !matches!(reading.fill_buf().await, Ok([]) | Err(_)) {
        std::future::pending::<()>().await;
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

async fn ask(events: &mpsc::Sender<Event>, request: Request) -> Option<Result<Value, String>> {
    let (sender, answer) = oneshot::channel();
    events.send(Event::Asked(request, Answer(sender))).await.ok()?;
    answer.await.ok()
}

/// Where the site with these settings listens to its operators.
fn path(settings: &Settings) -> Option<PathBuf> {
    let path = &settings.server.control;
    (!path.as_os_str().is_empty()).then(|| settings.resolve(path))
}

/// Asks the running site with these settings. `Request::Stop` is answered when it has ended.
///
/// # Errors
/// It does not run, gives no answer in time, or says no; the words say which.
pub fn ask_running(settings: &Settings, request: Request) -> Result<Value> {
    let Some(path) = path(settings) else {
        return Err(Error::usage("server.control is empty: this site has no control socket"));
    };
    let wait = match request {
        Request::Reload | Request::Stop => WORK_WAIT,
        _ => ANSWER_WAIT,
    };
    let line = exchange(&path, request, wait).map_err(|error| no_answer(&path, &error))?;
    let answer: Value = serde_json::from_str(&line)
        .map_err(|error| Error::new(format!("the site's answer makes no sense: {error}")))?;
    match (answer["ok"].as_bool(), answer["error"].as_str()) {
        (Some(true), _) => Ok(answer["answer"].clone()),
        (_, words) => Err(Error::new(format!("the site says no: {}", words.unwrap_or("why?")))),
    }
}

fn exchange(path: &Path, request: Request, wait: Duration) -> std::io::Result<String> {
    let mut stream = Blocking::connect(path)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    stream.write_all(format!("{}\n", serde_json::to_string(&request)?).as_bytes())?;
    let mut reading = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut line = String::new();
    if reading.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if request == Request::Stop {
        // Nothing more comes but the end; a reset is one too.
        drop(reading.read_to_string(&mut String::new()));
    }
    Ok(line)
}

fn no_answer(path: &Path, error: &std::io::Error) -> Error {
    let path = path.display();
    Error::new(match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("the site is not running: nobody listens on {path}")
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no answer on {path} in time"),
        ErrorKind::UnexpectedEof => format!("the site hung up on {path}"),
        _ => format!("asking on {path}: {error}"),
    })
}
