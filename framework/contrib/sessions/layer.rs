//! Cookie in, session beside the request once somebody asks, cookie out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::cookie::{Cookie, SameSite};
use tower_sessions::session::Id;
use tower_sessions::{Expiry, Session as Lazy};

use super::store::Rows;
use super::{Session, Touched};
use crate::conf;
use crate::error::Error;
use crate::http::{Beside, Reading, Request, vary};
use crate::site::Site;

/// On the way out: saves the session if it was changed, and sets its cookie.
pub(crate) async fn keep(site: &Site, beside: &Beside, mut response: Response) -> Response {
    let Some(touched) = beside.find::<Touched>() else { return response };
    let outcome = match outcome(touched, response.status()).await {
        Ok(outcome) => outcome,
        Err(error) => return error.into_response(),
    };
    let was_asked = touched.by_view.load(Ordering::Relaxed) || touched.rows.was_read();
    if !matches!(outcome, Outcome::Untouched) || was_asked {
        vary(response.headers_mut(), "Cookie");
    }
    let settings = &site.settings().sessions;
    match outcome {
        Outcome::Untouched => {}
        Outcome::Saved(id) => {
            set_cookie(&mut response, &fresh_cookie(settings, id, &touched.session));
        }
        Outcome::Ended => set_cookie(&mut response, &dead_cookie(settings)),
    }
    response
}

/// The request with its session and whatever hangs on it to be read again: for a connection that
/// outlives changes made elsewhere.
pub(crate) fn afresh(request: &Request) -> Request {
    let touched = Touched::of(request.site(), Touched::beside(request).session.id());
    let beside = request.beside().map(Beside::renewed).unwrap_or_default();
    beside.get(|| touched);
    request.with_beside(beside)
}

/// The place beside a request whose answer is gone, with the session of this id (see
/// [`id_of`](super::id_of)), not read yet: for a connection that comes from another process.
pub(crate) fn beside_of(site: &Site, id: Option<&str>) -> Beside {
    let beside = Beside::default();
    beside.set_answered();
    if let Some(id) = id.and_then(|id| id.parse().ok()) {
        beside.get(|| Touched::of(site, Some(id)));
    }
    beside
}

impl Touched {
    /// The session of the request: the one that was put there, or the one its cookie names, not
    /// read yet; a new one without.
    ///
    /// # Panics
    /// The request did not come through the stack.
    pub(super) fn beside(request: &Request) -> &Self {
        let touched = request.keep(|request| {
            let name = &request.settings().sessions.cookie_name;
            let cookie = request.cookie(name);
            let id = cookie.and_then(|value| value.parse::<Id>().ok());
            Self { had_cookie: cookie.is_some(), ..Self::of(request.site(), id) }
        });
        touched.expect("every request passes the stack")
    }

    /// The session of this id, not read yet; a new one without.
    pub(super) fn of(site: &Site, id: Option<Id>) -> Self {
        let rows = Arc::new(Rows::new(site.clone()));
        let expiry = expiry(&site.settings().sessions);
        let lazy = Lazy::new(id, Arc::clone(&rows) as Arc<_>, Some(expiry));
        let session = Session::new(site.clone(), lazy);
        Self {
            session,
            rows,
            had_cookie: false,
            by_view: AtomicBool::new(false),
            is_fresh: AtomicBool::new(false),
        }
    }
}

/// The request with its session as it is stored now; and whether another was read before that, and
/// the two must agree.
pub(crate) fn fresh(request: &Request, how: Reading) -> (Request, bool) {
    if how == Reading::Anew {
        return (afresh(request), false);
    }
    let touched = Touched::beside(request);
    let was_read = touched.rows.was_read();
    if !was_read {
        touched.is_fresh.store(true, Ordering::Relaxed);
    }
    if touched.is_fresh.load(Ordering::Relaxed) {
        (request.clone(), false)
    } else {
        (afresh(request), true)
    }
}

/// A session without a request: for tests.
pub(crate) fn new_session(site: &Site) -> Session {
    Touched::of(site, None).session
}

/// What became of a session while its request was answered.
enum Outcome {
    Untouched,
    Saved(Id),
    Ended,
}

/// Saves the session if it should be.
async fn outcome(touched: &Touched, status: StatusCode) -> Result<Outcome, Error> {
    let Touched { session, rows, had_cookie, .. } = touched;
    let had_cookie = *had_cookie;
    if session.is_empty().await {
        return Ok(if had_cookie { Outcome::Ended } else { Outcome::Untouched });
    }
    if !session.is_modified() || status.is_server_error() {
        return Ok(Outcome::Untouched);
    }
    if let Err(error) = session.save().await {
        // The visitor logged out in another tab while this request ran. Saving would undo that.
        if rows.is_gone() {
            let message = "the session was deleted before the request completed";
            return Err(Error::status(StatusCode::BAD_REQUEST, message));
        }
        return Err(Error::from(error).context("saving the session"));
    }
    match session.id() {
        Some(id) if !rows.is_emptied() => Ok(Outcome::Saved(id)),
        _ => Ok(if had_cookie { Outcome::Ended } else { Outcome::Untouched }),
    }
}

fn expiry(settings: &conf::Sessions) -> Expiry {
    if settings.expire_at_browser_close {
        // The cookie has no age then; the row still ends after `cookie_age` (see `Rows`).
        Expiry::OnSessionEnd
    } else {
        Expiry::OnInactivity(Duration::seconds(settings.cookie_age))
    }
}

fn fresh_cookie(settings: &conf::Sessions, id: Id, session: &Session) -> Cookie<'static> {
    let mut cookie = empty_cookie(settings);
    cookie.set_value(id.to_string());
    match session.expiry() {
        None | Some(Expiry::OnSessionEnd) => {}
        Some(expiry) => {
            // Not what is left of it at this moment, which would be a second less than was set.
            let whole = |age| if let Expiry::OnInactivity(whole) = expiry { whole } else { age };
            cookie.set_max_age(whole(session.expiry_age()));
            cookie.set_expires(session.expiry_date());
        }
    }
    cookie
}

fn dead_cookie(settings: &conf::Sessions) -> Cookie<'static> {
    let mut cookie = empty_cookie(settings);
    cookie.set_max_age(Duration::ZERO);
    cookie.set_expires(OffsetDateTime::from(SystemTime::UNIX_EPOCH));
    cookie
}

fn empty_cookie(settings: &conf::Sessions) -> Cookie<'static> {
    // A browser ignores a `__Host-`/`__Secure-` cookie, its deletion too, without `Secure`.
    let name = settings.cookie_name.clone();
    let prefixed = name.starts_with("__Host-") || name.starts_with("__Secure-");
    Cookie::build((name, ""))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(settings.cookie_secure || prefixed)
        .path("/")
        .build()
}

fn set_cookie(response: &mut Response, cookie: &Cookie<'_>) {
    match HeaderValue::try_from(cookie.to_string()) {
        Ok(value) => {
            response.headers_mut().append(SET_COOKIE, value);
        }
        Err(_) => tracing::error!("sessions.cookie_name is no valid cookie name"),
    }
}
