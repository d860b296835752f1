//! `Connection`: what statements run on.

use std::sync::Arc;

use crate::db::bind::{NUL, has_nul};
use crate::db::pools::{Access, Pools};
use crate::db::transaction::{Begin, Level, Shared, Transaction};
use crate::db::wire::{Done, Known, Take};
use crate::db::{Dialect, Row, Rows, Sql};
use crate::error::{Error, Kind, Result};

/// What is done with each row of an answer.
pub(crate) type Each<'a> = &'a mut (dyn FnMut(&Row) -> Result<()> + Send);

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
        let mut rows = Vec::new();
        self.run(Access::Read, &sql, Known::Nothing, &mut |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// As [`fetch`](Self::fetch), with each row handed on as it comes, so that none is kept: what
    /// the database has sent is in the processor's cache still, and its memory is used again.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), or the first of `each`; the rows behind are passed over then.
    pub(crate) async fn fetch_each(&self, sql: &Sql, each: Each<'_>) -> Result<()> {
        self.hand_on(sql, Known::Nothing, each).await
    }

    /// As [`fetch_each`](Self::fetch_each), for a statement that answers with one row at most.
    ///
    /// # Errors
    /// As [`fetch_each`](Self::fetch_each).
    pub(crate) async fn fetch_one(&self, sql: &Sql, each: Each<'_>) -> Result<()> {
        self.hand_on(sql, Known::OneRow, each).await
    }

    async fn hand_on(&self, sql: &Sql, known: Known, each: Each<'_>) -> Result<()> {
        let mut failed = Ok(());
        let mut take = |row: Row| {
            if failed.is_ok() {
                failed = each(&row);
            }
        };
        self.run(Access::Read, sql, known, &mut take).await?;
        failed
    }

    /// Runs a reading statement and gives its rows while they are read, in constant memory.
    ///
    /// Inside a transaction other statements may run between two rows: the rows are kept by the
    /// database as they were when the first was asked for (a cursor on PostgreSQL, a temporary
    /// table on SQLite). Outside one the stream holds a connection of the pool until it ends, and
    /// dropped halfway closes it.
    ///
    /// # Errors
    /// Those of [`fetch`](Self::fetch) come as its last item.
    pub fn stream(&self, sql: Sql) -> Rows {
        let pools = Arc::clone(&self.pools);
        match &self.inside {
            None => Rows::pooled(pools, sql),
            Some((shared, level)) => Rows::inside(pools, Arc::clone(shared), *level, sql),
        }
    }

    /// Runs a writing statement that returns rows (`INSERT .. RETURNING`).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_writing(&self, sql: Sql) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.run(Access::Write, &sql, Known::Nothing, &mut |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// Runs a writing statement and returns how many rows it touched.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn execute(&self, sql: Sql) -> Result<u64> {
        self.run(Access::Write, &sql, Known::Nothing, &mut drop).await.map(|done| done.touched)
    }

    /// Runs an INSERT of one row whose key, in the column `key`, the database counts up, and
    /// returns that key as a row. SQLite tells it with the end of the statement, which is one
    /// message from its thread instead of two.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub(crate) async fn insert(&self, mut sql: Sql, key: &str) -> Result<Option<Row>> {
        #[cfg(feature = "sqlite")]
        if self.dialect() == Dialect::Sqlite {
            let done = self.run(Access::Write, &sql, Known::Nothing, &mut drop).await?;
            return Ok(Some(Row::given(vec![Some(done.key.into())])));
        }
        sql.push_returning(key);
        Ok(self.fetch_writing(sql).await?.pop())
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
        self.begin_with(Begin::default()).await
    }

    /// Begins a transaction that differs from what is usual.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); or it is asked for inside a transaction, whose savepoints can
    /// differ in nothing (`is_nested_transaction`).
    pub async fn begin_with(&self, begin: Begin) -> Result<Transaction> {
        match &self.inside {
            None => Transaction::open(&self.pools, begin).await,
            Some((shared, level)) if begin == Begin::default() => {
                Transaction::nested(&self.pools, shared, *level).await
            }
            Some(_) => Err(Error::of(
                Kind::NestedTransaction,
                "a transaction that says how it begins was opened inside another one",
            )),
        }
    }

    async fn run(&self, access: Access, sql: &Sql, known: Known, take: Take<'_>) -> Result<Done> {
        // Here already, so that a transaction may go on.
        if sql.values.0.iter().any(has_nul) {
            return Err(Error::of(Kind::Field, NUL));
        }
        let _watch = self.pools.records.watch(&sql.text);
        match &self.inside {
            None => self.pools.run(access, sql, known, take).await,
            Some((shared, level)) => shared.turn(*level).await?.run(sql, known, take).await,
        }
    }
}
