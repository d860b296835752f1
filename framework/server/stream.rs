//! An accepted connection, TCP, TLS or unix, with its place among those a worker may hold.
//!
//! Invariants:
//! - What passes is written down in its [`Watched`]: who sends no request or takes nothing of an
//!   answer loses the connection.
//! - A client that still sends when we close is given a moment to read why: closing at once would
//!   make the kernel throw the answer away.

use std::io::{IoSlice, Result, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderValue;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::balance::Counted;
use crate::server::tls::H2;
use crate::server::visitors::crowd::Of;
use crate::server::visitors::watch::Watched;
use crate::sockets::Taken;

/// How long a client may go on sending after our last word.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes it may send meanwhile.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes thrown away at once.
const SCRATCH_BYTES: usize = 16 * 1024;

/// An answer that is no longer than this is copied and written at once.
const PIECE_BYTES: usize = 1024;

/// A connection. It moves along into an upgrade, so a WebSocket keeps its place too.
#[derive(Debug)]
pub(super) struct Stream {
    io: Io,
    watched: Arc<Watched>,
    /// Set once our last word is said and the client may still be sending.
    lingering: Option<Lingering>,
    place: Place,
}

#[derive(Debug)]
struct Lingering {
    over: Pin<Box<Sleep>>,
    bytes: usize,
}

/// A connection's place in its worker. Dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
    of: Option<Of>,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, counted: Counted) -> Self {
        Self { _permit: permit, _counted: counted, of: None }
    }

    /// Counts it among the connections of its address.
    pub(super) fn count(&mut self, of: Option<Of>) {
        self.of = of;
    }
}

#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream, SocketAddr),
    Tls(Box<TlsStream<TcpStream>>, SocketAddr),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn new(io: Io, place: Place, watched: Arc<Watched>) -> Self {
        Self { io, watched, lingering: None, place }
    }

    /// The client's address; a unix socket's has none.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.io {
            Io::Tcp(_, peer) | Io::Tls(_, peer) => Some(*peer),
            Io::Unix(_) => None,
        }
    }

    /// The address it has reached, as a host.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        let address = match &self.io {
            Io::Tcp(stream, _) => stream.local_addr().ok()?,
            Io::Tls(stream, _) => stream.get_ref().0.local_addr().ok()?,
            Io::Unix(_) => return None,
        };
        HeaderValue::try_from(
            SocketAddr::new(address.ip().to_canonical(), address.port()).to_string(),
        )
        .ok()
    }

    /// The same connection, encrypted; a unix socket's stays as it is.
    pub(super) async fn secured(self, tls: &TlsAcceptor) -> Result<Self> {
        let Self { io, watched, place, .. } = self;
        let io = match io {
            Io::Tcp(stream, peer) => Io::Tls(Box::new(tls.accept(stream).await?), peer),
            io @ (Io::Tls(..) | Io::Unix(_)) => io,
        };
        Ok(Self::new(io, place, watched))
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.io, Io::Tls(..))
    }

    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_h2(&self) -> bool {
        match &self.io {
            Io::Tls(stream, _) => stream.get_ref().1.alpn_protocol() == Some(H2),
            Io::Tcp(..) | Io::Unix(_) => false,
        }
    }

    /// Counts it among the connections of its address.
    pub(super) fn count(&mut self, of: Option<Of>) {
        self.place.count(of);
    }

    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }
}

/// Gets a connection back from hyper when it becomes a WebSocket.
pub(super) fn take_over(upgraded: Upgraded) -> std::result::Result<Taken, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Stream>>()?;
    let Stream { io, watched, place, .. } = parts.io.into_inner();
    Ok(match io {
        Io::Tcp(stream, _) => Taken::Tcp(stream, parts.read_buf, Some(Box::new(place))),
        Io::Tls(..) | Io::Unix(_) => {
            Taken::Other(Box::pin(Stream::new(io, place, watched)), parts.read_buf)
        }
    })
}

impl Io {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut piece = [0; PIECE_BYTES];
        match self {
            Self::Tcp(stream, _) => match gather(slices, &mut piece) {
                Some(piece) => Pin::new(stream).poll_write(cx, piece),
                None => Pin::new(stream).poll_write_vectored(cx, slices),
            },
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Throws away what comes until the client has closed too, or it is enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>, lingering: &mut Lingering) -> Poll<()> {
        let mut scratch = [0; SCRATCH_BYTES];
        while lingering.bytes < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scratch);
            match self.poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    lingering.bytes += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.over.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

/// How many bytes went, if it could go on.
fn taken(written: &Poll<Result<usize>>) -> Option<usize> {
    match written {
        Poll::Ready(written) => Some(*written.as_ref().unwrap_or(&0)),
        Poll::Pending => None,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.io.poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            this.watched.heard(bytes);
        }
        read
    }
}

/// The slices in one piece, if they fit: for the kernel that is cheaper than a list.
fn gather<'a>(slices: &[IoSlice<'_>], piece: &'a mut [u8; PIECE_BYTES]) -> Option<&'a [u8]> {
    let length = slices.iter().map(|slice| slice.len()).sum();
    let piece = piece.get_mut(..length)?;
    let mut rest = &mut *piece;
    for slice in slices {
        rest.write_all(slice).ok()?;
    }
    Some(piece)
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = this.io.poll_write(cx, bytes);
        this.watched.wrote(taken(&written));
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = this.io.poll_write_vectored(cx, slices);
        this.watched.wrote(taken(&written));
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(this.io.poll_shutdown(cx))?;
            if !this.watched.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        let begin = || Lingering { over: Box::pin(sleep(LINGER)), bytes: 0 };
        let lingering = this.lingering.get_or_insert_with(begin);
        this.io.poll_linger(cx, lingering).map(Ok)
    }
}
