//! Where to listen: `HOST:PORT`, `:PORT`, `[::1]:PORT`, `unix:PATH`.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

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
        }
    }
}

/// A bound socket. Dropping a unix one removes its file.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket file of ours, removed with this value.
#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(fs::remove_file(&self.0));
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
                Ok(bind_unix(&path).map_err(failed)?)
            }
        }
    }
}

/// Binds a socket file; one that a dead process left behind is replaced.
pub(super) fn bind_unix(path: &Path) -> std::io::Result<Listener> {
    remove_stale(path);
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(Listener::Unix(listener, file))
}

/// Removes the socket file at `path` if nobody listens on it any more.
pub(super) fn remove_stale(path: &Path) {
    let refused = |e: std::io::Error| e.kind() == ErrorKind::ConnectionRefused;
    if UnixStream::connect(path).is_err_and(refused) {
        drop(fs::remove_file(path));
    }
}

impl Listener {
    /// How a visitor reaches it: `http://127.0.0.1:41233` (`https` with `tls`) or
    /// `unix:/run/site.sock`.
    pub(super) fn url(&self, tls: bool) -> Result<String> {
        let scheme = if tls { "https" } else { "http" };
        match self {
            Self::Tcp(listener) => Ok(format!("{scheme}://{}", listener.local_addr()?)),
            Self::Unix(_, file) => Ok(format!("unix:{}", file.0.display())),
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
