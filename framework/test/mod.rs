//! What a site's tests use: a site of their own, a browser without a window, a WebSocket.
//!
//! Flow: [`TestSite::new`] makes a database, migrates it and opens the project on it →
//! [`TestSite::client`] walks requests through `server::handler`, the very list of layers that
//! serves the world → [`Client::socket`] connects to the same in memory. Named channels are read as
//! in a server.
//!
//! Invariants:
//! - Sites share nothing: any number run side by side in one process.
//! - A test that expected something else fails with what came instead, in words.

mod answer;
mod client;
mod jar;
mod listener;
mod queries;
mod site;
mod socket;

pub use answer::Answer;
pub use client::{Call, Client};
pub use queries::assert_queries;
pub use site::TestSite;
pub use socket::SocketClient;
