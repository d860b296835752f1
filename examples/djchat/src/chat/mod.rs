//! The chat room: one page, one WebSocket, everybody in it.

mod consumers;
mod events;
mod history;
#[cfg(test)]
mod tests;
mod urls;
mod views;
mod visitor;

use hulse::conf::{Section, Sections};
use serde::{Deserialize, Serialize};

pub(crate) use urls::urls;

/// The installable part.
pub(crate) struct App;

impl hulse::App for App {
    fn label(&self) -> &'static str {
        "chat"
    }

    fn sections(&self) -> Sections {
        Sections::default().with::<Settings>()
    }
}

/// `[chat]` in `settings.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Longest message, bytes, once it is cleaned.
    pub(crate) message_bytes_max: usize,
    /// Messages a newcomer is shown, as far as the layer keeps them, and 50 at most.
    pub(crate) history_messages: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { message_bytes_max: 4096, history_messages: 50 }
    }
}

impl Section for Settings {
    const NAME: &'static str = "chat";
}
