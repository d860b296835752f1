//! What a user may do: asked of the backends, as a set, once a request.
//!
//! Invariants:
//! - An active superuser may do everything, who is not active nothing; neither costs a query.
//! - All permissions of a user are one query ([`ModelBackend`](super::ModelBackend)).

use std::any::Any;
use std::collections::BTreeSet;

use super::backends::Backends;
use super::current::CurrentUser;
use super::models::{Permission, User};
use crate::error::{Error, Kind, Result};
use crate::models::QuerySet;
use crate::site::Site;

/// A set of permissions, or all there are. They are named by app and codename: `blog.add_post`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    all: bool,
    names: BTreeSet<String>,
}

impl Permissions {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All, also those nobody has thought of yet.
    #[must_use]
    pub fn all() -> Self {
        Self { all: true, names: BTreeSet::new() }
    }

    /// Whether `permission` is among them.
    #[must_use]
    pub fn has(&self, permission: &str) -> bool {
        self.all || self.names.contains(permission)
    }

    /// Whether one of the app's is.
    #[must_use]
    pub fn has_module(&self, app: &str) -> bool {
        self.all || self.names.iter().any(|name| name.split_once('.').is_some_and(|n| n.0 == app))
    }

    /// Their names, in order; none for [`all`](Self::all).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn add(&mut self, others: Self) {
        self.all |= others.all;
        self.names.extend(others.names);
    }
}

impl<S: Into<String>> FromIterator<S> for Permissions {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self { all: false, names: names.into_iter().map(Into::into).collect() }
    }
}

impl User {
    /// All it may do. Asked anew each time, a query; [`CurrentUser::permissions`] remembers for the
    /// request, and [`with_perm`](Self::with_perm) answers for many.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn permissions(&self, site: &Site) -> Result<Permissions> {
        match self.unasked() {
            Some(permissions) => Ok(permissions),
            None => asked(self, site).await,
        }
    }

    /// Whether it may do something: `user.has_perm(&site, "blog.add_post")`.
    ///
    /// # Errors
    /// `permission` has no app in front (`is_field`), or the database cannot be reached.
    pub async fn has_perm(&self, site: &Site, permission: &str) -> Result<bool> {
        check_name(permission)?;
        Ok(self.permissions(site).await?.has(permission))
    }

    /// The active users who may do something, by themselves, by a group, or as superusers; to be
    /// narrowed and ordered further. One query, where [`has_perm`](Self::has_perm) is one for each.
    /// It knows what [`ModelBackend`](super::ModelBackend) does, and not what a backend of the
    /// site's own would give.
    ///
    /// # Errors
    /// `permission` has no app in front (`is_field`).
    pub fn with_perm(permission: &str) -> Result<QuerySet<Self>> {
        check_name(permission)?;
        let (app, codename) = permission.split_once('.').unwrap_or_default();
        let named = Permission::objects()
            .filter(|p| p.app_label().eq(app) & p.codename().eq(codename))
            .values(|p| p.id());
        let direct = Self::objects()
            .filter(|u| u.user_permissions().id().in_query(named.clone()))
            .values(|u| u.id());
        let of_groups = Self::objects()
            .filter(|u| u.groups().permissions().id().in_query(named))
            .values(|u| u.id());
        Ok(Self::objects().filter(|u| {
            let has = u.id().in_query(direct) | u.id().in_query(of_groups);
            u.is_active().eq(true) & (u.is_superuser().eq(true) | has)
        }))
    }

    /// Whether it may do all of these.
    ///
    /// # Errors
    /// As [`has_perm`](Self::has_perm).
    pub async fn has_perms(&self, site: &Site, permissions: &[&str]) -> Result<bool> {
        permissions.iter().try_for_each(|name| check_name(name))?;
        let own = self.permissions(site).await?;
        Ok(permissions.iter().all(|name| own.has(name)))
    }

    /// Whether it may do anything with the models of the app.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn has_module_perms(&self, site: &Site, app: &str) -> Result<bool> {
        Ok(self.permissions(site).await?.has_module(app))
    }

    /// Whether it may do something with this one row (or whatever `object` is): what a
    /// [backend](super::AuthBackend::has_perm_for) says. The one in the box knows no single rows.
    ///
    /// # Errors
    /// As [`has_perm`](Self::has_perm).
    pub async fn has_perm_for<T: Any + Send + Sync>(
        &self,
        site: &Site,
        permission: &str,
        object: &T,
    ) -> Result<bool> {
        check_name(permission)?;
        if let Some(permissions) = self.unasked() {
            return Ok(permissions.has(permission));
        }
        for backend in Backends::of(site).all() {
            match backend.has_perm_for(site, self, permission, object).await {
                Ok(true) => return Ok(true),
                Err(error) if error.is_permission_denied() => return Ok(false),
                other => other.map(drop)?,
            }
        }
        Ok(false)
    }

    /// What nobody has to be asked for.
    fn unasked(&self) -> Option<Permissions> {
        match (self.is_active, self.is_superuser) {
            (false, _) => Some(Permissions::none()),
            (true, true) => Some(Permissions::all()),
            (true, false) => None,
        }
    }
}

/// What the backends say, up to one that ends the question.
async fn asked(user: &User, site: &Site) -> Result<Permissions> {
    let mut all = Permissions::none();
    for backend in Backends::of(site).all() {
        match backend.permissions(site, user).await {
            Ok(more) => all.add(more),
            Err(error) if error.is_permission_denied() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// A slip here would be a right that nobody ever has.
pub(super) fn check_name(permission: &str) -> Result<()> {
    let parts = permission.split_once('.');
    if parts.is_some_and(|(app, codename)| !app.is_empty() && !codename.is_empty()) {
        return Ok(());
    }
    let words = format!("{permission:?} is no permission: it is called app.codename");
    Err(Error::of(Kind::Field, words))
}

impl CurrentUser {
    /// All the visitor may do: asked at the first call, remembered for the request. For somebody
    /// who is not signed in that is nothing.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn permissions(&self, site: &Site) -> Result<Permissions> {
        let Some((user, known)) = self.with_permissions() else { return Ok(Permissions::none()) };
        known.get_or_try_init(|| user.permissions(site)).await.cloned()
    }

    /// Whether the visitor may do something:
    /// `request.user().await?.has_perm(&request, "blog.add_post")`. The first question of a request
    /// is one query, all others none.
    ///
    /// # Errors
    /// `permission` has no app in front (`is_field`), or the database cannot be reached.
    pub async fn has_perm(&self, site: &Site, permission: &str) -> Result<bool> {
        check_name(permission)?;
        Ok(self.permissions(site).await?.has(permission))
    }

    /// Whether the visitor may do all of these.
    ///
    /// # Errors
    /// As [`has_perm`](Self::has_perm).
    pub async fn has_perms(&self, site: &Site, permissions: &[&str]) -> Result<bool> {
        permissions.iter().try_for_each(|name| check_name(name))?;
        let own = self.permissions(site).await?;
        Ok(permissions.iter().all(|name| own.has(name)))
    }

    /// Whether the visitor may do anything with the models of the app.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn has_module_perms(&self, site: &Site, app: &str) -> Result<bool> {
        Ok(self.permissions(site).await?.has_module(app))
    }
}
