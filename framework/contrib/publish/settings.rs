//! The tokens, and who they are of.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::apps::Check;
use crate::channels::{GroupName, fits};
use crate::conf::{Secret, Section};

/// Shortest token, characters: 16 random bytes in hex. A shorter one never fits.
const TOKEN_CHARS_MIN: usize = 32;

/// `[publish]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Who may publish.
    pub tokens: Vec<Token>,
    /// Longest body, bytes; never more than `http.data_upload_max_memory_size`.
    pub body_bytes_max: usize,
    /// Most messages in one request.
    pub batch_max: usize,
}

/// One sender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What the log calls it.
    pub name: String,
    /// At least 32 characters: `openssl rand -hex 32` makes one.
    pub token: Secret,
    /// The groups it may send to, by names or patterns (`*`, `?`).
    pub groups: Vec<String>,
}

impl Default for Publish {
    fn default() -> Self {
        Self { tokens: Vec::new(), body_bytes_max: 1_048_576, batch_max: 100 }
    }
}

impl Section for Publish {
    const NAME: &'static str = "publish";
}

impl Publish {
    /// Whose token `given` is.
    pub(super) fn sender(&self, given: &str) -> Option<&Token> {
        let given = Sha256::digest(given);
        // All are looked at: how long it takes tells nothing.
        let mut found = None;
        for token in &self.tokens {
            let is_same = bool::from(Sha256::digest(token.token.expose()).ct_eq(&given));
            if is_same && !token.is_short() {
                found = Some(token);
            }
        }
        found
    }
}

impl Token {
    fn is_short(&self) -> bool {
        self.token.expose().chars().count() < TOKEN_CHARS_MIN
    }

    /// Whether it may send to `group`.
    pub(super) fn may_send_to(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|pattern| fits(pattern, group.as_str()))
    }
}

pub(super) fn checks(settings: &Publish) -> Vec<Check> {
    let mut found = Vec::new();
    if settings.tokens.is_empty() {
        let words = "publish is installed, but publish.tokens is empty: nobody can publish";
        found.push(Check::warning("publish.W001", words));
    }
    for token in &settings.tokens {
        let name = &token.name;
        if token.is_short() {
            let words =
                format!("the publish token {name:?} is shorter than {TOKEN_CHARS_MIN} characters");
            let hint = "`openssl rand -hex 32` makes one; this one is refused";
            found.push(Check::error("publish.E001", words).hint(hint));
        }
        if token.groups.is_empty() {
            let words = format!("the publish token {name:?} may send to no group");
            found.push(Check::warning("publish.W002", words));
        }
    }
    found
}
