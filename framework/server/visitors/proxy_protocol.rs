//! The PROXY protocol, versions 1 and 2: a proxy that passes bytes on says first whose they are.
//!
//! Whoever is listed in `server.proxy_protocol` has to send it, and from nobody else is it taken:
//! the specification forbids to guess (haproxy's `proxy-protocol.txt`, §2).

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1, bytes, with its end.
const LINE_BYTES_MAX: usize = 107;

/// Most that version 2 may say, bytes: addresses, and what we do not read.
const SAID_BYTES_MAX: usize = 4096;

/// Reads it and no byte more; who is connected to the proxy, unless that is the proxy itself.
pub(in crate::server) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>> {
    let mut begun = [0; SIGNATURE.len()];
    stream.read_exact(&mut begun).await?;
    if begun == *SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length > SAID_BYTES_MAX {
            return Err(broken());
        }
        let mut said = vec![0; length];
        stream.read_exact(&mut said).await?;
        return version_2(head[0], head[1], &said);
    }
    let mut line = begun.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX || !line.starts_with(b"PROXY ") {
            return Err(broken());
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| broken())?;
    version_1(line.trim_end_matches("\r\n"))
}

fn broken() -> Error {
    Error::new(ErrorKind::InvalidData, "no PROXY protocol")
}

fn version_1(line: &str) -> Result<Option<SocketAddr>> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let source: IpAddr = source.parse().map_err(|_| broken())?;
            let port = port.parse().map_err(|_| broken())?;
            if source.is_ipv4() == (*family == "TCP4") {
                Ok(Some(SocketAddr::new(source, port)))
            } else {
                Err(broken())
            }
        }
        _ => Err(broken()),
    }
}

fn version_2(version: u8, family: u8, said: &[u8]) -> Result<Option<SocketAddr>> {
    match version {
        // LOCAL: the proxy speaks for itself.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(broken()),
    }
    match family >> 4 {
        1 => {
            let (source, rest) = said.split_first_chunk::<4>().ok_or_else(broken)?;
            let port = rest.get(4..6).ok_or_else(broken)?;
            let port = u16::from_be_bytes([port[0], port[1]]);
            Ok(Some(SocketAddr::new(Ipv4Addr::from(*source).into(), port)))
        }
        2 => {
            let (source, rest) = said.split_first_chunk::<16>().ok_or_else(broken)?;
            let port = rest.get(16..18).ok_or_else(broken)?;
            let port = u16::from_be_bytes([port[0], port[1]]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port)))
        }
        // A unix socket, or nothing said.
        0 | 3 => Ok(None),
        _ => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: std::result::Result<Option<&str>, ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let read = runtime.block_on(read(&mut rest));
        let expected = expected.map(|address| address.map(|text| text.parse().unwrap()));
        assert_eq!(read.map_err(drop), expected, "{bytes:?}");
        if expected.is_ok() {
            assert_eq!(rest, b"GET", "it reads what is its own");
        }
    }

    #[test]
    fn version_1_is_one_line() {
        check(b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\nGET", Ok(Some("1.2.3.4:1000")));
        check(b"PROXY TCP6 2001:db8::1 ::1 1000 80\r\nGET", Ok(Some("[2001:db8::1]:1000")));
        check(b"PROXY UNKNOWN\r\nGET", Ok(None));
        check(b"PROXY UNKNOWN ff:: ff:: 1 2\r\nGET", Ok(None));
        check(b"PROXY TCP4 ::1 ::1 1000 80\r\nGET", Err(()));
        check(b"PROXY TCP4 1.2.3.4 5.6.7.8 x 80\r\nGET", Err(()));
        check(b"PROXY TCP4 1.2.3.4\r\nGET", Err(()));
        check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Err(()));
        check(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat(), Err(()));
        check(b"PROXY TCP4 1.2", Err(()));
    }

    #[test]
    fn version_2_is_binary() {
        let message = |version, family, said: &[u8]| {
            let length = u16::try_from(said.len()).unwrap().to_be_bytes();
            [SIGNATURE.as_slice(), &[version, family], &length, said, b"GET"].concat()
        };
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 3, 232, 0, 80];
        check(&message(0x21, 0x11, &v4), Ok(Some("1.2.3.4:1000")));
        check(
            &message(0x21, 0x11, &[v4.as_slice(), &[3, 0, 1, 9]].concat()),
            Ok(Some("1.2.3.4:1000")),
        );
        let v6 = [[0; 16], [0; 16]].concat();
        check(
            &message(0x21, 0x21, &[v6.as_slice(), &[3, 232, 0, 80]].concat()),
            Ok(Some("[::]:1000")),
        );
        check(&message(0x20, 0, &[]), Ok(None));
        check(&message(0x21, 0x31, &[0; 216]), Ok(None));
        check(&message(0x21, 0x11, &[1, 2, 3]), Err(()));
        check(&message(0x11, 0x11, &v4), Err(()));
        check(&message(0x21, 0x11, &[0; 5000]), Err(()));
    }
}
