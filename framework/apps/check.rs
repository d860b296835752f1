//! Checks: what can be told wrong with a project before it serves anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Project, deploy};
use crate::conf::{self, Settings};
use crate::models::{ConstraintKind, Meta};

/// What a `Referrer-Policy` may be (Referrer Policy, W3C).
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];
/// What a `Cross-Origin-Opener-Policy` may be (HTML, 7.1.3).
const OPENER_POLICIES: [&str; 4] =
    ["same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"];

/// Something a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How bad it is.
    pub level: Level,
    /// A name to look up or to silence it by: `urls.W001`.
    pub id: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for something.
    Debug,
    /// Worth knowing.
    Info,
    /// Probably not meant.
    Warning,
    /// Cannot work.
    Error,
    /// Does harm.
    Critical,
}

impl Check {
    /// Something that cannot work.
    pub fn error(id: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Error, id, message: message.into(), hint: None }
    }

    /// Something that is probably not meant.
    pub fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, id, message: message.into(), hint: None }
    }

    /// What it is about, to pick it by with `--tag`: what stands before the dot of its id, in one
    /// word for what belongs together.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self.id.split('.').next().unwrap_or(self.id) {
            "fields" => "models",
            "static" => "staticfiles",
            // Django's id of a trusted origin without a scheme.
            "4_0" => "security",
            tag => tag,
        }
    }

    /// Whether the setting `silenced_system_checks` names it.
    #[must_use]
    pub fn is_silenced(&self, settings: &Settings) -> bool {
        settings.silenced_system_checks.iter().any(|id| id == self.id)
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `error chat.E001: what is wrong` and, on a line of its own, the hint.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        write!(f, "{level} {}: {}", self.id, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

impl Project {
    /// Everything found, the worst first.
    #[must_use]
    pub fn check(&self, settings: &Settings) -> Vec<Check> {
        let mut found = self.check_apps();
        found.extend(self.check_urls());
        found.extend(check_settings(settings));
        found.extend(self.check_constraints(settings));
        found.extend(self.apps().iter().flat_map(|app| app.checks(settings)));
        found.extend(self.apps().iter().flat_map(|app| app.project_checks(self, settings)));
        found.sort_by_key(|check| std::cmp::Reverse(check.level));
        found
    }

    /// The same, and what is careless on a server that others can reach.
    #[must_use]
    pub fn check_deploy(&self, settings: &Settings) -> Vec<Check> {
        let mut found = self.check(settings);
        found.extend(deploy::check_settings(settings));
        found.extend(self.apps().iter().flat_map(|app| app.deploy_checks(settings)));
        found.sort_by_key(|check| (std::cmp::Reverse(check.level), check.id));
        found
    }

    /// What findings can be about ([`Check::tag`]): the framework's rooms and the apps.
    #[must_use]
    pub fn check_tags(&self) -> BTreeSet<&'static str> {
        let apps = self.apps().iter().map(|app| app.label());
        ["apps", "mail", "models", "security", "staticfiles", "urls"]
            .into_iter()
            .chain(apps)
            .collect()
    }

    fn check_apps(&self) -> Vec<Check> {
        let mut found = Vec::new();
        let mut labels = BTreeSet::new();
        let mut tables = BTreeMap::new();
        for app in self.apps() {
            let label = app.label();
            if !labels.insert(label) {
                let words = format!("two installed apps have the label {label:?}");
                found.push(
                    Check::error("apps.E001", words).hint("a label names tables: change one"),
                );
            }
            if !is_label(label) {
                let words = format!("{label:?} is no app label");
                let hint = "lower-case letters, digits and `_`, a letter first";
                found.push(Check::error("apps.E002", words).hint(hint));
            }
            for model in Meta::with_throughs(app.models()) {
                if model.app != label {
                    let words = format!("the app {label:?} lists the model {}", model.label());
                    let hint = format!(
                        "put it below `{label}::models`, or say `#[model(app = \"{label}\")]`"
                    );
                    found.push(Check::error("models.E001", words).hint(hint));
                }
                for many in &model.many {
                    if let Err(error) = many.check(model) {
                        found.push(Check::error("fields.E335", error.to_string()));
                    }
                }
                if let Some(other) = tables.insert(model.table, model.label()) {
                    let (table, label) = (model.table, model.label());
                    let words = format!("{other} and {label} share the table {table:?}");
                    found.push(Check::error("models.E028", words));
                }
            }
        }
        found
    }

    /// What the database of the settings cannot demand.
    fn check_constraints(&self, settings: &Settings) -> Vec<Check> {
        let url = settings.database.url.expose();
        let mut found = Vec::new();
        if !url.starts_with("mysql:") && !url.starts_with("mariadb:") {
            return found;
        }
        for model in self.apps().iter().flat_map(|app| app.models()) {
            for constraint in &model.constraints {
                let ConstraintKind::Unique { fields, condition, nulls_distinct } = &constraint.kind
                else {
                    continue;
                };
                let (id, what) = match (condition, nulls_distinct) {
                    (Some(_), _) => ("models.W036", "among some of the rows only"),
                    (None, false) => ("models.W047", "with NULLs that are equal"),
                    (None, true) => continue,
                };
                let (label, fields) = (model.label(), fields.join(", "));
                let words = format!(
                    "MariaDB has nothing unique {what}: that of {label} over {fields} is not made"
                );
                let hint = "`full_clean` asks for it, but two at once can get past that";
                found.push(Check::warning(id, words).hint(hint));
            }
        }
        found
    }

    fn check_urls(&self) -> Vec<Check> {
        let lines = self.resolver().lines();
        let mut found = Vec::new();
        let mut routes = BTreeMap::new();
        let mut names = BTreeMap::new();
        for line in lines {
            let route = line.route();
            if let Some(first) = routes.insert(route, route) {
                let words =
                    format!("the route \"/{first}\" is there twice; the second never answers");
                found.push(Check::warning("urls.W001", words));
            }
            // One name for routes with different arguments is common; with equal ones it hides.
            let arguments = route.matches('<').count();
            let Some(name) = line.name() else { continue };
            if let Some(first) = names.insert((name, arguments), route)
                && first != route
            {
                let words = format!("\"/{first}\" and \"/{route}\" are both called {name:?}");
                let hint =
                    "the name leads to the first; give `include` a name, or tables an app_name";
                found.push(Check::warning("urls.W005", words).hint(hint));
            }
        }
        found
    }
}

fn is_label(label: &str) -> bool {
    label.starts_with(|first: char| first.is_ascii_lowercase())
        && label
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
}

/// Settings that cannot work.
fn check_settings(settings: &Settings) -> Vec<Check> {
    let mut found = Vec::new();
    for origin in &settings.csrf.trusted_origins {
        if !origin.contains("://") {
            let words = format!("csrf.trusted_origins has {origin:?}, without a scheme");
            found.push(Check::error("4_0.E001", words).hint(format!("write \"https://{origin}\"")));
        }
    }
    let url = &settings.static_files.url;
    if !url.ends_with('/') {
        let words = format!("static.url is {url:?}; it has to end with a slash");
        found.push(Check::error("static.E001", words));
    }
    found.extend(check_policies(&settings.security));
    found
}

/// Headers whose words no browser knows: it would ignore them.
fn check_policies(security: &conf::Security) -> Vec<Check> {
    let mut found = Vec::new();
    let policy = &security.referrer_policy;
    let unknown = policy.split(',').map(str::trim).find(|one| !REFERRER_POLICIES.contains(one));
    if let Some(unknown) = unknown.filter(|_| !policy.is_empty()) {
        let words = format!("security.referrer_policy has {unknown:?}, which no browser knows");
        let hint = format!("there are: {}", REFERRER_POLICIES.join(", "));
        found.push(Check::error("security.E023", words).hint(hint));
    }
    let policy = security.cross_origin_opener_policy.as_str();
    if !policy.is_empty() && !OPENER_POLICIES.contains(&policy) {
        let words =
            format!("security.cross_origin_opener_policy is {policy:?}, which no browser knows");
        let hint = format!("there are: {}", OPENER_POLICIES.join(", "));
        found.push(Check::error("security.E024", words).hint(hint));
    }
    found
}
