//! Typed settings: files, environment and flags, checked before anything runs.
//!
//! Flow: `load` finds `settings.toml` → reads it, then `settings.<env>.toml` → lays the environment
//! and the flags over it → one tree whose every leaf knows where it came from → [`Settings`].
//!
//! Invariants:
//! - The only room that reads the environment.
//! - Nothing is silently ignored: an unknown key is an error that names the nearest known one.

mod settings;

pub use settings::{
    Auth, Channels, Csrf, Databases, Http, Log, Secret, Security, Server, Sessions, Settings,
    StaticFiles,
};
