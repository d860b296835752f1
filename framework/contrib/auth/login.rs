//! Signing in and out.

use chrono::{SubsecRound, Utc};

use super::current::{CurrentUser, SESSION_HASH, SESSION_USER, become_user};
use super::models::{User, normalize_username};
use super::{hashing, passwords::Verdict};
use crate::contrib::sessions::{self, Session};
use crate::error::{Error, Kind, Result};
use crate::http::Request;
use crate::site::Site;

/// The active user with this name and password. An unknown name, a wrong password and a closed
/// account take the same time and give the same answer.
///
/// # Errors
/// The database cannot be reached, or too many passwords are being hashed at this moment (503).
pub async fn authenticate(site: &Site, username: &str, password: &str) -> Result<Option<User>> {
    let username = normalize_username(username);
    let found = User::objects().filter(|u| u.username().eq(&username)).first(site).await?;
    let stored = found.as_ref().map(|user| user.password.clone());
    let verdict = hashing::verify(site, password, stored).await?;
    let Some(mut user) = found.filter(|user| user.is_active) else { return Ok(None) };
    match verdict {
        Verdict::Wrong => Ok(None),
        Verdict::Right => Ok(Some(user)),
        Verdict::RightButOutdated => {
            user.set_password(site, password).await?;
            let rows = User::objects().filter(|u| u.id().eq(user.id));
            rows.update(site, |u| [u.password().set(&user.password)]).await?;
            Ok(Some(user))
        }
    }
}

/// Signs `user` in on this browser. The session gets a new id, so one that somebody else has
/// planted before is worth nothing; its data stays, unless it belongs to another user.
///
/// # Errors
/// The user was never saved, or the database cannot be reached.
pub async fn login(request: &Request, user: &User) -> Result<()> {
    let session = request.session();
    let settings = request.settings();
    let before = session.get::<String>(SESSION_USER).await?;
    let given = session.get::<String>(SESSION_HASH).await?.unwrap_or_default();
    let hash = user.session_hash(settings);
    match before {
        Some(id) if id != user.id.to_string() || !crate::signing::is_same(&given, &hash) => {
            session.flush().await?;
        }
        _ if session.id().is_some() => session.cycle_id().await?,
        _ => {}
    }
    remember(session, user, hash).await?;
    request.rotate_csrf_token();
    let now = Utc::now().trunc_subsecs(6);
    let rows = User::objects().filter(|u| u.id().eq(user.id));
    rows.update(request.site(), |u| [u.last_login().set(now)]).await?;
    become_user(request, User { last_login: Some(now), ..user.clone() }.into());
    Ok(())
}

/// Signs the visitor out: the session and all it remembers is gone.
///
/// # Errors
/// The database cannot be reached.
pub async fn logout(request: &Request) -> Result<()> {
    let session = request.session();
    if session.id().is_some() {
        session.flush().await?;
    } else {
        session.clear().await;
    }
    request.rotate_csrf_token();
    become_user(request, CurrentUser::anonymous());
    Ok(())
}

/// The id of a new session in which `user` is signed in: for tests.
///
/// # Errors
/// As [`login`].
pub(crate) async fn session_of(site: &Site, user: &User) -> Result<String> {
    let session = sessions::new_session(site);
    remember(&session, user, user.session_hash(site.settings())).await?;
    session.save().await?;
    Ok(session.id().map(|id| id.to_string()).unwrap_or_default())
}

async fn remember(session: &Session, user: &User, hash: String) -> Result<()> {
    if !user.id.is_set() {
        return Err(Error::of(Kind::Field, format!("signing in {user}: the user was never saved")));
    }
    session.insert(SESSION_USER, user.id.to_string()).await?;
    session.insert(SESSION_HASH, hash).await?;
    Ok(())
}
