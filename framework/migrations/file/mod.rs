//! A migration as a file: TOML that a person likes to read and may edit.
//!
//! ```toml
//! dependencies = [["auth", "0001_initial"]]
//!
//! [[operation]]
//! create_model = "Post"
//!
//! [operation.fields]
//! id = { type = "big_auto", primary_key = true }
//! title = { type = "char", max_length = 200 }
//! author = { type = "foreign_key", to = "auth.User", on_delete = "cascade" }
//! ```
//!
//! Flow: text → `read` → [`Migration`]; [`Migration`] → `write` → text. Reading what was written
//! gives the same migration.
//!
//! Invariants:
//! - Nothing is silently ignored: an unknown key is an error with file, line and the nearest key.
//! - What equals the default is not written.

mod model;
mod read;
mod sql;
mod table;
mod words;
mod write;

use std::fmt;

use super::Operation;

pub(super) use read::read;
pub(super) use write::write;

/// A migration by its app and name: `blog.0001_initial`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigrationKey {
    /// Label of the app.
    pub app: String,
    /// Name of the file without `.toml`.
    pub name: String,
}

impl MigrationKey {
    /// The key of `name` in `app`.
    #[must_use]
    pub fn new(app: &str, name: &str) -> Self {
        Self { app: app.to_owned(), name: name.to_owned() }
    }

    /// The number its name begins with, 0 if there is none.
    #[must_use]
    pub fn number(&self) -> u32 {
        let end = self.name.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.name.len());
        self.name[..end].parse().unwrap_or(0)
    }
}

impl fmt::Display for MigrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// One file: what must have run before, and what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// Its app and name.
    pub key: MigrationKey,
    /// What must be applied before it. The name `__first__` is the app's first, `__latest__` its
    /// last.
    pub dependencies: Vec<MigrationKey>,
    /// What may be applied only after it, though it does not say so: another app's.
    pub run_before: Vec<MigrationKey>,
    /// The migrations it stands for: those it was squashed from.
    pub replaces: Vec<MigrationKey>,
    /// Whether it makes an app's first tables; if it does not say, without a dependency on its own
    /// app it does.
    pub initial: Option<bool>,
    /// Whether all of it runs in one transaction. Without, each operation stands alone, and it is
    /// recorded only when the last is done.
    pub atomic: bool,
    /// Its steps, in order.
    pub operations: Vec<Operation>,
}

impl Migration {
    /// A migration that does these steps in one transaction, after `dependencies`.
    #[must_use]
    pub fn new(
        key: MigrationKey,
        dependencies: Vec<MigrationKey>,
        operations: Vec<Operation>,
    ) -> Self {
        let (run_before, replaces) = (Vec::new(), Vec::new());
        Self { key, dependencies, run_before, replaces, initial: None, atomic: true, operations }
    }

    /// Whether it makes an app's first tables.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        let follows = self.dependencies.iter().any(|key| key.app == self.key.app);
        self.initial.unwrap_or(!follows)
    }
}
