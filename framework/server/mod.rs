//! `pulse`: arbiter, store, workers.

mod log;

pub use log::start_log;
