//! The stream of a connection: a TCP socket taken out of hyper, or whatever else came.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Unsent bytes below which the kernel calls a socket writable: what a slow client has not taken
/// waits in the group's ring, once for all, and not in the kernel.
const NOTSENT_BYTES: u32 = 64 * 1024;

/// Any stream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// What was got out of an upgraded connection, with what hyper had read of it already.
pub(crate) enum Taken {
    /// A TCP socket, and what is to be kept for as long as it is open.
    Tcp(TcpStream, Bytes, Option<Box<dyn Any + Send + Sync>>),
    /// Anything else.
    Other(Pin<Box<dyn Duplex>>, Bytes),
}

/// In a request's extensions: how the server that accepted the connection gets its stream back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeOver(pub(crate) fn(Upgraded) -> Result<Taken, Upgraded>);

/// Gets the stream out of hyper: by `take_over`, or as axum's own server wraps it.
pub(super) fn take(upgraded: Upgraded, take_over: Option<TakeOver>) -> io::Result<(Io, Bytes)> {
    let taken = match take_over {
        Some(TakeOver(take_over)) => take_over(upgraded),
        None => auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
            .map(|parts| Taken::Tcp(parts.io.into_inner(), parts.read_buf, None)),
    };
    match taken {
        Ok(Taken::Tcp(stream, read, place)) => {
            // Registered anew: the old registration holds the waker of hyper's task, and with it
            // all that task was.
            let stream = TcpStream::from_std(stream.into_std()?)?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_BYTES)?;
            Ok((Io::tcp(stream, place), read))
        }
        Ok(Taken::Other(stream, read)) => Ok((Io::Other(stream), read)),
        Err(upgraded) => Ok((Io::Other(Box::pin(TokioIo::new(upgraded))), Bytes::new())),
    }
}

/// The stream.
pub(super) enum Io {
    /// Written to by whoever has something.
    Tcp {
        stream: TcpStream,
        /// Its place in its worker; dropping it lets the next one in.
        _place: Option<Box<dyn Any + Send + Sync>>,
    },
    /// Written to by the connection's task only.
    Other(Pin<Box<dyn Duplex>>),
}

impl Io {
    /// A TCP socket, and what is to be kept for as long as it is open.
    pub(super) fn tcp(stream: TcpStream, place: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self::Tcp { stream, _place: place }
    }

    /// Another hold of the same socket, if it is one that another process could go on with.
    pub(super) fn lend(&self) -> Option<OwnedFd> {
        match self {
            Self::Tcp { stream, .. } => stream.as_fd().try_clone_to_owned().ok(),
            Self::Other(_) => None,
        }
    }

    /// Writes without waiting; `None`: only the task can.
    pub(super) fn try_write(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        match self {
            Self::Tcp { stream, .. } => Some(stream.try_write(bytes)),
            Self::Other(_) => None,
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp { stream, .. } => loop {
                match stream.try_write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(stream.poll_write_ready(cx))?;
                    }
                    written => return Poll::Ready(written),
                }
            },
            Self::Other(stream) => stream.as_mut().poll_write(cx, bytes),
        }
    }

    /// Ready when the stream takes bytes, as far as that is known.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp { stream, .. } => stream.poll_write_ready(cx),
            Self::Other(_) => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp { .. } => Poll::Ready(Ok(())),
            Self::Other(stream) => stream.as_mut().poll_flush(cx),
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp { stream, .. } => loop {
                ready!(stream.poll_read_ready(cx))?;
                match stream.try_read(scratch) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return Poll::Ready(read),
                }
            },
            Self::Other(stream) => {
                let mut buffer = ReadBuf::new(scratch);
                ready!(stream.as_mut().poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// Ends our side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp { stream, .. } => {
                Poll::Ready(SockRef::from(&*stream).shutdown(Shutdown::Write))
            }
            Self::Other(stream) => stream.as_mut().poll_shutdown(cx),
        }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp { .. } => "Tcp",
            Self::Other(_) => "Other",
        })
    }
}
