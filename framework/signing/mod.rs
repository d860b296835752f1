//! HMAC signatures and random tokens.

mod random;

pub use random::random_string;
