//! Functions of the database that belong to no column; the others are methods of
//! [`Expression`](super::Expression).

pub use super::expression::{case, condition, dense_rank, now, random, rank, row_number, value};
