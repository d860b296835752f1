//! `makemigrations`, `migrate`, `showmigrations`, `sqlmigrate` as a person uses them.

use std::path::Path;
use std::process::{Output, Stdio};

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Surroundings, Visitor, databases, site_command, site_folder_of};
use tempfile::TempDir;
use tokio::process::Command;

/// A folder with a site in it whose models stand at `stage`.
pub(crate) struct Site {
    folder: TempDir,
    /// `DATABASE_URL`; without one a SQLite file in its folder.
    url: Option<String>,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) complained: String,
}

impl Site {
    /// One on the database at `url`.
    pub(crate) fn on(stage: &str, url: &str) -> Self {
        Self { url: Some(url.to_owned()), ..Self::new(stage) }
    }

    /// Its database, opened beside it.
    pub(crate) async fn database(&self) -> hulse::db::Database {
        let file = format!("sqlite://{}", self.path("db.sqlite3").display());
        let url = hulse::conf::Secret::new(self.url.clone().unwrap_or(file));
        let settings = hulse::conf::Databases { url, ..Default::default() };
        hulse::db::Database::connect(&settings, Path::new("/")).await.unwrap()
    }

    pub(crate) fn new(stage: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.toml"), "debug = true\n").unwrap();
        let site = Self { folder, url: None };
        site.grow(stage);
        site
    }

    pub(crate) fn grow(&self, stage: &str) {
        std::fs::write(self.path("stage"), stage).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_growing")));
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("DATABASE_URL").env_remove("HULSE_SETTINGS").stdin(Stdio::null());
        command.envs(self.url.iter().map(|url| ("DATABASE_URL", url)));
        command
    }

    pub(crate) async fn run(&self, words: &str) -> Answer {
        let output = self.command(words).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer {
            code: output.status.code(),
            said: text(output.stdout),
            complained: text(output.stderr),
        }
    }

    /// Runs a command that must succeed, and returns what it said.
    pub(crate) async fn ok(&self, words: &str) -> String {
        let answer = self.run(words).await;
        assert_eq!(answer.code, Some(0), "{words}: {answer:?}");
        answer.said
    }
}

#[tokio::test]
async fn a_first_migration_is_written_applied_shown_and_undone() {
    let site = Site::new("first");
    assert_eq!(site.run("makemigrations --check").await.code, Some(1));
    assert!(!site.path("migrations").exists(), "--check writes nothing");
    assert_eq!(
        site.ok("makemigrations").await,
        "Migrations for 'people':\n  migrations/people/0001_initial.toml\n    \
         + Create model Author\n\
         Migrations for 'blog':\n  migrations/blog/0001_initial.toml\n    \
         + Create model Post\n"
    );
    let text = site.read("migrations/blog/0001_initial.toml");
    let (heading, body) = text.split_once('\n').unwrap();
    assert!(heading.starts_with("# Written by `makemigrations` on 2"), "{heading}");
    assert_eq!(
        body,
        r#"
dependencies = [["people", "0001_initial"]]

[[operation]]
create_model = "Post"
indexes = [
    { name = "blog_post_author_id_title_d37d45e8_idx", fields = ["author", "-title"] },
]

[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "char", max_length = 200 }
author = { type = "foreign_key", to = "people.Author", on_delete = "cascade" }
"#
    );
    assert_eq!(site.ok("makemigrations").await, "No changes detected\n");
    assert_eq!(site.ok("makemigrations --check blog").await, "No changes detected in app 'blog'\n");
    let pending = "blog\n [ ] 0001_initial\npeople\n [ ] 0001_initial\n";
    assert_eq!(site.ok("showmigrations").await, pending);
    assert_eq!(site.run("migrate --check").await.code, Some(1));
    assert_eq!(
        site.ok("migrate --plan").await,
        "Planned operations:\npeople.0001_initial\n    Create model Author\n\
         blog.0001_initial\n    Create model Post\n"
    );
    assert_eq!(
        site.ok("migrate").await,
        "Operations to perform:\n  Apply all migrations: blog, people\nRunning migrations:\n  \
         Applying people.0001_initial... OK\n  Applying blog.0001_initial... OK\n"
    );
    assert_eq!(site.ok("migrate --check").await, "");
    assert_eq!(
        site.ok("migrate").await,
        "Operations to perform:\n  Apply all migrations: blog, people\nRunning migrations:\n  \
         No migrations to apply.\n"
    );
    assert_eq!(site.ok("showmigrations blog").await, "blog\n [X] 0001_initial\n");
    assert_eq!(
        site.ok("showmigrations --plan").await,
        "[X]  people.0001_initial\n[X]  blog.0001_initial\n"
    );
    assert_eq!(
        site.ok("migrate people zero").await,
        "Operations to perform:\n  Unapply all migrations: people\nRunning migrations:\n  \
         Unapplying blog.0001_initial... OK\n  Unapplying people.0001_initial... OK\n"
    );
    assert_eq!(site.ok("showmigrations").await, pending);
}

#[tokio::test]
async fn a_new_field_makes_one_readable_file_that_migrates_without_a_rebuild() {
    let site = Site::new("first");
    site.ok("makemigrations").await;
    site.ok("migrate").await;
    site.grow("second");
    let said = site.ok("migrate").await;
    assert!(said.contains("not yet reflected in a migration"), "{said}");
    assert_eq!(
        site.ok("makemigrations").await,
        "Migrations for 'blog':\n  migrations/blog/0002_post_slug_post_live.toml\n    \
         + Add field slug to post\n    + Add field live to post\n"
    );
    let text = site.read("migrations/blog/0002_post_slug_post_live.toml");
    assert_eq!(
        text.split_once('\n').unwrap().1,
        r#"
dependencies = [["blog", "0001_initial"]]

[[operation]]
add_field = "Post.slug"
type = "char"
null = true
max_length = 60

[[operation]]
add_field = "Post.live"
type = "boolean"
default = true
"#
    );
    let said = site.ok("migrate").await;
    assert!(said.ends_with("  Applying blog.0002_post_slug_post_live... OK\n"), "{said}");
    assert_eq!(site.ok("makemigrations --check").await, "No changes detected\n");
    assert_eq!(
        site.ok("sqlmigrate blog 0002").await,
        r#"BEGIN;
--
-- Add field slug to post
--
ALTER TABLE "blog_post" ADD COLUMN "slug" varchar(60) NULL;
--
-- Add field live to post
--
ALTER TABLE "blog_post" ADD COLUMN "live" boolean NOT NULL DEFAULT 1;
COMMIT;
"#
    );
    let said = site.ok("migrate blog 0001").await;
    assert!(said.contains("Target specific migration: 0001_initial, from blog"), "{said}");
    assert!(said.ends_with("  Unapplying blog.0002_post_slug_post_live... OK\n"), "{said}");
}

#[tokio::test]
async fn a_required_field_without_a_value_for_old_rows_writes_nothing() {
    let site = Site::new("second");
    site.ok("makemigrations --name start").await;
    assert!(site.path("migrations/blog/0001_start.toml").exists());
    site.grow("third");
    let answer = site.run("makemigrations --noinput").await;
    assert_eq!((answer.code, answer.said.as_str()), (Some(3), ""));
    assert_eq!(
        answer.complained,
        "Field 'lead' on model 'post' not migrated: it is impossible to add a non-nullable field \
         without specifying a default.\n"
    );
    assert_eq!(site.run("makemigrations").await.code, Some(3), "nobody is there to answer");
    let files = std::fs::read_dir(site.path("migrations/blog")).unwrap().count();
    assert_eq!(files, 1);
}

#[tokio::test]
async fn two_branches_are_a_conflict_until_they_are_merged() {
    let site = Site::new("first");
    site.ok("makemigrations").await;
    let branch = "dependencies = [[\"blog\", \"0001_initial\"]]\n";
    for name in ["0002_a", "0002_b"] {
        std::fs::write(site.path(&format!("migrations/blog/{name}.toml")), branch).unwrap();
    }
    for command in ["migrate", "makemigrations"] {
        let answer = site.run(command).await;
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.complained.contains(
            "Conflicting migrations detected; multiple leaf nodes in the migration graph: \
             (0002_a, 0002_b in blog)."
        ));
    }
    let said = site.ok("makemigrations --merge --noinput").await;
    assert!(said.contains("Branch 0002_a") && said.contains("blog/0003_merge_2"), "{said}");
    site.ok("migrate").await;
    assert_eq!(site.ok("makemigrations --check").await, "No changes detected\n");
}

#[tokio::test]
async fn mistakes_are_one_clear_line() {
    let site = Site::new("first");
    site.ok("makemigrations").await;
    site.ok("makemigrations --empty blog").await;
    let cases = [
        ("migrate shop", "No installed app with label 'shop'."),
        ("migrate blog 0009", "Cannot find a migration matching '0009' from app 'blog'."),
        (
            "migrate blog 0",
            "More than one migration matches '0' in app 'blog'. Please be more specific.",
        ),
        ("makemigrations --empty", "You must supply at least one app label when using --empty."),
        ("sqlmigrate blog x", "Cannot find a migration matching 'x' from app 'blog'."),
    ];
    for (words, expected) in cases {
        let answer = site.run(words).await;
        let line = format!("error: {expected}\n");
        assert_eq!((answer.code, answer.complained), (Some(1), line), "{words}");
    }
    let path = "migrations/blog/0002_custom.toml";
    std::fs::write(site.path(path), "[[operation]]\nrun_sq = 'SELECT 1'\n").unwrap();
    let answer = site.run("migrate").await;
    let place = format!("{path}:2: `run_sq` is no operation; did you mean `run_sql`?");
    assert!(answer.complained.contains(&place), "{answer:?}");
}

#[tokio::test]
async fn of_two_migrate_commands_at_once_one_waits_and_both_succeed() {
    let site = Site::new("second");
    site.ok("makemigrations").await;
    let sql = "run_sql = \"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
               WHERE i < 200000) INSERT INTO people_author (name) SELECT i FROM n\"\n";
    let slow = format!("dependencies = [[\"people\", \"0001_initial\"]]\n[[operation]]\n{sql}");
    std::fs::write(site.path("migrations/people/0002_slow.toml"), slow).unwrap();
    let (one, two) = tokio::join!(site.run("migrate"), site.run("migrate"));
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{one:?} {two:?}");
    let idle = [&one, &two].iter().filter(|a| a.said.contains("No migrations to apply")).count();
    assert_eq!(idle, 1, "{one:?} {two:?}");
}

/// The testsite with accounts, whose migrations are in the program.
async fn with_accounts(folder: &Path, url: &str, words: &[&str]) -> Output {
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "1".to_owned())];
    let database = Some(url.to_owned());
    let surroundings = Surroundings { program: Program::Testsite, database, environment };
    site_command(folder, &surroundings).args(words).output().await.unwrap()
}

#[tokio::test]
async fn of_eight_migrate_commands_at_once_all_succeed_and_each_migration_is_applied_once() {
    for made in databases().await {
        let folder = site_folder_of(Program::Testsite);
        let migrate = |_| with_accounts(folder.path(), &made.url, &["migrate"]);
        let mut applied = Vec::new();
        for output in join_all((0..8).map(migrate)).await {
            let said = String::from_utf8(output.stdout).unwrap();
            let complained = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{}: {said}{complained}", made.url);
            let of = said.lines().filter(|line| line.contains("Applying"));
            applied.extend(of.map(|line| line.split("...").next().unwrap().trim().to_owned()));
        }
        let all = applied.len();
        applied.sort();
        applied.dedup();
        assert!(all > 1 && applied.len() == all, "{}: {applied:?}", made.url);
        let shown = with_accounts(folder.path(), &made.url, &["showmigrations"]).await;
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(shown.matches("[X]").count(), all, "{shown}");
        assert!(!shown.contains("[ ]"), "{shown}");
    }
}

#[tokio::test]
async fn of_eight_sites_that_migrate_as_they_start_all_serve() {
    let folder = site_folder_of(Program::Testsite);
    let url = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "1".to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, database: Some(url.clone()), environment };
    let start = |_| Pulse::start_in(surroundings.clone(), &["-w", "1"]);
    for pulse in join_all((0..8).map(start)).await {
        assert_eq!(Visitor::new(pulse.address()).get("/accounts/login/").await.status, 200);
    }
    let shown = with_accounts(folder.path(), &url, &["showmigrations"]).await;
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("[ ]"));
}

#[tokio::test]
async fn a_killed_migrate_can_be_repaired_by_the_next() {
    let site = Site::new("second");
    site.ok("makemigrations").await;
    for number in 2..30 {
        let text = format!(
            "dependencies = [[\"blog\", \"{:04}_{}\"]]\n[[operation]]\n\
             alter_field = \"Post.title\"\ntype = \"char\"\nmax_length = {number}\n",
            number - 1,
            if number == 2 { "initial" } else { "step" },
        );
        let name = format!("migrations/blog/{number:04}_step.toml");
        std::fs::write(site.path(&name), text).unwrap();
    }
    for kills in 0..6 {
        let mut child = site.command("migrate").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = {
            use tokio::io::AsyncBufReadExt;
            tokio::io::BufReader::new(child.stdout.take().unwrap()).lines()
        };
        for _ in 0..3 + kills {
            lines.next_line().await.unwrap();
        }
        child.kill().await.unwrap();
    }
    site.ok("migrate").await;
    let shown = site.ok("showmigrations").await;
    assert!(!shown.contains("[ ]"), "{shown}");
}
