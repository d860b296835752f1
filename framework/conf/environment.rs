//! Settings from environment variables.

use std::ffi::OsString;

use crate::conf::tree::{self, Node, Origin, Table, Value};
use crate::error::{Error, Kind, Result};

/// Variables known by their plain names.
const PLAIN: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("SECRET_KEY", "secret_key")];

const PREFIX: &str = "HULSE_";

/// Variables with the prefix that are no settings.
const NO_SETTINGS: [&str; 2] = ["HULSE_ENV", "HULSE_SETTINGS"];

/// Beginnings of such: the tests' own, and what `createsuperuser` asks for.
const NO_SETTINGS_BELOW: [&str; 2] = ["HULSE_TEST_", "HULSE_SUPERUSER_"];

/// The process's environment, read once.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment(Vec<(String, OsString)>);

impl Environment {
    pub(super) fn read() -> Self {
        Self::of(std::env::vars_os())
    }

    pub(super) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        let mut variables: Vec<_> = variables.into_iter().filter_map(named).collect();
        variables.sort();
        Self(variables)
    }

    /// The variable's value; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>> {
        match self.0.iter().find(|(known, value)| known == name && !value.is_empty()) {
            None => Ok(None),
            Some((name, value)) => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => Err(Error::of(Kind::Settings, format!("{name} is not valid UTF-8"))),
            },
        }
    }

    /// The names of those that are settings.
    fn setting_names(&self) -> Vec<String> {
        let names = self.0.iter().map(|(name, _)| name);
        names.filter(|name| is_setting(name)).cloned().collect()
    }

    /// All that are settings: the plain names first, so that the precise ones win.
    pub(super) fn table(&self) -> Result<Table> {
        let mut table = Table::new();
        for (name, key) in PLAIN {
            if let Some(value) = self.get(name)? {
                tree::merge(&mut table, leaf(name, key, value));
            }
        }
        for (name, _) in self.0.iter().filter(|(name, _)| is_setting(name)) {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = key.to_lowercase().replace("__", ".");
            if let Some(value) = self.get(name)? {
                tree::merge(&mut table, leaf(name, &key, value));
            }
        }
        Ok(table)
    }
}

fn is_setting(name: &str) -> bool {
    let is_below = NO_SETTINGS_BELOW.iter().any(|start| name.starts_with(start));
    let is_prefixed = name.starts_with(PREFIX) && !is_below;
    PLAIN.iter().any(|(plain, _)| *plain == name) || is_prefixed && !NO_SETTINGS.contains(&name)
}

/// Variables of this process that are settings, secrets among them: not for a process that gets its
/// settings another way, nor for what that one starts.
pub(crate) fn setting_variables() -> Vec<String> {
    Environment::read().setting_names()
}

fn leaf(name: &str, key: &str, value: &str) -> Table {
    let origin = Origin::Variable(name.into());
    tree::at(key, Node::new(Value::Loose(value.to_owned()), origin))
}
