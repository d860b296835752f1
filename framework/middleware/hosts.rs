//! Which host names the site answers to. Without this, a forged `Host` would end up in links.

use http::header::HOST;
use http::request::Parts;

use crate::conf::Settings;
use crate::error::Error;
use crate::http::bad_request;

/// Names of this machine, answered to in debug when no others are set.
const LOCAL: [&str; 3] = [".localhost", "127.0.0.1", "[::1]"];

/// Refuses (400) a request whose host is missing, given twice, malformed or not allowed.
///
/// # Errors
/// The refusal.
pub fn hosts(settings: &Settings, request: &Parts) -> Result<(), Error> {
    let mut hosts = request.headers.get_all(HOST).into_iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad_request("the request has two Host headers"));
    }
    let header = first.map(|host| host.to_str()).transpose()?;
    let authority = request.uri.authority().map(|authority| authority.as_str());
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
    let Some((name, _)) = split(host) else { return false };
    let fits = |pattern: &str| is_match(name, pattern);
    if settings.allowed_hosts.is_empty() {
        return settings.debug && LOCAL.into_iter().any(fits);
    }
    settings.allowed_hosts.iter().any(|pattern| fits(pattern))
}

/// The name without its trailing dot, and the port; `None` if it is no host.
fn split(host: &str) -> Option<(&str, &str)> {
    let name_end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.bytes().position(|byte| byte == b':').unwrap_or(host.len()),
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

/// `*` is any, `.example.com` the domain and all below it, anything else itself; in any case.
fn is_match(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('.') {
        Some(domain) => {
            // A domain that is not ASCII is no host's.
            let below =
                host.len().checked_sub(domain.len()).and_then(|at| host.split_at_checked(at));
            below.is_some_and(|(rest, end)| {
                end.eq_ignore_ascii_case(domain) && (rest.is_empty() || rest.ends_with('.'))
            })
        }
        None => pattern == "*" || host.eq_ignore_ascii_case(pattern),
    }
}
