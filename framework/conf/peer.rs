//! Who may be a proxy: addresses and networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who may connect as a proxy: an address (`10.0.0.7`), a network (`10.0.0.0/8`, `fd00::/8`), or
/// `unix`, whoever comes through a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Addresses that begin like this one, for so many bits.
    Network(IpAddr, u8),
    /// Whoever has no address.
    Unix,
}

impl Peer {
    /// Whether `address` is one of these; `None` is that of a unix socket.
    #[must_use]
    pub fn is(self, address: Option<IpAddr>) -> bool {
        match (self, address.map(|address| address.to_canonical())) {
            (Self::Unix, None) => true,
            (Self::Network(IpAddr::V4(network), bits), Some(IpAddr::V4(address))) => {
                let differ = network.to_bits() ^ address.to_bits();
                bits == 0 || differ >> (32 - u32::from(bits)) == 0
            }
            (Self::Network(IpAddr::V6(network), bits), Some(IpAddr::V6(address))) => {
                let differ = network.to_bits() ^ address.to_bits();
                bits == 0 || differ >> (128 - u32::from(bits)) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let wrong = || format!("{text:?} is no address, network (10.0.0.0/8) or `unix`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self::Network(address, bits)) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn a_network_has_what_begins_like_it() {
        let check = |peer: &str, address: &str, expected| {
            let peer: Peer = peer.parse().unwrap();
            assert_eq!(peer.is(address.parse().ok()), expected, "{peer} {address}");
        };
        check("10.0.0.0/8", "10.200.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.7", "10.0.0.7", true);
        check("10.0.0.7", "10.0.0.8", false);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("0.0.0.0/0", "::1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe80::1", false);
        check("::/0", "::1", true);
        check("unix", "", true);
        check("unix", "127.0.0.1", false);
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/-1", "example.com", "10.0.0.0/8/8", "Unix"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }
}
