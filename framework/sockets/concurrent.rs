//! Consumers that handle several messages of one client at once.
//!
//! Flow: a message comes → if as many are being handled as may be, wait until one is done → a task
//! of its own for it.
//!
//! Invariants: messages begin in the order they came; nothing is said of the order in which they
//! end. `disconnect` runs when the last of them has ended.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::tasks::guarded;
use super::{Consumer, Doubt, Handoff, Socket};
use crate::channels::Message;
use crate::error::{Error, Result};

/// A consumer whose methods may run at once: they share it, and each has a [`Socket`] of its own.
/// Served through [`Concurrent`].
pub trait SharedConsumer: Send + Sync + 'static {
    /// The groups it is in; see [`Consumer::groups`].
    ///
    /// # Errors
    /// As [`Consumer::groups`].
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        let _ = socket;
        Ok(Vec::new())
    }

    /// A client wants to connect; see [`Consumer::connect`].
    fn connect(&self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// A text message came.
    fn receive(
        &self,
        socket: &mut Socket,
        text: String,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, text);
        async { Ok(()) }
    }

    /// A binary message came.
    fn receive_bytes(
        &self,
        socket: &mut Socket,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, bytes);
        async { Ok(()) }
    }

    /// A message came to a group it listens to. These come one after the other.
    fn group_message(
        &self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, group, message);
        async { Ok(()) }
    }

    /// What the consumer of another worker needs to go on; see [`Consumer::handoff`]. Asked when
    /// nothing is being handled.
    fn handoff(&self) -> Handoff {
        Handoff::of(self)
    }

    /// Goes on with a connection of another worker; see [`Consumer::resume`].
    ///
    /// # Errors
    /// As [`Consumer::resume`].
    fn resume(
        &mut self,
        socket: &mut Socket,
        handoff: &Handoff,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = socket;
        std::future::ready(handoff.check(self))
    }

    /// Whether the connection may stay; see [`Consumer::reauthorize`].
    fn reauthorize(
        &self,
        socket: &mut Socket,
        doubt: Doubt,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = socket;
        async move { doubt.refuse_certain() }
    }

    /// The connection is gone, and nothing is being handled any more; see
    /// [`Consumer::disconnect`].
    fn disconnect(
        &self,
        socket: &mut Socket,
        code: u16,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, code);
        async { Ok(()) }
    }
}

/// Serves a [`SharedConsumer`]: `socket("rpc/", || Concurrent::new(8, Rpc::default()))`.
pub struct Concurrent<C> {
    consumer: Arc<C>,
    count: usize,
    /// Messages being handled. Dropping it cuts them short: only a server that ends without
    /// draining does.
    running: JoinSet<()>,
}

impl<C: SharedConsumer> Concurrent<C> {
    /// Lets `consumer` handle up to `count` messages at once.
    ///
    /// # Panics
    /// `count` is 0.
    #[must_use]
    pub fn new(count: usize, consumer: C) -> Self {
        assert!(count > 0, "a consumer that handles 0 messages at once handles none");
        Self { consumer: Arc::new(consumer), count, running: JoinSet::new() }
    }

    /// Starts `handle` with the consumer and a socket of its own, once there is room.
    async fn start<F, Fut>(&mut self, socket: &Socket, handle: F)
    where
        F: FnOnce(Arc<C>, Socket) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        while self.running.try_join_next().is_some() {}
        while self.running.len() >= self.count {
            self.running.join_next().await;
        }
        let work = handle(Arc::clone(&self.consumer), socket.another());
        self.running.spawn(guarded(socket.slot(), "a consumer", work));
    }
}

impl<C: SharedConsumer> Consumer for Concurrent<C> {
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        self.consumer.groups(socket)
    }

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.consumer.connect(socket).await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let text = text.to_owned();
        self.start(socket, |consumer, mut socket| async move {
            consumer.receive(&mut socket, text).await
        })
        .await;
        Ok(())
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.to_vec();
        self.start(socket, |consumer, mut socket| async move {
            consumer.receive_bytes(&mut socket, bytes).await
        })
        .await;
        Ok(())
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        self.consumer.group_message(socket, group, message).await
    }

    fn handoff(&self) -> Handoff {
        self.consumer.handoff()
    }

    async fn resume(&mut self, socket: &mut Socket, handoff: &Handoff) -> Result<()> {
        match Arc::get_mut(&mut self.consumer) {
            Some(consumer) => consumer.resume(socket, handoff).await,
            None => Err(Error::new("a consumer that goes on handles messages already")),
        }
    }

    async fn reauthorize(&mut self, socket: &mut Socket, doubt: Doubt) -> Result<()> {
        self.consumer.reauthorize(socket, doubt).await
    }

    async fn disconnect(&mut self, socket: &mut Socket, code: u16) -> Result<()> {
        while self.running.join_next().await.is_some() {}
        self.consumer.disconnect(socket, code).await
    }
}

impl<C> fmt::Debug for Concurrent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrent").field("count", &self.count).finish_non_exhaustive()
    }
}
