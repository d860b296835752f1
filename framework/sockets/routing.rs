//! Consumers as functions, routed by the name of what happened.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::{Consumer, Reply, Socket, socket};
use crate::channels::{Asker, GroupName, Message, Received};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::site::Site;
use crate::urls::Route;

/// What socket events are called.
const SOCKET_EVENTS: [&str; 4] =
    ["websocket.connect", "websocket.receive", "websocket.group", "websocket.disconnect"];

type Handler = Arc<dyn Fn(Event) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Something that happened on a socket or came over a named channel. Derefs to the [`Site`].
#[derive(Debug)]
pub struct Event {
    /// `websocket.connect`, or the named channel.
    pub name: String,
    /// What the client, the group or the sender said; empty at connect and disconnect.
    pub message: Message,
    /// The group of a `websocket.group`.
    pub group: Option<String>,
    /// The code of a `websocket.disconnect`.
    pub code: Option<u16>,
    /// The connection; of an event from a named channel nobody's (its calls are errors).
    pub reply: Reply,
    /// Who waits for an answer.
    asker: Mutex<Option<Asker>>,
}

impl Event {
    fn new(name: &str, message: Message, reply: Reply) -> Self {
        Self {
            name: name.to_owned(),
            message,
            group: None,
            code: None,
            reply,
            asker: Mutex::default(),
        }
    }

    /// Answers who asked (`site.channel(..).ask(..)`). Who does not wait any more is not told. An
    /// event that is dropped without an answer tells who asked that there is none.
    ///
    /// # Errors
    /// Nobody asked, or it is answered already; the answer is too large; the store cannot be
    /// reached.
    pub async fn answer(&self, message: impl Into<Message> + Send) -> Result<()> {
        let asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner).take();
        match asker {
            Some(asker) => asker.answer(message).await,
            None => {
                let words = format!("answering a {} event: nobody waits for an answer", self.name);
                Err(Error::new(words))
            }
        }
    }

    /// Whether somebody asked and is not answered yet.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.asker.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The message's text; empty if it is bytes.
    #[must_use]
    pub fn text(&self) -> &str {
        self.message.text().unwrap_or_default()
    }

    /// The message read as JSON.
    ///
    /// # Errors
    /// It is none, or does not fit `T`.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.message.as_bytes())
            .map_err(|error| Error::from(error).context(format!("reading a {} event", self.name)))
    }

    /// The handshake of the connection.
    ///
    /// # Errors
    /// The event came from no socket.
    pub fn request(&self) -> Result<&Request> {
        self.reply.request()
    }
}

impl Deref for Event {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.reply
    }
}

/// One line of a [`Routing`].
pub struct EventRoute {
    name: String,
    handler: Handler,
}

/// Calls `handler` for events called `name`: `websocket.connect`, `websocket.receive`,
/// `websocket.group`, `websocket.disconnect`, or any named channel.
pub fn route<F, Fut>(name: &str, handler: F) -> EventRoute
where
    F: Fn(Event) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    EventRoute { name: name.to_owned(), handler: Arc::new(move |event| Box::pin(handler(event))) }
}

/// Functions instead of a [`Consumer`] value. A cheap clone.
///
/// Without `websocket.connect` every connection is accepted. Names that are no socket events are
/// channels: one worker at a time reads each (see [`run_background`](super::run_background)), what
/// `site.channel(name).send(..)` puts there.
#[derive(Clone)]
pub struct Routing {
    handlers: Arc<HashMap<String, Handler>>,
}

impl Routing {
    /// These lines.
    ///
    /// # Panics
    /// A name is there twice, begins with `websocket.` and is no event, or is no channel name.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = EventRoute>) -> Self {
        let mut handlers = HashMap::new();
        for EventRoute { name, handler } in routes {
            let is_event = SOCKET_EVENTS.contains(&name.as_str());
            let is_channel = !name.starts_with("websocket.") && GroupName::new(&name).is_ok();
            assert!(is_event || is_channel, "route {name:?}: neither a socket event nor a channel");
            assert!(!handlers.contains_key(&name), "route {name:?} is there twice");
            handlers.insert(name, handler);
        }
        Self { handlers: Arc::new(handlers) }
    }

    /// A WebSocket at `url` whose events go to these functions; its channels are read by the
    /// server.
    ///
    /// # Panics
    /// `url` is malformed.
    #[must_use]
    pub fn socket(self, url: &str) -> Route {
        let routing = self.clone();
        socket(url, move || routing.clone()).attach(self)
    }

    /// The names that are channels.
    pub(super) fn channels(&self) -> impl Iterator<Item = GroupName> {
        let names = self.handlers.keys().filter(|name| !name.starts_with("websocket."));
        names.filter_map(|name| GroupName::new(name).ok())
    }

    /// Calls the handler of a channel's message.
    pub(super) async fn receive(
        &self,
        site: Site,
        channel: &str,
        received: Received,
    ) -> Result<()> {
        let Received { message, asker } = received;
        let mut event = Event::new(channel, message, Reply::nobody(site));
        event.asker = Mutex::new(asker);
        self.call(event).await.map(drop)
    }

    /// Whether there was a handler.
    async fn call(&self, event: Event) -> Result<bool> {
        match self.handlers.get(&event.name) {
            None => Ok(false),
            Some(handler) => handler(event).await.map(|()| true),
        }
    }
}

impl Consumer for Routing {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let event = Event::new("websocket.connect", Message::from(""), socket.reply().clone());
        if !self.call(event).await? {
            socket.accept().await?;
        }
        Ok(())
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let event = Event::new("websocket.receive", Message::from(text), socket.reply().clone());
        self.call(event).await.map(drop)
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<()> {
        let message = Message::from(bytes.to_vec());
        let event = Event::new("websocket.receive", message, socket.reply().clone());
        self.call(event).await.map(drop)
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        let mut event = Event::new("websocket.group", message.clone(), socket.reply().clone());
        event.group = Some(group.to_owned());
        self.call(event).await.map(drop)
    }

    async fn disconnect(&mut self, socket: &mut Socket, code: u16) -> Result<()> {
        let reply = socket.reply().clone();
        let mut event = Event::new("websocket.disconnect", Message::from(""), reply);
        event.code = Some(code);
        self.call(event).await.map(drop)
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl fmt::Debug for EventRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}
