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

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};

use super::origin::is_allowed_origin;
use crate::conf;
use crate::error::Error;
use crate::http::{Beside, PageName, Request, SetCookie, check_length, fact, vary};
use crate::site::Site;
use crate::urls::Matched;

use token::cookie_secret;

/// The form's field.
const FIELD: &str = "csrfmiddlewaretoken";

/// The secret of one request, kept beside it once somebody asks.
struct Csrf(Mutex<Secret>);

#[derive(Default)]
struct Secret {
    secret: Option<String>,
    /// Whether a token was made, so that the cookie must be sent.
    used: bool,
}

impl Csrf {
    /// The secret in the request's cookie, if there is one.
    fn of(request: &Request) -> Self {
        Self(Mutex::new(Secret { secret: secret_of(request), used: false }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Secret) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn secret_of(request: &Request) -> Option<String> {
    request.cookie(&request.settings().csrf.cookie_name).and_then(cookie_secret)
}

impl Request {
    /// A token for a form of this visitor, a different text each time. `None` where the csrf
    /// middleware has not seen the request.
    #[must_use]
    pub fn csrf_token(&self) -> Option<String> {
        Some(self.keep(Csrf::of)?.with(|state| {
            state.used = true;
            token::mask(state.secret.get_or_insert_with(token::new_secret))
        }))
    }

    /// Gives the visitor a new secret: done at login, so that a token from before is worth nothing.
    pub fn rotate_csrf_token(&self) {
        if let Some(csrf) = self.keep(Csrf::of) {
            csrf.with(|state| *state = Secret { secret: Some(token::new_secret()), used: true });
        }
    }
}

/// Refuses unsafe requests that are too long (413) or without a token (403): the body to go on
/// with, which may have been read for it, or why not.
///
/// # Errors
/// The refusal.
pub async fn admit(site: &Site, parts: &Parts, body: Body) -> Result<Body, Response> {
    let is_safe =
        matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let Some(matched) = fact::<Matched>(&parts.extensions).filter(|_| !is_safe) else {
        return Ok(body);
    };
    check_length(site.settings(), &parts.headers).map_err(Error::into_response)?;
    if matched.line().is_csrf_exempt() {
        return Ok(body);
    }
    let seen = Request::new(site.clone(), parts);
    Box::pin(check_token(&seen, body)).await
}

/// Sends the cookie if a token was made for the request.
///
/// # Errors
/// `csrf.cookie_name` cannot be a cookie's.
pub(crate) fn send_cookie(
    settings: &conf::Csrf,
    beside: &Beside,
    response: &mut Response,
) -> Result<(), Error> {
    let Some(secret) = secret_to_send(beside) else { return Ok(()) };
    let cookie = SetCookie {
        name: &settings.cookie_name,
        value: &secret,
        max_age: Some(settings.cookie_age),
        secure: settings.cookie_secure,
        // Else scripts read it to send the header.
        http_only: settings.cookie_httponly,
    };
    let line = cookie.header_in(&settings.cookie_domain, &settings.cookie_path)?;
    response.headers_mut().append(header::SET_COOKIE, line);
    vary(response.headers_mut(), "Cookie");
    Ok(())
}

/// Whether the answer has a token in it, which is this visitor's.
pub(crate) fn is_used(beside: &Beside) -> bool {
    secret_to_send(beside).is_some()
}

fn secret_to_send(beside: &Beside) -> Option<String> {
    beside.made::<Csrf>()?.with(|state| state.secret.clone().filter(|_| state.used))
}

async fn check_token(seen: &Request, body: Body) -> Result<Body, Response> {
    let secret = secret_of(seen);
    let checked =
        check_sender(seen).and_then(|()| secret.as_deref().ok_or("CSRF cookie not set.".into()));
    let secret = checked.map_err(|why| refuse(seen, &why))?;
    let name = &seen.settings().csrf.header_name;
    let header = seen.header(&name.to_ascii_lowercase());
    if let Some(header) = header
        && token::check(header, secret).is_ok()
    {
        return Ok(body);
    }
    // A form's own token counts more than a header that does not fit.
    let (found, body) =
        form::token(seen, body).await.map_err(|error: Error| error.into_response())?;
    let (token, place) = match (&found, header) {
        (Some(token), _) => (token.as_str(), "POST".to_owned()),
        (None, Some(header)) => (header, format!("the '{name}' HTTP header")),
        (None, None) => return Err(refuse(seen, "CSRF token missing.")),
    };
    match token::check(token, secret) {
        Ok(()) => Ok(body),
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
    let is_known = is_allowed_origin(request, &format!("https://{host}"))
        || is_of_cookie(&request.settings().csrf.cookie_domain, host);
    match is_known {
        true => Ok(()),
        false => {
            Err(format!("Referer checking failed - {referer} does not match any trusted origins."))
        }
    }
}

/// Whether `host` is one that the cookie is sent to, which names a domain for that.
fn is_of_cookie(domain: &str, host: &str) -> bool {
    let (domain, host) = (domain.to_ascii_lowercase(), host.to_ascii_lowercase());
    let host = host.strip_suffix(":443").unwrap_or(&host);
    match domain.strip_prefix('.') {
        Some(whole) => host == whole || host.ends_with(&domain),
        None => !domain.is_empty() && host == domain,
    }
}

fn refuse(request: &Request, why: &str) -> Response {
    tracing::warn!(target: "hulse::security::csrf", path = request.path(), why = ?why, "forbidden");
    let error = Error::status(StatusCode::FORBIDDEN, format!("CSRF verification failed: {why}"));
    let mut response = error.into_response();
    response.extensions_mut().insert(PageName("403_csrf"));
    response
}
