//! In one process: one file per room.

#![expect(clippy::unwrap_used, reason = "a test may unwrap, in its helpers too")]
#![expect(clippy::cognitive_complexity, reason = "an assertion counts as a branch")]

mod accounts;
mod atomic;
mod auth;
mod blocking;
mod cancellation;
mod channels;
mod csp;
mod csrf;
mod db;
mod fixtures;
mod hostile;
mod http;
mod inspectdb;
mod middleware;
mod migrations;
mod models;
mod publish;
mod revocation;
mod security;
mod services;
mod session_engines;
mod sessions;
mod signing;
mod site;
mod sockets;
mod staticfiles;
mod streaming;
mod streams;
mod template;
mod testing;
mod throttle;
mod urls;
mod virtual_time;
