//! Users: who they are, how they sign in and out.
//!
//! Flow: `POST login/` → `views` → [`authenticate`] (hash compared on a bounded pool) → [`login`]
//! writes id and password hash into a fresh session → every later request: [`Request::user`] reads
//! the session, loads the user, compares the hash.
//!
//! Invariants:
//! - A visitor without a session cookie costs no query; somebody signed in costs two, once.
//! - A session ends when its user's password changes or the account is closed.
//! - Answers tell nothing about which names exist, neither in words nor in time.
//! - HTTP and WebSocket ask the same way: `request.user()`, `socket.request().user()`.

mod current;
mod hashing;
mod login;
pub mod models;
mod passwords;
mod required;
mod urls;
mod validators;
mod views;

pub use current::{CurrentUser, afresh};
pub(crate) use login::session_of;
pub use login::{authenticate, login, logout};
pub use models::User;
pub use passwords::PASSWORD_BYTES_MAX;
pub use required::{LoginRequired, login_required, redirect_to_login};
pub use urls::urls;
pub use validators::validate_password;

use crate::apps::App as Install;
use crate::http::{Processor, Request};
use crate::models::{Meta, Model};
use crate::template::Value;

/// The app to install: it brings the table, and `user` for templates.
#[derive(Clone, Copy, Debug)]
pub struct App;

impl Install for App {
    fn label(&self) -> &'static str {
        "auth"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![User::meta()]
    }

    fn context(&self) -> Vec<Processor> {
        let user = async |request: Request| Ok(Value::from_serializable(&request.user().await?));
        vec![Processor::new("user", user)]
    }
}

#[cfg(test)]
mod tests;
