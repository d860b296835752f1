//! `migrate` killed at any moment: what is recorded is what the tables are, and the next run goes
//! on from there. MariaDB undoes no DDL, nor does `atomic = false`: there the next run brings what
//! was interrupted to its end, or takes back what its first operation may have done.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hulse::conf::{Databases, Secret};
use hulse::db::{Database, Dialect};
use hulse::migrations::inspect::{Schema, inspect};
use hulse::migrations::{Graph, ProjectState, Source, applied, arrange, diff, migrate_all};
use hulse_tests::databases;

use crate::migrations::Site;

/// Runs that are killed on each database, and when `tests/run --long` asks for more.
const KILLS: u32 = 15;
const KILLS_LONG: u32 = 200;

/// Migrations that change tables in every way, with rows that take their time.
fn write_migrations(site: &Site) {
    let mut last = "0001_initial".to_owned();
    for number in 2..20 {
        let operations = match number % 4 {
            0 => format!("add_field = \"Post.f{number}\"\ntype = \"integer\"\ndefault = 7\n"),
            1 => format!(
                "alter_field = \"Post.title\"\ntype = \"char\"\nmax_length = {}\n",
                200 + number
            ),
            2 => format!(
                "create_model = \"Made{number}\"\n[operation.fields]\n\
                 id = {{ type = \"big_auto\", primary_key = true }}\n\
                 post = {{ type = \"foreign_key\", to = \"blog.Post\", on_delete = \"cascade\" }}\n\
                 [[operation]]\nrun_sql = \"INSERT INTO blog_made{number} (post_id) SELECT id FROM \
                 blog_post\"\nbackwards = \"\"\n"
            ),
            _ => format!(
                "run = \"blog.fill_slugs\"\nrun_back = \"noop\"\n[[operation]]\n\
                 add_index = \"Post\"\nname = \"post_{number}\"\nfields = [\"title\", \"-slug\"]\n\
                 concurrently = true\n"
            ),
        };
        let name = format!("{number:04}_step");
        let atomic = if number % 4 == 3 { "atomic = false\n" } else { "" };
        let head = format!("{atomic}dependencies = [[\"blog\", \"{last}\"]]\n");
        let text = format!("{head}[[operation]]\n{operations}");
        std::fs::write(site.path(&format!("migrations/blog/{name}.toml")), text).unwrap();
        last = name;
    }
}

async fn open(url: &str) -> Database {
    let settings = Databases { url: Secret::new(url), ..Default::default() };
    Database::connect(&settings, Path::new("/")).await.unwrap()
}

async fn schema(database: &Database) -> Schema {
    let mut schema = inspect(&database.connection()).await.unwrap();
    schema.tables.retain(|table| !table.name.starts_with("hulse_migration"));
    schema.tables.iter_mut().for_each(|table| table.columns.sort());
    schema
}

/// What the tables must be for what is recorded: made from scratch, once for each record.
struct Expected {
    graph: Graph,
    dialect: Dialect,
    known: Vec<(usize, Schema)>,
}

impl Expected {
    async fn of(&mut self, recorded: &BTreeSet<hulse::migrations::MigrationKey>) -> &Schema {
        // The migrations are one chain, so their number says which.
        let count = recorded.len();
        if !self.known.iter().any(|(known, _)| *known == count) {
            let state = self.graph.state(|key| recorded.contains(key)).unwrap();
            let changes = diff(&ProjectState::default(), &state, &[]);
            let made = Graph::new(arrange(changes, &state, &Graph::default(), None)).unwrap();
            let tests = databases().await;
            for test in &tests {
                let database = open(&test.url).await;
                if database.dialect() == self.dialect {
                    migrate_all(&database, &made).await.unwrap();
                    self.known.push((count, schema(&database).await));
                }
                database.close().await;
            }
        }
        &self.known.iter().find(|(known, _)| *known == count).expect("it was made").1
    }
}

#[tokio::test]
async fn what_is_recorded_is_what_the_tables_are_whenever_migrate_is_killed() {
    let long = std::env::var_os("HULSE_TEST_LONG").is_some();
    let kills = if long { KILLS_LONG } else { KILLS };
    for test in databases().await {
        let database = open(&test.url).await;
        let (dialect, begin) = (database.dialect(), std::time::Instant::now());
        let site = Site::on("second", &test.url);
        site.ok("makemigrations --name initial").await;
        write_migrations(&site);
        site.ok("migrate blog 0001").await;
        let rows = "INSERT INTO blog_post (title, live, author_id) WITH RECURSIVE n(i) AS \
                    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                    SELECT 'a b', true, 1 FROM n";
        let author = "INSERT INTO people_author (id, name) VALUES (1, 'ann')";
        database.connection().script(&format!("{author};\n{rows}")).await.unwrap();
        let sources = ["people", "blog"]
            .map(|app| Source::in_folder(app, &site.path("migrations")).unwrap().unwrap());
        let graph = Graph::load(&sources).unwrap();
        let mut expected = Expected { graph, dialect, known: Vec::new() };
        let whole = whole_run(&site).await;
        let mut halfway = 0;
        for kill in 0..kills {
            // Half of the runs go up, the others down to somewhere.
            let words = match kill % 4 {
                0 | 2 => "migrate".to_owned(),
                _ => format!("migrate blog {:04}", 1 + rand(kill) % 10),
            };
            let words = words.replace("0001", "0001_initial");
            let life = whole * (rand(kill + 7) % 1000) / 1000;
            let other = (kill % 5 == 0).then(|| {
                let mut other = site.command("migrate blog");
                other.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            });
            let mut child = site.command(&words).stdout(Stdio::null()).spawn().unwrap();
            if tokio::time::timeout(life, child.wait()).await.is_err() {
                child.kill().await.unwrap();
                halfway += 1;
            }
            if let Some(other) = other {
                let ended = other.wait_with_output().await.unwrap();
                let said = String::from_utf8_lossy(&ended.stderr);
                // What must be finished first keeps the other from going elsewhere.
                let is_undisturbed = ended.status.success()
                    || said.contains("was interrupted after")
                    || dialect == Dialect::Mysql;
                assert!(is_undisturbed, "the other is disturbed: {said}");
            }
            settle(&site, &database, kill).await;
            let recorded = applied(&database).await.unwrap();
            let found = schema(&database).await;
            assert_eq!(found, *expected.of(&recorded).await, "{dialect:?}: after kill {kill}");
        }
        let seconds = begin.elapsed().as_secs();
        println!(
            "{dialect:?}: {halfway} of {kills} runs were killed before their end, {seconds} s"
        );
        assert!(halfway > 0, "no run was killed before its end");
        site.ok("migrate").await;
        assert!(!site.ok("showmigrations").await.contains("[ ]"));
        let posts = hulse::db::Sql::raw("SELECT count(*) FROM blog_post WHERE title = 'a b'");
        let rows = database.connection().fetch(posts).await.unwrap();
        assert_eq!(rows[0].get::<i64>(0).unwrap(), 500);
        database.close().await;
    }
}

/// How long `migrate` takes here from the first migration to the last; it leaves the first one.
async fn whole_run(site: &Site) -> Duration {
    let started = Instant::now();
    site.ok("migrate blog").await;
    let whole = started.elapsed();
    site.ok("migrate blog 0001").await;
    whole
}

/// Goes on from what was interrupted and is not undone as a whole: to its end, as `migrate` says if
/// one wants to go elsewhere; or elsewhere, if nothing of it is done.
async fn settle(site: &Site, database: &Database, kill: u32) {
    if kill.is_multiple_of(2) {
        // The server may still be at what the killed one has asked for.
        go_on(site, database, kill).await;
    }
    quiet(database).await;
    go_on(site, database, kill).await;
}

/// Waits until the server has done, or given up, what somebody who was killed had asked for: it
/// may be the commit.
async fn quiet(database: &Database) {
    let busy = match database.dialect() {
        // Nobody is at it once the process is dead.
        Dialect::Sqlite => return,
        Dialect::Mysql => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() \
             AND id <> CONNECTION_ID() AND command <> 'Sleep'"
        }
        Dialect::Postgres => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND state <> 'idle'"
        }
    };
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while number(database, busy).await != 0 {
        look.tick().await;
    }
}

async fn go_on(site: &Site, database: &Database, kill: u32) {
    let sql = "SELECT name, done * 2 + CASE WHEN backwards THEN 1 ELSE 0 END \
               FROM hulse_migrations_unfinished";
    // Before the first of its kind there is no such table.
    let Ok(rows) = database.connection().fetch(hulse::db::Sql::raw(sql)).await else { return };
    let Some(row) = rows.first() else { return };
    let name: String = row.get(0).unwrap();
    let noted: i64 = row.get(1).unwrap();
    let (is_back, done) = (noted % 2, noted / 2);
    let (this, before) = (name[..4].parse().unwrap(), name[..4].parse::<u32>().unwrap() - 1);
    let (end, elsewhere) = if is_back == 1 { (before, this) } else { (this, before) };
    let words = |to: u32| match to {
        0 => "migrate blog zero".to_owned(),
        1 => "migrate blog 0001_initial".to_owned(),
        _ => format!("migrate blog {to:04}"),
    };
    let answer = site.run(&words(elsewhere)).await;
    let is_refused = answer.complained.contains("was interrupted after");
    assert!(is_refused || answer.code == Some(0), "{answer:?}");
    assert!(is_refused || done == 0 || kill.is_multiple_of(2), "{done} are done: {answer:?}");
    if is_refused {
        site.ok(&words(end)).await;
    }
}

async fn number(database: &Database, sql: &'static str) -> i64 {
    let rows = database.connection().fetch(hulse::db::Sql::raw(sql)).await.unwrap();
    rows[0].get(0).unwrap()
}

/// Chance that differs from run to run, not within one.
fn rand(salt: u32) -> u32 {
    let word = (std::process::id() ^ salt.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35) >> 7
}
