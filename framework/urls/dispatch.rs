//! The innermost service: from the line of the table to its view.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Matched;
use crate::error::Error;
use crate::http::fact;
use crate::site::Site;

/// Calls the view of the line that was found for the request, or answers 404.
pub(crate) async fn dispatch(site: Site, request: axum::extract::Request) -> Response {
    match fact::<Matched>(request.extensions()).map(Matched::view) {
        Some(view) => view(request, site).await,
        None => Error::status(StatusCode::NOT_FOUND, "no URL matches").into_response(),
    }
}
