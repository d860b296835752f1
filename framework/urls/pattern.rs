//! One route's text, taken apart, and whether a path fits it. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::converter::{BUILT_IN, Converter};

/// A route's text: `polls/<int:id>/`.
#[derive(Clone, Debug, Default)]
pub(super) struct Pattern {
    pub(super) text: String,
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(String),
    Capture { name: Arc<str>, converter: Converter },
}

/// A piece of a route before its converters are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Capture { converter: String, name: String },
}

/// Takes `route` apart; the error says what is malformed.
pub(super) fn pieces(route: &str) -> Result<Vec<Piece>, String> {
    if route.starts_with('/') {
        return Err(format!("route {route:?} begins with a slash; leave it out"));
    }
    let mut pieces = Vec::new();
    let mut rest = route;
    while let Some(open) = rest.find(['<', '>']) {
        let (literal, tail) = rest.split_at(open);
        let inside = tail
            .strip_prefix('<')
            .and_then(|tail| tail.split_once('>'))
            .ok_or_else(|| format!("route {route:?} has an angle bracket without its partner"))?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let (converter, name) = inside.0.split_once(':').unwrap_or(("str", inside.0));
        if !is_identifier(name) || !is_identifier(converter) {
            return Err(format!(
                "route {route:?}: {:?} is not of the form `<converter:name>`",
                inside.0
            ));
        }
        pieces.push(Piece::Capture { converter: converter.to_owned(), name: name.to_owned() });
        rest = inside.1;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

fn is_identifier(text: &str) -> bool {
    text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

impl Pattern {
    /// This pattern with `route` behind it. `own` are the site's converters, the latest last.
    pub(super) fn join(
        &self,
        route: &str,
        pieces: &[Piece],
        own: &[Converter],
    ) -> Result<Self, String> {
        let mut joined = Self { text: format!("{}{route}", self.text), parts: self.parts.clone() };
        for piece in pieces {
            let part = match piece {
                Piece::Literal(text) => Part::Literal(text.clone()),
                Piece::Capture { converter, name } => {
                    if joined.captures().any(|known| known == name) {
                        return Err(format!("route {:?} captures {name:?} twice", joined.text));
                    }
                    let converter = own.iter().rev().chain(&BUILT_IN).find(|c| c.name == converter);
                    let converter = *converter.ok_or_else(|| unknown(&joined.text, piece, own))?;
                    Part::Capture { name: name.as_str().into(), converter }
                }
            };
            joined.push(part);
        }
        Ok(joined)
    }

    /// Neighbouring literals become one, so that matching looks for the longest text.
    fn push(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (Some(Part::Literal(last)), Part::Literal(text)) => last.push_str(&text),
            (_, part) => self.parts.push(part),
        }
    }

    fn captures(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Capture { name, .. } => Some(&**name),
        })
    }

    /// What `path` (decoded, without its leading slash) captures, or `None` if it does not fit.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<(Arc<str>, String)>> {
        match &self.parts[..] {
            [] => return path.is_empty().then(Vec::new),
            [Part::Literal(all)] => return (path == all).then(Vec::new),
            [Part::Literal(first), ..] if !path.starts_with(first.as_str()) => return None,
            [.., Part::Literal(last)] if !path.ends_with(last.as_str()) => return None,
            _ => {}
        }
        let mut ends = Vec::new();
        let mut search = Search { parts: &self.parts, path, failed: HashSet::new() };
        if !search.from(0, 0, &mut ends) {
            return None;
        }
        // `ends` was filled from the last capture to the first: (start, end) of each.
        let mut found = ends.into_iter().rev();
        let values = self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Capture { name, .. } => {
                let (start, end) = found.next().expect("one span for each capture");
                Some((Arc::clone(name), path[start..end].to_owned()))
            }
        });
        Some(values.collect())
    }
}

fn unknown(route: &str, piece: &Piece, own: &[Converter]) -> String {
    let known: Vec<_> = BUILT_IN.iter().chain(own).map(|converter| converter.name).collect();
    let Piece::Capture { converter, .. } = piece else { return String::new() };
    format!("route {route:?}: no converter is called {converter:?}; there are {}", known.join(", "))
}

/// A search with backtracking, as a regular expression would do it: longest text first.
struct Search<'a> {
    parts: &'a [Part],
    path: &'a str,
    /// Captures known not to fit at a position: keeps the search from repeating itself, so it
    /// stays quadratic in the path's length however many captures a segment has.
    failed: HashSet<(usize, usize)>,
}

impl Search<'_> {
    fn from(&mut self, part: usize, at: usize, ends: &mut Vec<(usize, usize)>) -> bool {
        match self.parts.get(part) {
            None => at == self.path.len(),
            Some(Part::Literal(text)) => {
                self.path[at..].starts_with(text.as_str())
                    && self.from(part + 1, at + text.len(), ends)
            }
            Some(Part::Capture { converter, .. }) => {
                if self.failed.contains(&(part, at)) {
                    return false;
                }
                let found = self.capture(part, at, *converter, ends);
                if !found {
                    self.failed.insert((part, at));
                }
                found
            }
        }
    }

    fn capture(
        &mut self,
        part: usize,
        at: usize,
        converter: Converter,
        ends: &mut Vec<(usize, usize)>,
    ) -> bool {
        let (parts, path) = (self.parts, self.path);
        let rest = &path[at..];
        let longest = match converter.slashes {
            true => rest.len(),
            false => rest.find('/').unwrap_or(rest.len()),
        };
        let mut end = longest;
        while end > 0 {
            let text = &rest[..end];
            let next_fits = match parts.get(part + 1) {
                None => at + end == path.len(),
                Some(Part::Literal(literal)) => rest[end..].starts_with(literal.as_str()),
                Some(Part::Capture { .. }) => true,
            };
            let found = ends.len();
            if next_fits && self.from(part + 1, at + end, ends) {
                if (converter.fits)(text) {
                    ends.push((at, at + end));
                    return true;
                }
                ends.truncate(found);
            }
            end = rest[..end].char_indices().next_back().map_or(0, |(index, _)| index);
        }
        false
    }
}
