//! Users, login and logout.

mod hashing;
mod passwords;
mod validators;

pub use passwords::PASSWORD_BYTES_MAX;
pub use validators::validate_password;

#[cfg(test)]
mod tests;
