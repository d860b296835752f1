//! Models: one struct is the table.
//!
//! Flow: `Post::objects()` → `QuerySet` → `sql` (sea-query) → `db` → rows → structs.
//! `post.save(&site)` → `before_save` → INSERT or UPDATE → `after_save` → commit → `after_commit`.
//!
//! Invariants: knows no HTTP; values are bound; everything but the derive's row and value code
//! works on [`Meta`].

mod meta;

pub use meta::{Choice, Default, Field, FieldKind, Index, Meta, OnDelete, Relation};
