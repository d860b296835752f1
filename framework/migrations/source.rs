//! Migration files, wherever they come from: the text of each, by app.

use std::path::Path;

use crate::error::{Error, Kind as ErrorKind, Result};

use super::file;
use super::{Graph, MigrationKey};

/// Ending of a migration's file.
const ENDING: &str = ".toml";

/// Largest migration file, bytes: more than any person would read.
const FILE_BYTES_MAX: u64 = 4_194_304;

/// The migrations the framework ships, by app.
#[derive(rust_embed::RustEmbed)]
#[folder = "migrations/"]
#[include = "*.toml"]
struct Shipped;

/// The files of one app.
#[derive(Clone, Debug)]
pub struct Source {
    /// Label of the app.
    pub app: String,
    /// Its files.
    pub files: Vec<File>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name without `.toml`.
    pub name: String,
    /// Where it lies, for messages.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// The files in `folder/<app>/`; `None` if there is no such folder.
    ///
    /// # Errors
    /// A file cannot be read or is larger than 4 MiB.
    pub fn in_folder(app: &str, folder: &Path) -> Result<Option<Self>> {
        let folder = folder.join(app);
        if !folder.is_dir() {
            return Ok(None);
        }
        let failed = |error: std::io::Error| {
            let words = format!("reading migrations in {}", folder.display());
            Error::because(ErrorKind::Migration, words, error)
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| name.strip_suffix(ENDING)) else { continue };
            if path.metadata().map_err(failed)?.len() > FILE_BYTES_MAX {
                let words = format!("{} is larger than 4 MiB", path.display());
                return Err(Error::of(ErrorKind::Migration, words));
            }
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            let shown = path.display().to_string();
            files.push(File { name: name.to_owned(), path: shown, text });
        }
        Ok(Some(Self { app: app.to_owned(), files }))
    }

    /// Those of `files` (path and bytes) that lie in `migrations/<app>/`; `None` if there are none.
    ///
    /// # Errors
    /// A file is not UTF-8.
    pub fn embedded<'a>(
        app: &str,
        files: impl IntoIterator<Item = (String, std::borrow::Cow<'a, [u8]>)>,
    ) -> Result<Option<Self>> {
        let folder = format!("migrations/{app}/");
        let mut found = Vec::new();
        for (path, bytes) in files {
            let name = path.strip_prefix(&folder).and_then(|name| name.strip_suffix(ENDING));
            let Some(name) = name.filter(|name| !name.contains('/')) else { continue };
            let text = String::from_utf8(bytes.into_owned()).map_err(|error| {
                Error::because(ErrorKind::Migration, format!("reading {path}"), error)
            })?;
            found.push(File { name: name.to_owned(), path: path.clone(), text });
        }
        Ok((!found.is_empty()).then(|| Self { app: app.to_owned(), files: found }))
    }

    /// The files the framework ships for `app`; `None` if there are none.
    ///
    /// # Errors
    /// None in a framework that was built whole.
    pub fn shipped(app: &str) -> Result<Option<Self>> {
        let below = format!("{app}/");
        let names = Shipped::iter().filter(|name| name.starts_with(&below));
        let files = names.filter_map(|name| {
            let file = <Shipped as rust_embed::RustEmbed>::get(&name)?;
            Some((format!("migrations/{name}"), file.data))
        });
        Self::embedded(app, files)
    }
}

impl Graph {
    /// Reads all files and puts the migrations in order.
    ///
    /// # Errors
    /// A file is wrong (its name, line and key are told), a dependency does not exist, or they go
    /// round in a circle.
    pub fn load(sources: &[Source]) -> Result<Self> {
        let mut migrations = Vec::new();
        for source in sources {
            for one in &source.files {
                let key = MigrationKey::new(&source.app, &one.name);
                migrations.push(file::read(key, &one.path, &one.text)?);
            }
        }
        Self::new(migrations)
    }
}
