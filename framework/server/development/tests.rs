//! What is watched, what a change means, how it is built.

use std::fs;
use std::path::{Path, PathBuf};

use super::build::{cargo, plain};
use super::walk::{Change, Walk, dependencies, is_passed_over};
use crate::conf::Settings;

/// A project of one file each, and who looks at it.
struct Watched {
    folder: tempfile::TempDir,
    walk: Walk,
}

impl Watched {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        for file in ["src/main.rs", "Cargo.toml", "templates/a.html", "static/a.css", "beside/b.rs"]
        {
            write(&base.join(file), "1");
        }
        write(&base.join("settings.toml"), "");
        let program = base.join("target/debug/site");
        let beside = base.join("beside/b.rs");
        let named = [beside.as_path(), &base.join("templates/a.html"), Path::new("/no/such")];
        write(&program.with_extension("d"), &rule(&named));
        let mut settings = Settings::default();
        settings.base = base.into();
        settings.file = Some(base.join("settings.toml").as_path().into());
        let walk = Walk::new(base, &settings, Some(&program));
        Self { folder, walk }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What is noticed of a new content of `file`.
    fn check(&self, file: &str, expected: impl FnOnce(&mut Change) -> &mut Option<PathBuf>) {
        let before = self.walk.look();
        write(&self.path(file), "another content");
        let mut wanted = Change::default();
        *expected(&mut wanted) = Some(self.path(file));
        assert_eq!(before.change(&self.walk.look()), wanted, "{file}");
    }

    fn check_nothing(&self, file: &str) {
        let before = self.walk.look();
        write(&self.path(file), "another content");
        assert_eq!(before.change(&self.walk.look()), Change::default(), "{file}");
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn rule(files: &[&Path]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("/target/debug/site: {}\n", names.join(" "))
}

#[test]
fn each_file_of_a_project_has_its_consequence() {
    let watched = Watched::new();
    for file in ["src/main.rs", "src/new.rs", "Cargo.toml", "beside/b.rs"] {
        watched.check(file, |change| &mut change.code);
    }
    for file in ["settings.toml", "settings.dev.toml"] {
        watched.check(file, |change| &mut change.settings);
    }
    for file in ["templates/a.html", "templates/b/c.html", "static/a.js", "static/x.rs"] {
        watched.check(file, |change| &mut change.page);
    }
    watched.check("static/a.css", |change| &mut change.style);
}

#[test]
fn what_is_built_written_by_the_site_or_half_written_is_no_change() {
    let watched = Watched::new();
    for file in [
        "target/debug/build/x/out/generated.rs",
        "db.sqlite3",
        ".git/HEAD",
        ".hulse/x.rs",
        "README.md",
        "src/.main.rs.swp",
        "src/main.rs~",
        "templates/4913",
        "templates/#a.html#",
        "templates/a.html.tmp",
        "migrations/blog/0001_initial.toml",
        "other.toml",
    ] {
        watched.check_nothing(file);
    }
    assert!(is_passed_over("a.html___jb_tmp___") && !is_passed_over("a.html"));
}

#[test]
fn a_file_that_is_gone_replaced_or_touched_is_a_change() {
    let watched = Watched::new();
    let main = watched.path("src/main.rs");
    let is_changed = |act: &dyn Fn()| {
        let before = watched.walk.look();
        act();
        before.change(&watched.walk.look()).code == Some(main.clone())
    };
    assert!(!is_changed(&|| {}));
    // As many editors write: another file takes the name, of the same size.
    assert!(is_changed(&|| {
        write(&watched.path("src/.new"), "2");
        fs::rename(watched.path("src/.new"), &main).unwrap();
    }));
    assert!(is_changed(&|| fs::remove_file(&main).unwrap()));
}

#[test]
fn a_build_that_adds_a_file_to_the_program_is_no_change_by_itself() {
    let mut watched = Watched::new();
    let (program, new) = (watched.path("target/debug/site"), watched.path("elsewhere/text.md"));
    write(&new, "1");
    let mut seen = watched.walk.look();
    write(&program.with_extension("d"), &rule(&[&new]));
    watched.walk.learn(&program, &mut seen);
    assert_eq!(seen.change(&watched.walk.look()), Change::default());
    watched.check("elsewhere/text.md", |change| &mut change.code);
}

#[test]
fn cargo_names_its_files_with_escaped_blanks() {
    let names = |text: &str| -> Vec<String> {
        dependencies(text).iter().map(|path| path.display().to_string()).collect()
    };
    assert_eq!(names("/t/site: /a/main.rs /my\\ site/b.rs\n"), ["/a/main.rs", "/my site/b.rs"]);
    assert_eq!(names("/t/site:\n"), [""; 0]);
    assert_eq!(names(""), [""; 0]);
}

#[test]
fn the_program_is_built_in_the_profile_it_was_built_in() {
    let words = |program: &str| {
        let words = cargo(Path::new("/s/Cargo.toml"), Path::new(program));
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    };
    let plain = "cargo build -q --manifest-path /s/Cargo.toml --bin site";
    assert_eq!(words("/s/target/debug/site"), plain);
    assert_eq!(words("site"), plain);
    assert_eq!(words("/s/target/release/site"), format!("{plain} --profile release"));
}

#[test]
fn colours_and_links_of_a_terminal_do_not_reach_the_page() {
    assert_eq!(plain("\x1b[1m\x1b[31merror\x1b[0m: no\n"), "error: no");
    assert_eq!(plain("\x1b]8;;http://x\x1b\\E0308\x1b]8;;\x1b\\ ü"), "E0308 ü");
    assert_eq!(plain("cut \x1b[31"), "cut");
    assert_eq!(plain(""), "");
}
