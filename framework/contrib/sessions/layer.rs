//! Cookie in, session beside the request once somebody asks, cookie out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderValue, Method, StatusCode};
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::cookie::{Cookie, SameSite};
use tower_sessions::session::Id;

use super::engines::{self, Engine};
use super::expiry::Life;
use super::store::{Store, gone};
use super::{Session, Touched};
use crate::conf;
use crate::error::Result;
use crate::http::{Beside, Reading, Request, vary};
use crate::site::Site;
use crate::sockets::is_handshake;
use crate::urls::Matched;

/// On the way out: saves the session if it was changed, and sets its cookie.
pub(crate) async fn keep(request: &Request, response: Response) -> Response {
    match Touched::find(request, &request.settings().sessions) {
        Some(touched) => Box::pin(keep_touched(request, touched, response)).await,
        None => response,
    }
}

async fn keep_touched(request: &Request, touched: &Touched, mut response: Response) -> Response {
    let settings = &request.settings().sessions;
    let outcome = outcome(touched, settings, response.status()).await;
    // Not before: they are to find the session under its new id.
    touched.session.call_again().await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let mut response = error.into_response();
            // A cookie that is the session itself would come again and again.
            if touched.store.is_gone() && touched.store.is_cookie() {
                set_cookie(&mut response, &dead_cookie(settings));
            }
            return response;
        }
    };
    touched.store.set_answered();
    if !matches!(outcome, Outcome::Untouched) || touched.is_asked() {
        vary(response.headers_mut(), "Cookie");
    }
    match outcome {
        Outcome::Untouched => {}
        Outcome::Kept => set_cookie(&mut response, &fresh_cookie(settings, touched)),
        Outcome::Ended => set_cookie(&mut response, &dead_cookie(settings)),
    }
    response
}

/// Whether somebody has asked for the session, so that the answer is for this visitor.
pub(crate) fn is_asked(beside: &Beside) -> bool {
    beside.made().is_some_and(Touched::is_asked)
}

/// The request with its session and whatever hangs on it to be read again: for a connection that
/// outlives changes made elsewhere.
pub(crate) fn afresh(request: &Request) -> Request {
    let now = Touched::beside(request);
    let touched = Touched::new(request.site(), now.store.engine_renewed(), now.session.key());
    touched.store.set_answered();
    let beside = request.beside().map(Beside::renewed).unwrap_or_default();
    beside.get(|| touched);
    request.with_beside(beside)
}

/// The place beside a request whose answer is gone, with the session of this id (see
/// [`id_of`](super::id_of)), not read yet: for a connection that comes from another process. Who
/// had none there has none here, whatever its cookie named once.
pub(crate) fn beside_of(site: &Site, id: Option<&str>) -> Beside {
    let beside = Beside::default();
    beside.set_answered();
    let touched = match id.map(str::parse) {
        Some(Ok(id)) => Some(Touched::of(site, Some(id))),
        Some(Err(_)) => None,
        None => Some(Touched::of(site, None)),
    };
    // A session that is its cookie comes with the request's.
    if let Some(touched) = touched.filter(|touched| !touched.store.is_cookie()) {
        touched.store.set_answered();
        beside.get(|| touched);
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
            let cookie = request.cookie(&request.settings().sessions.cookie_name);
            let (engine, id) = match cookie {
                Some(cookie) => engines::named(request.site(), cookie),
                None => (engines::of(request.site()), None),
            };
            let had_cookie = cookie.is_some();
            let touched = Self { had_cookie, ..Self::new(request.site(), engine, id) };
            if request.beside().is_some_and(Beside::is_answered) {
                touched.store.set_answered();
            }
            if request.method() == Method::GET && is_handshake(request.headers()) {
                touched.store.set_handshake();
            }
            touched
        });
        touched.expect("every request passes the stack")
    }

    /// The session of a request on its way out, if there is something to look at.
    fn find<'r>(request: &'r Request, settings: &conf::Sessions) -> Option<&'r Self> {
        let beside = request.beside()?;
        if settings.save_every_request
            && beside.find::<Matched>().is_some()
            && request.cookie(&settings.cookie_name).is_some()
        {
            return Some(Self::beside(request));
        }
        beside.made()
    }

    fn is_asked(&self) -> bool {
        self.by_view.load(Ordering::Relaxed) || self.store.was_read()
    }

    /// The session of this id, not read yet; a new one without.
    pub(super) fn of(site: &Site, id: Option<Id>) -> Self {
        Self::new(site, engines::of(site), id)
    }

    fn new(site: &Site, engine: Box<dyn Engine>, id: Option<Id>) -> Self {
        let store = Arc::new(Store::new(site, engine));
        Self {
            session: Session::new(site.clone(), id, Arc::clone(&store)),
            store,
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
    let was_read = touched.store.was_read();
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
    /// It was saved, or its end put off.
    Kept,
    Ended,
}

/// Saves the session if it should be.
async fn outcome(
    touched: &Touched,
    settings: &conf::Sessions,
    status: StatusCode,
) -> Result<Outcome> {
    let Touched { session, store, had_cookie, .. } = touched;
    let ended = if *had_cookie { Outcome::Ended } else { Outcome::Untouched };
    if settings.save_every_request && !status.is_server_error() {
        // Nothing but a look: it is what `is_due` asks for.
        session.expiry().await?;
    }
    let lazy = session.lazy();
    if lazy.is_empty().await {
        return Ok(ended);
    }
    if status.is_server_error() {
        return Ok(Outcome::Untouched);
    }
    if lazy.is_modified() {
        // An error may be that the visitor logged out in another tab while this request ran: saving
        // would undo that.
        session.keep().await.map_err(|error| match store.is_gone() {
            true => error,
            false => error.context("saving the session"),
        })?;
        return Ok(if store.is_emptied() { ended } else { Outcome::Kept });
    }
    if !store.is_due() {
        return Ok(Outcome::Untouched);
    }
    match store.put_off().await? {
        true => Ok(Outcome::Kept),
        false if store.is_cookie() => Err(gone()),
        false => Ok(Outcome::Untouched),
    }
}

fn fresh_cookie(settings: &conf::Sessions, touched: &Touched) -> Cookie<'static> {
    let mut cookie = empty_cookie(settings);
    cookie.set_value(touched.session.cookie());
    if let Some(Life { end, age, with_browser: false }) = touched.store.life() {
        cookie.set_max_age(Duration::milliseconds(age.num_milliseconds()));
        cookie.set_expires(OffsetDateTime::from_unix_timestamp(end.timestamp()).ok());
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
    let same_site = match settings.cookie_samesite {
        conf::SameSite::Lax => SameSite::Lax,
        conf::SameSite::Strict => SameSite::Strict,
        conf::SameSite::None => SameSite::None,
    };
    let cookie = Cookie::build((name, ""))
        .http_only(settings.cookie_httponly)
        .same_site(same_site)
        // Nor do they take `SameSite=None` without it.
        .secure(settings.cookie_secure || prefixed || same_site == SameSite::None)
        .path(settings.cookie_path.clone());
    match settings.cookie_domain.as_str() {
        "" => cookie.build(),
        domain => cookie.domain(domain.to_owned()).build(),
    }
}

fn set_cookie(response: &mut Response, cookie: &Cookie<'_>) {
    match HeaderValue::try_from(cookie.to_string()) {
        Ok(value) => {
            response.headers_mut().append(SET_COOKIE, value);
        }
        Err(_) => tracing::error!("the settings of the session's cookie make no header"),
    }
}
