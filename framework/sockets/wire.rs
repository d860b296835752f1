//! The bytes of a connection: one queue for all that leaves, whole frames only.
//!
//! tungstenite writes pongs and goodbyes while it reads; group messages come as encoded bytes.
//! Both go through here, so neither cuts the other's frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes in the queue above which nothing is added but what is whole already.
pub(super) const OUT_BYTES_MAX: usize = 64 * 1024;
/// A queue that grew larger than this for one burst is given back when it is empty.
const OUT_BYTES_KEPT: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    /// Encoded frames; the first may be half written.
    out: BytesMut,
    /// When the queue last moved, or was empty.
    moved: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, out: BytesMut::new(), moved: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.out.len() < OUT_BYTES_MAX
    }

    /// When the client must have taken some of it, if it has `patience`; `None`: nothing waits.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Instant> {
        (!self.out.is_empty()).then(|| self.moved + patience)
    }

    /// Adds what `fill` appends, which is whole frames.
    pub(super) fn add<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> T) -> T {
        if self.out.is_empty() {
            self.moved = Instant::now();
        }
        fill(&mut self.out)
    }

    /// Writes until the queue is empty.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.moved = Instant::now();
        }
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = BytesMut::new();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    /// Takes all or nothing: what tungstenite hands over is whole frames.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.has_room() {
            ready!(self.poll_drive(cx))?;
        }
        self.add(|out| out.extend_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drive(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drive(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
