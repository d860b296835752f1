//! djchat: a chat room for everybody, the smallest site with accounts and realtime.
//!
//! Walk through it: `chat/urls.rs` says what answers where, `chat/views.rs` shows the page,
//! `chat/consumers.rs` is a connection's life, `chat/events.rs` what it says to the browser.

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
    Project::new("djchat", env!("CARGO_MANIFEST_DIR"))
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
