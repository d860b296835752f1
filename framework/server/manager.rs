//! The service manager (systemd, `Type=notify`): it hears when the site serves, reloads,
//! stops, and that its arbiter's loop turns.
//!
//! Without one all of this is nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::conf::ServiceManager;

/// How often it hears that the start still goes on.
pub(super) const PREPARING: Duration = Duration::from_secs(10);

/// The line to the service manager.
#[derive(Debug)]
pub(super) struct Manager {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that the loop turns.
    beat: Option<Duration>,
    next_beat: Instant,
}

impl Manager {
    pub(super) fn new(manager: &ServiceManager) -> Self {
        let line = manager.notify_socket.as_ref().and_then(|name| line(name.as_bytes()));
        // Half of its patience, as sd_watchdog_enabled(3) says.
        let beat = manager.watchdog.filter(|_| line.is_some()).map(|patience| patience / 2);
        Self { line, beat, next_beat: Instant::now() }
    }

    /// All serve: for the first time, or after a reload.
    pub(super) fn ready(&self, words: &str) {
        self.tell(&format!("READY=1\nMAINPID={}\nSTATUS={words}", std::process::id()));
    }

    /// What has to be done before the start takes as long as it takes: another `migrate` may be at
    /// it. Said every [`PREPARING`].
    pub(super) fn preparing(&self) {
        let patience = (PREPARING * 3).as_micros();
        self.tell(&format!("EXTEND_TIMEOUT_USEC={patience}\nSTATUS=preparing the database"));
    }

    /// Others take over.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"));
    }

    /// Another process is the site now.
    pub(super) fn handed_over(&self, process: u32) {
        self.tell(&format!("READY=1\nMAINPID={process}\nSTATUS=handed over to a successor"));
    }

    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Says that the loop turns, if it is time to.
    pub(super) fn beat(&mut self, now: Instant) {
        let Some(beat) = self.beat else { return };
        if now >= self.next_beat {
            self.next_beat = now + beat;
            self.tell("WATCHDOG=1");
        }
    }

    /// When it is time to.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        self.beat.map(|_| self.next_beat)
    }

    fn tell(&self, words: &str) {
        let Some((socket, address)) = &self.line else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// `@name` is an abstract one, everything else a path.
fn line(name: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A manager that does not read must not stop the site.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}
