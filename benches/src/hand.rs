//! The same work by hand: sqlx, prepared statements, a pool with the framework's settings.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Row};

use crate::model::Post as Saved;

const COLUMNS: &str = "id, title, body, author, live, stars, weight, day, created";

/// A row, as one would write it.
#[derive(Debug)]
#[expect(dead_code, reason = "decoded, as on the other side")]
pub(crate) struct Post {
    pub(crate) id: i64,
    title: String,
    body: String,
    author: i64,
    live: bool,
    stars: Option<i32>,
    weight: f64,
    day: NaiveDate,
    created: DateTime<Utc>,
}

macro_rules! read {
    ($row:expr) => {
        Ok(Post {
            id: $row.try_get(0)?,
            title: $row.try_get(1)?,
            body: $row.try_get(2)?,
            author: $row.try_get(3)?,
            live: $row.try_get(4)?,
            stars: $row.try_get(5)?,
            weight: $row.try_get(6)?,
            day: $row.try_get(7)?,
            created: $row.try_get(8)?,
        })
    };
}

/// Pools of one database.
#[derive(Debug)]
pub(crate) enum Hand {
    /// As the framework: one that writes, and those that read.
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    /// One for all.
    Postgres(PgPool),
}

/// The statements of one side, written once.
#[derive(Debug)]
pub(crate) struct Texts {
    get: String,
    list: String,
    insert: String,
}

impl Texts {
    pub(crate) fn new(hand: &Hand) -> Self {
        let mark = |n: usize| match hand {
            Hand::Sqlite { .. } => "?".to_owned(),
            Hand::Postgres(_) => format!("${n}"),
        };
        let marks: Vec<_> = (1..=8).map(mark).collect();
        let (_, written) = COLUMNS.split_once(", ").unwrap_or_default();
        Self {
            get: format!("SELECT {COLUMNS} FROM benches_post WHERE id = {} LIMIT 2", mark(1)),
            list: format!("SELECT {COLUMNS} FROM benches_post ORDER BY id LIMIT 1000"),
            insert: format!(
                "INSERT INTO benches_post ({written}) VALUES ({}) RETURNING id",
                marks.join(", ")
            ),
        }
    }
}

impl Hand {
    pub(crate) async fn open(url: &str, connections: u32) -> sqlx::Result<Self> {
        let Some(file) = url.strip_prefix("sqlite://") else {
            let pool = PoolOptions::new().max_connections(connections).test_before_acquire(false);
            return pool.connect(url).await.map(Self::Postgres);
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Normal);
        let reading = options.clone().pragma("query_only", "ON");
        let pool = |connections| {
            PoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        Ok(Self::Sqlite {
            writer: pool(1).connect_with(options).await?,
            readers: pool(connections).connect_with(reading).await?,
        })
    }

    pub(crate) async fn get(&self, texts: &Texts, id: i64) -> sqlx::Result<Post> {
        let text = AssertSqlSafe(texts.get.as_str());
        match self {
            Self::Sqlite { readers, .. } => {
                let query = sqlx::query(text).bind(id);
                query.try_map(|row: SqliteRow| read!(row)).fetch_one(readers).await
            }
            Self::Postgres(pool) => {
                let query = sqlx::query(text).bind(id);
                query.try_map(|row: PgRow| read!(row)).fetch_one(pool).await
            }
        }
    }

    pub(crate) async fn list(&self, texts: &Texts) -> sqlx::Result<Vec<Post>> {
        let text = AssertSqlSafe(texts.list.as_str());
        match self {
            Self::Sqlite { readers, .. } => {
                sqlx::query(text).try_map(|row: SqliteRow| read!(row)).fetch_all(readers).await
            }
            Self::Postgres(pool) => {
                sqlx::query(text).try_map(|row: PgRow| read!(row)).fetch_all(pool).await
            }
        }
    }

    pub(crate) async fn insert(&self, texts: &Texts, post: Saved) -> sqlx::Result<i64> {
        macro_rules! run {
            ($pool:expr) => {
                sqlx::query(AssertSqlSafe(texts.insert.as_str()))
                    .bind(post.title)
                    .bind(post.body)
                    .bind(post.author)
                    .bind(post.live)
                    .bind(post.stars)
                    .bind(post.weight)
                    .bind(post.day)
                    .bind(post.created)
                    .fetch_one($pool)
                    .await?
                    .try_get(0)
            };
        }
        match self {
            Self::Sqlite { writer, .. } => run!(writer),
            Self::Postgres(pool) => run!(pool),
        }
    }
}
