//! Signing in and out.

use std::ops::Deref;

use chrono::{SubsecRound, Utc};

use super::attempts::Attempt;
use super::backends::{Backends, Credentials};
use super::current::{
    CurrentUser, SESSION_BACKEND, SESSION_HASH, SESSION_USER, become_user, is_answered,
};
use super::models::User;
use super::signals::{UserLoggedIn, UserLoggedOut, UserLoginFailed};
use crate::contrib::sessions::{self, Session};
use crate::error::{Error, Kind, Result};
use crate::http::Request;
use crate::site::Site;

/// A user who has proved who they are, and to whom: it derefs to the [`User`].
#[derive(Clone, Debug)]
pub struct Authenticated {
    user: User,
    backend: &'static str,
}

impl Authenticated {
    /// The backend that knew the user.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// The user alone.
    #[must_use]
    pub fn into_user(self) -> User {
        self.user
    }
}

impl Deref for Authenticated {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

/// Whom [`login`] signs in: an [`Authenticated`] user, or any, on the word of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Entrant<'u> {
    user: &'u User,
    /// `None` is the first backend.
    backend: Option<&'static str>,
}

impl<'u> From<&'u User> for Entrant<'u> {
    fn from(user: &'u User) -> Self {
        Self { user, backend: None }
    }
}

impl<'u> From<&'u Authenticated> for Entrant<'u> {
    fn from(known: &'u Authenticated) -> Self {
        Self { user: &known.user, backend: Some(known.backend) }
    }
}

/// The active user with this name and password. An unknown name, a wrong password and a closed
/// account take the same time and give the same answer.
///
/// # Errors
/// The database cannot be reached, or too many passwords are being hashed at this moment (503).
pub async fn authenticate(
    site: &Site,
    username: &str,
    password: &str,
) -> Result<Option<Authenticated>> {
    authenticate_with(site, None, &Credentials::new(username, password)).await
}

/// The active user whom the first backend knows by these credentials. `request` is for those who
/// listen to [`UserLoginFailed`], and so that attempts are counted: by account and address, as
/// `auth.login_attempts` says, in all processes.
///
/// # Errors
/// As [`authenticate`]; with a request 429, if there were too many attempts: before anybody has
/// looked whether this one is right.
pub async fn authenticate_with(
    site: &Site,
    request: Option<&Request>,
    credentials: &Credentials,
) -> Result<Option<Authenticated>> {
    let Some(request) = request else { return known(site, credentials, None, &mut false).await };
    let username = credentials.get("username").unwrap_or_default();
    let attempt = Attempt::begin(request, username).await?;
    let mut was_answered = false;
    let known = known(site, credentials, Some(request), &mut was_answered).await;
    match &known {
        Ok(Some(_)) => attempt.succeed(request).await,
        // A backend that has said no has looked at the password, whatever went wrong behind it.
        Err(_) if !was_answered => attempt.undo(request).await,
        _ => {}
    }
    known
}

async fn known(
    site: &Site,
    credentials: &Credentials,
    request: Option<&Request>,
    was_answered: &mut bool,
) -> Result<Option<Authenticated>> {
    for backend in Backends::of(site).all() {
        match backend.authenticate(site, credentials).await {
            Ok(Some(user)) if user.is_active => {
                return Ok(Some(Authenticated { user, backend: backend.name() }));
            }
            // Who is not active is nobody, whatever a backend says.
            Ok(_) => *was_answered = true,
            Err(error) if error.is_permission_denied() => {
                *was_answered = true;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let (credentials, request) = (credentials.masked(), request.cloned());
    site.send_signal(UserLoginFailed { credentials, request }).await?;
    Ok(None)
}

/// Signs a user in on this browser. The session gets a new id, so one that somebody else has
/// planted before is worth nothing; its data stays, unless it belongs to another user.
///
/// # Errors
/// The user was never saved, or the database cannot be reached.
pub fn login<'a>(
    request: &'a Request,
    user: impl Into<Entrant<'a>>,
) -> impl Future<Output = Result<()>> + Send + 'a {
    enter(request, user.into())
}

async fn enter(request: &Request, entrant: Entrant<'_>) -> Result<()> {
    let user = entrant.user;
    let session = request.session();
    let settings = request.settings();
    let before = session.get::<String>(SESSION_USER).await?;
    let given = session.get::<String>(SESSION_HASH).await?.unwrap_or_default();
    let hash = user.session_hash(settings);
    match before {
        Some(id) if id != user.id.to_string() || !crate::signing::is_same(&given, &hash) => {
            session.flush().await?;
        }
        _ if session.id().is_some() => {
            let cycled = session.cycle_id().await;
            // What it remembered went with who has ended it meanwhile: this is a new one.
            if session.is_gone() { session.flush().await? } else { cycled? }
        }
        _ => {}
    }
    session.begin_anew();
    remember(request, session, entrant).await?;
    sessions::note_visitor(request).await?;
    request.rotate_csrf_token();
    let now = Utc::now().trunc_subsecs(6);
    let rows = User::objects().filter(|u| u.id().eq(user.id));
    rows.update(request.site(), |u| [u.last_login().set(now)]).await?;
    let user = User { last_login: Some(now), ..user.clone() };
    become_user(request, user.clone().into());
    request.send_signal(UserLoggedIn { request: request.clone(), user }).await?;
    Ok(())
}

/// Keeps this browser signed in though `user`, who is at it, has got another password: all other
/// sessions end with that.
///
/// # Errors
/// The database cannot be reached.
pub(super) async fn stay_signed_in(request: &Request, user: User) -> Result<()> {
    let session = request.session();
    session.set(SESSION_HASH, user.session_hash(request.settings())).await?;
    if is_answered(request) {
        session.save().await?;
    } else {
        session.cycle_id().await?;
    }
    become_user(request, user.into());
    Ok(())
}

/// Signs the visitor out: the session and all it remembers is gone.
///
/// # Errors
/// The database cannot be reached.
pub async fn logout(request: &Request) -> Result<()> {
    // Who it was costs two queries, so only if somebody wants to know.
    let user = match request.hears::<UserLoggedOut>() {
        true => request.user().await?.user().cloned(),
        false => None,
    };
    let session = request.session();
    if session.id().is_some() {
        session.flush().await?;
    } else {
        session.clear().await;
    }
    request.rotate_csrf_token();
    become_user(request, CurrentUser::anonymous());
    request.send_signal(UserLoggedOut { request: request.clone(), user }).await?;
    Ok(())
}

/// The cookie of a new session in which `user` is signed in: for tests.
///
/// # Errors
/// As [`login`].
pub(crate) async fn session_of(site: &Site, user: &User) -> Result<String> {
    let session = sessions::new_session(site);
    remember(site, &session, user.into()).await?;
    session.save().await?;
    Ok(session.cookie())
}

async fn remember(site: &Site, session: &Session, entrant: Entrant<'_>) -> Result<()> {
    let user = entrant.user;
    if !user.id.is_set() {
        return Err(Error::of(Kind::Field, format!("signing in {user}: the user was never saved")));
    }
    let backend = entrant.backend.unwrap_or_else(|| Backends::of(site).first());
    session.set(SESSION_USER, user.id.to_string()).await?;
    session.set(SESSION_BACKEND, backend).await?;
    session.set(SESSION_HASH, user.session_hash(site.settings())).await?;
    sessions::remember_mark(session).await?;
    Ok(())
}
