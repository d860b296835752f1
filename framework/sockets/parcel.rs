//! A connection as one process hands it to another: everything but its descriptor.
//!
//! The two may be builds of different days: a field that is missing has its default, and what would
//! be misunderstood all the same changes [`FORMAT`].

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use super::frames::Parser;
use super::handoff::Packed;
use super::slot::Silence;
use super::upgrade::Vouched;
use crate::channels::{Marked, Stake, blob};
use crate::error::{Error, Result};
use crate::http::{Beside, Proxied, Request, Secure};
use crate::middleware::RequestId;
use crate::site::Site;

/// What giver and taker must agree on.
const FORMAT: u32 = 2;
/// Longest one, bytes: what a client has said of a message travels too.
pub(crate) const PARCEL_BYTES_MAX: usize = 256 * 1024;

/// A connection without its descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    format: u32,
    uri: String,
    /// A line each, as in HTTP/1.1.
    #[serde(with = "blob")]
    headers: Vec<u8>,
    address: Option<SocketAddr>,
    #[serde(default)]
    marks: Vec<Mark>,
    request_id: Option<String>,
    /// The session, as the server knows it.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// The type of its consumer: another one would not know what its groups are for.
    pub(super) consumer: String,
    pub(super) handoff: Packed,
    #[serde(default)]
    pub(super) is_deflated: bool,
    /// How long its client has been silent.
    #[serde(default)]
    pub(super) silence: Silence,
    /// Read, and not looked at.
    #[serde(default, with = "blob")]
    pub(super) rest: Vec<u8>,
    /// What there is of a frame or a message.
    pub(super) parser: Option<Box<Parser>>,
    #[serde(default)]
    pub(super) stakes: Vec<Stake>,
    /// On whose word it is.
    #[serde(default)]
    pub(super) marked: Marked,
}

/// What the server knows of a request beside its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Secure,
    Proxied,
    Vouched,
}

/// What a connection is beside its request.
pub(super) struct Luggage<'a> {
    pub(super) consumer: &'a str,
    pub(super) handoff: Packed,
    pub(super) is_deflated: bool,
    pub(super) silence: Silence,
    pub(super) rest: &'a [u8],
    pub(super) parser: Option<&'a Parser>,
    pub(super) stakes: Vec<Stake>,
    pub(super) marked: Marked,
}

impl Parcel {
    /// A connection; `None` if something of its request would be lost: what a layer of the site
    /// has put beside it.
    pub(super) fn pack(request: &Request, luggage: Luggage<'_>) -> Option<Self> {
        let address = request.extension::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let marks = [
            request.extension::<Secure>().map(|_| Mark::Secure),
            request.extension::<Proxied>().map(|_| Mark::Proxied),
            request.extension::<Vouched>().map(|_| Mark::Vouched),
        ];
        let marks: Vec<Mark> = marks.into_iter().flatten().collect();
        let request_id = request.extension::<RequestId>().map(|id| id.0.to_string());
        if request.extension_count() != marks.len() {
            return None;
        }
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.push(b':');
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        Some(Self {
            format: FORMAT,
            uri: request.uri().to_string(),
            headers,
            address,
            marks,
            request_id,
            session: None,
            consumer: luggage.consumer.to_owned(),
            handoff: luggage.handoff,
            is_deflated: luggage.is_deflated,
            silence: luggage.silence,
            rest: luggage.rest.to_vec(),
            parser: luggage.parser.cloned().map(Box::new),
            stakes: luggage.stakes,
            marked: luggage.marked,
        })
    }

    /// As bytes; `None` if they are too many.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(self).ok()?;
        (bytes.len() <= PARCEL_BYTES_MAX).then_some(bytes)
    }

    /// From bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let parcel: Self = serde_json::from_slice(bytes)?;
        let is_sound = parcel.parser.as_ref().is_none_or(|parser| parser.is_sound());
        if parcel.format != FORMAT || !is_sound {
            return Err(Error::new(format!("a connection of format {}", parcel.format)));
        }
        Ok(parcel)
    }

    /// The address that counts against how many connections one may have.
    pub(crate) fn counted_address(&self) -> Option<SocketAddr> {
        self.address.filter(|_| !self.marks.contains(&Mark::Proxied))
    }

    /// What stood beside the request, but for `beside`, which the server gives.
    pub(super) fn extensions(&self, beside: Beside) -> Extensions {
        if let Some(id) = &self.request_id {
            beside.state(RequestId(id.as_str().into()));
        }
        let mut extensions = Extensions::new();
        extensions.insert(beside);
        for mark in &self.marks {
            match mark {
                Mark::Secure => drop(extensions.insert(Secure)),
                Mark::Proxied => drop(extensions.insert(Proxied)),
                Mark::Vouched => drop(extensions.insert(Vouched)),
            }
        }
        if let Some(address) = self.address {
            extensions.insert(ConnectInfo(address));
        }
        extensions
    }

    /// The target of the request.
    pub(super) fn uri(&self) -> Result<Uri> {
        self.uri.parse().map_err(|_| Error::new(format!("no target: {:?}", self.uri)))
    }

    /// The request as it was.
    pub(super) fn request(&self, site: Site, extensions: Extensions) -> Result<Request> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.uri = self.uri()?;
        parts.headers = self.headers()?;
        parts.extensions = extensions;
        Ok(Request::packed(site, parts))
    }

    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for line in self.headers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let name = HeaderName::from_bytes(name).map_err(|_| Error::new("no header"))?;
            let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
            headers.append(name, value.map_err(|_| Error::new("no header's value"))?);
        }
        Ok(headers)
    }
}
