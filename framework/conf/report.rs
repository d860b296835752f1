//! What is in force and where it came from, for `pulse --print-config`.

use serde_json::Value;

use crate::conf::settings::Settings;
use crate::conf::tree;

impl Settings {
    /// One line a setting: `server.workers = 4  # settings.toml:3`. Secrets are stars.
    #[must_use]
    pub fn report(&self) -> String {
        let mut lines = Vec::new();
        let own = serde_json::to_value(self).unwrap_or_default();
        self.walk("", &own, &mut lines);
        for (name, section) in &self.sections.0 {
            self.walk(name, &section.shown, &mut lines);
        }
        lines.join("\n")
    }

    fn walk(&self, path: &str, value: &Value, lines: &mut Vec<String>) {
        if let Value::Object(table) = value {
            for (key, value) in table {
                self.walk(&tree::join(path, key), value, lines);
            }
            return;
        }
        let origin = self.origin(path).map_or_else(|| "default".to_owned(), ToString::to_string);
        lines.push(format!("{path} = {value}  # {origin}"));
    }
}
