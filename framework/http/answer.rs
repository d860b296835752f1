//! From an error to an answer: the only place where one becomes a status.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::error::{Error, Kind};

/// In an answer's extensions: which of the error templates is meant, when the status alone does
/// not say it (`403_csrf`).
#[derive(Clone, Copy, Debug)]
pub struct PageName(pub &'static str);

impl Error {
    /// An answer of this status; `message` is shown in debug only.
    pub fn status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::of(Kind::Status(status.as_u16()), message)
    }

    /// The status it answers with when a view returns it.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        match self.kind() {
            Kind::Status(status) => {
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Kind::DatabaseUnavailable | Kind::LayerUnavailable | Kind::ChannelFull => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            // The visitor has sent it.
            Kind::BadSignature | Kind::SignatureExpired => StatusCode::BAD_REQUEST,
            Kind::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
            // A row that a view took for granted and that is not there is the site's error, as in
            // Django; `get_object_or_404` makes it the visitor's.
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Error {
    /// It is a refusal, as [`permission_denied`] makes it.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.kind() == Kind::Status(StatusCode::FORBIDDEN.as_u16())
    }

    /// Of a 429, as [`too_many_requests`] makes it: when to come again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind() {
            Kind::TooMany(seconds) => Some(Duration::from_secs(seconds.into())),
            _ => None,
        }
    }
}

/// The bare status as text, with the error itself (`Arc<Error>`) in the extensions:
/// `middleware/errors` makes a page of it.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let words = status.canonical_reason().unwrap_or("Error");
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (status, plain, format!("{words}\n")).into_response();
        if let Kind::TooMany(seconds) = self.kind() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// 404, as `?` in a view gives it: `Err(not_found("no such poll"))?`. The words are shown in debug
/// only.
pub fn not_found(message: impl Into<String>) -> Error {
    Error::status(StatusCode::NOT_FOUND, message)
}

/// 429, with `Retry-After`: whole seconds, rounded up, one at least.
pub fn too_many_requests(wait: Duration) -> Error {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Error::of(Kind::TooMany(seconds), format!("too many requests: again in {seconds} s"))
}

/// 403.
pub fn permission_denied(message: impl Into<String>) -> Error {
    Error::status(StatusCode::FORBIDDEN, message)
}

/// 400.
pub fn bad_request(message: impl Into<String>) -> Error {
    Error::status(StatusCode::BAD_REQUEST, message)
}

/// 413: more than `limit` bytes came.
pub(crate) fn too_large(limit: usize) -> Error {
    let words = format!("the form is larger than http.data_upload_max_memory_size, {limit} bytes");
    Error::status(StatusCode::PAYLOAD_TOO_LARGE, words)
}
