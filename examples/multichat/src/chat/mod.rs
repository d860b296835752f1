//! The chat rooms: one page, one WebSocket that carries many rooms.

mod commands;
mod consumers;
mod events;
mod models;
#[cfg(test)]
mod tests;
mod urls;
mod views;

use hulse::conf::{Section, Sections};
use hulse::models::{Meta, Model};
use serde::{Deserialize, Serialize};

pub(crate) use models::Room;
pub(crate) use urls::urls;

/// The installable part.
pub(crate) struct App;

impl hulse::App for App {
    fn label(&self) -> &'static str {
        "chat"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Room::meta()]
    }

    fn sections(&self) -> Sections {
        Sections::default().with::<Settings>()
    }
}

/// `[chat]` in `settings.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether a room is told who enters and leaves.
    pub(crate) enter_leave_notices: bool,
    /// Longest message, characters.
    pub(crate) message_chars_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enter_leave_notices: true, message_chars_max: 2000 }
    }
}

impl Section for Settings {
    const NAME: &'static str = "chat";
}
