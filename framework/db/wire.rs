//! One borrowed connection of either database, with or without an open transaction on it.

use std::fmt;
use std::time::Duration;

use futures_util::TryStreamExt;
use sea_query_sqlx::SqlxValues;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Either};

use crate::db::bind::bindable;
use crate::db::row::{Native, Row};
use crate::db::{Dialect, Sql};

/// Rows and how many rows were touched.
pub(super) type Answer = (Vec<Row>, u64);

/// A pool's connection; goes back to it when dropped, or is closed if a transaction is open on it.
pub(super) enum Wire {
    #[cfg(feature = "sqlite")]
    Sqlite(Held<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Held<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(Held<sqlx::MySql>),
}

/// A connection and whether it may go back to the pool.
pub(super) struct Held<DB: Database> {
    /// `None` only while being dropped.
    connection: Option<PoolConnection<DB>>,
    /// From just before BEGIN until COMMIT or ROLLBACK was answered. Dropped then, the connection
    /// is closed, and the database rolls back: that needs no waiting and cannot be done by halves.
    open: bool,
}

impl<DB: Database> Held<DB> {
    pub(super) fn new(connection: PoolConnection<DB>) -> Self {
        Self { connection: Some(connection), open: false }
    }

    fn raw(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("only dropping takes it")
    }
}

impl<DB: Database> Drop for Held<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Going back to the pool needs a runtime.
        if self.open || tokio::runtime::Handle::try_current().is_err() {
            drop(connection.detach());
        }
    }
}

impl Wire {
    /// Runs one statement with its values.
    pub(super) async fn run(&mut self, sql: Sql) -> sqlx::Result<Answer> {
        let Sql { text, values } = sql;
        let query = AssertSqlSafe(text);
        let values = SqlxValues(bindable(values, self.dialect())?);
        let mut rows = Vec::new();
        let mut touched = 0;
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => {
                let query = sqlx::query_with::<sqlx::Sqlite, _>(query, values);
                let mut answers = sqlx::Executor::fetch_many(held.raw(), query);
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        Either::Left(done) => touched += done.rows_affected(),
                        Either::Right(row) => rows.push(Row(Native::Sqlite(row))),
                    }
                }
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => {
                let query = sqlx::query_with::<sqlx::Postgres, _>(query, values);
                let mut answers = sqlx::Executor::fetch_many(held.raw(), query);
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        Either::Left(done) => touched += done.rows_affected(),
                        Either::Right(row) => rows.push(Row(Native::Postgres(row))),
                    }
                }
            }
            #[cfg(feature = "mysql")]
            Self::Mysql(held) => {
                let query = sqlx::query_with::<sqlx::MySql, _>(query, values);
                let mut answers = sqlx::Executor::fetch_many(held.raw(), query);
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        Either::Left(done) => touched += done.rows_affected(),
                        Either::Right(row) => rows.push(Row(Native::Mysql(row))),
                    }
                }
            }
        }
        Ok((rows, touched))
    }

    fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Runs any number of statements without values, unprepared.
    pub(super) async fn script(&mut self, text: String) -> sqlx::Result<()> {
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => sqlx::Executor::execute(held.raw(), script).await.map(drop),
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => sqlx::Executor::execute(held.raw(), script).await.map(drop),
            #[cfg(feature = "mysql")]
            Self::Mysql(held) => sqlx::Executor::execute(held.raw(), script).await.map(drop),
        }
    }

    /// As [`script`](Self::script), outside a transaction: each statement waits for SQLite's lock.
    /// Elsewhere a statement that found it taken is repeated, but here some have run already.
    pub(super) async fn script_alone(&mut self, text: String, wait: Duration) -> sqlx::Result<()> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                self.script(format!("PRAGMA busy_timeout = {}", wait.as_millis())).await?;
                let done = self.script(text).await;
                let usual = super::sqlite::BUSY_TIMEOUT.as_millis();
                self.script(format!("PRAGMA busy_timeout = {usual}")).await?;
                done
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => self.script(text).await,
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => self.script(text).await,
        }
    }

    /// Closes the connection instead of giving it back.
    pub(super) fn discard(mut self) {
        self.mark_open(true);
    }

    /// Begins a transaction. On SQLite it takes the write lock: one that began by reading could not
    /// wait for it later.
    pub(super) async fn begin(&mut self) -> sqlx::Result<()> {
        let statement = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "BEGIN",
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => "START TRANSACTION",
        };
        self.mark_open(true);
        let begun = self.script(statement.to_owned()).await;
        self.mark_open(begun.is_ok());
        begun
    }

    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        self.script("COMMIT".to_owned()).await?;
        self.mark_open(false);
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> sqlx::Result<()> {
        self.script("ROLLBACK".to_owned()).await?;
        self.mark_open(false);
        Ok(())
    }

    fn mark_open(&mut self, open: bool) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => held.open = open,
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => held.open = open,
            #[cfg(feature = "mysql")]
            Self::Mysql(held) => held.open = open,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
