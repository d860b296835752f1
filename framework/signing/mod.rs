//! HMAC signatures and random tokens.
