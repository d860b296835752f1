//! The development server: what changes on disk is built, served and shown, and only there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hulse_tests::{
    Browser, Program, Pulse, Screen, Surroundings, Visitor, Window, site_command, site_folder_of,
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{interval, timeout};

const SETTINGS: &str = "debug = true\n[static]\ndirs = [\"static\"]\n";

const PAGE: &str = "<!doctype html><html><head><link rel=\"stylesheet\" href=\"/static/page.css\">\
                    </head><body><h1>one</h1></body></html>";

/// Lets a test see that the page listens: what it has heard so far.
const LISTEN: &str = "window.heard = 0; window.WebSocket = class extends WebSocket { \
                      constructor(...all) { super(...all); \
                      this.addEventListener('message', () => { window.heard += 1; }); } };";

const LISTENS: &str = "window.heard > 0 && document.readyState === 'complete'";

const OVERLAY: &str = "document.getElementById('hulse-development')";

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_reload_says_that_migrations_are_not_applied() {
    let (folder, surroundings) = (site_folder_of(Program::Djchat), Surroundings::default());
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["runserver", "0"]);
    let words = "development server at http";
    let mut pulse = Pulse::launch(command, folder, surroundings, words).await;
    let (seen, file) = (pulse.log().len(), pulse.folder().join("settings.toml"));
    fs::write(&file, fs::read_to_string(&file).unwrap() + "# new\n").unwrap();
    pulse.said_after(seen, "migrations are not applied: run `manage migrate`").await;
    assert_eq!(pulse.stop().await, 0);
}

/// What browsers ask for pages with.
const AS_PAGE: [(&str, &str); 1] = [("Accept", "text/html,*/*;q=0.8")];

/// The testsite's folder with a template and a style sheet.
fn folder() -> TempDir {
    let folder = site_folder_of(Program::Testsite);
    write(folder.path(), "settings.toml", SETTINGS);
    write(folder.path(), "templates/page.html", PAGE);
    write(folder.path(), "static/x.html", "<h1>x</h1>");
    write(folder.path(), "static/page.css", "h1 { color: rgb(1, 2, 3) }");
    folder
}

async fn open(browser: &mut Browser, url: &str) -> Window {
    let mut window = browser.window(Screen::DESKTOP).await;
    window.before_each_page(LISTEN).await;
    window.goto(url).await;
    window.wait_for(LISTENS).await;
    window
}

async fn shows(window: &mut Window, heading: &str) {
    let shown = "document.querySelector('h1').textContent";
    window.wait_for(&format!("{shown} === {heading:?} && {LISTENS}")).await;
}

#[tokio::test]
async fn pages_follow_templates_style_sheets_and_settings() {
    let Some(mut browser) = Browser::start().await else { return };
    let mut pulse = Pulse::start_runserver(folder(), &[]).await;
    let folder = pulse.folder().to_owned();
    let mut window = open(&mut browser, &pulse.url("/page/")).await;
    let color = "getComputedStyle(document.querySelector('h1')).color";
    assert_eq!(window.evaluate(color).await, "rgb(1, 2, 3)");

    // A style sheet is swapped in the page as it is.
    window.evaluate("window.kept = true").await;
    write(&folder, "static/page.css", "h1 { color: rgb(4, 5, 6) }");
    window.wait_for(&format!("{color} === 'rgb(4, 5, 6)'")).await;
    assert_eq!(window.evaluate("window.kept").await, true);
    assert_eq!(window.evaluate("document.querySelectorAll('link').length").await, 1);

    write(&folder, "templates/page.html", &PAGE.replace("one", "two"));
    shows(&mut window, "two").await;
    assert_eq!(window.evaluate("typeof window.kept").await, "undefined");
    assert_eq!(window.evaluate(color).await, "rgb(4, 5, 6)");

    // The page of an error is one like any other.
    write(&folder, "templates/page.html", "<h1>three</h1>{% if %}");
    window.wait_for(&format!("document.body.innerText.includes('500') && {LISTENS}")).await;
    write(&folder, "templates/page.html", &PAGE.replace("one", "three"));
    shows(&mut window, "three").await;
    window.evaluate("window.kept = true").await;
    write(&folder, "static/page.js", "new");
    window.wait_for(&format!("window.kept === undefined && {LISTENS}")).await;

    // What a script fetches is what the view made.
    let fetched = window.evaluate("fetch('/page/').then((page) => page.text())").await;
    assert_eq!(fetched, PAGE.replace("one", "three"));

    let seen = pulse.log().len();
    write(&folder, "settings.toml", "debug = tru\n");
    window.wait_for(&format!("{OVERLAY}.textContent.includes('settings.toml')")).await;
    pulse.said_after(seen, "It cannot be reloaded").await;
    // What can be served is, and what is wrong with it is said each time.
    let seen = pulse.log().len();
    let careless = format!("{SETTINGS}[security]\nreferrer_policy = \"never\"\n");
    write(&folder, "settings.toml", &careless);
    window.wait_for(&format!("{OVERLAY} === null && {LISTENS}")).await;
    shows(&mut window, "three").await;
    pulse.said_after(seen, "security.E023: ").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn it_speaks_as_djangos_and_ends_with_1_if_its_port_is_taken() {
    let mut pulse = Pulse::start_runserver(folder(), &[]).await;
    let log = pulse.said("Quit the server with CONTROL-C.").await;
    assert_eq!(log, "Quit the server with CONTROL-C.");
    let log = pulse.log();
    assert!(log.contains("Watching for file changes\n"), "{log}");
    assert!(log.contains("publish.W001") && log.contains("identified 1 issue.\n"), "{log}");
    assert!(log.contains("Starting development server at http://127.0.0.1:"), "{log}");
    assert_eq!(pulse.workers().len(), 1);

    let port = pulse.address().rsplit(':').next().unwrap().to_owned();
    let taken = pulse.try_manage(&["runserver", &port], &[]).await;
    assert_eq!(taken.status.code(), Some(1));
    let said = String::from_utf8(taken.stderr).unwrap();
    let expected = format!("cannot listen on 127.0.0.1:{port}: the address is in use");
    assert!(said.contains(&expected), "{said}");
    // Who wrote it down wants nobody else to see how the site is made.
    let off = [("HULSE_DEBUG", "false")];
    let open = pulse.try_manage(&["runserver", "0:0"], &off).await;
    let said = String::from_utf8(open.stderr).unwrap();
    assert!(said.contains("HULSE_DEBUG: debug = false") && said.contains("0.0.0.0:0"), "{said}");
    assert_eq!(open.status.code(), Some(2));
    let taken = pulse.try_manage(&["runserver", &port], &off).await;
    let said = String::from_utf8(taken.stdout).unwrap();
    assert!(said.contains("HULSE_DEBUG: debug = false does not count here"), "{said}");
    let wrong = pulse.try_manage(&["runserver", "localhost"], &[]).await;
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("address:port"));

    // A page, and what is none.
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/page/").await.body, PAGE);
    let page = visitor.ask("GET", "/page/", &AS_PAGE).await;
    assert_eq!(page.body.matches("<script src=\"/__hulse__/development.js?").count(), 1);
    assert_eq!(page.headers["content-length"], page.body.len().to_string());
    assert_eq!(visitor.ask("GET", "/", &AS_PAGE).await.body, "Hello World!\n");
    // A page of an earlier release is never good enough.
    let tag = visitor.get("/static/x.html").await.headers["etag"].clone();
    assert_eq!(visitor.ask("GET", "/static/x.html", &[("If-None-Match", &tag)]).await.status, 304);
    let asked = [AS_PAGE[0], ("If-None-Match", &tag)];
    let page = visitor.ask("GET", "/static/x.html", &asked).await;
    assert!(page.status == 200 && page.body.starts_with("<h1>x</h1><script"), "{page:?}");
    assert!(!page.headers.contains_key("etag") && page.headers["cache-control"] == "no-store");
    let head = visitor.ask("HEAD", "/static/x.html", &AS_PAGE).await;
    assert_eq!(head.headers["content-length"], page.body.len().to_string());
    let script = visitor.get("/__hulse__/development.js").await;
    assert!(script.status == 200 && script.body.len() <= 2304, "{} bytes", script.body.len());
    let said = String::from_utf8(pulse.try_manage(&["help"], &[]).await.stdout).unwrap();
    assert!(said.contains("runserver"), "{said}");
    pulse.signal(Signal::INT);
    assert_eq!(pulse.ended().await.code(), Some(0));
}

/// Whether anything of it is there.
async fn is_there(pulse: &Pulse) -> bool {
    let mut visitor = Visitor::new(pulse.address());
    let page = visitor.ask("GET", "/page/", &AS_PAGE).await;
    let script = visitor.get("/__hulse__/development.js").await.status;
    let socket = visitor.try_socket("/__hulse__/development.js/news").await;
    let answers = [page.body != PAGE, script != 404, socket.err() != Some(404)];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}: {}", page.body);
    answers[0]
}

#[tokio::test]
async fn without_reload_nothing_of_it_is_there() {
    let pulse = Pulse::start_runserver(folder(), &["--noreload"]).await;
    assert!(!is_there(&pulse).await);
    assert!(!pulse.log().contains("Watching for file changes"));
    assert_eq!(pulse.stop().await, 0);

    let start = |arguments: &'static [&str], key: &str| {
        let (folder, surroundings) =
            (folder(), Surroundings { program: Program::Testsite, ..Default::default() });
        let mut command = site_command(folder.path(), &surroundings);
        command.args(["pulse", "-w", "2", "-b", "127.0.0.1:0"]).args(arguments);
        command.env("HULSE_DEBUG", key).env("SECRET_KEY", "x".repeat(50));
        command.env("HULSE_ALLOWED_HOSTS", "127.0.0.1");
        (command, folder, surroundings)
    };
    for debug in ["true", "false"] {
        let (command, folder, surroundings) = start(&[], debug);
        let pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
        assert!(!is_there(&pulse).await, "debug {debug}");
        assert_eq!(pulse.stop().await, 0);
    }
    let (command, folder, surroundings) = start(&["--reload"], "true");
    let pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
    assert!(is_there(&pulse).await);
    assert_eq!(pulse.stop().await, 0);
    let (mut command, _folder, _) = start(&["--reload"], "false");
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--reload: server.reload is for development"), "{said}");
}

#[tokio::test]
async fn a_reload_by_hand_takes_away_what_was_wrong() {
    let mut pulse = Pulse::start_runserver(folder(), &[]).await;
    let base = pulse.folder().to_owned();
    write(&base, "die-at-start", "");
    let seen = pulse.log().len();
    write(&base, "settings.toml", &format!("{SETTINGS}# new\n"));
    pulse.said_after(seen, "It cannot be reloaded").await;
    hears(&pulse, |news| !news["failed"].is_null()).await;
    // Nothing that is watched is mended by this.
    fs::remove_file(base.join("die-at-start")).unwrap();
    pulse.manage(&["ctl", "reload"], &[]).await;
    hears(&pulse, |news| news["failed"].is_null()).await;
    assert_eq!(pulse.stop().await, 0);
}

/// Waits as a page does until such news come: it comes back when its worker leaves.
async fn hears(pulse: &Pulse, wanted: impl Fn(&Value) -> bool) {
    loop {
        let mut visitor = Visitor::new(pulse.address());
        let mut page = visitor.socket("/__hulse__/development.js/news").await;
        while let Ok(frame) = page.frame().await {
            if wanted(&serde_json::from_str(&frame).unwrap()) {
                return;
            }
        }
    }
}

/// A site that is not built yet.
const MAIN: &str = r#"use hulse::http::header::CONTENT_TYPE;
use hulse::prelude::*;

fn main() -> std::process::ExitCode {
    let index = async || ([(CONTENT_TYPE, "text/html")], "<h1>one</h1>");
    let folder = env!("CARGO_MANIFEST_DIR");
    hulse_manage::run(Project::new("scratch", folder).urls(Urls::new([path("", index)])))
}
"#;

const MANIFEST: &str = r#"[package]
name = "scratch"
version = "0.1.0"
edition = "2024"

[package.metadata.hulse]

[dependencies]
hulse.workspace = true
hulse-manage.workspace = true
"#;

/// The program of a new package of this workspace, built from a copy of it whose folders are links:
/// what is built for the tests is built for it already. Its folder, and what builds it.
fn scratch() -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (base, repository) = (folder.path(), repository());
    for name in ["benches", "examples", "framework", "manage", "migrations", "static", "templates"]
        .into_iter()
        .chain(["tests", "README.md"])
    {
        symlink(repository.join(name), base.join(name)).unwrap();
    }
    fs::copy(repository.join("Cargo.lock"), base.join("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(repository.join("Cargo.toml")).unwrap();
    write(base, "Cargo.toml", &manifest.replacen("members = [", "members = [\"scratch\", ", 1));
    write(base, "scratch/Cargo.toml", MANIFEST);
    write(base, "scratch/src/main.rs", MAIN);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = [cargo.as_str(), "build", "-q", "--offline", "--workspace", "--bin", "scratch"];
    let build: Vec<String> = build.map(str::to_owned).into();
    let settings = format!("debug = true\n[server]\nbuild = {build:?}\n");
    write(base, "scratch/settings.toml", &settings);
    (folder, build)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder of cargo's programs.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

/// Asks for the page all the time; whoever gets none panics.
async fn knock(address: String) {
    let mut often = interval(Duration::from_millis(5));
    let mut visitor = Visitor::new(&address);
    loop {
        often.tick().await;
        assert_eq!(visitor.get("/").await.status, 200);
    }
}

/// Waits until it may go on, and makes another program of it if it should.
const BUILD: &str = "echo $$ > building\n\
                     until [ -e go ]; do sleep 0.02; done\n\
                     if [ -e new ]; then rm new; touch site; fi\n";

/// Serves a program whose build is [`BUILD`], and has found nothing to do yet.
async fn start_with_build() -> (Pulse, String) {
    let folder = folder();
    let base = folder.path().to_owned();
    let surroundings = Surroundings { program: Program::Testsite, ..Default::default() };
    let testsite = site_command(&base, &surroundings).as_std().get_program().to_owned();
    fs::copy(testsite, base.join("site")).unwrap();
    let site = fs::File::options().write(true).open(base.join("site")).unwrap();
    site.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    drop(site);
    write(&base, "main.rs", "1");
    write(&base, "go", "");
    write(&base, "site.d", &format!("site: {}/main.rs\n", base.display()));
    write(&base, "build.sh", BUILD);
    let settings = format!("{SETTINGS}[server]\nbuild = [\"sh\", \"build.sh\"]\n");
    write(&base, "settings.toml", &settings);
    let mut command = Command::new(base.join("site"));
    command.args(["runserver", "0"]).current_dir(&base).env_remove("DATABASE_URL");
    // The testsite has no folder of its own.
    command.env("TMPDIR", &base).env("HULSE_SETTINGS", base.join("settings.toml"));
    let words = "development server at http";
    let mut pulse = Pulse::launch(command, folder, surroundings, words).await;
    pulse.said("main.rs is newer than the program, building").await;
    pulse.said("Nothing to reload").await;
    (pulse, settings)
}

/// Begins a build that does not end: its process.
async fn begin_a_build(pulse: &Pulse) -> String {
    let base = pulse.folder();
    fs::remove_file(base.join("go")).unwrap();
    fs::remove_file(base.join("building")).unwrap();
    write(base, "main.rs", "666666");
    let mut often = interval(Duration::from_millis(5));
    loop {
        often.tick().await;
        let written = fs::read_to_string(base.join("building")).unwrap_or_default();
        if written.ends_with('\n') {
            return written.trim().to_owned();
        }
    }
}

/// One that has ended may still be waited for.
fn lives(process: &str) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for the end of a process.
async fn ends(process: &str) {
    let mut often = interval(Duration::from_millis(5));
    let over = async {
        while lives(process) {
            often.tick().await;
        }
    };
    timeout(Duration::from_secs(30), over).await.expect("it ends");
}

#[tokio::test]
async fn a_build_ends_with_its_server_also_if_that_is_killed() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (mut pulse, _) = start_with_build().await;
        let building = begin_a_build(&pulse).await;
        assert!(lives(&building));
        pulse.signal(signal);
        pulse.ended().await;
        ends(&building).await;
    }
}

#[tokio::test]
async fn what_is_saved_while_a_build_runs_is_served() {
    let (mut pulse, settings) = start_with_build().await;
    let base = pulse.folder().to_owned();
    let door = tokio::spawn(knock(pulse.address().to_owned()));

    // The second build finds nothing to do, and the first has made what is to be served.
    fs::remove_file(base.join("go")).unwrap();
    let seen = pulse.log().len();
    let workers = pulse.workers();
    write(&base, "main.rs", "22");
    pulse.said_after(seen, "main.rs changed, building").await;
    let again = pulse.log().len();
    write(&base, "main.rs", "333");
    pulse.said_after(again, "main.rs changed, building").await;
    write(&base, "new", "");
    write(&base, "go", "");
    pulse.said_after(seen, "Reloaded in").await;
    assert_ne!(pulse.workers(), workers);

    // Settings that are saved with code wait for its build, whatever comes of it.
    fs::remove_file(base.join("go")).unwrap();
    let (seen, workers) = (pulse.log().len(), pulse.workers());
    write(&base, "main.rs", "4444");
    pulse.said_after(seen, "main.rs changed, building").await;
    write(&base, "settings.toml", &format!("{settings}# new\n"));
    pulse.said_after(seen, "settings.toml changed, reloading").await;
    write(&base, "go", "");
    pulse.said_after(seen, "Reloaded in").await;
    assert_ne!(pulse.workers(), workers);

    let seen = pulse.log().len();
    write(&base, "main.rs", "55555");
    pulse.said_after(seen, "Nothing to reload").await;
    assert!(!door.is_finished(), "somebody got no page");
    door.abort();

    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn code_is_built_and_reloaded_and_what_the_compiler_says_is_shown() {
    let Some(mut browser) = Browser::start().await else { return };
    let (folder, build) = scratch();
    let site = folder.path().join("scratch");
    let mut cargo = Command::new(&build[0]);
    cargo.args(&build[1..]).current_dir(&site).env("CARGO_TARGET_DIR", target());
    // As the watcher does: else what asks for these would be built again each time.
    for name in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO_")) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().await.unwrap().success());
    let mut command = Command::new(target().join("debug/scratch"));
    command.arg("runserver").arg("0").current_dir(&site).env("CARGO_TARGET_DIR", target());
    command.env_remove("DATABASE_URL");
    let words = "development server at http";
    let mut pulse = Pulse::launch(command, folder, Surroundings::default(), words).await;
    let door = tokio::spawn(knock(pulse.address().to_owned()));
    let mut window = open(&mut browser, &pulse.url("/")).await;
    shows(&mut window, "one").await;

    let seen = pulse.log().len();
    write(&site, "src/main.rs", &MAIN.replace("one", "two"));
    pulse.said_after(seen, "main.rs changed, building").await;
    pulse.said_after(seen, "Reloaded in").await;
    shows(&mut window, "two").await;

    let (seen, workers) = (pulse.log().len(), pulse.workers());
    write(&site, "src/main.rs", &MAIN.replace("\"<h1>one</h1>\"", "1 + \"two\""));
    pulse.said_after(seen, "the one before it goes on serving").await;
    assert!(pulse.log()[seen..].contains("error[E0277]"), "{}", pulse.log());
    window.wait_for(&format!("{OVERLAY}.textContent.includes('error[E0277]')")).await;
    window.picture("runserver-overlay").await;
    assert!(Visitor::new(pulse.address()).get("/").await.body.starts_with("<h1>two</h1>"));
    // Who comes now sees it too.
    let mut late = open(&mut browser, &pulse.url("/")).await;
    late.wait_for(&format!("{OVERLAY}.textContent.includes('error[E0277]')")).await;
    assert_eq!(pulse.workers(), workers);

    let seen = pulse.log().len();
    write(&site, "src/main.rs", &MAIN.replace("one", "three"));
    pulse.said_after(seen, "Reloaded in").await;
    for window in [&mut window, &mut late] {
        shows(window, "three").await;
        window.wait_for(&format!("{OVERLAY} === null")).await;
    }
    assert!(!door.is_finished(), "somebody was refused");
    door.abort();
    assert_eq!(pulse.stop().await, 0);
}
