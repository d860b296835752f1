//! The pools behind a `Database`, and waiting for them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::conf;
use crate::db::log::Records;
use crate::db::pool::PoolCounts;
use crate::db::transaction::Begin;
use crate::db::wire::{Done, Known, Take, Wire};
use crate::db::{Dialect, Row, Sql, error};
use crate::error::{Error, Kind, Result};

/// First and longest pause before asking for SQLite's write lock again. SQLite itself has waited a
/// while before each.
const LOCK_PAUSE_MIN: Duration = Duration::from_millis(1);
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(20);

/// What a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The open pools. Dropping them closes their idle connections.
pub(super) struct Pools {
    kind: Kinds,
    /// How long a statement waits for a connection or for SQLite's lock.
    wait: Duration,
    /// Most connections of the pool.
    connections: u32,
    /// Who wants to know what runs.
    pub(super) records: Arc<Records>,
}

enum Kinds {
    #[cfg(feature = "sqlite")]
    Sqlite(super::sqlite::Pools),
    #[cfg(feature = "postgres")]
    Postgres(Box<super::postgres::Pool>),
    #[cfg(feature = "mysql")]
    Mysql(Box<super::mysql::Pool>),
}

impl Pools {
    pub(super) async fn open(settings: &conf::Databases, base: &Path) -> Result<Self> {
        let wait = Duration::from_secs(settings.wait_seconds.max(1));
        let url = settings.url.expose();
        let scheme = url.split(':').next().unwrap_or_default();
        let kind = match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => Kinds::Sqlite(super::sqlite::Pools::open(settings, base, wait).await?),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                Kinds::Postgres(Box::new(super::postgres::Pool::open(settings, wait).await?))
            }
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => {
                Kinds::Mysql(Box::new(super::mysql::Pool::open(settings, wait).await?))
            }
            _ => return Err(unknown_scheme()),
        };
        let connections = settings.connections_max.max(1);
        Ok(Self { kind, wait, connections, records: Arc::default() })
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.kind {
            #[cfg(feature = "sqlite")]
            Kinds::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Kinds::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Kinds::Mysql(_) => Dialect::Mysql,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite(&self) -> Option<&super::sqlite::Pools> {
        match &self.kind {
            Kinds::Sqlite(pools) => Some(pools),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            _ => None,
        }
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&self) -> Option<&super::postgres::Pool> {
        match &self.kind {
            Kinds::Postgres(pool) => Some(pool),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => None,
        }
    }

    #[cfg(feature = "mysql")]
    pub(super) fn mysql(&self) -> Option<&super::mysql::Pool> {
        match &self.kind {
            Kinds::Mysql(pool) => Some(pool),
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            _ => None,
        }
    }

    pub(super) fn counts(&self) -> PoolCounts {
        match &self.kind {
            #[cfg(feature = "sqlite")]
            Kinds::Sqlite(pools) => pools.counts(),
            #[cfg(feature = "postgres")]
            Kinds::Postgres(pool) => pool.counts(),
            #[cfg(feature = "mysql")]
            Kinds::Mysql(pool) => pool.counts(),
        }
    }

    async fn acquire(&self, access: Access) -> sqlx::Result<Wire> {
        match &self.kind {
            #[cfg(feature = "sqlite")]
            Kinds::Sqlite(pools) => pools.acquire(access).await,
            #[cfg(feature = "postgres")]
            Kinds::Postgres(pool) => pool.acquire().await,
            #[cfg(feature = "mysql")]
            Kinds::Mysql(pool) => pool.acquire().await,
        }
    }

    /// Runs one statement on its own.
    pub(super) async fn run(
        &self,
        access: Access,
        sql: &Sql,
        known: Known,
        take: Take<'_>,
    ) -> Result<Done> {
        let mut locked = Locked::new(self.wait);
        let mut wire = self.acquire(access).await.map_err(error::translate)?;
        let (mut repeats, mut has_begun) = (0, false);
        loop {
            let mut hand_on = |row| {
                has_begun = true;
                take(row);
            };
            let failed = match wire.run(sql, known, &mut hand_on).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            // Nobody could take back the rows that were handed on.
            if has_begun {
                return Err(error::translate(failed));
            }
            // The server was restarted under an idle connection. Reading again harms nobody.
            let may_repeat = match access {
                Access::Read => error::is_broken(&failed),
                Access::Write => error::is_ended_session(&failed),
            };
            if may_repeat {
                wire = self.replace(access, wire, failed, &mut repeats).await?;
            } else if error::is_locked(&failed) {
                locked.pause(failed).await?;
            } else {
                return Err(error::translate(failed));
            }
        }
    }

    /// Runs one reading statement and passes its rows on as they come.
    pub(super) async fn pour(&self, sql: &Sql, to: &mpsc::Sender<Row>) -> Result<()> {
        let mut wire = self.acquire(Access::Read).await.map_err(error::translate)?;
        let mut repeats = 0;
        loop {
            match wire.pour(sql, to).await {
                Ok(()) => return Ok(()),
                // Nothing was sent yet, so it can begin again.
                Err(failed) if error::is_broken(&failed) && to.capacity() == to.max_capacity() => {
                    wire = self.replace(Access::Read, wire, failed, &mut repeats).await?;
                }
                Err(failed) => return Err(error::translate(failed)),
            }
        }
    }

    /// Closes a broken connection and takes another. All idle ones may be broken, but no new one.
    async fn replace(
        &self,
        access: Access,
        wire: Wire,
        failed: sqlx::Error,
        repeats: &mut u32,
    ) -> Result<Wire> {
        wire.discard();
        if *repeats >= self.connections {
            return Err(error::translate(failed));
        }
        *repeats += 1;
        self.acquire(access).await.map_err(error::translate)
    }

    /// Runs any number of statements, each on its own.
    pub(super) async fn script(&self, text: String) -> Result<()> {
        let mut wire = self.acquire(Access::Write).await.map_err(error::translate)?;
        wire.script_alone(text, self.wait).await.map_err(error::translate)
    }

    /// Takes a connection and begins a transaction on it.
    pub(super) async fn begin(&self, begin: Begin) -> Result<Wire> {
        let mut locked = Locked::new(self.wait);
        let mut wire = self.acquire(Access::Write).await.map_err(error::translate)?;
        let mut repeats = 0;
        loop {
            match wire.begin(begin).await {
                Ok(()) => return Ok(wire),
                Err(failed) if error::is_locked(&failed) => locked.pause(failed).await?,
                Err(failed) if error::is_broken(&failed) => {
                    wire = self.replace(Access::Write, wire, failed, &mut repeats).await?;
                }
                Err(failed) => return Err(error::translate(failed)),
            }
        }
    }

    /// Commits, waiting for SQLite's lock if that is what is in the way.
    pub(super) async fn commit(&self, wire: &mut Wire) -> Result<()> {
        let mut locked = Locked::new(self.wait);
        loop {
            match wire.commit().await {
                Ok(()) => return Ok(()),
                Err(failed) if error::is_locked(&failed) => locked.pause(failed).await?,
                Err(failed) => return Err(error::translate(failed)),
            }
        }
    }

    pub(super) async fn close(&self) {
        match &self.kind {
            #[cfg(feature = "sqlite")]
            Kinds::Sqlite(pools) => pools.close().await,
            #[cfg(feature = "postgres")]
            Kinds::Postgres(pool) => pool.close().await,
            #[cfg(feature = "mysql")]
            Kinds::Mysql(pool) => pool.close().await,
        }
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

/// The URL cannot be used. It is not repeated: it may hold a password.
pub(super) fn bad_url(why: impl fmt::Display) -> Error {
    Error::of(
        Kind::Settings,
        format!(
            "`database.url` (or `DATABASE_URL`) is not a database URL: {why}; it looks like \
             `sqlite://db.sqlite3` or `postgres://user:password@host:5432/name`"
        ),
    )
}

/// The URL is that of a database which is not built in.
pub(super) fn unknown_scheme() -> Error {
    let schemes: &[&str] = &[
        #[cfg(feature = "sqlite")]
        "`sqlite://`",
        #[cfg(feature = "postgres")]
        "`postgres://`",
        #[cfg(feature = "mysql")]
        "`mysql://`",
    ];
    bad_url(format_args!("this build knows {} (features of the crate `hulse`)", schemes.join(", ")))
}

/// Waiting for SQLite's lock, which other processes hold: short pauses of random length, so that no
/// two wait in step, until the time is up.
pub(super) struct Locked {
    started: Instant,
    wait: Duration,
}

impl Locked {
    pub(super) fn new(wait: Duration) -> Self {
        Self { started: Instant::now(), wait }
    }

    /// Waits a little, or reports that the time is up.
    pub(super) async fn pause(&mut self, failed: sqlx::Error) -> Result<()> {
        if self.started.elapsed() >= self.wait {
            let words = format!(
                "waited {} s for SQLite's write lock: another connection keeps it",
                self.wait.as_secs()
            );
            return Err(Error::because(Kind::DatabaseUnavailable, words, failed));
        }
        tokio::time::sleep(rand::random_range(LOCK_PAUSE_MIN..LOCK_PAUSE_MAX)).await;
        Ok(())
    }
}
