//! Sessions: a random id in a cookie, and what the site remembers about that visitor: in a row, in
//! the data store or in the cookie itself, as `sessions.engine` says.
//!
//! Flow: [`Request::session`] makes the [`Session`] beside the request → the first read asks the
//! engine by way of `store` → on the way out of the stack, [`keep`] saves a changed session and
//! sets its cookie, also on the 101 of a WebSocket. One that was only read has its end put off, now
//! and then.
//!
//! Invariants:
//! - An untouched session is not made: no query, no cookie, no `Vary`.
//! - An id the engine does not know is never adopted: the visitor gets a fresh one.
//! - A session that ends takes the connections with it that were opened in it.
//! - Nothing is saved when the answer is a 5xx; a session deleted meanwhile is not brought back.
//! - Two requests that change different keys both have their way.

mod changes;
mod engines;
mod expiry;
mod layer;
mod marks;
pub mod models;
mod opened;
mod session;
mod store;
mod tickets;

pub use expiry::Expiry;
pub(crate) use layer::{afresh, beside_of, fresh, is_asked, keep, new_session};
pub(crate) use marks::{bears, mark_of, remember_mark};
pub use models::clear_expired;
pub use opened::OpenSession;
pub(crate) use opened::{OWNER, end, end_all, handle_of, is_listed, note_visitor, opened};
pub use session::Session;
pub(crate) use session::dismiss;
pub(crate) use tickets::admit_ticket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apps::{App as Install, Check};
use crate::conf::Settings;
use crate::http::{Marker, Request};
use crate::models::{Meta, Model};

/// The app to install: it brings the table.
#[derive(Clone, Copy, Debug)]
pub struct App;

impl Install for App {
    fn label(&self) -> &'static str {
        "sessions"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![models::Session::meta()]
    }

    fn markers(&self) -> Vec<Marker> {
        vec![marks::marker()]
    }

    fn deploy_checks(&self, settings: &Settings) -> Vec<Check> {
        let mut found = Vec::new();
        if !settings.sessions.cookie_secure {
            let words = "sessions.cookie_secure is false: over http anybody on the way reads the \
                         session cookie, and is that visitor from then on";
            let hint = "set sessions.cookie_secure = true, once the site is served over https";
            found.push(Check::warning("security.W010", words).hint(hint));
        }
        if !settings.sessions.cookie_httponly {
            let words = "sessions.cookie_httponly is false: a script that gets into a page reads \
                         the session cookie, and takes it elsewhere";
            let hint = "set sessions.cookie_httponly = true";
            found.push(Check::warning("security.W013", words).hint(hint));
        }
        found
    }
}

/// The session of one request, beside it once somebody asks.
#[derive(Debug)]
struct Touched {
    session: Session,
    /// Where it is kept, as the session sees it.
    store: Arc<store::Store>,
    had_cookie: bool,
    /// Whether a view asked for it.
    by_view: AtomicBool,
    /// It was first read to mark a connection, which can be dismissed since before that.
    is_fresh: AtomicBool,
}

impl Request {
    /// What the site remembers about this visitor. Reading and writing it is lazy; what was changed
    /// is saved when the view has answered. On a WebSocket that holds for changes made before
    /// `accept`; later ones need `session().save().await?`.
    ///
    /// # Panics
    /// The request did not come through the stack, as those of every site do.
    #[must_use]
    pub fn session(&self) -> &Session {
        let touched = Touched::beside(self);
        touched.by_view.store(true, Ordering::Relaxed);
        &touched.session
    }
}

/// The id of the session a request came with, whether the engine knows it or not.
pub(crate) fn id_of(request: &Request) -> Option<String> {
    Touched::beside(request).session.id()
}

#[cfg(test)]
mod tests {
    use super::App;
    use crate::apps::App as _;
    use crate::conf::Settings;

    #[test]
    fn a_cookie_that_others_can_read_is_a_finding() {
        let mut settings = Settings::default();
        settings.sessions.cookie_secure = true;
        assert!(App.deploy_checks(&settings).is_empty());
        settings.sessions.cookie_secure = false;
        settings.sessions.cookie_httponly = false;
        let found = App.deploy_checks(&settings);
        let ids: Vec<&str> = found.iter().map(|check| check.id).collect();
        assert_eq!(ids, ["security.W010", "security.W013"]);
    }
}
