//! multichat: chat rooms for members, as many as one likes over one socket.
//!
//! Walk through it: `chat/urls.rs` says what answers where, `chat/views.rs` shows the page,
//! `chat/consumers.rs` is a connection with its rooms, `chat/commands.rs` what browsers say and
//! `chat/events.rs` what they are told, `chat/models.rs` the table of rooms.

mod chat;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use hulse::Project;
use hulse::contrib::{auth, sessions, staticfiles};
use hulse::urls::{Urls, include};

fn main() -> ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    Project::new("multichat", env!("CARGO_MANIFEST_DIR"))
        .install(sessions::App)
        .install(auth::App)
        .install(staticfiles::App)
        .install(chat::App)
        .assets(hulse::assets!())
        .urls(urls())
}

fn urls() -> Urls {
    Urls::new([include("", chat::urls()), include("accounts/", auth::urls())])
}
