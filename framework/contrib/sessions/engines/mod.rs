//! Where sessions are kept. The setting `sessions.engine` is asked here and nowhere else.
//!
//! Invariant: who replaces a session says which one; if it is another by now, or gone, nothing is
//! written.

mod cached;
mod rows;
mod signed;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tower_sessions::session::Id;

use crate::channels::Version;
use crate::conf::SessionEngine;
use crate::error::Result;
use crate::site::Site;

/// A session as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// A JSON object.
    pub(super) data: Arc<str>,
    pub(super) end: DateTime<Utc>,
    /// Which setting of the data store's value it is, if it is kept there.
    version: Option<Version>,
    /// It is good, and should be written anew all the same.
    pub(super) is_stale: bool,
}

/// Where sessions are kept, as one request sees it.
#[async_trait]
pub(super) trait Engine: fmt::Debug + Send + Sync {
    /// Keeps a new one.
    async fn create(&self, id: Id, data: Arc<str>, end: DateTime<Utc>) -> Result<Kept>;

    /// Keeps `data` instead of `from`; `None` if that is not what is kept any more.
    async fn replace(
        &self,
        id: Id,
        from: &Kept,
        data: Arc<str>,
        end: DateTime<Utc>,
    ) -> Result<Option<Kept>>;

    /// Puts its end off, and changes nothing else; whether it is still there.
    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool>;

    /// The session, if it has not ended.
    async fn load(&self, id: Id) -> Result<Option<Kept>>;

    /// Forgets it; whether it was there.
    async fn delete(&self, id: Id) -> Result<bool>;

    /// What the cookie says of it.
    fn cookie(&self, id: Id) -> String {
        id.to_string()
    }

    /// Whether the cookie is all there is.
    fn is_cookie(&self) -> bool {
        false
    }

    /// The same, for a connection that outlives its request.
    fn renewed(&self) -> Box<dyn Engine>;
}

impl Kept {
    fn new(data: Arc<str>, end: DateTime<Utc>) -> Self {
        Self { data, end, version: None, is_stale: false }
    }
}

/// The engine of `site`, for a session that no cookie names.
pub(super) fn of(site: &Site) -> Box<dyn Engine> {
    let site = site.clone();
    match site.settings().sessions.engine {
        SessionEngine::Database => Box::new(rows::Rows(site)),
        SessionEngine::Cached => Box::new(cached::Cached(site)),
        SessionEngine::SignedCookies => Box::new(signed::Signed::new(site)),
    }
}

/// The engine of `site` and the id that `cookie` names.
pub(super) fn named(site: &Site, cookie: &str) -> (Box<dyn Engine>, Option<Id>) {
    match site.settings().sessions.engine {
        SessionEngine::SignedCookies => {
            let (engine, id) = signed::Signed::read(site.clone(), cookie);
            (Box::new(engine), id)
        }
        SessionEngine::Database | SessionEngine::Cached => (of(site), cookie.parse().ok()),
    }
}
