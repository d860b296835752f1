//! Connections and transactions, on both databases.

use std::path::Path;

use hulse::conf::{self, Secret};
use hulse::db::{Begin, Connection, Database, Dialect, Sql};
use hulse_tests::{TestDatabase, databases};
use tokio::task::JoinSet;

fn settings(url: &str) -> conf::Databases {
    conf::Databases { url: Secret::new(url), ..Default::default() }
}

async fn open(test: &TestDatabase) -> Database {
    Database::connect(&settings(&test.url), Path::new("/")).await.unwrap()
}

async fn with_table(test: &TestDatabase) -> Database {
    let database = open(test).await;
    run(&database.connection(), "CREATE TABLE note (id BIGINT PRIMARY KEY, word TEXT UNIQUE)")
        .await;
    database
}

async fn run(connection: &Connection, text: &str) -> u64 {
    connection.execute(Sql::raw(text)).await.unwrap()
}

async fn count(connection: &Connection) -> i64 {
    let rows = connection.fetch(Sql::raw("SELECT COUNT(*) FROM note")).await.unwrap();
    rows[0].get(0).unwrap()
}

#[tokio::test]
async fn a_transaction_keeps_all_or_nothing() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();

        let kept = plain.begin().await.unwrap();
        run(&kept.connection(), "INSERT INTO note VALUES (1, 'a')").await;
        assert_eq!(count(&kept.connection()).await, 1);
        assert_eq!(count(&plain).await, 0, "others see nothing before the commit");
        kept.commit().await.unwrap();
        assert_eq!(count(&plain).await, 1);

        let undone = plain.begin().await.unwrap();
        run(&undone.connection(), "INSERT INTO note VALUES (2, 'b')").await;
        undone.rollback().await.unwrap();
        assert_eq!(count(&plain).await, 1);

        let dropped = plain.begin().await.unwrap();
        run(&dropped.connection(), "INSERT INTO note VALUES (3, 'c')").await;
        drop(dropped);
        run(&plain, "INSERT INTO note VALUES (4, 'd')").await;
        assert_eq!(count(&plain).await, 2);
        database.close().await;
    }
}

#[tokio::test]
async fn a_handle_outliving_its_transaction_is_told_so() {
    for test in databases().await {
        let database = with_table(&test).await;
        let transaction = database.connection().begin().await.unwrap();
        let handle = transaction.connection();
        transaction.commit().await.unwrap();
        let error = handle.fetch(Sql::raw("SELECT 1")).await.unwrap_err();
        assert!(error.is_transaction_closed(), "{error:?}");

        let transaction = database.connection().begin().await.unwrap();
        let handle = transaction.connection();
        drop(transaction);
        let error = handle.execute(Sql::raw("DELETE FROM note")).await.unwrap_err();
        assert!(error.is_transaction_closed(), "{error:?}");
        assert!(handle.begin().await.unwrap_err().is_transaction_closed());
    }
}

#[tokio::test]
async fn savepoints_nest_and_are_undone_alone() {
    for test in databases().await {
        let database = with_table(&test).await;
        let outer = database.connection().begin().await.unwrap();
        run(&outer.connection(), "INSERT INTO note VALUES (1, 'a')").await;

        let inner = outer.connection().begin().await.unwrap();
        run(&inner.connection(), "INSERT INTO note VALUES (2, 'b')").await;
        let innermost = inner.connection().begin().await.unwrap();
        run(&innermost.connection(), "INSERT INTO note VALUES (3, 'c')").await;
        innermost.commit().await.unwrap();
        inner.rollback().await.unwrap();
        assert_eq!(count(&outer.connection()).await, 1);

        let dropped = outer.connection().begin().await.unwrap();
        run(&dropped.connection(), "INSERT INTO note VALUES (4, 'd')").await;
        let leaked = dropped.connection();
        drop(dropped);
        assert_eq!(count(&outer.connection()).await, 1, "undone before the next statement");
        assert!(leaked.begin().await.unwrap_err().is_transaction_closed());

        let kept = outer.connection().begin().await.unwrap();
        run(&kept.connection(), "INSERT INTO note VALUES (5, 'e')").await;
        kept.commit().await.unwrap();
        outer.commit().await.unwrap();
        assert_eq!(count(&database.connection()).await, 2);
    }
}

#[tokio::test]
async fn only_the_innermost_handle_works() {
    for test in databases().await {
        let database = with_table(&test).await;
        let outer = database.connection().begin().await.unwrap();
        let inner = outer.connection().begin().await.unwrap();
        let error = outer.connection().fetch(Sql::raw("SELECT 1")).await.unwrap_err();
        assert!(error.is_transaction_closed(), "{error:?}");
        let error = outer.connection().begin().await.unwrap_err();
        assert!(error.to_string().contains("use the site it gave"), "{error}");
        inner.commit().await.unwrap();
        assert_eq!(count(&outer.connection()).await, 0);
        outer.commit().await.unwrap();
    }
}

#[tokio::test]
async fn after_a_failed_statement_only_a_savepoint_saves_the_transaction() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        run(&plain, "INSERT INTO note VALUES (1, 'a')").await;

        let outer = plain.begin().await.unwrap();
        let inner = outer.connection().begin().await.unwrap();
        let twice = Sql::raw("INSERT INTO note VALUES (2, 'a')");
        let error = inner.connection().execute(twice.clone()).await.unwrap_err();
        assert!(error.is_unique_violation() && error.is_integrity(), "{error:?}");
        inner.rollback().await.unwrap();
        run(&outer.connection(), "INSERT INTO note VALUES (3, 'c')").await;
        outer.commit().await.unwrap();
        assert_eq!(count(&plain).await, 2);

        let outer = plain.begin().await.unwrap();
        run(&outer.connection(), "INSERT INTO note VALUES (4, 'd')").await;
        outer.connection().execute(twice).await.unwrap_err();
        let error = outer.connection().fetch(Sql::raw("SELECT 1")).await.unwrap_err();
        assert!(error.to_string().contains("no more queries until the end"), "{error}");
        assert!(outer.commit().await.unwrap_err().is_transaction_closed());
        assert_eq!(count(&plain).await, 2, "the commit kept nothing");
    }
}

#[tokio::test]
async fn clones_of_a_handle_take_turns() {
    for test in databases().await {
        let database = with_table(&test).await;
        let transaction = database.connection().begin().await.unwrap();
        let mut tasks = JoinSet::new();
        for id in 0..20 {
            let handle = transaction.connection();
            tasks.spawn(async move {
                run(&handle, &format!("INSERT INTO note VALUES ({id}, 'w{id}')")).await
            });
        }
        tasks.join_all().await;
        transaction.commit().await.unwrap();
        assert_eq!(count(&database.connection()).await, 20);
    }
}

#[tokio::test]
async fn a_cancelled_statement_undoes_its_transaction() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        let transaction = plain.begin().await.unwrap();
        let handle = transaction.connection();
        {
            let slow = "INSERT INTO note SELECT x, 'w' || x FROM (WITH RECURSIVE c(x) AS (SELECT 1 \
                        UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT x FROM c) AS many";
            let mut insert = Box::pin(handle.execute(Sql::raw(slow)));
            let polled = futures_util::poll!(insert.as_mut());
            assert!(polled.is_pending(), "dropped while it runs");
        }
        let error = handle.fetch(Sql::raw("SELECT 1")).await.unwrap_err();
        assert!(error.is_transaction_closed(), "{error:?}");
        drop(transaction);
        assert_eq!(count(&plain).await, 0);
        run(&plain, "INSERT INTO note VALUES (2, 'b')").await;
    }
}

#[tokio::test]
async fn one_name_is_held_by_one() {
    for test in databases().await {
        let (first, second) = (open(&test).await, open(&test).await);
        let held = first.exclusive("migrate").await.unwrap();
        let other = second.exclusive("backup").await.unwrap();
        let mut waiting = Box::pin(second.exclusive("migrate"));
        let soon = std::time::Duration::from_millis(200);
        assert!(tokio::time::timeout(soon, waiting.as_mut()).await.is_err(), "it waits");
        drop(held);
        drop(waiting.await.unwrap());
        drop(other);
    }
}

/// Each handle has its own writing connection, as each process has.
#[tokio::test]
async fn many_writers_lose_nothing() {
    const HANDLES: u32 = 8;
    const TASKS: u32 = 4;
    const ROWS: u32 = 25;
    for test in databases().await {
        with_table(&test).await.close().await;
        let mut tasks = JoinSet::new();
        for handle in 0..HANDLES {
            let database = open(&test).await;
            for task in 0..TASKS {
                let connection = database.connection();
                tasks.spawn(async move {
                    for row in 0..ROWS {
                        let id = (handle * TASKS + task) * ROWS + row;
                        let insert = format!("INSERT INTO note VALUES ({id}, 'w{id}')");
                        if row % 2 == 0 {
                            run(&connection, &insert).await;
                            continue;
                        }
                        let transaction = connection.begin().await.unwrap();
                        count(&transaction.connection()).await;
                        run(&transaction.connection(), &insert).await;
                        transaction.commit().await.unwrap();
                    }
                });
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let expected = i64::from(HANDLES * TASKS * ROWS);
        assert_eq!(count(&open(&test).await.connection()).await, expected);
    }
}

#[tokio::test]
async fn many_open_one_new_file_at_once() {
    for test in databases().await {
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let url = test.url.clone();
            tasks.spawn(async move {
                let database = Database::connect(&settings(&url), Path::new("/")).await.unwrap();
                run(&database.connection(), "SELECT 1").await;
            });
        }
        tasks.join_all().await;
    }
}

async fn refusal(url: &str) -> hulse::Error {
    Database::connect(&settings(url), Path::new("/nowhere")).await.unwrap_err()
}

#[tokio::test]
async fn a_bad_url_is_explained_without_its_password() {
    let wrong = [
        "oracle://u:s3cret@localhost/x",
        "mysql://u:s3cret@localhost",
        "postgres://u:s3cret@[x",
        "sqlite://",
        "",
    ];
    for url in wrong {
        let error = refusal(url).await.to_string();
        assert!(error.contains("database.url") && !error.contains("s3cret"), "{error}");
    }
    let away = refusal("postgres://u:s3cret@127.0.0.1:1/shop").await;
    assert!(away.is_database_unavailable(), "{away:?}");
    let words = away.to_string();
    assert!(words.contains("127.0.0.1:1/shop") && !words.contains("s3cret"), "{words}");
    let away = refusal("mariadb://u:s3cret@127.0.0.1:1/shop").await;
    assert!(away.is_database_unavailable(), "{away:?}");
    let words = away.to_string();
    assert!(words.contains("127.0.0.1:1/shop") && !words.contains("s3cret"), "{words}");
    let missing = refusal("sqlite://missing/db.sqlite3").await;
    assert!(missing.is_database_unavailable(), "{missing:?}");
    assert!(missing.to_string().contains("/nowhere/missing/db.sqlite3"), "{missing}");
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    use chrono::{DateTime, NaiveDate, Utc};
    for test in databases().await {
        let database = open(&test).await;
        let connection = database.connection();
        let moment = match connection.dialect() {
            Dialect::Sqlite | Dialect::Postgres => "TIMESTAMP WITH TIME ZONE",
            Dialect::Mysql => "DATETIME(6)",
        };
        let table = format!(
            "CREATE TABLE v (a BIGINT, b INTEGER, c SMALLINT, d BOOLEAN, e DOUBLE PRECISION, \
             f TEXT, g {moment}, h DATE, i BIGINT)"
        );
        run(&connection, &table).await;
        let instant: DateTime<Utc> = "2024-02-29T12:30:00.123456789Z".parse().unwrap();
        let date: NaiveDate = "2024-02-29".parse().unwrap();
        let mut insert = sea_query_values(instant, date);
        insert.text = match connection.dialect() {
            Dialect::Sqlite | Dialect::Mysql => {
                "INSERT INTO v VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)".into()
            }
            Dialect::Postgres => "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)".into(),
        };
        connection.execute(insert).await.unwrap();
        let rows = connection.fetch(Sql::raw("SELECT * FROM v")).await.unwrap();
        let row = &rows[0];
        assert_eq!(row.get::<i64>(0).unwrap(), i64::MAX);
        assert_eq!(row.get::<i32>(1).unwrap(), 7);
        assert_eq!(row.get::<i64>(2).unwrap(), -3, "a narrower number widens");
        assert!(row.get::<bool>(3).unwrap());
        assert_eq!(row.get::<f64>(4).unwrap(), 0.5);
        assert_eq!(row.get::<String>(5).unwrap(), "it's; \"ß\"");
        let cut = "2024-02-29T12:30:00.123456Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(row.get::<DateTime<Utc>>(6).unwrap(), cut);
        assert_eq!(row.get::<NaiveDate>(7).unwrap(), date);
        assert_eq!(row.get::<Option<i64>>(8).unwrap(), None);
        assert!(row.get::<i64>(8).is_err() && row.get::<i64>(99).is_err());
        assert!(row.get::<Option<i64>>(99).is_err());
    }
}

fn sea_query_values(instant: chrono::DateTime<chrono::Utc>, date: chrono::NaiveDate) -> Sql {
    use hulse::db::{Value, Values};
    Sql {
        text: String::new(),
        values: Values(vec![
            Value::BigInt(Some(i64::MAX)),
            Value::Int(Some(7)),
            Value::SmallInt(Some(-3)),
            Value::Bool(Some(true)),
            Value::Double(Some(0.5)),
            Value::String(Some("it's; \"ß\"".into())),
            Value::ChronoDateTimeUtc(Some(instant)),
            Value::ChronoDate(Some(date)),
            Value::BigInt(None),
        ]),
    }
}

/// What `models` deletes circles with on MariaDB.
#[tokio::test]
async fn foreign_keys_unchecked_for_one_statement_are_checked_again_after_it() {
    for test in databases().await {
        let database = open(&test).await;
        if database.dialect() != Dialect::Mysql {
            continue;
        }
        let plain = database.connection();
        run(
            &plain,
            "CREATE TABLE t (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES t (id))",
        )
        .await;
        run(&plain, "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)").await;
        let transaction = plain.begin().await.unwrap();
        let inside = transaction.connection();
        let delete = "SET STATEMENT foreign_key_checks = 0 FOR DELETE FROM t WHERE id <= 2";
        assert_eq!(run(&inside, delete).await, 2);
        let refused = inside.execute(Sql::raw("INSERT INTO t VALUES (4, 7)")).await.unwrap_err();
        assert!(refused.is_foreign_key_violation(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_record_holds_what_ran_while_it_was_open() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        let (log, other) = (database.record(), database.record());
        assert_eq!(log.count(), 0, "what ran before is not in it");
        let transaction = plain.begin().await.unwrap();
        let savepoint = transaction.connection().begin().await.unwrap();
        run(&savepoint.connection(), "INSERT INTO note VALUES (1, 'a')").await;
        savepoint.commit().await.unwrap();
        transaction.commit().await.unwrap();
        drop(other);
        plain.execute(Sql::raw("INSERT INTO note VALUES (1, 'a')")).await.unwrap_err();
        let texts: Vec<_> = log.queries().into_iter().map(|query| query.sql).collect();
        assert_eq!(texts, ["INSERT INTO note VALUES (1, 'a')"; 2], "the refused one too");
        assert!(log.duration() > std::time::Duration::ZERO);
        log.clear();
        assert_eq!((log.count(), log.queries().len()), (0, 0));
        assert_eq!(count(&plain).await, 1);
        assert_eq!(log.count(), 1);
    }
}

/// Reads settings of the writing connection without a statement that changes them.
async fn setting(connection: &Connection, text: &str) -> String {
    let transaction = connection.begin().await.unwrap();
    let rows = transaction.connection().fetch(Sql::raw(text)).await.unwrap();
    let value = rows[0].get::<String>(0).or_else(|_| rows[0].get::<i64>(0).map(|n| n.to_string()));
    transaction.commit().await.unwrap();
    value.unwrap()
}

#[tokio::test]
async fn a_changed_setting_reaches_nobody_else() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        let (change, ask) = match test.url.split(':').next() {
            Some("sqlite") => ("PRAGMA cache_size = 77", "PRAGMA cache_size"),
            Some("mysql") => ("SET time_zone = '+09:00'", "SELECT @@time_zone"),
            _ => ("SET TimeZone = 'Asia/Tokyo'", "SHOW TimeZone"),
        };
        let usual = setting(&plain, ask).await;
        plain.execute(Sql::raw(change)).await.unwrap();
        assert_eq!(setting(&plain, ask).await, usual);
        plain.script(&format!("SELECT 1; {change}")).await.unwrap();
        assert_eq!(setting(&plain, ask).await, usual);
        let transaction = plain.begin().await.unwrap();
        run(&transaction.connection(), change).await;
        transaction.commit().await.unwrap();
        assert_eq!(setting(&plain, ask).await, usual);
    }
}

#[tokio::test]
async fn unchecked_foreign_keys_end_with_their_transaction() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        let begin = Begin { unchecked_foreign_keys: true, ..Begin::default() };
        for end in ["commit", "rollback", "drop"] {
            let transaction = plain.begin_with(begin).await.unwrap();
            let inside = transaction.connection();
            assert!(inside.begin_with(begin).await.unwrap_err().is_nested_transaction());
            if test.url.starts_with("sqlite") {
                let off = inside.fetch(Sql::raw("PRAGMA foreign_keys")).await.unwrap();
                assert_eq!(off[0].get::<i64>(0).unwrap(), 0);
            }
            match end {
                "commit" => transaction.commit().await.unwrap(),
                "rollback" => transaction.rollback().await.unwrap(),
                _ => drop(transaction),
            }
            if test.url.starts_with("sqlite") {
                assert_eq!(setting(&plain, "PRAGMA foreign_keys").await, "1", "{end}");
            }
        }
    }
}

/// A migration changes a column that other processes have prepared statements for.
#[tokio::test]
async fn a_changed_column_is_no_error_to_who_has_read_it_before() {
    for test in databases().await {
        if !test.url.starts_with("postgres") {
            continue;
        }
        let (reader, migrator) = (with_table(&test).await, open(&test).await);
        let plain = reader.connection();
        run(&plain, "INSERT INTO note VALUES (1, 'a')").await;
        let read = || plain.fetch(Sql::raw("SELECT id FROM note"));
        assert_eq!(read().await.unwrap()[0].get::<i64>(0).unwrap(), 1);
        let narrower = "ALTER TABLE note ALTER COLUMN id TYPE integer";
        run(&migrator.connection(), narrower).await;
        assert_eq!(read().await.unwrap()[0].get::<i64>(0).unwrap(), 1);
    }
}

#[tokio::test]
async fn several_statements_in_one_text_run_all_or_none() {
    for test in databases().await {
        let database = with_table(&test).await;
        let plain = database.connection();
        let two = "INSERT INTO note VALUES (1, 'a'); INSERT INTO note VALUES (2, 'b')";
        let done = plain.execute(Sql::raw(two)).await;
        let expected = if done.is_ok() { 2 } else { 0 };
        assert_eq!(count(&plain).await, expected);
        let is_sqlite = database.dialect() == Dialect::Sqlite;
        assert_eq!(done.is_ok(), is_sqlite, "others prepare one statement");
        database.close().await;
    }
}
