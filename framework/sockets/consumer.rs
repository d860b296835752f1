//! What a site writes: one value per connection.

use super::Socket;
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
