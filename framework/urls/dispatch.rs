//! From the request's path to the view: found first, called last.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::{Matched, Resolver};
use crate::error::Error;
use crate::site::Site;

/// The outermost word on URLs: looks the path up and leaves the [`Matched`] line and the
/// [`Resolver`] in the extensions, for every middleware to ask.
pub async fn resolve(
    State(resolver): State<Resolver>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(matched) = resolver.resolve(request.uri().path()) {
        request.extensions_mut().insert(matched);
    }
    request.extensions_mut().insert(resolver);
    next.run(request).await
}

/// The innermost service: calls the view of the line that [`resolve`] found, or answers 404.
pub async fn dispatch(State(site): State<Site>, request: Request) -> Response {
    match request.extensions().get::<Matched>().cloned() {
        Some(matched) => matched.call(request, site).await,
        None => Error::status(StatusCode::NOT_FOUND, "no URL matches").into_response(),
    }
}
