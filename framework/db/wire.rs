//! One borrowed connection of either database, with or without an open transaction on it.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "sqlite")]
use futures_util::StreamExt as _;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use futures_util::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use tokio::sync::mpsc;

use crate::db::pool::{Held, State};
use crate::db::row::{Native, Row};
use crate::db::transaction::Begin;
use crate::db::{Sql, bind, error, session};

/// What takes the rows of an answer, one after the other, as they come.
pub(super) type Take<'a> = &'a mut (dyn FnMut(Row) + Send);

/// What a statement did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// How many rows it touched.
    pub(super) touched: u64,
    /// The key that SQLite counted up last; the others return theirs as a row.
    pub(super) key: i64,
}

/// A pool's connection; goes back to it when dropped, or is closed if it is not as it was.
pub(super) enum Wire {
    #[cfg(feature = "sqlite")]
    Sqlite(Held<sqlx::SqliteConnection>),
    #[cfg(feature = "postgres")]
    Postgres(Held<sqlx::PgConnection>),
    #[cfg(feature = "mysql")]
    Mysql(Held<sqlx::MySqlConnection>),
}

/// What is known of a statement beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// It only reads, and answers with one row at most. SQLite's thread then says all there is to
    /// say at once, so that we are woken once.
    OneRow,
}

/// Whether the statement will come again with the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Prepared once a connection.
    Prepared,
    /// Not kept.
    Once,
}

/// How often we look for the next part of SQLite's answer before we sleep: some microseconds.
#[cfg(feature = "sqlite")]
const LOOKS: u32 = 64;

/// How long we wait between two looks, in turns of a loop: each look takes a lock that SQLite's
/// thread needs.
#[cfg(feature = "sqlite")]
const LOOK_PAUSE: u32 = 8;

/// Looks on a machine where SQLite's thread has no other core to answer from.
#[cfg(feature = "sqlite")]
const LOOKS_ALONE: u32 = 4;

/// Whether this process may use one core only. Waiting in a loop would keep SQLite's thread off it.
#[cfg(feature = "sqlite")]
static IS_ALONE: std::sync::LazyLock<bool> =
    std::sync::LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|n| n.get() == 1));

/// The next part of an answer. SQLite's thread sends it within microseconds of the one before, and
/// that there is no more as well: to sleep and be woken for each takes longer than to look again.
#[cfg(feature = "sqlite")]
async fn soon<S: futures_util::Stream + Unpin>(answers: &mut S, looks: u32) -> Option<S::Item> {
    std::future::poll_fn(|context| {
        for _ in 1..if *IS_ALONE { looks.min(LOOKS_ALONE) } else { looks } {
            if let ready @ std::task::Poll::Ready(_) = answers.poll_next_unpin(context) {
                return ready;
            }
            if *IS_ALONE {
                std::thread::yield_now();
            } else {
                for _ in 0..LOOK_PAUSE {
                    std::hint::spin_loop();
                }
            }
        }
        answers.poll_next_unpin(context)
    })
    .await
}

/// Runs a statement, does `$each` with every row and `$end` when it is done.
macro_rules! answers {
    ($wire:expr, $sql:expr, $kept:expr, $row:ident => $each:expr, $done:ident => $end:expr) => {{
        let text = AssertSqlSafe($sql.text.as_str());
        let persistent = $kept == Kept::Prepared;
        match $wire {
            #[cfg(feature = "sqlite")]
            Wire::Sqlite(held) => {
                let query = sqlx::query_with::<sqlx::Sqlite, _>(text, bind::sqlite(&$sql.values)?);
                let query = query.persistent(persistent);
                let mut answers = sqlx::Executor::fetch_many(&mut **held, query);
                let mut looks = 1;
                // That there is nothing behind the end need not be waited for, unless there may be.
                let is_one = !$sql.text.contains(';');
                while let Some(answer) = soon(&mut answers, looks).await {
                    looks = LOOKS;
                    match answer? {
                        sqlx::Either::Left(done) => {
                            let key = done.last_insert_rowid();
                            let $done = Done { touched: done.rows_affected(), key };
                            $end;
                            if is_one {
                                break;
                            }
                        }
                        sqlx::Either::Right(row) => {
                            let $row = Row(Native::Sqlite(row));
                            $each
                        }
                    }
                }
            }
            #[cfg(feature = "postgres")]
            Wire::Postgres(held) => {
                let values = bind::postgres(&$sql.values)?;
                let query = sqlx::query_with::<sqlx::Postgres, _>(text, values);
                let query = query.persistent(persistent);
                let mut answers = sqlx::Executor::fetch_many(&mut **held, query);
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        sqlx::Either::Left(done) => {
                            let $done = Done { touched: done.rows_affected(), key: 0 };
                            $end;
                        }
                        sqlx::Either::Right(row) => {
                            let $row = Row(Native::Postgres(row));
                            $each
                        }
                    }
                }
            }
            #[cfg(feature = "mysql")]
            Wire::Mysql(held) => {
                let query = sqlx::query_with::<sqlx::MySql, _>(text, bind::mysql(&$sql.values)?);
                let query = query.persistent(persistent);
                let mut answers = sqlx::Executor::fetch_many(&mut **held, query);
                while let Some(answer) = answers.try_next().await? {
                    match answer {
                        sqlx::Either::Left(done) => {
                            let $done = Done { touched: done.rows_affected(), key: 0 };
                            $end;
                        }
                        sqlx::Either::Right(row) => {
                            let $row = Row(Native::Mysql(row));
                            $each
                        }
                    }
                }
            }
        }
    }};
}

impl Wire {
    /// Runs one statement with its values and hands on its rows.
    pub(super) async fn run(
        &mut self,
        sql: &Sql,
        known: Known,
        take: Take<'_>,
    ) -> sqlx::Result<Done> {
        self.note(&sql.text);
        self.state().running = true;
        let answer = match known {
            Known::Nothing => self.gather(sql, Kept::Prepared, take).await,
            Known::OneRow => self.one(sql, take).await,
        };
        self.ended(answer)
    }

    /// As [`run`](Self::run), for our own statements whose text will not come again.
    pub(super) async fn run_once(&mut self, sql: &Sql, take: Take<'_>) -> sqlx::Result<Done> {
        self.state().running = true;
        let answer = self.gather(sql, Kept::Once, take).await;
        self.ended(answer)
    }

    async fn gather(&mut self, sql: &Sql, kept: Kept, take: Take<'_>) -> sqlx::Result<Done> {
        let mut all = Done::default();
        answers!(self, sql, kept, row => take(row), done => {
            all = Done { touched: all.touched + done.touched, key: done.key };
        });
        Ok(all)
    }

    /// Reads the one row there may be. Not for statements that write: the rest of one, which may
    /// fail still, would go unheard.
    async fn one(&mut self, sql: &Sql, take: Take<'_>) -> sqlx::Result<Done> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => {
                let text = AssertSqlSafe(sql.text.as_str());
                let query = sqlx::query_with::<sqlx::Sqlite, _>(text, bind::sqlite(&sql.values)?);
                let row = sqlx::Executor::fetch_optional(&mut **held, query).await?;
                row.into_iter().for_each(|row| take(Row(Native::Sqlite(row))));
                Ok(Done::default())
            }
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            _ => self.gather(sql, Kept::Prepared, take).await,
        }
    }

    /// Runs one statement and passes its rows on as they come, no faster than they are taken.
    pub(super) async fn pour(&mut self, sql: &Sql, to: &mpsc::Sender<Row>) -> sqlx::Result<()> {
        self.state().running = true;
        let answer = self.pass_on(sql, to).await;
        self.ended(answer)
    }

    async fn pass_on(&mut self, sql: &Sql, to: &mpsc::Sender<Row>) -> sqlx::Result<()> {
        answers!(self, sql, Kept::Prepared, row => {
            // The receiver cannot be gone: it polls us.
            drop(to.send(row).await);
        }, done => {
            let _ = done;
        });
        Ok(())
    }

    /// Runs any number of statements without values, unprepared.
    pub(super) async fn script(&mut self, text: String) -> sqlx::Result<()> {
        self.note(&text);
        self.control(text).await
    }

    /// As [`script`](Self::script), for our own statements.
    async fn control(&mut self, text: String) -> sqlx::Result<()> {
        self.state().running = true;
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        let done = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => sqlx::Executor::execute(&mut **held, script).await.map(drop),
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => sqlx::Executor::execute(&mut **held, script).await.map(drop),
            #[cfg(feature = "mysql")]
            Self::Mysql(held) => sqlx::Executor::execute(&mut **held, script).await.map(drop),
        };
        self.ended(done)
    }

    /// As [`script`](Self::script), outside a transaction: each statement waits for SQLite's lock.
    /// Elsewhere a statement that found it taken is repeated, but here some have run already.
    pub(super) async fn script_alone(&mut self, text: String, wait: Duration) -> sqlx::Result<()> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                self.control(format!("PRAGMA busy_timeout = {}", wait.as_millis())).await?;
                let done = self.script(text).await;
                let usual = super::sqlite::BUSY_TIMEOUT.as_millis();
                self.control(format!("PRAGMA busy_timeout = {usual}")).await?;
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
        self.state().spoiled = true;
    }

    /// Begins a transaction. On SQLite it takes the write lock: one that began by reading could not
    /// wait for it later.
    pub(super) async fn begin(&mut self, begin: Begin) -> sqlx::Result<()> {
        self.state().open = true;
        let begun = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                if begin.unchecked_foreign_keys {
                    // Works outside a transaction only. The connection is not used again.
                    self.script("PRAGMA foreign_keys = OFF".to_owned()).await?;
                }
                self.control("BEGIN IMMEDIATE".to_owned()).await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                let level = begin.isolation.map(|level| level.sql());
                let level = level.map(|level| format!(" ISOLATION LEVEL {level}"));
                self.control(format!("BEGIN{}", level.unwrap_or_default())).await
            }
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => {
                if let Some(level) = begin.isolation {
                    // For the next transaction only.
                    let level = format!("SET TRANSACTION ISOLATION LEVEL {}", level.sql());
                    self.control(level).await?;
                }
                self.control("START TRANSACTION".to_owned()).await
            }
        };
        self.state().open = begun.is_ok();
        begun
    }

    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        self.control("COMMIT".to_owned()).await?;
        self.state().open = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> sqlx::Result<()> {
        self.control("ROLLBACK".to_owned()).await?;
        self.state().open = false;
        Ok(())
    }

    fn state(&mut self) -> &mut State {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => &mut held.state,
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => &mut held.state,
            #[cfg(feature = "mysql")]
            Self::Mysql(held) => &mut held.state,
        }
    }

    /// Remembers whether the connection will differ from a new one.
    fn note(&mut self, text: &str) {
        if session::is_changed_by(text) {
            self.state().spoiled = true;
        }
    }

    fn ended<T>(&mut self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        self.state().running = false;
        if answer.as_ref().is_err_and(error::is_broken) {
            self.state().spoiled = true;
        }
        answer
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
