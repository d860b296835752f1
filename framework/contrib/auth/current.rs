//! Who is asking: from the session to the user, once a request.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::OnceCell;

use super::backends::Backends;
use super::models::{HashFit, User};
use super::permissions::Permissions;
use crate::contrib::sessions;
use crate::error::Result;
use crate::http::{Beside, Request};

/// The session's key for the user's id, as text. Django's name.
pub(super) const SESSION_USER: &str = sessions::OWNER;

/// The session's key for the name of the backend that knows the user. Django's name.
pub(super) const SESSION_BACKEND: &str = "_auth_user_backend";

/// The session's key for the hash of the user's password. Django's name.
pub(super) const SESSION_HASH: &str = "_auth_user_hash";

/// The visitor: a [`User`] who is signed in, or nobody in particular.
///
/// It derefs to the user; a visitor who is not signed in has an empty name and may do nothing.
#[derive(Clone, Debug, Default)]
pub struct CurrentUser(Option<Arc<Known>>);

/// Somebody who is signed in, and what they may do once that was asked. Shared by all clones, so
/// it is asked once a request; who asks [`afresh`] gets another.
#[derive(Debug)]
struct Known {
    user: User,
    permissions: OnceCell<Permissions>,
}

/// What an anonymous visitor derefs to.
static NOBODY: LazyLock<User> = LazyLock::new(|| User { is_active: false, ..User::default() });

impl CurrentUser {
    /// A visitor who is not signed in.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(None)
    }

    /// Whether the visitor is signed in.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the visitor is not signed in.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }

    /// The user, if the visitor is signed in.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.0.as_deref().map(|known| &known.user)
    }

    /// The user, and the place for what they may do.
    pub(super) fn with_permissions(&self) -> Option<(&User, &OnceCell<Permissions>)> {
        self.0.as_deref().map(|known| (&known.user, &known.permissions))
    }
}

impl From<User> for CurrentUser {
    fn from(user: User) -> Self {
        Self(Some(Arc::new(Known { user, permissions: OnceCell::new() })))
    }
}

impl Deref for CurrentUser {
    type Target = User;

    fn deref(&self) -> &User {
        self.user().unwrap_or(&NOBODY)
    }
}

/// The user's name, or `anonymous`.
impl fmt::Display for CurrentUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user().map_or("anonymous", |user| &user.username))
    }
}

/// As templates see it: the user's fields, and the two questions.
impl Serialize for CurrentUser {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'u> {
            #[serde(flatten)]
            user: &'u User,
            is_authenticated: bool,
            is_anonymous: bool,
        }
        let shown = Shown {
            user: self,
            is_authenticated: self.is_authenticated(),
            is_anonymous: self.is_anonymous(),
        };
        shown.serialize(serializer)
    }
}

/// The user of one request, once somebody has asked. Beside it; shared by all clones of the
/// request, so that a login in a view is seen by what comes after it.
#[derive(Debug, Default)]
struct Asking(Mutex<Option<CurrentUser>>);

impl Asking {
    fn get(&self) -> Option<CurrentUser> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, user: CurrentUser) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(user);
    }
}

/// Who asks is `user` from now on.
pub(super) fn become_user(request: &Request, user: CurrentUser) {
    if let Some(known) = request.keep(|_| Asking::default()) {
        known.set(user);
    }
}

/// The request with its session and user to be read again: for a connection that outlives a logout,
/// a new password, a permission taken away. `afresh(socket.request()).user()` is who it is now.
#[must_use]
pub fn afresh(request: &Request) -> Request {
    sessions::afresh(request)
}

impl Request {
    /// The visitor. Loaded once a request: no query without a session cookie, two for somebody
    /// signed in (the session and the user).
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn user(&self) -> Result<CurrentUser> {
        let known = self.keep(|_| Asking::default());
        if let Some(user) = known.and_then(Asking::get) {
            return Ok(user);
        }
        let user = load(self).await?.map(CurrentUser::from).unwrap_or_default();
        if let Some(known) = known {
            known.set(user.clone());
        }
        Ok(user)
    }
}

/// Whether no cookie can reach the browser any more.
pub(super) fn is_answered(request: &Request) -> bool {
    request.beside().is_some_and(Beside::is_answered)
}

/// Who asks, without a change to the session.
pub(super) async fn look(request: &Request) -> Result<CurrentUser> {
    let known = request.keep(|_| Asking::default());
    if let Some(user) = known.and_then(Asking::get) {
        return Ok(user);
    }
    let Some((user, fit)) = find(request).await? else { return Ok(CurrentUser::anonymous()) };
    let user = match fit {
        HashFit::Current => CurrentUser::from(user),
        HashFit::OldKey => return Ok(user.into()),
        HashFit::None => return Ok(CurrentUser::anonymous()),
    };
    if let Some(known) = known {
        known.set(user.clone());
    }
    Ok(user)
}

/// The user the session names, unless the password has changed or the account was closed since.
async fn load(request: &Request) -> Result<Option<User>> {
    let session = request.session();
    let Some((user, fit)) = find(request).await? else { return Ok(None) };
    match fit {
        HashFit::Current => Ok(Some(user)),
        // Under the same id: another would end what the browser asks for beside this.
        HashFit::OldKey => {
            session.set(SESSION_HASH, user.session_hash(request.settings())).await?;
            Ok(Some(user))
        }
        HashFit::None => {
            session.flush().await?;
            Ok(None)
        }
    }
}

/// The user the session names, if there is one, and how the password fits.
async fn find(request: &Request) -> Result<Option<(User, HashFit)>> {
    let session = request.session();
    let Some(id) = session.get::<String>(SESSION_USER).await? else { return Ok(None) };
    let Ok(id) = id.parse::<i64>() else { return Ok(None) };
    let backends = Backends::of(request.site());
    let name = session.get::<String>(SESSION_BACKEND).await?;
    let Some(backend) = backends.find(name.as_deref()) else { return Ok(None) };
    let Some(user) = backend.user(request.site(), id).await? else { return Ok(None) };
    let given = session.get::<String>(SESSION_HASH).await?.unwrap_or_default();
    let fit = user.check_session_hash(&given, request.settings());
    Ok(Some((user, fit)))
}
