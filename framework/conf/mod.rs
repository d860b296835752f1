//! Typed settings: files, environment and flags, checked before anything runs.
//!
//! Flow: `load` finds `settings.toml` → reads it, then `settings.<env>.toml` → lays the environment
//! and the flags over it → one [`tree`] whose every leaf knows where it came from → `read` makes
//! [`Settings`] and the apps' [`Sections`] of it → `check` looks at values that do not fit
//! together. A server hands them to its workers as they are in force (`frozen`).
//!
//! Invariants:
//! - The only room that reads the environment.
//! - Nothing is silently ignored: an unknown key is an error that names the nearest known one.
//! - An error says where the value was written. No secret is ever shown.

mod check;
pub mod csp;
mod environment;
mod file;
mod frozen;
mod load;
mod mail;
mod nearest;
mod peer;
mod read;
mod report;
mod sections;
mod security;
mod server;
mod service;
mod settings;
mod superuser;
#[cfg(test)]
mod tests;
mod tree;

pub use chrono_tz::Tz;
pub use csp::ContentPolicy;
pub use load::{Override, Sources, load};
pub use mail::{Mail, MailBackend, MailSecurity};
pub use nearest::nearest;
pub use peer::Peer;
pub use sections::{Section, Sections};
pub use security::Security;
pub use server::{Forwarding, Log, Server};
pub use settings::{
    Auth, Capacities, Channels, Csrf, Databases, FetchMode, Http, SameSite, Secret, SessionEngine,
    Sessions, Settings, StaticFiles, StoreUrl,
};
pub use superuser::{Superuser, login_name};
pub use tree::Origin;

pub(crate) use environment::setting_variables;
pub(crate) use frozen::thaw;
pub(crate) use service::{SERVICE_VARIABLES, ServiceManager};

use crate::error::{Error, Kind};

impl Error {
    /// A setting is unknown, of the wrong type, missing, or does not fit the others.
    ///
    /// If you see this, the message names the file and line, variable or flag to change.
    #[must_use]
    pub fn is_settings(&self) -> bool {
        self.kind() == Kind::Settings
    }
}
