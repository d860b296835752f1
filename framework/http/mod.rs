//! Requests and responses; the only place where an error becomes a status.
//!
//! Flow: `urls` matched → axum extracts [`Request`] → view → [`render`] → `middleware/errors`.

mod request;

pub use axum::response::Response;
pub use request::Request;

use axum::http;

use crate::error::{Error, Kind, Result};

/// Renders the template `name` into a 200 `text/html; charset=utf-8` answer.
///
/// # Errors
/// The template is missing or wrong.
pub fn render(request: &Request, name: &str, context: tera::Context) -> Result<Response> {
    let _ = (request, context);
    todo!("{name}")
}

impl Error {
    /// An answer of this status; `message` is shown in debug only.
    pub fn status(status: http::StatusCode, message: impl Into<String>) -> Self {
        Self::of(Kind::Status(status.as_u16()), message)
    }
}
