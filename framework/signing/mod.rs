//! HMAC signatures and random tokens.

mod hmac;
mod random;

pub use hmac::{is_same, salted_hmac};
pub use random::random_string;
