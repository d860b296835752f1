//! The merged settings before they have a type.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file and the line in it, from 1.
    File(Arc<Path>, usize),
    /// An environment variable.
    Variable(Arc<str>),
    /// A flag of the command line.
    Flag(Arc<str>),
}

impl Origin {
    pub(super) fn file(path: &Path, line: usize) -> Self {
        Self::File(PathBuf::from(path).into(), line)
    }
}

/// `settings.toml:3`, `SECRET_KEY` or `--workers`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Where its key begins in its file: tables are read in this order.
    pub(super) place: usize,
}

impl Node {
    pub(super) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, place: 0 }
    }
}

pub(super) type Table = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Table(Table),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// From a variable or a flag: its type is what the setting wants it to be.
    Loose(String),
}

/// Lays `over` on `under`: tables are merged, anything else replaced.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (key, node) in over {
        match (under.get_mut(&key).map(|old| &mut old.value), node.value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                under.insert(key, Node { value, origin: node.origin, place: node.place });
            }
        }
    }
}

/// A table that has only `node`, at the dotted `key`.
pub(super) fn at(key: &str, node: Node) -> Table {
    match key.split_once('.') {
        None => Table::from([(key.to_owned(), node)]),
        Some((first, rest)) => {
            let origin = node.origin.clone();
            Table::from([(first.to_owned(), Node::new(Value::Table(at(rest, node)), origin))])
        }
    }
}

/// Takes the node at the dotted `key` out of the table.
pub(super) fn take(table: &mut Table, key: &str) -> Option<Node> {
    let Some((first, rest)) = key.split_once('.') else { return table.remove(key) };
    match &mut table.get_mut(first)?.value {
        Value::Table(inner) => take(inner, rest),
        _ => None,
    }
}

/// The origins of all leaves by dotted key; an array counts as one leaf.
pub(super) fn origins(table: &Table) -> BTreeMap<String, Origin> {
    let mut found = BTreeMap::new();
    collect(table, "", &mut found);
    found
}

fn collect(table: &Table, prefix: &str, found: &mut BTreeMap<String, Origin>) {
    for (key, node) in table {
        let key = join(prefix, key);
        match &node.value {
            Value::Table(inner) => collect(inner, &key, found),
            _ => {
                found.insert(key, node.origin.clone());
            }
        }
    }
}

/// `prefix.key`.
pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}
