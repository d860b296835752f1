//! What proxies say of the visitor, if they may be believed.
//!
//! Flow: the setting names who may (`server.proxy_headers`) → [`told`] goes through the addresses
//! from the right, the one the server sees itself, to the left while each was told by somebody who
//! may → the first one who may not is the visitor; scheme and host are those told about him.
//!
//! Invariant: what a visitor writes into these headers himself does not change his address: his own
//! words stand to its left, and the walk ends there. Only one kind of header is read: a proxy
//! passes those on that it does not know. For the same reason it has to set or remove scheme and
//! host too; of one that sets the address alone, the visitor's own words about them are believed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use crate::conf::{Forwarding, Peer};

/// The visitor behind the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Told {
    /// `None`: as seen.
    pub(in crate::server) address: Option<SocketAddr>,
    pub(in crate::server) is_secure: bool,
    pub(in crate::server) host: Option<HeaderValue>,
}

/// Whether the peer is one of those.
pub(in crate::server) fn is_one_of(peers: &[Peer], address: Option<IpAddr>) -> bool {
    peers.iter().any(|peer| peer.is(address))
}

/// What the headers say of the visitor; `peer`, who connected, may be believed.
pub(in crate::server) fn told(headers: &HeaderMap, kind: Forwarding, trusted: &[Peer]) -> Told {
    match kind {
        Forwarding::Forwarded => forwarded(headers, trusted),
        Forwarding::XForwarded => x_forwarded(headers, trusted),
    }
}

fn x_forwarded(headers: &HeaderMap, trusted: &[Peer]) -> Told {
    let addresses = list(headers, "x-forwarded-for");
    let (address, hops) = walk(addresses.iter().map(|text| parse(text)), trusted);
    // Each of the others has as many entries, or one, set by the last proxy or the first.
    let of_hop = |name| {
        let entries = list(headers, name);
        let index = entries.len().checked_sub(hops.max(1).min(entries.len()))?;
        entries.get(index).copied()
    };
    Told {
        address,
        is_secure: of_hop("x-forwarded-proto").is_some_and(|p| p.eq_ignore_ascii_case("https")),
        host: of_hop("x-forwarded-host").and_then(|host| HeaderValue::from_str(host).ok()),
    }
}

/// RFC 7239.
fn forwarded(headers: &HeaderMap, trusted: &[Peer]) -> Told {
    let lines = headers.get_all("forwarded").iter().filter_map(|line| line.to_str().ok());
    let elements: Vec<&str> = lines.flat_map(|line| split(line, ',')).collect();
    let addresses = elements.iter().map(|element| parse(&pair(element, "for")?));
    let (address, hops) = walk(addresses, trusted);
    let element = elements.len().checked_sub(hops.max(1)).and_then(|at| elements.get(at));
    let of_hop = |name| element.and_then(|element| pair(element, name));
    Told {
        address,
        is_secure: of_hop("proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
        host: of_hop("host").and_then(|host| HeaderValue::from_str(&host).ok()),
    }
}

/// Goes from right to left until somebody who may not be believed; how far that was.
fn walk(
    addresses: impl DoubleEndedIterator<Item = Option<SocketAddr>>,
    trusted: &[Peer],
) -> (Option<SocketAddr>, usize) {
    let (mut found, mut hops) = (None, 0);
    for address in addresses.rev() {
        // `unknown` and the like hide whoever stands before them.
        let Some(address) = address else { break };
        (found, hops) = (Some(address), hops + 1);
        if !is_one_of(trusted, Some(address.ip())) {
            break;
        }
    }
    (found, hops)
}

/// The entries of all headers of that name.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).collect()
}

/// Splits where no quotes are open.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && letter == '\\' && !was_escaped;
        if letter == '"' && !was_escaped {
            is_quoted = !is_quoted;
        }
        letter == at && !is_quoted
    })
}

/// The value of `name` in an element (`for="[::1]:80";proto=https`).
fn pair(element: &str, name: &str) -> Option<String> {
    let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(quoted.map_or_else(|| value.to_owned(), |quoted| quoted.replace('\\', "")))
}

/// An address, with a port or without: port 0.
fn parse(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 0))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let parsed = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        parsed.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn check(
        kind: Forwarding,
        lines: &[(&'static str, &'static str)],
        expected: (&str, bool, &str),
    ) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()];
        let told = told(&headers(lines), kind, &trusted);
        let address = told.address.map(|address| address.ip().to_string()).unwrap_or_default();
        let host = told.host.map(|host| host.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!((address.as_str(), told.is_secure, host.as_str()), expected, "{lines:?}");
    }

    #[test]
    fn the_visitor_is_who_the_last_trusted_proxy_saw() {
        let for_ = "x-forwarded-for";
        let check = |lines: &[_], expected| check(Forwarding::XForwarded, lines, expected);
        check(&[], ("", false, ""));
        check(&[(for_, "1.2.3.4")], ("1.2.3.4", false, ""));
        check(&[(for_, "9.9.9.9, 1.2.3.4")], ("1.2.3.4", false, ""));
        check(&[(for_, "9.9.9.9, 1.2.3.4, 10.0.0.2")], ("1.2.3.4", false, ""));
        check(&[(for_, "9.9.9.9"), (for_, "1.2.3.4"), (for_, "10.0.0.2")], ("1.2.3.4", false, ""));
        check(&[(for_, "10.0.0.3, 10.0.0.2")], ("10.0.0.3", false, ""));
        check(&[(for_, "rubbish, 10.0.0.2")], ("10.0.0.2", false, ""));
        check(&[(for_, "1.2.3.4:99")], ("1.2.3.4", false, ""));
        check(&[(for_, "[2001:db8::1]:99")], ("2001:db8::1", false, ""));
        check(&[(for_, "2001:db8::1")], ("2001:db8::1", false, ""));
        let (proto, host) = ("x-forwarded-proto", "x-forwarded-host");
        check(&[(proto, "https"), (host, "a.example")], ("", true, "a.example"));
        check(&[(proto, "HTTPS")], ("", true, ""));
        check(&[(proto, "https, http")], ("", false, ""));
        check(&[(for_, "1.2.3.4, 10.0.0.2"), (proto, "https, http")], ("1.2.3.4", true, ""));
        check(&[(for_, "1.2.3.4, 10.0.0.2"), (proto, "https")], ("1.2.3.4", true, ""));
        check(&[("forwarded", "for=1.2.3.4;proto=https")], ("", false, ""));
    }

    #[test]
    fn the_standard_header_is_read_in_the_same_way() {
        let check = |line, expected| {
            check(Forwarding::Forwarded, &[("forwarded", line)], expected);
        };
        check("for=1.2.3.4;proto=https;host=a.example", ("1.2.3.4", true, "a.example"));
        check("For=\"[2001:db8::1]:99\" ; Proto=http", ("2001:db8::1", false, ""));
        check("for=9.9.9.9;proto=https, for=1.2.3.4", ("1.2.3.4", false, ""));
        check("for=1.2.3.4;proto=https, for=10.0.0.2;proto=http", ("1.2.3.4", true, ""));
        check("for=1.2.3.4, for=unknown", ("", false, ""));
        check("for=_hidden, for=10.0.0.2", ("10.0.0.2", false, ""));
        check("for=\"9.9.9.9, for=8.8.8.8\", for=1.2.3.4", ("1.2.3.4", false, ""));
        check("by=\"a\\\"b,c\";for=1.2.3.4", ("1.2.3.4", false, ""));
        check("nonsense", ("", false, ""));
    }
}
