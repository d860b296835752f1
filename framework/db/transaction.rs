//! Transactions and savepoints over one shared connection.
//!
//! Flow: `Transaction::open` → its `Connection` clones take turns ([`Shared::turn`]) → `commit`,
//! `rollback` or drop.
//!
//! Invariants:
//! - The turn's lock is the one lock of the framework held over an await: a connection runs one
//!   statement at a time.
//! - While a savepoint is open only its own handle works; a sibling's statement would be undone
//!   with it, and its owner would not know.
//! - After a statement failed or was given up halfway, nothing runs until the savepoint around it,
//!   or the whole transaction, is rolled back. PostgreSQL demands that, SQLite does not; we do, so
//!   that what was written on one works on the other.
//! - Dropping never waits: a savepoint that was dropped is undone before the next statement.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::db::Sql;
use crate::db::connection::Connection;
use crate::db::error::translate;
use crate::db::pools::Pools;
use crate::db::wire::{Done, Known, Take, Wire};
use crate::error::{Error, Kind, Result};

/// How a transaction begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// What it may see of others' changes; `None` is the database's own default.
    pub isolation: Option<Isolation>,
    /// SQLite checks no foreign key until it ends, so that a table others refer to can be made
    /// anew. Its connection is not used again. Other databases ignore it.
    pub unchecked_foreign_keys: bool,
}

/// What a transaction may see of others' changes. PostgreSQL begins with `ReadCommitted`. SQLite's
/// transactions are always serializable, so there all of these are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first of them. A row that another changed
    /// meanwhile cannot be written (`is_serialization_failure`).
    RepeatableRead,
    /// As if transactions ran one after the other, else `is_serialization_failure`.
    Serializable,
}

impl Isolation {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// Names a transaction (0) or one of its savepoints (from 1, never used twice).
pub(super) type Level = u64;

const OUTERMOST: Level = 0;

/// What all handles of one transaction share.
pub(super) struct Shared {
    /// The lock is a turn. The last one to see the transaction closed takes the wire out, and that
    /// rolls back.
    line: tokio::sync::Mutex<Line>,
    /// Never held over an await, and always taken after `line` if both are.
    marks: Mutex<Marks>,
}

struct Line {
    /// `None` once the transaction is over.
    wire: Option<Wire>,
    /// A statement failed or was cut short, so the database's state is in doubt.
    failed: bool,
}

struct Marks {
    /// The open levels, outermost first.
    open: Vec<Mark>,
    next: Level,
    /// The transaction was committed, rolled back or dropped.
    closed: bool,
    /// How many cursors were opened.
    cursors: u64,
    /// What dropped cursors left: statements to run before the next one.
    leftovers: Vec<String>,
}

struct Mark {
    level: Level,
    /// Dropped without an end: to be undone before the next statement.
    abandoned: bool,
}

/// An open transaction or savepoint; dropping it rolls it back.
#[must_use = "dropping it rolls it back"]
pub struct Transaction {
    pools: Arc<Pools>,
    shared: Arc<Shared>,
    level: Level,
    ended: bool,
}

impl Transaction {
    pub(super) async fn open(pools: &Arc<Pools>, begin: Begin) -> Result<Self> {
        let wire = pools.begin(begin).await?;
        let marks = Marks {
            open: vec![Mark { level: OUTERMOST, abandoned: false }],
            next: OUTERMOST + 1,
            closed: false,
            cursors: 0,
            leftovers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            line: tokio::sync::Mutex::new(Line { wire: Some(wire), failed: false }),
            marks: Mutex::new(marks),
        });
        Ok(Self { pools: Arc::clone(pools), shared, level: OUTERMOST, ended: false })
    }

    pub(super) async fn nested(
        pools: &Arc<Pools>,
        shared: &Arc<Shared>,
        around: Level,
    ) -> Result<Self> {
        let mut turn = shared.turn(around).await?;
        let level = shared.marks(|marks| {
            let level = marks.next;
            marks.next += 1;
            marks.open.push(Mark { level, abandoned: false });
            level
        });
        // Made before the statement: should this future be dropped while it runs, the drop undoes
        // it.
        let (pools, shared) = (Arc::clone(pools), Arc::clone(shared));
        let savepoint = Self { pools, shared, level, ended: false };
        turn.script(format!("SAVEPOINT {}", name(level))).await?;
        drop(turn);
        Ok(savepoint)
    }

    /// The handle whose statements run inside it. After the end it answers "transaction closed".
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::inside(Arc::clone(&self.pools), Arc::clone(&self.shared), self.level)
    }

    /// Makes its changes last (a savepoint's: part of the outer transaction).
    ///
    /// # Errors
    /// As [`Connection::fetch`]; nothing is kept then.
    pub async fn commit(mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut turn = shared.turn(self.level).await?;
        if self.level == OUTERMOST {
            let mut wire = turn.close()?;
            drop(turn);
            self.ended = true;
            return self.pools.commit(&mut wire).await;
        }
        turn.script(format!("RELEASE SAVEPOINT {}", name(self.level))).await?;
        shared.forget(self.level);
        self.ended = true;
        Ok(())
    }

    /// Undoes its changes.
    ///
    /// # Errors
    /// As [`Connection::fetch`]; they are undone nevertheless.
    pub async fn rollback(mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        if self.level == OUTERMOST {
            let mut turn = shared.wait().await;
            let mut wire = turn.close()?;
            drop(turn);
            self.ended = true;
            return wire.rollback().await.map_err(translate);
        }
        shared.abandon(self.level);
        self.ended = true;
        let mut turn = shared.wait().await;
        turn.undo_abandoned().await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.level == OUTERMOST {
            self.shared.close();
        } else {
            self.shared.abandon(self.level);
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Shared {
    /// Waits for the connection, and checks that `level` may use it now.
    pub(super) async fn turn(&self, level: Level) -> Result<Turn<'_>> {
        let mut turn = self.wait().await;
        turn.undo_abandoned().await?;
        self.marks(|marks| marks.permit(level))?;
        if turn.line().failed {
            return Err(Error::of(
                Kind::TransactionClosed,
                "an error occurred in the current transaction, or a statement of it was given up: \
                 no more queries until the end of the atomic block; let the error leave it",
            ));
        }
        turn.sweep_cursors().await?;
        Ok(turn)
    }

    async fn wait(&self) -> Turn<'_> {
        Turn { shared: self, line: Some(self.line.lock().await), running: false }
    }

    fn marks<T>(&self, look: impl FnOnce(&mut Marks) -> T) -> T {
        look(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A name that no cursor of this transaction had.
    pub(super) fn name_cursor(&self) -> String {
        self.marks(|marks| {
            marks.cursors += 1;
            format!("hulse_rows_{}", marks.cursors)
        })
    }

    /// Has `statement` run before the next one.
    pub(super) fn leave(&self, statement: String) {
        self.marks(|marks| marks.leftovers.push(statement));
    }

    fn forget(&self, level: Level) {
        self.marks(|marks| marks.open.retain(|mark| mark.level < level));
    }

    fn abandon(&self, level: Level) {
        self.marks(|marks| {
            for mark in marks.open.iter_mut().filter(|mark| mark.level == level) {
                mark.abandoned = true;
            }
        });
    }

    /// Ends the transaction without waiting: now, or when the running statement's turn is over.
    fn close(&self) {
        self.marks(|marks| marks.closed = true);
        self.sweep();
    }

    /// Rolls back if the transaction is closed and nobody has the connection.
    fn sweep(&self) {
        if !self.marks(|marks| marks.closed) {
            return;
        }
        if let Ok(mut line) = self.line.try_lock() {
            drop(line.wire.take());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Marks {
    fn permit(&self, level: Level) -> Result<()> {
        let open = !self.closed && self.open.iter().any(|mark| mark.level == level);
        if !open {
            return Err(over());
        }
        if self.open.last().is_some_and(|top| top.level != level) {
            return Err(Error::of(
                Kind::TransactionClosed,
                "an atomic block inside this one is open; use the site it gave its closure",
            ));
        }
        Ok(())
    }

    /// The outermost level that was dropped, with all those inside it.
    fn abandoned(&self) -> Option<Level> {
        self.open.iter().find(|mark| mark.abandoned).map(|mark| mark.level)
    }
}

/// One holder's use of the connection.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    /// `None` only while being dropped.
    line: Option<tokio::sync::MutexGuard<'a, Line>>,
    /// A statement is under way; if the turn ends now, it was given up halfway.
    running: bool,
}

impl Turn<'_> {
    fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("only dropping takes it")
    }

    fn wire(&mut self) -> Result<&mut Wire> {
        self.line().wire.as_mut().ok_or_else(over)
    }

    /// Takes the connection: the transaction is over for every other handle.
    fn close(&mut self) -> Result<Wire> {
        let wire = self.line().wire.take().ok_or_else(over)?;
        self.shared.marks(|marks| marks.closed = true);
        Ok(wire)
    }

    /// Runs one statement.
    pub(super) async fn run(&mut self, sql: &Sql, known: Known, take: Take<'_>) -> Result<Done> {
        self.running = true;
        let answer = self.wire()?.run(sql, known, take).await;
        self.finish(answer)
    }

    /// Runs statements without values.
    pub(super) async fn script(&mut self, text: String) -> Result<()> {
        self.running = true;
        let answer = self.wire()?.script(text).await;
        self.finish(answer)
    }

    /// As [`run`](Self::run), for our own statements whose text will not come again.
    pub(super) async fn run_once(&mut self, sql: &Sql, take: Take<'_>) -> Result<Done> {
        self.running = true;
        let answer = self.wire()?.run_once(sql, take).await;
        self.finish(answer)
    }

    async fn sweep_cursors(&mut self) -> Result<()> {
        for statement in self.shared.marks(|marks| std::mem::take(&mut marks.leftovers)) {
            self.run_once(&Sql::raw(statement), &mut drop).await?;
        }
        Ok(())
    }

    fn finish<T>(&mut self, answer: sqlx::Result<T>) -> Result<T> {
        self.running = false;
        answer.map_err(|failed| {
            self.line().failed = true;
            translate(failed)
        })
    }

    /// Rolls back to before the outermost savepoint that was dropped; that mends a failure too.
    async fn undo_abandoned(&mut self) -> Result<()> {
        let Some(level) = self.shared.marks(|marks| marks.abandoned()) else { return Ok(()) };
        let name = name(level);
        self.script(format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")).await?;
        self.line().failed = false;
        self.shared.forget(level);
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.running {
            self.line().failed = true;
        }
        self.line = None;
        // The transaction may have been dropped meanwhile, and its drop could not wait for us.
        self.shared.sweep();
    }
}

fn name(level: Level) -> String {
    format!("hulse_{level}")
}

fn over() -> Error {
    Error::of(
        Kind::TransactionClosed,
        "this handle's transaction is over: use it only inside the atomic block it was made for",
    )
}
