//! What the tests share.

#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    reason = "what serves only tests fails by panicking and says what it skips"
)]

mod browser;
mod databases;
mod holder;
mod postgres;
mod process;
mod promised;
mod redis;
mod visitor;
mod wire;

pub use browser::{Browser, Screen, Window};
pub use databases::{TestDatabase, databases};
pub use holder::Holder;
pub use postgres::PostgresServer;
pub use process::{Program, Pulse, Surroundings, site_command, site_folder, site_folder_of};
pub use promised::promised;
pub use redis::{Network, RedisServer, redis_servers};
pub use visitor::{Answer, Visitor, VisitorSocket};
pub use wire::{Reply, Wire};

/// The README's code, so that `cargo test` compiles it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
