//! Template files on disk and in the binary: reading them, and seeing that one changed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Sources;
use crate::error::{Error, Kind, Result};

/// Deepest folder below a template folder; a loop of links ends here.
const FOLDER_DEPTH_MAX: usize = 16;

/// What folders look like: every file with its time of change and size.
pub(super) type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Looks at all files, without reading them.
pub(super) fn stamp(folders: &[PathBuf]) -> Stamp {
    let mut stamp = Vec::new();
    for folder in folders {
        walk(folder, 0, &mut |path| {
            let metadata = fs::metadata(path);
            let changed = metadata.as_ref().ok().and_then(|found| found.modified().ok());
            stamp.push((path.to_owned(), changed, metadata.map_or(0, |found| found.len())));
        });
    }
    stamp.sort();
    stamp
}

/// Name and text of every template, the first source of a name winning.
pub(super) fn texts(sources: &Sources) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for folder in &sources.folders {
        let mut found = Vec::new();
        walk(folder, 0, &mut |path| found.push(path.to_owned()));
        for path in found {
            let Some(name) = name(folder, &path) else { continue };
            if let Entry::Vacant(free) = texts.entry(name) {
                let text = fs::read_to_string(&path).map_err(|error| {
                    let words = format!("reading the template {}", path.display());
                    Error::because(Kind::Template, words, error)
                })?;
                free.insert(text);
            }
        }
    }
    for (name, bytes) in &sources.embedded {
        if !texts.contains_key(name) {
            let text = std::str::from_utf8(bytes).map_err(|error| {
                Error::because(Kind::Template, format!("reading the template {name:?}"), error)
            })?;
            texts.insert(name.clone(), text.to_owned());
        }
    }
    Ok(texts)
}

/// `chat/index.html`, with slashes on every system.
fn name(folder: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(folder).ok()?;
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}

fn walk(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Editors' drafts and what systems leave behind.
        if name.starts_with('.') || name.ends_with('~') || name.starts_with('#') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            if depth < FOLDER_DEPTH_MAX {
                walk(&path, depth + 1, visit);
            }
        } else {
            visit(&path);
        }
    }
}
