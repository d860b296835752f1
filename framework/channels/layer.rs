//! The layer: one handle over the store in this process or in another.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::frame::Frame;
use super::hub::Hub;
use super::link;
use super::members::{Missed, Reply, Table};
use super::protocol::{Ask, Key};
use super::store::Store;
use super::worker::Worker;
use super::{
    Connection, Delivery, GroupName, History, Limits, Message, Position, Sink, Statistics, Values,
    epoch_now,
};
use crate::conf;
use crate::error::{Error, Kind, Result};

/// Carries messages between all processes of a site. A cheap clone.
#[derive(Clone)]
pub struct Layer(Arc<Inner>);

struct Inner {
    worker: Arc<Worker>,
    message_bytes_max: usize,
    kind: LayerKind,
}

/// Where the store is.
enum LayerKind {
    Memory,
    /// The task that keeps the link; the last clone of the layer ends it.
    Pulse {
        link: link::State,
        _task: AbortOnDropHandle<()>,
    },
}

impl Layer {
    /// A layer inside this process, for tests and a server of one process.
    #[must_use]
    pub fn memory(settings: &conf::Channels) -> Self {
        Self::beside(&hub(settings), settings)
    }

    /// `count` layers of one store in this process, as if each were a worker of its own.
    #[must_use]
    pub fn memory_workers(settings: &conf::Channels, count: usize) -> Vec<Self> {
        let hub = hub(settings);
        (0..count).map(|_| Self::beside(&hub, settings)).collect()
    }

    fn beside(hub: &Arc<Hub>, settings: &conf::Channels) -> Self {
        let worker = Worker::local(table(settings), wait(settings), Arc::clone(hub));
        Self::new(Arc::new(worker), settings, LayerKind::Memory)
    }

    /// A layer over the store process that listens on the unix socket `path`. It links to it in the
    /// background, and again whenever the link is cut; see [`ready`](Self::ready).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn pulse(path: &Path, settings: &conf::Channels) -> Self {
        let worker = Arc::new(Worker::linked(table(settings), wait(settings)));
        let link = link::State::default();
        let task = tokio::spawn(link::run(path.to_owned(), Arc::clone(&worker), link.clone()));
        let kind = LayerKind::Pulse { link, _task: AbortOnDropHandle::new(task) };
        Self::new(worker, settings, kind)
    }

    fn new(worker: Arc<Worker>, settings: &conf::Channels, kind: LayerKind) -> Self {
        let message_bytes_max = settings.message_bytes_max.min(super::MESSAGE_BYTES_MAX);
        Self(Arc::new(Inner { worker, message_bytes_max, kind }))
    }

    /// Ends when the store can be reached; at once without a store process.
    ///
    /// # Errors
    /// It cannot be within `channels.send_wait_seconds` (`is_layer_unavailable`).
    pub async fn ready(&self) -> Result<()> {
        match &self.0.kind {
            LayerKind::Memory => Ok(()),
            LayerKind::Pulse { link, .. } => link.ready(self.0.worker.wait()).await,
        }
    }

    /// Sends to everybody in `group`, in all processes. `Ok` once the message has its place in the
    /// group's order: that place.
    ///
    /// # Errors
    /// The message is too large (`is_message_too_large`), or the store cannot be reached in time
    /// (`is_layer_unavailable`).
    pub async fn publish(&self, group: &GroupName, message: Message) -> Result<Position> {
        let frame = self.frame(&message)?;
        let group = group.clone();
        let make = |key| Ask::Publish { key, retry: false, group, frame };
        match self.0.worker.request(message.len(), make).await? {
            Reply::Published(position) => Ok(position),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// As [`publish`](Self::publish), once however often it is asked for: a message that comes again
    /// with the same `name` (1 to 200 bytes, best the client's id and a number of its own) is not
    /// sent, and the answer is the place of the first. So a sender that does not know whether its
    /// message arrived says it again. Known as long as the group's history reaches, and as long as a
    /// worker holds it also by the next store.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), or the name is empty or too long.
    pub async fn publish_once(
        &self,
        group: &GroupName,
        name: &str,
        message: Message,
    ) -> Result<Position> {
        let (frame, named) = (self.frame(&message)?, Key::named(name)?);
        let group = group.clone();
        let make = |key: Key| Ask::PublishOnce { request: key.request, key: named, group, frame };
        match self.0.worker.request(message.len(), make).await? {
            Reply::Published(position) => Ok(position),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// What `group` still has of what came after `since`, oldest first, at most `max` messages and
    /// 16 MiB; ask again from the last one on for more. Without `since`, the latest `max`.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn history(
        &self,
        group: &GroupName,
        since: Option<Position>,
        max: usize,
    ) -> Result<History> {
        let limit = u32::try_from(max).unwrap_or(u32::MAX);
        let group = group.clone();
        let make = |key: Key| Ask::History { request: key.request, group, since, limit };
        match self.0.worker.request(0, make).await? {
            Reply::Missed(missed) => Ok(history(missed)),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// Values, counters and locks all processes of the site share.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::new(Arc::clone(&self.0.worker), self.0.message_bytes_max)
    }

    /// Sends to the one reader of `channel`. `Ok` once it waits there.
    ///
    /// # Errors
    /// The message is too large, the channel full (`is_channel_full`), or the store away.
    pub async fn send(&self, channel: &GroupName, message: Message) -> Result<()> {
        let frame = self.frame(&message)?;
        let make = |key| Ask::Send { key, retry: false, channel: channel.clone(), frame };
        match self.0.worker.request(message.len(), make).await? {
            Reply::Done => Ok(()),
            Reply::Full => Err(Error::of(
                Kind::ChannelFull,
                format!("channel {channel} is full: its reader is slower than its senders"),
            )),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// Waits for the next message of `channel`, as long as it takes. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// The layer is being closed.
    pub async fn receive(&self, channel: &GroupName) -> Result<Message> {
        let channel = channel.clone();
        let make = |key: Key| Ask::Receive { request: key.request, channel };
        match self.0.worker.ask(make).answer().await? {
            Reply::Received(_, frame) => Ok(frame.message()),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// The name of a channel nobody else has: `prefix`, a `.`, and 128 random bits.
    ///
    /// # Errors
    /// `prefix` is no name, or longer than 67 bytes.
    pub fn new_channel(&self, prefix: &str) -> Result<GroupName> {
        GroupName::new(&format!("{prefix}.{:032x}", rand::random::<u128>()))
    }

    /// A connection, to take part in groups with. `wake` is notified when it has something to read.
    #[must_use]
    pub fn connect(&self, wake: Arc<Notify>) -> Connection {
        self.connect_sink(wake)
    }

    /// A connection whose messages go to `sink`.
    pub(crate) fn connect_sink(&self, sink: Arc<dyn Sink>) -> Connection {
        Connection::new(Arc::clone(&self.0.worker), sink)
    }

    /// What this process's side holds and has done.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.worker.table().statistics()
    }

    fn frame(&self, message: &Message) -> Result<Frame> {
        let (length, max) = (message.len(), self.0.message_bytes_max);
        if length > max {
            return Err(Error::of(
                Kind::MessageTooLarge,
                format!("a message of {length} bytes: at most {max} are carried"),
            ));
        }
        Ok(Frame::new(message))
    }
}

/// A store in this process: no earlier one can have left workers behind.
fn hub(settings: &conf::Channels) -> Arc<Hub> {
    Arc::new(Hub::new(Store::new(Limits::new(settings), epoch_now(), Duration::ZERO)))
}

fn history(missed: Missed) -> History {
    let Missed { top, recovered, entries } = missed;
    let messages = entries.iter().map(|entry| Delivery {
        position: Position { epoch: top.epoch, offset: entry.offset },
        message: entry.frame.message(),
        is_presence: entry.is_presence,
    });
    History { messages: messages.collect(), top, recovered }
}

fn table(settings: &conf::Channels) -> Table {
    // Never 0: that is the session of what the store makes itself.
    Table::new(Limits::new(settings), rand::random::<u64>() | 1)
}

fn wait(settings: &conf::Channels) -> Duration {
    Duration::from_secs(settings.send_wait_seconds)
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0.kind {
            LayerKind::Memory => "memory",
            LayerKind::Pulse { .. } => "pulse",
        };
        f.debug_struct("Layer").field("kind", &kind).finish_non_exhaustive()
    }
}

impl Error {
    /// A message is larger than `channels.message_bytes_max`.
    #[must_use]
    pub fn is_message_too_large(&self) -> bool {
        self.kind() == Kind::MessageTooLarge
    }

    /// A channel holds as many unread messages as it may.
    #[must_use]
    pub fn is_channel_full(&self) -> bool {
        self.kind() == Kind::ChannelFull
    }
}
