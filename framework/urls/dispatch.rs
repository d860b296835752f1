//! The innermost service: from the line of the table to its view.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Matched;
use crate::error::Error;
use crate::http::Request;

/// Calls the view of the line that was found for the request, or answers 404. `seen` is the request
/// as the view will see it.
pub(crate) async fn dispatch(seen: &Request, request: axum::extract::Request) -> Response {
    match seen.beside().and_then(|beside| beside.find::<Matched>()) {
        Some(matched) => matched.view()(request, seen.site().clone()).await,
        None => Error::status(StatusCode::NOT_FOUND, "no URL matches").into_response(),
    }
}
