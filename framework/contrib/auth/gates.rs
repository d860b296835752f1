//! Who may pass to a URL, said by its line in the table.
//!
//! Flow: `path(..).login_required()` puts a [`Gate`] on the line or include → the stack, with the
//! line found and everything else admitted, calls [`admit`] → the view; or the login page, or 403.
//!
//! Invariants:
//! - All demands hold: those of the line and those of every include around it. A line that says
//!   `login_not_required` is free of one demand of those around it, the login, and of no other.
//! - A view that [`AsksItself`], as streams do, is asked for by [`may_pass`] instead.
//! - HTTP and WebSocket alike: a refused handshake is a 403 that says why in the log.
//! - A line without a gate costs nothing: no session is read.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::current::CurrentUser;
use super::demands::Demand;
use super::granting;
use super::models_of;
use super::permissions::check_name;
use super::required::{is_name, redirect_to_login};
use crate::apps::{Check, Project};
use crate::conf::Settings;
use crate::error::Result;
use crate::http::{Request, permission_denied};
use crate::sockets::is_handshake;
use crate::urls::{Line, Matched, Route};

/// What one line of the table, or one include, says.
#[derive(Clone, Debug, Default)]
struct Gate {
    /// That the includes around it and the site demand a login does not count.
    is_open: bool,
    demands: Vec<Demanded>,
}

/// On a line whose view asks the gates itself: only it knows who asks, and it asks again later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsksItself;

#[derive(Clone)]
enum Demanded {
    Login,
    Staff,
    Superuser,
    Permissions(Arc<[String]>),
    Test(Arc<Test>),
    /// What a [`Demand`] says, and what that is called.
    Asked(&'static str, Ask),
}

type Test = dyn Fn(&CurrentUser) -> bool + Send + Sync;

type Ask = for<'a> fn(&'a CurrentUser, &'a Request) -> BoxFuture<'a, Result<bool>>;

/// [`Demand::is_met`], boxed.
fn ask<'a, D: Demand>(user: &'a CurrentUser, request: &'a Request) -> BoxFuture<'a, Result<bool>> {
    Box::pin(D::is_met(user, request))
}

impl Demanded {
    async fn is_met(&self, user: &CurrentUser, request: &Request) -> Result<bool> {
        Ok(match self {
            Self::Login => user.is_authenticated(),
            Self::Staff => user.is_active && user.is_staff,
            Self::Superuser => user.is_active && user.is_superuser,
            Self::Permissions(names) => {
                let own = user.permissions(request).await?;
                names.iter().all(|name| own.has(name))
            }
            Self::Test(test) => test(user),
            Self::Asked(_, ask) => ask(user, request).await?,
        })
    }
}

/// As a refusal's log says it.
impl fmt::Display for Demanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login => f.write_str("a login"),
            Self::Staff => f.write_str("staff status"),
            Self::Superuser => f.write_str("superuser status"),
            Self::Permissions(names) => write!(f, "the permission {}", names.join(", ")),
            Self::Test(_) => f.write_str("the line's test"),
            Self::Asked(name, _) => write!(f, "what {name} demands"),
        }
    }
}

impl fmt::Debug for Demanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Route {
    /// Only for visitors who are signed in; others are sent to the login page and come back. Of an
    /// include: all lines in it. A WebSocket is refused.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # async fn index() -> &'static str { "" }
    /// # async fn write() -> &'static str { "" }
    /// # fn diary() -> Urls { Urls::default() }
    /// let urls = Urls::new([
    ///     path("", index),
    ///     path("write/", write).permission_required("blog.add_post"),
    ///     include("diary/", diary()).login_required(),
    /// ]);
    /// ```
    #[must_use]
    pub fn login_required(self) -> Self {
        self.demand(Demanded::Login)
    }

    /// Only for visitors who may do this; others who are signed in get 403.
    ///
    /// # Panics
    /// It is not of the form `app.codename`. `manage check` also says if no model has it.
    #[must_use]
    pub fn permission_required(self, permission: &str) -> Self {
        self.permissions_required(&[permission])
    }

    /// Only for visitors who may do all of these.
    ///
    /// # Panics
    /// As [`permission_required`](Self::permission_required); or there are none, which would let
    /// everybody pass.
    #[must_use]
    #[expect(clippy::panic, reason = "a malformed URL table cannot be served")]
    pub fn permissions_required(self, permissions: &[&str]) -> Self {
        assert!(!permissions.is_empty(), "{self:?}: no permission is required: name one");
        if let Some(error) = permissions.iter().find_map(|name| check_name(name).err()) {
            panic!("{self:?}: {error}");
        }
        let names = permissions.iter().map(|name| (*name).to_owned());
        self.demand(Demanded::Permissions(names.collect()))
    }

    /// Only for visitors for whom `test` holds: `|user| user.email.ends_with("@example.com")`. It
    /// is asked of who is not signed in, too. What takes longer is a [`Demand`]:
    /// [`only`](Self::only).
    #[must_use]
    pub fn user_passes_test(
        self,
        test: impl Fn(&CurrentUser) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.demand(Demanded::Test(Arc::new(test)))
    }

    /// Only for visitors who fulfil a [`Demand`], which may look into the database: a tenant's
    /// people, who has paid. Unlike the extractor [`Only`](super::Only) it also stands on includes,
    /// WebSockets and streams, which ask it at each join and send.
    ///
    /// ```
    /// use hulse::contrib::auth::{CurrentUser, Demand};
    /// use hulse::prelude::*;
    ///
    /// struct Publisher;
    ///
    /// impl Demand for Publisher {
    ///     async fn is_met(user: &CurrentUser, request: &Request) -> Result<bool> {
    ///         user.has_perm(request, "blog.publish_post").await
    ///     }
    /// }
    ///
    /// # fn desk() -> Urls { Urls::default() }
    /// let urls = Urls::new([include("desk/", desk()).only::<Publisher>()]);
    /// ```
    #[must_use]
    pub fn only<D: Demand>(self) -> Self {
        let name = std::any::type_name::<D>();
        self.demand(Demanded::Asked(name, ask::<D>))
    }

    /// Only for who may enter the admin (`is_staff`).
    #[must_use]
    pub fn staff_required(self) -> Self {
        self.demand(Demanded::Staff)
    }

    /// Only for who may do everything.
    #[must_use]
    pub fn superuser_required(self) -> Self {
        self.demand(Demanded::Superuser)
    }

    /// For visitors who are not signed in, too, whatever the setting `auth.login_required` says and
    /// `login_required` of the includes around it. Whatever else they demand counts, and what this
    /// line itself demands.
    #[must_use]
    pub fn login_not_required(self) -> Self {
        self.attach_changed(|gate: &mut Gate| gate.is_open = true)
    }

    fn demand(self, demand: Demanded) -> Self {
        self.attach_changed(|gate: &mut Gate| gate.demands.push(demand))
    }
}

/// Lets a request pass to its view, or answers in the view's place.
pub(crate) async fn admit(request: &Request) -> Result<(), Response> {
    let line = request.extension::<Matched>().map(Matched::line);
    if line.is_some_and(|line| line.all_attached::<AsksItself>().next().is_some()) {
        return Ok(());
    }
    match lacking(request).await {
        Ok(None) => Ok(()),
        Ok(Some((user, lacks))) => Err(refuse(request, &user, &lacks)),
        Err(error) => Err(error.into_response()),
    }
}

/// Whether this visitor may pass, for a view that [`AsksItself`].
///
/// # Errors
/// 403, with the reason; or the user cannot be read.
pub(crate) async fn may_pass(request: &Request) -> Result<()> {
    match lacking(request).await? {
        None => Ok(()),
        Some((user, lacks)) => Err(permission_denied(format!("{user} lacks {lacks}"))),
    }
}

/// What keeps the visitor out, if anything does.
async fn lacking(request: &Request) -> Result<Option<(CurrentUser, String)>> {
    let Some(line) = request.extension::<Matched>().map(Matched::line) else { return Ok(None) };
    let demands = demanded(line, request.settings());
    if demands.is_empty() {
        return Ok(None);
    }
    Box::pin(unmet(request, demands)).await
}

async fn unmet(
    request: &Request,
    demands: Vec<&Demanded>,
) -> Result<Option<(CurrentUser, String)>> {
    let user = request.user().await?;
    for demand in demands {
        if !demand.is_met(&user, request).await? {
            return Ok(Some((user, demand.to_string())));
        }
    }
    Ok(None)
}

/// What counts for a line, from the outside in: who is refused hears of the plainest reason.
fn demanded<'l>(line: &'l Line, settings: &Settings) -> Vec<&'l Demanded> {
    let mut demands = Vec::new();
    let mut is_open = false;
    for gate in line.all_attached::<Gate>() {
        let is_counted = |demand: &&Demanded| !is_open || !matches!(demand, Demanded::Login);
        demands.extend(gate.demands.iter().filter(is_counted));
        is_open |= gate.is_open;
    }
    if settings.auth.login_required && !is_open {
        demands.push(&Demanded::Login);
    }
    demands.reverse();
    demands
}

/// The answer to who may not: the login page for who is not signed in, else 403. Programs that do
/// not follow redirects to pages, sockets and streams of events, are told 403 in any case.
pub(super) fn refuse(request: &Request, user: &CurrentUser, lacks: &str) -> Response {
    let is_socket = is_handshake(request.headers());
    let accept = request.header("accept").unwrap_or_default();
    if user.is_anonymous() && !is_socket && !accept.contains("text/event-stream") {
        return redirect_to_login(request).unwrap_or_else(IntoResponse::into_response);
    }
    let path = request.path();
    if is_socket {
        tracing::warn!(path, user.name = %user, "a WebSocket was refused: {user} lacks {lacks}");
    }
    permission_denied(format!("{user} lacks {lacks}")).into_response()
}

/// Gates through which nobody gets.
pub(super) fn checks(project: &Project, settings: &Settings) -> Vec<Check> {
    let models = models_of(project);
    let known: Vec<String> =
        granting::names(&models).map(|(app, name)| format!("{app}.{name}")).collect();
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for line in project.resolver().lines() {
        let gates = line.all_attached::<Gate>().flat_map(|gate| &gate.demands);
        let named = gates.filter_map(|demand| match demand {
            Demanded::Permissions(names) => Some(names.iter()),
            _ => None,
        });
        // One for all lines of an include.
        for name in named.flatten().filter(|name| !known.contains(name) && told.insert(*name)) {
            let words = format!("\"/{}\" requires {name:?}, which no model has", line.route());
            let near = crate::conf::nearest(name, known.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "add it to a model: `#[model(permissions(..))]`".to_owned(),
                |near| format!("did you mean {near:?}?"),
            );
            found.push(Check::warning("auth.W101", words).hint(hint));
        }
    }
    found.extend(check_login_page(project, settings));
    found
}

/// A login page that itself sends to the login page, or that is not there.
fn check_login_page(project: &Project, settings: &Settings) -> Option<Check> {
    let (resolver, url) = (project.resolver(), &settings.auth.login_url);
    if is_name(url) {
        let line = resolver.lines().iter().find(|line| line.name() == Some(url));
        if line.is_none() {
            let words = format!("auth.login_url is {url:?}, which no URL is called");
            return Some(Check::error("auth.E103", words).hint("`manage routes` lists the names"));
        }
        return line.and_then(|line| check_is_open(line, settings));
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let matched = resolver.resolve(path)?;
    check_is_open(matched.line(), settings)
}

fn check_is_open(line: &Line, settings: &Settings) -> Option<Check> {
    let demands = demanded(line, settings);
    let demand = demands.first()?;
    let words = format!(
        "the login page \"/{}\" demands {demand}: whoever is sent there is sent there again",
        line.route()
    );
    let hint = "say `login_not_required()` on its line, and take it out of includes that demand \
                more than a login";
    Some(Check::error("auth.E101", words).hint(hint))
}
