//! What the tests share.

mod databases;

pub use databases::{TestDatabase, databases};
