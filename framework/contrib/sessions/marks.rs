//! The mark of a session: what connections opened in it carry.
//!
//! Invariant: a mark tells nothing of the id, and lasts as long as the session, also when it gets a
//! new id.

use super::changes::Data;
use super::{Session, Touched, fresh};
use crate::channels::Mark;
use crate::error::Result;
use crate::http::{Marker, Request, permission_denied};

/// The session's key for what its mark is made of. Without it the id is.
const SESSION_MARK: &str = "_session_mark";

/// Whether a request names a session.
pub(crate) fn bears(request: &Request) -> bool {
    Touched::beside(request).session.id().is_some()
}

/// The mark of a session that is stored.
pub(crate) async fn mark_of(session: &Session) -> Result<Option<Mark>> {
    let kept = session.get::<String>(SESSION_MARK).await?;
    // Looked at behind the read: it is none that is not stored.
    let text = kept.or_else(|| session.id());
    Ok(text.map(|text| Mark::new(&format!("session {text}"))))
}

/// The same of what is kept of one, which is called `key` there.
pub(super) fn mark_of_kept(key: &str, data: &Data) -> Mark {
    let text = data.get(SESSION_MARK).and_then(|mark| mark.as_str()).unwrap_or(key);
    Mark::new(&format!("session {text}"))
}

/// From now on the session's mark stays the same when its id changes.
pub(crate) async fn remember_mark(session: &Session) -> Result<()> {
    if session.get::<String>(SESSION_MARK).await?.is_some() {
        return Ok(());
    }
    session.set(SESSION_MARK, format!("{:032x}", rand::random::<u128>())).await
}

/// From now on its mark is another: what is open under the old one is not found by who ends it, and
/// who holds a copy of what it was does not find what is opened from now on.
pub(super) async fn renew_mark(session: &Session) -> Result<()> {
    session.pop::<String>(SESSION_MARK).await?;
    remember_mark(session).await
}

/// Finds the mark of a request's session, if that is stored.
pub(super) fn marker() -> Marker {
    Marker::new(bears, async |request: Request, how| {
        let (now, was_read) = fresh(&request, how);
        let marks = stored_mark(&now).await?;
        // Who has been told so far who this is was told what is true no more.
        if was_read && stored_mark(&request).await? != marks {
            return Err(permission_denied("the session has ended"));
        }
        Ok(marks)
    })
}

async fn stored_mark(request: &Request) -> Result<Vec<Mark>> {
    let session = &Touched::beside(request).session;
    Ok(mark_of(session).await?.into_iter().collect())
}
