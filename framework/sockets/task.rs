//! One small task per connection: reads, calls the consumer, writes what the tick could not.
//!
//! Flow: each turn writes what waits, drains the groups and opens the slot for the ticks; then
//! reads until something is complete, and calls the consumer with it.
//!
//! Invariants:
//! - The task is small, for it is there as long as its connection: calls and the goodbye are boxed,
//!   reading has a scratch buffer per thread, and only what is incomplete is kept.
//! - Nobody is read from who has not taken what waits for him.
//! - A client that takes nothing for `server.ping_timeout` is dropped, also in the middle of a
//!   call.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::time::timeout;

use super::frames::{Allowed, Fault, Heard, Parser, close_frame, pong_frame};
use super::io::Io;
use super::moving::{self, Turn};
use super::pace::Pace;
use super::reply::Shared;
use super::slot::{Close, OUT_BYTES_MAX, Silence, Slot};
use super::wheel::Wheel;
use super::{Consumer, Doubt, Socket};
use crate::channels::{DISMISSED, Delivery, Frame, GroupName, Sink, Suspicion, deflate_frames};
use crate::error::Result;
use crate::http::is_still;

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Bytes read and thrown away after our goodbye, so that the client can read it.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room for one read, bytes; a thread has one for all its connections.
const READ_BYTES: usize = 16 * 1024;
/// Messages of one read that are handled before others get their turn.
const TURNS_MAX: u8 = 32;

/// RFC 6455 §7.4.1: no code was in the goodbye.
const NO_CODE: u16 = 1005;
/// RFC 6455 §7.4.1: there was no goodbye.
pub(super) const NO_GOODBYE: u16 = 1006;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client said so, with this payload.
    Client(Vec<u8>),
    /// We say so.
    Server(Close),
    /// The client sent what nobody may; nothing after it is understood.
    Fault(Fault),
    /// Nobody says anything: the stream is broken, or the client silent.
    Broken,
    /// Another process goes on with it; the client has noticed nothing.
    Moved,
}

impl End {
    fn server(code: u16, reason: &str) -> Self {
        Self::Server(Close { code, reason: reason.to_owned() })
    }
}

/// What a turn brings.
enum Happening {
    Text(String),
    Bytes(Vec<u8>),
    Groups(Vec<(GroupName, Delivery)>),
    /// Another process would go on with it.
    Asked,
    /// Nothing is under way: it can move.
    Move(Turn),
    /// Whether it may stay has to be asked.
    Doubted(Suspicion),
    End(End),
}

/// Leaves the groups and closes the stream on every way out.
pub(super) struct Held(pub(super) Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end();
        self.0.slot.finish();
    }
}

/// What there is of a connection for as long as it is there; boxed, so that its task is small.
struct Life<C> {
    held: Held,
    socket: Socket,
    consumer: C,
    reader: Reader,
}

/// What there is of a connection when its task begins.
pub(super) struct Begun {
    pub(super) io: Io,
    /// Read already, and not looked at.
    pub(super) rest: Bytes,
    /// What was read of a frame or message.
    pub(super) parser: Option<Box<Parser>>,
    /// How long its client has been silent.
    pub(super) silence: Silence,
}

impl Begun {
    /// One that was just accepted.
    pub(super) fn new((io, read): (Io, Bytes)) -> Self {
        // Copied: it is a slice of hyper's buffer, even if it is empty.
        let rest = if read.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&read) };
        Self { io, rest, parser: None, silence: Silence::default() }
    }
}

/// Runs an accepted connection to its end.
pub(super) fn run<C: Consumer>(
    held: Held,
    socket: Socket,
    consumer: C,
    begun: Begun,
) -> impl Future<Output = ()> + Send + 'static {
    let Begun { io, rest, parser, silence } = begun;
    let reader = Reader { parser, rest, turns: 0, pace: Pace::default(), is_willing: false };
    held.0.slot.run(io, silence);
    let site = held.0.request.site();
    Wheel::of(site).watch(site, &held.0.slot);
    let mut life = Box::new(Life { held, socket, consumer, reader });
    async move {
        let end = talk(&mut life).await;
        Box::pin(finish(life, end)).await;
    }
}

async fn finish<C: Consumer>(mut life: Box<Life<C>>, end: End) {
    let shared = &life.held.0;
    shared.end();
    if matches!(end, End::Moved) {
        // Closed here without a word; the other one holds it.
        shared.slot.finish();
        return;
    }
    let code = say_goodbye(shared, &mut life.reader, end).await;
    shared.slot.finish();
    disconnect(&mut life.consumer, &mut life.socket, code).await;
}

/// Tells the consumer.
pub(super) async fn disconnect<C: Consumer>(consumer: &mut C, socket: &mut Socket, code: u16) {
    socket.tasks_ended().await;
    let call = Box::pin(AssertUnwindSafe(consumer.disconnect(socket, code)).catch_unwind());
    // Logged; there is nobody to tell.
    let _ = log_failure("a consumer's disconnect", call.await);
}

async fn talk<C: Consumer>(life: &mut Life<C>) -> End {
    let Life { held: Held(shared), socket, consumer, reader } = life;
    loop {
        let done = match poll_fn(|cx| reader.poll(shared, cx)).await {
            Happening::End(end) => return end,
            // Each with all it needs in one box: this future is there for ever, they are not.
            Happening::Text(text) => {
                shared.place.heard();
                Box::pin(receive(shared, socket, consumer, text)).await
            }
            Happening::Bytes(bytes) => {
                shared.place.heard();
                Box::pin(receive_bytes(shared, socket, consumer, bytes)).await
            }
            Happening::Groups(heard) => Box::pin(tell(shared, socket, consumer, heard)).await,
            Happening::Asked => {
                reader.is_willing = moving::packed(|| consumer.handoff()).is_some();
                if !reader.is_willing {
                    moving::stay(shared, "its consumer says so");
                }
                Ok(())
            }
            Happening::Move(turn) => {
                let given = (type_name::<C>(), moving::packed(|| consumer.handoff()));
                match Box::pin(moving::hand_over(shared, given, reader, turn)).await {
                    true => Err(End::Moved),
                    false => Ok(()),
                }
            }
            Happening::Doubted(doubt) => {
                Box::pin(reauthorize(shared, socket, consumer, doubt)).await
            }
        };
        if let Err(end) = done {
            return end;
        }
    }
}

async fn receive<C: Consumer>(
    shared: &Shared,
    socket: &mut Socket,
    consumer: &mut C,
    text: String,
) -> Result<(), End> {
    let call = AssertUnwindSafe(consumer.receive(socket, &text)).catch_unwind();
    drive(shared, pin!(call)).await
}

async fn receive_bytes<C: Consumer>(
    shared: &Shared,
    socket: &mut Socket,
    consumer: &mut C,
    bytes: Vec<u8>,
) -> Result<(), End> {
    let call = AssertUnwindSafe(consumer.receive_bytes(socket, &bytes)).catch_unwind();
    drive(shared, pin!(call)).await
}

async fn tell<C: Consumer>(
    shared: &Shared,
    socket: &mut Socket,
    consumer: &mut C,
    heard: Vec<(GroupName, Delivery)>,
) -> Result<(), End> {
    for (group, delivery) in heard {
        let call = consumer.group_message(socket, group.as_str(), &delivery.message);
        drive(shared, pin!(AssertUnwindSafe(call).catch_unwind())).await?;
    }
    Ok(())
}

/// Asks whether the connection may stay; until then its groups are silent for it.
async fn reauthorize<C: Consumer>(
    shared: &Shared,
    socket: &mut Socket,
    consumer: &mut C,
    suspicion: Suspicion,
) -> Result<(), End> {
    let doubt = Doubt::of(suspicion);
    let mut stays = false;
    let call = async {
        if doubt == Doubt::Perhaps && !is_still(socket.request(), &shared.connection).await? {
            return Ok(());
        }
        match consumer.reauthorize(socket, doubt).await {
            Ok(()) => stays = true,
            Err(error) => tracing::info!(%error, "a socket may not stay"),
        }
        Ok(())
    };
    drive(shared, pin!(AssertUnwindSafe(call).catch_unwind())).await?;
    if stays {
        shared.connection.settle(suspicion);
        return Ok(());
    }
    shared.connection.close();
    Err(End::server(DISMISSED, "what this was opened for has ended"))
}

/// Runs a call to its end; meanwhile what it sends leaves already.
async fn drive<F>(shared: &Shared, mut call: F) -> Result<(), End>
where
    F: Future<Output = Result<Result<()>, Box<dyn Any + Send>>> + Unpin,
{
    let slot = &shared.slot;
    slot.begin_call();
    let mut is_broken = false;
    let done = poll_fn(|cx| {
        slot.register(cx);
        let done = call.poll_unpin(cx);
        if let Some(close) = dismissal(slot) {
            // What the call still sends goes nowhere.
            shared.end();
            slot.say_goodbye(&close_frame(&payload(close.code, &close.reason)));
        }
        let failed = slot.is_broken() || matches!(slot.poll_write(cx), Poll::Ready(Err(_)));
        if failed && !is_broken {
            // The client is gone: sends fail from here on, but the call is not cut short.
            is_broken = true;
            shared.end();
        }
        done
    })
    .await;
    slot.end_call();
    outcome(done)?;
    if is_broken { Err(End::Broken) } else { Ok(()) }
}

/// The incoming side of a connection.
#[derive(Debug)]
pub(super) struct Reader {
    /// There while a frame or a message is not complete.
    parser: Option<Box<Parser>>,
    /// Read, and not looked at yet.
    rest: Bytes,
    turns: u8,
    pace: Pace,
    /// Its consumer has said that it can move.
    is_willing: bool,
}

impl Reader {
    /// What was read and is nothing complete: the rest, and what there is of a message.
    pub(super) fn unread(&self) -> (&[u8], Option<&Parser>) {
        (&self.rest, self.parser.as_deref())
    }

    /// Whether it is to move, and can.
    fn poll_move(&self, shared: &Arc<Shared>, cx: &mut Context<'_>) -> Option<Happening> {
        if !shared.slot.is_asked_to_move() {
            return None;
        }
        if !self.is_willing {
            return moving::is_alone(shared).then_some(Happening::Asked);
        }
        // What waits leaves before; that it fails is seen by who writes next.
        let _waits = shared.slot.poll_write(cx);
        moving::turn(shared).map(Happening::Move)
    }

    /// The next thing to do something about.
    fn poll(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) -> Poll<Happening> {
        let slot = &shared.slot;
        slot.register(cx);
        if let Some(close) = dismissal(slot) {
            return Poll::Ready(Happening::End(End::Server(close)));
        }
        if slot.is_draining() {
            if let Some(words) = shared.farewell.get() {
                slot.append(Frame::new(&words(shared.request.site())).bytes());
            }
            let end = match shared.request.lifecycle().replaced() {
                Some(_) => {
                    shared.place.sent_on();
                    End::server(1012, "the server restarts")
                }
                None => End::server(1001, "the server is going away"),
            };
            return Poll::Ready(Happening::End(end));
        }
        if let Some(happening) = self.poll_move(shared, cx) {
            return Poll::Ready(happening);
        }
        loop {
            if slot.is_broken() {
                return Poll::Ready(Happening::End(End::Broken));
            }
            if let Some(happening) = poll_out(shared, cx) {
                return Poll::Ready(happening);
            }
            if !slot.has_room() {
                return Poll::Pending;
            }
            return Poll::Ready(match ready!(self.poll_in(slot, allowed(shared), cx)) {
                Ok(Heard::Text(_) | Heard::Binary(_) | Heard::Ping(_))
                    if !self.pace.allows(&shared.request.settings().server) =>
                {
                    too_fast(shared)
                }
                Ok(Heard::Ping(payload)) => {
                    slot.append(&pong_frame(&payload));
                    continue;
                }
                Ok(Heard::Pong) => continue,
                Ok(Heard::Text(text)) => Happening::Text(text),
                Ok(Heard::Binary(bytes)) => Happening::Bytes(bytes),
                Ok(Heard::Close(payload)) => Happening::End(End::Client(payload)),
                Err(end) => Happening::End(end),
            });
        }
    }

    /// Reads until something is complete.
    fn poll_in(
        &mut self,
        slot: &Slot,
        allowed: Allowed,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, End>> {
        if !self.rest.is_empty() {
            self.turns += 1;
            if self.turns > TURNS_MAX {
                self.turns = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut input = &self.rest[..];
            let heard = read(&mut self.parser, &mut input, allowed);
            let used = self.rest.len() - input.len();
            self.rest.advance(used);
            if self.rest.is_empty() {
                self.rest = Bytes::new();
            }
            if let Some(heard) = heard {
                return Poll::Ready(heard.map_err(End::Fault));
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let count = match ready!(slot.poll_read(cx, scratch)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(End::Broken)),
                    Ok(count) => count,
                };
                slot.hear();
                let mut input = &scratch[..count];
                let heard = read(&mut self.parser, &mut input, allowed);
                if !input.is_empty() {
                    self.rest = Bytes::copy_from_slice(input);
                }
                if let Some(heard) = heard {
                    return Poll::Ready(heard.map_err(End::Fault));
                }
            }
        })
    }
}

/// Reads up to the next complete thing; keeps the parser if there is more to come of something.
fn read(
    parser: &mut Option<Box<Parser>>,
    input: &mut &[u8],
    allowed: Allowed,
) -> Option<Result<Heard, Fault>> {
    let under_way = parser.get_or_insert_default();
    let heard = under_way.next(input, allowed);
    if under_way.is_idle() {
        *parser = None;
    }
    heard
}

/// What this connection allows.
fn allowed(shared: &Shared) -> Allowed {
    let message_max = shared.request.settings().server.message_bytes_max;
    Allowed { message_max, deflated: shared.slot.is_deflated() }
}

/// Writes what waits and what the groups have, then lets the ticks write; what else there is to do.
fn poll_out(shared: &Shared, cx: &mut Context<'_>) -> Option<Happening> {
    let (slot, connection) = (&shared.slot, &shared.connection);
    loop {
        match slot.poll_write(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Some(Happening::End(End::Broken)),
            Poll::Pending => return connection.is_overrun().then(|| too_slow(shared)),
        }
        if let Some(close) = slot.asked_to_close() {
            return Some(Happening::End(End::Server(close)));
        }
        if slot.is_open() {
            return None;
        }
        let mut taken = BytesMut::new();
        let drained = connection.drain(&mut taken, OUT_BYTES_MAX);
        if drained.is_overrun {
            return Some(too_slow(shared));
        }
        if let Some(doubt) = drained.doubt {
            return Some(Happening::Doubted(doubt));
        }
        let is_nothing = taken.is_empty();
        if slot.is_deflated() {
            taken = deflate_frames(&taken.freeze()).into();
        }
        slot.append_all(taken);
        if !drained.heard.is_empty() {
            return Some(Happening::Groups(drained.heard));
        }
        if is_nothing && connection.open() {
            return None;
        }
    }
}

/// How the site ends it that has taken back what it was opened for.
fn dismissal(slot: &Slot) -> Option<Close> {
    slot.is_dismissed().then(|| slot.asked_to_close()).flatten()
}

fn too_slow(shared: &Shared) -> Happening {
    tracing::info!(path = shared.request.path(), "a socket lagged too far behind");
    Happening::End(End::server(1013, "too slow"))
}

fn too_fast(shared: &Shared) -> Happening {
    tracing::info!(path = shared.request.path(), "a socket said more than server.message_rate");
    Happening::End(End::server(1008, "too many messages"))
}

/// Closes the connection as it should be; the code `disconnect` is told.
async fn say_goodbye(shared: &Shared, reader: &mut Reader, end: End) -> u16 {
    let (is_understood, is_theirs) = (matches!(end, End::Server(_)), matches!(end, End::Client(_)));
    let (code, payload) = match end {
        End::Broken | End::Moved => return NO_GOODBYE,
        End::Client(payload) => {
            let code = payload.first_chunk().map_or(NO_CODE, |code| u16::from_be_bytes(*code));
            (code, payload)
        }
        End::Server(close) => (close.code, payload(close.code, &close.reason)),
        End::Fault(fault) => {
            let (code, reason) = match fault {
                Fault::Protocol => (1002, "protocol error"),
                Fault::Utf8 => (1007, "text is not UTF-8"),
                Fault::TooLarge => (1009, "message too large"),
                Fault::Deflate => (1007, "message is not compressed as agreed"),
            };
            (code, payload(code, reason))
        }
    };
    if !is_theirs {
        shared.place.closed(code);
    }
    let slot = &shared.slot;
    slot.say_goodbye(&close_frame(&payload));
    let goodbye = async {
        poll_fn(|cx| {
            slot.register(cx);
            slot.poll_write(cx)
        })
        .await?;
        if is_understood {
            let allowed = allowed(shared);
            let mut answer = async || poll_fn(|cx| reader.poll_in(slot, allowed, cx)).await;
            while let Ok(Heard::Text(_) | Heard::Binary(_) | Heard::Ping(_) | Heard::Pong) =
                answer().await
            {}
        }
        poll_fn(|cx| slot.poll_shutdown(cx)).await?;
        linger(slot).await
    };
    match timeout(CLOSE_WAIT, goodbye).await {
        Ok(_) => {}
        Err(_) => tracing::debug!("a client did not say goodbye"),
    }
    code
}

fn payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// After the end of our side: the client's bytes away, or a reset could take the goodbye with it.
async fn linger(slot: &Slot) -> std::io::Result<()> {
    let mut left = LINGER_BYTES_MAX;
    loop {
        let read =
            poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| slot.poll_read(cx, scratch))).await?;
        if read == 0 || left < read {
            return Ok(());
        }
        left -= read;
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
