//! Whose a request is, as far as its address tells.

use std::net::IpAddr;

use crate::conf::Server;

/// What one customer has: an address; of IPv6 a network of 64 bits.
pub(crate) fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// The [`network`] of who may be bounded without a word of the site's: not this machine and, while
/// no proxies are listed, none of its neighbours. Such a one may be a proxy nobody told us of,
/// whose visitors are many.
pub(crate) fn bounded_network(server: &Server, address: Option<IpAddr>) -> Option<String> {
    let knows_proxies = !(server.proxy_headers.is_empty() && server.proxy_protocol.is_empty());
    let is_one =
        |address: &IpAddr| !address.is_loopback() && (knows_proxies || !is_neighbour(*address));
    address.filter(is_one).map(network)
}

/// Whether it is of a network that is not the Internet.
fn is_neighbour(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // The last: between a provider and its customers, and inside of clouds (RFC 6598).
            let [a, b, ..] = address.octets();
            address.is_private() || address.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::{bounded_network, network};
    use crate::conf::Server;

    #[test]
    fn addresses_are_counted_by_customer() {
        for (address, counted) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "0:0:0:0::/64"),
        ] {
            assert_eq!(network(address.parse().unwrap()), counted);
        }
    }

    #[test]
    fn a_neighbour_is_bounded_only_where_proxies_are_listed() {
        let (none, mut listed) = (Server::default(), Server::default());
        listed.proxy_headers.push("10.0.0.1".parse().unwrap());
        let is_bounded = |server: &Server, address: &str| {
            bounded_network(server, Some(address.parse().unwrap())).is_some()
        };
        for address in ["10.0.0.2", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1"] {
            assert!(!is_bounded(&none, address), "{address}");
            assert!(is_bounded(&listed, address), "{address}");
        }
        for address in ["203.0.113.7", "100.128.0.1", "2001:db8::1"] {
            assert!(is_bounded(&none, address), "{address}");
        }
        for address in ["127.0.0.1", "::1"] {
            assert!(!is_bounded(&listed, address), "{address}");
        }
        assert_eq!(bounded_network(&none, None), None);
    }
}
