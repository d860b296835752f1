//! `Connection`: what statements run on.

use std::sync::Arc;

use crate::db::pools::{Access, Pools};
use crate::db::transaction::{Level, Shared, Transaction};
use crate::db::{Dialect, Row, Sql};
use crate::error::Result;

/// What statements run on: any connection of the pool, or the one an open transaction holds.
///
/// Clones of a transaction's handle share its connection: their statements take turns.
#[derive(Clone, Debug)]
pub struct Connection {
    pools: Arc<Pools>,
    inside: Option<(Arc<Shared>, Level)>,
}

impl Connection {
    pub(super) fn pooled(pools: Arc<Pools>) -> Self {
        Self { pools, inside: None }
    }

    pub(super) fn inside(pools: Arc<Pools>, shared: Arc<Shared>, level: Level) -> Self {
        Self { pools, inside: Some((shared, level)) }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.pools.dialect()
    }

    /// Whether statements run inside a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.inside.is_some()
    }

    /// Runs a reading statement and returns its rows. On SQLite, outside a transaction, it runs on
    /// a connection that cannot write.
    ///
    /// # Errors
    /// The database refuses it or cannot be reached, or the transaction is over.
    pub async fn fetch(&self, sql: Sql) -> Result<Vec<Row>> {
        self.run(Access::Read, sql).await.map(|(rows, _)| rows)
    }

    /// Runs a writing statement that returns rows (`INSERT .. RETURNING`).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_writing(&self, sql: Sql) -> Result<Vec<Row>> {
        self.run(Access::Write, sql).await.map(|(rows, _)| rows)
    }

    /// Runs a writing statement and returns how many rows it touched.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn execute(&self, sql: Sql) -> Result<u64> {
        self.run(Access::Write, sql).await.map(|(_, touched)| touched)
    }

    /// Runs several statements without values, divided by `;`.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch). Outside a transaction those before the failing one have run on
    /// SQLite, and none has on PostgreSQL.
    pub async fn script(&self, text: &str) -> Result<()> {
        let _watch = self.pools.records.watch(text);
        match &self.inside {
            None => self.pools.script(text.to_owned()).await,
            Some((shared, level)) => shared.turn(*level).await?.script(text.to_owned()).await,
        }
    }

    /// Begins a transaction (IMMEDIATE on SQLite), or a savepoint inside one. Dropped without
    /// [`Transaction::commit`] it is rolled back.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn begin(&self) -> Result<Transaction> {
        match &self.inside {
            None => Transaction::open(&self.pools).await,
            Some((shared, level)) => Transaction::nested(&self.pools, shared, *level).await,
        }
    }

    async fn run(&self, access: Access, sql: Sql) -> Result<(Vec<Row>, u64)> {
        let _watch = self.pools.records.watch(&sql.text);
        match &self.inside {
            None => self.pools.run(access, sql).await,
            Some((shared, level)) => shared.turn(*level).await?.run(sql).await,
        }
    }
}
