//! One task per connection: reads, calls the consumer, writes.
//!
//! Flow: each turn takes what the groups and the consumer have for the client, then waits for the
//! first of: the end of the server, bytes written, something new to send, a frame, a deadline.
//!
//! Invariants:
//! - Nothing is added to a full queue: the client's groups lag in their rings, its consumer waits.
//! - A client that takes nothing for `server.ping_timeout` is dropped, also in the middle of a
//!   call.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};

use super::outbox::Close;
use super::reply::Shared;
use super::wire::{OUT_BYTES_MAX, Wire};
use super::{Consumer, Socket};
use crate::channels::GroupName;
use crate::conf;
use crate::error::Result;

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Bytes read and thrown away after our goodbye, so that the client can read it.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room for reading frames, bytes.
const READ_BYTES: usize = 4 * 1024;
/// tungstenite's own buffer for pongs and the goodbye, bytes.
const CONTROL_BYTES: usize = 1024;
/// Most that may wait there before the connection fails, bytes.
const CONTROL_BYTES_MAX: usize = 256 * 1024;
/// A ping without a payload, as a server sends it.
const PING: [u8; 2] = [0x89, 0x00];

/// RFC 6455 §7.4.1: no code was in the goodbye.
const NO_CODE: u16 = 1005;
/// RFC 6455 §7.4.1: there was no goodbye.
pub(super) const NO_GOODBYE: u16 = 1006;

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client said so, with this code.
    Client(u16),
    /// We say so.
    Server(Close),
    /// Nobody says anything: the stream is broken, or the client silent.
    Broken,
}

impl End {
    fn server(code: u16, reason: &str) -> Self {
        Self::Server(Close { code, reason: reason.to_owned() })
    }
}

/// What happened while waiting.
enum Happening {
    Draining,
    Written,
    Filled,
    Woken,
    Message(WsMessage),
    Deadline,
    End(End),
}

struct Task<S> {
    ws: WebSocketStream<Wire<S>>,
    shared: Arc<Shared>,
    /// Its groups may have something for it.
    is_woken: bool,
    ping_interval: Duration,
    ping_timeout: Duration,
    heard: Instant,
    /// When the ping that waits for its answer was sent.
    pinged: Option<Instant>,
}

/// Runs an accepted connection to its end, but for `disconnect`; the code it was closed with.
pub(super) async fn run<S, C>(
    stream: S,
    shared: &Arc<Shared>,
    socket: &mut Socket,
    consumer: &mut C,
) -> u16
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    C: Consumer,
{
    let settings = &shared.request.settings().server;
    let mut task = Task {
        ws: WebSocketStream::from_raw_socket(
            Wire::new(stream),
            Role::Server,
            Some(configuration(settings)),
        )
        .await,
        shared: Arc::clone(shared),
        is_woken: true,
        ping_interval: Duration::from_secs(settings.ping_interval.max(1)),
        ping_timeout: Duration::from_secs(settings.ping_timeout.max(1)),
        heard: Instant::now(),
        pinged: None,
    };
    shared.outbox.run();
    let end = task.talk(socket, consumer).await;
    shared.end();
    task.say_goodbye(end).await
}

fn configuration(settings: &conf::Server) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(CONTROL_BYTES)
        .max_write_buffer_size(CONTROL_BYTES_MAX)
        .max_message_size(Some(settings.message_bytes_max))
        .max_frame_size(Some(settings.message_bytes_max))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Task<S> {
    async fn talk<C: Consumer>(&mut self, socket: &mut Socket, consumer: &mut C) -> End {
        let site = self.shared.request.site().clone();
        let mut draining = pin!(site.lifecycle().draining());
        let mut deadline = pin!(sleep_until((self.heard + self.ping_interval).into()));
        loop {
            if let Some(end) = self.take_direct() {
                return end;
            }
            match self.take_groups() {
                Err(end) => return end,
                Ok(heard) => {
                    for (group, message) in heard {
                        let call = consumer.group_message(socket, group.as_str(), &message);
                        if let Err(end) = self.call(call).await {
                            return end;
                        }
                    }
                }
            }
            let happening = tokio::select! {
                biased;
                () = &mut draining => Happening::Draining,
                happening = self.happening() => happening,
                () = &mut deadline => Happening::Deadline,
            };
            match happening {
                Happening::Draining => return End::server(1001, "the server is going away"),
                Happening::Written | Happening::Filled => {}
                Happening::Woken => self.is_woken = true,
                Happening::End(end) => return end,
                Happening::Deadline => match self.heartbeat() {
                    None => return End::Broken,
                    Some(next) => deadline.as_mut().reset(next.into()),
                },
                Happening::Message(message) => {
                    self.heard = Instant::now();
                    if let WsMessage::Pong(_) = message {
                        self.pinged = None;
                        deadline.as_mut().reset((self.heard + self.ping_interval).into());
                    }
                    if let Err(end) = self.receive(socket, consumer, message).await {
                        return end;
                    }
                }
            }
        }
    }

    async fn receive<C: Consumer>(
        &mut self,
        socket: &mut Socket,
        consumer: &mut C,
        message: WsMessage,
    ) -> Result<(), End> {
        match message {
            WsMessage::Text(text) => self.call(consumer.receive(socket, text.as_str())).await,
            WsMessage::Binary(bytes) => self.call(consumer.receive_bytes(socket, &bytes)).await,
            WsMessage::Close(frame) => {
                Err(End::Client(frame.map_or(NO_CODE, |frame| frame.code.into())))
            }
            WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => Ok(()),
        }
    }

    /// Waits for the first thing that concerns the stream, the outbox or the groups.
    async fn happening(&mut self) -> Happening {
        let shared = Arc::clone(&self.shared);
        let wire = self.ws.get_ref();
        let (has_room, stalled) = (wire.has_room(), wire.deadline(self.ping_timeout));
        let is_woken = self.is_woken;
        tokio::select! {
            biased;
            happening = next(&mut self.ws, has_room) => happening,
            () = shared.outbox.filled.notified(), if has_room => Happening::Filled,
            () = shared.wake.notified(), if !is_woken || !has_room => Happening::Woken,
            () = until(stalled) => Happening::End(End::Broken),
            // There is more for the consumer; the others first.
            () = tokio::task::yield_now(), if is_woken && has_room => Happening::Filled,
        }
    }

    /// Takes what the consumer has sent; the end, if it asked for that.
    fn take_direct(&mut self) -> Option<End> {
        let outbox = &self.shared.outbox;
        if !self.ws.get_ref().has_room() {
            return None;
        }
        self.ws.get_mut().add(|out| outbox.take(out)).map(End::Server)
    }

    /// Takes what the groups have, as far as there is room; what is for the consumer.
    fn take_groups(&mut self) -> Result<Vec<(GroupName, crate::channels::Message)>, End> {
        if !self.is_woken {
            return Ok(Vec::new());
        }
        let connection = &self.shared.connection;
        let is_overrun = if self.ws.get_ref().has_room() {
            let drained = self.ws.get_mut().add(|out| connection.drain(out, OUT_BYTES_MAX));
            self.is_woken = drained.has_more;
            if !drained.is_overrun {
                return Ok(drained.heard);
            }
            true
        } else {
            connection.is_overrun()
        };
        if is_overrun {
            tracing::info!(path = self.shared.request.path(), "a socket lagged too far behind");
            return Err(End::server(1013, "too slow"));
        }
        Ok(Vec::new())
    }

    /// Calls the consumer; meanwhile what it sends leaves already.
    async fn call(&mut self, call: impl Future<Output = Result<()>> + Send) -> Result<(), End> {
        let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
        let is_broken = tokio::select! {
            biased;
            done = &mut call => return outcome(done),
            () = self.pump() => true,
        };
        debug_assert!(is_broken);
        // The client is gone: sends fail from here on, but the call is not cut short.
        self.shared.end();
        outcome(call.await).and(Err(End::Broken))
    }

    /// Writes what is sent until the stream breaks.
    async fn pump(&mut self) {
        loop {
            // A close that was asked for waits until the call is over.
            let outbox = &self.shared.outbox;
            if self.ws.get_ref().has_room() {
                self.ws.get_mut().add(|out| outbox.take(out));
            }
            let wire = self.ws.get_ref();
            let (has_room, stalled) = (wire.has_room(), wire.deadline(self.ping_timeout));
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                happening = next(&mut self.ws, false) => {
                    if matches!(happening, Happening::End(_)) {
                        return;
                    }
                }
                () = shared.outbox.filled.notified(), if has_room => {}
                () = until(stalled) => return,
            }
        }
    }

    /// Sends a ping if the client was silent; when to look again. `None`: it did not answer.
    fn heartbeat(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if !self.ws.get_ref().has_room() {
            // It is not read from either; whether it takes anything is watched elsewhere.
            return Some(now + self.ping_interval);
        }
        if self.pinged.is_some_and(|at| self.heard >= at) {
            self.pinged = None;
        }
        if let Some(at) = self.pinged {
            return (now < at + self.ping_timeout).then_some(at + self.ping_timeout);
        }
        if now < self.heard + self.ping_interval {
            return Some(self.heard + self.ping_interval);
        }
        self.ws.get_mut().add(|out| out.extend_from_slice(&PING));
        self.pinged = Some(now);
        Some(now + self.ping_timeout)
    }

    /// Closes the connection as it should be; the code `disconnect` is told.
    async fn say_goodbye(&mut self, end: End) -> u16 {
        let (code, frame) = match end {
            End::Broken => return NO_GOODBYE,
            End::Client(code) => (code, None),
            End::Server(close) => {
                let code = CloseCode::from(close.code);
                (close.code, Some(CloseFrame { code, reason: close.reason.into() }))
            }
        };
        let goodbye = async {
            if frame.is_some() {
                // A failure shows below.
                let _ = self.ws.close(frame).await;
            }
            // What the client still says is read away; tungstenite answers its goodbye.
            while let Some(Ok(_)) = self.ws.next().await {}
            linger(self.ws.get_mut()).await;
        };
        if timeout(CLOSE_WAIT, goodbye).await.is_err() {
            tracing::debug!("a client did not say goodbye");
        }
        code
    }
}

/// Writes what waits, and reads if there is room for what follows from it.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut WebSocketStream<Wire<S>>,
    is_reading: bool,
) -> Happening {
    poll_fn(|cx| {
        let wire = ws.get_mut();
        if !wire.is_empty() {
            match wire.poll_drive(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Happening::Written),
                Poll::Ready(Err(_)) => return Poll::Ready(Happening::End(End::Broken)),
                Poll::Pending => {}
            }
        }
        if !is_reading {
            return Poll::Pending;
        }
        ws.poll_next_unpin(cx).map(|message| match message {
            None => Happening::End(End::Broken),
            Some(Ok(message)) => Happening::Message(message),
            Some(Err(error)) => Happening::End(refusal(&error)),
        })
    })
    .await
}

/// How a connection ends over what the client sent.
fn refusal(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::server(1009, "message too large")
        }
        WsError::Utf8(_) => End::server(1007, "text is not UTF-8"),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Broken,
        WsError::Protocol(ProtocolError::InvalidCloseSequence) => End::server(1002, ""),
        WsError::Protocol(_) => End::server(1002, "protocol error"),
        WsError::WriteBufferFull(_) => End::server(1013, "too slow"),
        _ => End::Broken,
    }
}

/// After the goodbye: the end of our side, and the client's bytes away, or a reset could take the
/// goodbye with it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) {
    if wire.shutdown().await.is_err() {
        return;
    }
    let mut scratch = [0; READ_BYTES];
    let mut left = LINGER_BYTES_MAX;
    while let Ok(read) = wire.read(&mut scratch).await
        && read > 0
        && left > read
    {
        left -= read;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// An error or a panic of a consumer ends its socket; only the log says why.
fn outcome(done: Result<Result<()>, Box<dyn Any + Send>>) -> Result<(), End> {
    let Err(()) = log_failure("a consumer", done) else { return Ok(()) };
    Err(End::server(1011, "internal error"))
}

/// Logs an error or a panic of a call.
pub(super) fn log_failure(
    who: &str,
    done: Result<Result<()>, Box<dyn Any + Send>>,
) -> Result<(), ()> {
    match done {
        Ok(Ok(())) => return Ok(()),
        // What a consumer sends after the end of its socket is nobody's fault.
        Ok(Err(error)) if error.is_socket_closed() => return Ok(()),
        Ok(Err(error)) => tracing::error!(%error, "{who} failed"),
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(ToString::to_string);
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            tracing::error!(panic = words.as_deref().unwrap_or("no words"), "{who} panicked");
        }
    }
    Err(())
}
