//! Requests that hyper lets pass and nobody should answer: what two servers in a row could read in
//! two ways, and what asks for something else than a page.
//!
//! Flow: `serve` asks [`check`] before anything else sees the request; what is refused is answered
//! with the status here and the connection closed, because where its next request begins is not
//! certain.
//!
//! Read for it: RFC 9112 §2 to §6, nginx's and gunicorn's verdicts. hyper 1.12 itself refuses what
//! is no head (bare CR, NUL, space before a colon, folded lines), lengths that differ, and closes
//! after a length beside a transfer coding (whose header it drops, so nobody here can refuse it;
//! RFC 9112 §6.1 has it answered by the chunks and closed, and so it is); it looks at no Host and
//! takes `chunked, chunked`.

use std::net::Ipv6Addr;

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Refused {
    pub(in crate::server) status: StatusCode,
    pub(in crate::server) words: &'static str,
}

const fn bad(words: &'static str) -> Result<(), Refused> {
    Err(Refused { status: StatusCode::BAD_REQUEST, words })
}

const fn refused(status: StatusCode, words: &'static str) -> Result<(), Refused> {
    Err(Refused { status, words })
}

/// Whether the request can be understood in one way only.
pub(in crate::server) fn check(head: &Parts) -> Result<(), Refused> {
    method(head)?;
    target(head)?;
    host(head)?;
    coding(head)?;
    expectation(head)
}

/// CONNECT is for proxies; TRACE shows a page the cookies its scripts may not see.
fn method(head: &Parts) -> Result<(), Refused> {
    match head.method {
        Method::CONNECT | Method::TRACE => {
            refused(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed")
        }
        _ => Ok(()),
    }
}

fn target(head: &Parts) -> Result<(), Refused> {
    let uri = &head.uri;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path().starts_with('/') => Ok(()),
        (None, None) if uri.path() == "*" && head.method == Method::OPTIONS => Ok(()),
        (Some("http" | "https"), Some(authority)) if is_host(authority.as_str()) => Ok(()),
        _ => bad("the request's target is neither a path nor a URL"),
    }
}

/// One Host, and that well-formed; an old client need not send it.
fn host(head: &Parts) -> Result<(), Refused> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => bad("the request has two Host headers"),
        (Some(host), None) if host.to_str().is_ok_and(is_host) => Ok(()),
        (Some(_), None) => bad("the request's Host is malformed"),
        (None, _) if head.version == Version::HTTP_11 => bad("the request has no Host header"),
        (None, _) => Ok(()),
    }
}

/// The same of a host that a proxy tells.
pub(in crate::server) fn check_host(host: &HeaderValue) -> Result<(), Refused> {
    if host.to_str().is_ok_and(is_host) { Ok(()) } else { bad("the request's Host is malformed") }
}

/// Whether it is a name, an IPv4 address or an IPv6 one in brackets, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port)
        }
        None => text.split_at(text.bytes().position(|byte| byte == b':').unwrap_or(text.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.is_empty()
                || digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        });
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    is_port && !name.is_empty() && name.bytes().all(letter)
}

/// `chunked` and nothing else: what a server in front reads otherwise ends elsewhere.
fn coding(head: &Parts) -> Result<(), Refused> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(first) = codings.next() else { return Ok(()) };
    if codings.next().is_some() {
        return bad("the request has two Transfer-Encoding headers");
    }
    let mut words = first.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    match (words.next(), words.next()) {
        (Some(word), None) if word.eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(word), Some(_)) if word.eq_ignore_ascii_case(b"chunked") => {
            bad("the request's body is chunked twice")
        }
        _ => refused(StatusCode::NOT_IMPLEMENTED, "the transfer coding is not known here"),
    }
}

fn expectation(head: &Parts) -> Result<(), Refused> {
    match head.headers.get(EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            refused(StatusCode::EXPECTATION_FAILED, "nothing but 100-continue can be expected")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        let check = |text, expected| assert_eq!(is_host(text), expected, "{text:?}");
        check("example.com", true);
        check("Example.com.:8060", true);
        check("a_b.example", true);
        check("127.0.0.1:80", true);
        check("127.0.0.1:", true);
        check("[::1]:80", true);
        check("[::1]", true);
        check("", false);
        check(":80", false);
        check("a b", false);
        check("a/b", false);
        check("user@example.com", false);
        check("example.com:80:80", false);
        check("example.com:99999", false);
        check("example.com:+80", false);
        check("[::1", false);
        check("[::1]x", false);
        check("[v1.x]", false);
        check("exa\\mple", false);
        check("exämple.com", false);
    }
}
