//! MariaDB: one pool a process, and what a session is told before it is used.
//!
//! Invariants:
//! - Sessions speak standard SQL: `"x"` is a name, `'x'` a text in which a backslash is a
//!   backslash,
//!   `||` joins texts. So literals in DDL are quoted as on the other databases.
//! - Text compares by code points, spaces at its end included, as on the other databases.
//! - A transaction sees what others committed before each statement (READ COMMITTED).

mod builder;
mod row;

use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};

use crate::conf::{self, Secret};
use crate::db::MYSQL_COLLATION as COLLATION;
use crate::db::pool::{self, Limits, PoolCounts};
use crate::db::pools::bad_url;
use crate::db::shell::without_password;
use crate::db::wire::Wire;
use crate::error::{Error, Kind, Result};

pub(super) use builder::Builder;
pub(super) use row::FromRow;

/// How long the first connection may take before the server counts as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Idle connections beyond this age are closed.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);

/// Connections older than this are replaced: the server's side of one only grows.
const LIFE_MAX: Duration = Duration::from_secs(30 * 60);

/// The oldest MariaDB that is still maintained; `JSON_EQUALS` came with 10.7, and is used.
const VERSION_MIN: (u32, u32) = (10, 11);

/// What refuses bad values, and what makes it speak standard SQL.
const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
                        NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ANSI_QUOTES,PIPES_AS_CONCAT,\
                        NO_BACKSLASH_ESCAPES";

/// Steps of a recursive query: as many as on the other databases. Its own default, 1000, cuts the
/// answer.
const RECURSION_MAX: u32 = u32::MAX;

/// The connections to one database.
pub(super) struct Pool {
    pool: pool::Pool<MySqlConnection>,
    options: MySqlConnectOptions,
    /// The database's name.
    pub(super) name: String,
    /// `host:port/name`, for messages.
    place: String,
}

impl Pool {
    /// Reads the URL and makes the first connection.
    pub(super) async fn open(settings: &conf::Databases, wait: Duration) -> Result<Self> {
        // The parser's own words may repeat the URL, so they are not shown.
        let options = MySqlConnectOptions::from_str(settings.url.expose())
            .map_err(|_| bad_url("it cannot be read"))?;
        let name = options.get_database().ok_or_else(|| bad_url("it names no database"))?;
        let name = name.to_owned();
        let options = with_session(options, wait);
        let place = format!("{}:{}/{name}", options.get_host(), options.get_port());
        let mut first = connect(&options, &place).await?;
        check_version(&mut first, &place).await?;
        first.close().await.ok();
        let limits = Limits {
            connections: settings.connections_max.max(1),
            wait,
            trusted_idle: Some(TRUSTED_IDLE),
            idle_max: Some(IDLE_MAX),
            life_max: Some(LIFE_MAX),
        };
        let pool = pool::Pool::new(options.clone(), limits);
        Ok(Self { pool, options, name, place })
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<Wire> {
        self.pool.acquire().await.map(Wire::Mysql)
    }

    pub(super) fn counts(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// A connection outside the pool; dropping it closes it.
    pub(super) async fn separate(&self) -> Result<MySqlConnection> {
        connect(&self.options, &self.place).await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// What the program `mariadb` is started with, and the password taken out of `url`.
pub(super) fn shell_arguments(url: &str) -> Result<(Vec<String>, Option<Secret>)> {
    let (url, password) = without_password(url)?;
    let options = MySqlConnectOptions::from_str(&url).map_err(|_| bad_url("it cannot be read"))?;
    let mut arguments = match options.get_socket() {
        Some(socket) => vec![format!("--socket={}", socket.display())],
        None => vec![
            "--protocol=tcp".to_owned(),
            format!("--host={}", options.get_host()),
            format!("--port={}", options.get_port()),
        ],
    };
    arguments.push(format!("--user={}", options.get_username()));
    arguments.extend(options.get_database().map(|name| format!("--database={name}")));
    Ok((arguments, password))
}

/// What every session is told in the one statement that sqlx begins it with.
fn with_session(options: MySqlConnectOptions, wait: Duration) -> MySqlConnectOptions {
    let seconds = wait.as_secs().max(1);
    // sqlx writes `time_zone='{this}'` among other settings, and has no other place for more.
    let session = format!(
        "+00:00', sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {seconds}, \
         lock_wait_timeout = {seconds}, max_recursive_iterations = {RECURSION_MAX}, \
         tx_isolation = 'READ-COMMITTED"
    );
    options
        .charset("utf8mb4")
        .collation(COLLATION)
        .timezone(session)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
}

async fn connect(options: &MySqlConnectOptions, place: &str) -> Result<MySqlConnection> {
    let words = format!("cannot connect to MariaDB at {place}");
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(sqlx::Error::Io(failed))) => {
            Err(Error::because(Kind::DatabaseUnavailable, words, failed))
        }
        Ok(Err(sqlx::Error::Database(failed))) => Err(refusal(words, failed, place)),
        Ok(Err(failed)) => Err(Error::because(Kind::DatabaseUnavailable, words, failed)),
        Err(_) => Err(Error::of(
            Kind::DatabaseUnavailable,
            format!("{words}: no answer in {} s", CONNECT_TIMEOUT.as_secs()),
        )),
    }
}

/// MySQL does not know the collation: it is refused with the very first statement.
fn refusal(words: String, failed: Box<dyn sqlx::error::DatabaseError>, place: &str) -> Error {
    let unknown = failed.message().contains(COLLATION);
    if unknown {
        unsupported(place, "another server")
    } else {
        Error::because(Kind::DatabaseUnavailable, words, failed)
    }
}

async fn check_version(connection: &mut MySqlConnection, place: &str) -> Result<()> {
    let version: String = sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(connection)
        .await
        .map_err(super::error::translate)?;
    if is_supported(&version) { Ok(()) } else { Err(unsupported(place, &version)) }
}

fn unsupported(place: &str, version: &str) -> Error {
    let (major, minor) = VERSION_MIN;
    Error::of(
        Kind::Settings,
        format!(
            "the server at {place} is {version}: of MySQL's family MariaDB {major}.{minor} and \
             later is supported"
        ),
    )
}

/// Whether `VERSION()` is that of a MariaDB which is new enough: `10.11.14-MariaDB-0+deb12u2`.
fn is_supported(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version.contains("MariaDB") && found >= VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, expected: bool) {
        assert_eq!(is_supported(version), expected, "{version}");
    }

    #[test]
    fn a_version_is_supported_or_not() {
        check("10.11.14-MariaDB-0+deb12u2", true);
        check("10.11.0-MariaDB", true);
        check("11.4.2-MariaDB-log", true);
        check("10.6.29-MariaDB", false);
        check("9.1.0", false);
        check("8.4.2-mysql", false);
        check("", false);
    }

    #[test]
    fn the_shell_is_told_all_but_the_password() {
        let check = |url: &str, expected: &[&str], password: Option<&str>| {
            let (arguments, taken) = shell_arguments(url).unwrap();
            assert_eq!(arguments, expected);
            assert_eq!(taken.as_ref().map(Secret::expose), password);
        };
        check(
            "mysql://ann:p%40ss@db/shop",
            &["--protocol=tcp", "--host=db", "--port=3306", "--user=ann", "--database=shop"],
            Some("p@ss"),
        );
        check(
            "mariadb://ann@localhost/shop?socket=/run/db.sock",
            &["--socket=/run/db.sock", "--user=ann", "--database=shop"],
            None,
        );
    }
}
