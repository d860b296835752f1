//! A panicking view costs its own request only.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::error::Error;

/// The answer of `inside`, or of its panic the error that says so: the visitor gets a 500 and the
/// process goes on.
///
/// No `async fn`: that would hold `inside` twice, and all that is around it twice again.
pub fn caught<F>(inside: F) -> impl Future<Output = Response> + Send + use<F>
where
    F: Future<Output = Response> + Send,
{
    // What a panic leaves half done is the request's own; everything shared recovers from a
    // poisoned lock or holds none.
    AssertUnwindSafe(inside).catch_unwind().map(|answered| match answered {
        Ok(response) => response,
        Err(payload) => {
            Error::new(format!("the view panicked: {}", words(&*payload))).into_response()
        }
    })
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
