//! Headers that tell the browser to be careful.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue};

use crate::site::Site;

/// Adds the security headers the settings ask for. What a view has set itself stays.
pub async fn security(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let settings = &site.settings().security;
    let nosniff = if settings.content_type_nosniff { "nosniff" } else { "" };
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    let wanted = [
        (X_FRAME_OPTIONS, settings.x_frame_options.as_str()),
        (X_CONTENT_TYPE_OPTIONS, nosniff),
        (REFERRER_POLICY, settings.referrer_policy.as_str()),
        (opener, settings.cross_origin_opener_policy.as_str()),
    ];
    for (name, value) in wanted {
        if value.is_empty() {
            continue;
        }
        match HeaderValue::from_str(value) {
            Ok(value) => drop(response.headers_mut().entry(name).or_insert(value)),
            Err(_) => tracing::error!(%name, "a security header's setting cannot be a header"),
        }
    }
    response
}
