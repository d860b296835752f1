//! Squashed migrations and those they stand for, on histories that know the one or the others.

use super::{Migration, migration};
use crate::migrations::{Applied, Graph, MigrationKey, Target};

const SQUASHED: &str = "replaces = [[\"a\", \"1\"], [\"a\", \"2\"]]";

fn after(names: &[&str]) -> String {
    let pairs = names.iter().map(|name| {
        let (app, name) = name.split_once('.').unwrap();
        format!("[\"{app}\", \"{name}\"]")
    });
    format!("dependencies = [{}]", pairs.collect::<Vec<_>>().join(", "))
}

/// Two of `a`, squashed into one; `a.3` and `b.1` know the old ones only.
fn files() -> Vec<Migration> {
    vec![
        migration("a.1", ""),
        migration("a.2", &after(&["a.1"])),
        migration("a.1_squashed_2", SQUASHED),
        migration("a.3", &after(&["a.2"])),
        migration("b.1", &after(&["a.1"])),
    ]
}

fn key(text: &str) -> MigrationKey {
    let (app, name) = text.split_once('.').unwrap();
    MigrationKey::new(app, name)
}

/// What is left to run where `recorded` is, and what counts as applied beyond that.
fn left(files: Vec<Migration>, recorded: &[&str]) -> String {
    let recorded: Applied = recorded.iter().map(|text| key(text)).collect();
    let told = Graph::new(files).and_then(|graph| {
        let (graph, applied) = graph.seen(&recorded)?;
        let plan = graph.plan(&Target::All, &applied)?;
        let steps: Vec<_> = plan.iter().map(|step| step.migration.key.to_string()).collect();
        let beyond: Vec<_> = applied.difference(&recorded).map(ToString::to_string).collect();
        Ok(format!("{} | {}", steps.join(" "), beyond.join(" ")))
    });
    told.unwrap_or_else(|error| error.to_string())
}

#[test]
fn the_squashed_one_runs_on_new_databases_and_the_old_ones_on_begun_ones() {
    let check = |recorded: &[&str], expected: &str| assert_eq!(left(files(), recorded), expected);
    check(&[], "a.1_squashed_2 a.3 b.1 | ");
    check(&["a.1"], "a.2 a.3 b.1 | ");
    check(&["a.1", "a.2"], "a.3 b.1 | a.1_squashed_2");
    check(&["a.1", "a.2", "a.1_squashed_2", "a.3"], "b.1 | ");
    check(&["a.1", "b.1"], "a.2 a.3 | ");
}

#[test]
fn once_the_old_files_are_gone_the_squashed_one_stands_for_them() {
    let files = || {
        let mut files = files();
        files.drain(..2);
        files
    };
    assert_eq!(left(files(), &[]), "a.1_squashed_2 a.3 b.1 | ");
    assert_eq!(left(files(), &["a.1", "a.2", "a.3"]), "b.1 | a.1_squashed_2");
    assert_eq!(left(files(), &["a.1_squashed_2", "a.3", "b.1"]), " | ");
    assert_eq!(
        left(files(), &["a.1"]),
        "migration a.1_squashed_2 stands for a.1, which has no file any more, but of all it \
         stands for only a.1 is applied: bring the old files back and apply them first"
    );
}

#[test]
fn a_squashed_one_can_be_squashed_again() {
    let files = || {
        let mut files = files();
        let again = "replaces = [[\"a\", \"1_squashed_2\"], [\"a\", \"3\"]]";
        files.push(migration("a.1_squashed_3", again));
        files
    };
    assert_eq!(left(files(), &[]), "a.1_squashed_3 b.1 | ");
    assert_eq!(left(files(), &["a.1"]), "a.2 a.3 b.1 | ");
    assert_eq!(left(files(), &["a.1", "a.2"]), "a.3 b.1 | a.1_squashed_2");
    assert_eq!(left(files(), &["a.1", "a.2", "a.3"]), "b.1 | a.1_squashed_2 a.1_squashed_3");
}

#[test]
fn the_squashed_one_takes_over_what_the_old_ones_depended_on_and_who_ran_before() {
    let mut files = files();
    files[1].dependencies.push(key("c.1"));
    files.push(migration("c.1", ""));
    files.push(migration("d.1", "run_before = [[\"a\", \"2\"]]"));
    let graph = Graph::new(files).unwrap();
    let parents: Vec<_> = graph.parents(&key("a.1_squashed_2")).map(ToString::to_string).collect();
    assert_eq!(parents, ["c.1", "d.1"]);
    let old = graph.unsquashed().unwrap();
    assert!(old.get(&key("a.1_squashed_2")).is_none() && old.get(&key("a.1")).is_some());
}

#[test]
fn first_and_latest_name_an_apps_ends() {
    let files = vec![
        migration("a.1", ""),
        migration("a.2", &after(&["a.1"])),
        migration("b.1", &after(&["a.__latest__"])),
        migration("c.1", &after(&["a.__first__"])),
    ];
    let graph = Graph::new(files).unwrap();
    let parent = |of: &str| graph.parents(&key(of)).next().unwrap().to_string();
    assert_eq!((parent("b.1").as_str(), parent("c.1").as_str()), ("a.2", "a.1"));
}
