//! From a listening socket to served connections.
//!
//! Flow: [`Acceptor::accept`] (one loop a socket) → a place is free → `accept` → a task a
//! connection, in `serve`.
//!
//! Invariants:
//! - At most `server.connections_max` connections, WebSockets among them; beyond it clients wait in
//!   the kernel's queue.
//! - Running out of file descriptors pauses accepting; it ends nothing.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use rustix::net::{AddressFamily, sockopt};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Result;
use crate::server::balance::Share;
use crate::server::figures::Figures;
use crate::server::serve::{Course, Serving, serve};
use crate::server::stream::{Io, Place, Stream};

/// How long a worker that holds more connections than another leaves a new one to the others.
const OTHERS_FIRST: Duration = Duration::from_millis(1);

/// Connections taken without leaving them to others, once the others turned out to be busy.
const HURRY: usize = 16;

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(250);

/// How long connections that were just accepted may still bring the request they carry, once
/// draining has begun: it may lie in the kernel already.
const LAST_REQUESTS: Duration = Duration::from_millis(100);

/// How long idle connections may bring a last request when others go on: its answer says that it
/// is the last. Who is closed without having been told may have sent one at that moment.
const LAST_REQUESTS_REPLACED: Duration = Duration::from_secs(10);

/// Between two questions to a peer that is silent this part of the patience passes. It is asked
/// twice, the second time so long before the end: 22 and 26 s of 30.
const PROBES: u64 = 7;

/// The kernel's own bound, seconds (`MAX_TCP_KEEPIDLE`, tcp.h).
const PROBE_INTERVAL_MAX: u64 = 32_767;

/// A listening socket on this worker's runtime.
#[derive(Debug)]
pub(super) struct Socket {
    listening: AsyncFd<Listening>,
    /// The host of who names none, as HTTP/1.0 allows; `None`: the address he has reached.
    host: Option<HeaderValue>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Takes over a socket handed down by the arbiter. A peer of which nothing is heard for
    /// `patience`, though it was asked or sent something, is gone.
    #[expect(
        deprecated,
        reason = "what replaces it is an unsafe fn; a std listener's descriptor stays the same"
    )]
    pub(super) fn from_fd(fd: OwnedFd, patience: Duration) -> Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let listening = match sockopt::socket_domain(&fd)? {
            AddressFamily::UNIX => Listening::Unix(UnixListener::from(fd)),
            _ => {
                if let Err(error) = notice_lost_peers(&fd, patience) {
                    say_not_noticed(&error);
                }
                Listening::Tcp(TcpListener::from(fd))
            }
        };
        let host = listening.host()?;
        Ok(Self { listening: AsyncFd::with_interest(listening, Interest::READABLE)?, host })
    }
}

/// Has the kernel drop connections whose other end says nothing for `patience`: not that it has
/// what it was sent (`TCP_USER_TIMEOUT`, else some 15 minutes), nor, if there is nothing to send,
/// that it is there (keep-alive probes, else never). Linux hands these on to what is accepted.
///
/// # Errors
/// The system refuses one of these; it has taken the others.
fn notice_lost_peers(listener: &OwnedFd, patience: Duration) -> io::Result<()> {
    // Whole seconds: the kernel has no others, and rounded up there would be a question too few.
    let between = (patience.as_secs() / PROBES).clamp(1, PROBE_INTERVAL_MAX);
    let first = patience.as_secs().saturating_sub(between * 2).clamp(1, PROBE_INTERVAL_MAX);
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(i32::MAX.cast_unsigned());
    let set = [
        sockopt::set_tcp_user_timeout(listener, milliseconds.min(i32::MAX.cast_unsigned())),
        sockopt::set_tcp_keepidle(listener, Duration::from_secs(first)),
        sockopt::set_tcp_keepintvl(listener, Duration::from_secs(between)),
        sockopt::set_socket_keepalive(listener, true),
    ];
    for done in set {
        done?;
    }
    Ok(())
}

/// One line a process, not one a socket: it serves all the same.
fn say_not_noticed(error: &io::Error) {
    static SAY: Once = Once::new();
    SAY.call_once(|| tracing::warn!(%error, "clients behind a cut wire may stay for long"));
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

impl Listening {
    fn host(&self) -> Result<Option<HeaderValue>> {
        let address = match self {
            Self::Tcp(listener) => listener.local_addr()?,
            Self::Unix(_) => return Ok(Some(HeaderValue::from_static("localhost"))),
        };
        if address.ip().is_unspecified() {
            return Ok(None);
        }
        Ok(Some(HeaderValue::try_from(address.to_string())?))
    }

    fn accept(&self) -> io::Result<Io> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                // Answers and frames are written whole; waiting to fill a packet only delays them.
                stream.set_nodelay(true)?;
                Ok(Io::Tcp(TcpStream::from_std(stream)?, peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Io::Unix(UnixStream::from_std(stream)?))
            }
        }
    }
}

/// Serves connections with one handler.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    serving: Arc<Serving>,
    places: Arc<Semaphore>,
    course: Arc<Course>,
    /// Others take whoever waits in the kernel's queue, and idle connections have this long.
    followed: Arc<OnceLock<Duration>>,
    /// One task a connection.
    connections: TaskTracker,
}

impl Acceptor {
    pub(super) fn new(serving: Serving, connections_max: usize, share: Share) -> Self {
        Self {
            serving: Arc::new(serving),
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            course: Arc::new(Course {
                share,
                closing: CancellationToken::new(),
                finishing: CancellationToken::new(),
            }),
            followed: Arc::default(),
            connections: TaskTracker::new(),
        }
    }

    /// Accepts until [`close`](Self::close), then empties the kernel's queue and closes the socket.
    pub(super) async fn accept(self, socket: Socket) {
        let mut is_paused = false;
        let mut hurry = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.course.closing.cancelled() => break,
                accepted = self.accept_one(&socket, &mut hurry) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    self.serve(stream, &socket);
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
        self.course.share.leave();
        if self.followed.get().is_some() {
            return;
        }
        hurry = usize::MAX;
        while let Some(Ok(stream)) = self.accept_one(&socket, &mut hurry).now_or_never() {
            self.serve(stream, &socket);
        }
    }

    fn serve(&self, stream: Stream, socket: &Socket) {
        let serving = Arc::clone(&self.serving);
        let course = Arc::clone(&self.course);
        let host = socket.host.clone().or_else(|| stream.host());
        let host = host.unwrap_or_else(|| HeaderValue::from_static("localhost"));
        self.connections.spawn(serve(serving, stream, host, course));
    }

    /// Waits for a connection. The next `hurry` ones are not left to others.
    async fn accept_one(&self, socket: &Socket, hurry: &mut usize) -> io::Result<Stream> {
        loop {
            let mut ready = socket.listening.readable().await?;
            // Only for who is there: another socket of this worker may need the last place.
            let places = Arc::clone(&self.places);
            let permit = places.acquire_owned().await.expect("the semaphore is never closed");
            let is_left_to_others = *hurry == 0 && self.course.share.is_ahead();
            if is_left_to_others {
                sleep(OTHERS_FIRST).await;
            }
            let Ok(accepted) = ready.try_io(|socket| socket.get_ref().accept()) else {
                *hurry = 0;
                continue;
            };
            *hurry = if is_left_to_others { HURRY } else { hurry.saturating_sub(1) };
            let place = Place::new(permit, self.course.share.count());
            return Ok(Stream::new(accepted?, place, self.serving.watch()));
        }
    }

    /// A place for a connection of `address` that another worker gives up, if there is one.
    pub(super) fn place_for(&self, address: Option<IpAddr>) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut place = Place::new(permit, self.course.share.count());
        place.count(self.serving.enter(address).ok()?);
        Some(place)
    }

    /// What its connections count.
    pub(super) fn figures(&self) -> Arc<Figures> {
        self.serving.figures()
    }

    /// Lets nobody new in; `accept` ends.
    pub(super) fn close(&self) {
        self.course.closing.cancel();
    }

    /// The same, when others go on accepting from the same sockets; idle connections have at most
    /// `patience`.
    pub(super) fn leave(&self, patience: Duration) {
        let _left_already = self.followed.set(patience.min(LAST_REQUESTS_REPLACED));
        self.close();
    }

    /// Waits until the requests that run are answered and their connections closed; idle ones may
    /// bring a last request for a while.
    pub(super) async fn finish(&self) {
        let patience = self.followed.get().copied().unwrap_or(LAST_REQUESTS);
        self.connections.close();
        let _some_are_idle = timeout(patience, self.connections.wait()).await;
        self.hurry();
        self.connections.wait().await;
    }

    /// Idle connections are closed now.
    pub(super) fn hurry(&self) {
        self.course.finishing.cancel();
    }

    /// Its part in the numbers of all.
    pub(super) fn share(&self) -> &Share {
        &self.course.share
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
