//! Columns and tables that change places, and numbers that may or may not be negative.

use super::*;
use hulse::migrations::{ModelKey, ProjectState, arrange, diff};

const PAIR: &str = r#"
[[operation]]
create_model = "Pair"
[operation.fields]
id = { type = "big_auto", primary_key = true }
left = { type = "integer", index = true, column = "one" }
right = { type = "integer", column = "two" }

[[operation]]
create_model = "Other"
table = "others"
[operation.fields]
id = { type = "big_auto", primary_key = true }
pair = { type = "foreign_key", to = "x.Pair", on_delete = "cascade" }
"#;

/// The models of `text`, and the migrations that lead from them to those of `new`.
fn leading(text: &str, new: &str) -> Graph {
    let first = graph(&[("x.0001_initial", text)]);
    let (old, new) = (first.state(|_| true).unwrap(), state(new));
    let made = arrange(diff(&old, &new, &[]), &new, &first, None);
    let all = Graph::new(first.migrations().cloned().chain(made)).unwrap();
    assert_eq!(diff(&all.state(|_| true).unwrap(), &new, &[]), []);
    all
}

fn state(text: &str) -> ProjectState {
    graph(&[("x.0001_initial", text)]).state(|_| true).unwrap()
}

#[tokio::test]
async fn columns_change_places_and_keep_their_values() {
    let swapped = PAIR
        .replace("column = \"one\"", "column = \"between\"")
        .replace("column = \"two\"", "column = \"one\"")
        .replace("\"between\"", "\"two\"");
    let graph = leading(PAIR, &swapped);
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_pair (one, two) VALUES (1, 2)").await;
        let both = "SELECT CAST(one * 10 + two AS text) FROM x_pair";
        assert_eq!(column(&database, both).await, ["12"]);
        migrate_all(&database, &graph).await.unwrap();
        assert_eq!(column(&database, both).await, ["21"], "what was in `one` is in `two`");
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        assert_eq!(column(&database, both).await, ["12"]);
        database.close().await;
    }
}

#[tokio::test]
async fn tables_change_places_and_keep_their_rows() {
    let swapped = PAIR
        .replace("create_model = \"Pair\"", "create_model = \"Pair\"\ntable = \"others\"")
        .replace(
            "create_model = \"Other\"\ntable = \"others\"",
            "create_model = \"Other\"\ntable = \"x_pair\"",
        );
    let key = ModelKey::new("x", "Pair");
    assert_eq!(state(&swapped).model(&key).unwrap().table, "others");
    let graph = leading(PAIR, &swapped);
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_pair (id, one, two) VALUES (5, 1, 2)").await;
        run(&database, "INSERT INTO others (pair_id) VALUES (5)").await;
        migrate_all(&database, &graph).await.unwrap();
        let held = "SELECT CAST(two AS text) FROM x_pair JOIN others ON others.id = pair_id";
        assert_eq!(column(&database, held).await, ["2"]);
        let nobody = "INSERT INTO x_pair (pair_id) VALUES (6)";
        assert!(database.connection().script(nobody).await.unwrap_err().is_integrity());
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        assert_eq!(column(&database, "SELECT CAST(pair_id AS text) FROM others").await, ["5"]);
        database.close().await;
    }
}

#[tokio::test]
async fn a_number_may_become_negative_and_stop_being_so() {
    let positive =
        PAIR.replace("right = { type = \"integer\"", "right = { type = \"positive_integer\"");
    let negative = "INSERT INTO x_pair (one, two) VALUES (1, -2)";
    for (first, then) in [(PAIR, positive.as_str()), (&positive, PAIR)] {
        let graph = leading(first, then);
        let is_free = first == PAIR;
        for test in databases().await {
            let database = open(&test).await;
            to(&database, &graph, &["x", "0001"]).await.unwrap();
            assert_eq!(database.connection().script(negative).await.is_ok(), is_free);
            if is_free {
                let error = migrate_all(&database, &graph).await.unwrap_err();
                assert!(error.is_migration() || error.is_integrity(), "{error}");
                run(&database, "DELETE FROM x_pair").await;
            }
            migrate_all(&database, &graph).await.unwrap();
            assert_eq!(database.connection().script(negative).await.is_ok(), !is_free);
            run(&database, "DELETE FROM x_pair").await;
            to(&database, &graph, &["x", "0001"]).await.unwrap();
            assert_eq!(database.connection().script(negative).await.is_ok(), is_free);
            database.close().await;
        }
    }
}

#[tokio::test]
async fn a_moment_becomes_a_day_and_a_day_a_moment() {
    let model = |kind: &str| {
        format!(
            "[[operation]]\ncreate_model = \"Day\"\n[operation.fields]\n\
             id = {{ type = \"big_auto\", primary_key = true }}\nat = {{ type = \"{kind}\" }}\n"
        )
    };
    let graph = leading(&model("date_time"), &model("date"));
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        run(&database, "INSERT INTO x_day (at) VALUES ('2026-01-31T10:20:30+00:00')").await;
        migrate_all(&database, &graph).await.unwrap();
        assert_eq!(column(&database, "SELECT CAST(at AS text) FROM x_day").await, ["2026-01-31"]);
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        let at = column(&database, "SELECT CAST(at AS text) FROM x_day").await.remove(0);
        assert!(at.replace('T', " ").starts_with("2026-01-31 00:00:00"), "{at}");
        database.close().await;
    }
}

#[tokio::test]
async fn what_is_longer_as_a_text_is_not_cut() {
    let model = |field: &str| {
        format!(
            "[[operation]]\ncreate_model = \"Day\"\n[operation.fields]\n\
             id = {{ type = \"big_auto\", primary_key = true }}\nat = {{ type = {field} }}\n"
        )
    };
    let graph = leading(&model("\"uuid\""), &model("\"char\", max_length = 25"));
    for test in databases().await {
        let database = open(&test).await;
        to(&database, &graph, &["x", "0001"]).await.unwrap();
        let insert = "INSERT INTO x_day (at) VALUES ('00000000000000000000000000000007')";
        run(&database, insert).await;
        let done = migrate_all(&database, &graph).await;
        assert!(done.is_err(), "{:?} has cut it", database.dialect());
        let kept = column(&database, "SELECT CAST(at AS text) FROM x_day").await.remove(0);
        assert_eq!(kept.replace('-', "").len(), 32);
        database.close().await;
    }
}
