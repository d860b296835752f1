//! Rows that come one after the other, however many there are.
//!
//! Flow: [`Connection::stream`](super::Connection::stream) → outside a transaction the rows as the
//! database sends them, no faster than they are taken → inside one a cursor, read in batches.
//!
//! Invariants:
//! - Memory does not grow with the answer: at most [`READY_MAX`] rows wait, and one batch. MariaDB
//!   inside a transaction is the exception: it has no cursors for us, so the answer is read whole.
//! - Inside a transaction other statements may run between two rows; the rows are those of the
//!   moment the stream was first asked, whatever is written meanwhile.
//! - Dropped halfway it leaves nothing: outside a transaction its connection is closed, inside one
//!   the cursor goes with the next statement.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::db::pools::Pools;
use crate::db::transaction::{Level, Shared};
#[cfg(feature = "mysql")]
use crate::db::wire::Known;
use crate::db::{Dialect, Row, Sql};
use crate::error::{Error, Result};

/// Most rows that were read and not yet taken, besides the batch they came in.
const READY_MAX: usize = 64;

/// Rows that a cursor is asked for at once.
const BATCH: i64 = 500;

/// The rows of a statement, read while they are taken. Does nothing before it is polled.
#[must_use = "a stream does nothing before it is polled"]
pub struct Rows {
    /// Reads rows into `ready`; `None` once it has ended.
    producer: Option<BoxFuture<'static, Result<()>>>,
    /// What the producer ended with, to be told after the last row.
    failed: Option<Error>,
    ready: mpsc::Receiver<Row>,
}

impl Rows {
    fn new<F>(produce: impl FnOnce(mpsc::Sender<Row>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, ready) = mpsc::channel(READY_MAX);
        Self { producer: Some(Box::pin(produce(sender))), failed: None, ready }
    }

    /// Reads on a connection of the pool.
    pub(super) fn pooled(pools: Arc<Pools>, sql: Sql) -> Self {
        Self::new(async move |sender| {
            let _watch = pools.records.watch(&sql.text);
            pools.pour(&sql, &sender).await
        })
    }

    /// Reads inside a transaction.
    pub(super) fn inside(pools: Arc<Pools>, shared: Arc<Shared>, level: Level, sql: Sql) -> Self {
        Self::new(async move |sender| {
            let _watch = pools.records.watch(&sql.text);
            let mut cursor = Cursor::open(&shared, level, pools.dialect(), sql).await?;
            loop {
                // Once all rows are taken: while the next batch is read, nobody else could run a
                // statement, and who runs one between two rows does not poll us.
                drop(sender.reserve_many(READY_MAX).await);
                let rows = cursor.batch().await?;
                if rows.is_empty() {
                    return cursor.close().await;
                }
                for row in rows {
                    // The receiver cannot be gone: it polls us.
                    drop(sender.send(row).await);
                }
            }
        })
    }
}

impl Stream for Rows {
    type Item = Result<Row>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Row>>> {
        loop {
            let row = self.ready.poll_recv(context);
            if let Poll::Ready(Some(row)) = row {
                return Poll::Ready(Some(Ok(row)));
            }
            let Some(producer) = &mut self.producer else {
                // The runtime may make the channel say "not now" although rows wait, so that other
                // tasks get their turn: only "none" is the end.
                return row.map(|_| self.failed.take().map(Err));
            };
            match producer.as_mut().poll(context) {
                Poll::Ready(done) => {
                    self.producer = None;
                    self.failed = done.err();
                }
                Poll::Pending => {
                    return match self.ready.poll_recv(context) {
                        Poll::Ready(Some(row)) => Poll::Ready(Some(Ok(row))),
                        Poll::Ready(None) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("ended", &self.producer.is_none()).finish_non_exhaustive()
    }
}

/// The answer to a statement, kept by the database for the rest of the transaction: a cursor on
/// PostgreSQL. SQLite has none that survives a write to the table it reads, so it is a temporary
/// table there.
struct Cursor<'a> {
    shared: &'a Shared,
    level: Level,
    kind: Kind,
    name: String,
    /// How many rows were asked for.
    seen: i64,
    /// Whether there is something to be closed.
    open: bool,
}

enum Kind {
    #[cfg(feature = "sqlite")]
    Table,
    #[cfg(feature = "postgres")]
    Portal,
    /// Read already.
    #[cfg(feature = "mysql")]
    Whole(Vec<Row>),
}

impl<'a> Cursor<'a> {
    async fn open(
        shared: &'a Shared,
        level: Level,
        dialect: Dialect,
        mut sql: Sql,
    ) -> Result<Cursor<'a>> {
        let mut turn = shared.turn(level).await?;
        let name = shared.name_cursor();
        let kind = match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                sql.text.insert_str(0, &format!("CREATE TEMP TABLE {name} AS "));
                Kind::Table
            }
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                sql.text.insert_str(0, &format!("DECLARE {name} NO SCROLL CURSOR FOR "));
                Kind::Portal
            }
            #[cfg(feature = "mysql")]
            Dialect::Mysql => {
                let mut rows = Vec::new();
                turn.run(&sql, Known::Nothing, &mut |row| rows.push(row)).await?;
                let kind = Kind::Whole(rows);
                return Ok(Self { shared, level, kind, name, seen: 0, open: false });
            }
        };
        // Made before the statement: given up halfway, its leavings are swept all the same.
        let cursor = Self { shared, level, kind, name, seen: 0, open: true };
        turn.run_once(&sql, &mut drop).await?;
        Ok(cursor)
    }

    async fn batch(&mut self) -> Result<Vec<Row>> {
        let Self { name, seen, kind, .. } = self;
        let text: String = match kind {
            #[cfg(feature = "sqlite")]
            Kind::Table => format!(
                "SELECT * FROM temp.{name} WHERE _rowid_ > {seen} AND _rowid_ <= {}",
                *seen + BATCH
            ),
            #[cfg(feature = "postgres")]
            Kind::Portal => format!("FETCH {BATCH} FROM {name}"),
            #[cfg(feature = "mysql")]
            Kind::Whole(rows) => return Ok(std::mem::take(rows)),
        };
        *seen += BATCH;
        let mut rows = Vec::new();
        let mut turn = self.shared.turn(self.level).await?;
        turn.run_once(&Sql::raw(text), &mut |row| rows.push(row)).await?;
        Ok(rows)
    }

    async fn close(mut self) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        let text = self.closing();
        self.shared.turn(self.level).await?.run_once(&Sql::raw(text), &mut drop).await?;
        self.open = false;
        Ok(())
    }

    fn closing(&self) -> String {
        match self.kind {
            #[cfg(feature = "sqlite")]
            Kind::Table => format!("DROP TABLE IF EXISTS temp.{}", self.name),
            #[cfg(feature = "postgres")]
            Kind::Portal => format!("CLOSE {}", self.name),
            #[cfg(feature = "mysql")]
            Kind::Whole(_) => String::new(),
        }
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // PostgreSQL's end with the transaction, and closing one twice is an error there.
        #[cfg(feature = "sqlite")]
        if self.open && matches!(self.kind, Kind::Table) {
            self.shared.leave(self.closing());
        }
    }
}
