//! Cross-site request forgery: a page elsewhere must not be able to post with a visitor's cookies.
//!
//! Flow: the cookie holds a secret → a form carries it masked, differently each time → a POST has
//! to bring both. Before that the browser's own word counts: `Origin`, over https `Referer`.
//!
//! Invariants:
//! - Django's algorithm and its order; secrets are compared in constant time.
//! - The cookie is set, and the answer varies with it, only when a token was used.
//! - The body is read only if the header brings no token, never beyond the limits, and the view
//!   finds all of it again.

mod form;
#[cfg(test)]
mod tests;
mod token;

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};

use super::origin::is_allowed_origin;
use crate::error::Error;
use crate::http::{PageName, Request, SetCookie, check_length, vary};
use crate::site::Site;
use crate::urls::Matched;

use token::cookie_secret;

/// The form's field.
const FIELD: &str = "csrfmiddlewaretoken";
/// The header scripts send instead.
const HEADER: &str = "x-csrftoken";

/// The secret of one request; in its extensions.
#[derive(Clone, Default)]
struct Csrf(Arc<Mutex<Secret>>);

#[derive(Default)]
struct Secret {
    secret: Option<String>,
    /// Whether a token was made, so that the cookie must be sent.
    used: bool,
}

impl Csrf {
    fn with<T>(&self, change: impl FnOnce(&mut Secret) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Request {
    /// A token for a form of this visitor, a different text each time. `None` where the csrf
    /// middleware has not seen the request.
    #[must_use]
    pub fn csrf_token(&self) -> Option<String> {
        let csrf = self.extension::<Csrf>()?;
        Some(csrf.with(|state| {
            state.used = true;
            token::mask(state.secret.get_or_insert_with(token::new_secret))
        }))
    }

    /// Gives the visitor a new secret: done at login, so that a token from before is worth nothing.
    pub fn rotate_csrf_token(&self) {
        if let Some(csrf) = self.extension::<Csrf>() {
            csrf.with(|state| *state = Secret { secret: Some(token::new_secret()), used: true });
        }
    }
}

/// Refuses (403) unsafe requests without a token, and sends the cookie when one was made.
pub async fn csrf(
    State(site): State<Site>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let settings = &site.settings().csrf;
    let seen = Request::new(site.clone(), &parts);
    let secret = seen.cookie(&settings.cookie_name).and_then(cookie_secret);
    let csrf = Csrf::default();
    csrf.with(|state| state.secret.clone_from(&secret));
    parts.extensions.insert(csrf.clone());
    let request = axum::extract::Request::from_parts(parts, body);
    let mut response = match admit(&seen, secret.as_deref(), request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused,
    };
    let to_send = csrf.with(|state| state.secret.clone().filter(|_| state.used));
    if let Some(secret) = to_send {
        let cookie = SetCookie {
            name: &settings.cookie_name,
            value: &secret,
            max_age: Some(settings.cookie_age),
            secure: settings.cookie_secure,
            // Scripts read it to send the header.
            http_only: false,
        };
        match cookie.header() {
            Ok(line) => drop(response.headers_mut().append(header::SET_COOKIE, line)),
            Err(error) => return error.into_response(),
        }
        vary(response.headers_mut(), "Cookie");
    }
    response
}

/// The request to go on with, or why not.
async fn admit(
    seen: &Request,
    secret: Option<&str>,
    request: axum::extract::Request,
) -> Result<axum::extract::Request, Response> {
    let Some(matched) = seen.extension::<Matched>() else { return Ok(request) };
    let is_safe =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(seen.method());
    if is_safe {
        return Ok(request);
    }
    check_length(seen.settings(), seen.headers()).map_err(Error::into_response)?;
    if matched.line().is_csrf_exempt() {
        return Ok(request);
    }
    let checked = check_sender(seen).and_then(|()| secret.ok_or("CSRF cookie not set.".into()));
    let secret = checked.map_err(|why| refuse(seen, &why))?;
    if let Some(header) = seen.header(HEADER)
        && token::check(header, secret).is_ok()
    {
        return Ok(request);
    }
    // A form's own token counts more than a header that does not fit.
    let (found, request) = form::token(seen.settings(), request)
        .await
        .map_err(|error: Error| error.into_response())?;
    let (token, place) = match (&found, seen.header(HEADER)) {
        (Some(token), _) => (token.as_str(), "POST"),
        (None, Some(header)) => (header, "the 'X-CSRFToken' HTTP header"),
        (None, None) => return Err(refuse(seen, "CSRF token missing.")),
    };
    match token::check(token, secret) {
        Ok(()) => Ok(request),
        Err(why) => Err(refuse(seen, &format!("CSRF token from {place} {why}."))),
    }
}

/// What the browser itself says about the page that sends.
fn check_sender(request: &Request) -> Result<(), String> {
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        return match is_allowed_origin(request, origin) {
            true => Ok(()),
            false => Err(format!(
                "Origin checking failed - {origin} does not match any trusted origins."
            )),
        };
    }
    if !request.is_secure() {
        return Ok(());
    }
    let referer = request.header("referer").ok_or("Referer checking failed - no Referer.")?;
    let (scheme, rest) = referer
        .split_once("://")
        .filter(|(_, rest)| !rest.starts_with('/') && !rest.is_empty())
        .ok_or("Referer checking failed - Referer is malformed.")?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err("Referer checking failed - Referer is insecure while host is secure.".into());
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    match is_allowed_origin(request, &format!("https://{host}")) {
        true => Ok(()),
        false => {
            Err(format!("Referer checking failed - {referer} does not match any trusted origins."))
        }
    }
}

fn refuse(request: &Request, why: &str) -> Response {
    tracing::warn!(target: "hulse::security::csrf", path = request.path(), why = ?why, "forbidden");
    let error = Error::status(StatusCode::FORBIDDEN, format!("CSRF verification failed: {why}"));
    let mut response = error.into_response();
    response.extensions_mut().insert(PageName("403_csrf"));
    response
}
