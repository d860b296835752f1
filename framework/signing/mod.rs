//! HMAC signatures and random tokens.

mod hmac;
mod random;
mod signer;

pub use hmac::{is_same, salted_hmac};
pub use random::random_string;
pub use signer::{Signer, TimestampSigner, sign_cookie, unsign_cookie};
