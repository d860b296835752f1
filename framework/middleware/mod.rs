//! The pieces of the ordered stack; `server/handler` puts them in order.
//!
//! Flow: a request passes [`caught`] → [`Logged`] → [`hosts`] → [`Security`] (to https) → [`csrf`]
//! → [`Throttle`] → its view; the answer [`errors`] → [`csrf`] → [`Slashed`] → [`errors`] again →
//! [`Security`].
//!
//! Invariants:
//! - Each piece is what it does on the way in, on the way out, or both: plain functions of what
//!   they need. None boxes a future or copies the request.
//! - A piece refuses with an `Error`; [`errors`] alone turns it into a page.
//! - Outside debug no page tells more than its status.

mod csp;
pub mod csrf;
mod debug_page;
mod errors;
mod headers;
mod hosts;
mod log;
mod origin;
mod panic;
mod request_values;
mod slash;
mod throttle;

pub use errors::errors;
pub use headers::Security;
pub use hosts::{hosts, is_allowed_host};
pub(crate) use log::Logged;
pub use log::RequestId;
pub use origin::is_allowed_origin;
pub use panic::caught;
pub use request_values::request_values;
pub use slash::Slashed;
pub use throttle::Throttle;
pub(crate) use throttle::{
    Said, address_of, admit, ask, bounded_address_of, count, counter, forget,
};
