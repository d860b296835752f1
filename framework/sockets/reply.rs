//! The handle of a connection: what can be done to it, from its consumer or from elsewhere.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::frames::may_travel;
use super::slot::{Close, Slot, closed};
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
pub struct Reply(Whose);

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
    accepted: Mutex<Accepted>,
}

/// What the consumer has decided about the handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted {
    pub(super) is_accepted: bool,
    pub(super) subprotocol: Option<String>,
}

impl Shared {
    pub(super) fn new(request: Request) -> Self {
        let slot = Arc::new(Slot::new(Wheel::of(request.site())));
        let connection = request.site().layer().connect_sink(Arc::<Slot>::clone(&slot));
        Self { request, connection, slot, farewell: OnceLock::new(), accepted: Mutex::default() }
    }

    pub(super) fn accepted(&self) -> Accepted {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the connection for all its handles.
    pub(super) fn end(&self) {
        self.slot.end();
        self.connection.close();
    }
}

impl Reply {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Whose::Connection(shared))
    }

    /// A handle of nobody.
    pub(super) fn nobody(site: Site) -> Self {
        Self(Whose::Nobody(Box::new(site)))
    }

    fn shared(&self) -> Result<&Shared> {
        match &self.0 {
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
        let shared = self.shared()?;
        let mut accepted = shared.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        *accepted = Accepted { is_accepted: true, subprotocol };
        Ok(())
    }

    /// Sends a message to this client. Waits while the client is slow; one that does not read at
    /// all is dropped after `server.ping_timeout`.
    ///
    /// # Errors
    /// The socket is closed (`is_socket_closed`).
    pub async fn send(&self, message: impl Into<Message> + Send) -> Result<()> {
        let frame = Frame::new(&message.into());
        self.shared()?.slot.push(&frame).await
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
        self.shared()?.slot.close(Close { code, reason: reason.to_owned() })
    }

    /// Joins `group`: its messages go to this client as they are, from now on.
    ///
    /// # Errors
    /// The name is bad, the store cannot be reached, or the socket is closed.
    pub async fn join(&self, group: impl AsRef<str> + Send) -> Result<()> {
        self.join_with(group, Policy::default()).await
    }

    /// As [`join`](Self::join), with what happens when this client is too slow for the group.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_with(&self, group: impl AsRef<str> + Send, policy: Policy) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        self.shared()?.connection.join_with(&group, policy).await
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
        self.shared()?.connection.join_at(&group, since, policy).await
    }

    /// Listens to `group`: its messages come to the consumer's `group_message`, from now on.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn listen(&self, group: impl AsRef<str> + Send) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        self.shared()?.connection.listen(&group).await
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
        self.shared()?.connection.enter(&group, &presence).await
    }

    /// Leaves `group`, as member, listener and presence; nothing if it is in none of them.
    ///
    /// # Errors
    /// The name is bad.
    pub async fn leave(&self, group: impl AsRef<str> + Send) -> Result<()> {
        let group = GroupName::new(group.as_ref())?;
        self.shared()?.connection.leave(&group);
        Ok(())
    }
}

impl Deref for Reply {
    type Target = Site;

    fn deref(&self) -> &Site {
        match &self.0 {
            Whose::Connection(shared) => shared.request.site(),
            Whose::Nobody(site) => site,
        }
    }
}

/// The subprotocols the client offers, in its order of preference.
pub(super) fn subprotocols(request: &Request) -> Vec<String> {
    let headers = request.headers().get_all("sec-websocket-protocol");
    let texts = headers.iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(|offer| offer.trim().to_owned())
        .filter(|offer| !offer.is_empty())
        .collect()
}
