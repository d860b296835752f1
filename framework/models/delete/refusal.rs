//! Why rows cannot be deleted: which others protect or restrict them.

use std::fmt;

use sea_query::Value;

use crate::error::{Error, Kind, Result};
use crate::models::error::plain;
use crate::models::meta::{Field, Meta};

/// Most rows that an error lists; there is at least one more then.
pub(super) const LISTED_MAX: usize = 1000;

/// Most rows of one model that its words name.
const NAMED_MAX: usize = 5;

/// A row that keeps another one from being deleted.
#[derive(Clone, Debug)]
pub struct ProtectingRow {
    /// Its model.
    pub meta: &'static Meta,
    /// Its foreign key.
    pub field: &'static Field,
    /// Its key.
    pub key: Value,
}

/// How a row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Protected,
    Restricted,
}

/// What stands in the way of a delete, as it is found.
pub(super) struct Refusal {
    root: &'static Meta,
    rows: Vec<(Why, ProtectingRow)>,
}

impl Refusal {
    pub(super) fn new(root: &'static Meta) -> Self {
        Self { root, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, why: Why, meta: &'static Meta, field: &'static Field, key: Value) {
        // Restricting rows may be forgiven, so all of them count.
        if why == Why::Restricted || self.rows.len() < LISTED_MAX {
            self.rows.push((why, ProtectingRow { meta, field, key }));
        }
    }

    /// Restricting rows that go themselves restrict nothing.
    pub(super) fn forgive(&mut self, goes: impl Fn(&'static Meta, &Value) -> bool) {
        self.rows.retain(|(why, row)| *why == Why::Protected || !goes(row.meta, &row.key));
    }

    pub(super) fn into_result(mut self) -> Result<()> {
        let Some((why, _)) = self.rows.iter().min_by_key(|(why, _)| *why as u8) else {
            return Ok(());
        };
        let (kind, verb) = match why {
            Why::Protected => (Kind::Protected, "protects"),
            Why::Restricted => (Kind::Restricted, "restricts"),
        };
        let why = *why;
        self.rows.retain(|(other, _)| *other == why);
        self.rows.truncate(LISTED_MAX);
        let rows: Vec<_> = self.rows.into_iter().map(|(_, row)| row).collect();
        let words = format!("cannot delete {}: {}", self.root.label(), words(&rows, verb));
        Err(Error::because(kind, words, Protecting(rows)))
    }
}

/// `ticket of blog.Seat protects it, with id 1, 2, ..`
fn words(rows: &[ProtectingRow], verb: &str) -> String {
    let mut words = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let is_same = |row: &&ProtectingRow| std::ptr::eq(row.field, first.field);
        let count = rest.iter().take_while(is_same).count();
        let (these, others) = rest.split_at(count);
        let keys: Vec<_> = these.iter().take(NAMED_MAX).map(|row| plain(&row.key)).collect();
        let more = if count > NAMED_MAX { ", .." } else { "" };
        let (field, model) = (first.field.name, first.meta.label());
        let key = first.meta.primary_key().name;
        words.push(format!("{field} of {model} {verb} it, with {key} {}{more}", keys.join(", ")));
        rest = others;
    }
    words.join("; ")
}

/// The rows, kept behind the error's words.
#[derive(Debug)]
struct Protecting(Vec<ProtectingRow>);

/// Nothing: the error's own words say it.
impl fmt::Display for Protecting {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Protecting {}

impl Error {
    /// A row cannot be deleted: rows that protect it point to it.
    ///
    /// If you see this, delete [`protecting_rows`](Self::protecting_rows) first, or let them point
    /// elsewhere.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.kind() == Kind::Protected
    }

    /// A row cannot be deleted: rows that restrict it point to it, and they would stay.
    ///
    /// If you see this, delete [`protecting_rows`](Self::protecting_rows) too, or let them point
    /// elsewhere.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.kind() == Kind::Restricted
    }

    /// The rows because of which a row cannot be deleted, at most 1000 of them.
    #[must_use]
    pub fn protecting_rows(&self) -> &[ProtectingRow] {
        let source = self.source().and_then(|source| source.downcast_ref::<Protecting>());
        source.map_or(&[], |Protecting(rows)| rows)
    }
}
