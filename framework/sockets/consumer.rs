//! What a site writes: one value per connection.

use super::{Doubt, Handoff, Socket};
use crate::channels::Message;
use crate::error::Result;

/// One value per connection; its methods are called one after the other, never at once.
///
/// `connect` runs before the handshake is answered: a consumer that does not call
/// [`Socket::accept`] refuses with 403. What it sends there leaves right after the 101.
/// An error or a panic closes this socket with 1011; only the log says why.
pub trait Consumer: Send + 'static {
    /// The groups this connection is in from before [`connect`](Self::connect) to its end, usually
    /// made of what the path captured:
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # struct Room;
    /// # impl Consumer for Room {
    /// fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
    ///     Ok(vec![format!("room-{}", socket.path::<i64>()?)])
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any refuses the connection; a name that no group can have with 404, for it came from the
    /// path.
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        let _ = socket;
        Ok(Vec::new())
    }

    /// A client wants to connect.
    fn connect(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// A text message came.
    fn receive(
        &mut self,
        socket: &mut Socket,
        text: &str,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, text);
        async { Ok(()) }
    }

    /// A binary message came.
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

    /// At a reload another worker goes on with a connection that can move, as if nothing had been:
    /// its client notices nothing, its groups and presences go along, and neither `disconnect` nor
    /// `connect` is called. This says what the consumer there needs; it is asked between two calls.
    ///
    /// A consumer whose type has no size has nothing to carry and moves by itself. Any other stays
    /// (1012) unless it says here what it is made of, and reads that in [`resume`](Self::resume).
    /// What a consumer keeps elsewhere in its process does not move; who has a task of
    /// [`Socket::spawn`] for more than a second then, or a [`Reply`](super::Reply) that somebody
    /// keeps, stays. The consumer here is dropped when the other one is at work already: what its
    /// `Drop` ends (a lock, a guard) the other one must not rely on.
    fn handoff(&self) -> Handoff {
        Handoff::of(self)
    }

    /// Goes on with a connection of another worker: this consumer is new, and `handoff` what the
    /// other one said. Whoever was let in stays, but for what the line of the URL table demands;
    /// ask again here if that must be (`socket.request()` has the session and user of now). It may
    /// run for nothing: if the other worker keeps the connection in the end, this consumer is
    /// dropped, and neither of its other methods is called.
    ///
    /// # Errors
    /// Any closes the connection with 1012: its client comes back and begins anew.
    fn resume(
        &mut self,
        socket: &mut Socket,
        handoff: &Handoff,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = socket;
        std::future::ready(handoff.check(self))
    }

    /// Whether the connection may stay: what its visitor may do has changed since it was opened, or
    /// may have. Groups are silent for it until this has returned. An error closes it with 4401,
    /// which is what happens after a change unless a consumer looks for itself:
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # use hulse::sockets::Doubt;
    /// use hulse::contrib::auth;
    /// # use hulse::http::permission_denied;
    ///
    /// # struct Room;
    /// # impl Consumer for Room {
    /// async fn reauthorize(&mut self, socket: &mut Socket, _: Doubt) -> Result<()> {
    ///     let user = auth::afresh(socket.request()).user().await?;
    ///     if user.is_staff { Ok(()) } else { Err(permission_denied("staff only")) }
    /// }
    /// # }
    /// ```
    fn reauthorize(
        &mut self,
        socket: &mut Socket,
        doubt: Doubt,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = socket;
        async move { doubt.refuse_certain() }
    }

    /// The connection is gone; its groups are left already. `code` is the one it was closed with:
    /// the client's or ours, 1005 if the client gave none, 1006 if there was no goodbye.
    fn disconnect(
        &mut self,
        socket: &mut Socket,
        code: u16,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, code);
        async { Ok(()) }
    }
}
