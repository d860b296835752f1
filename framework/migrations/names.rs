//! Names that the database sees: indexes and constraints.
//!
//! Invariants:
//! - A name follows from the table and columns alone, so forwards and backwards agree on it.
//! - At most 63 bytes (PostgreSQL 18, `NAMEDATALEN` - 1) and with a hash, so that cut names differ.

use sha2::{Digest, Sha256};

use crate::models::Meta;

/// Longest identifier, bytes: PostgreSQL cuts longer ones.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Bytes of the hash that go into a name, two hexadecimal digits each.
const HASH_BYTES: usize = 4;

/// The name of the index of one column: `blog_post_slug_1a2b3c4d_uniq`.
pub(super) fn single(table: &str, column: &str, unique: bool) -> String {
    built(table, &[column], if unique { "uniq" } else { "idx" })
}

/// The name of a foreign key constraint: `blog_post_author_id_1a2b3c4d_fk`.
pub(super) fn foreign_key(table: &str, column: &str) -> String {
    built(table, &[column], "fk")
}

/// The name of the check that a column is not negative: `blog_post_stars_1a2b3c4d_check`.
pub(super) fn unsigned(table: &str, column: &str) -> String {
    built(table, &[column], "check")
}

/// The name of a model's index over several columns.
pub(super) fn several(meta: &Meta, fields: &[&str], unique: bool) -> String {
    let columns: Vec<String> = fields.iter().map(|name| column(meta, name)).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    built(meta.table, &columns, if unique { "uniq" } else { "idx" })
}

/// `-created` becomes `-created`, `author` becomes `author_id`.
fn column(meta: &Meta, name: &str) -> String {
    let (sign, bare) = name.strip_prefix('-').map_or(("", name), |bare| ("-", bare));
    let column = meta.field(bare).map_or(bare, |field| field.column);
    format!("{sign}{column}")
}

fn built(table: &str, columns: &[&str], ending: &str) -> String {
    let words = columns.join("_").replace('-', "");
    joined(&format!("{table}_{words}"), &hash(table, columns), ending)
}

fn joined(words: &str, hash: &str, ending: &str) -> String {
    let room = IDENTIFIER_BYTES_MAX - hash.len() - ending.len() - 2;
    let cut = words.floor_char_boundary(room.min(words.len()));
    format!("{}_{hash}_{ending}", &words[..cut])
}

fn hash(table: &str, columns: &[&str]) -> String {
    let mut digest = Sha256::new();
    digest.update(table);
    for column in columns {
        digest.update([0]);
        digest.update(column);
    }
    digest.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
