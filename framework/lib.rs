#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(unused, unreachable_code, reason = "what only another database needs; tests have all")
)]
// The README's code needs `hulse-manage` too, so `hulse-tests` compiles it.

// The derives name this crate; its own models use them too.
extern crate self as hulse;

pub mod error;

pub mod conf;
pub mod signing;

pub mod signals;

pub mod channels;
pub mod db;
pub mod template;

pub mod site;

pub mod mail;
pub mod models;

pub mod fixtures;
pub mod http;
pub mod migrations;

pub mod blocking;
pub mod forms;
pub mod middleware;
pub mod services;
pub mod sockets;
pub mod urls;

pub mod apps;

pub mod contrib;

pub mod streams;

pub mod server;

pub mod test;

pub mod prelude;

pub use apps::{App, Project};
pub use error::{Error, Result};
pub use site::Site;
