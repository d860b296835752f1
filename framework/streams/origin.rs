//! Whose page asks: its Origin, and what a browser of another site may read of the answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};

use crate::http::{Request, vary};
use crate::middleware::is_allowed_origin;

/// How long a browser may remember the answer to its preflight, seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// What the page that asks may do.
#[derive(Clone, Debug)]
pub(super) enum Page {
    /// A page of this site, or no page.
    Own,
    /// A page of another site that is trusted; or of any, because a ticket says who asks.
    Other { origin: HeaderValue, with_cookies: bool },
}

/// Whether what sends `request` may ask. `None`: a page that is neither of this site nor trusted,
/// and would ask with its visitor's cookies.
pub(super) fn page(request: &Request, is_ticketed: bool) -> Option<Page> {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Some(Page::Own) };
    let text = origin.to_str().unwrap_or_default();
    let is_allowed = origins.next().is_none() && is_allowed_origin(request, text);
    if is_allowed || is_ticketed {
        return Some(Page::Other { origin: origin.clone(), with_cookies: is_allowed });
    }
    tracing::warn!(
        origin = text,
        host = request.host(),
        path = request.path(),
        "refused a stream: its Origin is neither this site nor in csrf.trusted_origins"
    );
    None
}

impl Page {
    /// Lets the page read `response`.
    pub(super) fn admit(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Self::Other { origin, with_cookies } = self {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if with_cookies {
                let yes = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
            vary(headers, "Origin");
        }
        response
    }
}

/// The answer to a browser that asks whether it may send JSON here.
pub(super) fn preflight() -> Response {
    let headers = [
        (header::ALLOW, HeaderValue::from_static("GET, POST, OPTIONS")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type, last-event-id"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The answer to a method that is none of ours.
pub(super) fn other_method(method: &Method) -> Response {
    let allowed = [(header::ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"))];
    (StatusCode::METHOD_NOT_ALLOWED, allowed, format!("{method} is not answered here\n"))
        .into_response()
}
