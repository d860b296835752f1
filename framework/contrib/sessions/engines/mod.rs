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
use sha2::{Digest, Sha256};
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

/// What is to be kept.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) data: Arc<str>,
    pub(super) end: DateTime<Utc>,
    /// Whose session it is.
    pub(super) owner: Option<String>,
}

/// One of somebody's sessions.
#[derive(Debug)]
pub(super) struct Owned {
    /// What it is called where it is kept.
    key: String,
    /// What it is called elsewhere: nothing that would let anybody in.
    pub(super) handle: String,
    pub(super) kept: Kept,
}

/// Most sessions of somebody that are listed: the newest.
const OWNED_MAX: usize = 200;

/// Where sessions are kept, as one request sees it.
#[async_trait]
pub(super) trait Engine: fmt::Debug + Send + Sync {
    /// Keeps a new one.
    async fn create(&self, id: Id, new: Written) -> Result<Kept>;

    /// Keeps `new` instead of `from`; `None` if that is not what is kept any more.
    async fn replace(&self, id: Id, from: &Kept, new: Written) -> Result<Option<Kept>>;

    /// Puts its end off, and changes nothing else; whether it is still there.
    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool>;

    /// The session, if it has not ended.
    async fn load(&self, id: Id) -> Result<Option<Kept>>;

    /// Forgets it; whether it was there.
    async fn delete(&self, id: Id) -> Result<bool>;

    /// The sessions of `owner` that have not ended, if this engine knows whose they are.
    async fn owned(&self, owner: &str) -> Result<Vec<Owned>>;

    /// Forgets one of them; whether it was there.
    async fn revoke(&self, owned: &Owned) -> Result<bool>;

    /// Forgets all of `owner`, listed or not, but `spared`; how many those were.
    async fn revoke_all(&self, owner: &str, spared: Option<Id>) -> Result<usize>;

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

impl Owned {
    /// What its mark is made of, if the session does not say.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// What a session is called where its id must not be seen.
pub(super) fn handle_of(id: Id) -> String {
    hash(&id.0.to_be_bytes())
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
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
