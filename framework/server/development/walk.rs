//! The files of a project: which there are, and which have changed since the last look.
//!
//! It looks at times, sizes and inodes instead of asking the kernel to tell: a project has hundreds
//! of files, a look takes a millisecond, and it is right on every file system and for every way in
//! which editors write.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folders;
use crate::conf::Settings;

/// Deepest folder below a watched one; a loop of links ends here.
const FOLDER_DEPTH_MAX: usize = 16;

/// Most files that are watched; a project that has more has a folder in it that is none of its own.
const FILES_MAX: usize = 20_000;

/// Folders that are nobody's source: what is built, and what other tools fetch.
const PASSED_OVER: [&str; 2] = ["target", "node_modules"];

/// What a change of a file is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A build.
    Code,
    /// A reload without one.
    Settings,
    /// Open pages are loaded anew.
    Page,
    /// Open pages fetch their style sheets anew.
    Style,
}

/// What tells one content of a file from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    modified: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// All files as they were at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(BTreeMap<PathBuf, (Part, Mark)>);

/// The first changed file of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) code: Option<PathBuf>,
    pub(super) settings: Option<PathBuf>,
    pub(super) page: Option<PathBuf>,
    pub(super) style: Option<PathBuf>,
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Walk {
    /// The project's sources; none if nothing can be built.
    sources: Option<PathBuf>,
    /// Files from elsewhere that the program was built from.
    parts: Vec<PathBuf>,
    /// Read from disk while the site runs: templates and static files.
    live: Vec<PathBuf>,
    settings: Option<PathBuf>,
}

impl Mark {
    pub(super) fn of(path: &Path) -> Self {
        let Ok(found) = fs::metadata(path) else { return Self::default() };
        let modified = (found.mtime(), found.mtime_nsec());
        Self { modified, bytes: found.len(), inode: found.ino() }
    }
}

impl Change {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, other: Self) {
        let keep = |slot: &mut Option<PathBuf>, new: Option<PathBuf>| {
            if slot.is_none() {
                *slot = new;
            }
        };
        keep(&mut self.code, other.code);
        keep(&mut self.settings, other.settings);
        keep(&mut self.page, other.page);
        keep(&mut self.style, other.style);
    }

    fn note(&mut self, part: Part, path: &Path) {
        let slot = match part {
            Part::Code => &mut self.code,
            Part::Settings => &mut self.settings,
            Part::Page => &mut self.page,
            Part::Style => &mut self.style,
        };
        slot.get_or_insert_with(|| path.to_owned());
    }
}

impl Stamp {
    /// What is new, gone or different in `now`.
    pub(super) fn change(&self, now: &Self) -> Change {
        let mut change = Change::default();
        for (path, (part, mark)) in &now.0 {
            if self.0.get(path).is_none_or(|(_, before)| before != mark) {
                change.note(*part, path);
            }
        }
        for (path, (part, _)) in self.0.iter().filter(|(path, _)| !now.0.contains_key(*path)) {
            change.note(*part, path);
        }
        change
    }

    fn put(&mut self, part: Part, path: PathBuf) {
        if self.0.len() < FILES_MAX {
            let mark = Mark::of(&path);
            self.0.insert(path, (part, mark));
        }
    }
}

impl Walk {
    /// The places of a project; `program` if it is built here.
    pub(super) fn new(folder: &Path, settings: &Settings, program: Option<&PathBuf>) -> Self {
        let named = settings.static_files.dirs.iter().map(|path| settings.resolve(path));
        let mut live: Vec<PathBuf> = folders([&settings.base, folder], "templates");
        live.extend(named.chain([folder.join("static")]));
        let mut walk = Self {
            sources: program.map(|_| folder.to_owned()),
            parts: Vec::new(),
            live,
            settings: settings.file.as_deref().map(Path::to_owned),
        };
        if let Some(program) = program {
            walk.parts = walk.parts_of(program);
        }
        walk
    }

    /// Looks at everything.
    pub(super) fn look(&self) -> Stamp {
        let mut stamp = Stamp::default();
        for part in &self.parts {
            stamp.put(Part::Code, part.clone());
        }
        if let Some(folder) = &self.sources {
            walk(folder, 0, &mut |path, name| {
                let is_live = self.live.iter().any(|live| path.starts_with(live));
                if !is_live && (name.ends_with(".rs") || name == "Cargo.toml") {
                    stamp.put(Part::Code, path.to_owned());
                }
            });
        }
        for folder in &self.live {
            walk(folder, 0, &mut |path, name| {
                let part = if name.ends_with(".css") { Part::Style } else { Part::Page };
                stamp.put(part, path.to_owned());
            });
        }
        for file in self.settings_files() {
            stamp.put(Part::Settings, file);
        }
        stamp
    }

    /// After a build: `program` may be made of other files than before. That is no change.
    pub(super) fn learn(&mut self, program: &Path, seen: &mut Stamp) {
        let before = self.look();
        self.parts = self.parts_of(program);
        let after = self.look();
        seen.0.retain(|path, _| after.0.contains_key(path) || !before.0.contains_key(path));
        let new = after.0.into_iter().filter(|(path, _)| !before.0.contains_key(path));
        seen.0.extend(new);
    }

    /// What cargo says `program` was built from, but for what is read from disk anyway.
    fn parts_of(&self, program: &Path) -> Vec<PathBuf> {
        let mut name = program.file_name().unwrap_or_default().to_owned();
        name.push(".d");
        let text = fs::read_to_string(program.with_file_name(name)).unwrap_or_default();
        let mut parts = dependencies(&text);
        parts.retain(|part| {
            !is_migration(part) && !self.live.iter().any(|live| part.starts_with(live))
        });
        parts
    }

    /// The settings file and those of environments beside it.
    fn settings_files(&self) -> Vec<PathBuf> {
        let Some(file) = &self.settings else { return Vec::new() };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_one = |name: &str| {
            let rest = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest == "toml" || rest.ends_with(".toml"))
        };
        let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok());
        let entries = entries.into_iter().flatten().flatten();
        let found = entries.filter(|entry| is_one(&entry.file_name().to_string_lossy()));
        found.map(|entry| entry.path()).collect()
    }
}

/// Embedded too, but `migrate` reads them from disk each time.
fn is_migration(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "toml") && path.iter().any(|p| p == "migrations")
}

/// The files of a Makefile's rule, as cargo writes it beside a program: blanks in names have a
/// backslash before them.
pub(super) fn dependencies(text: &str) -> Vec<PathBuf> {
    let Some((_, files)) = text.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut names = vec![String::new()];
    let mut letters = files.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => names.last_mut().into_iter().for_each(|n| n.extend(letters.next())),
            ' ' => names.push(String::new()),
            letter => names.last_mut().into_iter().for_each(|n| n.push(letter)),
        }
    }
    names.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// Drafts of editors, and what systems and tools leave behind. Vim tries whether it may write with
/// a file called 4913.
pub(super) fn is_passed_over(name: &str) -> bool {
    let ends = ["~", ".swp", ".swx", ".tmp", ".bak", "___"];
    name.starts_with(['.', '#']) || name == "4913" || ends.iter().any(|end| name.ends_with(end))
}

fn walk(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &str)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_passed_over(&name) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            if depth < FOLDER_DEPTH_MAX && !PASSED_OVER.contains(&&*name) {
                walk(&path, depth + 1, visit);
            }
        } else {
            visit(&path, &name);
        }
    }
}
