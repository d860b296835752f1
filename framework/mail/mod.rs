//! Mail: written, checked, sent once the transaction has committed.
//!
//! Flow: [`Message`] → [`Site::send_mail`] writes it out (`compose`) → the commit → the backend of
//! the settings (`post`): SMTP, the console, files, the outbox of a test, nowhere.
//!
//! Invariants:
//! - A line end in anything that becomes a header is an error before anything is sent.
//! - A connection that should be encrypted and cannot be is given up; nothing is sent in the clear.
//! - Knows no HTTP, no user and no table.

mod compose;
mod message;
mod post;
mod send;
mod smtp;
#[cfg(test)]
mod tests;

pub use message::{Attachment, Message};

use crate::error::{Error, Kind};

impl Error {
    /// A mail cannot be written or sent.
    ///
    /// If you see this, the message says which of its headers is wrong, or what the server said.
    #[must_use]
    pub fn is_mail(&self) -> bool {
        self.kind() == Kind::Mail
    }
}
