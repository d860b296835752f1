//! Pure parts: files, diff, names, graph, DDL. States are written as migration files.

mod changes;
mod ddl;
mod detected;
mod files;
mod optimized;
mod plans;
mod random;
mod squashed;

use super::{Graph, Migration, MigrationKey, ProjectState};

const USER: &str = r#"
[[operation]]
create_model = "User"

[operation.fields]
id = { type = "big_auto", primary_key = true }
name = { type = "char", unique = true, max_length = 30 }
"#;

const POST: &str = r#"
[[operation]]
create_model = "Post"

[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "char", max_length = 200 }
author = { type = "foreign_key", to = "auth.User", on_delete = "cascade" }
"#;

fn migration(key: &str, text: &str) -> Migration {
    let (app, name) = key.split_once('.').unwrap();
    Migration::parse(MigrationKey::new(app, name), &format!("{key}.toml"), text).unwrap()
}

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::new(files.iter().map(|(key, text)| migration(key, text))).unwrap()
}

fn state(models: &[(&str, &str)]) -> ProjectState {
    let mut state = ProjectState::default();
    for (app, text) in models {
        migration(&format!("{app}.x"), text).apply(&mut state).unwrap();
    }
    state
}
