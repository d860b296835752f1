//! liveblog: open pages show a post the moment it is saved, wherever that happens.
//!
//! Walk through it: `liveblog/models.rs` tells a blog's readers of every commit,
//! `liveblog/views.rs` shows the pages and takes posts, `liveblog/streams.rs` is what the page
//! listens to and `liveblog/consumers.rs` the plain WebSocket beside it.

mod liveblog;
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
    Project::new("liveblog", env!("CARGO_MANIFEST_DIR"))
        .install(sessions::App)
        .install(auth::App)
        .install(staticfiles::App)
        .install(liveblog::App)
        .assets(hulse::assets!())
        .urls(urls())
}

fn urls() -> Urls {
    Urls::new([include("", liveblog::urls()), include("accounts/", auth::urls())])
}
