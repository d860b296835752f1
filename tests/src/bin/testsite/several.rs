//! A consumer that handles several messages at once.

use std::path::Path as FilePath;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hulse::Result;
use hulse::sockets::{Handoff, SharedConsumer, Socket};

use super::{HOLD, say};

/// Handles several messages at once, and moves when it handles none.
#[derive(Default)]
pub(crate) struct Several {
    handled: AtomicUsize,
}

impl SharedConsumer for Several {
    async fn receive(&self, socket: &mut Socket, text: String) -> Result<()> {
        self.handled.fetch_add(1, Ordering::Relaxed);
        say("several begins");
        while FilePath::new(HOLD).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.handled.fetch_sub(1, Ordering::Relaxed);
        socket.send(text).await
    }

    fn handoff(&self) -> Handoff {
        match self.handled.load(Ordering::Relaxed) {
            0 => Handoff::stateless(),
            _ => Handoff::stays(),
        }
    }

    async fn resume(&mut self, _: &mut Socket, _: &Handoff) -> Result<()> {
        Ok(())
    }
}
