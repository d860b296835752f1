//! Primary keys that change: their type, their name, and which field it is.

use super::*;

const TAG: &str = r#"
[[operation]]
create_model = "Tag"
[operation.fields]
id = { type = "big_auto", primary_key = true }
code = { type = "char", max_length = 8, unique = true }
up = { type = "foreign_key", to = "x.Tag", on_delete = "cascade", null = true }
"#;

/// Two models that hold keys of tags, one of them as its own.
const HOLDERS: &str = r#"
[[operation]]
create_model = "Card"
[operation.fields]
tag = { type = "foreign_key", to = "x.Tag", on_delete = "cascade", primary_key = true }

[[operation]]
create_model = "Use"
indexes = [{ name = "use_card", fields = ["-card", "tag"] }]
[operation.fields]
id = { type = "big_auto", primary_key = true }
tag = { type = "foreign_key", to = "x.Tag", on_delete = "cascade" }
card = { type = "foreign_key", to = "x.Card", on_delete = "cascade", null = true }
"#;

const CODE_IS_KEY: &str = r#"
[[operation]]
alter_primary_key = "Tag"
[operation.fields]
code = { type = "char", max_length = 8, primary_key = true }
id = { type = "big_integer", null = true }

[[operation]]
remove_field = "Tag.id"
"#;

fn graph_of(first: &str, second: &str) -> Graph {
    let second = format!("dependencies = [[\"x\", \"0001_initial\"]]\n{second}");
    graph(&[("x.0001_initial", first), ("x.0002_second", &second)])
}

/// Tags `a` and `b`, the second below the first, with a card and two uses.
async fn filled(test: &TestDatabase, graph: &Graph, with_holders: bool) -> Database {
    let database = open(test).await;
    to(&database, graph, &["x", "0001"]).await.unwrap();
    run(&database, "INSERT INTO x_tag (id, code) VALUES (7, 'a')").await;
    run(&database, "INSERT INTO x_tag (id, code, up_id) VALUES (300, 'b', 7)").await;
    if with_holders {
        run(
            &database,
            "INSERT INTO x_card (tag_id) VALUES (300);
             INSERT INTO x_use (tag_id, card_id) VALUES (7, 300), (300, NULL)",
        )
        .await;
    }
    database
}

/// Which tag each use and its card belong to, and which is above it.
const HELD: &str = "SELECT t.code || coalesce(u.code, '-') || coalesce(c.code, '-')
    FROM x_use x JOIN x_tag t ON t.{key} = x.tag_id LEFT JOIN x_tag u ON u.{key} = t.up_id
    LEFT JOIN x_card k ON k.tag_id = x.card_id LEFT JOIN x_tag c ON c.{key} = k.tag_id
    ORDER BY x.id";

#[tokio::test]
async fn numbers_become_uuids_or_texts_and_who_holds_them_follows() {
    let cases = [
        ("type = \"uuid\"", "0000012c", 1),
        ("type = \"char\"\nmax_length = 20", "300", 0),
        ("type = \"integer\"", "300", 0),
    ];
    for test in databases().await {
        for (place, (kind, key, hyphens)) in cases.into_iter().enumerate() {
            let alter = format!("[[operation]]\nalter_field = \"Tag.id\"\n{kind}\n");
            let second = alter + "primary_key = true\n";
            let graph = graph_of(&format!("{TAG}{HOLDERS}"), &second);
            let database = filled(&test, &graph, true).await;
            migrate_all(&database, &graph).await.unwrap();
            let held = column(&database, &HELD.replace("{key}", "id")).await;
            assert_eq!(held, ["a-b", "ba-"], "{kind} on {:?}", database.dialect());
            let last = "SELECT CAST(id AS text) FROM x_tag WHERE code = 'b'";
            let last = column(&database, last).await.remove(0);
            assert!(last.ends_with(key), "{kind}: {last}");
            let is_hyphened = last.contains('-');
            let expected = hyphens == 1 && database.dialect() == Dialect::Postgres;
            assert_eq!(is_hyphened, expected, "as the database writes them");
            let nobody = "INSERT INTO x_use (tag_id) VALUES ('00000000000000000000000000000009')";
            assert!(database.connection().script(nobody).await.is_err());
            let back = to(&database, &graph, &["x", "0001"]).await;
            if place == 0 {
                let error = back.unwrap_err().to_string();
                let words = "the values of x.Tag.id are UUIDs, and there is no telling which";
                assert!(error.contains(words), "{error}");
                run(&database, "DELETE FROM x_use; DELETE FROM x_card").await;
                run(&database, "UPDATE x_tag SET up_id = NULL; DELETE FROM x_tag").await;
                to(&database, &graph, &["x", "0001"]).await.unwrap();
            } else {
                back.unwrap();
                let held = column(&database, &HELD.replace("{key}", "id")).await;
                assert_eq!(held, ["a-b", "ba-"], "back from {kind}");
            }
            to(&database, &graph, &["x", "zero"]).await.unwrap();
            database.close().await;
        }
    }
}

#[tokio::test]
async fn a_key_gets_another_name_and_who_holds_it_keeps_it() {
    let second = "[[operation]]\nrename_field = \"Tag.id\"\nto = \"number\"\n";
    let graph = graph_of(&format!("{TAG}{HOLDERS}"), second);
    for test in databases().await {
        let database = filled(&test, &graph, true).await;
        migrate_all(&database, &graph).await.unwrap();
        let held = column(&database, &HELD.replace("{key}", "number")).await;
        assert_eq!(held, ["a-b", "ba-"]);
        run(&database, "INSERT INTO x_tag (code) VALUES ('c')").await;
        let counted = "SELECT code FROM x_tag WHERE number IS NOT NULL ORDER BY code";
        assert_eq!(column(&database, counted).await, ["a", "b", "c"], "it goes on counting");
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        assert_eq!(column(&database, &HELD.replace("{key}", "id")).await, ["a-b", "ba-"]);
        database.close().await;
    }
}

#[tokio::test]
async fn another_field_takes_the_place_of_the_id_and_gives_it_back() {
    let first = TAG.replace("up = {", "#");
    let graph = graph_of(&first, CODE_IS_KEY);
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_tag (id, code) VALUES (7, 'a'), (9, 'b')").await;
        migrate_all(&database, &graph).await.unwrap();
        let fresh = open_fresh(database.dialect()).await;
        let made = "[[operation]]\ncreate_model = \"Tag\"\n[operation.fields]\n\
                    code = { type = \"char\", max_length = 8, primary_key = true }\n";
        migrate_all(&fresh.1, &super::graph(&[("x.0001_initial", made)])).await.unwrap();
        assert_eq!(tables(&database).await, tables(&fresh.1).await);
        assert_eq!(column(&database, "SELECT code FROM x_tag ORDER BY code").await, ["a", "b"]);
        for wrong in ["INSERT INTO x_tag (code) VALUES ('a')", "INSERT INTO x_tag VALUES (NULL)"] {
            assert!(database.connection().script(wrong).await.is_err(), "{wrong}");
        }
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_tag (code) VALUES ('c')").await;
        let numbers = "SELECT CAST(id AS text) FROM x_tag ORDER BY code";
        assert_eq!(column(&database, numbers).await, ["1", "2", "3"], "they are counted anew");
        fresh.1.close().await;
        database.close().await;
    }
}

/// A new database of this kind.
async fn open_fresh(dialect: Dialect) -> (TestDatabase, Database) {
    let mut found = None;
    for test in databases().await {
        let database = open(&test).await;
        if database.dialect() == dialect {
            found = Some((test, database));
        }
    }
    found.unwrap()
}

async fn tables(database: &Database) -> Vec<migrations::inspect::Table> {
    let mut schema = migrations::inspect::inspect(&database.connection()).await.unwrap();
    schema.tables.retain(|table| table.name.starts_with("x_"));
    schema.tables
}

#[tokio::test]
async fn a_key_that_rows_elsewhere_hold_is_not_exchanged() {
    let graph = graph_of(&format!("{TAG}{HOLDERS}"), CODE_IS_KEY);
    for test in databases().await {
        let database = filled(&test, &graph, true).await;
        let before = tables(&database).await;
        let error = migrate_all(&database, &graph).await.unwrap_err().to_string();
        let words = "rows hold the key `id` of x.Tag in x.Tag.up and would not find it by `code`: \
                     if the values may stay, rename `id` to `code`";
        assert!(error.contains(words), "{error}");
        assert_eq!(tables(&database).await, before, "nothing has changed");
        run(&database, "DELETE FROM x_use; DELETE FROM x_card").await;
        run(&database, "UPDATE x_tag SET up_id = NULL").await;
        migrate_all(&database, &graph).await.unwrap();
        run(
            &database,
            "UPDATE x_tag SET up_id = 'a' WHERE code = 'b'; INSERT INTO x_card VALUES ('b');
             INSERT INTO x_use (tag_id, card_id) VALUES ('a', 'b'), ('b', NULL)",
        )
        .await;
        assert_eq!(column(&database, &HELD.replace("{key}", "code")).await, ["a-b", "ba-"]);
        database.close().await;
    }
}

#[tokio::test]
async fn rows_without_a_value_of_their_own_get_no_key_by_it() {
    let first = TAG.replace("unique = true", "null = true").replace("up = {", "#");
    let graph = graph_of(&first, CODE_IS_KEY);
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        for (rows, words) in [
            ("('a'), ('a')", "rows of x.Tag share a value of `code`, so it cannot be their key"),
            ("('a'), (NULL)", "rows of x.Tag have no `code`, so it cannot be their key"),
        ] {
            run(&database, &format!("DELETE FROM x_tag; INSERT INTO x_tag (code) VALUES {rows}"))
                .await;
            let error = migrate_all(&database, &graph).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        database.close().await;
    }
}

#[tokio::test]
async fn a_new_uuid_becomes_the_key_of_rows_that_nobody_gave_one() {
    let first = TAG.replace("up = {", "#");
    let second = r#"
[[operation]]
add_field = "Tag.token"
type = "uuid"
null = true

[[operation]]
alter_primary_key = "Tag"
[operation.fields]
token = { type = "uuid", primary_key = true }
id = { type = "big_integer", null = true }
"#;
    let graph = graph_of(&first, second);
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_tag (id, code) VALUES (7, 'a'), (9, 'b')").await;
        migrate_all(&database, &graph).await.unwrap();
        let tokens = column(&database, "SELECT CAST(token AS text) FROM x_tag").await;
        assert_eq!(tokens.len(), 2);
        assert!(tokens[0] != tokens[1] && tokens[0].replace('-', "").len() == 32, "{tokens:?}");
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        let numbers = "SELECT CAST(id AS text) FROM x_tag ORDER BY code";
        assert_eq!(column(&database, numbers).await, ["7", "9"], "they were still there");
        database.close().await;
    }
}
