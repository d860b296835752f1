//! Groups: named sets of connections, across all workers of a site.

use std::fmt;

use bytes::Bytes;

use crate::conf;
use crate::error::Result;

/// What travels through the layer and reaches a browser: one text or binary frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<serde_json::Value> for Message {
    fn from(value: serde_json::Value) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// The name of a group or channel: 1 to 100 of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Box<str>);

impl GroupName {
    /// Checks the rule.
    ///
    /// # Errors
    /// The name breaks it (`is_bad_group_name`).
    pub fn new(name: &str) -> Result<Self> {
        todo!("{name}")
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Carries messages between all processes of a site. A cheap clone.
#[derive(Clone)]
pub struct Layer {}

impl Layer {
    /// A layer inside this process, for tests and management commands.
    #[must_use]
    pub fn memory(settings: &conf::Channels) -> Self {
        todo!("{settings:?}")
    }

    /// Sends to everybody in `group`, in all processes. `Ok` once the message has its place in the
    /// group's order: that place (its offset, from 1).
    ///
    /// # Errors
    /// The message is too large, or the store cannot be reached in time.
    pub async fn publish(&self, group: &GroupName, message: Message) -> Result<u64> {
        todo!("{group:?} {message:?}")
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}
