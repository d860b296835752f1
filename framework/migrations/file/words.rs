//! The words files use for kinds and for what deleting does.

use crate::migrations::state::Kind;
use crate::models::{OnDelete, SetTo};

/// Each kind that needs no more than its name.
pub(super) const KINDS: [(&str, Kind); 19] = [
    ("big_auto", Kind::BigAuto),
    ("boolean", Kind::Boolean),
    ("small_integer", Kind::SmallInteger),
    ("integer", Kind::Integer),
    ("big_integer", Kind::BigInteger),
    ("float", Kind::Float),
    ("char", Kind::Char),
    ("text", Kind::Text),
    ("date_time", Kind::DateTime),
    ("date", Kind::Date),
    ("positive_small_integer", Kind::PositiveSmallInteger),
    ("positive_integer", Kind::PositiveInteger),
    ("positive_big_integer", Kind::PositiveBigInteger),
    ("decimal", Kind::Decimal),
    ("time", Kind::Time),
    ("duration", Kind::Duration),
    ("uuid", Kind::Uuid),
    ("json", Kind::Json),
    ("binary", Kind::Binary),
];

/// The word for a foreign key.
pub(super) const FOREIGN_KEY: &str = "foreign_key";

/// What deleting the other row does.
pub(super) const ON_DELETE: [(&str, OnDelete); 7] = [
    ("cascade", OnDelete::Cascade),
    ("protect", OnDelete::Protect),
    ("restrict", OnDelete::Restrict),
    ("set_null", OnDelete::SetNull),
    ("set_default", OnDelete::SetDefault),
    ("set", OnDelete::Set(SetTo::UNKNOWN)),
    ("do_nothing", OnDelete::DoNothing),
];

/// The word for `kind`.
pub(super) fn kind(kind: &Kind) -> &'static str {
    let word = KINDS.iter().find(|(_, known)| known == kind).map(|(word, _)| *word);
    word.unwrap_or(FOREIGN_KEY)
}

/// The word for `on_delete`.
pub(super) fn on_delete(on_delete: OnDelete) -> &'static str {
    let word = ON_DELETE.iter().find(|(_, known)| *known == on_delete).map(|(word, _)| *word);
    word.expect("every way of deleting has a word")
}
