//! A connection, seen from its consumer.

use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Reply;
use super::cap::Place;
use super::logical::Logical;
use super::reply::{Shared, subprotocols};
use super::slot::Slot;
use crate::channels::{
    Connection, Entered, GroupName, Joined, Message, Policy, Position, Presence,
};
use crate::error::Result;
use crate::http::{Captured, Request};
use crate::site::Site;

/// A connection, seen from its consumer. Derefs to the [`Site`].
#[derive(Debug)]
pub struct Socket {
    shared: Arc<Shared>,
    reply: Reply,
}

impl Socket {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), reply: Reply::new(Arc::clone(shared)) }
    }

    /// The same connection, for a call that runs beside others.
    pub(super) fn another(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), reply: self.reply.clone() }
    }

    /// The same connection, for one of its streams.
    pub(super) fn of_stream(&self, stream: Arc<Logical>) -> Self {
        Self { shared: Arc::clone(&self.shared), reply: self.reply.of_stream(stream) }
    }

    pub(super) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.shared.slot)
    }

    /// Waits until the connection's tasks, which were told to end, have ended.
    pub(super) async fn tasks_ended(&self) {
        self.shared.tasks.ended().await;
    }

    /// The whole connection leaves `group`.
    pub(super) fn leave_now(&self, group: &GroupName) {
        self.shared.connection.leave(group);
    }

    /// The handshake: its URL, headers, session and user.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.shared.request
    }

    /// What the route's converters captured: a value, a tuple or a struct.
    ///
    /// # Errors
    /// The captured texts do not fit `T`.
    pub fn path<T: DeserializeOwned>(&self) -> Result<T> {
        match self.shared.request.extension::<Captured>() {
            Some(captured) => captured.parse(),
            None => Captured::default().parse(),
        }
    }

    /// Its place among those of this process.
    pub(super) fn place(&self) -> &Place {
        &self.shared.place
    }

    /// Its part in groups.
    pub(crate) fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    /// What to tell the client when the server goes away, before it is closed with 1001.
    pub(crate) fn on_drain(&self, words: fn(&Site) -> Message) {
        // Said once, when it connects.
        let _ = self.shared.farewell.set(words);
    }

    /// A handle that can be kept and cloned, for tasks of the site's own.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The subprotocols the client offers, in its order of preference.
    #[must_use]
    pub fn subprotocols(&self) -> Vec<String> {
        subprotocols(self.request())
    }

    /// Accepts the connection. Twice is once.
    ///
    /// # Errors
    /// None today.
    pub async fn accept(&mut self) -> Result<()> {
        self.reply.accept().await
    }

    /// Accepts the connection and speaks `subprotocol`, which the client offered.
    ///
    /// # Errors
    /// The client did not offer it.
    pub async fn accept_subprotocol(&mut self, subprotocol: &str) -> Result<()> {
        self.reply.accept_subprotocol(subprotocol).await
    }

    /// Adds a header to the answer that accepts the connection.
    ///
    /// # Errors
    /// It is no header, one that is part of the handshake itself, or the answer is given already.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<()> {
        self.reply.add_header(name, value)
    }

    /// Starts `task`, which ends with the connection at the latest: at its next wait, before
    /// `disconnect` is called. If it fails or panics the connection is closed with 1011.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hulse::prelude::*;
    /// struct Clock;
    ///
    /// impl Consumer for Clock {
    ///     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
    ///         let reply = socket.reply().clone();
    ///         socket.spawn(async move {
    ///             let mut tick = tokio::time::interval(Duration::from_secs(1));
    ///             loop {
    ///                 tick.tick().await;
    ///                 reply.send_json(&json!({ "now": Utc::now() })).await?;
    ///             }
    ///         })?;
    ///         socket.accept().await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The connection is closed (`is_socket_closed`), or has 100 tasks already.
    pub fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        self.reply.spawn(task)
    }

    /// Sends a message to this client. Waits while the client is slow; one that does not read at
    /// all is dropped after `server.ping_timeout`.
    ///
    /// # Errors
    /// The socket is closed (`is_socket_closed`).
    pub async fn send(&mut self, message: impl Into<Message> + Send) -> Result<()> {
        self.reply.send(message).await
    }

    /// As [`send`](Self::send), with a value as JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send), or the value cannot be written as JSON.
    pub async fn send_json(&mut self, value: &(impl Serialize + Sync + ?Sized)) -> Result<()> {
        self.reply.send_json(value).await
    }

    /// Closes the connection after what was sent before. `reason` is for the client's log.
    ///
    /// # Errors
    /// The code is none a server may send, the reason is longer than 123 bytes, or the socket is
    /// closed already.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        self.reply.close(code, reason).await
    }

    /// Joins `group`: its messages go to this client as they are, from now on.
    ///
    /// # Errors
    /// The name is bad or the store cannot be reached.
    pub async fn join(&mut self, group: impl AsRef<str> + Send) -> Result<()> {
        self.reply.join(group).await
    }

    /// As [`join`](Self::join), with what happens when this client is too slow for the group.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_with(&mut self, group: impl AsRef<str> + Send, slow: Policy) -> Result<()> {
        self.reply.join_with(group, slow).await
    }

    /// As [`join_with`](Self::join_with), for a client that comes back; see [`Reply::join_at`].
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_at(
        &mut self,
        group: impl AsRef<str> + Send,
        since: Option<Position>,
        slow: Policy,
    ) -> Result<Joined> {
        self.reply.join_at(group, since, slow).await
    }

    /// Listens to `group`: its messages come to [`Consumer::group_message`](super::Consumer).
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn listen(&mut self, group: impl AsRef<str> + Send) -> Result<()> {
        self.reply.listen(group).await
    }

    /// Joins `group` and is counted as present in it; see [`Reply::enter`].
    ///
    /// # Errors
    /// As [`join`](Self::join), or the presence's key is empty or longer than 200 bytes.
    pub async fn enter(
        &mut self,
        group: impl AsRef<str> + Send,
        presence: Presence,
    ) -> Result<Entered> {
        self.reply.enter(group, presence).await
    }

    /// Leaves `group`, as member, listener and presence; nothing if it is in none of them.
    ///
    /// # Errors
    /// The name is bad.
    pub async fn leave(&mut self, group: impl AsRef<str> + Send) -> Result<()> {
        self.reply.leave(group).await
    }
}

impl Deref for Socket {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.shared.request.site()
    }
}
