//! Consumers of typed JSON.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Consumer, Doubt, Handoff, Socket};
use crate::channels::Message;
use crate::error::{Error, Result};

/// A consumer whose client speaks JSON of one type. Whatever else comes is answered by
/// [`bad_message`](Self::bad_message), and the socket stays open.
///
/// It goes wherever a [`Consumer`] does.
///
/// ```
/// use hulse::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// #[serde(tag = "command", rename_all = "lowercase")]
/// enum Said {
///     Join { room: i64 },
///     Send { room: i64, message: String },
/// }
///
/// #[derive(Serialize)]
/// struct Joined {
///     join: i64,
/// }
///
/// #[derive(Default)]
/// struct Chat;
///
/// impl JsonConsumer for Chat {
///     type In = Said;
///
///     async fn receive(&mut self, socket: &mut Socket, said: Said) -> Result<()> {
///         match said {
///             Said::Join { room } => {
///                 socket.join(format!("room-{room}")).await?;
///                 socket.send_json(&Joined { join: room }).await
///             }
///             Said::Send { room, message } => {
///                 socket.group(format!("room-{room}")).send(json!({ "message": message })).await
///             }
///         }
///     }
/// }
///
/// let urls = Urls::new([socket("chat/", Chat::default)]);
/// ```
pub trait JsonConsumer: Send + 'static {
    /// What a client sends.
    type In: DeserializeOwned + Send;

    /// The groups it is in; see [`Consumer::groups`].
    ///
    /// # Errors
    /// As [`Consumer::groups`].
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        let _ = socket;
        Ok(Vec::new())
    }

    /// A client wants to connect; see [`Consumer::connect`].
    fn connect(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// A message came.
    fn receive(
        &mut self,
        socket: &mut Socket,
        message: Self::In,
    ) -> impl Future<Output = Result<()>> + Send;

    /// A text came that is no JSON, or JSON that is no [`In`](Self::In), or a binary message. Tells
    /// the client: `{"error": "bad_message", "reason": ".."}`.
    fn bad_message(
        &mut self,
        socket: &mut Socket,
        error: Error,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let words = json!({ "error": "bad_message", "reason": error.to_string() });
            socket.send_json(&words).await
        }
    }

    /// A message came to a group it listens to; see [`Consumer::group_message`].
    fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, group, message);
        async { Ok(()) }
    }

    /// What the consumer of another worker needs to go on; see [`Consumer::handoff`].
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
        &mut self,
        socket: &mut Socket,
        doubt: Doubt,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = socket;
        async move { doubt.refuse_certain() }
    }

    /// The connection is gone; see [`Consumer::disconnect`].
    fn disconnect(
        &mut self,
        socket: &mut Socket,
        code: u16,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, code);
        async { Ok(()) }
    }
}

impl<C: JsonConsumer> Consumer for C {
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        JsonConsumer::groups(self, socket)
    }

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        JsonConsumer::connect(self, socket).await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match serde_json::from_str(text) {
            Ok(message) => JsonConsumer::receive(self, socket, message).await,
            Err(error) => self.bad_message(socket, error.into()).await,
        }
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, _: &[u8]) -> Result<()> {
        self.bad_message(socket, Error::new("expected a text message, got a binary one")).await
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        JsonConsumer::group_message(self, socket, group, message).await
    }

    fn handoff(&self) -> Handoff {
        JsonConsumer::handoff(self)
    }

    async fn resume(&mut self, socket: &mut Socket, handoff: &Handoff) -> Result<()> {
        JsonConsumer::resume(self, socket, handoff).await
    }

    async fn reauthorize(&mut self, socket: &mut Socket, doubt: Doubt) -> Result<()> {
        JsonConsumer::reauthorize(self, socket, doubt).await
    }

    async fn disconnect(&mut self, socket: &mut Socket, code: u16) -> Result<()> {
        JsonConsumer::disconnect(self, socket, code).await
    }
}
