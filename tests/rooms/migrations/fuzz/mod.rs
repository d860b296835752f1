//! Random changes of models: whatever they are, the migrations made for them lead a database to
//! where one created from scratch is, keep its rows, and lead back.

mod changes;
mod rows;
mod sketch;

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::join_all;
use hulse::migrations::inspect::{Schema, inspect};
use hulse::migrations::{
    FieldState, Kind, ModelKey, ProjectState, Rename, arrange, diff, migrate, renames,
};

use super::*;
use rows::{fill, is_same, rows};
use sketch::{Chance, Model, Sketch, value};

/// Sequences on each database, and when `tests/run --long` asks for more.
const SEQUENCES: u64 = 30;
const SEQUENCES_LONG: u64 = 1_000;

#[tokio::test]
async fn migrations_lead_where_a_new_database_is_and_back() {
    let count =
        if std::env::var_os("HULSE_TEST_LONG").is_some() { SEQUENCES_LONG } else { SEQUENCES };
    let seeds = match std::env::var("HULSE_TEST_SEED") {
        Ok(seed) => seed.parse().map(|seed: u64| seed..seed + 1).unwrap(),
        Err(_) => first_seed()..first_seed() + count,
    };
    let failed = databases().await.into_iter().map(|test| sequences(test, seeds.clone()));
    let failed = join_all(failed).await.concat();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// All of them on one database; gives a line for each that failed.
#[expect(clippy::print_stdout, reason = "the figures")]
async fn sequences(test: TestDatabase, seeds: Range<u64>) -> Vec<String> {
    let other = test.another().await;
    let (mut grown, mut fresh) = (Grown::new(test).await, Grown::new(other).await);
    let (dialect, begin) = (grown.database.dialect(), std::time::Instant::now());
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        grown.empty().await;
        let run = AssertUnwindSafe(sequence(&mut grown, &mut fresh, seed)).catch_unwind();
        if run.await.is_err() {
            failed.push(format!("HULSE_TEST_SEED={seed} fails on {dialect:?}"));
            println!("{}", failed[failed.len() - 1]);
        }
    }
    let seconds = begin.elapsed().as_secs();
    println!("{} sequences on {dialect:?} in {seconds} s", seeds.end - seeds.start);
    failed
}

/// Another one for each run, the same all through it.
fn first_seed() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    *FIRST.get_or_init(|| since() * 1_000 + u64::from(std::process::id()) % 1_000)
}

/// A database that can be emptied.
struct Grown {
    test: TestDatabase,
    database: Database,
    folder: tempfile::TempDir,
    number: u32,
}

impl Grown {
    async fn new(test: TestDatabase) -> Self {
        let database = open(&test).await;
        Self { test, database, folder: tempfile::tempdir().unwrap(), number: 0 }
    }

    async fn empty(&mut self) {
        match self.database.dialect() {
            Dialect::Sqlite => {}
            Dialect::Postgres => {
                run(&self.database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
                return;
            }
            Dialect::Mysql => {
                let tables = inspect(&self.database.connection()).await.unwrap().tables;
                let drops =
                    tables.iter().map(|table| format!("DROP TABLE {};", quoted(&table.name)));
                let off = "SET SESSION foreign_key_checks = 0;".to_owned();
                let script: String = [off].into_iter().chain(drops).collect();
                let transaction = self.database.connection().begin().await.unwrap();
                transaction.connection().script(&script).await.unwrap();
                drop(transaction);
                return;
            }
        }
        self.database.close().await;
        self.number += 1;
        let file = self.folder.path().join(format!("{}.sqlite3", self.number));
        self.test.url = format!("sqlite://{}", file.display());
        self.database = open(&self.test).await;
    }

    async fn schema(&self) -> Schema {
        let mut schema = inspect(&self.database.connection()).await.unwrap();
        schema.tables.retain(|table| !table.name.starts_with("hulse_migrations"));
        for table in &mut schema.tables {
            // A column added later is the last.
            table.columns.sort();
        }
        schema
    }
}

/// One migration after another, and back.
async fn sequence(grown: &mut Grown, fresh: &mut Grown, seed: u64) {
    let mut chance = Chance(seed);
    let has_rows = seed.is_multiple_of(2);
    let mut sketch = Sketch::new(&mut chance, has_rows);
    let (mut old, mut all) = (None::<Sketch>, Vec::new());
    let mut stages: Vec<(Schema, Vec<Migration>)> = Vec::new();
    for step in 0..3 {
        let place = format!("seed {seed}, step {step} on {:?}", grown.database.dialect());
        let before = old.as_ref().map(Sketch::state).unwrap_or_default();
        let made = made(old.as_ref(), &sketch, &all);
        let texts: Vec<String> = made.iter().map(|one| one.text(&one.key.to_string())).collect();
        let place = format!("{place}\n{}", texts.join("\n"));
        all.extend(made.clone());
        let graph = Graph::new(all.clone()).unwrap();
        let left = diff(&graph.state(|_| true).expect(&place), &sketch.state(), &[]);
        assert_eq!(left, [], "{place}");
        let rows = if has_rows { rows(&grown.database, &old, &sketch).await } else { Vec::new() };
        let done = migrate_all(&grown.database, &graph).await;
        assert_eq!(done.map_err(|e| format!("{place}: {e}")).unwrap(), made.len(), "{place}");
        for (sql, expected) in rows {
            let found = column(&grown.database, &sql).await;
            assert!(is_same(&found, &expected), "{place}\n{sql}: {found:?}, was {expected:?}");
        }
        let schema = grown.schema().await;
        fresh.empty().await;
        let scratch = self::made(None, &sketch, &[]);
        let done = migrate_all(&fresh.database, &Graph::new(scratch).unwrap()).await;
        done.map_err(|e| format!("from scratch: {place}: {e}")).unwrap();
        same(&schema, &fresh.schema().await, &place);
        if has_rows {
            fill(&grown.database, &before, &sketch, &old).await;
        }
        stages.push((schema, made));
        old = Some(sketch.clone());
        sketch.change(&mut chance);
    }
    if !has_rows {
        back(grown, &all, &stages, seed).await;
    }
}

/// Undoes stage after stage.
async fn back(grown: &Grown, all: &[Migration], stages: &[(Schema, Vec<Migration>)], seed: u64) {
    let graph = Graph::new(all.to_vec()).unwrap();
    let empty = Schema::default();
    for (stage, (_, made)) in stages.iter().enumerate().rev() {
        for migration in made.iter().rev() {
            let app = &migration.key.app;
            let own = migration.dependencies.iter().find(|key| key.app == *app);
            let target =
                own.map_or_else(|| Target::Zero(app.clone()), |key| Target::Migration(key.clone()));
            let done =
                migrate(&grown.database, &graph, &target, Options::default(), &mut |_| {}).await;
            let place =
                format!("seed {seed} on {:?}, back to {target:?}", grown.database.dialect());
            done.map_err(|e| format!("{place}: {e}")).unwrap();
        }
        let expected = stage.checked_sub(1).map_or(&empty, |before| &stages[before].0);
        same(&grown.schema().await, expected, &format!("seed {seed}, back before stage {stage}"));
    }
}

fn same(found: &Schema, expected: &Schema, place: &str) {
    let names =
        |schema: &Schema| schema.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{place}");
    for (found, expected) in found.tables.iter().zip(&expected.tables) {
        assert_eq!(found, expected, "{place}");
    }
}

/// The migrations from `old` to `new` after `all`, as they are read from their files.
fn made(old: Option<&Sketch>, new: &Sketch, all: &[Migration]) -> Vec<Migration> {
    let graph = Graph::new(all.to_vec()).unwrap();
    let (before, after) = (graph.state(|_| true).unwrap(), new.state());
    let renamed = renames(&before, &after, &mut |rename| is_meant(rename, old, new));
    let mut changes = diff(&before, &after, &renamed);
    for change in &mut changes {
        let field = change.lacks_fill().or_else(|| change.may_meet_null(&before));
        let value = field.and_then(|(_, field)| value(real_kind(&after, field)));
        value.into_iter().for_each(|value| change.set_fill(value));
    }
    let made = arrange(changes, &after, &graph, None).into_iter();
    let read = made.map(|one| Migration::parse(one.key.clone(), "x.toml", &one.text("")).unwrap());
    read.collect()
}

/// What a column holds, if it is a foreign key too.
fn real_kind<'a>(state: &'a ProjectState, field: &'a FieldState) -> &'a Kind {
    let Some(target) = field.target() else { return &field.kind };
    let target = state.model(target).unwrap();
    real_kind(state, target.fields.iter().find(|field| field.primary_key).unwrap())
}

/// Whether the two are one and the same thing.
fn is_meant(rename: &Rename, old: Option<&Sketch>, new: &Sketch) -> bool {
    let Some(old) = old else { return false };
    let now = |key: &ModelKey| new.models.iter().find(|model| model.key() == *key);
    match rename {
        Rename::Model { model, to } => {
            let from = old.models.iter().find(|known| known.key() == *model);
            let to = now(&ModelKey::new(&model.app, to));
            from.zip(to).is_some_and(|(from, to)| from.number == to.number)
        }
        Rename::Field { model, from, to, .. } => {
            let pair = now(model).and_then(|new| Some((old.model(new.number)?, new)));
            pair.is_some_and(|(old, new)| {
                let number = |model: &Model, name: &str| {
                    model.fields.iter().find(|f| f.name == name).map(|field| field.number)
                };
                number(old, from).is_some() && number(old, from) == number(new, to)
            })
        }
        Rename::ManyToMany { model, from, to } => {
            let pair = now(model).and_then(|new| Some((old.model(new.number)?, new)));
            pair.is_some_and(|(old, new)| {
                let number = |model: &Model, name: &str| {
                    model.many().iter().find(|(_, known, _)| known == name).map(|(n, ..)| *n)
                };
                number(old, from).is_some() && number(old, from) == number(new, to)
            })
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
