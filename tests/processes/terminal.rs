//! A person at a terminal: what they are asked, what they type, what is shown of it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::migrations::Site;

/// Longest wait for words or an end.
const WAIT: Duration = Duration::from_secs(60);

/// How often it is asked whether the terminal still shows what is typed.
const LOOK: Duration = Duration::from_millis(1);

/// What Ctrl-C and Ctrl-D send.
const INTERRUPT: &str = "\u{3}";
const END: &str = "\u{4}";

/// A command that has the other end of a terminal.
struct Terminal {
    own: File,
    child: Child,
    shown: watch::Receiver<String>,
    /// How much of what was shown has been waited for, bytes.
    seen: usize,
}

impl Terminal {
    fn of(site: &Site, words: &str) -> Self {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = || Stdio::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
        let command = site.command(words);
        let command = command.as_std();
        // The terminal must be the command's own: passwords are asked there, and Ctrl-C ends it.
        let mut started = Command::new("setsid");
        started.arg("--ctty").arg(command.get_program()).args(command.get_args());
        started.current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        started.stdin(end()).stdout(end()).stderr(end()).kill_on_drop(true);
        let child = started.spawn().unwrap();
        drop(started);
        let own = File::from(own);
        let (sender, shown) = watch::channel(String::new());
        let mut reader = own.try_clone().unwrap();
        // It ends with an error when nobody has the other end any more.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                sender.send_modify(|shown| shown.push_str(&text));
            }
        });
        Self { own, child, shown, seen: 0 }
    }

    /// Waits until `words` are shown behind what was waited for before.
    async fn shows(&mut self, words: &str) {
        let (seen, mut shown) = (self.seen, self.shown.clone());
        let found = timeout(WAIT, shown.wait_for(|shown| shown[seen..].contains(words))).await;
        match found.map(|shown| shown.map(|shown| shown[seen..].find(words).unwrap())) {
            Ok(Ok(place)) => self.seen += place + words.len(),
            _ => panic!("no {words:?} in {:?}", *self.shown.borrow()),
        }
    }

    fn types(&mut self, text: &str) {
        self.own.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for `question`, and answers it.
    async fn answers(&mut self, question: &str, answer: &str) {
        self.shows(question).await;
        self.types(&format!("{answer}\n"));
    }

    /// Waits for `question`, and until the terminal does not show what is typed; before that a
    /// Ctrl-D would be no end to who reads then.
    async fn asks_secretly(&mut self, question: &str) {
        self.shows(question).await;
        let mut look = tokio::time::interval(LOOK);
        let hidden = async {
            while tcgetattr(&self.own).unwrap().local_modes.contains(LocalModes::ECHO) {
                look.tick().await;
            }
        };
        timeout(WAIT, hidden).await.expect("what is typed is not shown");
    }

    /// Answers a question so asked.
    async fn whispers(&mut self, question: &str, answer: &str) {
        self.asks_secretly(question).await;
        self.types(&format!("{answer}\n"));
    }

    /// How it ended, and all that was shown.
    async fn ends(mut self) -> (ExitStatus, String) {
        let status = timeout(WAIT, self.child.wait()).await.unwrap().unwrap();
        while self.shown.changed().await.is_ok() {}
        let shown = self.shown.borrow().replace("\r\n", "\n");
        (status, shown)
    }
}

/// A site whose models were at `first` when files were written, and are at `then`.
async fn grown(first: &str, then: &str) -> Site {
    let site = Site::new(first);
    site.ok("makemigrations --name start").await;
    site.grow(then);
    site
}

/// The blog's files.
fn files(site: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(site.path("migrations/blog")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const LEAD: &str = "non-nullable field 'lead' to post";
const RENAMED: &str = "Was post.title renamed to post.headline (a CharField)? [y/N] ";

#[tokio::test]
async fn what_is_answered_is_written() {
    let site = grown("second", "third").await;
    let mut terminal = Terminal::of(&site, "makemigrations");
    terminal.shows(LEAD).await;
    terminal.answers("Select an option: ", "7").await;
    terminal.answers("Please select a valid option: ", "1").await;
    terminal.answers("[exit to quit] >>> ", "'to come'").await;
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert_eq!(files(&site), ["0001_start.toml", "0002_post_lead.toml"]);
    let text = site.read("migrations/blog/0002_post_lead.toml");
    assert!(text.ends_with("type = \"text\"\nfill = \"to come\"\n"), "{text}");

    let site = grown("first", "renamed").await;
    let mut terminal = Terminal::of(&site, "makemigrations");
    terminal.answers(RENAMED, "y").await;
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    let text = site.read("migrations/blog/0002_rename_title_post_headline.toml");
    assert!(text.contains("rename_field = \"Post.title\"\nto = \"headline\"\n"), "{text}");
    assert_eq!(site.ok("makemigrations --check").await, "No changes detected\n");

    let site = grown("second", "tightened").await;
    let mut terminal = Terminal::of(&site, "makemigrations");
    terminal.shows("'slug'").await;
    terminal.answers("Select an option: ", "1").await;
    terminal.answers("[exit to quit] >>> ", "none").await;
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    let text = site.read("migrations/blog/0002_alter_post_slug.toml");
    assert!(text.ends_with("max_length = 60\nfill = \"none\"\n"), "{text}");
}

#[tokio::test]
async fn who_goes_away_gets_nothing_written() {
    for (first, then, question) in [
        ("second", "third", "Select an option: "),
        ("first", "renamed", RENAMED),
        ("second", "tightened", "Select an option: "),
    ] {
        for key in [END, INTERRUPT] {
            let site = grown(first, then).await;
            let mut terminal = Terminal::of(&site, "makemigrations");
            terminal.shows(question).await;
            terminal.types(key);
            let (status, shown) = terminal.ends().await;
            // Who is interrupted has no exit code.
            assert_eq!(status.code(), (key == END).then_some(3), "{then}: {shown}");
            assert_eq!(files(&site), ["0001_start.toml"], "{shown}");
        }
    }
}

#[tokio::test]
async fn noinput_asks_nobody_though_somebody_is_there() {
    let site = grown("second", "third").await;
    let (status, shown) = Terminal::of(&site, "makemigrations --noinput").ends().await;
    assert_eq!(status.code(), Some(3), "{shown}");
    assert!(!shown.contains("Select") && shown.contains("'lead' on model 'post'"), "{shown}");
    assert_eq!(files(&site), ["0001_start.toml"]);
}

#[tokio::test]
async fn a_superuser_is_made_and_a_password_changed_without_showing_it() {
    let site = Site::new("users");
    site.ok("migrate").await;
    let mut terminal = Terminal::of(&site, "createsuperuser");
    terminal.answers("Username", "ann").await;
    terminal.answers("Email address: ", "no address").await;
    terminal.answers("Error: Enter a valid email address.", "ann@example.org").await;
    terminal.whispers("Password: ", "first-Secret-1").await;
    terminal.whispers("Password (again): ", "other-Secret-1").await;
    terminal.shows("Error: Your passwords didn't match.").await;
    terminal.whispers("Password: ", "first-Secret-1").await;
    terminal.whispers("Password (again): ", "first-Secret-1").await;
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.ends_with("Superuser created successfully.\n"), "{shown}");
    assert!(shown.contains("ann@example.org") && !shown.contains("Secret"), "{shown}");
    let before = stored(&site).await;

    let mut terminal = Terminal::of(&site, "changepassword ann");
    terminal.shows("Changing password for user 'ann'").await;
    terminal.whispers("Password: ", "next-Secret-2").await;
    terminal.whispers("Password (again): ", "next-Secret-2").await;
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.ends_with("Password changed successfully for user 'ann'\n"), "{shown}");
    assert!(!shown.contains("Secret"), "{shown}");
    let after = stored(&site).await;
    assert!(before != after && after.starts_with("ann argon2"), "{after}");
}

#[tokio::test]
async fn a_password_may_be_typed_wrong_three_times() {
    let site = Site::new("users");
    site.ok("migrate").await;
    site.ok("createsuperuser --noinput --username ann --email ann@x.org").await;
    let before = stored(&site).await;
    let mut terminal = Terminal::of(&site, "changepassword ann");
    for (first, second, told) in [
        ("one-Secret-1", "two-Secret-2", "Error: Your passwords didn't match."),
        ("1234", "1234", "This password is entirely numeric."),
        ("ann@x.org1", "ann@x.org1", "The password is too similar to the email address."),
    ] {
        terminal.whispers("Password: ", first).await;
        terminal.whispers("Password (again): ", second).await;
        terminal.shows(told).await;
    }
    let (status, shown) = terminal.ends().await;
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("Aborting password change for user 'ann' after 3 attempts"), "{shown}");
    assert_eq!(stored(&site).await, before);
}

#[tokio::test]
async fn who_goes_away_from_a_password_changes_nothing() {
    let site = Site::new("users");
    site.ok("migrate").await;
    for key in [END, INTERRUPT] {
        let mut terminal = Terminal::of(&site, "createsuperuser --username bob --email b@x.org");
        terminal.asks_secretly("Password: ").await;
        terminal.types(key);
        let (status, shown) = terminal.ends().await;
        assert!(!status.success(), "{shown}");
        assert_eq!(stored(&site).await, "");
    }
}

/// The only user: the name and how the password is kept.
async fn stored(site: &Site) -> String {
    let database = site.database().await;
    let sql = hulse::db::Sql::raw("SELECT username || ' ' || password FROM auth_user");
    let rows = database.connection().fetch(sql).await.unwrap();
    let found = rows.first().map(|row| row.get::<String>(0).unwrap());
    database.close().await;
    found.unwrap_or_default()
}
