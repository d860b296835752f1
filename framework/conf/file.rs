//! Settings files: where they are looked for, and TOML with its line numbers kept.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::conf::tree::{Node, Origin, Table, Value};
use crate::error::{Error, Kind, Result};

/// The name looked for in a folder.
const NAME: &str = "settings.toml";

/// Longest settings file, bytes: far above any real one, far below what would hurt.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// The settings file: the one named, else that of the first of `folders` that has one.
pub(super) fn find(named: Option<&Path>, folders: &[PathBuf]) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        let file = if named.is_dir() { named.join(NAME) } else { named.to_owned() };
        return match file.is_file() {
            true => Ok(Some(file)),
            false => Err(wrong(format!("there is no settings file {}", file.display()))),
        };
    }
    Ok(folders.iter().map(|folder| folder.join(NAME)).find(|file| file.is_file()))
}

/// The file beside `file` for the environment `env`: `settings.production.toml`.
pub(super) fn beside(file: &Path, env: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}.{env}.toml"))
}

/// Reads a file into a table that knows its lines.
pub(super) fn read(path: &Path) -> Result<Table> {
    let shown = path.display();
    let failed = |error| Error::because(Kind::Settings, format!("reading {shown}"), error);
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("{shown} is longer than {FILE_BYTES_MAX} bytes")));
    }
    parse(path, &std::fs::read_to_string(path).map_err(failed)?)
}

/// Parses `text`, which came from `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Table> {
    match DeTable::parse(text) {
        Ok(table) => Lines { path, text }.table(table.get_ref()),
        Err(error) => {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            let words = error.message().replace('\n', ", ");
            Err(wrong(format!("{}:{line}: {words}", path.display())))
        }
    }
}

/// A single TOML value out of a variable or flag, such as `["a", "b"]`.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    let lines = Lines { path: Path::new(""), text };
    let mut value = lines.value(parsed.get_ref()).ok()?;
    relabel(&mut value, origin);
    Some(value)
}

fn relabel(value: &mut Value, origin: &Origin) {
    let mut set = |node: &mut Node| {
        node.origin = origin.clone();
        relabel(&mut node.value, origin);
    };
    match value {
        Value::Array(nodes) => nodes.iter_mut().for_each(&mut set),
        Value::Table(table) => table.values_mut().for_each(&mut set),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Loose(_) => {}
    }
}

/// A file's text, to turn places in it into lines.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Origin {
        Origin::file(self.path, line_at(self.text, offset))
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Table> {
        table
            .iter()
            .map(|(key, value)| {
                let origin = self.origin(key.span().start);
                let value = self.value(value.get_ref()).map_err(|e| e.context(&origin))?;
                let place = key.span().start;
                Ok((key.get_ref().to_string(), Node { value, origin, place }))
            })
            .collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Result<Value> {
        Ok(match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map(Value::Integer)
                .map_err(|_| wrong(format!("the number {digits} is too large")))?,
            DeValue::Float(digits) => digits
                .as_str()
                .parse()
                .map(Value::Float)
                .map_err(|_| wrong(format!("the number {digits} is too large")))?,
            DeValue::Boolean(yes) => Value::Boolean(*yes),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| {
                        let origin = self.origin(item.span().start);
                        Ok(Node::new(self.value(item.get_ref())?, origin))
                    })
                    .collect::<Result<_>>()?,
            ),
            DeValue::Table(table) => Value::Table(self.table(table)?),
        })
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn wrong(words: String) -> Error {
    Error::of(Kind::Settings, words)
}
