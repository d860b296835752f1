//! What is in force and where it came from, for `pulse --print-config` and for a reload.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::conf::settings::Settings;
use crate::conf::tree;

impl Settings {
    /// One line a setting: `server.workers = 4  # settings.toml:3`. Secrets are stars.
    #[must_use]
    pub fn report(&self) -> String {
        let origin =
            |key: &str| self.origin(key).map_or_else(|| "default".to_owned(), ToString::to_string);
        let line = |(key, value): (String, Value)| format!("{key} = {value}  # {}", origin(&key));
        self.leaves().into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The value of each setting by its key (`server.workers`). Secrets are stars.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, Value> {
        self.leaves().into_iter().collect()
    }

    fn leaves(&self) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        walk("", &serde_json::to_value(self).unwrap_or_default(), &mut leaves);
        for (name, section) in &self.sections.0 {
            walk(name, &section.shown, &mut leaves);
        }
        leaves
    }
}

fn walk(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                walk(&tree::join(path, key), value, leaves);
            }
        }
        leaf => leaves.push((path.to_owned(), leaf.clone())),
    }
}
