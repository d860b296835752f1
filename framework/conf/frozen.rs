//! Settings as they are in force, for a process that is to have the same, whatever has become of
//! the files meanwhile.
//!
//! Flow: [`Settings::freeze`] → bytes, on a way that nobody else can read → [`thaw`].
//!
//! Invariant: the bytes are what was written, secrets too: typed values hide theirs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::conf::sections::Sections;
use crate::conf::settings::Settings;
use crate::conf::tree::{self, Node, Origin, Table, Value};
use crate::conf::{check, read};
use crate::error::{Error, Kind, Result};

/// The tree a value of [`Settings`] was read from. It shows nothing: there are secrets in it.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Table>);

impl Written {
    pub(super) fn new(table: Table) -> Self {
        Self(Arc::new(table))
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// All that is needed to read the same settings again.
#[derive(Serialize, Deserialize)]
struct Frozen {
    base: Vec<u8>,
    file: Option<Vec<u8>>,
    table: BTreeMap<String, Leaf>,
}

#[derive(Serialize, Deserialize)]
struct Leaf {
    value: Plain,
    from: From,
    place: usize,
}

#[derive(Serialize, Deserialize)]
enum Plain {
    Table(BTreeMap<String, Leaf>),
    Array(Vec<Leaf>),
    Text(String),
    Integer(i64),
    /// Its bits: JSON knows no infinity.
    Float(u64),
    Boolean(bool),
    Loose(String),
}

#[derive(Serialize, Deserialize)]
enum From {
    File(Vec<u8>, usize),
    Variable(String),
    Flag(String),
}

impl Settings {
    /// These settings as bytes, secrets in them; what lies at `keys` is that of `before`. A key
    /// that ends in a dot is a whole section.
    pub(crate) fn freeze(&self, before: &Self, keys: &[&str]) -> Result<Vec<u8>> {
        let mut table = (*self.written.0).clone();
        let mut kept = (*before.written.0).clone();
        for key in keys.iter().map(|key| key.trim_end_matches('.')) {
            tree::take(&mut table, key);
            if let Some(node) = tree::take(&mut kept, key) {
                tree::merge(&mut table, tree::at(key, node));
            }
        }
        let file = self.file.as_ref().map(|file| file.as_os_str().as_bytes().to_vec());
        let base = self.base.as_os_str().as_bytes().to_vec();
        Ok(serde_json::to_vec(&Frozen { base, file, table: leaves(table) })?)
    }
}

/// The settings that [`Settings::freeze`] made bytes of, read with `sections`.
///
/// # Errors
/// This program knows other settings than the one that froze them (`is_settings`).
pub(crate) fn thaw(bytes: &[u8], sections: &Sections) -> Result<Settings> {
    let frozen: Frozen = serde_json::from_slice(bytes)
        .map_err(|error| Error::because(Kind::Settings, "reading the settings in force", error))?;
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    let table = nodes(frozen.table);
    let written = Written::new(table.clone());
    let mut settings = read::settings(table, sections)?;
    settings.written = written;
    settings.base = path(frozen.base);
    settings.file = frozen.file.map(path).map(Arc::from);
    check::check(&settings)?;
    Ok(settings)
}

fn leaves(table: Table) -> BTreeMap<String, Leaf> {
    table.into_iter().map(|(key, node)| (key, Leaf::of(node))).collect()
}

fn nodes(table: BTreeMap<String, Leaf>) -> Table {
    table.into_iter().map(|(key, leaf)| (key, leaf.node())).collect()
}

impl Leaf {
    fn of(node: Node) -> Self {
        let value = match node.value {
            Value::Table(table) => Plain::Table(leaves(table)),
            Value::Array(nodes) => Plain::Array(nodes.into_iter().map(Self::of).collect()),
            Value::Text(text) => Plain::Text(text),
            Value::Integer(number) => Plain::Integer(number),
            Value::Float(number) => Plain::Float(number.to_bits()),
            Value::Boolean(yes) => Plain::Boolean(yes),
            Value::Loose(text) => Plain::Loose(text),
        };
        let from = match node.origin {
            Origin::File(path, line) => From::File(path.as_os_str().as_bytes().to_vec(), line),
            Origin::Variable(name) => From::Variable(name.to_string()),
            Origin::Flag(flag) => From::Flag(flag.to_string()),
        };
        Self { value, from, place: node.place }
    }

    fn node(self) -> Node {
        let value = match self.value {
            Plain::Table(table) => Value::Table(nodes(table)),
            Plain::Array(leaves) => Value::Array(leaves.into_iter().map(Self::node).collect()),
            Plain::Text(text) => Value::Text(text),
            Plain::Integer(number) => Value::Integer(number),
            Plain::Float(bits) => Value::Float(f64::from_bits(bits)),
            Plain::Boolean(yes) => Value::Boolean(yes),
            Plain::Loose(text) => Value::Loose(text),
        };
        let origin = match self.from {
            From::File(path, line) => {
                Origin::File(PathBuf::from(OsString::from_vec(path)).into(), line)
            }
            From::Variable(name) => Origin::Variable(name.into()),
            From::Flag(flag) => Origin::Flag(flag.into()),
        };
        Node { value, origin, place: self.place }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::file;

    fn of(text: &str) -> Settings {
        let table = file::parse(Path::new("settings.toml"), text).unwrap();
        let written = Written::new(table.clone());
        let mut settings = read::settings(table, &Sections::default()).unwrap();
        settings.written = written;
        settings.base = PathBuf::from("/srv/site");
        settings
    }

    #[test]
    fn what_is_frozen_and_thawed_is_the_same_with_its_secrets_and_lines() {
        let before = of("secret_key = \"hidden\"\nallowed_hosts = [\"a\", \"b\"]\n\
                         [server]\nworkers = 3\n[channels.capacities]\n\"tiny*\" = 1\n");
        let bytes = before.freeze(&before, &[]).unwrap();
        let after = thaw(&bytes, &Sections::default()).unwrap();
        assert_eq!(after.secret_key.expose(), "hidden");
        assert_eq!((after.base.clone(), after.report()), (before.base.clone(), before.report()));
        assert!(!format!("{before:?}{after:?}").contains("hidden"));
    }

    #[test]
    fn what_is_kept_is_kept_also_if_it_was_a_default() {
        let before = of("debug = true\n[server]\nuser = \"ann\"\n");
        let after = of("debug = true\n[server]\nworkers = 2\nuser = \"ben\"\ngroup = \"x\"\n\
                        [channels]\ncapacity = 7\n");
        let bytes = after.freeze(&before, &["server.user", "server.group", "channels."]).unwrap();
        let thawed = thaw(&bytes, &Sections::default()).unwrap();
        let server = &thawed.server;
        assert_eq!((server.workers, server.user.as_str(), server.group.as_str()), (2, "ann", ""));
        assert_eq!(thawed.channels.capacity, 100);
    }
}
