//! A lock with a name that keeps processes apart: migrations hold it while they run.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::db::pools::Pools;
use crate::error::{Error, Kind, Result};

/// How long a lock is waited for: longer than any migration that is not stuck.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Holds a lock until it is dropped.
#[must_use = "dropping it lets the lock go"]
pub struct Exclusive {
    _lock: Lock,
}

#[expect(dead_code, reason = "kept for what dropping them does")]
enum Lock {
    /// A locked file beside the database; the lock ends with the descriptor.
    #[cfg(feature = "sqlite")]
    File(std::fs::File),
    /// An advisory lock of this session; it ends with the connection.
    #[cfg(feature = "postgres")]
    Session(sqlx::postgres::PgConnection),
    /// A lock of this session with a name; it ends with the connection.
    #[cfg(feature = "mysql")]
    Named(sqlx::mysql::MySqlConnection),
}

/// Asks until the lock is ours.
pub(super) async fn take(pools: &Pools, name: &str) -> Result<Exclusive> {
    let started = Instant::now();
    let mut attempt = Attempt::new(pools, name).await?;
    let mut told = false;
    loop {
        attempt = match attempt.ask().await? {
            Ok(lock) => return Ok(Exclusive { _lock: lock }),
            Err(attempt) => attempt,
        };
        if started.elapsed() >= WAIT_MAX {
            let words = format!("waited {} s for the lock {name:?}", WAIT_MAX.as_secs());
            return Err(Error::of(Kind::DatabaseUnavailable, words));
        }
        if !told {
            tracing::info!(lock = name, "another process is at it; waiting");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

enum Attempt {
    #[cfg(feature = "sqlite")]
    File(std::fs::File),
    #[cfg(feature = "postgres")]
    Session(sqlx::postgres::PgConnection, i64),
    #[cfg(feature = "mysql")]
    Named(sqlx::mysql::MySqlConnection, String),
}

impl Attempt {
    async fn new(pools: &Pools, name: &str) -> Result<Self> {
        #[cfg(feature = "sqlite")]
        if let Some(sqlite) = pools.sqlite() {
            let mut path = sqlite.file.clone().into_os_string();
            path.push(format!(".{name}.lock"));
            // Never removed: a file that others may just be opening cannot be, without a race.
            let file = std::fs::File::options().create(true).append(true).open(&path);
            return file.map(Self::File).map_err(|failed| {
                let words = format!("opening the lock file {}", path.display());
                Error::because(Kind::DatabaseUnavailable, words, failed)
            });
        }
        #[cfg(feature = "postgres")]
        if let Some(postgres) = pools.postgres() {
            return Ok(Self::Session(postgres.separate().await?, key(name)));
        }
        #[cfg(feature = "mysql")]
        if let Some(mysql) = pools.mysql() {
            let key = named(&mysql.name, name);
            return Ok(Self::Named(mysql.separate().await?, key));
        }
        unreachable!("every pool is one of these")
    }

    async fn ask(self) -> Result<Result<Lock, Self>> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::File(file) => match file.try_lock() {
                Ok(()) => Ok(Ok(Lock::File(file))),
                Err(std::fs::TryLockError::WouldBlock) => Ok(Err(Self::File(file))),
                Err(std::fs::TryLockError::Error(failed)) => Err(Error::because(
                    Kind::DatabaseUnavailable,
                    "locking a file beside the database",
                    failed,
                )),
            },
            #[cfg(feature = "postgres")]
            Self::Session(mut session, key) => {
                let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                    .bind(key)
                    .fetch_one(&mut session)
                    .await
                    .map_err(super::error::translate)?;
                Ok(if free { Ok(Lock::Session(session)) } else { Err(Self::Session(session, key)) })
            }
            #[cfg(feature = "mysql")]
            Self::Named(mut session, key) => {
                let free: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, 0)")
                    .bind(&key)
                    .fetch_one(&mut session)
                    .await
                    .map_err(super::error::translate)?;
                let free = free == Some(1);
                Ok(if free { Ok(Lock::Named(session)) } else { Err(Self::Named(session, key)) })
            }
        }
    }
}

/// MariaDB's locks have names of at most 64 characters, one set for the whole server.
#[cfg(feature = "mysql")]
fn named(database: &str, name: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("{database}\0{name}"));
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hulse:{digits}")
}

/// PostgreSQL's advisory locks are numbers, one set for each database.
#[cfg(feature = "postgres")]
fn key(name: &str) -> i64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("hulse:{name}"));
    i64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}
