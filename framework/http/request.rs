//! The request as a view sees it.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};

use crate::site::Site;

/// A request without its body: method, URL, headers, what the middleware put beside it, and the
/// site it derefs to. A cheap clone. A WebSocket keeps the one of its handshake.
#[derive(Clone, Debug)]
pub struct Request {
    site: Site,
    head: Arc<Head>,
}

#[derive(Debug)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
}

impl Request {
    /// The request these parts belong to.
    #[must_use]
    pub fn new(site: Site, parts: &Parts) -> Self {
        let head = Head {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            extensions: parts.extensions.clone(),
        };
        Self { site, head: Arc::new(head) }
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
        &self.head.headers
    }

    /// A header as text; `None` if it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// What a middleware left beside the request: its session, its user, its captured path.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.head.extensions.get()
    }
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
        Ok(Self::new(site.clone(), parts))
    }
}
