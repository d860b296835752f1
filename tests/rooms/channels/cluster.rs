//! Workers around one store, whatever kind of store it is, and what a case does with them.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hulse::channels::{Connection, GroupName, Layer, Message, Presence, serve, socket_path};
use hulse::conf;
use hulse_tests::{promised, redis_servers};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait for what must come.
pub(super) const WAIT: Duration = Duration::from_secs(20);

/// How soon what a dead worker held must be gone.
pub(super) fn gone() -> Duration {
    promised(Duration::from_secs(1), Duration::from_secs(5))
}

/// The layer a case is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Memory,
    Pulse,
    /// With so many shards.
    Redis(usize),
}

impl On {
    pub(super) fn memory() -> Self {
        Self::Memory
    }

    pub(super) fn pulse() -> Self {
        Self::Pulse
    }

    /// `None`, said aloud, where there are no such servers.
    pub(super) fn redis(shards: usize) -> Option<Self> {
        redis_servers(shards).map(|_| Self::Redis(shards))
    }

    /// `count` workers around a store of their own.
    pub(super) async fn workers(self, count: usize) -> Cluster {
        self.workers_with(&conf::Channels::default(), count).await
    }

    /// The same with other settings.
    pub(super) async fn workers_with(self, settings: &conf::Channels, count: usize) -> Cluster {
        let mut cluster = match self {
            Self::Memory => {
                let workers = Layer::memory_workers(settings, count);
                return Cluster { workers, settings: settings.clone(), store: None, url: None };
            }
            Self::Pulse => Cluster {
                workers: Vec::new(),
                settings: settings.clone(),
                store: Some(Store::start(settings).await),
                url: None,
            },
            Self::Redis(shards) => Cluster {
                workers: Vec::new(),
                settings: settings.clone(),
                store: None,
                url: Some(redis_url(&redis_servers(shards).expect("seen before"))),
            },
        };
        for _ in 0..count {
            cluster.add().await;
        }
        cluster
    }
}

/// Workers around one store.
pub(super) struct Cluster {
    pub(super) workers: Vec<Layer>,
    settings: conf::Channels,
    pub(super) store: Option<Store>,
    /// Of Redis, if the store is one.
    url: Option<String>,
}

impl Cluster {
    /// One worker more.
    async fn add(&mut self) {
        let worker = match (&self.url, &self.store) {
            (Some(url), _) => Layer::redis(url, &self.settings).unwrap(),
            (None, Some(store)) => Layer::pulse(&store.path, &self.settings),
            (None, None) => unreachable!("workers of one process come together"),
        };
        worker.ready().await.unwrap();
        self.workers.push(worker);
    }

    /// The first two workers.
    pub(super) fn two(&self) -> (&Layer, &Layer) {
        (&self.workers[0], &self.workers[1])
    }

    /// Ends the last worker as a kill does: nothing says goodbye, only the link's end tells.
    pub(super) fn kill_last(&mut self) {
        drop(self.workers.pop().expect("a worker"));
    }
}

/// The servers as shards, under a name nobody else has.
pub(super) fn redis_url(servers: &[String]) -> String {
    let layer = Layer::memory(&conf::Channels::default());
    let prefix = layer.new_channel("test").expect("a good prefix");
    format!("redis://{}/0?prefix={prefix}", servers.join(","))
}

/// A store behind a socket, which can be killed and started again.
pub(super) struct Store {
    pub(super) path: PathBuf,
    settings: conf::Channels,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Store {
    async fn start(settings: &conf::Channels) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_path(folder.path());
        let task = Self::run(&path, settings);
        Self { path, settings: settings.clone(), task, _folder: folder }
    }

    fn run(path: &Path, settings: &conf::Channels) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        let settings = settings.clone();
        tokio::spawn(async move { serve(listener, &settings, pending()).await.unwrap() })
    }

    pub(super) async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        std::fs::remove_file(&self.path).unwrap();
    }

    pub(super) fn begin_again(&mut self) {
        self.task = Self::run(&self.path, &self.settings);
    }

    pub(super) async fn restart(&mut self) {
        self.kill().await;
        self.begin_again();
    }
}

/// A connection that listens, as a consumer does.
pub(super) struct Member {
    pub(super) connection: Connection,
    wake: Arc<Notify>,
    pub(super) heard: Vec<Message>,
}

impl Member {
    /// In no group yet.
    pub(super) fn new(layer: &Layer) -> Self {
        let wake = Arc::new(Notify::new());
        let connection = layer.connect(Arc::clone(&wake));
        Self { connection, wake, heard: Vec::new() }
    }

    pub(super) async fn of(layer: &Layer, group: &str) -> Self {
        let member = Self::new(layer);
        member.connection.listen(&name(group)).await.unwrap();
        member
    }

    pub(super) async fn enter(layer: &Layer, group: &str, key: &str) -> Self {
        let member = Self::new(layer);
        member.connection.enter(&name(group), &presence(key)).await.unwrap();
        member
    }

    /// Waits until it has heard `count` messages in all.
    pub(super) async fn hear_messages(&mut self, count: usize) -> &[Message] {
        let hearing = async {
            while self.heard.len() < count {
                let heard = self.connection.hear(usize::MAX).unwrap();
                if heard.is_empty() {
                    self.wake.notified().await;
                }
                self.heard.extend(heard.into_iter().map(|(_, delivery)| delivery.message));
            }
        };
        let is_done = timeout(WAIT, hearing).await.is_ok();
        assert!(is_done, "heard {} of {count}: {:?}", self.heard.len(), self.heard);
        &self.heard
    }

    /// The same as texts.
    pub(super) async fn hear(&mut self, count: usize) -> Vec<String> {
        texts(self.hear_messages(count).await)
    }

    /// Waits until it is told that messages are lost to it.
    pub(super) async fn lose(&mut self) {
        let losing = async {
            loop {
                match self.connection.hear(usize::MAX) {
                    Ok(heard) if heard.is_empty() => self.wake.notified().await,
                    Ok(heard) => self.heard.extend(heard.into_iter().map(|(_, d)| d.message)),
                    Err(error) => return error,
                }
            }
        };
        let error = timeout(WAIT, losing).await.expect("a gap is told");
        assert!(error.is_socket_closed(), "{error}");
    }

    /// Everything up to a message that says `last`.
    pub(super) async fn hear_to(&mut self, last: &str) -> Vec<String> {
        while self.heard.last().and_then(Message::text) != Some(last) {
            let count = self.heard.len() + 1;
            self.hear_messages(count).await;
        }
        texts(&self.heard)
    }
}

pub(super) fn name(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

pub(super) fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.text().unwrap().to_owned()).collect()
}

/// The numbers of a range as the texts that were sent.
pub(super) fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

pub(super) fn presence(key: &str) -> Presence {
    Presence {
        key: key.to_owned(),
        joined: Message::from(format!("{key} joined")),
        left: Message::from(format!("{key} left")),
    }
}

/// Sends to a group; the message's offset.
pub(super) async fn publish(layer: &Layer, group: &str, text: impl Into<Message>) -> u64 {
    layer.publish(&name(group), text.into()).await.unwrap().offset
}

pub(super) async fn send(layer: &Layer, channel: &str, text: impl Into<Message>) {
    layer.send(&name(channel), text.into()).await.unwrap();
}

/// Waits for the next message of a channel.
pub(super) async fn receive(layer: &Layer, channel: &str) -> String {
    let received = timeout(WAIT, layer.receive(&name(channel))).await.expect("a message");
    received.unwrap().text().unwrap().to_owned()
}

/// Sees that nothing waits in a channel: a message sent now is the next.
pub(super) async fn assert_empty(layer: &Layer, channel: &str) {
    send(layer, channel, "the only one").await;
    assert_eq!(receive(layer, channel).await, "the only one");
}

/// Ends at `moment`: what is waited for is time itself.
pub(super) async fn until(moment: Instant) {
    let _elapsed = tokio::time::timeout_at(moment.into(), pending::<()>()).await;
}
