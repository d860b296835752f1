//! Words of attributes: unknown ones, and those they were probably meant to be.

use proc_macro2::Span;

pub(crate) fn unknown(span: Span, attribute: &str, name: &str, known: &[&str]) -> syn::Error {
    let near = nearest(name, known).map(|near| format!("; did you mean `{near}`?"));
    let known = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let near = near.unwrap_or_default();
    syn::Error::new(span, format!("`#[{attribute}(..)]` knows no `{name}`{near}\nknown: {known}"))
}

/// Most edits between a word and one it is mistaken for.
const EDITS_MAX: usize = 3;

/// The known word nearest to `word`, if one is near.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known.iter().min_by_key(|other| distance(word, other))?;
    (distance(word, nearest) <= EDITS_MAX.min(word.len() / 2)).then_some(nearest)
}

/// How many letters must be added, removed or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}
