//! Keyed hashes: proof that a text was made by this site.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::conf::Secret;

/// HMAC-SHA256 of `value` in lower-case hexadecimal, with a key of its own for each use: `salt`
/// names the use (`auth.session`), so that what was signed for one is worth nothing for another
/// (Django's `salted_hmac`).
#[must_use]
pub fn salted_hmac(salt: &str, value: &str, secret: &Secret) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(salt, value, secret) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// Its bytes.
pub(super) fn digest(salt: &str, value: &str, secret: &Secret) -> [u8; 32] {
    let mut key = Sha256::new();
    key.update(salt);
    key.update(secret.expose());
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&key.finalize()).expect("a key of any length fits");
    mac.update(value.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Whether two texts are equal, in a time that depends on their lengths only.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::{is_same, salted_hmac};
    use crate::conf::Secret;

    #[test]
    fn a_hash_is_what_django_computes() {
        // salted_hmac("salt", "value", secret="secret", algorithm="sha256").hexdigest()
        let expected = "debaddcd9ecbaab181289870baf8af49b0af0a7050d620d1a63f1e69bd87ceb8";
        assert_eq!(salted_hmac("salt", "value", &Secret::new("secret")), expected);
    }

    #[test]
    fn a_hash_depends_on_salt_value_and_secret() {
        let hash = |salt, value, secret: &str| salted_hmac(salt, value, &Secret::new(secret));
        let one = hash("a", "b", "c");
        assert_eq!(one, hash("a", "b", "c"));
        for other in [hash("x", "b", "c"), hash("a", "x", "c"), hash("a", "b", "x")] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn texts_are_compared_whole() {
        assert!(is_same("", "") && is_same("abc", "abc"));
        assert!(!is_same("abc", "abd") && !is_same("abc", "ab") && !is_same("", "a"));
    }
}
