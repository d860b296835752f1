//! From a listening socket to served connections.
//!
//! Flow: [`Acceptor::accept`] (one loop a socket) → a place is free → `accept` → a task a
//! connection.
//!
//! Invariants:
//! - At most `server.connections_max` connections, WebSockets among them; beyond it clients wait in
//!   the kernel's queue.
//! - Running out of file descriptors pauses accepting; it ends nothing.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::error::Result;
use crate::server::stream::{Io, Stream};

/// A request's head must be there this long after the connection or the last answer, seconds.
const HEADER_SECONDS_MAX: u64 = 10;

/// Longest request head, bytes, and the size a connection's read buffer grows to.
const HEAD_BYTES_MAX: usize = 32_768;

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(250);

/// How long connections that were just accepted may still bring the request they carry, once
/// draining has begun: it may lie in the kernel already.
const LAST_REQUESTS: Duration = Duration::from_millis(100);

/// A listening socket on this worker's runtime.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Takes over a socket handed down by the arbiter.
    pub(super) fn from_fd(fd: OwnedFd) -> Result<Self> {
        use rustix::net::{AddressFamily, sockopt::socket_domain};
        if socket_domain(&fd)? == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            return Ok(Self::Unix(UnixListener::from_std(listener)?));
        }
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    async fn accept(&self) -> io::Result<Io> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers and frames are written whole; waiting to fill a packet only delays them.
                stream.set_nodelay(true)?;
                Ok(Io::Tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(Io::Unix(listener.accept().await?.0)),
        }
    }
}

/// Serves connections with one handler.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    handler: Router,
    places: Arc<Semaphore>,
    /// Cancelled: let nobody new in.
    closing: CancellationToken,
    /// Cancelled: no request after the one that runs.
    finishing: CancellationToken,
    /// One task a connection.
    connections: TaskTracker,
}

impl Acceptor {
    pub(super) fn new(handler: Router, connections_max: usize) -> Self {
        Self {
            handler,
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            closing: CancellationToken::new(),
            finishing: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Accepts until [`close`](Self::close), then empties the kernel's queue and closes the socket.
    pub(super) async fn accept(self, socket: Socket) {
        let mut is_paused = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                accepted = self.accept_one(&socket) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    self.connections.spawn(self.clone().serve(stream));
                    say_unpaused(&mut is_paused);
                    // Another worker may take the next one.
                    yield_now().await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    say_paused(&mut is_paused, &error);
                    sleep(PAUSE).await;
                }
            }
        }
        while let Some(Ok(stream)) = self.accept_one(&socket).now_or_never() {
            self.connections.spawn(self.clone().serve(stream));
        }
    }

    async fn accept_one(&self, socket: &Socket) -> io::Result<Stream> {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        Ok(Stream::new(socket.accept().await?, place))
    }

    /// Lets nobody new in; `accept` ends.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Waits until the requests that run are answered and their connections closed.
    pub(super) async fn finish(&self) {
        sleep(LAST_REQUESTS).await;
        self.finishing.cancel();
        self.connections.close();
        self.connections.wait().await;
    }

    /// Serves one connection to its end, or to its upgrade.
    async fn serve(self, stream: Stream) {
        let peer = stream.peer();
        let handler = self.handler;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(answer(handler, request).await) }
        });
        // hyper-util's `auto` builder (0.1.21) would wait for the first byte without a timeout.
        let connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.finishing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // Clients go away as they like; that is not the site's trouble.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

async fn answer(handler: Router, request: Request<Incoming>) -> axum::response::Response {
    match handler.oneshot(request.map(axum::body::Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// One line when the trouble begins, not one a try.
fn say_paused(is_paused: &mut bool, error: &io::Error) {
    if !std::mem::replace(is_paused, true) {
        tracing::error!(%error, "cannot accept, trying again until it works");
    }
}

fn say_unpaused(is_paused: &mut bool) {
    if std::mem::take(is_paused) {
        tracing::info!("accepting again");
    }
}

/// Whether the error is about the one connection that was to be accepted, which is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}
