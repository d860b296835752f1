//! Requests and responses; the only place where an error becomes a status.
//!
//! Flow: `urls` matched → axum extracts [`Request`] → view → [`render`] → `middleware/errors`.
//!
//! Invariants:
//! - A status is decided in `answer.rs` and nowhere else.
//! - What a template sees of the request is computed only if the template uses it.

mod answer;
mod beside;
mod cookies;
mod form;
mod gathered;
mod headers;
mod marks;
mod named;
mod packed;
mod path;
mod place;
mod processors;
mod redirect;
mod request;
mod room;
mod shortcuts;
#[cfg(test)]
mod tests;
mod visitor;

pub use axum::extract::{Json, Query};
pub use axum::response::{IntoResponse, Response};
pub use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

pub(crate) use answer::too_large;
pub use answer::{PageName, bad_request, not_found, permission_denied, too_many_requests};
pub(crate) use beside::{Beside, fact};
pub use cookies::SetCookie;
pub use form::{Form, pairs};
pub(crate) use form::{boundary, check_field_count, check_length, next_data};
pub(crate) use gathered::Gathered;
pub use headers::vary;
pub use marks::{Marker, Markers, Reading};
pub(crate) use marks::{is_still, mark, mark_again};
pub(crate) use named::{Carried, Named};
pub use path::{Captured, Path};
pub(crate) use place::{give_up_place, holding, keep_place};
pub use processors::{Processor, Processors, render, render_to_string};
pub use redirect::{is_safe_next, redirect};
pub use request::{Proxied, Request, Secure};
pub(crate) use request::{Seen, remote_address};
pub(crate) use room::{Held, in_time, whole_form};
pub use shortcuts::{get_list_or_404, get_object_or_404};
pub(crate) use visitor::{bounded_network, network};
