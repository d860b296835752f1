//! Connections, dialects and transactions; SQL goes in built, rows come out.
//!
//! Flow: `models`/`migrations`/`contrib` build a sea-query statement → [`Dialect::build`] →
//! [`Connection::fetch`]/[`Connection::execute`] → the pool's connection or the open transaction's.
//!
//! Invariants:
//! - SQLite: one writing connection and N reading ones a process; writing transactions begin IMMEDIATE.
//! - Values are bound, never formatted into SQL.

use std::fmt;
use std::path::Path;

use crate::conf;
use crate::error::Result;

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A statement with its bound values.
#[derive(Clone, Debug)]
pub struct Sql {
    /// The text, with the dialect's placeholders.
    pub text: String,
    /// The values, in the placeholders' order.
    pub values: sea_query::Values,
}

impl Sql {
    /// A statement without values.
    pub fn raw(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: sea_query::Values(Vec::new()) }
    }
}

impl Dialect {
    /// Turns a sea-query SELECT, INSERT, UPDATE or DELETE into text and values.
    pub fn build(self, statement: &impl sea_query::QueryStatementWriter) -> Sql {
        let (text, values) = match self {
            Self::Sqlite => statement.build(sea_query::SqliteQueryBuilder),
            Self::Postgres => statement.build(sea_query::PostgresQueryBuilder),
        };
        Sql { text, values }
    }
}

/// The pools of one database. A cheap clone; the last clone closes the pools.
#[derive(Clone, Debug)]
pub struct Database {}

impl Database {
    /// Opens the database named by `settings.url`, a SQLite file is created if it is not there.
    ///
    /// # Errors
    /// The URL is wrong, or the database cannot be reached.
    pub async fn connect(settings: &conf::Databases, base: &Path) -> Result<Self> {
        todo!("{settings:?} {base:?}")
    }

    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        todo!()
    }

    /// A handle that runs each statement on its own (autocommit).
    #[must_use]
    pub fn connection(&self) -> Connection {
        todo!()
    }

    /// Waits until every connection is back and closes them.
    pub async fn close(&self) {}
}

/// What statements run on: any connection of the pool, or the one an open transaction holds.
#[derive(Clone, Debug)]
pub struct Connection {}

impl Connection {
    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        todo!()
    }

    /// Whether statements run inside a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        todo!()
    }

    /// Runs a reading statement and returns its rows.
    ///
    /// # Errors
    /// The database refuses it or cannot be reached.
    pub async fn fetch(&self, sql: Sql) -> Result<Vec<Row>> {
        todo!("{sql:?}")
    }

    /// Runs a writing statement that returns rows (`INSERT .. RETURNING`).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_writing(&self, sql: Sql) -> Result<Vec<Row>> {
        todo!("{sql:?}")
    }

    /// Runs a writing statement and returns how many rows it touched.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn execute(&self, sql: Sql) -> Result<u64> {
        todo!("{sql:?}")
    }

    /// Begins a transaction (IMMEDIATE on SQLite), or a savepoint inside one. Dropped without
    /// [`Transaction::commit`] it is rolled back.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn begin(&self) -> Result<Transaction> {
        todo!()
    }
}

/// An open transaction or savepoint; dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {}

impl Transaction {
    /// The handle whose statements run inside it. After the end it answers "transaction closed".
    #[must_use]
    pub fn connection(&self) -> Connection {
        todo!()
    }

    /// Makes its changes last (a savepoint's: part of the outer transaction).
    ///
    /// # Errors
    /// As [`Connection::fetch`]; nothing is kept then.
    pub async fn commit(self) -> Result<()> {
        todo!()
    }

    /// Undoes its changes.
    ///
    /// # Errors
    /// As [`Connection::fetch`].
    pub async fn rollback(self) -> Result<()> {
        todo!()
    }
}

/// One row of an answer.
pub struct Row {}

impl Row {
    /// The value of the column at `index`, from 0.
    ///
    /// # Errors
    /// There is no such column, or its value is not a `T`.
    pub fn get<T>(&self, index: usize) -> Result<T> {
        todo!("{index}")
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}
