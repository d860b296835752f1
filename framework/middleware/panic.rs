//! A panicking view costs its own request only.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::error::Error;

/// The answer of `inside`, or of its panic the error that says so: the visitor gets a 500 and the
/// process goes on.
pub async fn caught(inside: impl Future<Output = Response> + Send) -> Response {
    // What a panic leaves half done is the request's own; everything shared recovers from a
    // poisoned lock or holds none.
    match AssertUnwindSafe(inside).catch_unwind().await {
        Ok(response) => response,
        Err(payload) => {
            Error::new(format!("the view panicked: {}", words(&*payload))).into_response()
        }
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
