//! The sessions somebody has open: where and since when, and the end of any of them.
//!
//! Invariant: what a session is called here lets nobody in.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::changes::Data;
use super::engines::{self, Owned};
use super::expiry::{EXPIRY, Expiry, last_kept};
use super::marks::mark_of_kept;
use super::{Session, Touched, store};
use crate::channels::Mark;
use crate::error::Result;
use crate::http::Request;
use crate::site::Site;

/// The session's key for whose it is, as text. Django's name for the user's key.
pub(crate) const OWNER: &str = "_auth_user_id";
/// For the address it was begun from.
const ADDRESS: &str = "_session_address";
/// For what the browser called itself.
const AGENT: &str = "_session_agent";
/// Of that, characters.
const AGENT_CHARS_MAX: usize = 200;

/// A session somebody has open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpenSession {
    /// What it is called here: nothing that would let anybody in.
    pub handle: String,
    /// When somebody signed in.
    pub begun: Option<DateTime<Utc>>,
    /// When it was last used, up to five minutes ago.
    pub last_used: Option<DateTime<Utc>>,
    /// The address somebody signed in from.
    pub address: String,
    /// What the browser called itself, at most 200 characters.
    pub agent: String,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// Whether the site knows who has which sessions.
pub(crate) fn is_listed(site: &Site) -> bool {
    !engines::of(site).is_cookie()
}

/// Notes from where the session is begun.
pub(crate) async fn note_visitor(request: &Request) -> Result<()> {
    if !is_listed(request.site()) {
        return Ok(());
    }
    let session = request.session();
    session.set(ADDRESS, address_of(request)).await?;
    session.set(AGENT, agent_of(request)).await
}

fn address_of(request: &Request) -> String {
    request.remote_address().map(|address| address.to_string()).unwrap_or_default()
}

fn agent_of(request: &Request) -> String {
    request.header("user-agent").unwrap_or_default().chars().take(AGENT_CHARS_MAX).collect()
}

/// What a session is called here, if it is kept.
pub(crate) fn handle_of(session: &Session) -> Option<String> {
    session.key().map(engines::handle_of)
}

/// The sessions of `owner` that have not ended, the last used first; `request` is of one of them.
pub(crate) async fn opened(request: &Request, owner: &str) -> Result<Vec<OpenSession>> {
    let session = request.session();
    let current = handle_of(session);
    if !is_listed(request.site()) {
        let own = OpenSession {
            handle: current.unwrap_or_default(),
            begun: Touched::beside(request).store.begun(),
            last_used: Some(Utc::now()),
            address: address_of(request),
            agent: agent_of(request),
            is_current: true,
        };
        return Ok(vec![own]);
    }
    let owned = engines::of(request.site()).owned(owner).await?;
    let mut opened: Vec<OpenSession> = owned
        .into_iter()
        .filter_map(|owned| {
            let (data, begun) = store::read(&owned.kept.data)?;
            let is_current = current.as_ref() == Some(&owned.handle);
            let last_used = match is_current {
                true => Some(Utc::now()),
                false => last_used(request, &owned, &data).or(begun),
            };
            let text = |key| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (address, agent) = (text(ADDRESS), text(AGENT));
            let Owned { handle, .. } = owned;
            Some(OpenSession { handle, begun, last_used, address, agent, is_current })
        })
        .collect();
    opened.sort_by_key(|session| std::cmp::Reverse(session.last_used));
    Ok(opened)
}

fn last_used(site: &Site, owned: &Owned, data: &Data) -> Option<DateTime<Utc>> {
    let expiry = Expiry::read(data.get(EXPIRY));
    last_kept(expiry, &site.settings().sessions, owned.kept.end).map(|last| last.min(Utc::now()))
}

/// Ends the session of `owner` with this handle; the mark of what is open in it, for who calls to
/// dismiss.
pub(crate) async fn end(site: &Site, owner: &str, handle: &str) -> Result<Option<Mark>> {
    let engine = engines::of(site);
    for owned in engine.owned(owner).await? {
        if owned.handle == handle && engine.revoke(&owned).await? {
            let data = store::read(&owned.kept.data).unwrap_or_default().0;
            return Ok(Some(mark_of_kept(owned.key(), &data)));
        }
    }
    Ok(None)
}

/// Ends all sessions of `owner`, however many, but `spared`; how many those were. What is open in
/// them is left to who calls.
pub(crate) async fn end_all(site: &Site, owner: &str, spared: Option<&Session>) -> Result<usize> {
    engines::of(site).revoke_all(owner, spared.and_then(Session::key)).await
}
