//! Whatever is renamed, added and taken away: the schema is that of a new database, rows stay, and
//! undoing it gives the former one.

use futures_util::future::join_all;
use hulse::migrations::inspect::inspect;
use hulse::migrations::{ProjectState, arrange, diff};

use super::*;

const USERS: &str = r#"
[[operation]]
create_model = "User"
[operation.fields]
id = { type = "big_auto", primary_key = true }
name = { type = "char", unique = true, max_length = 30 }
"#;

/// Everything that has a name: reserved words, indexes and checks by the dozen, a many-to-many
/// field, models that point at each other.
const BLOG: &str = r#"
dependencies = [["auth", "0001_initial"]]

[[operation]]
create_model = "Tag"
[operation.fields]
code = { type = "char", primary_key = true, max_length = 8 }
group = { type = "text", default = "it's \"x\" \\ -- ;" }

[[operation]]
create_model = "Post"
indexes = [
    { name = "blog_post_author_id_title_d37d45e8_idx", fields = ["author", "-title"] },
  {name="live_ones", fields=["created"], condition="\"live\" AND \"title\" <> 'it''s \"live\"'"},
]
constraints = [
    { name = "blog_post_author_id_order_f9b46821_uniq", unique = ["author", "order"] },
    { name = "one_draft", unique = ["author"], condition = '"live" = false' },
    { name = "one_slug", unique = ["author", "slug"], nulls_distinct = false },
    { name = "cheap", check = "\"order\" < 1000 AND \"title\" <> 'dear'" },
]
[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "char", max_length = 200, index = true }
slug = { type = "char", max_length = 50, null = true }
order = { type = "positive_integer", default = 7 }
live = { type = "boolean", default = true }
created = { type = "date_time", auto_now_add = true }
author = { type = "foreign_key", to = "auth.User", on_delete = "cascade" }
parent = { type = "foreign_key", to = "blog.Post", on_delete = "cascade", null = true }

[[operation]]
create_model = "Post_tags"
constraints = [
    { name = "blog_post_tags_post_id_tag_id_894077a4_uniq", unique = ["post", "tag"] },
]
[operation.fields]
id = { type = "big_auto", primary_key = true }
post = { type = "foreign_key", to = "blog.Post", on_delete = "cascade" }
tag = { type = "foreign_key", to = "blog.Tag", on_delete = "cascade" }
"#;

/// One after the other.
const STEPS: &[&str] = &[
    "rename_field = \"Post.title\"\nto = \"headline\"",
    "rename_field = \"Post.order\"\nto = \"select\"",
    "rename_model = \"Post\"\nto = \"Article\"",
    "rename_field = \"Article.id\"\nto = \"number\"",
    "alter_model_table = \"Article\"\ntable = \"Wörter\"",
    "alter_model_table = \"Article\"\ntable = \"order\"",
    "alter_model_table = \"Article\"\ntable = \"ORDER\"",
    "rename_field = \"Article.headline\"\nto = \"Headline\"",
    "rename_model = \"Tag\"\nto = \"Label\"",
    "rename_model = \"Article_tags\"\nto = \"Article_labels\"",
    "alter_field = \"Label.code\"\ntype = \"char\"\nmax_length = 20\nprimary_key = true",
    // Two change places.
    "rename_field = \"Article.slug\"\nto = \"between\"",
    "rename_field = \"Article.Headline\"\nto = \"slug\"",
    "rename_field = \"Article.between\"\nto = \"Headline\"",
    "rename_index = \"Article\"\nname = \"cheap\"\nto = \"not_dear\"",
    "rename_index = \"Article\"\nname = \"one_draft\"\nto = \"drafts\"",
    "remove_constraint = \"Article\"\nname = \"one_slug\"",
    "remove_index = \"Article\"\nname = \"live_ones\"",
    r#"add_constraint = "Article"
name = "quoted"
check = "\"slug\" <> '\"slug\" isn''t'""#,
    "alter_field = \"Article.live\"\ntype = \"boolean\"\nindex = true",
    "alter_field = \"Article.select\"\ntype = \"small_integer\"\ndefault = 3\nnull = true",
    "remove_constraint = \"Article\"\nname = \"not_dear\"",
    "add_field = \"Article.a_name_that_is_so_long_that_no_database_keeps_all_of_it_here\"\n\
     type = \"foreign_key\"\nto = \"blog.Label\"\non_delete = \"cascade\"\nnull = true",
    "rename_model = \"Article\"\n\
     to = \"ArticleWithANameThatIsSoLongThatItsTableWillNotBeKeptWhole\"",
];

/// The migrations up to the last step, each on its own.
fn one_by_one() -> Graph {
    let mut files = vec![
        ("auth.0001_initial".to_owned(), USERS.to_owned()),
        ("blog.0001_initial".to_owned(), BLOG.to_owned()),
    ];
    for (place, step) in STEPS.iter().enumerate() {
        let before = files.last().unwrap().0.split_once('.').unwrap().1.to_owned();
        let text = format!("dependencies = [[\"blog\", \"{before}\"]]\n[[operation]]\n{step}\n");
        files.push((format!("blog.{:04}_step", place + 2), text));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(key, text)| (&**key, &**text)).collect();
    graph(&files)
}

/// All that has a name, in an order that does not depend on how it came about.
async fn named(database: &Database) -> String {
    let mut schema = inspect(&database.connection()).await.unwrap();
    schema.tables.retain(|table| !table.name.starts_with("hulse_migrations"));
    for table in &mut schema.tables {
        table.columns.sort();
    }
    let mut text = format!("{schema:#?}");
    if matches!(database.connection().dialect(), Dialect::Postgres) {
        let names = "SELECT relkind::text || ' ' || relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'hulse%' ORDER BY 1";
        text.push_str(&column(database, names).await.join("\n"));
    }
    text
}

/// What a new database has that is made for `state`.
async fn fresh(test: &TestDatabase, state: &ProjectState) -> String {
    let empty = Graph::new([]).unwrap();
    let made = arrange(diff(&ProjectState::default(), state, &[]), state, &empty, None);
    let database = open(test).await;
    migrate_all(&database, &Graph::new(made).unwrap()).await.unwrap();
    let names = named(&database).await;
    database.close().await;
    names
}

const ROWS: &str = "INSERT INTO auth_user (name) VALUES ('ann'), ('bob');
    INSERT INTO blog_tag (code) VALUES ('x');
    INSERT INTO blog_post (title, slug, \"order\", created, author_id)
        VALUES ('One', 'one', 1, '2026-01-02 03:04:05+00:00', 1);
    INSERT INTO blog_post (title, created, author_id, parent_id)
        VALUES ('Two', '2026-01-02 03:04:05+00:00', 2, 1);
    INSERT INTO blog_post_tags (post_id, tag_id) VALUES (2, 'x')";

#[tokio::test]
async fn every_step_leads_to_the_schema_of_a_new_database_and_back() {
    join_all(databases().await.into_iter().map(every_step)).await;
}

async fn every_step(test: TestDatabase) {
    let database = open(&test).await;
    let graph = one_by_one();
    let mut before: Vec<(String, String)> = Vec::new();
    let mut included = std::collections::BTreeSet::new();
    for migration in graph.migrations() {
        included.insert(migration.key.clone());
        if migration.key.app == "auth" {
            continue;
        }
        let done = to(&database, &graph, &["blog", &migration.key.name]).await;
        if database.dialect() == Dialect::Mysql
            && let Err(error) = &done
        {
            // A name has at most 64 characters there, and is not cut.
            assert!(error.to_string().contains("is too long"), "{error}");
            break;
        }
        done.unwrap();
        if before.is_empty() {
            run(&database, ROWS).await;
        }
        let state = graph.state(|key| included.contains(key)).unwrap();
        let there = named(&database).await;
        assert_eq!(there, fresh(&test.another().await, &state).await, "{}", migration.key);
        before.push((migration.key.name.clone(), there));
    }
    for (name, then) in before.iter().rev() {
        to(&database, &graph, &["blog", name]).await.unwrap();
        assert_eq!(named(&database).await, *then, "back at {name}");
    }
    let rows = "SELECT title || ' ' || coalesce(slug, '-') || ' ' || \"order\"
            || ' ' || coalesce(parent_id, 0) || ' ' || coalesce(tag_id, '-')
        FROM blog_post LEFT JOIN blog_post_tags ON post_id = blog_post.id
        ORDER BY blog_post.id";
    assert_eq!(column(&database, rows).await, ["One one 1 0 -", "Two - 7 1 x"]);
    database.close().await;
}

#[tokio::test]
async fn constraints_hold() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("auth.0001_initial", USERS), ("blog.0001_initial", BLOG)]);
        migrate_all(&database, &graph).await.unwrap();
        run(&database, ROWS).await;
        let refused = async |values: &str| {
            let columns = "title, slug, \"order\", live, author_id, created";
            let moment = "'2026-01-02 03:04:05+00:00'";
            let is_mysql = database.dialect() == Dialect::Mysql;
            let moment = if is_mysql { moment.replace("+00:00", "") } else { moment.to_owned() };
            let sql = format!("INSERT INTO blog_post ({columns}) VALUES ({values}, {moment})");
            match database.connection().script(&sql).await {
                Ok(()) => false,
                Err(error) => {
                    assert!(error.is_integrity(), "{error}");
                    true
                }
            }
        };
        assert!(refused("'a', 'a', 1, true, 1").await, "author and order are taken");
        assert!(refused("'a', 'a', -1, true, 1").await, "below zero");
        assert!(refused("'a', 'a', 1000, true, 1").await, "too dear");
        assert!(refused("'dear', 'a', 2, true, 1").await, "called dear");
        if database.dialect() == Dialect::Mysql {
            // What follows is unique among some rows only, or with equal NULLs.
            database.close().await;
            continue;
        }
        assert!(refused("'a', 'one', 2, true, 1").await, "author and slug are taken");
        assert!(refused("'a', NULL, 2, true, 2").await, "two NULLs are one");
        assert!(!refused("'a', NULL, 2, false, 1").await, "the first draft");
        assert!(refused("'a', 'b', 3, false, 1").await, "the second draft");
        assert!(!refused("'a', 'b', 3, true, 1").await);
        database.close().await;
    }
}

#[tokio::test]
async fn each_database_runs_its_own_sql_and_state_can_go_its_own_way() {
    let more = r#"
[[operation]]
backwards = "DROP TABLE a"
[operation.run_sql]
sqlite = ["CREATE TABLE a (of text)", "INSERT INTO a VALUES ('sqlite')"]
postgres = "CREATE TABLE a (of text); INSERT INTO a VALUES ('postgres')"
mysql = ["CREATE TABLE a (\"of\" text)", "INSERT INTO a VALUES ('mysql')"]

[[operation]]
[[operation.database_operations]]
run_sql = "ALTER TABLE a ADD COLUMN id bigint"
backwards = ""

[[operation.state_operations]]
create_model = "A"
table = "a"
[operation.state_operations.fields]
id = { type = "big_integer", primary_key = true }
of = { type = "text" }

[[operation]]
alter_model_table = "A"
table = "b"
"#;
    for test in databases().await {
        let database = open(&test).await;
        let graph = with(more);
        migrate_all(&database, &graph).await.unwrap();
        let word = match database.connection().dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
            Dialect::Mysql => "mysql",
        };
        assert_eq!(column(&database, "SELECT \"of\" FROM b").await, [word]);
        to(&database, &graph, &["blog", "0001"]).await.unwrap();
        assert!(database.connection().fetch(Sql::raw("SELECT 1 FROM a")).await.is_err());
        database.close().await;
    }
    let only = with("[[operation]]\nrun_sql = { mysql = \"SELECT 1\" }");
    let test = &databases().await[0];
    let database = open(test).await;
    let error = migrate_all(&database, &only).await.unwrap_err().to_string();
    assert!(error.contains("it says nothing for sqlite; add `sqlite = \"\"`"), "{error}");
    database.close().await;
}

#[tokio::test]
async fn an_unmanaged_table_is_left_alone() {
    let unmanaged = "[[operation]]\ncreate_model = \"Old\"\nmanaged = false\n[operation.fields]\n\
                     id = { type = \"big_auto\", primary_key = true }\n";
    let more = format!(
        "{unmanaged}\n[[operation]]\nadd_field = \"Old.x\"\ntype = \"text\"\n\
         [[operation]]\nrename_model = \"Old\"\nto = \"New\"\n"
    );
    for test in databases().await {
        let database = open(&test).await;
        let graph = with(&more);
        migrate_all(&database, &graph).await.unwrap();
        assert!(inspect(&database.connection()).await.unwrap().table("blog_old").is_none());
        to(&database, &graph, &["blog", "0001"]).await.unwrap();
        database.close().await;
    }
}

#[tokio::test]
async fn an_index_is_made_beside_writers_but_not_in_a_transaction() {
    let index = "[[operation]]\nadd_index = \"Post\"\nname = \"by_id\"\nfields = [\"-id\"]\n\
                 concurrently = true\n";
    for test in databases().await {
        let database = open(&test).await;
        let is_postgres = matches!(database.connection().dialect(), Dialect::Postgres);
        let whole = migrate_all(&database, &with(index)).await;
        match whole {
            Ok(_) => assert!(!is_postgres),
            Err(error) => {
                assert!(is_postgres, "{error}");
                let words = "`concurrently` is not possible in a transaction: add `atomic = false`";
                assert!(error.to_string().contains(words), "{error}");
            }
        }
        let graph = with(&format!("atomic = false\n{index}"));
        migrate_all(&database, &graph).await.unwrap();
        let has_index = async || {
            let schema = inspect(&database.connection()).await.unwrap();
            let table = schema.table("blog_post").unwrap();
            table.indexes.iter().any(|one| one.name.as_deref() == Some("by_id"))
        };
        assert!(has_index().await);
        to(&database, &graph, &["blog", "0001"]).await.unwrap();
        assert!(!has_index().await);
        database.close().await;
    }
}
