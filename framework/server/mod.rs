//! `pulse`: arbiter, store, workers.

mod handler;
mod log;

pub use handler::handler;
pub use log::start_log;
