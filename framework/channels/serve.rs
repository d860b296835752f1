//! The store's process: serves linked workers over a unix socket.
//!
//! Flow: accept → read frames → `hub` → outbox → write. End of file on a link ends its worker.
//!
//! Invariants: a worker that does not read is told nothing new beyond its outbox, and may ask
//! nothing more; one that sends what cannot be read is cut off.

use std::io;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};

use super::hub::{Heard, Hub, Outbox};
use super::pattern::Capacities;
use super::store::{Event, SETTLE, Store, WorkerId};
use super::{Limits, epoch_now};
use crate::conf;
use crate::error::Result;

/// How often the store hears that time passes.
const TICK: Duration = Duration::from_millis(100);
/// Room for one read, bytes.
const READ_BYTES: usize = 64 * 1024;
/// Workers and commands linked at once; beyond it a new one waits.
const LINKS_MAX: usize = 1024;
/// Pause after a failed accept (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When a store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Now.
    AtOnce,
    /// When none of its siblings is linked any more: who drains may have to say something yet.
    /// What others say then, nobody would hear.
    WithItsSiblings,
}

/// Runs a store until `shutdown` says when to end. The socket's file should have mode 0600: whoever
/// can connect can read and write every group.
///
/// # Errors
/// None today; what goes wrong with one link ends that link.
pub async fn serve(
    listener: UnixListener,
    settings: &conf::Channels,
    shutdown: impl Future<Output = End> + Send,
) -> Result<()> {
    let store = Store::new(Limits::new(settings), epoch_now(), SETTLE);
    let store = store.with_capacities(Capacities::new(settings));
    let hub = Arc::new(Hub::new(store));
    let parent = parent_id();
    let (mut siblings, mut others) = (JoinSet::new(), JoinSet::new());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let turning = hub.turn();
    tokio::pin!(shutdown, turning);
    let mut is_ending = false;
    while !is_ending || !siblings.is_empty() {
        let has_room = siblings.len() + others.len() < LINKS_MAX;
        tokio::select! {
            end = &mut shutdown, if !is_ending => match end {
                End::AtOnce => break,
                End::WithItsSiblings => is_ending = true,
            },
            never = &mut turning => match never {},
            _ = tick.tick() => hub.step(Event::Tick),
            Some(ended) = siblings.join_next(), if !siblings.is_empty() => log_failed(ended),
            Some(ended) = others.join_next(), if !others.is_empty() => log_failed(ended),
            stream = accept(&listener), if has_room && !is_ending => {
                let is_sibling = parent_of_peer(&stream) == Some(parent);
                let links = if is_sibling { &mut siblings } else { &mut others };
                links.spawn(link(stream, Arc::clone(&hub)));
            }
        }
    }
    Ok(())
}

/// The parent of the process at the other end. Of a worker it is the store's own, of a command or a
/// `runworker` another one.
fn parent_of_peer(stream: &UnixStream) -> Option<u32> {
    let process = stream.peer_cred().ok()?.pid()?;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may have any letters: the state, then the parent (proc_pid_stat(5)).
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn log_failed(ended: std::result::Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a link of the data store failed");
    }
}

async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => tracing::error!(%error, "cannot accept a link"),
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Ends a worker in the store, however its link ends.
struct Linked<'a> {
    hub: &'a Hub,
    worker: WorkerId,
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.hub.remove(self.worker);
    }
}

async fn link(stream: UnixStream, hub: Arc<Hub>) {
    let outbox = Arc::new(Outbox::default());
    let worker = hub.link(Arc::clone(&outbox));
    let linked = Linked { hub: &hub, worker };
    let (input, output) = stream.into_split();
    let ended = tokio::select! {
        ended = read(input, &linked, &outbox) => ended,
        ended = write(output, &linked, &outbox) => ended,
    };
    match ended {
        Ok(()) => tracing::debug!(worker.id = worker.0, "a worker unlinked"),
        Err(error) => tracing::warn!(worker.id = worker.0, %error, "a worker's link was cut"),
    }
}

async fn read(mut input: OwnedReadHalf, linked: &Linked<'_>, outbox: &Outbox) -> io::Result<()> {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        bytes.reserve(READ_BYTES);
        if input.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        loop {
            let heard = linked.hub.hear(linked.worker, outbox, &mut bytes);
            match heard.map_err(|_| bad("bad frame"))? {
                Heard::All => break,
                Heard::Full => outbox.drained.notified().await,
                Heard::Stranger => return Err(bad("another version of the framework")),
            }
        }
    }
}

async fn write(mut output: OwnedWriteHalf, linked: &Linked<'_>, outbox: &Outbox) -> io::Result<()> {
    loop {
        outbox.filled.notified().await;
        loop {
            let mut bytes = outbox.take();
            if bytes.is_empty() {
                break;
            }
            output.write_all_buf(&mut bytes).await?;
            linked.hub.written(linked.worker, outbox);
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
