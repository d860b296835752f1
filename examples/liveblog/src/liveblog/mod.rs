//! Blogs that are read while they are written.

mod consumers;
mod events;
mod models;
mod streams;
mod urls;
mod views;

use hulse::models::{Meta, Model};

pub(crate) use models::Liveblog;
#[cfg(test)]
pub(crate) use models::Post;
pub(crate) use urls::urls;

/// The installable part.
pub(crate) struct App;

impl hulse::App for App {
    fn label(&self) -> &'static str {
        "liveblog"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Liveblog::meta(), models::Post::meta()]
    }
}
