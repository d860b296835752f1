//! What is watched, what a change means, how it is built.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use super::build::{cargo, plain};
use super::builder::others;
use super::page::Page;
use super::walk::{Change, ENTRIES_MAX, Mark, Walk, dependencies, is_passed_over};
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
    // A template may include the sheet.
    for file in ["templates/a.html", "templates/b/c.css", "static/a.js", "static/x.rs"] {
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
fn a_file_that_is_gone_replaced_or_rewritten_is_a_change() {
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
    // In place, of the same size.
    assert!(is_changed(&|| {
        let file = fs::File::options().write(true).open(&main).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }));
    // The same with the time of before, as copying tools do; the kernel's own clock has steps.
    let rewrite = || {
        fs::write(&main, "3").unwrap();
        let file = fs::File::options().write(true).open(&main).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    assert!((0..1000).any(|_| is_changed(&rewrite)));
    assert!(is_changed(&|| fs::remove_file(&main).unwrap()));
}

#[test]
fn a_build_that_adds_a_file_to_the_program_is_no_change_by_itself() {
    let mut watched = Watched::new();
    let (program, new) = (watched.path("target/debug/site"), watched.path("elsewhere/text.md"));
    write(&new, "1");
    let seen = watched.walk.look();
    write(&program.with_extension("d"), &rule(&[&new]));
    watched.walk.learn();
    assert_eq!(seen.change(&watched.walk.look()), Change::default());
    watched.check("elsewhere/text.md", |change| &mut change.code);
    // As it was, when nothing tells.
    fs::remove_file(program.with_extension("d")).unwrap();
    watched.walk.learn();
    watched.check("elsewhere/text.md", |change| &mut change.code);
}

#[test]
fn what_a_build_script_writes_is_no_change() {
    let mut watched = Watched::new();
    let made = watched.path("target/debug/build/site-1/out/made.rs");
    write(&made, "1");
    write(&watched.path("target/debug/site.d"), &rule(&[&made]));
    watched.walk.learn();
    watched.check_nothing("target/debug/build/site-1/out/made.rs");
}

#[test]
fn a_package_beside_is_watched_with_what_is_new_in_it() {
    let mut watched = Watched::new();
    let beside = tempfile::tempdir().unwrap();
    for file in ["Cargo.toml", "src/lib.rs", "src/b.rs", "inner/Cargo.toml", "inner/src/lib.rs"] {
        write(&beside.path().join(file), "1");
    }
    let seen = watched.walk.look();
    let program = watched.path("target/debug/site");
    write(&program.with_extension("d"), &rule(&[&beside.path().join("src/lib.rs")]));
    watched.walk.learn();
    assert_eq!(seen.change(&watched.walk.look()).code, None);
    for file in ["src/lib.rs", "src/new.rs", "src/b.rs", "Cargo.toml", "templates/new.html"] {
        let file = beside.path().join(file);
        let before = watched.walk.look();
        write(&file, "another content");
        assert_eq!(before.change(&watched.walk.look()).code, Some(file));
    }
    let before = watched.walk.look();
    write(&beside.path().join("inner/src/lib.rs"), "another content");
    assert_eq!(before.change(&watched.walk.look()), Change::default());
}

#[test]
fn links_and_folders_of_tools_are_not_entered_and_a_look_ends() {
    let watched = Watched::new();
    let elsewhere = tempfile::tempdir().unwrap();
    for (link, to) in
        [("src/a", Path::new(".")), ("src/b", Path::new(".")), ("src/c", elsewhere.path())]
    {
        symlink(to, watched.path(link)).unwrap();
    }
    write(&watched.path("env/pyvenv.cfg"), "");
    write(&watched.path("built/CACHEDIR.TAG"), "");
    watched.check_nothing("src/c/x.rs");
    watched.check_nothing("env/lib/x.rs");
    watched.check_nothing("built/debug/x.rs");
    assert!(!watched.walk.look().is_cut());

    fs::create_dir(watched.path("many")).unwrap();
    for number in 0..ENTRIES_MAX {
        fs::File::create(watched.path(&format!("many/{number}"))).unwrap();
    }
    assert!(watched.walk.look().is_cut());
    watched.check("settings.toml", |change| &mut change.settings);
    watched.check("beside/b.rs", |change| &mut change.code);
}

#[test]
fn what_was_saved_after_the_program_was_built_is_known() {
    let watched = Watched::new();
    let program = watched.path("target/debug/site");
    write(&program, "");
    let newer = |seconds: u64| {
        let times = fs::File::options().write(true).open(watched.path("beside/b.rs")).unwrap();
        times.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        watched.walk.look().newer_code(Mark::of(&program)).map(Path::to_owned)
    };
    assert_eq!(newer(1), None);
    assert_eq!(newer(1 << 33), Some(watched.path("beside/b.rs")));
}

/// What is sent of a page, and the length its header names.
async fn marked(is_head: bool, headers: &[(&'static str, &str)]) -> (String, Option<u64>) {
    let mut response = Response::new(Body::from("<h1>one</h1>"));
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let response = Page::new("1-1".into()).mark(is_head, response);
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
    assert!(length.is_none() || !response.headers().contains_key(ETAG));
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), length)
}

#[tokio::test]
async fn only_what_a_browser_shows_as_a_page_is_marked() {
    let html = ("content-type", "text/html; charset=utf-8");
    let (page, length) = marked(false, &[html, ("etag", "\"1\"")]).await;
    assert!(page.starts_with("<h1>one</h1><script"), "{page}");
    assert_eq!(length, Some(page.len() as u64));
    // Its body is the answer's to a GET here, and left out elsewhere.
    assert_eq!(marked(true, &[html]).await, (String::new(), length));
    let others: [&[(&'static str, &str)]; 5] = [
        &[],
        &[("content-type", "text/html-x")],
        &[("content-type", "text/html; charset=UTF-16")],
        &[html, ("content-disposition", "attachment; filename=a.html")],
        &[html, ("content-encoding", "gzip")],
    ];
    for other in others {
        assert_eq!(marked(false, other).await.0, "<h1>one</h1>", "{other:?}");
    }
}

#[test]
fn a_page_is_what_is_asked_for_as_one() {
    let page = Page::new("1-1".into());
    let is_wanted = |name: &'static str, value: &'static str| {
        let mut asked = HeaderMap::new();
        asked.insert(name, HeaderValue::from_static(value));
        page.is_wanted(&asked)
    };
    assert!(is_wanted("sec-fetch-dest", "document"));
    assert!(!is_wanted("sec-fetch-dest", "empty") && !is_wanted("sec-fetch-dest", "iframe"));
    assert!(is_wanted("accept", "text/html,application/xml;q=0.9,*/*;q=0.8"));
    assert!(!is_wanted("accept", "*/*") && !is_wanted("host", "x"));

    let mut asked = HeaderMap::new();
    asked.insert(IF_NONE_MATCH, HeaderValue::from_static("\"1\""));
    asked.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    page.ask_whole(&mut asked);
    assert!(asked.is_empty());
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
fn a_build_keeps_the_libraries_of_its_developer() {
    let left = |folders: &str| {
        let left = others(folders.as_ref(), Path::new("/s/target/debug/site"));
        left.map(|folders| folders.into_string().unwrap())
    };
    let cargos = "/s/target/debug/build/x/out:/s/target/debug/deps:/s/target/debug";
    let rustups = "/r/toolchains/stable/lib:/r/lib/rustlib/linux/lib";
    assert_eq!(left(&format!("{cargos}:{rustups}")), None);
    assert_eq!(left(&format!("{cargos}:/opt/pq:{rustups}:/nix/lib")).unwrap(), "/opt/pq:/nix/lib");
}

#[test]
fn colours_and_links_of_a_terminal_do_not_reach_the_page() {
    assert_eq!(plain("\x1b[1m\x1b[31merror\x1b[0m: no\n"), "error: no");
    assert_eq!(plain("\x1b]8;;http://x\x1b\\E0308\x1b]8;;\x1b\\ ü"), "E0308 ü");
    assert_eq!(plain("cut \x1b[31"), "cut");
    assert_eq!(plain(""), "");
}
