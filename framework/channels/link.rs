//! The worker's end of the link to the store's process: one task that owns the unix socket.
//!
//! Flow: connect → say what this worker holds ([`Table::reconnected`](super::members)) → carry
//! requests out and answers in → when the link is cut, connect again, a little later each time.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::members::PARTS;
use super::wire;
use super::worker::Worker;
use crate::error::{Error, Kind, Result};

/// First pause before the next attempt; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Room for one read, bytes.
const READ_BYTES: usize = 64 * 1024;
/// Longest time messages wait for those behind them.
const TICK_MAX: Duration = Duration::from_millis(1);
/// How often a part of the idle groups is compared with the store's.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes a tick gathers at most, from a store that always has more.
const GATHER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes encoded before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Whether the link is up. A cheap clone.
#[derive(Clone, Debug)]
pub(super) struct State(Arc<watch::Sender<bool>>);

impl Default for State {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl State {
    /// Ends when the link is up.
    pub(super) async fn ready(&self, wait: Duration) -> Result<()> {
        let mut state = self.0.subscribe();
        match tokio::time::timeout(wait, state.wait_for(|is_up| *is_up)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::of(Kind::LayerUnavailable, "the data store cannot be reached")),
        }
    }
}

/// Where a store listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At this socket.
    Socket(PathBuf),
    /// At one of this folder's; it has another name after each start of the server.
    Folder(PathBuf),
}

impl Place {
    async fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Socket(path) => UnixStream::connect(path).await,
            Self::Folder(folder) => {
                let mut ended = io::Error::from(io::ErrorKind::NotFound);
                for path in sockets(folder) {
                    match UnixStream::connect(path).await {
                        Ok(stream) => return Ok(stream),
                        Err(error) => ended = error,
                    }
                }
                Err(ended)
            }
        }
    }

    fn path(&self) -> &Path {
        let (Self::Socket(path) | Self::Folder(path)) = self;
        path
    }
}

/// The sockets of stores in `folder`, those of dead ones too; the latest first.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| is_store_socket(&entry.file_name().to_string_lossy()))
        .map(|entry| {
            let made = entry.metadata().and_then(|data| data.modified());
            (made.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Whether a store listens in `folder`.
pub(crate) fn has_store(folder: &Path) -> bool {
    sockets(folder).iter().any(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
}

/// The name of the socket of a server's store; `server` is its process id.
pub(crate) fn store_socket(server: u32) -> String {
    format!("store-{server}.sock")
}

/// Whether a file of this name is a store's socket.
pub(crate) fn is_store_socket(name: &str) -> bool {
    name.starts_with("store-") && name.ends_with(".sock")
}

/// Keeps the link; ends only when it is dropped.
pub(super) async fn run(place: Place, worker: Arc<Worker>, state: State) {
    let mut pause = PAUSE_MIN;
    let mut resumed = false;
    loop {
        match place.connect().await {
            Ok(stream) => {
                let Err(error) = carry(stream, &worker, resumed, &state).await;
                state.0.send_replace(false);
                worker.table().cut();
                tracing::warn!(%error, "lost the link to the data store");
                resumed = true;
                pause = PAUSE_MIN;
            }
            Err(error) => log_absence(&error, place.path(), pause),
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A store that starts is away for a moment; one that stays away is worth a line.
fn log_absence(error: &io::Error, path: &Path, pause: Duration) {
    if pause >= PAUSE_MAX {
        tracing::warn!(%error, path = %path.display(), "cannot reach the data store");
    }
}

/// Carries both ways until the link is cut.
async fn carry(
    stream: UnixStream,
    worker: &Worker,
    resumed: bool,
    state: &State,
) -> io::Result<Infallible> {
    let (input, output) = stream.into_split();
    let (input, output) = (read(input, worker), write(output, worker, resumed, state));
    tokio::select! {
        ended = input => ended,
        ended = output => ended,
    }
}

async fn read(mut input: OwnedReadHalf, worker: &Worker) -> io::Result<Infallible> {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        bytes.reserve(READ_BYTES);
        if input.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let _tick = worker.tick();
        hear(&mut bytes, worker)?;
        if worker.is_dirty() {
            yield_now().await;
            // Whoever has not come back by then goes with the next tick.
            timeout(TICK_MAX, gather(&mut input, &mut bytes, worker)).await.unwrap_or(Ok(()))?;
        }
    }
}

/// Reads on while messages of this worker's own are on their way back: they leave in the same
/// piece.
async fn gather(
    input: &mut OwnedReadHalf,
    bytes: &mut BytesMut,
    worker: &Worker,
) -> io::Result<()> {
    // While there is more to read nothing here waits, so no timeout would end it.
    let (end, mut room) = (Instant::now() + TICK_MAX, GATHER_BYTES_MAX);
    loop {
        bytes.reserve(READ_BYTES);
        match input.try_read_buf(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                hear(bytes, worker)?;
                room = room.saturating_sub(count);
                if room == 0 || Instant::now() >= end {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !worker.is_publishing() {
                    return Ok(());
                }
                input.readable().await?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn hear(bytes: &mut BytesMut, worker: &Worker) -> io::Result<()> {
    let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "bad frame from the data store");
    while let Some(tell) = wire::next_tell(bytes).map_err(bad)? {
        worker.tell(tell);
    }
    // An answer may have made more to say.
    worker.carry();
    Ok(())
}

async fn write(
    mut output: OwnedWriteHalf,
    worker: &Worker,
    resumed: bool,
    state: &State,
) -> io::Result<Infallible> {
    let asks = worker.table().reconnected(resumed);
    let mut bytes = BytesMut::new();
    for ask in &asks {
        wire::encode_ask(ask, &mut bytes);
        if bytes.len() >= WRITE_BYTES {
            output.write_all_buf(&mut bytes).await?;
        }
    }
    drop(asks);
    output.write_all_buf(&mut bytes).await?;
    state.0.send_replace(true);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut part = 0;
    loop {
        while encode(worker, &mut bytes) {
            output.write_all_buf(&mut bytes).await?;
        }
        tokio::select! {
            () = worker.filled() => {}
            _ = looks.tick() => {
                part = (part + 1) % PARTS;
                worker.table().compare_idle(part);
            }
        }
    }
}

/// Encodes what waits; whether there was any.
fn encode(worker: &Worker, bytes: &mut BytesMut) -> bool {
    let mut table = worker.table();
    while bytes.len() < WRITE_BYTES
        && let Some(ask) = table.next_ask()
    {
        wire::encode_ask(&ask, bytes);
    }
    !bytes.is_empty()
}

/// Half of `pause` to all of it: workers that lost the same store do not come back as one.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

/// Where the store of a site listens below its runtime folder.
#[must_use]
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("store.sock")
}
