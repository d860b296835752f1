//! The files of a project: which there are, and which have changed since the last look.
//!
//! It looks at times, sizes and inodes, of which each write changes one, instead of asking the
//! kernel to tell: a project has hundreds of files, a look takes a millisecond, and it works on
//! network file systems and for every way in which editors write.
//!
//! Invariants:
//! - A look ends after [`ENTRIES_MAX`] entries, and what is known from before is looked at first.
//! - Links to folders below a watched one are not followed: they may lead anywhere, and in circles.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::conf::Settings;

/// Deepest folder below a watched one.
const FOLDER_DEPTH_MAX: usize = 16;

/// Most files and folders that one look meets; a project that has more has a folder in it that is
/// none of its own.
pub(super) const ENTRIES_MAX: usize = 20_000;

/// Folders that are nobody's source: what is built, and what other tools fetch.
const PASSED_OVER: [&str; 2] = ["target", "node_modules"];

/// What lies in a folder that is nobody's source: one that cargo builds into, a Python environment.
const SIGNS: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// The same in a package; what lies in another package's folder is not built into this one.
const SIGNS_IN_PACKAGE: [&str; 3] = [SIGNS[0], SIGNS[1], MANIFEST];

const MANIFEST: &str = "Cargo.toml";

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
    /// When the file itself changed, its times included; of a source only.
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// All files as they were at one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamp {
    files: BTreeMap<PathBuf, (Part, Mark)>,
    learnt: Arc<Learnt>,
    is_cut: bool,
}

/// What cargo says the program was built from.
#[derive(Debug, Default)]
struct Learnt {
    /// But for what is built itself, and what is read from disk anyway.
    files: BTreeSet<PathBuf>,
    /// The folders of packages outside the project's.
    packages: BTreeSet<PathBuf>,
}

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
    /// What is built, if it is built here.
    program: Option<PathBuf>,
    /// Manifests and locks above the project, there or not.
    above: Vec<PathBuf>,
    learnt: Arc<Learnt>,
    /// Read from disk while the site runs: templates, then static files.
    live: Vec<PathBuf>,
    /// How many of them are templates.
    templates: usize,
    settings: Option<PathBuf>,
}

impl Mark {
    pub(super) fn of(path: &Path) -> Self {
        let Ok(found) = fs::metadata(path) else { return Self::default() };
        let modified = (found.mtime(), found.mtime_nsec());
        Self { modified, bytes: found.len(), inode: found.ino(), ..Self::default() }
    }

    /// Of a file that people write, and copy with the time of another. (Cargo links and unlinks
    /// programs, which changes them too.)
    fn of_source(path: &Path) -> Self {
        let changed = fs::metadata(path).map(|found| (found.ctime(), found.ctime_nsec()));
        Self { changed: changed.unwrap_or_default(), ..Self::of(path) }
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

impl Learnt {
    /// Whether `path` is watched because of one of the two only.
    fn differ(&self, other: &Self, path: &Path) -> bool {
        self.files.contains(path) != other.files.contains(path)
            || self.packages.symmetric_difference(&other.packages).any(|p| path.starts_with(p))
    }
}

impl Stamp {
    /// What is new, gone or different in `now`. That a build was made from other files than the one
    /// before is no change.
    pub(super) fn change(&self, now: &Self) -> Change {
        let mut change = Change::default();
        let is_same = Arc::ptr_eq(&self.learnt, &now.learnt);
        let is_change = |path: &Path| is_same || !self.learnt.differ(&now.learnt, path);
        for (path, (part, mark)) in &now.files {
            let is_another = match self.files.get(path) {
                Some((_, before)) => before != mark,
                None => is_change(path),
            };
            if is_another {
                change.note(*part, path);
            }
        }
        for (path, (part, _)) in &self.files {
            if !now.files.contains_key(path) && is_change(path) {
                change.note(*part, path);
            }
        }
        change
    }

    /// A file that the program was built from and that was changed after it.
    pub(super) fn newer_code(&self, program: Mark) -> Option<&Path> {
        let is_newer = |(_, (part, mark)): &(&PathBuf, &(Part, Mark))| {
            *part == Part::Code && mark.modified > program.modified
        };
        let of_program = |(path, _): &(&PathBuf, &(Part, Mark))| self.learnt.files.contains(*path);
        let found = self.files.iter().filter(of_program).find(is_newer);
        found.map(|(path, _)| path.as_path())
    }

    /// Whether there is more than was looked at.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The first to name a file says what it is.
    fn put(&mut self, part: Part, path: PathBuf) {
        if let Entry::Vacant(place) = self.files.entry(path) {
            let mark = Mark::of_source(place.key());
            place.insert((part, mark));
        }
    }
}

impl Walk {
    /// The places of a project; `program` if it is built here.
    pub(super) fn new(folder: &Path, settings: &Settings, program: Option<&PathBuf>) -> Self {
        let named = settings.static_files.dirs.iter().map(|path| settings.resolve(path));
        let mut live: Vec<PathBuf> =
            [&*settings.base, folder].map(|parent| parent.join("templates")).into();
        live.dedup();
        let templates = live.len();
        live.extend(named.chain([folder.join("static")]));
        let above = folder.ancestors().skip(1).take_while(|_| program.is_some());
        let above = above.flat_map(|folder| [folder.join(MANIFEST), folder.join("Cargo.lock")]);
        let mut walk = Self {
            sources: program.map(|_| folder.to_owned()),
            program: program.map(|program| std::path::absolute(program).unwrap_or_default()),
            above: above.collect(),
            learnt: Arc::default(),
            live,
            templates,
            settings: settings.file.as_deref().map(Path::to_owned),
        };
        walk.learn();
        walk
    }

    /// Looks at everything.
    pub(super) fn look(&self) -> Stamp {
        let mut stamp = Stamp { learnt: self.learnt.clone(), ..Stamp::default() };
        for file in self.settings_files() {
            stamp.put(Part::Settings, file);
        }
        for file in self.learnt.files.iter().chain(&self.above) {
            stamp.put(Part::Code, file.clone());
        }
        let mut left = ENTRIES_MAX;
        for (index, folder) in self.live.iter().enumerate() {
            let is_static = index >= self.templates;
            let mut steps = Steps { left: &mut left, signs: &SIGNS, closed: &[] };
            steps.walk(folder, 0, &mut |path, name| {
                // One that a template includes is part of the page.
                let is_style = is_static && name.ends_with(".css");
                let part = if is_style { Part::Style } else { Part::Page };
                stamp.put(part, path);
            });
        }
        // Entered already, or built.
        let built = self.program.as_deref().and_then(Path::parent).map(Path::to_owned);
        let mut closed: Vec<PathBuf> = self.live.iter().cloned().chain(built).collect();
        if let Some(folder) = &self.sources {
            let mut steps = Steps { left: &mut left, signs: &SIGNS, closed: &closed };
            steps.walk(folder, 0, &mut |path, name| {
                if is_source(name) {
                    stamp.put(Part::Code, path);
                }
            });
        }
        closed.extend(self.sources.clone());
        for package in &self.learnt.packages {
            // Part of its program: only the project's own are read from disk.
            let embedded = package.join("templates");
            let mut steps = Steps { left: &mut left, signs: &SIGNS_IN_PACKAGE, closed: &closed };
            steps.walk(package, 0, &mut |path, name| {
                if is_source(name) || path.starts_with(&embedded) {
                    stamp.put(Part::Code, path);
                }
            });
        }
        stamp.is_cut = left == 0;
        stamp
    }

    /// After a build: the program may be made of other files than before.
    pub(super) fn learn(&mut self) {
        // Cleaned away, or not yet built: as it was.
        if let Some(learnt) = self.program.as_deref().and_then(|program| self.read(program)) {
            self.learnt = Arc::new(learnt);
        }
    }

    /// What cargo says `program` was built from.
    fn read(&self, program: &Path) -> Option<Learnt> {
        let mut name = program.file_name()?.to_owned();
        name.push(".d");
        let text = fs::read_to_string(program.with_file_name(name)).ok()?;
        // What build scripts write is built too, and changes with each build.
        let own = self.sources.as_deref();
        let built = program.parent().filter(|built| own.is_none_or(|own| !own.starts_with(built)));
        let mut files: BTreeSet<PathBuf> = dependencies(&text).into_iter().collect();
        // What is embedded is named by where links lead to.
        let live: Vec<PathBuf> = self.live.iter().flat_map(fs::canonicalize).collect();
        files.retain(|file| {
            let mut live = self.live.iter().chain(&live);
            let is_live = live.any(|live| file.starts_with(live));
            !is_live && !is_migration(file) && !built.is_some_and(|built| file.starts_with(built))
        });
        let sources = files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
        let folders: BTreeSet<&Path> = sources.filter_map(|file| file.parent()).collect();
        let others = folders.iter().filter(|folder| own.is_none_or(|own| !folder.starts_with(own)));
        let packages = others
            .filter_map(|folder| folder.ancestors().find(|f| f.join(MANIFEST).is_file()))
            .map(Path::to_owned)
            .collect();
        Some(Learnt { files, packages })
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

/// Whether cargo builds from it.
fn is_source(name: &str) -> bool {
    name.ends_with(".rs") || name == MANIFEST
}

/// Going through folders.
struct Steps<'a> {
    /// Entries that may still be met.
    left: &'a mut usize,
    /// Files that close the folder they lie in, if it is not the first.
    signs: &'a [&'a str],
    /// Folders that are not entered.
    closed: &'a [PathBuf],
}

impl Steps<'_> {
    fn walk(&mut self, folder: &Path, depth: usize, visit: &mut dyn FnMut(PathBuf, &str)) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(left) = self.left.checked_sub(1) else { break };
            *self.left = left;
            let name = entry.file_name().to_string_lossy().into_owned();
            if depth > 0 && self.signs.contains(&&*name) {
                return;
            }
            if !is_passed_over(&name) {
                found.push((name, entry));
            }
        }
        for (name, entry) in found {
            let path = entry.path();
            // Of the entry: mostly that needs no other look, and a link is no folder.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                visit(path, &name);
            } else if depth < FOLDER_DEPTH_MAX
                && !PASSED_OVER.contains(&&*name)
                && !self.closed.contains(&path)
            {
                self.walk(&path, depth + 1, visit);
            }
        }
    }
}
