//! The request as a view sees it.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};

use super::beside::Beside;
use super::packed::Headers;
use crate::signing::unsign_cookie;
use crate::site::Site;

/// A request without its body: method, URL, headers, what the middleware put beside it, and the
/// site it derefs to. A cheap clone. A WebSocket keeps the one of its handshake.
#[derive(Clone, Debug)]
pub struct Request {
    site: Site,
    head: Arc<Head>,
}

/// In the extensions of a request that came over https. Whoever ended the encryption puts it there;
/// nothing a client sends does.
#[derive(Clone, Copy, Debug)]
pub struct Secure;

/// In the extensions of a request that came through a proxy that is believed
/// (`server.proxy_headers`).
#[derive(Clone, Copy, Debug)]
pub struct Proxied;

/// In the extensions of a request that is about to reach its view: the very [`Request`] that the
/// view would make of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen(pub(crate) Request);

/// Makes extensions that others are moved into, one by one, instead of taken over as they are.
#[derive(Clone, Debug)]
struct Moved;

#[derive(Clone, Debug)]
struct Head {
    method: Method,
    uri: Uri,
    headers: Headers,
    beside: Option<Beside>,
    /// Beside the extensions: their table would be larger than all that is in it.
    peer: Option<ConnectInfo<SocketAddr>>,
    extensions: Extensions,
}

impl Request {
    /// The request these parts belong to.
    #[must_use]
    pub fn new(site: Site, parts: &Parts) -> Self {
        let beside: Option<Beside> = parts.extensions.get().cloned();
        let peer: Option<ConnectInfo<SocketAddr>> = parts.extensions.get().copied();
        // Nothing else is there of most requests: then no table is copied.
        let known = usize::from(beside.is_some()) + usize::from(peer.is_some());
        let has_more = parts.extensions.len() > known;
        let head = Head {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: Headers::new(parts.headers.clone()),
            beside,
            peer,
            extensions: if has_more { parts.extensions.clone() } else { Extensions::new() },
        };
        Self { site, head: Arc::new(head) }
    }

    /// The request these parts belong to, to be kept for long: nothing of it keeps the bytes it was
    /// read from.
    pub(crate) fn packed(site: Site, mut parts: Parts) -> Self {
        parts.extensions.remove::<OriginalUri>();
        parts.extensions.remove::<Seen>();
        let (beside, peer) = (parts.extensions.remove(), parts.extensions.remove());
        // What it grew to on the way here is twice what is left; only a new one is small.
        let mut extensions = Extensions::new();
        if !parts.extensions.is_empty() {
            extensions.insert(Moved);
            extensions.extend(parts.extensions);
            extensions.remove::<Moved>();
        }
        let head = Head {
            method: parts.method,
            // A target that was parsed is parsed again.
            uri: Uri::try_from(parts.uri.to_string()).unwrap_or(parts.uri),
            headers: Headers::pack(&parts.headers),
            beside,
            peer,
            extensions,
        };
        Self { site, head: Arc::new(head) }
    }

    /// The same request with another place beside it.
    pub(crate) fn with_beside(&self, beside: Beside) -> Self {
        let head = Head { beside: Some(beside), ..Head::clone(&self.head) };
        Self { site: self.site.clone(), head: Arc::new(head) }
    }

    /// The place beside it; `None` for a request that did not come through the stack.
    pub(crate) fn beside(&self) -> Option<&Beside> {
        self.head.beside.as_ref()
    }

    /// What is kept beside it, made by `make` if nobody has asked before.
    pub(crate) fn keep<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Self) -> T,
    ) -> Option<&T> {
        Some(self.beside()?.get(|| make(self)))
    }

    /// Of a packed request: how many values stand beside it that nothing else here tells.
    pub(crate) fn extension_count(&self) -> usize {
        self.head.extensions.len()
    }

    /// The site that answers.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// GET, POST, ..
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The target as the client sent it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The path, percent-encoded as it came.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.head.headers.map()
    }

    /// A header as text; `None` if it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.text(name)
    }

    /// All values of a header that are visible ASCII. Unlike [`Self::headers`] it costs a
    /// connection that lives long no memory.
    pub(crate) fn header_texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.headers.texts(name)
    }

    /// The value of the cookie `name`.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        super::cookies::read(self.header_texts("cookie"), name)
    }

    /// The value of the cookie `name` that [`sign_cookie`](crate::signing::sign_cookie) has made
    /// with this salt, at most `max_age` ago. `None` if there is none, or nobody of this site has
    /// made it.
    #[must_use]
    pub fn signed_cookie(
        &self,
        name: &str,
        salt: &str,
        max_age: Option<Duration>,
    ) -> Option<String> {
        unsign_cookie(self.settings(), name, self.cookie(name)?, salt, max_age).ok()
    }

    /// The first value of `name` in the query, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        let mut pairs = super::pairs(query.as_bytes());
        pairs.find_map(|(known, value)| (known == name).then(|| value.into_owned()))
    }

    /// The path with its query, as it came.
    #[must_use]
    pub fn full_path(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Host and port the client asked for: `example.com:8060`. The allowed hosts are checked
    /// before any view runs.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.head.uri.authority().map(|authority| authority.as_str());
        authority.or_else(|| self.header("host")).unwrap_or("")
    }

    /// Whether it came over https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.extension::<Secure>().is_some()
    }

    /// The visitor's address: that of the connection, or what a trusted proxy says. `None` through
    /// a unix socket, and in tests without a server.
    #[must_use]
    pub fn remote_address(&self) -> Option<IpAddr> {
        let known = self.head.peer.as_ref().map(|ConnectInfo(peer)| peer.ip().to_canonical());
        known.or_else(|| remote_address(&self.head.extensions))
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    /// What a middleware left beside the request: its id, its captured path, what a layer of the
    /// site put into its extensions.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        let peer = || self.head.peer.as_ref().and_then(|peer| (peer as &dyn Any).downcast_ref());
        self.head.extensions.get().or_else(|| self.beside()?.find()).or_else(peer)
    }
}

/// The visitor's address.
pub(crate) fn remote_address(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip().to_canonical())
}

impl Deref for Request {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl FromRequestParts<Site> for Request {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        site: &Site,
    ) -> std::result::Result<Self, Self::Rejection> {
        if let Some(Seen(seen)) = parts.extensions.get()
            && let (Some(seen_beside), Some(beside)) = (seen.beside(), parts.extensions.get())
            && seen_beside.is(beside)
        {
            return Ok(seen.clone());
        }
        Ok(Self::new(site.clone(), parts))
    }
}
