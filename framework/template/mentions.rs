//! Which names a template uses, with everything it extends, includes or takes components from.
//!
//! Tera wants all values before it renders. A session or user that no template asks for must cost
//! nothing, so the sources are searched once, when they are loaded.

use std::collections::{BTreeMap, BTreeSet};

/// The words in the tags of every template, other templates' included.
#[derive(Debug, Default)]
pub(super) struct Mentions(BTreeMap<String, BTreeSet<String>>);

/// What stands in one template's tags.
#[derive(Debug, Default)]
struct Tags<'a> {
    /// Names of variables, functions, filters; not attributes (`.x`) nor arguments (`x=`).
    words: BTreeSet<&'a str>,
    /// Quoted texts: names of templates among them.
    quoted: BTreeSet<&'a str>,
    /// Components it calls, components it defines.
    called: BTreeSet<&'a str>,
    defined: BTreeSet<&'a str>,
}

impl Mentions {
    pub(super) fn of(texts: &BTreeMap<String, String>) -> Self {
        let tags: BTreeMap<&str, Tags<'_>> =
            texts.iter().map(|(name, text)| (name.as_str(), scan(text))).collect();
        let all = tags.keys().map(|name| {
            let mut words = BTreeSet::new();
            let mut seen = BTreeSet::new();
            let mut left = vec![*name];
            while let Some(name) = left.pop() {
                if !seen.insert(name) {
                    continue;
                }
                let of = &tags[name];
                words.extend(of.words.iter().map(|word| (*word).to_owned()));
                left.extend(tags.iter().filter_map(|(other, theirs)| {
                    let reached =
                        of.quoted.contains(other) || !of.called.is_disjoint(&theirs.defined);
                    reached.then_some(*other)
                }));
            }
            ((*name).to_owned(), words)
        });
        Self(all.collect())
    }

    pub(super) fn has(&self, name: &str, word: &str) -> bool {
        self.0.get(name).is_some_and(|words| words.contains(word))
    }
}

/// Reads the inside of all `{{ }}` and `{% %}`.
fn scan(text: &str) -> Tags<'_> {
    let mut tags = Tags::default();
    let mut rest = text;
    while let Some(open) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let close = if rest[open..].starts_with("{{") { "}}" } else { "%}" };
        rest = tag(&rest[open + 2..], close, &mut tags);
    }
    tags
}

/// Reads one tag up to `close` and returns what follows.
fn tag<'a>(text: &'a str, close: &str, tags: &mut Tags<'a>) -> &'a str {
    let mut rest = text;
    let mut before = "";
    // Maps nest braces: `{{ {"a": {}} | length }}` ends at the last.
    let mut depth = 0_usize;
    while let Some(next) = rest.chars().next() {
        if depth == 0
            && let Some(after) = rest.strip_prefix(close)
        {
            return after;
        }
        if matches!(next, '"' | '\'' | '`') {
            let inside = &rest[1..];
            let end = end_of_text(inside, next);
            tags.quoted.insert(&inside[..end]);
            rest = inside.get(end + 1..).unwrap_or("");
            before = "\"";
        } else if is_word(next) {
            let end = rest.find(|other| !is_word(other)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let follows = after.trim_start();
            let is_argument = follows.starts_with('=') && !follows.starts_with("==");
            match before {
                "." => {}
                // A component, or the right side of a comparison.
                "<" => {
                    tags.called.insert(word);
                    tags.words.insert(word);
                }
                "component" => drop(tags.defined.insert(word)),
                _ if is_argument => {}
                _ => drop(tags.words.insert(word)),
            }
            rest = after;
            before = word;
        } else {
            match next {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let (sign, after) = rest.split_at(next.len_utf8());
            if !next.is_whitespace() {
                before = sign;
            }
            rest = after;
        }
    }
    rest
}

/// Where the text that `quote` opened ends; a backslash keeps the next character from ending it.
fn end_of_text(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in inside.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return at,
            _ => {}
        }
    }
    inside.len()
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
