//! What happens to the rows that are there.

use super::*;

async fn fill(database: &Database) {
    run(
        database,
        "INSERT INTO auth_user (name) VALUES ('ann'), ('bob'), ('zoe');
         INSERT INTO blog_post (title, author_id) VALUES ('One', 1), ('2', 1), ('3', 2);
         DELETE FROM blog_post WHERE title = '3'; DELETE FROM auth_user WHERE name = 'zoe'",
    )
    .await;
}

/// Migrates to the two tables, fills them, and migrates on with `more`.
async fn after(database: &Database, more: &str) -> hulse::Result<usize> {
    let graph = with(more);
    to(database, &graph, &["blog", "0001"]).await.unwrap();
    fill(database).await;
    migrate_all(database, &graph).await
}

#[tokio::test]
async fn a_table_made_anew_keeps_its_rows_and_those_that_point_to_it() {
    let more = r#"
[[operation]]
alter_field = "Post.title"
type = "text"

[[operation]]
add_field = "Post.lead"
type = "text"
fill = "it's new"
"#;
    let user = r#"
dependencies = [["auth", "0001_initial"]]
[[operation]]
alter_field = "User.name"
type = "char"
max_length = 80
unique = true
"#;
    for test in databases().await {
        let database = open(&test).await;
        after(&database, more).await.unwrap();
        let rows = "SELECT id || ' ' || title || ' ' || author_id || ' ' || lead FROM blog_post
             ORDER BY id";
        assert_eq!(column(&database, rows).await, ["1 One 1 it's new", "2 2 1 it's new"]);
        let graph = graph(&[
            ("auth.0001_initial", USER),
            ("auth.0002_longer", user),
            ("blog.0001_initial", POST),
            ("blog.0002_more", "dependencies = [[\"blog\", \"0001_initial\"]]"),
        ]);
        migrate_all(&database, &graph).await.unwrap();
        assert_eq!(column(&database, rows).await, ["1 One 1 it's new", "2 2 1 it's new"]);
        run(
            &database,
            "INSERT INTO auth_user (name) VALUES ('cid');
             INSERT INTO blog_post (title, author_id, lead) VALUES ('4', 4, '')",
        )
        .await;
        let keys = column(&database, "SELECT CAST(max(id) AS text) FROM auth_user").await;
        assert_eq!(keys, ["4"], "a key is never given out twice");
        let keys = column(&database, "SELECT CAST(max(id) AS text) FROM blog_post").await;
        assert_eq!(keys, ["4"], "a key is never given out twice");
        let twice = "INSERT INTO auth_user (name) VALUES ('ann')";
        assert!(database.connection().script(twice).await.unwrap_err().is_integrity());
        let nobody = "INSERT INTO blog_post (title, author_id, lead) VALUES ('5', 77, '')";
        assert!(database.connection().script(nobody).await.unwrap_err().is_integrity());
        database.close().await;
    }
}

#[tokio::test]
async fn rows_deleted_in_cascade_by_the_database_survive_a_table_made_anew() {
    let by_hand = r#"
[[operation]]
run_sql = "CREATE TABLE note (post_id bigint REFERENCES blog_post (id) ON DELETE CASCADE)"

[[operation]]
run_sql = "INSERT INTO note VALUES (1)"

[[operation]]
alter_field = "Post.title"
type = "text"
"#;
    for test in databases().await {
        let database = open(&test).await;
        after(&database, by_hand).await.unwrap();
        assert_eq!(column(&database, "SELECT CAST(post_id AS text) FROM note").await, ["1"]);
        run(&database, "DELETE FROM blog_post").await;
        assert_eq!(column(&database, "SELECT CAST(post_id AS text) FROM note").await, [""; 0]);
        database.close().await;
    }
}

#[tokio::test]
async fn what_was_put_on_a_table_by_hand_stays_when_it_is_made_anew() {
    let by_hand = r#"
[[operation]]
run_sql = """
CREATE INDEX by_hand ON blog_post (title, id);
CREATE VIEW titles AS SELECT id, title FROM blog_post;
CREATE TRIGGER loud AFTER INSERT ON blog_post BEGIN
    UPDATE blog_post SET title = upper(title) WHERE id = new.id;
END;
"""

[[operation]]
add_field = "Post.lead"
type = "text"
fill = "-"
"#;
    let test = &databases().await[0];
    let database = open(test).await;
    assert!(matches!(database.connection().dialect(), Dialect::Sqlite));
    after(&database, by_hand).await.unwrap();
    run(&database, "INSERT INTO blog_post (title, author_id, lead) VALUES ('low', 1, '')").await;
    assert_eq!(
        column(&database, "SELECT title FROM titles ORDER BY id").await,
        ["One", "2", "LOW"]
    );
    let index = "SELECT name FROM sqlite_schema WHERE name = 'by_hand'";
    assert_eq!(column(&database, index).await, ["by_hand"]);
    let switches = "SELECT f.foreign_keys || l.legacy_alter_table
         FROM pragma_foreign_keys f, pragma_legacy_alter_table l";
    let row = database.connection().fetch_writing(Sql::raw(switches)).await.unwrap();
    assert_eq!(text(&row[0], 0), "10", "the switches are back where they were");
    database.close().await;
}

#[tokio::test]
async fn null_gives_way_to_the_given_value() {
    let more = r#"
[[operation]]
add_field = "Post.slug"
type = "text"
null = true

[[operation]]
run_sql = "UPDATE blog_post SET slug = 'one' WHERE id = 1"

[[operation]]
alter_field = "Post.slug"
type = "text"
fill = "none"
"#;
    for test in databases().await {
        let database = open(&test).await;
        after(&database, more).await.unwrap();
        let slugs = column(&database, "SELECT slug FROM blog_post ORDER BY id").await;
        assert_eq!(slugs, ["one", "none"]);
        database.close().await;
    }
}

#[tokio::test]
async fn rows_get_the_default_or_the_moment_of_the_migration() {
    let more = r#"
[[operation]]
add_field = "Post.live"
type = "boolean"
default = true

[[operation]]
add_field = "Post.created"
type = "date_time"
auto_now_add = true
fill = "now"

[[operation]]
add_field = "Post.day"
type = "date"
default = "2026-02-03"

[[operation]]
add_field = "Post.moment"
type = "date_time"
default = "2026-02-03T04:05:06+01:00"

[[operation]]
add_field = "Post.reviewer"
type = "foreign_key"
to = "auth.User"
on_delete = "cascade"
fill = 2
"#;
    for test in databases().await {
        let database = open(&test).await;
        let before = chrono::Utc::now() - chrono::Duration::seconds(1);
        after(&database, more).await.unwrap();
        let sql = "SELECT live, created, day, moment, reviewer_id FROM blog_post WHERE id = 1";
        let rows = database.connection().fetch(Sql::raw(sql)).await.unwrap();
        assert!(rows[0].get::<bool>(0).unwrap());
        let created = rows[0].get::<chrono::DateTime<chrono::Utc>>(1).unwrap();
        assert!(before < created && created < chrono::Utc::now() + chrono::Duration::seconds(1));
        assert_eq!(rows[0].get::<chrono::NaiveDate>(2).unwrap().to_string(), "2026-02-03");
        let moment = rows[0].get::<chrono::DateTime<chrono::Utc>>(3).unwrap();
        assert_eq!(moment.to_rfc3339(), "2026-02-03T03:05:06+00:00");
        assert_eq!(rows[0].get::<i64>(4).unwrap(), 2);
        database.close().await;
    }
}

#[tokio::test]
async fn a_foreign_key_to_nothing_stops_the_migration() {
    let more = r#"
[[operation]]
add_field = "Post.reviewer"
type = "foreign_key"
to = "auth.User"
on_delete = "cascade"
fill = 99
"#;
    for test in databases().await {
        let database = open(&test).await;
        assert!(after(&database, more).await.is_err());
        assert_eq!(names(&database).await, ["auth.0001_initial", "blog.0001_initial"]);
        let titles = column(&database, "SELECT title FROM blog_post ORDER BY id").await;
        assert_eq!(titles, ["One", "2"]);
        database.close().await;
    }
}

#[tokio::test]
async fn a_longer_key_takes_those_that_point_to_it_along() {
    let first = r#"
[[operation]]
create_model = "Tag"
[operation.fields]
code = { type = "char", max_length = 4, primary_key = true }

[[operation]]
create_model = "Use"
[operation.fields]
id = { type = "big_auto", primary_key = true }
tag = { type = "foreign_key", to = "x.Tag", on_delete = "cascade" }
"#;
    let second = r#"
dependencies = [["x", "0001_initial"]]
[[operation]]
alter_field = "Tag.code"
type = "char"
max_length = 40
primary_key = true
"#;
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("x.0001_initial", first), ("x.0002_longer", second)]);
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(
            &database,
            "INSERT INTO x_tag VALUES ('rust'); INSERT INTO x_use (tag_id) VALUES ('rust')",
        )
        .await;
        migrate_all(&database, &graph).await.unwrap();
        run(
            &database,
            "INSERT INTO x_tag VALUES ('longer than four');
             INSERT INTO x_use (tag_id) VALUES ('longer than four')",
        )
        .await;
        let uses = column(&database, "SELECT tag_id FROM x_use ORDER BY id").await;
        assert_eq!(uses, ["rust", "longer than four"]);
        let nothing = "INSERT INTO x_use (tag_id) VALUES ('c')";
        assert!(database.connection().script(nothing).await.unwrap_err().is_integrity());
        database.close().await;
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_new_column_stops_the_migration() {
    let cases = [
        "type = \"integer\"",
        "type = \"boolean\"",
        "type = \"date\"",
        "type = \"char\"\nmax_length = 2",
    ];
    for options in cases {
        for test in databases().await {
            let database = open(&test).await;
            let more = format!("[[operation]]\nalter_field = \"Post.title\"\n{options}\n");
            assert!(after(&database, &more).await.is_err(), "{options}");
            let titles = column(&database, "SELECT title FROM blog_post ORDER BY id").await;
            assert_eq!(titles, ["One", "2"]);
            database.close().await;
        }
    }
    let numbers = "[[operation]]\nrun_sql = \"UPDATE blog_post SET title = '7'\"\n\
         [[operation]]\nalter_field = \"Post.title\"\ntype = \"integer\"\n";
    for test in databases().await {
        let database = open(&test).await;
        after(&database, numbers).await.unwrap();
        let titles = "SELECT CAST(title + 1 AS text) FROM blog_post";
        assert_eq!(column(&database, titles).await, ["8", "8"]);
        database.close().await;
    }
}

#[tokio::test]
async fn a_renamed_table_keeps_its_rows_and_keys() {
    let more = r#"
[[operation]]
alter_model_table = "Post"
table = "article"

[[operation]]
alter_field = "Post.title"
type = "text"
"#;
    let user = r#"
dependencies = [["auth", "0001_initial"], ["blog", "0002_more"]]
[[operation]]
alter_model_table = "User"
table = "person"

[[operation]]
alter_field = "User.name"
type = "text"
"#;
    for test in databases().await {
        let database = open(&test).await;
        after(&database, more).await.unwrap();
        let text = format!("dependencies = [[\"blog\", \"0001_initial\"]]\n{more}");
        let graph = graph(&[
            ("auth.0001_initial", USER),
            ("auth.0002_person", user),
            ("blog.0001_initial", POST),
            ("blog.0002_more", &text),
        ]);
        migrate_all(&database, &graph).await.unwrap();
        assert_eq!(column(&database, "SELECT title FROM article ORDER BY id").await, ["One", "2"]);
        run(&database, "INSERT INTO article (title, author_id) VALUES ('3', 2)").await;
        let nobody = "INSERT INTO article (title, author_id) VALUES ('4', 77)";
        assert!(database.connection().script(nobody).await.unwrap_err().is_integrity());
        to(&database, &graph, &["auth", "zero"]).await.unwrap();
        database.close().await;
    }
}
