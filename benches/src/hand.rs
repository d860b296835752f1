//! The same work by hand: sqlx, prepared statements, the framework's settings, columns by number,
//! decoded while they come.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Pool, Row};
use tokio::sync::{Mutex, MutexGuard};

use crate::CONNECTIONS;
use crate::model::Post as Saved;

const COLUMNS: &str = "id, title, body, author, live, stars, weight, day, created";

/// Rows that SQLite's thread reads ahead, as the framework sets it; sqlx's own 50 are slower.
const ROWS_AHEAD: usize = 500;

/// A row, as one would write it.
#[derive(Debug)]
#[expect(dead_code, reason = "decoded, as on the other side")]
pub(crate) struct Post {
    id: i64,
    title: String,
    body: String,
    author: i64,
    live: bool,
    stars: Option<i32>,
    weight: f64,
    day: NaiveDate,
    created: DateTime<Utc>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "decoded, as on the other side")]
pub(crate) struct Author {
    id: i64,
    name: String,
    joined: NaiveDate,
}

#[derive(Debug)]
#[expect(dead_code, reason = "decoded, as on the other side")]
pub(crate) struct Comment {
    id: i64,
    author: i64,
    words: String,
    created: DateTime<Utc>,
    by: Option<Author>,
}

macro_rules! read {
    (post, $row:expr) => {
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
    (comment, $row:expr) => {
        read!(comment, $row, None)
    };
    (joined, $row:expr) => {{
        let by = Author { id: $row.try_get(4)?, name: $row.try_get(5)?, joined: $row.try_get(6)? };
        read!(comment, $row, Some(by))
    }};
    (pair, $row:expr) => {
        Ok(($row.try_get(0)?, $row.try_get(1)?))
    };
    (number, $row:expr) => {
        $row.try_get::<i64, _>(0)
    };
    (comment, $row:expr, $by:expr) => {
        Ok(Comment {
            id: $row.try_get(0)?,
            author: $row.try_get(1)?,
            words: $row.try_get(2)?,
            created: $row.try_get(3)?,
            by: $by,
        })
    };
}

/// Runs `$text` on a connection that reads or writes: `all` rows, `one` row, or how many it
/// touched.
macro_rules! run {
    ($hand:expr, $access:ident, $text:expr, [$($value:expr),*], $how:ident $($what:ident)?) => {
        match $hand {
            Hand::Sqlite { $access: door, .. } => {
                let mut connection = door.enter().await?;
                let query = sqlx::query::<Sqlite>(AssertSqlSafe($text))$(.bind($value))*;
                run!(@$how query, &mut *connection, SqliteRow $(, $what)?)
            }
            Hand::Postgres(door) => {
                let mut connection = door.enter().await?;
                let query = sqlx::query::<Postgres>(AssertSqlSafe($text))$(.bind($value))*;
                run!(@$how query, &mut *connection, PgRow $(, $what)?)
            }
        }
    };
    (@all $query:expr, $on:expr, $row:ty, $what:ident) => {
        $query.try_map(|row: $row| read!($what, row)).fetch_all($on).await
    };
    (@one $query:expr, $on:expr, $row:ty, $what:ident) => {
        $query.try_map(|row: $row| read!($what, row)).fetch_one($on).await
    };
    (@touched $query:expr, $on:expr, $row:ty) => {
        $query.execute($on).await.map(|done| done.rows_affected())
    };
}

/// What to run statements on.
#[derive(Debug)]
pub(crate) enum Hand {
    /// As the framework: one connection that writes, and those that read.
    Sqlite { writer: Door<Sqlite>, reader: Door<Sqlite> },
    /// One for all.
    Postgres(Door<Postgres>),
}

/// How a connection is come by.
#[derive(Debug)]
pub(crate) enum Door<D: sqlx::Database> {
    /// From sqlx's pool, for each statement, as usual.
    Pool(Pool<D>),
    /// It is always the same: nothing can be faster.
    Own(Mutex<D::Connection>),
}

/// A connection in use.
enum Held<'a, D: sqlx::Database> {
    Pool(PoolConnection<D>),
    Own(MutexGuard<'a, D::Connection>),
}

impl<D: sqlx::Database> Door<D> {
    async fn open(
        options: <D::Connection as Connection>::Options,
        connections: u32,
        pooled: bool,
    ) -> sqlx::Result<Self> {
        if !pooled {
            return Ok(Self::Own(Mutex::new(options.connect().await?)));
        }
        let pool = PoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None);
        pool.connect_with(options).await.map(Self::Pool)
    }

    async fn enter(&self) -> sqlx::Result<Held<'_, D>> {
        match self {
            Self::Pool(pool) => pool.acquire().await.map(Held::Pool),
            Self::Own(connection) => Ok(Held::Own(connection.lock().await)),
        }
    }
}

impl<D: sqlx::Database> Deref for Held<'_, D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        match self {
            Self::Pool(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

impl<D: sqlx::Database> DerefMut for Held<'_, D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        match self {
            Self::Pool(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

/// The statements, written once.
#[derive(Debug)]
pub(crate) struct Texts {
    get: String,
    list: String,
    insert: String,
    insert_many: String,
    count: String,
    update: String,
}

impl Texts {
    pub(crate) fn new(hand: &Hand) -> Self {
        let mark = |n: usize| match hand {
            Hand::Sqlite { .. } => "?".to_owned(),
            Hand::Postgres(_) => format!("${n}"),
        };
        let marks = |row: usize| {
            let marks: Vec<_> = (1..=8).map(|n| mark(8 * row + n)).collect();
            format!("({})", marks.join(", "))
        };
        let (_, written) = COLUMNS.split_once(", ").unwrap_or_default();
        let insert = |rows| {
            let rows: Vec<_> = (0..rows).map(marks).collect();
            let rows = rows.join(", ");
            format!("INSERT INTO benches_post ({written}) VALUES {rows} RETURNING id")
        };
        Self {
            get: format!("SELECT {COLUMNS} FROM benches_post WHERE id = {}", mark(1)),
            list: format!("SELECT {COLUMNS} FROM benches_post ORDER BY id LIMIT 1000"),
            insert: insert(1),
            insert_many: insert(1000),
            count: format!("SELECT COUNT(*) FROM benches_comment WHERE author_id = {}", mark(1)),
            update: format!("UPDATE benches_post SET stars = {} WHERE id = {}", mark(1), mark(2)),
        }
    }
}

impl Hand {
    pub(crate) async fn open(url: &str, pooled: bool) -> sqlx::Result<Self> {
        let Some(file) = url.strip_prefix("sqlite://") else {
            let options: PgConnectOptions = url.parse()?;
            return Door::open(options, CONNECTIONS, pooled).await.map(Self::Postgres);
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(true)
            .row_buffer_size(ROWS_AHEAD)
            .synchronous(SqliteSynchronous::Normal);
        let reading = options.clone().pragma("query_only", "ON");
        Ok(Self::Sqlite {
            writer: Door::open(options, 1, pooled).await?,
            reader: Door::open(reading, CONNECTIONS, pooled).await?,
        })
    }

    pub(crate) async fn get(&self, texts: &Texts, id: i64) -> sqlx::Result<Post> {
        run!(self, reader, texts.get.as_str(), [id], one post)
    }

    pub(crate) async fn list(&self, texts: &Texts) -> sqlx::Result<Vec<Post>> {
        run!(self, reader, texts.list.as_str(), [], all post)
    }

    pub(crate) async fn comments(&self) -> sqlx::Result<Vec<Comment>> {
        let text = "SELECT id, author_id, words, created FROM benches_comment \
                    ORDER BY id LIMIT 1000";
        run!(self, reader, text, [], all comment)
    }

    pub(crate) async fn joined(&self) -> sqlx::Result<Vec<Comment>> {
        let text = "SELECT c.id, c.author_id, c.words, c.created, a.id, a.name, a.joined \
                    FROM benches_comment c JOIN benches_author a ON a.id = c.author_id \
                    ORDER BY c.id LIMIT 1000";
        run!(self, reader, text, [], all joined)
    }

    pub(crate) async fn pairs(&self) -> sqlx::Result<Vec<(String, i64)>> {
        let text = "SELECT title, author FROM benches_post ORDER BY id LIMIT 1000";
        run!(self, reader, text, [], all pair)
    }

    pub(crate) async fn count(&self, texts: &Texts, author: i64) -> sqlx::Result<i64> {
        run!(self, reader, texts.count.as_str(), [author], one number)
    }

    pub(crate) async fn update(&self, texts: &Texts, id: i64, stars: i32) -> sqlx::Result<u64> {
        run!(self, writer, texts.update.as_str(), [stars, id], touched)
    }

    pub(crate) async fn insert(&self, texts: &Texts, post: Saved) -> sqlx::Result<i64> {
        run!(
            self,
            writer,
            texts.insert.as_str(),
            [
                post.title,
                post.body,
                post.author,
                post.live,
                post.stars,
                post.weight,
                post.day,
                post.created
            ],
            one number
        )
    }

    /// A thousand rows in one statement.
    pub(crate) async fn insert_many(
        &self,
        texts: &Texts,
        posts: &[Saved],
    ) -> sqlx::Result<Vec<i64>> {
        macro_rules! bound {
            ($database:ty, $row:ty, $door:expr) => {{
                let mut connection = $door.enter().await?;
                let mut query = sqlx::query::<$database>(AssertSqlSafe(texts.insert_many.as_str()));
                for post in posts {
                    query = query
                        .bind(&post.title)
                        .bind(&post.body)
                        .bind(post.author)
                        .bind(post.live)
                        .bind(post.stars)
                        .bind(post.weight)
                        .bind(post.day)
                        .bind(post.created);
                }
                query.try_map(|row: $row| row.try_get(0)).fetch_all(&mut *connection).await
            }};
        }
        match self {
            Self::Sqlite { writer, .. } => bound!(Sqlite, SqliteRow, writer),
            Self::Postgres(door) => bound!(Postgres, PgRow, door),
        }
    }
}
