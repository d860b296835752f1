//! An accepted connection, TCP or unix, with its place among those a worker may hold.
//!
//! Invariant: who takes nothing of an answer for a minute loses the connection; an answer without
//! end (events) would keep its place for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::server::balance::Counted;
use crate::sockets::Taken;

/// How long a client may take nothing of what waits for it.
const STALL: Duration = Duration::from_secs(60);

/// A connection. It moves along into an upgrade, so a WebSocket keeps its place too.
#[derive(Debug)]
pub(super) struct Stream {
    io: Io,
    patience: Patience,
    _place: Place,
}

/// How long a write that cannot go on may wait still.
#[derive(Debug, Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

/// A connection's place in its worker. Dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, counted: Counted) -> Self {
        Self { _permit: permit, _counted: counted }
    }
}

#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn new(io: Io, place: Place) -> Self {
        Self { io, patience: Patience::default(), _place: place }
    }

    /// The client's address; a unix socket's has none.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.io {
            Io::Tcp(_, peer) => Some(*peer),
            Io::Unix(_) => None,
        }
    }
}

/// Gets a connection back from hyper when it becomes a WebSocket.
pub(super) fn take_over(upgraded: Upgraded) -> std::result::Result<Taken, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Stream>>()?;
    let Stream { io, _place: place, .. } = parts.io.into_inner();
    Ok(match io {
        Io::Tcp(stream, _) => Taken::Tcp(stream, parts.read_buf, Some(Box::new(place))),
        Io::Unix(_) => Taken::Other(Box::pin(Stream::new(io, place)), parts.read_buf),
    })
}

impl Patience {
    /// Begins to count when a write has to wait, and fails it when that takes too long.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        ready!(self.0.get_or_insert_with(|| Box::pin(sleep(STALL))).as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match &mut self.get_mut().io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Io::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let Self { io, patience, .. } = self.get_mut();
        let written = match io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_write(cx, bytes),
            Io::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        patience.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let Self { io, patience, .. } = self.get_mut();
        let written = match io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        patience.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_flush(cx),
            Io::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.get_mut().io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::time::{Instant, timeout};

    use super::{Patience, STALL};

    #[tokio::test(start_paused = true)]
    async fn a_write_that_gets_nowhere_fails_after_a_minute_from_the_last_byte() {
        let mut patience = Patience::default();
        for _ in 0..3 {
            let stalled = poll_fn(|cx| patience.watch(cx, Poll::Pending));
            assert!(timeout(STALL * 2 / 3, stalled).await.is_err());
            let written = poll_fn(|cx| patience.watch(cx, Poll::Ready(Ok(1)))).await;
            assert_eq!(written.unwrap(), 1);
        }
        let begun = Instant::now();
        let stalled = poll_fn(|cx| patience.watch(cx, Poll::Pending)).await;
        assert_eq!(stalled.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!((STALL..STALL * 2).contains(&begun.elapsed()));
    }
}
