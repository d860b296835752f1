//! The text of a condition, as migration files keep it: `"price" > 0 AND "kind" <> 'free'`.
//!
//! Names of columns stand in double quotes, texts in single ones, on every database the same;
//! `schema` puts it into a dialect's own quotes.

/// `text` with `name` in the place of every quoted column.
pub(super) fn mapped(text: &str, name: &mut dyn FnMut(&str) -> String) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(start);
        made.push_str(before);
        let (mark, inside) = quoted.split_at(1);
        let end = end_of(inside, mark);
        let (word, after) = (&inside[..end], inside.get(end + 1..).unwrap_or_default());
        match mark {
            "\"" => made.push_str(&name(&word.replace("\"\"", "\""))),
            _ => made.push_str(&format!("'{word}'")),
        }
        rest = after;
    }
    made.push_str(rest);
    made
}

/// Where the closing `mark` stands; a doubled one is no end.
fn end_of(inside: &str, mark: &str) -> usize {
    let mut at = 0;
    while let Some(found) = inside[at..].find(mark) {
        let end = at + found;
        if !inside[end + 1..].starts_with(mark) {
            return end;
        }
        at = end + 2;
    }
    inside.len()
}

/// `text` after some columns got other names.
pub(super) fn renamed(text: &str, columns: &[(String, String)]) -> String {
    mapped(text, &mut |name| {
        let new = columns.iter().find(|(old, _)| old == name);
        let name = new.map_or(name, |(_, new)| new);
        format!("\"{}\"", name.replace('"', "\"\""))
    })
}

/// The columns it speaks of.
pub(super) fn columns(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    mapped(text, &mut |name| {
        found.push(name.to_owned());
        String::new()
    });
    found
}
