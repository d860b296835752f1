//! WebSockets: `Consumer`, `Socket`, upgrade.

use std::ops::Deref;

use crate::channels::Message;
use crate::error::Result;
use crate::http::Request;
use crate::site::Site;
use crate::urls::Route;

/// One value per connection; its methods are called one after the other, never at once.
///
/// `connect` runs before the handshake is answered: a consumer that does not call
/// [`Socket::accept`] refuses with 403. What it sends there leaves right after the 101.
pub trait Consumer: Send + 'static {
    /// A client wants to connect.
    fn connect(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// A text frame came.
    fn receive(
        &mut self,
        socket: &mut Socket,
        text: &str,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, text);
        async { Ok(()) }
    }

    /// A binary frame came.
    fn receive_bytes(
        &mut self,
        socket: &mut Socket,
        bytes: &[u8],
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, bytes);
        async { Ok(()) }
    }

    /// A message came to a group this connection listens to (see [`Socket::listen`]; messages of
    /// groups it joined go to the client as they are).
    fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, group, message);
        async { Ok(()) }
    }

    /// The connection is gone; its groups are left already. `code` is the client's, or 1006.
    fn disconnect(
        &mut self,
        socket: &mut Socket,
        code: u16,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, code);
        async { Ok(()) }
    }
}

/// A connection, seen from its consumer. Derefs to the [`Site`].
#[derive(Debug)]
pub struct Socket {
    request: Request,
}

impl Socket {
    /// The handshake: its URL, headers, session and user.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Accepts the connection.
    ///
    /// # Errors
    /// It is closed already.
    pub async fn accept(&mut self) -> Result<()> {
        todo!()
    }

    /// Sends a frame to this client.
    ///
    /// # Errors
    /// The socket is closed, or its outbox is full (it is closed with 1013 then).
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<()> {
        let _ = message.into();
        todo!()
    }

    /// Joins `group`: its messages go to this client as they are, from now on.
    ///
    /// # Errors
    /// The name is bad or the store cannot be reached.
    pub async fn join(&mut self, group: impl AsRef<str>) -> Result<()> {
        todo!("{}", group.as_ref())
    }
}

impl Deref for Socket {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.request.site()
    }
}

/// A WebSocket at `route`; `consumer` makes the value for each connection.
///
/// # Panics
/// The route is malformed.
pub fn socket<C: Consumer>(route: &str, consumer: impl Fn() -> C + Send + Sync + 'static) -> Route {
    let _ = consumer;
    todo!("{route}")
}
