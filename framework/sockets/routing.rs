//! Consumers as functions, routed by the name of what happened.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::filters::{Captures, Filter};
use super::{Concurrent, Consumer, Handoff, Reply, SharedConsumer, Socket, socket};
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
    /// The message as JSON, read when a filter first asks for it.
    read: OnceLock<Option<Value>>,
    captures: Captures,
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
            read: OnceLock::new(),
            captures: Vec::new(),
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

    /// What the named group `name` of a filter's pattern matched (`(?P<room>..)`).
    #[must_use]
    pub fn captured(&self, name: &str) -> Option<&str> {
        let found = self.captures.iter().rev().find(|(of, _)| of == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What the message has at `field` (`user.name`), if it is a JSON object.
    pub(super) fn field(&self, field: &str) -> Option<&Value> {
        let read = self.read.get_or_init(|| serde_json::from_slice(self.message.as_bytes()).ok());
        field.split('.').try_fold(read.as_ref()?, |value, part| value.get(part))
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
    filters: Vec<Filter>,
    handler: Handler,
}

impl EventRoute {
    /// Narrows it to events that `filter` fits too; see [`filters`](super::filters).
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }
}

/// Calls `handler` for events called `name`: `websocket.connect`, `websocket.receive`,
/// `websocket.group`, `websocket.disconnect`, or any named channel.
pub fn route<F, Fut>(name: &str, handler: F) -> EventRoute
where
    F: Fn(Event) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |event| Box::pin(handler(event)));
    EventRoute { name: name.to_owned(), filters: Vec::new(), handler }
}

/// Functions instead of a [`Consumer`] value. A cheap clone.
///
/// Of the routes of an event's name the first whose filters fit is called. Without a route called
/// `websocket.connect` every connection is accepted; with some, those that fit none are refused. An
/// event of another name that fits no route is passed over.
///
/// Names that are no socket events are channels: one reader at a time gets each message that
/// `site.channel(name).send(..)` puts there (see [`run_background`](super::run_background)).
///
/// ```
/// use hulse::prelude::*;
/// use hulse::sockets::filters;
///
/// async fn join(event: Event) -> Result<()> {
///     event.reply.join("chat").await
/// }
/// async fn say(event: Event) -> Result<()> {
///     event.group("chat").send(event.text()).await
/// }
///
/// let routing = Routing::new([
///     route("websocket.receive", join).filter(filters::json("command", "join")),
///     route("websocket.receive", say).filter(filters::json("command", "say")),
/// ]);
/// ```
#[derive(Clone)]
pub struct Routing {
    lines: Arc<HashMap<String, Vec<EventRoute>>>,
    concurrency: usize,
}

impl Routing {
    /// These lines, tried first to last.
    ///
    /// # Panics
    /// A name begins with `websocket.` and is no event, or is no channel name; or a line comes
    /// behind one without filters and can never be reached.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = EventRoute>) -> Self {
        let mut lines: HashMap<String, Vec<EventRoute>> = HashMap::new();
        for route in routes {
            let name = &route.name;
            let is_event = SOCKET_EVENTS.contains(&name.as_str());
            let is_channel = !name.starts_with("websocket.") && GroupName::new(name).is_ok();
            assert!(is_event || is_channel, "route {name:?}: neither a socket event nor a channel");
            let before = lines.entry(name.clone()).or_default();
            let is_reached = before.last().is_none_or(|line| !line.filters.is_empty());
            assert!(is_reached, "route {name:?} is there twice: the second is never reached");
            before.push(route);
        }
        Self { lines: Arc::new(lines), concurrency: 1 }
    }

    /// Handles up to `count` messages of one client at once, instead of one after the other.
    ///
    /// # Panics
    /// `count` is 0.
    #[must_use]
    pub fn concurrency(mut self, count: usize) -> Self {
        assert!(count > 0, "a routing that handles 0 messages at once handles none");
        self.concurrency = count;
        self
    }

    /// A WebSocket at `url` whose events go to these functions; its channels are read by the
    /// server.
    ///
    /// # Panics
    /// `url` is malformed.
    #[must_use]
    pub fn socket(self, url: &str) -> Route {
        let routing = self.clone();
        let route = match self.concurrency {
            1 => socket(url, move || routing.clone()),
            count => socket(url, move || Concurrent::new(count, routing.clone())),
        };
        route.attach(self)
    }

    /// The names that are channels.
    pub(super) fn channels(&self) -> impl Iterator<Item = GroupName> {
        let names = self.lines.keys().filter(|name| !name.starts_with("websocket."));
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
        if !self.call(event).await? {
            tracing::warn!(channel, "a message fits no route");
        }
        Ok(())
    }

    /// Whether there was a handler.
    async fn call(&self, mut event: Event) -> Result<bool> {
        let lines = self.lines.get(&event.name).map_or(&[][..], Vec::as_slice);
        for line in lines {
            let mut captures = Vec::new();
            if line.filters.iter().all(|filter| filter.fits(&event, &mut captures)) {
                event.captures = captures;
                return (line.handler)(event).await.map(|()| true);
            }
        }
        Ok(false)
    }

    async fn on_connect(&self, socket: &mut Socket) -> Result<()> {
        if !self.lines.contains_key("websocket.connect") {
            return socket.accept().await;
        }
        let event = Event::new("websocket.connect", Message::from(""), socket.reply().clone());
        self.call(event).await.map(drop)
    }

    async fn on_message(&self, socket: &Socket, message: Message) -> Result<()> {
        let event = Event::new("websocket.receive", message, socket.reply().clone());
        self.call(event).await.map(drop)
    }

    async fn on_group(&self, socket: &Socket, group: &str, message: &Message) -> Result<()> {
        let mut event = Event::new("websocket.group", message.clone(), socket.reply().clone());
        event.group = Some(group.to_owned());
        self.call(event).await.map(drop)
    }

    async fn on_disconnect(&self, socket: &Socket, code: u16) -> Result<()> {
        let reply = socket.reply().clone();
        let mut event = Event::new("websocket.disconnect", Message::from(""), reply);
        event.code = Some(code);
        self.call(event).await.map(drop)
    }
}

impl Consumer for Routing {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.on_connect(socket).await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        self.on_message(socket, text.into()).await
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<()> {
        self.on_message(socket, bytes.to_vec().into()).await
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        self.on_group(socket, group, message).await
    }

    /// Functions keep nothing of a connection.
    fn handoff(&self) -> Handoff {
        Handoff::stateless()
    }

    async fn resume(&mut self, _: &mut Socket, _: &Handoff) -> Result<()> {
        Ok(())
    }

    async fn disconnect(&mut self, socket: &mut Socket, code: u16) -> Result<()> {
        self.on_disconnect(socket, code).await
    }
}

impl SharedConsumer for Routing {
    async fn connect(&self, socket: &mut Socket) -> Result<()> {
        self.on_connect(socket).await
    }

    async fn receive(&self, socket: &mut Socket, text: String) -> Result<()> {
        self.on_message(socket, text.into()).await
    }

    async fn receive_bytes(&self, socket: &mut Socket, bytes: Vec<u8>) -> Result<()> {
        self.on_message(socket, bytes.into()).await
    }

    async fn group_message(
        &self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        self.on_group(socket, group, message).await
    }

    fn handoff(&self) -> Handoff {
        Handoff::stateless()
    }

    async fn resume(&mut self, _: &mut Socket, _: &Handoff) -> Result<()> {
        Ok(())
    }

    async fn disconnect(&self, socket: &mut Socket, code: u16) -> Result<()> {
        self.on_disconnect(socket, code).await
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lines.keys()).finish()
    }
}

impl fmt::Debug for EventRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}
