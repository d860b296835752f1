//! A TOML table that knows where it stands and which of its keys were read.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::conf::nearest;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::migrations::state::Value;

type Entry<'a> = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>);

/// The text of a file and its name, for messages.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error about the place at byte `at`.
    pub(super) fn error(&self, at: usize, words: impl AsRef<str>) -> Error {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        let words = format!("{}:{line}: {}", self.path, words.as_ref());
        Error::of(ErrorKind::Migration, words)
    }
}

/// A table, its entries in the file's order.
pub(super) struct Table<'a> {
    pub(super) source: Source<'a>,
    /// Where it begins, byte.
    pub(super) at: usize,
    entries: Vec<Entry<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(source: Source<'a>, at: usize, table: &'a DeTable<'a>) -> Self {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            (key.get_ref().as_ref(), key.span(), value)
        };
        let mut entries: Vec<Entry<'a>> = table.iter().map(entry).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        let at = entries.first().map_or(at, |(_, span, _)| span.start);
        Self { source, at, entries, known: Vec::new() }
    }

    /// Its entries, in the file's order.
    pub(super) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The first of `words` it has, with where.
    pub(super) fn which(&self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.entries.iter().any(|(key, ..)| key == word))
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.iter().find(|(known, ..)| *known == key).map(|(_, _, value)| *value)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = value.get_ref().as_str().map(str::to_owned);
        text.map(Some).ok_or_else(|| self.wrong_type(key, "a text", value))
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String> {
        let text = self.text(key)?;
        text.ok_or_else(|| self.error(format!("`{key}` is missing")))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let flag = value.get_ref().as_bool();
        flag.map(Some).ok_or_else(|| self.wrong_type(key, "true or false", value))
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<u32>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        number.map(Some).ok_or_else(|| self.wrong_type(key, "a number from 0 to 2^32", value))
    }

    /// A list of texts; empty if absent.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let wrong = || self.wrong_type(key, "a list of texts", value);
        let items = value.get_ref().as_array().ok_or_else(wrong)?;
        let text = |item: &Spanned<DeValue<'a>>| item.get_ref().as_str().map(str::to_owned);
        items.iter().map(|item| text(item).ok_or_else(wrong)).collect()
    }

    /// A list of tables; empty if absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Result<Vec<Self>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let wrong = || self.wrong_type(key, "a list of tables", value);
        let items = value.get_ref().as_array().ok_or_else(wrong)?;
        let table = |item: &'a Spanned<DeValue<'a>>| {
            let table = item.get_ref().as_table().ok_or_else(wrong)?;
            Ok(Self::new(self.source, item.span().start, table))
        };
        items.iter().map(table).collect()
    }

    /// A value a column can have.
    pub(super) fn scalar(&mut self, key: &'static str) -> Result<Option<Value>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let scalar = match value.get_ref() {
            DeValue::String(text) => Some(Value::Text(text.clone().into_owned())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Int)
            }
            DeValue::Float(number) => number.as_str().parse().ok().map(Value::Float),
            DeValue::Datetime(moment) => Some(Value::Text(moment.to_string())),
            DeValue::Array(_) | DeValue::Table(_) => None,
        };
        scalar.map(Some).ok_or_else(|| self.wrong_type(key, "a text, number, true or false", value))
    }

    /// An error if it has a key nobody asked for.
    pub(super) fn finish(self) -> Result<()> {
        let stranger = self.entries.iter().find(|(key, ..)| !self.known.contains(key));
        let Some((key, span, _)) = stranger else { return Ok(()) };
        let mut words = format!("unknown key `{key}`");
        if let Some(near) = nearest(key, self.known.iter().copied()) {
            words.push_str(&format!("; did you mean `{near}`?"));
        }
        Err(self.source.error(span.start, words))
    }

    /// An error about the table itself.
    pub(super) fn error(&self, words: impl AsRef<str>) -> Error {
        self.source.error(self.at, words)
    }

    /// An error about the value of `key`.
    pub(super) fn wrong(&self, key: &str, words: impl AsRef<str>) -> Error {
        let place = self.entries.iter().find(|(known, ..)| *known == key);
        let at = place.map_or(self.at, |(_, span, _)| span.start);
        self.source.error(at, format!("`{key}`: {}", words.as_ref()))
    }

    fn wrong_type(&self, key: &str, wanted: &str, value: &Spanned<DeValue<'_>>) -> Error {
        self.wrong(key, format!("must be {wanted}, not {}", value.get_ref().type_str()))
    }
}
