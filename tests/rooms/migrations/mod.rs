//! Migrations from outside: what the files say is what the databases have.

mod columns;
mod data;
mod declared;
mod executor;
mod fuzz;
mod inspect;
mod keys;
mod mariadb;
mod renames;
mod rows;
mod schema;

use std::path::Path;

use hulse::conf::{self, Secret};
use hulse::db::{Database, Dialect, Row, Sql};
use hulse::migrations::{
    self, Graph, Migration, MigrationKey, Options, Target, applied, migrate_all,
};
use hulse_tests::{TestDatabase, databases};

const USER: &str = r#"
[[operation]]
create_model = "User"

[operation.fields]
id = { type = "big_auto", primary_key = true }
name = { type = "char", unique = true, max_length = 30 }
"#;

const POST: &str = r#"
dependencies = [["auth", "0001_initial"]]

[[operation]]
create_model = "Post"
indexes = [{ name = "post_author_title", fields = ["author", "-title"] }]

[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "char", max_length = 200 }
author = { type = "foreign_key", to = "auth.User", on_delete = "cascade" }
"#;

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::new(files.iter().map(|(key, text)| {
        let (app, name) = key.split_once('.').unwrap();
        Migration::parse(MigrationKey::new(app, name), &format!("{key}.toml"), text).unwrap()
    }))
    .unwrap()
}

/// The two tables, and `more` as the blog's second migration.
fn with(more: &str) -> Graph {
    let text = format!("dependencies = [[\"blog\", \"0001_initial\"]]\n{more}");
    graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST), ("blog.0002_more", &text)])
}

async fn open(test: &TestDatabase) -> Database {
    let settings = conf::Databases { url: Secret::new(test.url.as_str()), ..Default::default() };
    Database::connect(&settings, Path::new("/")).await.unwrap()
}

async fn to(database: &Database, graph: &Graph, words: &[&str]) -> hulse::Result<usize> {
    let target = Target::parse(graph, words.first().copied(), words.get(1).copied()).unwrap();
    migrations::migrate(database, graph, &target, Options::default(), &mut |_| {}).await
}

async fn run(database: &Database, sql: &str) {
    // MariaDB reads no offset; its sessions are in UTC.
    let is_mysql = database.dialect() == Dialect::Mysql;
    let sql = if is_mysql { sql.replace("+00:00'", "'") } else { sql.to_owned() };
    database.connection().script(&sql).await.unwrap();
}

/// The rows of a query, their first column as text.
async fn column(database: &Database, sql: &str) -> Vec<String> {
    let is_mysql = database.dialect() == Dialect::Mysql;
    let sql = if is_mysql { sql.replace(" AS text)", " AS char)") } else { sql.to_owned() };
    let rows = database.connection().fetch(Sql::raw(sql)).await.unwrap();
    rows.iter().map(|row| text(row, 0)).collect()
}

fn text(row: &Row, index: usize) -> String {
    row.get::<Option<String>>(index).unwrap().unwrap_or_else(|| "NULL".to_owned())
}

async fn names(database: &Database) -> Vec<String> {
    applied(database).await.unwrap().iter().map(ToString::to_string).collect()
}
