//! An accepted connection, TCP or unix, with its place among those a worker may hold.

use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::server::balance::Counted;
use crate::sockets::Taken;

/// A connection. It moves along into an upgrade, so a WebSocket keeps its place too.
#[derive(Debug)]
pub(super) struct Stream {
    io: Io,
    _place: Place,
}

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
        Self { io, _place: place }
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
    let Stream { io, _place: place } = parts.io.into_inner();
    Ok(match io {
        Io::Tcp(stream, _) => Taken::Tcp(stream, parts.read_buf, Some(Box::new(place))),
        Io::Unix(_) => Taken::Other(Box::pin(Stream::new(io, place)), parts.read_buf),
    })
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
        match &mut self.get_mut().io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_write(cx, bytes),
            Io::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match &mut self.get_mut().io {
            Io::Tcp(stream, _) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
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
