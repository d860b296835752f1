//! SQLite: one file, one writing connection and some reading ones a process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use crate::conf;
use crate::db::error;
use crate::db::pool::{Limits, Pool, PoolCounts};
use crate::db::pools::{Access, Locked, bad_url};
use crate::db::wire::Wire;
use crate::error::{Error, Kind, Result};

/// How long SQLite itself sleeps and asks for a lock before it gives up and we go on: short,
/// because its pauses grow to 100 ms, and who began to wait last would ask most often.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// Rows that SQLite's thread reads ahead of us. At sqlx's 50 the two threads wake each other twenty
/// times for a thousand rows.
const ROWS_AHEAD: usize = 500;

/// The writer and the readers of one file.
pub(super) struct Pools {
    writer: Pool<SqliteConnection>,
    readers: Pool<SqliteConnection>,
    pub(super) file: PathBuf,
}

impl Pools {
    /// Opens the file, makes it if it is not there, and sees to it that it is in WAL mode.
    pub(super) async fn open(
        settings: &conf::Databases,
        base: &Path,
        wait: Duration,
    ) -> Result<Self> {
        let file = file(settings.url.expose(), base)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .foreign_keys(true)
            .with_regexp()
            .synchronous(SqliteSynchronous::Normal)
            .row_buffer_size(ROWS_AHEAD)
            .busy_timeout(BUSY_TIMEOUT);
        prepare(&options, &file, wait).await?;
        // A file does not go away the way a server does.
        let limits = |connections| Limits {
            connections,
            wait,
            trusted_idle: None,
            idle_max: None,
            life_max: None,
        };
        let reading = options.clone().create_if_missing(false).pragma("query_only", "ON");
        Ok(Self {
            writer: Pool::new(options, limits(1)),
            readers: Pool::new(reading, limits(settings.connections_max.max(1))),
            file,
        })
    }

    pub(super) async fn acquire(&self, access: Access) -> sqlx::Result<Wire> {
        let pool = match access {
            Access::Read => &self.readers,
            Access::Write => &self.writer,
        };
        pool.acquire().await.map(Wire::Sqlite)
    }

    pub(super) fn counts(&self) -> PoolCounts {
        self.writer.counts() + self.readers.counts()
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        // The last to close a file folds the log into it.
        self.writer.close().await;
    }
}

/// The file a URL names: `sqlite://db.sqlite3` (below `base`), `sqlite:///var/lib/db.sqlite3`.
pub(super) fn file(url: &str, base: &Path) -> Result<PathBuf> {
    let rest = url.strip_prefix("sqlite:").unwrap_or_default();
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(bad_url("it names no file"));
    }
    if path.contains(":memory:") || path.contains('?') {
        return Err(bad_url(
            "a database in memory and options behind `?` are not supported, each process would \
             have its own",
        ));
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| bad_url("it is no UTF-8"))?;
    if path.contains('\0') {
        return Err(bad_url("it has a NUL character"));
    }
    Ok(base.join(&*path))
}

/// Turns WAL on, once for all connections to come. The switch needs the file for itself and SQLite
/// does not wait for that, so several processes that open one new file take turns here.
async fn prepare(options: &SqliteConnectOptions, file: &Path, wait: Duration) -> Result<()> {
    let mut locked = Locked::new(wait);
    loop {
        match switch_to_wal(options).await {
            Ok(()) => return Ok(()),
            Err(failed) if error::is_locked(&failed) => locked.pause(failed).await?,
            Err(failed) => {
                let words = format!("opening the SQLite database {}", file.display());
                return Err(match failed.into_database_error() {
                    Some(refused) => Error::because(Kind::DatabaseUnavailable, words, refused),
                    None => Error::of(Kind::DatabaseUnavailable, words),
                });
            }
        }
    }
}

async fn switch_to_wal(options: &SqliteConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.connect().await?;
    let done = ask_for_wal(&mut connection).await;
    connection.close().await?;
    done
}

async fn ask_for_wal(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if row.try_get::<String, _>(0)? == "wal" {
        return Ok(());
    }
    let row = sqlx::query("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await?;
    let mode = row.try_get::<String, _>(0)?;
    if mode != "wal" {
        tracing::warn!(mode, "SQLite cannot use its write-ahead log here: readers will wait");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::file;
    use std::path::Path;

    fn check(url: &str, expected: Option<&str>) {
        let found = file(url, Path::new("/site")).ok();
        assert_eq!(found.as_deref(), expected.map(Path::new), "{url}");
    }

    #[test]
    fn a_url_names_a_file() {
        check("sqlite://db.sqlite3", Some("/site/db.sqlite3"));
        check("sqlite:db.sqlite3", Some("/site/db.sqlite3"));
        check("sqlite://var/my%20db.sqlite3", Some("/site/var/my db.sqlite3"));
        check("sqlite:///var/db.sqlite3", Some("/var/db.sqlite3"));
        check("sqlite://", None);
        check("sqlite::memory:", None);
        check("sqlite://db.sqlite3?mode=ro", None);
        check("sqlite://%ff", None);
    }
}
