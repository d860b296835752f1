//! What tables, columns, indexes and keys there are afterwards.

use super::*;

/// Every column, foreign key and index but those of our own record, a line each, in an order that
/// does not depend on how they came about.
async fn schema(database: &Database) -> String {
    let queries: &[&str] = match database.connection().dialect() {
        Dialect::Sqlite => &[
            "SELECT t.name || '.' || c.name || ' ' || lower(c.type)
                 || ' ' || c.\"notnull\" || ' ' || c.pk
                 || ' ' || coalesce(c.dflt_value, '-')
             FROM sqlite_schema t, pragma_table_xinfo(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
            "SELECT t.name || '.' || f.\"from\" || ' -> ' || f.\"table\" || '.' || f.\"to\"
             FROM sqlite_schema t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'",
            "SELECT name || ': ' || sql FROM sqlite_schema WHERE type = 'index'
             AND sql IS NOT NULL",
            "SELECT name || ' counts' FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%'",
        ],
        Dialect::Postgres => &[
            "SELECT table_name || '.' || column_name || ' ' || data_type
                 || ' ' || coalesce(character_maximum_length::text, '') || ' ' || is_nullable
                 || ' ' || is_identity || ' ' || coalesce(column_default, '-')
             FROM information_schema.columns WHERE table_schema = 'public'",
            "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
            "SELECT indexname || ': ' || indexdef FROM pg_indexes WHERE schemaname = 'public'",
        ],
        Dialect::Mysql => &[
            "SELECT CONCAT(table_name, '.', column_name, ' ', column_type, ' ', is_nullable, ' ',
                 extra, ' ', COALESCE(column_default, '-'))
             FROM information_schema.columns WHERE table_schema = DATABASE()",
            "SELECT CONCAT(table_name, ' ', constraint_name, ' ', column_name, ' -> ',
                 referenced_table_name, '.', referenced_column_name)
             FROM information_schema.key_column_usage
             WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL",
            "SELECT CONCAT(table_name, ' ', index_name, ' ', non_unique, ': ',
                 GROUP_CONCAT(column_name, collation ORDER BY seq_in_index))
             FROM information_schema.statistics WHERE table_schema = DATABASE()
             GROUP BY table_name, index_name, non_unique",
        ],
    };
    let mut lines = Vec::new();
    for query in queries {
        lines.extend(column(database, query).await);
    }
    lines.retain(|line| !line.contains("hulse_migrations"));
    lines.sort();
    lines.join("\n")
}

#[tokio::test]
async fn tables_come_as_the_files_say_and_go_again() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST)]);
        assert_eq!(migrate_all(&database, &graph).await.unwrap(), 2);
        let whole = schema(&database).await;
        let expected = match database.connection().dialect() {
            Dialect::Sqlite => {
                "auth_user counts\n\
                 auth_user.id integer 1 1 -\n\
                 auth_user.name varchar(30) 1 0 -\n\
                 auth_user_name_90befa7b_uniq: CREATE UNIQUE INDEX \
                 \"auth_user_name_90befa7b_uniq\" ON \"auth_user\" (\"name\")\n\
                 blog_post counts\n\
                 blog_post.author_id -> auth_user.id\n\
                 blog_post.author_id bigint 1 0 -\n\
                 blog_post.id integer 1 1 -\n\
                 blog_post.title varchar(200) 1 0 -\n\
                 blog_post_author_id_9b01223d_idx: CREATE INDEX \
                 \"blog_post_author_id_9b01223d_idx\" ON \"blog_post\" (\"author_id\")\n\
                 post_author_title: CREATE INDEX \"post_author_title\" ON \"blog_post\" \
                 (\"author_id\", \"title\" DESC)"
            }
            Dialect::Postgres => {
                "auth_user auth_user_pkey PRIMARY KEY (id)\n\
                 auth_user.id bigint  NO YES -\n\
                 auth_user.name character varying 30 NO NO -\n\
                 auth_user_name_90befa7b_uniq: CREATE UNIQUE INDEX auth_user_name_90befa7b_uniq ON \
                 public.auth_user USING btree (name)\n\
                 auth_user_pkey: CREATE UNIQUE INDEX auth_user_pkey ON public.auth_user USING \
                 btree (id)\n\
                 blog_post blog_post_author_id_9b01223d_fk FOREIGN KEY (author_id) REFERENCES \
                 auth_user(id) DEFERRABLE INITIALLY DEFERRED\n\
                 blog_post blog_post_pkey PRIMARY KEY (id)\n\
                 blog_post.author_id bigint  NO NO -\n\
                 blog_post.id bigint  NO YES -\n\
                 blog_post.title character varying 200 NO NO -\n\
                 blog_post_author_id_9b01223d_idx: CREATE INDEX blog_post_author_id_9b01223d_idx \
                 ON public.blog_post USING btree (author_id)\n\
                 blog_post_pkey: CREATE UNIQUE INDEX blog_post_pkey ON public.blog_post USING \
                 btree (id)\n\
                 post_author_title: CREATE INDEX post_author_title ON public.blog_post USING \
                 btree (author_id, title DESC)"
            }
            Dialect::Mysql => {
                "auth_user PRIMARY 0: idA\n\
                 auth_user auth_user_name_90befa7b_uniq 0: nameA\n\
                 auth_user.id bigint(20) NO auto_increment -\n\
                 auth_user.name varchar(30) NO  -\n\
                 blog_post PRIMARY 0: idA\n\
                 blog_post blog_post_author_id_9b01223d_fk author_id -> auth_user.id\n\
                 blog_post blog_post_author_id_9b01223d_idx 1: author_idA\n\
                 blog_post post_author_title 1: author_idA,titleD\n\
                 blog_post.author_id bigint(20) NO  -\n\
                 blog_post.id bigint(20) NO auto_increment -\n\
                 blog_post.title varchar(200) NO  -"
            }
        };
        assert_eq!(whole, expected);
        to(&database, &graph, &["auth", "zero"]).await.unwrap();
        assert_eq!(schema(&database).await, "");
        assert_eq!(names(&database).await, [""; 0]);
        migrate_all(&database, &graph).await.unwrap();
        assert_eq!(schema(&database).await, whole);
        database.close().await;
    }
}

/// Every kind of change, one after the other.
const CHANGES: [&str; 13] = [
    r#"
add_field = "Post.slug"
type = "char"
max_length = 60
unique = true
null = true
"#,
    r#"
add_field = "Post.live"
type = "boolean"
default = true
"#,
    r#"
add_field = "Post.score"
type = "float"
fill = 1.5
"#,
    r#"
add_field = "Post.created"
type = "date_time"
auto_now_add = true
fill = "now"
"#,
    r#"
add_field = "Post.editor"
type = "foreign_key"
to = "auth.User"
on_delete = "set_null"
null = true
"#,
    r#"
alter_field = "Post.title"
type = "text"
index = true
"#,
    r#"
alter_field = "Post.score"
type = "integer"
null = true
default = 3
"#,
    r#"
alter_field = "Post.slug"
type = "char"
max_length = 80
fill = "none"
"#,
    r#"
rename_field = "Post.editor"
to = "reviewer"
"#,
    r#"
remove_index = "Post"
name = "post_author_title"
"#,
    r#"
add_index = "Post"
name = "post_by_author"
fields = ["-created", "author"]
unique = true
"#,
    r#"
remove_field = "Post.live"
"#,
    r#"
alter_field = "Post.author"
type = "foreign_key"
to = "auth.User"
on_delete = "protect"
null = true
index = false
"#,
];

/// What all of them lead to.
const CHANGED: &str = r#"
dependencies = [["auth", "0001_initial"]]

[[operation]]
create_model = "Post"
indexes = [{ name = "post_by_author", fields = ["-created", "author"], unique = true }]

[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "text", index = true }
created = { type = "date_time", auto_now_add = true }
reviewer = { type = "foreign_key", to = "auth.User", on_delete = "set_null", null = true }
slug = { type = "char", max_length = 80 }
score = { type = "integer", null = true, default = 3 }


[operation.fields.author]
type = "foreign_key"
to = "auth.User"
on_delete = "protect"
null = true
index = false
"#;

fn one_by_one() -> Graph {
    let mut files = vec![
        ("auth.0001_initial".to_owned(), USER.to_owned()),
        ("blog.0001_initial".to_owned(), POST.to_owned()),
    ];
    let mut before = "0001_initial".to_owned();
    for (place, change) in CHANGES.iter().enumerate() {
        let name = format!("{:04}_change", place + 2);
        let text = format!("dependencies = [[\"blog\", \"{before}\"]]\n[[operation]]\n{change}\n");
        files.push((format!("blog.{name}"), text));
        before = name;
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(key, text)| (&**key, &**text)).collect();
    graph(&files)
}

#[tokio::test]
async fn a_migrated_database_has_the_schema_of_a_new_one() {
    for (old, new) in databases().await.iter().zip(databases().await.iter()) {
        let (old, new) = (open(old).await, open(new).await);
        migrate_all(&old, &one_by_one()).await.unwrap();
        let fresh = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", CHANGED)]);
        migrate_all(&new, &fresh).await.unwrap();
        assert_eq!(schema(&old).await, schema(&new).await);
        old.close().await;
        new.close().await;
    }
}

#[tokio::test]
async fn every_change_can_be_undone_one_by_one() {
    for test in databases().await {
        let database = open(&test).await;
        let graph = one_by_one();
        let mut before = Vec::new();
        for migration in graph.of("blog") {
            to(&database, &graph, &["blog", &migration.key.name]).await.unwrap();
            run(&database, "DELETE FROM blog_post").await;
            before.push((migration.key.name.clone(), schema(&database).await));
        }
        for (name, schema_then) in before.iter().rev() {
            to(&database, &graph, &["blog", name]).await.unwrap();
            assert_eq!(schema(&database).await, *schema_then, "back at {name}");
        }
        database.close().await;
    }
}

#[tokio::test]
async fn models_that_point_at_each_other_get_both_keys() {
    let pair = r#"
[[operation]]
create_model = "A"
[operation.fields]
id = { type = "big_auto", primary_key = true }

[[operation]]
create_model = "B"
[operation.fields]
code = { type = "char", max_length = 8, primary_key = true }
a = { type = "foreign_key", to = "x.A", on_delete = "cascade" }
parent = { type = "foreign_key", to = "x.B", on_delete = "cascade", null = true }

[[operation]]
add_field = "A.b"
type = "foreign_key"
to = "x.B"
on_delete = "cascade"
null = true
"#;
    for test in databases().await {
        let database = open(&test).await;
        let graph = graph(&[("x.0001_initial", pair)]);
        migrate_all(&database, &graph).await.unwrap();
        if database.dialect() == Dialect::Mysql {
            // It checks each row, so neither can come first.
            let insert = "INSERT INTO x_a (id) VALUES (1); INSERT INTO x_b (code, a_id, parent_id)
                 VALUES ('one', 1, 'one'); UPDATE x_a SET b_id = 'one'";
            run(&database, insert).await;
            to(&database, &graph, &["x", "zero"]).await.unwrap();
            assert_eq!(schema(&database).await, "");
            continue;
        }
        let insert = "BEGIN; INSERT INTO x_a (id, b_id) VALUES (1, 'one');
             INSERT INTO x_b (code, a_id, parent_id) VALUES ('one', 1, 'one'); COMMIT";
        run(&database, insert).await;
        let wrong = "INSERT INTO x_b (code, a_id) VALUES ('two', 7)";
        assert!(database.connection().script(wrong).await.unwrap_err().is_integrity());
        to(&database, &graph, &["x", "zero"]).await.unwrap();
        assert_eq!(schema(&database).await, "");
        database.close().await;
    }
}

#[test]
fn the_framework_ships_migrations_that_fit_its_models() {
    let here = Path::new("/nowhere/at/all");
    let project = hulse::Project::new("empty", here)
        .install(hulse::contrib::sessions::App)
        .install(hulse::contrib::auth::App);
    let shipped = project.migrations().unwrap().state(|_| true).unwrap();
    let changes = migrations::diff(&shipped, &project.state(), &[]);
    assert_eq!(changes, [], "run `makemigrations --folder migrations auth sessions`");
    for app in project.apps() {
        assert!(project.has_foreign_migrations(app.as_ref()).unwrap());
    }
}
