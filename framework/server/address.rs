//! Where to listen: `HOST:PORT`, `:PORT`, `[::1]:PORT`, `unix:PATH`, `fd:N`.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::error::{Error, Kind, Result};
use crate::server::private_file::{Identity, lock};

/// Connections the kernel holds for us until a worker accepts them. std's 128 made 200
/// simultaneous connects wait for a second.
const BACKLOG: i32 = 2048;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A host or address, empty for all interfaces, and a port, 0 for a free one.
    Tcp(String, u16),
    /// A socket file.
    Unix(PathBuf),
    /// A socket that listens already, handed down as this descriptor.
    Descriptor(i32),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(bad(text, "unix: wants a path"));
            }
            return Ok(Self::Unix(path.into()));
        }
        if let Some(number) = text.strip_prefix("fd:") {
            let number = number.parse().ok().filter(|number| *number > 2);
            let number = number.ok_or_else(|| bad(text, "fd: wants a number above 2"))?;
            return Ok(Self::Descriptor(number));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(bad(text, "it has no port; write HOST:PORT, :PORT or unix:PATH"));
        };
        let port = port.parse().map_err(|_| bad(text, "the port is no number up to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match (bare, host.contains(':')) {
            (Some(bare), _) => Ok(Self::Tcp(bare.to_owned(), port)),
            (None, true) => Err(bad(text, "an IPv6 address wants brackets: [::1]:8000")),
            (None, false) => Ok(Self::Tcp(host.to_owned(), port)),
        }
    }
}

fn bad(text: &str, words: &str) -> Error {
    Error::of(Kind::Usage, format!("cannot listen on {text:?}: {words}"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

/// A bound socket. Dropping a unix one removes its file.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket file. One of ours is removed with this value.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    /// The file that was bound: another one of this name is somebody else's.
    identity: Option<Identity>,
    /// Of a successor it becomes true with its "ready", for all its files at once.
    is_ours: Arc<AtomicBool>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(identity) = self.identity.filter(|_| self.is_ours.load(Ordering::Relaxed)) {
            identity.remove(&self.path);
        }
    }
}

impl Address {
    /// Binds it; `base` is where a relative path starts.
    pub(super) fn bind(&self, base: &Path) -> Result<Listener> {
        let failed = |error: std::io::Error| {
            let words = match error.kind() {
                ErrorKind::AddrInUse => "the address is in use".to_owned(),
                ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            Error::of(Kind::Server, format!("cannot listen on {self}: {words}"))
        };
        match self {
            Self::Tcp(host, port) => {
                let host = if host.is_empty() { "0.0.0.0" } else { host };
                let addresses: Vec<SocketAddr> =
                    (host, *port).to_socket_addrs().map_err(failed)?.collect();
                let listener = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
                rustix::net::listen(&listener, BACKLOG).map_err(|e| failed(e.into()))?;
                Ok(Listener::Tcp(listener))
            }
            Self::Unix(path) => {
                let path = base.join(path);
                Ok(bind_unix(&path, Who::Anybody).map_err(failed)?)
            }
            Self::Descriptor(number) => take_descriptor(*number).map_err(failed),
        }
    }
}

/// Whom a socket file lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// As the umask says.
    Anybody,
    /// Only this user: mode 0600.
    Owner,
}

/// Binds a socket file; one that a dead process left behind is replaced.
pub(super) fn bind_unix(path: &Path, who: Who) -> std::io::Result<Listener> {
    // Until it listens, another that starts would take it for a dead one's.
    let _folder = lock(path);
    remove_stale(path);
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if who == Who::Owner {
        // What is bound has the mode of the socket: there is no moment in which others get in.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    }
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let (identity, is_ours) = (Identity::of(path), Arc::new(true.into()));
    let file = SocketFile { path: path.to_owned(), identity, is_ours };
    Ok(Listener::Unix(UnixListener::from(socket), file))
}

/// A copy of a listening socket that was handed down. The descriptor itself stays open: whoever
/// handed it down goes on listening in any case.
fn take_descriptor(number: i32) -> std::io::Result<Listener> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    listener_of(pidfd_getfd(this, number, PidfdGetfdFlags::empty())?, Arc::default())
}

/// What listens on `socket`; whether its file is ours to remove.
pub(super) fn listener_of(socket: OwnedFd, is_ours: Arc<AtomicBool>) -> std::io::Result<Listener> {
    let wrong = |words| std::io::Error::new(ErrorKind::InvalidInput, words);
    if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
        return Err(wrong("the descriptor is no listening socket"));
    }
    if sockopt::socket_domain(&socket)? != AddressFamily::UNIX {
        return Ok(Listener::Tcp(TcpListener::from(socket)));
    }
    let listener = UnixListener::from(socket);
    let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
    let identity = Identity::of(&path);
    Ok(Listener::Unix(listener, SocketFile { path, identity, is_ours }))
}

/// Removes the socket file at `path` if nobody listens on it any more; anything else stays.
pub(super) fn remove_stale(path: &Path) {
    let is_socket = |found: fs::Metadata| found.file_type().is_socket();
    if !fs::symlink_metadata(path).is_ok_and(is_socket) {
        return;
    }
    let refused = |e: std::io::Error| e.kind() == ErrorKind::ConnectionRefused;
    if UnixStream::connect(path).is_err_and(refused) {
        drop(fs::remove_file(path));
    }
}

impl SocketFile {
    /// It is somebody else's to remove.
    pub(super) fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }
}

impl Listener {
    /// Another hold of it.
    pub(super) fn socket(&self) -> Result<OwnedFd> {
        Ok(self.as_fd().try_clone_to_owned()?)
    }

    /// Its file is somebody else's to remove.
    pub(super) fn leave_file(&self) {
        if let Self::Unix(_, file) = self {
            file.leave();
        }
    }

    /// Its socket file, if it is ours.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Unix(_, file) if file.is_ours.load(Ordering::Relaxed) => Some(&file.path),
            Self::Unix(..) | Self::Tcp(_) => None,
        }
    }

    /// How a visitor reaches it: `http://127.0.0.1:41233` (`https` with `tls`) or
    /// `unix:/run/site.sock`.
    pub(super) fn url(&self, tls: bool) -> Result<String> {
        let scheme = if tls { "https" } else { "http" };
        match self {
            Self::Tcp(listener) => Ok(format!("{scheme}://{}", listener.local_addr()?)),
            Self::Unix(_, file) => Ok(format!("unix:{}", file.path.display())),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}
