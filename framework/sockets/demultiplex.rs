//! Several logical streams on one socket, each with a consumer of its own.
//!
//! Flow: `{"stream": "chat", "payload": ..}` comes → the consumer called `chat` gets the payload →
//! what it sends leaves as `{"stream": "chat", "payload": ..}`, and so does what comes to the
//! groups it joined.
//!
//! Invariants:
//! - A stream that ends, by its consumer's word, an error or a panic, ends alone: the others go on.
//! - `disconnect` runs once for every stream that was accepted.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::logical::{Crossing, Logical};
use super::task::log_failure;
use super::{Consumer, Socket, socket};
use crate::channels::Message;
use crate::error::Result;
use crate::urls::Route;

type Make = Arc<dyn Fn() -> Box<dyn AnyConsumer> + Send + Sync>;

/// Which consumer each stream of a socket has. A cheap clone.
///
/// A client names the stream in every message: `{"stream": "chat", "payload": {"say": "hi"}}`; its
/// consumer receives the payload as JSON text, and what it sends or what comes to its groups
/// reaches the client in the same shape (a text that is no JSON as a JSON string). Closing such a
/// socket closes the stream: `{"stream": "chat", "close": {"code": 4000, "reason": ".."}}`. What is
/// no such message, or for a stream that is not open, is answered with `{"error": ".."}`.
///
/// At a reload such a socket does not move along: it is closed with 1012.
///
/// All are asked when the client connects: a stream is open if its consumer accepts, the socket if
/// one of them does.
///
/// ```
/// # use hulse::prelude::*;
/// # use hulse::sockets::Demultiplexer;
/// # #[derive(Default)] struct Chat; impl Consumer for Chat {}
/// # #[derive(Default)] struct Notes; impl Consumer for Notes {}
/// let urls = Urls::new([Demultiplexer::new()
///     .stream("chat", Chat::default)
///     .stream("notes", Notes::default)
///     .socket("ws/")]);
/// ```
#[derive(Clone, Default)]
pub struct Demultiplexer {
    streams: Vec<(String, Make)>,
}

impl Demultiplexer {
    /// Without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the stream `name`; `consumer` makes the value for each connection.
    ///
    /// # Panics
    /// There is one of this name already.
    #[must_use]
    pub fn stream<C: Consumer>(
        mut self,
        name: &str,
        consumer: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        assert!(self.streams.iter().all(|(of, _)| of != name), "stream {name:?} is there twice");
        self.streams.push((name.to_owned(), Arc::new(move || Box::new(consumer()))));
        self
    }

    /// A WebSocket at `url` with these streams.
    ///
    /// # Panics
    /// `url` is malformed.
    #[must_use]
    pub fn socket(self, url: &str) -> Route {
        socket(url, move || Streams { made: self.clone(), open: Vec::new() })
    }
}

/// The streams of one connection.
struct Streams {
    made: Demultiplexer,
    open: Vec<Stream>,
}

struct Stream {
    logical: Arc<Logical>,
    consumer: Box<dyn AnyConsumer>,
    /// The connection as this stream's consumer sees it.
    socket: Socket,
    /// Its consumer has been told of the end.
    is_over: bool,
}

/// What a client sends.
#[derive(Deserialize)]
struct Envelope {
    stream: String,
    payload: Box<RawValue>,
}

impl Consumer for Streams {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let crossing = Arc::new(Crossing::default());
        let mut refusal = None;
        for (name, make) in &self.made.streams {
            let logical = Arc::new(Logical::new(name, Arc::clone(&crossing)));
            let own = socket.of_stream(Arc::clone(&logical));
            let mut stream = Stream { logical, consumer: make(), socket: own, is_over: false };
            match stream.connect().await {
                Ok(()) if stream.logical.is_accepted() => self.open.push(stream),
                // As if it had been the only one: the others may still accept.
                Ok(()) => stream.logical.leave_all(socket),
                Err(error) if error.status_code().is_client_error() => {
                    stream.logical.leave_all(socket);
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match refusal {
            Some(refused) if self.open.is_empty() => Err(refused),
            _ if self.open.is_empty() => Ok(()),
            _ => socket.accept().await,
        }
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        self.end_closed(socket).await;
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                let words = json!({ "error": "bad_message", "reason": error.to_string() });
                return socket.send_json(&words).await;
            }
        };
        let open = self.open.iter_mut().find(|stream| stream.is(&envelope.stream));
        let Some(stream) = open else {
            let is_known = self.made.streams.iter().any(|(name, _)| *name == envelope.stream);
            let error = if is_known { "stream_closed" } else { "unknown_stream" };
            let words = json!({ "error": error, "stream": envelope.stream });
            return socket.send_json(&words).await;
        };
        let call = stream.consumer.receive(&mut stream.socket, envelope.payload.get());
        let done = AssertUnwindSafe(call).catch_unwind().await;
        stream.settle(done).await
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, _: &[u8]) -> Result<()> {
        let reason = "expected a text message, got a binary one";
        socket.send_json(&json!({ "error": "bad_message", "reason": reason })).await
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        self.end_closed(socket).await;
        for stream in self.open.iter_mut().filter(|stream| !stream.is_over) {
            let Some(part) = stream.logical.part_in(group) else { continue };
            if part.is_joined {
                stream.socket.send(message.clone()).await?;
            }
            if part.is_listening {
                let call = stream.consumer.group_message(&mut stream.socket, group, message);
                let done = AssertUnwindSafe(call).catch_unwind().await;
                stream.settle(done).await?;
            }
        }
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Socket, code: u16) -> Result<()> {
        for stream in &mut self.open {
            stream.end(code).await;
        }
        Ok(())
    }
}

impl Streams {
    /// Ends those that were closed by a handle of theirs, outside of a call.
    async fn end_closed(&mut self, socket: &Socket) {
        for stream in &mut self.open {
            if let Some(code) = stream.logical.closed_with() {
                stream.logical.leave_all(socket);
                stream.end(code).await;
            }
        }
    }
}

type Done = std::result::Result<Result<()>, Box<dyn std::any::Any + Send>>;

impl Stream {
    fn is(&self, name: &str) -> bool {
        !self.is_over && self.logical.name() == name
    }

    async fn connect(&mut self) -> Result<()> {
        for group in self.consumer.groups(&self.socket)? {
            self.socket.join(group).await?;
        }
        self.consumer.connect(&mut self.socket).await
    }

    /// After a call: ends the stream if it failed, or was closed in it.
    async fn settle(&mut self, done: Done) -> Result<()> {
        if log_failure("a stream's consumer", done).is_err() {
            // It may have closed itself before.
            let _ = self.socket.close(1011, "internal error").await;
        }
        if let Some(code) = self.logical.closed_with() {
            self.logical.leave_all(&self.socket);
            self.end(code).await;
        }
        Ok(())
    }

    /// Tells its consumer, once.
    async fn end(&mut self, code: u16) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let call = self.consumer.disconnect(&mut self.socket, code);
        let done = AssertUnwindSafe(call).catch_unwind().await;
        // Logged; there is nobody to tell.
        let _ = log_failure("a stream's disconnect", done);
    }
}

/// A [`Consumer`] of any type.
trait AnyConsumer: Send {
    fn groups(&self, socket: &Socket) -> Result<Vec<String>>;
    fn connect<'a>(&'a mut self, socket: &'a mut Socket) -> BoxFuture<'a, Result<()>>;
    fn receive<'a>(
        &'a mut self,
        socket: &'a mut Socket,
        text: &'a str,
    ) -> BoxFuture<'a, Result<()>>;
    fn group_message<'a>(
        &'a mut self,
        socket: &'a mut Socket,
        group: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<()>>;
    fn disconnect<'a>(&'a mut self, socket: &'a mut Socket, code: u16)
    -> BoxFuture<'a, Result<()>>;
}

impl<C: Consumer> AnyConsumer for C {
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        Consumer::groups(self, socket)
    }

    fn connect<'a>(&'a mut self, socket: &'a mut Socket) -> BoxFuture<'a, Result<()>> {
        Box::pin(Consumer::connect(self, socket))
    }

    fn receive<'a>(
        &'a mut self,
        socket: &'a mut Socket,
        text: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(Consumer::receive(self, socket, text))
    }

    fn group_message<'a>(
        &'a mut self,
        socket: &'a mut Socket,
        group: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(Consumer::group_message(self, socket, group, message))
    }

    fn disconnect<'a>(
        &'a mut self,
        socket: &'a mut Socket,
        code: u16,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(Consumer::disconnect(self, socket, code))
    }
}

impl fmt::Debug for Demultiplexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.streams.iter().map(|(name, _)| name)).finish()
    }
}
