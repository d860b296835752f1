//! A connection's outgoing side: what waits, whether it may be written to, and since when it waits.
//!
//! Flow: the table's tick writes straight to the stream while the slot is open ([`Sink::write`]).
//! What the consumer sends, a frame the stream took half of, or a call under way closes it; its
//! task writes what waits, drains the groups, and opens it again.
//!
//! Invariants:
//! - Whoever writes holds `out`: frames never mix.
//! - Closed and nothing waiting means that its task will look. Nothing is queued here for a client
//!   that does not take it, but what its own consumer sent, up to a bound, and the rest of a frame.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::io::Io;
use super::moving::Mover;
use super::wheel::{Patience, Wheel};
use crate::channels::{COME_AGAIN, DISMISSED, Frame, Sink, Written, deflate_frames, frame_bytes};
use crate::error::{Error, Kind, Result};

/// Bytes that wait before a sender waits too. One message may be larger.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that wait above which the client is not read from and its groups are not drained.
pub(super) const OUT_BYTES_MAX: usize = 64 * 1024;
/// A ping without a payload, as a server sends it.
const PING: [u8; 2] = [0x89, 0x00];

/// The client took or said nothing for too long, or the stream is broken.
const BROKEN: u8 = 1;
/// The server is going away.
const DRAINING: u8 = 2;
/// Client and server have agreed to compress.
const DEFLATED: u8 = 4;
/// Another process would go on with it.
const ASKED: u8 = 8;
/// What it was opened for is taken back: nothing leaves any more but the goodbye.
const IS_DISMISSED: u8 = 16;
/// The goodbye is on its way.
const HAS_SAID_GOODBYE: u8 = 32;

/// How long a client has been silent, in the wheel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Silence {
    /// Since it last said anything.
    heard: u32,
    /// Since it was sent the ping that waits for its answer.
    pinged: Option<u32>,
}

/// A close the site asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) struct Slot {
    out: Mutex<Out>,
    /// The connection's task.
    task: AtomicWaker,
    flags: AtomicU8,
    /// When something last came, in the wheel's ticks.
    heard: AtomicU32,
    /// There is room again, or never will be.
    room: Notify,
    wheel: Arc<Wheel>,
}

#[derive(Debug, Default)]
struct Out {
    /// There while the connection runs: before that, full is an error; handles that outlive it hold
    /// no stream.
    io: Option<Io>,
    /// Whole frames; of the first the beginning may be gone already.
    bytes: BytesMut,
    close: Option<Box<Close>>,
    /// When the client last took something, or had nothing to take.
    moved: u32,
    /// When the ping that waits for its answer was sent; 0: none does.
    pinged: u32,
    gate: Gate,
    is_closed: bool,
    /// The stream takes nothing at the moment.
    is_stuck: bool,
    /// The stream may hold back some of what it took.
    is_unflushed: bool,
}

/// Who may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    /// The task, which will look.
    #[default]
    Shut,
    /// The ticks too.
    Open,
    /// The task, and it does not read: a call runs.
    Calling,
}

impl Slot {
    pub(super) fn new(wheel: Arc<Wheel>) -> Self {
        Self {
            out: Mutex::default(),
            task: AtomicWaker::new(),
            flags: AtomicU8::new(0),
            heard: AtomicU32::new(wheel.now()),
            room: Notify::new(),
            wheel,
        }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on somebody takes. The client may have been silent in another process before.
    pub(super) fn run(&self, io: Io, silence: Silence) {
        let now = self.wheel.now();
        self.heard.store(self.wheel.before(silence.heard), Ordering::Relaxed);
        let mut out = self.out();
        out.io = Some(io);
        out.moved = now;
        out.pinged = silence.pinged.map_or(0, |ago| self.wheel.before(ago));
    }

    /// How long its client has been silent.
    pub(super) fn silence(&self) -> Silence {
        let (now, heard) = (self.wheel.now(), self.heard.load(Ordering::Relaxed));
        let pinged = self.out().pinged;
        let is_waited_for = pinged != 0 && heard < pinged;
        let pinged = is_waited_for.then(|| now.saturating_sub(pinged));
        Silence { heard: now.saturating_sub(heard), pinged }
    }

    /// The stream is closed; nothing of it is left to handles.
    pub(super) fn finish(&self) {
        self.end();
        let mut out = self.out();
        out.io = None;
        out.bytes = BytesMut::new();
    }

    /// Puts `frame` behind what waits; waits for room while the client is slow.
    pub(super) async fn push(&self, frame: &Frame) -> Result<()> {
        // What is sent before the handshake is answered leaves as it is.
        let bytes = match self.is_deflated() {
            true => deflate_frames(frame.bytes()),
            false => frame.bytes().clone(),
        };
        loop {
            let room = self.room.notified();
            {
                let mut out = self.out();
                if out.is_closed || out.close.is_some() {
                    return Err(closed("the socket is closed"));
                }
                if out.bytes.len() < OUTBOX_BYTES_MAX {
                    out.append(&bytes, &self.wheel);
                    break;
                }
                if out.io.is_none() {
                    return Err(closed("more was sent before the handshake than waits"));
                }
            }
            room.await;
        }
        self.task.wake();
        Ok(())
    }

    /// Asks for a close after what waits; the first one counts.
    pub(super) fn close(&self, close: Close) -> Result<()> {
        let mut out = self.out();
        if out.is_closed {
            return Err(closed("the socket is closed"));
        }
        out.close.get_or_insert_with(|| Box::new(close));
        drop(out);
        self.task.wake();
        Ok(())
    }

    /// Nothing leaves any more but what is appended; senders get an error.
    pub(super) fn end(&self) {
        let mut out = self.out();
        out.is_closed = true;
        out.shut();
        drop(out);
        self.room.notify_waiters();
    }

    /// Puts whole frames behind what waits.
    pub(super) fn append(&self, frames: &[u8]) {
        self.out().append(frames, &self.wheel);
    }

    /// Puts whole frames behind what waits, if nothing does without a copy.
    pub(super) fn append_all(&self, frames: BytesMut) {
        let mut out = self.out();
        if out.bytes.is_empty() && !frames.is_empty() {
            out.append(&[], &self.wheel);
            out.bytes = frames;
        } else {
            out.append(&frames, &self.wheel);
        }
    }

    /// A call begins: what it sends leaves before what groups say meanwhile.
    pub(super) fn begin_call(&self) {
        self.out().gate = Gate::Calling;
    }

    /// The same, if nothing waits to be written and nothing to be closed; whether it has begun.
    pub(super) fn begin_if_quiet(&self) -> bool {
        let mut out = self.out();
        let is_quiet = out.is_quiet();
        if is_quiet {
            out.gate = Gate::Calling;
        }
        is_quiet
    }

    /// It ended; that its client was not heard meanwhile was not the client's fault.
    pub(super) fn end_call(&self) {
        self.hear();
        let mut out = self.out();
        out.gate = Gate::Shut;
        out.pinged = 0;
    }

    pub(super) fn is_open(&self) -> bool {
        self.out().gate == Gate::Open
    }

    pub(super) fn has_room(&self) -> bool {
        self.out().bytes.len() < OUT_BYTES_MAX
    }

    /// The close that was asked for.
    pub(super) fn asked_to_close(&self) -> Option<Close> {
        self.out().close.as_deref().cloned()
    }

    /// The task that is told of everything.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    pub(super) fn is_broken(&self) -> bool {
        self.flags.load(Ordering::Acquire) & BROKEN != 0
    }

    /// From now on long messages leave compressed, and the client's may be.
    pub(super) fn set_deflated(&self) {
        self.flags.fetch_or(DEFLATED, Ordering::AcqRel);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.flags.load(Ordering::Acquire) & DRAINING != 0
    }

    /// What it was opened for is taken back.
    pub(super) fn is_dismissed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & IS_DISMISSED != 0
    }

    /// Puts the goodbye behind what waits, once.
    pub(super) fn say_goodbye(&self, frame: &[u8]) {
        if self.flags.fetch_or(HAS_SAID_GOODBYE, Ordering::AcqRel) & HAS_SAID_GOODBYE == 0 {
            self.append(frame);
        }
    }

    /// The server is going away.
    pub(super) fn drain(&self) {
        self.flags.fetch_or(DRAINING, Ordering::AcqRel);
        self.task.wake();
    }

    /// Another process would go on with it.
    pub(super) fn ask_to_move(&self) {
        self.flags.fetch_or(ASKED, Ordering::AcqRel);
    }

    pub(super) fn is_asked_to_move(&self) -> bool {
        self.flags.load(Ordering::Acquire) & ASKED != 0
    }

    /// It has moved, or does not.
    pub(super) fn stay(&self) {
        self.flags.fetch_and(!ASKED, Ordering::AcqRel);
    }

    /// Who gives connections away, if anybody does.
    pub(super) fn mover(&self) -> Option<Arc<Mover>> {
        self.wheel.mover()
    }

    /// Has its task look at what there is.
    pub(super) fn look(&self) {
        self.task.wake();
    }

    /// Whether nothing waits to be written, and nothing to be closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.out().is_quiet()
    }

    /// Another hold of its stream, for another process.
    pub(super) fn lend(&self) -> Option<OwnedFd> {
        self.out().io.as_ref()?.lend()
    }

    fn fail(&self) {
        self.flags.fetch_or(BROKEN, Ordering::AcqRel);
        self.task.wake();
    }

    /// Reads what there is; 0 at the end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.out().io {
            Some(io) => io.poll_read(cx, scratch),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Ends our side.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.out().io {
            Some(io) => io.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes until nothing waits and the stream takes more.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut guard = self.out();
        let out = &mut *guard;
        while !out.bytes.is_empty() {
            let Some(io) = &mut out.io else { return Poll::Ready(Ok(())) };
            let Poll::Ready(written) = io.poll_write(cx, &out.bytes) else {
                out.stick(&self.wheel);
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let was_full = out.bytes.len() >= OUTBOX_BYTES_MAX;
            out.bytes.advance(written);
            out.moved = self.wheel.now();
            if was_full && out.bytes.len() < OUTBOX_BYTES_MAX {
                self.room.notify_waiters();
            }
        }
        if out.bytes.capacity() > 0 {
            // An idle connection holds no buffer.
            out.bytes = BytesMut::new();
            out.is_unflushed = true;
        }
        if out.is_unflushed {
            if let Some(io) = &mut out.io {
                ready!(io.poll_flush(cx))?;
            }
            out.is_unflushed = false;
        }
        if out.is_stuck {
            if let Some(io) = &out.io {
                ready!(io.poll_writable(cx))?;
            }
            out.is_stuck = false;
            out.moved = self.wheel.now();
        }
        Poll::Ready(Ok(()))
    }

    /// Something came.
    pub(super) fn hear(&self) {
        self.heard.store(self.wheel.now(), Ordering::Relaxed);
    }

    /// Pings a silent client and drops one that takes or says nothing; asked from time to time.
    pub(super) fn check(&self, now: u32, patience: Patience) {
        let mut out = self.out();
        if out.io.is_none() || out.is_closed {
            return;
        }
        if out.is_stuck || !out.bytes.is_empty() {
            // It is not read from either, perhaps: what counts is whether it takes anything.
            if now >= out.moved + patience.timeout {
                drop(out);
                self.fail();
            }
            return;
        }
        if out.gate == Gate::Calling {
            return;
        }
        let heard = self.heard.load(Ordering::Relaxed);
        if out.pinged != 0 && heard < out.pinged {
            if now >= out.pinged + patience.timeout {
                drop(out);
                self.fail();
            }
            return;
        }
        out.pinged = 0;
        if now < heard + patience.interval {
            return;
        }
        out.pinged = now;
        let written =
            out.io.as_ref().filter(|_| out.gate == Gate::Open).and_then(|io| io.try_write(&PING));
        if !matches!(written, Some(Ok(2))) {
            let sent = written.and_then(std::io::Result::ok).unwrap_or(0);
            out.append(&PING[sent..], &self.wheel);
            drop(out);
            self.task.wake();
        }
    }
}

impl Out {
    fn is_quiet(&self) -> bool {
        self.bytes.is_empty() && self.close.is_none() && !self.is_closed
    }

    fn append(&mut self, frames: &[u8], wheel: &Wheel) {
        if self.bytes.is_empty() && !self.is_stuck {
            self.moved = wheel.now();
        }
        self.shut();
        self.bytes.extend_from_slice(frames);
    }

    /// The stream takes nothing at the moment.
    fn stick(&mut self, wheel: &Wheel) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            self.moved = wheel.now();
        }
        self.shut();
    }

    /// The ticks may not write any more.
    fn shut(&mut self) {
        if self.gate == Gate::Open {
            self.gate = Gate::Shut;
        }
    }
}

impl Sink for Slot {
    fn write(&self, frames: &[u8]) -> Written {
        let mut out = self.out();
        if out.gate != Gate::Open {
            return Written::Frames(0);
        }
        let count = match out.io.as_ref().and_then(|io| io.try_write(frames)) {
            Some(Ok(written)) if written == frames.len() => return Written::All,
            Some(Ok(written)) => {
                let (count, end) = cut(frames, written);
                out.stick(&self.wheel);
                out.bytes.extend_from_slice(&frames[written..end]);
                count
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                out.stick(&self.wheel);
                0
            }
            Some(Err(_)) => {
                out.shut();
                self.flags.fetch_or(BROKEN, Ordering::AcqRel);
                0
            }
            None => {
                out.shut();
                0
            }
        };
        drop(out);
        self.task.wake();
        Written::Frames(count)
    }

    fn is_deflated(&self) -> bool {
        self.flags.load(Ordering::Acquire) & DEFLATED != 0
    }

    fn wake(&self) {
        self.out().shut();
        self.task.wake();
    }

    fn dismiss(&self, comes_again: bool) {
        let mut out = self.out();
        if out.is_closed {
            return;
        }
        out.is_closed = true;
        out.shut();
        let (code, reason) = match comes_again {
            true => (COME_AGAIN, "come again"),
            false => (DISMISSED, "what this was opened for has ended"),
        };
        out.close = Some(Box::new(Close { code, reason: reason.to_owned() }));
        drop(out);
        self.flags.fetch_or(IS_DISMISSED, Ordering::AcqRel);
        self.room.notify_waiters();
        self.task.wake();
    }

    fn open(&self) {
        let mut out = self.out();
        let is_ready = out.io.is_some() && !out.is_closed && out.bytes.is_empty();
        if is_ready && !out.is_stuck && out.gate == Gate::Shut {
            out.gate = Gate::Open;
        }
    }
}

/// How many frames begin in the first `written` bytes, and where the last of them ends.
fn cut(frames: &[u8], written: usize) -> (u64, usize) {
    let (mut count, mut end) = (0, 0);
    while end < written {
        end += frame_bytes(&frames[end..]);
        count += 1;
    }
    (count, end)
}

pub(super) fn closed(message: &str) -> Error {
    Error::of(Kind::SocketClosed, message)
}

impl Error {
    /// The socket is closed: nothing can be sent to it or joined by it.
    #[must_use]
    pub fn is_socket_closed(&self) -> bool {
        self.kind() == Kind::SocketClosed
    }
}
