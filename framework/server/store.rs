//! The store's process: `channels` does the work, on the socket it was handed.

use crate::apps::Project;
use crate::channels::{self, End};
use crate::error::{Error, Kind, Result};
use crate::server::child::{self, Begun, Heard};
use crate::server::signals::Signals;

/// It computes nothing on other threads.
const BLOCKING_THREADS: usize = 1;

/// The store's life.
pub(super) fn keep(project: &Project) -> Result<()> {
    let Begun { mut control, settings, sockets, .. } = child::begin(project)?;
    child::runtime(BLOCKING_THREADS)?.block_on(async {
        // A terminal's INT and a service manager's TERM go to the whole group. They pass unheard:
        // workers that drain still need the store, and the arbiter says when they no longer do.
        let _unheard = Signals::new()?;
        let socket = sockets.into_iter().next();
        let socket = socket.ok_or_else(|| Error::of(Kind::Server, "the store got no socket"))?;
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        control.ready();
        let told_to_end = async {
            loop {
                match control.heard().await {
                    Heard::Groups(_) | Heard::TakeIn(_) => {}
                    Heard::Drain(..) => return End::AtOnce,
                    // The workers have heard it too, and their sockets leave groups.
                    Heard::Orphaned => return End::WithItsSiblings,
                }
            }
        };
        channels::serve(listener, &settings.channels, told_to_end).await
    })
}
