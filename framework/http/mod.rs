//! Requests and responses; the only place where an error becomes a status.
//!
//! Flow: `urls` matched → axum extracts [`Request`] → view → [`render`] → `middleware/errors`.

mod answer;
mod path;
mod request;

pub use axum::response::Response;
pub use path::{Captured, Path};
pub use request::Request;

use crate::error::Result;

/// Renders the template `name` into a 200 `text/html; charset=utf-8` answer.
///
/// # Errors
/// The template is missing or wrong.
pub fn render(request: &Request, name: &str, context: tera::Context) -> Result<Response> {
    let _ = (request, context);
    todo!("{name}")
}
