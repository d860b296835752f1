//! Which host names the site answers to. Without this, a forged `Host` would end up in links.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HOST;

use crate::conf::Settings;
use crate::error::Error;
use crate::http::bad_request;
use crate::site::Site;

/// Names of this machine, answered to in debug when no others are set.
const LOCAL: [&str; 3] = [".localhost", "127.0.0.1", "[::1]"];

/// Refuses (400) a request whose host is missing, given twice, malformed or not allowed.
pub async fn hosts(State(site): State<Site>, request: Request, next: Next) -> Response {
    match check(site.settings(), &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(settings: &Settings, request: &Request) -> Result<(), Error> {
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad_request("the request has two Host headers"));
    }
    let header = first.map(|host| host.to_str()).transpose()?;
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = match (authority, header) {
        (Some(authority), Some(header)) if authority != header => {
            return Err(bad_request("the request's target and its Host header differ"));
        }
        (authority, header) => authority.or(header),
    };
    let Some(host) = host else {
        return Err(bad_request("the request has no Host header"));
    };
    if is_allowed_host(settings, host) {
        return Ok(());
    }
    let name = split(host).map_or(host, |(name, _)| name);
    Err(bad_request(format!(
        "invalid host {host:?}: you may need to add {name:?} to allowed_hosts"
    )))
}

/// Whether the site answers to `host` (`example.com`, `Example.com.:8060`, `[::1]:80`).
#[must_use]
pub fn is_allowed_host(settings: &Settings, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let Some((name, _)) = split(&host) else { return false };
    let fits = |pattern: &str| is_match(name, &pattern.to_ascii_lowercase());
    if settings.allowed_hosts.is_empty() {
        return settings.debug && LOCAL.into_iter().any(fits);
    }
    settings.allowed_hosts.iter().any(|pattern| fits(pattern))
}

/// The name without its trailing dot, and the port; `None` if it is no host.
fn split(host: &str) -> Option<(&str, &str)> {
    let name_end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name_end);
    let digits = port.strip_prefix(':').unwrap_or("");
    let port_fits = port.is_empty() || !digits.is_empty();
    if !port_fits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fits = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        }
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (fits && !name.is_empty()).then_some((name, digits))
}

/// `*` is any, `.example.com` the domain and all below it, anything else itself.
fn is_match(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('.') {
        Some(domain) => {
            host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        }
        None => pattern == "*" || host == pattern,
    }
}
