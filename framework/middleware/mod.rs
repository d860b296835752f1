//! The pieces of the ordered stack; `server/handler` puts them in order.
//!
//! Flow: a request passes [`catch_panic`] → [`log`] → [`errors`] → [`security`] → [`hosts`] →
//! [`slash`] → [`csrf`] → [`errors`] again → its view; the answer passes them backwards.
//!
//! Invariants:
//! - Each piece is one async function of site, request and what comes next.
//! - A piece refuses with an `Error`; [`errors`] alone turns it into a page.
//! - Outside debug no page tells more than its status.

mod csrf;
mod debug_page;
mod errors;
mod headers;
mod hosts;
mod log;
mod origin;
mod panic;
mod request_values;
mod slash;

pub use csrf::csrf;
pub use errors::errors;
pub use headers::security;
pub use hosts::{hosts, is_allowed_host};
pub use log::{RequestId, log};
pub use origin::is_allowed_origin;
pub use panic::catch_panic;
pub use request_values::request_values;
pub use slash::slash;
