//! Sessions: a random id in a cookie, a row with what the site remembers about that visitor.
//!
//! Flow: [`Request::session`] makes the [`Session`] beside the request → the first read loads the
//! row → on the way out of the stack, [`keep`] saves a changed session and sets its cookie, also on
//! the 101 of a WebSocket.
//!
//! Invariants:
//! - An untouched session is not made: no query, no cookie, no `Vary`.
//! - An id the table does not know is never adopted: the visitor gets a fresh one.
//! - A session that ends takes the connections with it that were opened in it.
//! - Nothing is saved when the answer is a 5xx; a session deleted meanwhile is not brought back.

mod layer;
mod marks;
pub mod models;
mod session;
mod store;
mod tickets;

pub(crate) use layer::{afresh, beside_of, fresh, keep, new_session};
pub(crate) use marks::{bears, mark_of, remember_mark};
pub use models::clear_expired;
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
        if settings.sessions.cookie_secure {
            return Vec::new();
        }
        let words = "sessions.cookie_secure is false: over http anybody on the way reads the \
                     session cookie, and is that visitor from then on";
        let hint = "set sessions.cookie_secure = true, once the site is served over https";
        vec![Check::warning("security.W010", words).hint(hint)]
    }
}

/// The session of one request, beside it once somebody asks.
#[derive(Debug)]
struct Touched {
    session: Session,
    /// The table, as the session sees it.
    rows: Arc<store::Rows>,
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

/// The id of the session a request came with, whether the table knows it or not.
pub(crate) fn id_of(request: &Request) -> Option<String> {
    Touched::beside(request).session.id().map(|id| id.to_string())
}
