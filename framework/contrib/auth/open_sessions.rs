//! Where somebody is signed in, and the end of that.

use super::models::User;
use super::revocation::mark_of;
use crate::channels::Dismissal;
use crate::contrib::sessions::{self, OpenSession};
use crate::error::Result;
use crate::http::Request;
use crate::site::Site;

/// Where who asks is signed in: his sessions that have not ended, at most 200, the last used first.
/// Empty for who is not signed in; with `sessions.engine = "signed_cookies"`, which keeps no list,
/// only the one that asks.
///
/// # Errors
/// Where sessions are kept cannot be reached.
pub async fn open_sessions(request: &Request) -> Result<Vec<OpenSession>> {
    match request.user().await?.user() {
        Some(user) => sessions::opened(request, &owner(user)).await,
        None => Ok(Vec::new()),
    }
}

/// Ends one session of who asks by its [`OpenSession::handle`], with what is open in it, in all
/// processes; whether there was one.
///
/// # Errors
/// As [`open_sessions`].
pub async fn revoke_session(request: &Request, handle: &str) -> Result<bool> {
    let who = request.user().await?;
    let Some(user) = who.user() else { return Ok(false) };
    let Some(mark) = sessions::end(request, &owner(user), handle).await? else {
        return Ok(false);
    };
    sessions::dismiss(request, &Dismissal::close(mark)).await;
    Ok(true)
}

/// Ends all sessions of who asks but this one, however many, with what is open in them, in all
/// processes; how many those were. Sessions that are cookies stay: only what is open in them ends.
///
/// # Errors
/// As [`open_sessions`].
pub async fn revoke_other_sessions(request: &Request) -> Result<usize> {
    let who = request.user().await?;
    let Some(user) = who.user() else { return Ok(0) };
    let session = request.session();
    let mark = sessions::mark_of(session).await?;
    let ended = sessions::end_all(request, &owner(user), Some(session)).await?;
    let all = Dismissal::close(mark_of(user.id));
    let others = mark.map_or(all.clone(), |mark| all.except(mark));
    sessions::dismiss(request, &others).await;
    Ok(ended)
}

/// Ends all sessions of `user`, however many, with what is open in them, in all processes; how many
/// those were. Sessions that are cookies stay, as for [`revoke_other_sessions`]. For whoever runs
/// the site: a closed account and a new password do it by themselves.
///
/// # Errors
/// As [`open_sessions`].
pub async fn revoke_sessions(site: &Site, user: &User) -> Result<usize> {
    let ended = sessions::end_all(site, &owner(user), None).await?;
    sessions::dismiss(site, &Dismissal::close(mark_of(user.id))).await;
    Ok(ended)
}

fn owner(user: &User) -> String {
    user.id.to_string()
}
