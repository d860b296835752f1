//! The layer: one handle over the store in this process or in another.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::asker::no_answer;
use super::calls::ChannelAsk;
use super::frame::Frame;
use super::hub::Hub;
use super::link;
use super::members::{Missed, Reply, Table};
use super::pattern::Capacities;
use super::protocol::{Ask, Key};
#[cfg(feature = "redis")]
use super::redis::{self, Shards};
use super::store::Store;
use super::worker::Worker;
use super::{
    Asker, ChannelStatistics, Connection, DELAY_MAX, Delivery, GroupName, History, Limits, Message,
    Position, Received, Sink, Statistics, Values, epoch_now, too_large,
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
    /// With the task that tells the store when something is due, if there is a runtime for it.
    Memory { _clock: Option<Arc<AbortOnDropHandle<()>>> },
    /// The task that keeps the link; the last clone of the layer ends it.
    Pulse { link: link::State, _task: AbortOnDropHandle<()> },
    /// The tasks that keep the links; the last clone of the layer ends them.
    #[cfg(feature = "redis")]
    Redis { shards: Arc<Shards>, _tasks: Vec<AbortOnDropHandle<()>> },
}

impl Layer {
    /// A layer inside this process, for tests and a server of one process.
    #[must_use]
    pub fn memory(settings: &conf::Channels) -> Self {
        let hub = hub(settings);
        Self::beside(&hub, clock(&hub), settings)
    }

    /// `count` layers of one store in this process, as if each were a worker of its own.
    #[must_use]
    pub fn memory_workers(settings: &conf::Channels, count: usize) -> Vec<Self> {
        let hub = hub(settings);
        let clock = clock(&hub);
        (0..count).map(|_| Self::beside(&hub, clock.clone(), settings)).collect()
    }

    fn beside(
        hub: &Arc<Hub>,
        clock: Option<Arc<AbortOnDropHandle<()>>>,
        settings: &conf::Channels,
    ) -> Self {
        let worker = Worker::local(table(settings), wait(settings), Arc::clone(hub));
        Self::new(Arc::new(worker), settings, LayerKind::Memory { _clock: clock })
    }

    /// A layer over the store process that listens on the unix socket `path`. It links to it in the
    /// background, and again whenever the link is cut; see [`ready`](Self::ready).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn pulse(path: &Path, settings: &conf::Channels) -> Self {
        Self::linked(link::Place::Socket(path.to_owned()), settings)
    }

    /// A layer over whichever store process listens in `folder`, the latest if there are several:
    /// for processes beside a server, which may be stopped and started again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn pulse_in(folder: &Path, settings: &conf::Channels) -> Self {
        Self::linked(link::Place::Folder(folder.to_owned()), settings)
    }

    fn linked(place: link::Place, settings: &conf::Channels) -> Self {
        let worker = Arc::new(Worker::linked(table(settings), wait(settings)));
        let link = link::State::default();
        let task = tokio::spawn(link::run(place, Arc::clone(&worker), link.clone()));
        let kind = LayerKind::Pulse { link, _task: AbortOnDropHandle::new(task) };
        Self::new(worker, settings, kind)
    }

    /// A layer over Redis: `redis://user:password@host:port,host:port/db?prefix=site`, any number
    /// of processes and machines around the same servers; `rediss://` is TLS. It links to them in
    /// the background, and again whenever a link is cut; see [`ready`](Self::ready).
    ///
    /// # Errors
    /// The URL has another form, or this build knows no Redis (the feature `redis`). No error
    /// repeats it: it may hold a password.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "redis")]
    pub fn redis(url: &str, settings: &conf::Channels) -> Result<Self> {
        let address = redis::Address::parse(url)?;
        let shards =
            Arc::new(Shards::new(address, Limits::new(settings), Capacities::new(settings)));
        let mut table = table(settings);
        table.dismissed_in(shards.dismissal_groups());
        let worker = Worker::sharded(table, wait(settings), Arc::clone(&shards));
        let worker = Arc::new(worker);
        let tasks = Shards::start(&shards, &worker);
        Ok(Self::new(worker, settings, LayerKind::Redis { shards, _tasks: tasks }))
    }

    /// A layer over Redis, which this build does not know.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "redis"))]
    pub fn redis(url: &str, _: &conf::Channels) -> Result<Self> {
        Err(super::no_redis(url))
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
            LayerKind::Memory { .. } => Ok(()),
            LayerKind::Pulse { link, .. } => link.ready(self.0.worker.wait()).await,
            #[cfg(feature = "redis")]
            LayerKind::Redis { shards, .. } => shards.ready(self.0.worker.wait()).await,
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

    /// As [`publish`](Self::publish), once however often it is asked for: a message that comes
    /// again with the same `name` (1 to 200 bytes, best the client's id and a number of its own) is
    /// not sent, and the answer is the place of the first. So a sender that does not know whether
    /// its message arrived says it again. Known as long as the group's history reaches, and as long
    /// as a worker holds it also by the next store.
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

    /// As [`publish`](Self::publish), as the latest of something (1 to 200 bytes: a price, a
    /// cursor): to members with [`Policy::Latest`](super::Policy::Latest) that lag, only the last
    /// of each is worth sending.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), or `of` is empty or too long.
    pub async fn publish_latest(
        &self,
        group: &GroupName,
        of: &str,
        message: Message,
    ) -> Result<Position> {
        let (frame, of) = (self.frame(&message)?, Key::named(of)?.session.max(1));
        let group = group.clone();
        let make = |key| Ask::PublishLatest { key, retry: false, group, of, frame };
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
            Reply::Full => Err(full(channel)),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// As [`send`](Self::send), but the message comes to the channel only after `delay`, at most a
    /// week. Until then it waits in the store: it survives the end of its sender, but like all
    /// messages of channels not that of the store. When it is due it goes in, also if the channel
    /// is full.
    ///
    /// # Errors
    /// As [`send`](Self::send); `delay` is more than a week; or as many messages are delayed as may
    /// be (`channels.delayed_messages`, 64 MiB in all: `is_channel_full`).
    pub async fn send_after(
        &self,
        channel: &GroupName,
        delay: Duration,
        message: Message,
    ) -> Result<()> {
        if delay > DELAY_MAX {
            let words = format!("a message cannot be delayed for {delay:?}: at most {DELAY_MAX:?}");
            return Err(Error::new(words));
        }
        let (frame, bytes) = (self.frame(&message)?, message.len());
        let make = |key| {
            let channel = channel.clone();
            Ask::Channel(ChannelAsk::SendAfter { key, retry: false, channel, frame, delay })
        };
        match self.0.worker.request(bytes, make).await? {
            Reply::Done => Ok(()),
            Reply::Full => {
                let words = format!("channel {channel}: too many messages are delayed already");
                Err(Error::of(Kind::ChannelFull, words))
            }
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// Sends to the one reader of `channel` and waits for its answer, which nobody else gets. After
    /// `wait` an answer goes nowhere; the message may still be read.
    ///
    /// # Errors
    /// There is no answer (`is_no_answer`): not in time, or its reader ended without one; or as
    /// [`send`](Self::send).
    pub async fn ask(
        &self,
        channel: &GroupName,
        message: Message,
        wait: Duration,
    ) -> Result<Message> {
        let (frame, bytes) = (self.frame(&message)?, message.len());
        let make = |key| {
            let channel = channel.clone();
            Ask::Channel(ChannelAsk::Call { key, retry: false, channel, frame })
        };
        match self.0.worker.call(bytes, wait, make).await? {
            Some(Reply::Answered(Some(frame))) => Ok(frame.message()),
            Some(Reply::Answered(None)) => Err(no_answer(format!(
                "asking channel {channel}: it was dropped, or its handler ended, without an answer"
            ))),
            Some(Reply::Full) => Err(full(channel)),
            Some(reply) => Err(super::unexpected(&reply)),
            None => Err(no_answer(format!("asking channel {channel}: no answer within {wait:?}"))),
        }
    }

    /// Waits for the next message of `channel`, as long as it takes. Dropping the future loses
    /// nothing. Who asked for an answer is told that there will be none; see
    /// [`take`](Self::take).
    ///
    /// # Errors
    /// The layer is being closed.
    pub async fn receive(&self, channel: &GroupName) -> Result<Message> {
        self.take(channel).await.map(|received| received.message)
    }

    /// As [`receive`](Self::receive), with the way back to who asked.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn take(&self, channel: &GroupName) -> Result<Received> {
        let channel = channel.clone();
        let make = |key: Key| Ask::Receive { request: key.request, channel };
        match self.0.worker.wait_for(make).await? {
            Reply::Received { frame, asker, .. } => {
                let (worker, max) = (&self.0.worker, self.0.message_bytes_max);
                let asker = asker.map(|key| Asker::new(Arc::clone(worker), max, key));
                Ok(Received { message: frame.message(), asker })
            }
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// Numbers of `channel`: all 0 if nobody has used it for an hour.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn channel_statistics(&self, channel: &GroupName) -> Result<ChannelStatistics> {
        self.inspect(Some(channel.clone())).await
    }

    /// Numbers of all channels together; `oldest` is the oldest of all.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn channels_statistics(&self) -> Result<ChannelStatistics> {
        self.inspect(None).await
    }

    async fn inspect(&self, channel: Option<GroupName>) -> Result<ChannelStatistics> {
        let make = |key: Key| Ask::Channel(ChannelAsk::Inspect { request: key.request, channel });
        match self.0.worker.request(0, make).await? {
            Reply::Inspected(numbers) => Ok(numbers),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// Drops what waits in `channel`, delayed messages too. Who waits for an answer to one of them
    /// is told that there is none.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn flush_channel(&self, channel: &GroupName) -> Result<()> {
        let channel = channel.clone();
        let make = |key: Key| Ask::Channel(ChannelAsk::Flush { request: key.request, channel });
        match self.0.worker.request(0, make).await? {
            Reply::Done => Ok(()),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// The name of a channel nobody else has: `prefix`, a `.`, and 128 bits, of which the process
    /// and a number of its own are half, so that also a process whose random numbers begin as
    /// another's did (a copy of a running machine) has names of its own.
    ///
    /// # Errors
    /// `prefix` is no name, or longer than 67 bytes.
    pub fn new_channel(&self, prefix: &str) -> Result<GroupName> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        // Cut to its last digits, which differ from one moment to the next.
        let moment = since.as_nanos() as u64;
        let random = rand::random::<u64>() ^ moment;
        GroupName::new(&format!("{prefix}.{random:016x}{:08x}{number:08x}", std::process::id()))
    }

    /// A connection, to take part in groups with. `wake` is notified when it has something to read.
    #[must_use]
    pub fn connect(&self, wake: Arc<Notify>) -> Connection {
        self.connect_sink(wake)
    }

    /// A connection whose messages go to `sink`.
    pub(crate) fn connect_sink(&self, sink: Arc<dyn Sink>) -> Connection {
        Connection::new(Arc::clone(&self.0.worker), sink, self.0.message_bytes_max)
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.0.worker
    }

    /// What this process's side holds and has done.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.worker.table().statistics()
    }

    pub(super) fn frame(&self, message: &Message) -> Result<Frame> {
        too_large(message, self.0.message_bytes_max)?;
        Ok(Frame::new(message))
    }
}

fn full(channel: &GroupName) -> Error {
    let words = format!("channel {channel} is full: its reader is slower than its senders");
    Error::of(Kind::ChannelFull, words)
}

/// A store in this process: no earlier one can have left workers behind.
fn hub(settings: &conf::Channels) -> Arc<Hub> {
    let store = Store::new(Limits::new(settings), epoch_now(), Duration::ZERO);
    Arc::new(Hub::new(store.with_capacities(Capacities::new(settings))))
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

/// The task that tells the store of this process when something is due.
fn clock(hub: &Arc<Hub>) -> Option<Arc<AbortOnDropHandle<()>>> {
    let runtime = Handle::try_current().ok()?;
    let hub = Arc::clone(hub);
    let turning = async move { match hub.turn().await {} };
    Some(Arc::new(AbortOnDropHandle::new(runtime.spawn(turning))))
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
            LayerKind::Memory { .. } => "memory",
            LayerKind::Pulse { .. } => "pulse",
            #[cfg(feature = "redis")]
            LayerKind::Redis { .. } => "redis",
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
