//! A WebSocket from outside, over a connection in memory.
//!
//! Invariants:
//! - Nothing of it waits for a kernel: when no task has anything to do, nothing is under way. So a
//!   runtime whose clock is paused (`tokio::time::pause`) goes on to the next timer only then.
//! - What a test waits for too long is measured in real time, whatever the runtime's clock says.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::AbortOnDropHandle;

use super::answer::{Answer, fail};
use super::client::{Client, HOST_NAME};
use super::listener::in_memory;

/// How long a test waits for a frame before it fails. Generous: machines that test are busy.
const WAIT: Duration = Duration::from_secs(10);

/// An open WebSocket. Dropping it breaks the connection off without a close frame (1006).
///
/// A test need not wait for the timers of consumers. With tokio's feature `test-util` among the
/// site's dev-dependencies it pauses the clock once the site is open: time then passes when nobody
/// has anything left to do, at once and up to the next timer.
///
/// ```
/// # use std::time::Duration;
/// # use hulse::{Project, test::TestSite};
/// # async fn a_minute(project: Project) {
/// let site = TestSite::new(project).await;
/// let mut socket = site.socket("/clock/").await;
/// tokio::time::pause();
/// socket.receive_nothing(Duration::from_secs(59)).await; // takes no time
/// assert_eq!(socket.receive().await, "a minute has passed");
/// # }
/// ```
///
/// A statement in the database works on another thread, which such a clock does not see: it runs on
/// meanwhile. Consumers that query are tested with `tokio::time::resume`, or by
/// [`receive`](Self::receive) alone, which waits in real time.
#[derive(Debug)]
pub struct SocketClient {
    stream: WebSocketStream<DuplexStream>,
    headers: HeaderMap,
    path: String,
    /// Serves the handshake.
    _connection: AbortOnDropHandle<()>,
}

impl SocketClient {
    /// Connects as `client`, with these headers beside its cookies: for a test that wants another
    /// Origin, or none.
    ///
    /// # Errors
    /// The answer, if it is not a 101.
    ///
    /// # Panics
    /// The connection breaks off before there is an answer.
    pub async fn connect(
        client: &Client,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<Answer>> {
        let (stream, connection) = in_memory(client.handler());
        let uri: Uri = format!("ws://{HOST_NAME}{path}").parse().expect("a path of this site");
        let mut request = ClientRequestBuilder::new(uri);
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        let cookies = client.with_jar(|jar| jar.header());
        if let Some(cookies) = cookies.as_ref().and_then(|value| value.to_str().ok()) {
            request = request.with_header("cookie", cookies);
        }
        let asked = format!("WebSocket {path}");
        match within(client_async(request, stream)).await {
            Some(Ok((stream, response))) => {
                client.with_jar(|jar| jar.obey(response.headers()));
                let headers = response.headers().clone();
                Ok(Self { stream, headers, path: path.to_owned(), _connection: connection })
            }
            Some(Err(WsError::Http(response))) => {
                let (head, body) = response.into_parts();
                client.with_jar(|jar| jar.obey(&head.headers));
                let body = Bytes::from(body.unwrap_or_default());
                let (status, headers) = (head.status, head.headers);
                Err(Box::new(Answer { asked, status, headers, body, error: None }))
            }
            Some(Err(error)) => fail(&format!("{asked}: {error}")),
            None => fail(&format!("{asked}: no answer within {WAIT:?}")),
        }
    }

    /// The headers of the 101.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// The connection is gone.
    pub async fn send(&mut self, text: &str) {
        self.put(Message::text(text)).await;
    }

    /// Sends a text frame of JSON.
    ///
    /// # Panics
    /// `value` cannot be written as JSON, or the connection is gone.
    pub async fn send_json(&mut self, value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("a value that can be written as JSON");
        self.put(Message::text(json)).await;
    }

    /// Sends a binary frame.
    ///
    /// # Panics
    /// The connection is gone.
    pub async fn send_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.put(Message::binary(bytes)).await;
    }

    /// The next text frame.
    ///
    /// # Panics
    /// None comes, a binary one does, or the connection ends.
    pub async fn receive(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => fail(&format!("{}: expected a text frame, got {other:?}", self.path)),
        }
    }

    /// The next text frame, read as JSON.
    ///
    /// # Panics
    /// As [`receive`](Self::receive), or it is no JSON of this shape.
    pub async fn receive_json<T: DeserializeOwned>(&mut self) -> T {
        let text = self.receive().await;
        match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => fail(&format!("{}: {error} in the frame {text}", self.path)),
        }
    }

    /// The next binary frame.
    ///
    /// # Panics
    /// None comes, a text one does, or the connection ends.
    pub async fn receive_bytes(&mut self) -> Bytes {
        match self.next().await {
            Message::Binary(bytes) => bytes,
            other => fail(&format!("{}: expected a binary frame, got {other:?}", self.path)),
        }
    }

    /// Fails if a frame comes within `time`. With a paused clock that is exact and takes no time.
    ///
    /// # Panics
    /// One does, or the connection ends.
    pub async fn receive_nothing(&mut self, time: Duration) {
        if let Ok(frame) = timeout(time, self.frame()).await {
            fail(&format!("{}: expected silence, got {frame:?}", self.path));
        }
    }

    /// Closes with `code` and waits until the other side has closed too.
    ///
    /// # Panics
    /// It does not.
    pub async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.put(Message::Close(Some(frame))).await;
        self.closed().await;
    }

    /// Waits for the connection's end, past what still comes, and gives its code and reason: 1005
    /// if the close frame had none, 1006 if there was no close frame.
    ///
    /// # Panics
    /// It stays open.
    pub async fn closed(&mut self) -> (u16, String) {
        let (_, code, reason) = self.rest().await;
        (code, reason)
    }

    /// The texts that still come, and the connection's end as [`closed`](Self::closed) gives it.
    ///
    /// # Panics
    /// It stays open.
    pub async fn rest(&mut self) -> (Vec<String>, u16, String) {
        let end = async {
            let (mut texts, mut said) = (Vec::new(), None);
            while let Some(Ok(frame)) = self.stream.next().await {
                match frame {
                    Message::Text(text) => texts.push(text.as_str().to_owned()),
                    Message::Close(frame) => {
                        let words =
                            |frame: CloseFrame| (frame.code.into(), frame.reason.to_string());
                        said = Some(frame.map_or((1005, String::new()), words));
                    }
                    _ => {}
                }
            }
            let (code, reason) = said.unwrap_or((1006, String::new()));
            (texts, code, reason)
        };
        match within(end).await {
            Some(said) => said,
            None => fail(&format!("{}: still open after {WAIT:?}", self.path)),
        }
    }

    async fn put(&mut self, frame: Message) {
        if let Err(error) = self.stream.send(frame).await {
            fail(&format!("{}: sending: {error}", self.path));
        }
    }

    /// The next frame that carries something.
    async fn frame(&mut self) -> Option<Result<Message, WsError>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other,
            }
        }
    }

    async fn next(&mut self) -> Message {
        let path = self.path.clone();
        match within(self.frame()).await {
            Some(Some(Ok(frame))) => frame,
            Some(Some(Err(error))) => fail(&format!("{path}: {error}")),
            Some(None) => fail(&format!("{path}: the connection has ended")),
            None => fail(&format!("{path}: no frame within {WAIT:?}")),
        }
    }
}

/// What `work` gives within [`WAIT`] of real time, also on a runtime whose clock is paused.
async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    let (done, is_done) = mpsc::sync_channel::<()>(0);
    let (late, is_late) = oneshot::channel();
    thread::spawn(move || {
        if is_done.recv_timeout(WAIT) == Err(RecvTimeoutError::Timeout) {
            // The test may be over.
            let _ = late.send(());
        }
    });
    let value = tokio::select! {
        biased;
        value = work => Some(value),
        Ok(()) = is_late => None,
    };
    // The thread ends with it.
    drop(done);
    value
}
