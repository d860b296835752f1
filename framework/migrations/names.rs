//! Names that the database sees: indexes and constraints.
//!
//! Invariants:
//! - A name follows from the table and columns alone, so forwards and backwards agree on it.
//! - At most 63 bytes (PostgreSQL 18, `NAMEDATALEN` - 1) and with a hash, so that cut names differ.

use sha2::{Digest, Sha256};

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

/// The name of an index or constraint that nobody named. `columns` may have a `-` in front.
pub(super) fn index(
    table: &str,
    columns: &[String],
    condition: Option<&str>,
    ending: &str,
) -> String {
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let words = words(table, &columns);
    let parts: Vec<&str> = columns.into_iter().chain(condition).collect();
    joined(&words, &hash(table, &parts), ending)
}

/// The name PostgreSQL gives by itself, to a primary key (`blog_post_pkey`) or a column's sequence
/// (`blog_post_id_seq`): of too long names it cuts the longer (`makeObjectName`, `indexcmds.c`).
pub(super) fn postgres(table: &str, column: Option<&str>, ending: &str) -> String {
    let underscores = if column.is_some() { 2 } else { 1 };
    let room = IDENTIFIER_BYTES_MAX - ending.len() - underscores;
    let (mut first, mut second) = (table.len(), column.map_or(0, str::len));
    while first + second > room {
        if first > second {
            first -= 1;
        } else {
            second -= 1;
        }
    }
    let table = &table[..table.floor_char_boundary(first)];
    match column {
        Some(column) => {
            format!("{table}_{}_{ending}", &column[..column.floor_char_boundary(second)])
        }
        None => format!("{table}_{ending}"),
    }
}

/// A name for the time between two renames, so that they do not meet.
pub(super) fn temporary(name: &str) -> String {
    joined(name, &hash(name, &[]), "tmp")
}

/// Whether it is such a name.
pub(super) fn is_temporary(name: &str) -> bool {
    let start = name.strip_suffix("_tmp").and_then(|start| start.rsplit_once('_'));
    start.is_some_and(|(_, hash)| {
        hash.len() == 2 * HASH_BYTES && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn built(table: &str, columns: &[&str], ending: &str) -> String {
    joined(&words(table, columns), &hash(table, columns), ending)
}

fn words(table: &str, columns: &[&str]) -> String {
    let mut words = table.to_owned();
    for column in columns {
        words.push('_');
        words.push_str(&column.replace('-', ""));
    }
    words
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
