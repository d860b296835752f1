//! Conflicts, circles, plans and undoing.

use super::{POST, USER, graph, migration, state};
use crate::migrations::{Applied, Graph, Operation, Target, diff};

#[test]
fn two_ends_are_a_conflict() {
    let after = "dependencies = [[\"blog\", \"0001_initial\"]]";
    let graph = graph(&[("blog.0001_initial", ""), ("blog.0002_a", after), ("blog.0002_b", after)]);
    assert_eq!(
        graph.plan(&Target::All, &Applied::new()).unwrap_err().to_string(),
        "Conflicting migrations detected; multiple leaf nodes in the migration graph: (0002_a, \
         0002_b in blog).\nTo fix them run 'manage makemigrations --merge'"
    );
}

#[test]
fn a_missing_dependency_and_a_circle_are_told() {
    let on = |app: &str| format!("dependencies = [[\"{app}\", \"0001_initial\"]]");
    let broken = |files: &[(&str, &str)]| {
        let migrations = files.iter().map(|(key, text)| migration(key, text));
        Graph::new(migrations).unwrap_err().to_string()
    };
    assert_eq!(
        broken(&[("blog.0001_initial", &on("auth"))]),
        "migration blog.0001_initial depends on auth.0001_initial, which does not exist"
    );
    assert_eq!(
        broken(&[("auth.0001_initial", &on("blog")), ("blog.0001_initial", &on("auth"))]),
        "migrations depend on each other in a circle: auth.0001_initial → blog.0001_initial → \
         auth.0001_initial"
    );
}

fn history() -> Graph {
    graph(&[
        ("auth.0001_initial", USER),
        ("auth.0002_more", "dependencies = [[\"auth\", \"0001_initial\"]]"),
        ("blog.0001_initial", "dependencies = [[\"auth\", \"0001_initial\"]]"),
        ("blog.0002_a", "dependencies = [[\"blog\", \"0001_initial\"]]"),
        ("blog.0003_b", "dependencies = [[\"blog\", \"0002_a\"], [\"auth\", \"0002_more\"]]"),
    ])
}

fn planned(words: &[&str], applied: &[&str]) -> String {
    let graph = history();
    let target = Target::parse(&graph, words.first().copied(), words.get(1).copied());
    let key = |word: &&str| {
        let (app, name) = word.split_once('.').unwrap();
        graph.find(app, name).unwrap().key.clone()
    };
    let applied: Applied = applied.iter().map(key).collect();
    let plan = target.and_then(|target| {
        let plan = graph.plan(&target, &applied)?.into_iter();
        let sign = |backwards: bool| if backwards { "-" } else { "" };
        Ok(plan.map(|step| format!("{}{}", sign(step.backwards), step.migration.key)).collect())
    });
    plan.map_or_else(|error| error.to_string(), |plan: Vec<String>| plan.join(" "))
}

#[test]
fn a_plan_runs_and_undoes_what_depends_on_it() {
    let all = ["auth.0001", "auth.0002", "blog.0001", "blog.0002", "blog.0003"];
    let check = |words: &[&str], applied: &[&str], expected: &str| {
        assert_eq!(planned(words, applied), expected, "{words:?} {applied:?}");
    };
    check(&[], &all, "");
    check(&[], &all[..3], "blog.0002_a blog.0003_b");
    check(&["blog", "0002"], &[], "auth.0001_initial blog.0001_initial blog.0002_a");
    check(&["blog", "0001_initial"], &all, "-blog.0003_b -blog.0002_a");
    check(
        &["auth", "zero"],
        &all,
        "-blog.0003_b -blog.0002_a -blog.0001_initial -auth.0002_more -auth.0001_initial",
    );
    check(&["auth", "0001"], &all, "-blog.0003_b -auth.0002_more");
    check(&["shop"], &[], "App 'shop' does not have migrations.");
    check(&["blog", "9"], &[], "Cannot find a migration matching '9' from app 'blog'.");
    check(
        &["blog", "000"],
        &[],
        "More than one migration matches '000' in app 'blog'. Please be more specific.",
    );
    check(
        &[],
        &["blog.0001"],
        "Migration blog.0001_initial is applied before its dependency auth.0001_initial on \
         database.",
    );
}

#[test]
fn what_was_done_can_be_undone_but_not_sql_without_a_way_back() {
    let before = state(&[("auth", USER), ("blog", POST)]);
    let mut after = before.clone();
    let remove = Operation::RemoveField { model: "Post".into(), field: "title".into() };
    remove.apply("blog", &mut after).unwrap();
    let back = remove.inverse("blog", &before).unwrap();
    back.apply("blog", &mut after).unwrap();
    assert_eq!(diff(&after, &before, &[]), []);
    let sql = Operation::RunSql { forwards: "SELECT 1".into(), backwards: None, elidable: false };
    assert!(sql.inverse("blog", &before).unwrap_err().is_migration());
}

#[test]
fn an_operation_that_does_not_fit_names_its_migration() {
    let graph = graph(&[("blog.0001_initial", "[[operation]]\nremove_field = \"Post.slug\"\n")]);
    assert_eq!(
        graph.state(|_| true).unwrap_err().to_string(),
        "migration blog.0001_initial: remove field slug from post: there is no model blog.Post at \
         this point of history"
    );
}
