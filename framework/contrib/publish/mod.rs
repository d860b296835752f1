//! Publishing from outside: other systems POST JSON, and what they send reaches groups.
//!
//! Flow: `POST` with `Authorization: Bearer <token>` → [`tokens`](Token) says which groups it may
//! send to → `message` is checked whole → the layer → the positions.
//!
//! A site installs [`App`], includes [`urls`] where it wants them, and lists tokens in its
//! settings:
//!
//! ```toml
//! [[publish.tokens]]
//! name = "cron"              # for the log
//! token = "…"                # `openssl rand -hex 32`
//! groups = ["liveblog*"]     # what it may send to
//! ```
//!
//! To change a token, list the new one beside the old one until every sender has it.
//!
//! Invariants:
//! - A token is compared in constant time with all there are, and never written to a log.
//! - Nothing of a batch is sent unless all of it may be.
//! - Cookies mean nothing here, so no CSRF token is asked for.

mod message;
mod settings;
#[cfg(test)]
mod tests;
mod views;

pub use settings::{Publish, Token};

use crate::apps::{App as Install, Check};
use crate::conf::{Sections, Settings};
use crate::http::post;
use crate::urls::{Urls, path};

/// The app to install: it brings the settings.
#[derive(Clone, Copy, Debug)]
pub struct App;

impl Install for App {
    fn label(&self) -> &'static str {
        "publish"
    }

    fn sections(&self) -> Sections {
        Sections::default().with::<Publish>()
    }

    fn checks(&self, settings: &Settings) -> Vec<Check> {
        settings::checks(&settings.section::<Publish>())
    }
}

/// One line, called `publish`, to be included: `include("publish/", publish::urls())`.
#[must_use]
pub fn urls() -> Urls {
    let line = path("", post(views::publish)).name("publish");
    Urls::new([line.csrf_exempt().login_not_required()])
}
