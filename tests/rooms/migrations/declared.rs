//! Conditions that a model declares are what the database holds rows to.

use hulse::migrations::{ProjectState, arrange, diff};
use hulse::models::{Id, Model};

use super::*;

#[derive(Model, Debug, Clone)]
#[model(
    app = "fair",
    index(name = "stand_open", -places, condition = |s| s.open().eq(true)),
    unique(name = "stand_name", name, condition = |s| s.open().eq(true) & !s.name().eq("it's")),
    unique(name = "stand_owner", owner, nulls_distinct = false),
    check(name = "stand_places", |s| s.places().gt(0) & s.places().lte(s.places_max() * 2)),
)]
struct Stand {
    id: Id,
    #[field(max_length = 20)]
    name: String,
    owner: Option<i32>,
    #[field(default = true)]
    open: bool,
    places: i32,
    places_max: i32,
}

#[tokio::test]
async fn what_a_model_declares_the_database_demands() {
    let state = ProjectState::of([Stand::meta()]);
    let empty = Graph::new([]).unwrap();
    let made = arrange(diff(&ProjectState::default(), &state, &[]), &state, &empty, None);
    for migration in &made {
        let read = Migration::parse(migration.key.clone(), "x", &migration.text("-")).unwrap();
        assert_eq!(read, *migration);
    }
    let graph = Graph::new(made).unwrap();
    assert_eq!(diff(&graph.state(|_| true).unwrap(), &state, &[]), []);
    for test in databases().await {
        let database = open(&test).await;
        migrate_all(&database, &graph).await.unwrap();
        let insert = async |values: &str| {
            let columns = "name, owner, open, places, places_max";
            let sql = format!("INSERT INTO fair_stand ({columns}) VALUES ({values})");
            match database.connection().script(&sql).await {
                Ok(()) => true,
                Err(error) => {
                    assert!(error.is_integrity(), "{error}");
                    false
                }
            }
        };
        let has_partial = !matches!(database.connection().dialect(), Dialect::Mysql);
        assert!(insert("'a', 1, true, 3, 2").await);
        assert!(!insert("'b', 2, true, 5, 2").await, "more than twice the places");
        assert!(!insert("'b', 2, true, 0, 2").await, "no place");
        assert_eq!(insert("'a', 3, true, 1, 2").await, !has_partial, "the name of an open one");
        assert!(insert("'a', 4, false, 1, 2").await, "the name of a closed one");
        assert!(insert("'it''s', 5, true, 1, 2").await);
        assert!(insert("'it''s', 6, true, 1, 2").await, "a name that may come twice");
        assert!(insert("'n', NULL, true, 1, 2").await);
        assert_eq!(insert("'m', NULL, true, 1, 2").await, !has_partial, "a second NULL");
        database.close().await;
    }
}
