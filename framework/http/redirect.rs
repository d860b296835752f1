//! Redirects, and which targets are safe.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::bad_request;
use crate::error::{Error, Result};
use crate::site::Site;

/// Longest target of a redirect, characters (Django's `MAX_URL_REDIRECT_LENGTH`).
const TARGET_CHARS_MAX: usize = 16_384;
/// Longest `next`, characters (Django's `MAX_URL_LENGTH`).
const NEXT_CHARS_MAX: usize = 2048;
/// What a `Location` may lead to.
const SCHEMES: [&str; 3] = ["http", "https", "ftp"];

/// What a URL in a header cannot hold as it is; `%` stays, what is encoded already is not touched.
const URL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A 302 to `to`: the name of a URL without arguments, or a URL (`url!` makes those with
/// arguments).
///
/// # Errors
/// It is neither (`is_no_reverse_match`), holds a line break, or is a URL that no redirect may
/// lead to (400): overlong, or with a scheme other than http, https and ftp.
pub fn redirect(site: &Site, to: &str) -> Result<Response> {
    let looks_like_url = to.contains(['/', '.', '?', '#']);
    if site.knows_url(to) || !looks_like_url {
        return to_url(&site.reverse(to, &[])?);
    }
    to_url(to)
}

fn to_url(url: &str) -> Result<Response> {
    if url.contains(['\r', '\n']) {
        return Err(Error::new("redirecting: the target holds a line break"));
    }
    if url.chars().count() > TARGET_CHARS_MAX {
        return Err(bad_request(format!("redirecting: over {TARGET_CHARS_MAX} characters")));
    }
    if let Some(scheme) = scheme(url)
        && !SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
    {
        return Err(bad_request(format!("redirecting: {scheme:?} is not http, https or ftp")));
    }
    let encoded = utf8_percent_encode(url, URL).to_string();
    let location = HeaderValue::try_from(encoded)?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

/// What stands before the first colon, if it is a scheme.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let letters = |char: char| char.is_ascii_alphanumeric() || "+-.".contains(char);
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(letters))
        .then_some(scheme)
}

/// Whether a `next` that a visitor sent leads back to this site (`host` as in the `Host` header),
/// so that a login form cannot be used to send people elsewhere. With `https` it may not fall
/// back to http.
#[must_use]
pub fn is_safe_next(next: &str, host: &str, https: bool) -> bool {
    let next = next.trim();
    // Chrome reads a backslash as a slash; both readings have to be safe.
    is_safe(next, host, https) && is_safe(&next.replace('\\', "/"), host, https)
}

fn is_safe(next: &str, host: &str, https: bool) -> bool {
    if next.is_empty() || next.chars().count() > NEXT_CHARS_MAX {
        return false;
    }
    // Browsers drop tabs and line ends anywhere and control characters in front.
    if next.starts_with("///") || next.chars().any(char::is_control) {
        return false;
    }
    let scheme = scheme(next);
    let rest = scheme.map_or(next, |scheme| &next[scheme.len() + 1..]);
    let authority =
        rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    match (scheme, authority) {
        (None, None) => true,
        (Some(_), None | Some("")) | (None, Some("")) => false,
        (scheme, Some(authority)) => {
            let scheme = scheme.unwrap_or("https").to_ascii_lowercase();
            let schemes: &[&str] = if https { &["https"] } else { &["http", "https"] };
            authority.eq_ignore_ascii_case(host) && schemes.contains(&scheme.as_str())
        }
    }
}
