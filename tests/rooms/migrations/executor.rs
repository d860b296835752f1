//! Running, failing, waiting for one another, recording.

use super::*;

#[tokio::test]
async fn a_failing_migration_leaves_nothing_and_the_earlier_ones_stay() {
    let more = r#"
[[operation]]
add_field = "Post.live"
type = "boolean"
default = true

[[operation]]
add_field = "Post.lead"
type = "text"
fill = ""

[[operation]]
run_sql = "INSERT INTO auth_user (name) VALUES ('ghost'); SELECT nonsense FROM nowhere"
"#;
    for test in databases().await {
        let database = open(&test).await;
        let error = migrate_all(&database, &with(more)).await.unwrap_err().to_string();
        assert!(error.contains("migration blog.0002_more: raw sql operation: "), "{error}");
        assert_eq!(names(&database).await, ["auth.0001_initial", "blog.0001_initial"]);
        assert_eq!(column(&database, "SELECT name FROM auth_user").await, [""; 0]);
        if database.dialect() == Dialect::Mysql {
            assert!(error.starts_with("MariaDB undoes no DDL, so 2 of the 3"), "{error}");
            let zero = to(&database, &with(more), &["blog", "zero"]).await.unwrap_err();
            let words = "applying blog.0002_more was interrupted after 2 of 3 operations, which \
                         stay done: finish it first, with `manage migrate blog 0002_more`, or by \
                         hand and `--fake`";
            assert_eq!(zero.to_string(), words);
            let shorter = with("[[operation]]\nrun_sql = \"SELECT 1\"\n");
            let shorter = migrate_all(&database, &shorter).await.unwrap_err().to_string();
            assert!(shorter.contains("had 3 operations, and has 1 now"), "{shorter}");
            let mended = with(&more.replace("SELECT nonsense FROM nowhere", ""));
            assert_eq!(migrate_all(&database, &mended).await.unwrap(), 1);
            assert_eq!(column(&database, "SELECT name FROM auth_user").await, ["ghost"]);
            assert_eq!(column(&database, "SELECT lead FROM blog_post").await, [""; 0]);
            continue;
        }
        let columns = "SELECT * FROM blog_post";
        run(&database, "INSERT INTO auth_user (id, name) VALUES (1, 'ann')").await;
        run(&database, "INSERT INTO blog_post (title, author_id) VALUES ('x', 1)").await;
        let rows = database.connection().fetch(Sql::raw(columns)).await.unwrap();
        assert_eq!(rows[0].len(), 3, "id, title, author");

        let mended = with(&more.replace("SELECT nonsense FROM nowhere", ""));
        assert_eq!(migrate_all(&database, &mended).await.unwrap(), 1);
        database.close().await;
    }
}

#[tokio::test]
async fn of_eight_runners_at_once_one_works_and_all_succeed() {
    for test in databases().await {
        let mut runners = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let database = open(&test).await;
            runners.spawn(async move {
                let more = "[[operation]]\nadd_field = \"Post.lead\"\ntype = \"text\"\nfill = \"\"";
                let count = migrate_all(&database, &with(more)).await.unwrap();
                database.close().await;
                count
            });
        }
        let counts = runners.join_all().await;
        assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 1, "{counts:?}");
        let database = open(&test).await;
        assert_eq!(
            names(&database).await,
            ["auth.0001_initial", "blog.0001_initial", "blog.0002_more"]
        );
        database.close().await;
    }
}

#[tokio::test]
async fn what_is_not_applied_is_known_without_changing_anything() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST)]);
        let unapplied = migrations::unapplied(&database, &graph).await.unwrap();
        let unapplied: Vec<String> = unapplied.iter().map(ToString::to_string).collect();
        assert_eq!(unapplied, ["auth.0001_initial", "blog.0001_initial"]);
        assert!(applied(&database).await.unwrap().is_empty());
        migrate_all(&database, &graph).await.unwrap();
        assert!(migrations::unapplied(&database, &graph).await.unwrap().is_empty());
        database.close().await;
    }
}

#[tokio::test]
async fn faking_records_and_forgets_without_touching_a_table() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("auth.0001_initial", USER)]);
        let fake = Options { fake: true, ..Options::default() };
        for (target, records) in [(Target::All, 1), (Target::Zero("auth".into()), 0)] {
            migrations::migrate(&database, &graph, &target, fake, &mut |_| {}).await.unwrap();
            assert_eq!(names(&database).await.len(), records);
            let users = database.connection().fetch(Sql::raw("SELECT * FROM auth_user")).await;
            assert!(users.is_err(), "there is no such table");
        }
        database.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_refused_before_anything_changes() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = with("[[operation]]\nrun_sql = \"UPDATE blog_post SET title = 'x'\"");
        migrate_all(&database, &graph).await.unwrap();
        let error = to(&database, &graph, &["blog", "zero"]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "migration blog.0002_more: raw sql operation: a `run_sql` without `backwards` cannot \
             be undone"
        );
        assert_eq!(names(&database).await.len(), 3);
        database.close().await;
    }
}

#[tokio::test]
async fn progress_is_told_step_by_step() {
    let test = &databases().await[0];
    let database = open(test).await;
    let graph = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST)]);
    let mut told = Vec::new();
    let mut progress = |progress: migrations::Progress<'_>| {
        told.push(match progress {
            migrations::Progress::Plan(plan) => format!("{} to do", plan.len()),
            migrations::Progress::Begin(step) => format!("{}...", step.migration.key),
            migrations::Progress::Done { step, .. } => format!("{} done", step.migration.key.name),
        });
    };
    let all = Target::All;
    migrations::migrate(&database, &graph, &all, Options::default(), &mut progress).await.unwrap();
    assert_eq!(
        told,
        [
            "2 to do",
            "auth.0001_initial...",
            "0001_initial done",
            "blog.0001_initial...",
            "0001_initial done"
        ]
    );
    database.close().await;
}

#[test]
fn the_sql_of_a_migration_can_be_read_in_both_directions() {
    let graph =
        with("[[operation]]\nadd_field = \"Post.live\"\ntype = \"boolean\"\ndefault = true");
    let migration = graph.find("blog", "0002").unwrap();
    let sql = |backwards| migrations::sql(Dialect::Postgres, &graph, migration, backwards).unwrap();
    assert_eq!(
        sql(false),
        r#"BEGIN;
--
-- Add field live to post
--
ALTER TABLE "blog_post" ADD COLUMN "live" boolean NOT NULL DEFAULT true;
COMMIT;
"#
    );
    assert_eq!(
        sql(true),
        r#"BEGIN;
--
-- Remove field live from post
--
ALTER TABLE "blog_post" DROP COLUMN "live";
COMMIT;
"#
    );
}
