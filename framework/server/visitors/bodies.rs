//! The bodies of requests and answers, watched while they pass.
//!
//! Flow: a request's body comes as a [`Question`], which ends in an error once the client sends too
//! little or too much; its [`Fate`] says which → `serve` answers 408 or 413. The answer's body is
//! an [`Answer`], whose end tells the connection that it may wait for another request.
//!
//! Invariants:
//! - A clock runs only while somebody wants to read and the client has sent nothing, so a view that
//!   takes its time costs no upload.
//! - A request that is waited for holds no place among those that are answered: it gives its own up
//!   and gets another one with the end of its body, as if it had only just come. So bodies that
//!   come slowly, on purpose or not, keep nobody out.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::conf::Settings;
use crate::http::{give_up_place, keep_place};
use crate::server::visitors::crowd::{Full, Gate};
use crate::server::visitors::watch::Watched;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Terms {
    /// How long nothing may come, and how long the whole may take beside what its bytes earn.
    pub(in crate::server) timeout: Duration,
    /// Bytes that earn a second.
    pub(in crate::server) rate_min: u64,
    pub(in crate::server) bytes_max: u64,
}

/// What became of a request's body; shared by it and by who answers.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Fate(Arc<AtomicU8>);

/// How a body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::server) enum Failed {
    /// It came too slowly.
    Slow = 1,
    /// It became too long.
    TooLong = 2,
    /// It is no chunked body, or was cut off.
    Broken = 3,
    /// It has come, and too many are being answered.
    Late = 5,
}

/// How a body is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Done {
    /// All of it was read.
    Whole,
    /// Some of it may still come.
    NotYet,
    /// It ended in an error.
    Failed(Failed),
}

const WHOLE: u8 = 4;

impl Fate {
    fn set(&self, value: u8) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(in crate::server) fn get(&self) -> Done {
        match self.0.load(Ordering::Relaxed) {
            WHOLE => Done::Whole,
            fate if fate == Failed::Slow as u8 => Done::Failed(Failed::Slow),
            fate if fate == Failed::TooLong as u8 => Done::Failed(Failed::TooLong),
            fate if fate == Failed::Broken as u8 => Done::Failed(Failed::Broken),
            fate if fate == Failed::Late as u8 => Done::Failed(Failed::Late),
            _ => Done::NotYet,
        }
    }
}

impl Terms {
    pub(in crate::server) fn new(settings: &Settings) -> Self {
        Self {
            timeout: Duration::from_secs(settings.server.body_timeout),
            rate_min: settings.server.body_rate_min.max(1),
            bytes_max: settings.http.body_bytes_max,
        }
    }

    /// How long a body may have made us wait that has brought `bytes`.
    fn total(&self, bytes: u64) -> Duration {
        self.timeout.saturating_add(Duration::from_secs(bytes / self.rate_min))
    }
}

/// A place among the requests that are answered, on its way.
type Entering = BoxFuture<'static, Result<OwnedSemaphorePermit, Full>>;

/// A request's body.
pub(in crate::server) struct Question {
    body: Incoming,
    terms: Terms,
    fate: Fate,
    gate: Arc<Gate>,
    /// Whether the request has given its place up.
    is_outside: bool,
    /// The last of it, and the place it waits for.
    last: Option<(Option<Frame<Bytes>>, Entering)>,
    bytes: u64,
    /// Time spent waiting for the client.
    waited: Duration,
    /// Since when it is waited for now, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Question {
    pub(in crate::server) fn new(
        body: Incoming,
        terms: Terms,
        fate: Fate,
        gate: Arc<Gate>,
    ) -> Self {
        let (bytes, waited, waiting) = Default::default();
        let (is_outside, last) = (false, None);
        Self { body, terms, fate, gate, is_outside, last, bytes, waited, waiting }
    }

    /// All is there: the view goes on with it once there is a place for the request again.
    fn poll_last(
        &mut self,
        last: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Bad>>> {
        if !self.is_outside {
            self.fate.set(WHOLE);
            return Poll::Ready(last.map(Ok));
        }
        let gate = Arc::clone(&self.gate);
        self.last = Some((last, Box::pin(async move { gate.enter().await })));
        self.poll_enter(cx)
    }

    fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Bad>>> {
        let Some((last, entering)) = &mut self.last else { return Poll::Ready(None) };
        let entered = ready!(entering.as_mut().poll(cx));
        let last = last.take();
        (self.last, self.is_outside) = (None, false);
        match entered {
            Ok(place) => {
                keep_place(place);
                self.fate.set(WHOLE);
                Poll::Ready(last.map(Ok))
            }
            Err(Full) => Poll::Ready(Some(Err(self.fail(Failed::Late, "the server is busy")))),
        }
    }

    fn fail(&self, how: Failed, words: &'static str) -> Bad {
        self.fate.set(how as u8);
        Bad(words)
    }

    /// Ready when the client has used up its time.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (terms, waited, bytes) = (self.terms, self.waited, self.bytes);
        let (_, over) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            let rest = terms.total(bytes).saturating_sub(waited);
            (now, Box::pin(sleep_until(now + rest.min(terms.timeout))))
        });
        over.as_mut().poll(cx)
    }
}

impl HttpBody for Question {
    type Data = Bytes;
    type Error = Bad;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Bad>>> {
        let this = self.get_mut();
        if matches!(this.fate.get(), Done::Failed(_)) {
            return Poll::Ready(None);
        }
        if this.last.is_some() {
            return this.poll_enter(cx);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            this.is_outside |= give_up_place();
            ready!(this.poll_over(cx));
            return Poll::Ready(Some(Err(this.fail(Failed::Slow, "the body comes too slowly"))));
        };
        if let Some((since, _)) = this.waiting.take() {
            this.waited += since.elapsed();
        }
        match frame {
            None => this.poll_last(None, cx),
            Some(Err(error)) => {
                tracing::debug!(%error, "a body cannot be read");
                let bad = this.fail(Failed::Broken, "the body is malformed or was cut off");
                Poll::Ready(Some(Err(bad)))
            }
            Some(Ok(frame)) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.bytes > this.terms.bytes_max {
                    let bad = this.fail(Failed::TooLong, "the body is too long");
                    return Poll::Ready(Some(Err(bad)));
                }
                if this.body.is_end_stream() {
                    return this.poll_last(Some(frame), cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("body", &self.body).finish_non_exhaustive()
    }
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Bad(&'static str);

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Bad {}

/// An answer's body.
#[derive(Debug)]
pub(in crate::server) struct Answer {
    body: Body,
    /// Told when the last of it is handed over, or given up.
    _request: Running,
}

/// A request from its head to the end of its answer.
#[derive(Debug)]
pub(in crate::server) struct Running(Arc<Watched>);

impl Running {
    pub(in crate::server) fn begin(watched: &Arc<Watched>) -> Self {
        watched.requested();
        Self(Arc::clone(watched))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Answer {
    pub(in crate::server) fn new(body: Body, request: Running) -> Self {
        Self { body, _request: request }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_earn_time_and_none_earn_none() {
        let terms = Terms { timeout: Duration::from_secs(30), rate_min: 500, bytes_max: 1 };
        let check = |bytes, seconds| assert_eq!(terms.total(bytes), Duration::from_secs(seconds));
        check(0, 30);
        check(499, 30);
        check(500, 31);
        check(1_000_000, 2030);
    }
}
