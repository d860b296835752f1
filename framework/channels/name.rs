//! Names of groups and channels.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 100;
/// What names of the layer's own groups begin with: sorted before all that others begin with.
const OWN: char = '!';

/// The name of a group or channel: 1 to 100 of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Checks the rule.
    ///
    /// # Errors
    /// The name breaks it (`is_bad_group_name`).
    pub fn new(name: &str) -> Result<Self> {
        if is_valid(name) {
            return Ok(Self(name.into()));
        }
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        Err(Error::of(
            Kind::BadGroupName,
            format!(
                "bad group name {shown:?}: 1 to {NAME_BYTES_MAX} ASCII letters, digits, `.`, `_` \
                 and `-`"
            ),
        ))
    }

    /// A name for any text: `prefix`, a `-`, and the first 128 bits of the text's SHA-256 in hex.
    /// Equal texts give equal names on every machine and in every version.
    ///
    /// # Errors
    /// `prefix` breaks the rule or is longer than 67 bytes.
    pub fn hashed(prefix: &str, text: &str) -> Result<Self> {
        let mut name = format!("{prefix}-");
        for byte in &Sha256::digest(text.as_bytes())[..16] {
            name.push_str(&format!("{byte:02x}"));
        }
        Self::new(&name)
    }

    /// A group of the layer's own: no name a site can make, and before all of those in any order.
    pub(super) fn of_dismissals(number: usize) -> Self {
        Self(format!("{OWN}dismissals.{number}").into())
    }

    /// The name another process of the layer wrote.
    pub(super) fn read(name: &str) -> Option<Self> {
        is_valid(name.strip_prefix(OWN).unwrap_or(name)).then(|| Self(name.into()))
    }

    /// Whether the group is the layer's own.
    pub(super) fn is_own(&self) -> bool {
        self.0.starts_with(OWN)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `name` keeps the rule.
fn is_valid(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// So that a map by name can be asked with a text.
impl Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error {
    /// A group or channel name is empty, longer than 100 bytes or has characters outside
    /// `[A-Za-z0-9._-]`.
    ///
    /// If you see this, build the name from an id (`room-42`) or with [`GroupName::hashed`], not
    /// from what the user typed.
    #[must_use]
    pub fn is_bad_group_name(&self) -> bool {
        self.kind() == Kind::BadGroupName
    }
}
