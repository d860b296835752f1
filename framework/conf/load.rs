//! From everything a setting may be written in to one checked [`Settings`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::conf::environment::Environment;
use crate::conf::frozen::Written;
use crate::conf::read;
use crate::conf::sections::Sections;
use crate::conf::settings::Settings;
use crate::conf::tree::{self, Node, Origin, Table, Value};
use crate::conf::{check, file};
use crate::error::{Error, Kind, Result};

/// Picks `settings.<env>.toml`.
const ENV: &str = "HULSE_ENV";

/// Names the settings file.
const FILE: &str = "HULSE_SETTINGS";

/// What [`load`] looks at, beside the environment and the current folder.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The project's own folder, looked into last.
    pub folder: PathBuf,
    /// The sections the project and its apps have registered.
    pub sections: Sections,
    /// Settings given as flags; they win over everything.
    pub flags: Vec<Override>,
}

/// A setting given as a flag.
#[derive(Clone, Debug)]
pub struct Override {
    key: &'static str,
    node: Node,
}

impl Override {
    /// The setting `key` (`server.workers`) has this value because of `flag` (`--workers`).
    pub fn new(key: &'static str, flag: &'static str, value: impl Into<String>) -> Self {
        let value = Value::Loose(value.into());
        Self { key, node: Node::new(value, Origin::Flag(flag.into())) }
    }

    /// The same, for a flag that is given several times.
    pub fn list(key: &'static str, flag: &'static str, values: &[String]) -> Self {
        let origin = Origin::Flag(flag.into());
        let item = |v: &String| Node::new(Value::Loose(v.clone()), origin.clone());
        let value = Value::Array(values.iter().map(item).collect());
        Self { key, node: Node::new(value, origin) }
    }
}

/// Loads the settings of the project: defaults, `settings.toml`, `settings.<HULSE_ENV>.toml`, the
/// environment, flags; each wins over the ones before it.
///
/// The file is the one named by the flag, by `HULSE_SETTINGS`, `settings.toml` in the current
/// folder, or the project's. None of these being there is no error.
///
/// # Errors
/// A file cannot be read, a key is unknown, a value has the wrong type or does not fit
/// (`is_settings`). The message names the file and line, the variable or the flag.
pub fn load(sources: Sources) -> Result<Settings> {
    let here = std::env::current_dir()
        .map_err(|error| Error::because(Kind::Settings, "looking at the current folder", error))?;
    load_from(sources, &Environment::read(), &here)
}

/// [`load`] with the world passed in.
pub(super) fn load_from(
    sources: Sources,
    environment: &Environment,
    here: &Path,
) -> Result<Settings> {
    let Sources { file: named, folder, sections, flags } = sources;
    let named = match named {
        Some(file) => Some(file),
        None => environment.get(FILE)?.map(PathBuf::from),
    };
    let named = named.map(|file| here.join(file));
    let found = file::find(named.as_deref(), &[here.to_owned(), folder])?;
    let mut table = match &found {
        Some(file) => file::read(file)?,
        None => Table::new(),
    };
    if let Some(env) = environment.get(ENV)? {
        tree::merge(&mut table, of_environment(env, found.as_deref(), here)?);
    }
    tree::merge(&mut table, environment.table()?);
    for flag in flags {
        tree::merge(&mut table, tree::at(flag.key, flag.node));
    }
    let written = Written::new(table.clone());
    let mut settings: Settings = read::settings(table, &sections)?;
    settings.written = written;
    let base = found.as_deref().and_then(Path::parent).unwrap_or(here);
    settings.base = std::path::absolute(here.join(base))
        .map_err(|error| Error::because(Kind::Settings, "finding the settings' folder", error))?;
    settings.file = found.map(Arc::from);
    check::check(&settings)?;
    Ok(settings)
}

/// The table of `settings.<env>.toml`; that it is missing would be a mistyped `HULSE_ENV`.
fn of_environment(env: &str, found: Option<&Path>, here: &Path) -> Result<Table> {
    let wrong = |words: String| Err(Error::of(Kind::Settings, words));
    if !env.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return wrong(format!("{ENV} is {env:?}: only ASCII letters, digits, `_` and `-`"));
    }
    let file = file::beside(found.unwrap_or(&here.join("settings.toml")), env);
    if !file.is_file() {
        return wrong(format!("{ENV} is {env:?}, but there is no {}", file.display()));
    }
    file::read(&file)
}
