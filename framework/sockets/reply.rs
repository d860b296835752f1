//! The handle of a connection: what can be done to it, from its consumer or from elsewhere.

use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use super::cap::Place;
use super::frames::may_travel;
use super::logical::{Logical, Part};
use super::slot::{Close, Slot, closed};
use super::task::log_failure;
use super::tasks::{Tasks, guarded};
use super::wheel::Wheel;
use crate::channels::{
    Connection, Entered, Frame, GroupName, Joined, Message, Policy, Position, Presence,
};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::site::Site;

/// Longest close reason, bytes. RFC 6455 §5.5 gives a control frame 125; two hold the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A connection, to be answered. A cheap clone; derefs to the [`Site`]. It may outlive the
/// connection: its calls are errors then (`is_socket_closed`).
#[derive(Clone, Debug)]
pub struct Reply {
    whose: Whose,
    /// Of several on one socket, the one it speaks for.
    stream: Option<Arc<Logical>>,
}

#[derive(Clone, Debug)]
enum Whose {
    Connection(Arc<Shared>),
    /// There is no connection, the event came from a named channel.
    Nobody(Box<Site>),
}

/// What a connection's task and all its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) request: Request,
    pub(super) connection: Connection,
    pub(super) slot: Arc<Slot>,
    /// What the client is told when the server goes away.
    pub(super) farewell: OnceLock<fn(&Site) -> Message>,
    pub(super) tasks: Tasks,
    accepted: Mutex<Accepted>,
    /// Its place among the WebSockets of its process.
    pub(super) place: Place,
}

/// What the consumer has decided about the handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted {
    pub(super) is_accepted: bool,
    pub(super) subprotocol: Option<String>,
    /// For the 101.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// It is too late for more.
    is_decided: bool,
}

impl Shared {
    pub(super) fn new(request: Request, place: Place) -> Self {
        let slot = Arc::new(Slot::new(Wheel::of(request.site())));
        let connection = request.site().layer().connect_sink(Arc::<Slot>::clone(&slot));
        Self {
            request,
            connection,
            slot,
            farewell: OnceLock::new(),
            tasks: Tasks::default(),
            accepted: Mutex::default(),
            place,
        }
    }

    fn accepting(&self) -> MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the consumer has decided; nothing can be added any more.
    pub(super) fn accepted(&self) -> Accepted {
        let mut accepted = self.accepting();
        accepted.is_decided = true;
        accepted.clone()
    }

    /// Ends the connection for all its handles.
    pub(super) fn end(&self) {
        self.slot.end();
        self.connection.close();
        self.tasks.end();
    }
}

impl Reply {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { whose: Whose::Connection(shared), stream: None }
    }

    /// A handle of nobody.
    pub(super) fn nobody(site: Site) -> Self {
        Self { whose: Whose::Nobody(Box::new(site)), stream: None }
    }

    /// The same connection, for one of its streams.
    pub(super) fn of_stream(&self, stream: Arc<Logical>) -> Self {
        Self { whose: self.whose.clone(), stream: Some(stream) }
    }

    fn shared(&self) -> Result<&Shared> {
        match &self.whose {
            Whose::Connection(shared) => Ok(shared),
            Whose::Nobody(_) => Err(closed("this event came from no socket")),
        }
    }

    /// The handshake: its URL, headers, session and user.
    ///
    /// # Errors
    /// The event came from no socket.
    pub fn request(&self) -> Result<&Request> {
        Ok(&self.shared()?.request)
    }

    /// Accepts the connection. Twice is once.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn accept(&self) -> Result<()> {
        self.decide(None)
    }

    /// Accepts the connection and speaks `subprotocol`, which the client offered.
    ///
    /// # Errors
    /// The client did not offer it.
    pub async fn accept_subprotocol(&self, subprotocol: &str) -> Result<()> {
        let offered = subprotocols(self.request()?);
        if !offered.iter().any(|offer| offer == subprotocol) {
            return Err(Error::new(format!(
                "accepting a socket: the client did not offer the subprotocol {subprotocol:?}"
            )));
        }
        self.decide(Some(subprotocol.to_owned()))
    }

    fn decide(&self, subprotocol: Option<String>) -> Result<()> {
        let mut accepted = self.shared()?.accepting();
        if let Some(stream) = &self.stream {
            // Whether the socket is accepted is decided when all were asked.
            stream.accept();
        } else {
            accepted.is_accepted = true;
        }
        accepted.subprotocol = subprotocol.or(accepted.subprotocol.take());
        Ok(())
    }

    /// Adds a header to the answer that accepts the connection.
    ///
    /// # Errors
    /// It is no header, one that is part of the handshake itself, or the answer is given already.
    pub fn add_header(&self, name: &str, value: &str) -> Result<()> {
        let wrong = |words: &str| Error::new(format!("adding the header {name:?}: {words}"));
        let header = HeaderName::try_from(name).map_err(|_| wrong("it is no name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong("it is no value"))?;
        let is_ours = [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH]
            .contains(&header)
            || header == header::TRANSFER_ENCODING
            || header.as_str().starts_with("sec-websocket-");
        if is_ours {
            return Err(wrong("it is part of the handshake"));
        }
        let mut accepted = self.shared()?.accepting();
        if accepted.is_decided {
            return Err(wrong("the handshake is answered already"));
        }
        accepted.headers.push((header, value));
        Ok(())
    }

    /// Starts `task`, which ends with the connection at the latest: at its next wait, before
    /// `disconnect` is called. If it fails or panics the connection (of one of several streams on a
    /// socket: the stream) is closed with 1011.
    ///
    /// # Errors
    /// The connection is closed (`is_socket_closed`), or has 100 tasks already.
    pub fn spawn(&self, task: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        let shared = self.shared()?;
        if self.stream.is_none() {
            let task = guarded(Arc::clone(&shared.slot), "a socket's task", task);
            return shared.tasks.spawn(task);
        }
        // It ends its stream, not the others.
        let reply = self.clone();
        shared.tasks.spawn(async move {
            let done = AssertUnwindSafe(task).catch_unwind().await;
            if log_failure("a stream's task", done).is_err() {
                // It may be closed already.
                let _ = reply.close(1011, "internal error").await;
            }
        })
    }

    /// Sends a message to this client. Waits while the client is slow; one that does not read at
    /// all is dropped after `server.ping_timeout`.
    ///
    /// # Errors
    /// The socket is closed (`is_socket_closed`).
    pub async fn send(&self, message: impl Into<Message> + Send) -> Result<()> {
        let mut message = message.into();
        if let Some(stream) = &self.stream {
            message = stream.marked(message)?;
        }
        self.shared()?.slot.push(&Frame::new(&message)).await
    }

    /// As [`send`](Self::send), with a value as JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send), or the value cannot be written as JSON.
    pub async fn send_json(&self, value: &(impl Serialize + Sync + ?Sized)) -> Result<()> {
        let json = serde_json::to_string(value)?;
        self.send(json).await
    }

    /// Closes the connection after what was sent before. `reason` is for the client's log.
    ///
    /// # Errors
    /// The code is none a server may send, the reason is longer than 123 bytes, or the socket is
    /// closed already.
    pub async fn close(&self, code: u16, reason: &str) -> Result<()> {
        if !may_travel(code) || reason.len() > CLOSE_REASON_BYTES_MAX {
            return Err(Error::new(format!(
                "closing a socket with {code}: 1000 to 1003, 1007 to 1014 and 3000 to 4999 can be \
                 sent, with a reason of at most {CLOSE_REASON_BYTES_MAX} bytes"
            )));
        }
        if let Some(stream) = &self.stream {
            let told = Frame::new(&stream.close(code, reason)?);
            return self.shared()?.slot.push(&told).await;
        }
        self.shared()?.slot.close(Close { code, reason: reason.to_owned() })
    }

    /// Joins `group`: its messages go to this client as they are, from now on.
    ///
    /// # Errors
    /// It is in `server.groups_per_socket` groups already, the name is bad, the store cannot be
    /// reached, or the socket is closed.
    pub async fn join(&self, group: impl AsRef<str> + Send) -> Result<()> {
        self.join_with(group, Policy::default()).await
    }

    /// As [`join`](Self::join), with what happens when this client is too slow for the group.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_with(&self, group: impl AsRef<str> + Send, policy: Policy) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        if self.stream.is_some() {
            if policy != Policy::default() {
                return Err(self.whole_only("a policy"));
            }
            return self.take_part(&group, Part { is_joined: true, is_listening: false }).await;
        }
        self.room_for(&group)?.connection.join_with(&group, policy).await
    }

    /// As [`join_with`](Self::join_with), for a client that comes back with the position of the
    /// last message it has: what was sent after that comes first, all of it, once and in order. If
    /// the group's history does not reach there, [`Joined::recovered`] is false and what comes
    /// begins now: send it the state.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_at(
        &self,
        group: impl AsRef<str> + Send,
        since: Option<Position>,
        policy: Policy,
    ) -> Result<Joined> {
        let group = GroupName::new(group.as_ref())?;
        if self.stream.is_some() {
            return Err(self.whole_only("a position"));
        }
        self.room_for(&group)?.connection.join_at(&group, since, policy).await
    }

    /// Listens to `group`: its messages come to the consumer's `group_message`, from now on.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn listen(&self, group: impl AsRef<str> + Send) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        if self.stream.is_some() {
            return self.take_part(&group, Part { is_joined: false, is_listening: true }).await;
        }
        self.room_for(&group)?.connection.listen(&group).await
    }

    /// A stream's part in a group: the connection listens, and the stream's consumer or client gets
    /// what is its own.
    async fn take_part(&self, group: &GroupName, part: Part) -> Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        stream.check_open()?;
        self.room_for(group)?.connection.listen(group).await?;
        stream.take_part(group, part);
        Ok(())
    }

    /// The connection, if it may take part in this group too.
    fn room_for(&self, group: &GroupName) -> Result<&Shared> {
        let shared = self.shared()?;
        let max = self.settings().server.groups_per_socket;
        if max == 0 || shared.connection.has_room(group, max) {
            return Ok(shared);
        }
        shared.place.refused_group();
        Err(Error::new(format!(
            "joining {:?}: a socket is in at most {max} groups (server.groups_per_socket)",
            group.as_str()
        )))
    }

    fn whole_only(&self, what: &str) -> Error {
        let name = self.stream.as_ref().map_or("", |stream| stream.name());
        Error::new(format!("stream {name:?}: joining a group with {what} takes a whole socket"))
    }

    /// Joins `group` and is counted as present in it, until it leaves or the connection ends. What
    /// is sent to the group after this moment goes to the client; its own `joined` is not among it.
    ///
    /// # Errors
    /// As [`join`](Self::join), or the presence's key is empty or longer than 200 bytes.
    pub async fn enter(
        &self,
        group: impl AsRef<str> + Send,
        presence: Presence,
    ) -> Result<Entered> {
        let group = GroupName::new(group.as_ref())?;
        if self.stream.is_some() {
            return Err(self.whole_only("a presence"));
        }
        self.room_for(&group)?.connection.enter(&group, &presence).await
    }

    /// Leaves `group`, as member, listener and presence; nothing if it is in none of them.
    ///
    /// # Errors
    /// The name is bad.
    pub async fn leave(&self, group: impl AsRef<str> + Send) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        // Another stream of this socket may still be in it.
        if self.stream.as_ref().is_none_or(|stream| stream.leave(&group)) {
            self.shared()?.connection.leave(&group);
        }
        Ok(())
    }
}

impl Deref for Reply {
    type Target = Site;

    fn deref(&self) -> &Site {
        match &self.whose {
            Whose::Connection(shared) => shared.request.site(),
            Whose::Nobody(site) => site,
        }
    }
}

/// The subprotocols the client offers, in its order of preference.
pub(super) fn subprotocols(request: &Request) -> Vec<String> {
    request
        .header_texts("sec-websocket-protocol")
        .flat_map(|text| text.split(','))
        .map(|offer| offer.trim().to_owned())
        .filter(|offer| !offer.is_empty())
        .collect()
}
