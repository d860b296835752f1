//! Rows that are read while they are taken, on both databases.

use futures_util::StreamExt;
use hulse::Result;
use hulse::conf::{self, Secret};
use hulse::db::{Connection, Database, Dialect, Row, Sql, Value, Values};
use hulse_tests::{TestDatabase, databases};

/// As an answer in memory they would be half a gigabyte: twice and more of what is allowed.
const MANY: i64 = 1_000_000;

/// What reading them may add to the process's memory, bytes; other tests run beside it.
const GROWTH_MAX: usize = 200 * 1024 * 1024;

async fn open(test: &TestDatabase) -> Database {
    let settings = conf::Databases {
        url: Secret::new(&test.url),
        connections_max: 2,
        wait_seconds: 10,
        ..conf::Databases::default()
    };
    Database::connect(&settings, std::path::Path::new("/")).await.unwrap()
}

/// The numbers from 1 to `last`, each with 200 bytes beside it.
fn numbers(connection: &Connection, last: i64) -> Sql {
    let padding = "0123456789".repeat(20);
    Sql::raw(match connection.dialect() {
        Dialect::Mysql => format!("SELECT seq AS x, '{padding}' FROM seq_1_to_{last}"),
        _ => format!(
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {last}) \
             SELECT x, '{padding}' FROM c"
        ),
    })
}

fn number(row: Option<Result<Row>>) -> i64 {
    let row = row.expect("a row").unwrap();
    row.get::<i64>(0).unwrap()
}

async fn script(connection: &Connection, text: &str) {
    connection.script(text).await.unwrap();
}

async fn single(connection: &Connection, text: &str) -> i64 {
    connection.fetch(Sql::raw(text)).await.unwrap()[0].get(0).unwrap()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn reads_all_in_little_memory(connection: Connection) {
    let mut rows = connection.stream(numbers(&connection, MANY));
    let before = resident_bytes();
    let mut most = before;
    for expected in 1..=MANY {
        assert_eq!(number(rows.next().await), expected);
        if expected % 10_000 == 0 {
            most = most.max(resident_bytes());
        }
    }
    assert!(rows.next().await.is_none() && rows.next().await.is_none());
    let grown = most.saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{} MiB for {MANY} rows", grown / 1024 / 1024);
}

#[tokio::test]
async fn a_million_rows_are_read_in_constant_memory() {
    for test in databases().await {
        let database = open(&test).await;
        reads_all_in_little_memory(database.connection()).await;
    }
}

#[tokio::test]
async fn a_million_rows_are_read_in_constant_memory_inside_a_transaction() {
    for test in databases().await {
        if test.url.starts_with("mysql") {
            continue;
        }
        let database = open(&test).await;
        let transaction = database.connection().begin().await.unwrap();
        reads_all_in_little_memory(transaction.connection()).await;
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn values_are_bound_and_read_as_by_fetch() {
    for test in databases().await {
        let database = open(&test).await;
        let connection = database.connection();
        script(
            &connection,
            "CREATE TABLE v (id BIGINT, b BOOLEAN, f DOUBLE PRECISION, t TEXT); \
             INSERT INTO v VALUES (1, TRUE, 0.5, 'one'), (2, FALSE, 2.5, NULL), (3, TRUE, 3, 'x')",
        )
        .await;
        let mark = if test.url.starts_with("postgres") { "$1" } else { "?" };
        let sql = Sql {
            text: format!("SELECT id, id, b, f, t FROM v WHERE id < {mark} ORDER BY id DESC"),
            values: Values(vec![Value::BigInt(Some(3))]),
        };
        let transaction = connection.begin().await.unwrap();
        for connection in [connection.clone(), transaction.connection()] {
            let rows: Vec<_> = connection.stream(sql.clone()).collect().await;
            let read = |row: &Result<Row>| {
                let row = row.as_ref().unwrap();
                assert_eq!(row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap());
                let text: Option<String> = row.get(4).unwrap();
                (row.get::<i64>(0).unwrap(), row.get::<bool>(2).unwrap(), row.get(3).unwrap(), text)
            };
            let rows: Vec<(i64, bool, f64, _)> = rows.iter().map(read).collect();
            assert_eq!(rows, [(2, false, 2.5, None), (1, true, 0.5, Some("one".into()))]);
        }
    }
}

#[tokio::test]
async fn rows_may_be_written_while_they_are_read() {
    for test in databases().await {
        let database = open(&test).await;
        script(&database.connection(), "CREATE TABLE n (id BIGINT PRIMARY KEY)").await;
        let transaction = database.connection().begin().await.unwrap();
        let inside = transaction.connection();
        let copy = numbers(&inside, 2_000).text;
        script(&inside, &format!("INSERT INTO n SELECT x FROM ({copy}) AS many")).await;
        let mut rows = inside.stream(Sql::raw("SELECT id FROM n ORDER BY id"));
        let mut read = 0;
        while let Some(row) = rows.next().await {
            let id: i64 = row.unwrap().get(0).unwrap();
            read += 1;
            assert_eq!(id, read, "what is written meanwhile does not show");
            if id % 3 == 0 {
                script(&inside, &format!("INSERT INTO n VALUES ({})", 10_000 + id)).await;
                script(&inside, &format!("DELETE FROM n WHERE id = {}", id + 1)).await;
            }
        }
        assert_eq!(read, 2_000);
        assert_eq!(single(&inside, "SELECT COUNT(*) FROM n").await, 2_000);
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn streams_of_one_transaction_run_side_by_side() {
    for test in databases().await {
        let database = open(&test).await;
        let transaction = database.connection().begin().await.unwrap();
        let inside = transaction.connection();
        let (one, two) =
            (inside.stream(numbers(&inside, 1_200)), inside.stream(numbers(&inside, 700)));
        let pairs: Vec<_> = one.zip(two).collect().await;
        assert_eq!(pairs.len(), 700);
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn one_dropped_halfway_leaves_nothing() {
    for test in databases().await {
        let database = open(&test).await;
        let plain = database.connection();
        for _ in 0..5 {
            let mut rows = plain.stream(numbers(&plain, MANY));
            assert_eq!(number(rows.next().await), 1);
        }
        assert_eq!(single(&plain, "SELECT 7").await, 7, "and no connection is missing");

        let transaction = plain.begin().await.unwrap();
        let inside = transaction.connection();
        for _ in 0..3 {
            let mut rows = inside.stream(numbers(&inside, 3_000));
            for expected in 1..=600 {
                assert_eq!(number(rows.next().await), expected);
            }
        }
        assert_eq!(single(&inside, "SELECT 7").await, 7);
        transaction.commit().await.unwrap();
        let left = match test.url.split(':').next() {
            Some("sqlite") => "SELECT COUNT(*) FROM sqlite_temp_schema",
            Some("postgres") => "SELECT COUNT(*) FROM pg_cursors WHERE name <> ''",
            // Read whole inside a transaction: nothing is left.
            _ => continue,
        };
        let transaction = plain.begin().await.unwrap();
        assert_eq!(single(&transaction.connection(), left).await, 0, "on that very connection");
    }
}

#[tokio::test]
async fn an_error_comes_after_the_rows_before_it() {
    for test in databases().await {
        let database = open(&test).await;
        let plain = database.connection();
        let mut rows = plain.stream(Sql::raw("SELECT * FROM missing"));
        assert!(rows.next().await.unwrap().is_err());
        assert!(rows.next().await.is_none());
        if test.url.starts_with("postgres") {
            let late = "SELECT 1000 / (500 - x) FROM generate_series(1, 1000) AS s(x)";
            let rows: Vec<_> = plain.stream(Sql::raw(late)).collect().await;
            assert_eq!(rows.len(), 500);
            assert!(rows[..499].iter().all(Result::is_ok) && rows[499].is_err());
        }
        let transaction = plain.begin().await.unwrap();
        let inside = transaction.connection();
        assert!(inside.stream(Sql::raw("SELECT * FROM missing")).next().await.unwrap().is_err());
        let after = inside.fetch(Sql::raw("SELECT 1")).await.unwrap_err();
        assert!(after.is_transaction_closed());
    }
}

#[tokio::test]
async fn one_that_outlives_its_transaction_is_told_so() {
    for test in databases().await {
        let database = open(&test).await;
        let transaction = database.connection().begin().await.unwrap();
        let inside = transaction.connection();
        let mut rows = inside.stream(numbers(&inside, 2_000));
        assert_eq!(number(rows.next().await), 1);
        transaction.commit().await.unwrap();
        let rest: Vec<_> = rows.collect().await;
        if inside.dialect() == Dialect::Mysql {
            assert_eq!(rest.len(), 1_999, "read whole inside a transaction");
            continue;
        }
        let last = rest.last().unwrap().as_ref().unwrap_err();
        assert!(last.is_transaction_closed() && rest.len() < 2_000, "{last}");
        assert_eq!(single(&database.connection(), "SELECT 7").await, 7);
    }
}
