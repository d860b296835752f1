//! Relations: foreign keys, one-to-one, many-to-many and the other sides, and loading what they
//! lead to.
//!
//! Flow: a field holds a key or nothing, and what was loaded → `related` gives closures its
//! columns →
//! `related_set` reads and changes it → `prefetch` loads it for many rows at once.
//!
//! Invariants:
//! - Rows are plain values: those of one answer share only the keys they need to be loaded
//!   together.
//! - The table between two sides of a many-to-many is a model like any other.

pub(in crate::models) mod between;
pub(in crate::models) mod fetch_mode;
pub(in crate::models) mod foreign_key;
pub(in crate::models) mod has_many;
pub(in crate::models) mod kept;
pub(in crate::models) mod many_to_many;
pub(in crate::models) mod one_to_one;
pub(in crate::models) mod prefetch;
pub(in crate::models) mod related;
pub(in crate::models) mod related_set;
pub(in crate::models) mod slot;
pub(in crate::models) mod through;
