//! Connections, dialects and transactions; SQL goes in built, rows come out.
//!
//! Flow: `models`/`migrations`/`contrib` build a sea-query statement → [`Dialect::build`] →
//! [`Connection::fetch`]/[`Connection::execute`] → the pool's connection or the open transaction's.
//!
//! Invariants:
//! - SQLite: one writing connection and N reading ones a process; writing transactions begin
//!   IMMEDIATE, and whoever finds the file locked waits `wait_seconds` for it.
//! - A transaction that is not committed is rolled back, however it ends: error, panic or drop.
//! - Values are bound, never formatted into SQL. No message holds the URL's password.

mod bind;
mod connection;
mod error;
mod exclusive;
mod log;
mod pool;
mod pools;
mod row;
mod session;
mod shell;
mod stream;
mod transaction;
mod wire;

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use crate::conf;
use crate::error::Result;

pub(crate) use bind::{has_nul, keeps};
pub use connection::Connection;
pub use exclusive::Exclusive;
pub use log::{Query, QueryLog};
pub(crate) use pool::PoolCounts;
pub use row::{Column, Row};
pub use sea_query::{Value, Values};
pub use shell::Shell;
pub use stream::Rows;
pub use transaction::{Begin, Isolation, Transaction};

use pools::Pools;

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("hulse needs the feature `sqlite`, `postgres` or `mysql`, or several of them");

/// How texts compare on MariaDB, in sessions and in tables: by code points, and `'a'` is not `'a
/// '`.
pub(crate) const MYSQL_COLLATION: &str = "utf8mb4_nopad_bin";

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    #[cfg(feature = "sqlite")]
    Sqlite,
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres,
    /// MariaDB, of MySQL's family.
    #[cfg(feature = "mysql")]
    Mysql,
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

impl Sql {
    /// An INSERT that answers with the key, in the column `key`, of each row.
    pub(crate) fn push_returning(&mut self, key: &str) {
        self.text.push_str(" RETURNING \"");
        self.text.push_str(&key.replace('"', "\"\""));
        self.text.push('"');
    }

    /// On MariaDB, which checks foreign keys row by row, without that check; whoever asks for it
    /// sees to it that they hold afterwards. Elsewhere they are checked at the commit anyway.
    pub(crate) fn unchecked(mut self, dialect: Dialect) -> Self {
        if dialect.checks_each_row() {
            self.text.insert_str(0, "SET STATEMENT foreign_key_checks = 0 FOR ");
        }
        self
    }
}

impl Dialect {
    /// Whether foreign keys are checked with each row, and not at the commit.
    pub(crate) fn checks_each_row(self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => false,
            #[cfg(feature = "postgres")]
            Self::Postgres => false,
            #[cfg(feature = "mysql")]
            Self::Mysql => true,
        }
    }

    /// Turns a sea-query SELECT, INSERT, UPDATE or DELETE into text and values.
    pub fn build(self, statement: &impl sea_query::QueryStatementWriter) -> Sql {
        let (text, values) = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => statement.build(sea_query::SqliteQueryBuilder),
            #[cfg(feature = "postgres")]
            Self::Postgres => statement.build(sea_query::PostgresQueryBuilder),
            #[cfg(feature = "mysql")]
            Self::Mysql => statement.build(mysql::Builder::default()),
        };
        Sql { text, values }
    }
}

/// The pools of one database. A cheap clone; the last clone closes the pools.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Arc<Pools>,
}

impl Database {
    /// Opens the database named by `settings.url`, a SQLite file is created if it is not there.
    ///
    /// # Errors
    /// The URL is wrong, or the database cannot be reached (`is_database_unavailable`).
    pub async fn connect(settings: &conf::Databases, base: &Path) -> Result<Self> {
        Ok(Self { pools: Arc::new(Pools::open(settings, base).await?) })
    }

    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.pools.dialect()
    }

    /// How its connections are used in this process.
    pub(crate) fn pool_counts(&self) -> PoolCounts {
        self.pools.counts()
    }

    /// A handle that runs each statement on its own (autocommit).
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::pooled(Arc::clone(&self.pools))
    }

    /// Waits until nobody else, in any process, holds the lock called `name` on this database, and
    /// takes it. Statements are not affected: it only keeps two holders of one name apart.
    ///
    /// The lock is let go when the guard is dropped or the process dies.
    ///
    /// # Errors
    /// The database cannot be reached, or the lock is held for longer than ten minutes.
    pub async fn exclusive(&self, name: &str) -> Result<Exclusive> {
        exclusive::take(&self.pools, name).await
    }

    /// Records the statements that run from now on, until the record is dropped.
    ///
    /// The target `hulse::queries` of the log has each statement too, at level `debug`.
    #[must_use]
    pub fn record(&self) -> QueryLog {
        self.pools.records.begin()
    }

    /// Waits until every connection is back and closes them.
    pub async fn close(&self) {
        self.pools.close().await;
    }
}
