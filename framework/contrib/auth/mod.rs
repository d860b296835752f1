//! Users: who they are, how they sign in and out, what they may do.
//!
//! Flow: `POST login/` → `views` → [`authenticate`] asks the `backends` (hash compared on a bounded
//! pool) → [`login`] writes id, backend and password hash into a fresh session → every later
//! request: [`Request::user`] reads the session, asks that backend for the user, compares the hash
//! → `gates` of the URL → the view, which asks [`CurrentUser::has_perm`].
//!
//! Invariants:
//! - A visitor without a session cookie costs no query; somebody signed in costs two, once, and
//!   whatever is asked of their permissions one more.
//! - A session ends when its user's password changes or the account is closed, and what is open
//!   in it is closed or asked again.
//! - Answers tell nothing about which names exist, neither in words nor in time.
//! - HTTP and WebSocket ask the same way: `request.user()`, `socket.request().user()`.

mod attempts;
mod backends;
mod commonest;
mod current;
mod demands;
mod foreign_hashes;
mod gates;
mod granting;
mod hashing;
mod login;
pub mod models;
mod new_password;
mod open_sessions;
mod password_change;
mod password_reset;
mod passwords;
mod permissions;
mod required;
mod revocation;
mod session_list;
mod signals;
mod throttle;
mod tokens;
mod urls;
mod validators;
mod views;

pub use backends::{AuthBackend, Credentials, EmailBackend, ModelBackend};
pub use current::{CurrentUser, afresh};
pub use demands::{
    Action, Add, Change, Delete, Demand, May, Only, SignedIn, Staff, Superuser, View,
};
pub(crate) use gates::{AsksItself, admit, may_pass};
pub(crate) use login::session_of;
pub use login::{Authenticated, Entrant, authenticate, authenticate_with, login, logout};
pub use models::{Group, Permission, User};
pub use open_sessions::{open_sessions, revoke_other_sessions, revoke_session, revoke_sessions};
pub use passwords::PASSWORD_BYTES_MAX;
pub use permissions::Permissions;
pub use required::{LoginRequired, login_required, redirect_to_login};
pub use revocation::{change_password, reauthorize};
pub use signals::{UserLoggedIn, UserLoggedOut, UserLoginFailed};
pub use urls::urls;
pub use validators::validate_password;

use std::sync::Arc;

use crate::apps::{App as Install, Check, Project};
use crate::conf::Settings;
use crate::http::{Marker, Processor, Request};
use crate::models::{Meta, Model};
use crate::signals::Signals;
use crate::site::Site;
use crate::template::Value;
use backends::{Asked, Backends};

/// The app to install: it brings the tables, and `user` and `perms` for templates. Users sign in
/// with their names; `auth::App.backend(..)` lists others who know users.
#[derive(Clone, Copy, Debug)]
pub struct App;

impl App {
    /// The app with this backend instead of [`ModelBackend`]; add more behind it:
    /// `auth::App.backend(ModelBackend).backend(EmailBackend)`.
    #[must_use]
    pub fn backend(self, backend: impl AuthBackend) -> AppWith {
        AppWith(Vec::new()).backend(backend)
    }
}

/// The app with the site's own list of backends.
pub struct AppWith(Vec<Arc<dyn Asked>>);

impl AppWith {
    /// Asks this backend too, after those before.
    #[must_use]
    pub fn backend(mut self, backend: impl AuthBackend) -> Self {
        self.0.push(Arc::new(backend));
        self
    }
}

impl std::fmt::Debug for AppWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|backend| backend.name())).finish()
    }
}

impl Install for AppWith {
    fn label(&self) -> &'static str {
        App.label()
    }

    fn models(&self) -> Vec<&'static Meta> {
        App.models()
    }

    fn context(&self) -> Vec<Processor> {
        App.context()
    }

    fn checks(&self, settings: &Settings) -> Vec<Check> {
        let mut found = App.checks(settings);
        found.extend(backends::checks(&self.0));
        found
    }

    fn markers(&self) -> Vec<Marker> {
        App.markers()
    }

    fn project_checks(&self, project: &Project, settings: &Settings) -> Vec<Check> {
        App.project_checks(project, settings)
    }

    fn signals(&self, signals: &mut Signals<Site>) {
        App.signals(signals);
    }

    fn ready(&self, site: &Site) {
        site.keep(|_| Backends::new(self.0.clone()));
    }
}

impl Install for App {
    fn label(&self) -> &'static str {
        "auth"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Permission::meta(), Group::meta(), User::meta()]
    }

    fn markers(&self) -> Vec<Marker> {
        vec![revocation::marker()]
    }

    fn context(&self) -> Vec<Processor> {
        let user = async |request: Request| Ok(Value::from_serializable(&request.user().await?));
        let perms = async |request: Request| {
            let own = request.user().await?.permissions(&request).await?;
            Ok(Value::from_serializable(&granting::table(&request, &own)))
        };
        vec![Processor::new("user", user), Processor::new("perms", perms)]
    }

    fn checks(&self, settings: &Settings) -> Vec<Check> {
        validators::checks(&settings.auth)
    }

    fn project_checks(&self, project: &Project, settings: &Settings) -> Vec<Check> {
        let mut found = gates::checks(project, settings);
        found.extend(granting::checks(&models_of(project)));
        found
    }

    fn signals(&self, signals: &mut Signals<Site>) {
        signals.connect(granting::after_migrate);
        signals.connect(revocation::relation_changed);
        signals.connect(revocation::group_deleted);
    }
}

fn models_of(project: &Project) -> Vec<&'static Meta> {
    project.apps().iter().flat_map(|app| app.models()).collect()
}

#[cfg(test)]
mod tests;
