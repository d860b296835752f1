//! Who knows users: the list of backends that are asked one after the other.
//!
//! Flow: [`authenticate`](super::authenticate) asks each for the user of the credentials; the first
//! that has one wins, and the session keeps its name → every later request asks that one for the
//! user → permissions are those that any of them gives.
//!
//! Invariants:
//! - An error with the status 403 (`permission_denied`) ends the question for all that follow.
//! - Each backend that knows nobody by a name spends as long as it would on a wrong password.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::hashing;
use super::models::{Permission, User, fold_email, normalize_username};
use super::passwords::Verdict;
use super::permissions::Permissions;
use crate::apps::Check;
use crate::conf::Secret;
use crate::error::Result;
use crate::site::Site;

/// What somebody says to prove who they are: a name and a password, or whatever a backend of the
/// site's own asks for.
#[derive(Clone, Debug, Default)]
pub struct Credentials(BTreeMap<String, Secret>);

impl Credentials {
    /// A name and a password.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self::default().with("username", username).with("password", password)
    }

    /// With another field.
    #[must_use]
    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.0.insert(field.to_owned(), Secret::new(value));
        self
    }

    /// What was said for `field`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(Secret::expose)
    }

    /// All fields; of those whose name sounds secret (Django's list) there are stars.
    #[must_use]
    pub fn masked(&self) -> BTreeMap<String, String> {
        const SECRETS: [&str; 6] = ["api", "token", "key", "secret", "password", "signature"];
        let shown = |(field, value): (&String, &Secret)| {
            let lower = field.to_lowercase();
            let is_secret = SECRETS.iter().any(|word| lower.contains(word));
            let value = if is_secret { "*".repeat(20) } else { value.expose().to_owned() };
            (field.clone(), value)
        };
        self.0.iter().map(shown).collect()
    }
}

/// Somebody who knows users. A site lists its own with [`App::backend`](super::App::backend).
/// Implementors write `async fn`, and only what they do otherwise.
pub trait AuthBackend: Send + Sync + 'static {
    /// What sessions call it; another backend's name must differ.
    fn name(&self) -> &'static str;

    /// The user who said this, if it is one of its own and all is right. It has to take its time
    /// for somebody unknown, and to refuse who is not active.
    ///
    /// # Errors
    /// It cannot be told; with the status 403 nobody else is asked either.
    fn authenticate(
        &self,
        site: &Site,
        credentials: &Credentials,
    ) -> impl Future<Output = Result<Option<User>>> + Send {
        let _ = (site, credentials);
        async { Ok(None) }
    }

    /// The user of a session, if there is one still.
    ///
    /// # Errors
    /// It cannot be told.
    fn user(&self, site: &Site, id: i64) -> impl Future<Output = Result<Option<User>>> + Send {
        active(site, id)
    }

    /// What a user may do. It adds to what the others say, and takes nothing away. Nobody is asked
    /// for a visitor who is not signed in or not active, who may do nothing, nor for an active
    /// superuser, who may do all.
    ///
    /// # Errors
    /// It cannot be told; with the status 403 nobody else is asked either.
    fn permissions(
        &self,
        site: &Site,
        user: &User,
    ) -> impl Future<Output = Result<Permissions>> + Send {
        let _ = (site, user);
        async { Ok(Permissions::none()) }
    }

    /// Whether a user may do something with this one thing: `object.downcast_ref::<Post>()`.
    ///
    /// # Errors
    /// As [`permissions`](Self::permissions).
    fn has_perm_for(
        &self,
        site: &Site,
        user: &User,
        permission: &str,
        object: &(dyn Any + Send + Sync),
    ) -> impl Future<Output = Result<bool>> + Send {
        let _ = (site, user, permission, object);
        async { Ok(false) }
    }
}

/// Users by name and password, their permissions and those of their groups.
#[derive(Clone, Copy, Debug)]
pub struct ModelBackend;

/// Users by email address and password, in whatever case. An address that several open accounts
/// have is nobody's, so a site that lists this one sees to it that addresses are confirmed.
/// Permissions are [`ModelBackend`]'s business, so list both.
#[derive(Clone, Copy, Debug)]
pub struct EmailBackend;

impl AuthBackend for ModelBackend {
    fn name(&self) -> &'static str {
        "model"
    }

    async fn authenticate(&self, site: &Site, credentials: &Credentials) -> Result<Option<User>> {
        let Some((username, password)) = named(credentials) else { return Ok(None) };
        let username = normalize_username(username);
        let found = User::objects().filter(|u| u.username().eq(&username)).first(site).await?;
        verified(site, found, password).await
    }

    async fn permissions(&self, site: &Site, user: &User) -> Result<Permissions> {
        let own = User::objects().filter(|u| u.id().eq(user.id));
        let direct = own.clone().values(|u| u.user_permissions().id());
        let of_groups = own.values(|u| u.groups().permissions().id());
        let rows = Permission::objects()
            .filter(|p| p.id().in_query(direct) | p.id().in_query(of_groups))
            .values(|p| (p.app_label(), p.codename()))
            .all(site)
            .await?;
        Ok(rows.into_iter().map(|(app, codename)| format!("{app}.{codename}")).collect())
    }
}

impl AuthBackend for EmailBackend {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn authenticate(&self, site: &Site, credentials: &Credentials) -> Result<Option<User>> {
        let Some((address, password)) = named(credentials) else { return Ok(None) };
        // No address at all, whoever there is: that may be told, and spares a hash.
        if !address.contains('@') {
            return Ok(None);
        }
        let mut found = User::with_email(site, address).await?;
        found.retain(|user| user.is_active);
        let one = if found.len() == 1 { found.pop() } else { None };
        verified(site, one, password).await
    }
}

/// A name and a password, if that is what was said. A NUL is in no name, and some databases take it
/// for an error.
fn named(credentials: &Credentials) -> Option<(&str, &str)> {
    let name = credentials.get("username").filter(|name| !name.contains('\0'))?;
    Some((name, credentials.get("password")?))
}

/// `found`, if the password is right and the account open. It takes as long for nobody.
async fn verified(site: &Site, found: Option<User>, password: &str) -> Result<Option<User>> {
    let stored = found.as_ref().map(|user| user.password.clone());
    let verdict = hashing::verify(site, password, stored).await?;
    let Some(mut user) = found.filter(|user| user.is_active) else { return Ok(None) };
    match verdict {
        Verdict::Wrong => Ok(None),
        Verdict::Right => Ok(Some(user)),
        Verdict::RightButOutdated => {
            let outdated = user.password.clone();
            user.set_password(site, password).await?;
            // Another may have been set since this one was read: that one stays.
            let rows = User::objects().filter(|u| u.id().eq(user.id) & u.password().eq(&outdated));
            if rows.update(site, |u| [u.password().set(&user.password)]).await? > 0 {
                return Ok(Some(user));
            }
            still_right(site, &user, password).await
        }
    }
}

/// The user as it is stored now, if the password is right still.
async fn still_right(site: &Site, user: &User, password: &str) -> Result<Option<User>> {
    let found = User::objects().filter(|u| u.id().eq(user.id)).first(site).await?;
    let Some(user) = found.filter(|user| user.is_active) else { return Ok(None) };
    let verdict = hashing::verify(site, password, Some(user.password.clone())).await?;
    Ok((verdict != Verdict::Wrong).then_some(user))
}

async fn active(site: &Site, id: i64) -> Result<Option<User>> {
    let found = User::objects().filter(|u| u.id().eq(id)).first(site).await?;
    Ok(found.filter(|user| user.is_active))
}

impl User {
    /// Those who have this address. The database compares as it can; what counts is that both are
    /// the same in Unicode's case folding, so that no look-alike of an address is that address.
    pub(super) async fn with_email(site: &Site, address: &str) -> Result<Vec<Self>> {
        let wanted = fold_email(address);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut found =
            Self::objects().filter(|u| u.email().iexact(address.trim())).all(site).await?;
        found.retain(|user| fold_email(&user.email) == wanted);
        Ok(found)
    }
}

/// An [`AuthBackend`] with its futures in boxes, so that a list can hold any.
pub(super) trait Asked: Send + Sync {
    fn name(&self) -> &'static str;
    fn authenticate<'a>(
        &'a self,
        site: &'a Site,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<User>>>;
    fn user<'a>(&'a self, site: &'a Site, id: i64) -> BoxFuture<'a, Result<Option<User>>>;
    fn permissions<'a>(
        &'a self,
        site: &'a Site,
        user: &'a User,
    ) -> BoxFuture<'a, Result<Permissions>>;
    fn has_perm_for<'a>(
        &'a self,
        site: &'a Site,
        user: &'a User,
        permission: &'a str,
        object: &'a (dyn Any + Send + Sync),
    ) -> BoxFuture<'a, Result<bool>>;
}

impl<B: AuthBackend> Asked for B {
    fn name(&self) -> &'static str {
        AuthBackend::name(self)
    }

    fn authenticate<'a>(
        &'a self,
        site: &'a Site,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<User>>> {
        Box::pin(AuthBackend::authenticate(self, site, credentials))
    }

    fn user<'a>(&'a self, site: &'a Site, id: i64) -> BoxFuture<'a, Result<Option<User>>> {
        Box::pin(AuthBackend::user(self, site, id))
    }

    fn permissions<'a>(
        &'a self,
        site: &'a Site,
        user: &'a User,
    ) -> BoxFuture<'a, Result<Permissions>> {
        Box::pin(AuthBackend::permissions(self, site, user))
    }

    fn has_perm_for<'a>(
        &'a self,
        site: &'a Site,
        user: &'a User,
        permission: &'a str,
        object: &'a (dyn Any + Send + Sync),
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(AuthBackend::has_perm_for(self, site, user, permission, object))
    }
}

/// Names that two backends have: the first would answer for the sessions of the second.
pub(super) fn checks(backends: &[Arc<dyn Asked>]) -> Vec<Check> {
    let mut names = BTreeSet::new();
    let twice = backends.iter().map(|backend| backend.name()).filter(|name| !names.insert(*name));
    let found = twice.map(|name| {
        let words = format!("two backends are called {name:?}");
        let hint = "sessions keep the name of the backend that knew their user: give each its own";
        Check::error("auth.E102", words).hint(hint)
    });
    found.collect()
}

/// The backends of a site, in order. The site keeps it.
#[derive(Clone)]
pub(super) struct Backends(Arc<[Arc<dyn Asked>]>);

impl Backends {
    pub(super) fn of(site: &Site) -> Arc<Self> {
        site.keep(|_| Self::default())
    }

    pub(super) fn new(all: Vec<Arc<dyn Asked>>) -> Self {
        Self(all.into())
    }

    pub(super) fn all(&self) -> &[Arc<dyn Asked>] {
        &self.0
    }

    /// The name a session keeps if nobody says which backend it was.
    pub(super) fn first(&self) -> &'static str {
        self.0.first().map_or("", |backend| backend.name())
    }

    /// The backend a session names; sessions from before there were names mean the first.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&dyn Asked> {
        let name = name.unwrap_or_else(|| self.first());
        self.0.iter().find(|backend| backend.name() == name).map(|backend| &**backend)
    }
}

impl Default for Backends {
    fn default() -> Self {
        Self::new(vec![Arc::new(ModelBackend)])
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|backend| backend.name())).finish()
    }
}
