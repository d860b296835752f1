//! PostgreSQL: one pool a process.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use crate::conf;
use crate::db::pool::{Limits, PoolCounts};
use crate::db::pools::bad_url;
use crate::db::wire::Wire;
use crate::error::{Error, Kind, Result};

/// How long the first connection may take before the server counts as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is asked whether it still lives before it is used: a
/// restarted server costs nobody an error, and a busy site no extra round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Idle connections beyond this age are closed.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);

/// Connections older than this are replaced: the server's side of one only grows.
const LIFE_MAX: Duration = Duration::from_secs(30 * 60);

/// The connections to one database.
pub(super) struct Pool {
    pool: super::pool::Pool<PgConnection>,
    options: PgConnectOptions,
    /// `host:port/name`, for messages.
    place: String,
}

impl Pool {
    /// Reads the URL and makes the first connection.
    pub(super) async fn open(settings: &conf::Databases, wait: Duration) -> Result<Self> {
        // The parser's own words may repeat the URL, so they are not shown.
        let options = PgConnectOptions::from_str(settings.url.expose())
            .map_err(|_| bad_url("it cannot be read"))?
            .application_name("hulse");
        let place = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username())
        );
        connect(&options, &place).await?.close().await.ok();
        let limits = Limits {
            connections: settings.connections_max.max(1),
            wait,
            trusted_idle: Some(TRUSTED_IDLE),
            idle_max: Some(IDLE_MAX),
            life_max: Some(LIFE_MAX),
        };
        let pool = super::pool::Pool::new(options.clone(), limits);
        Ok(Self { pool, options, place })
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<Wire> {
        self.pool.acquire().await.map(Wire::Postgres)
    }

    pub(super) fn counts(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// A connection outside the pool; dropping it closes it.
    pub(super) async fn separate(&self) -> Result<PgConnection> {
        connect(&self.options, &self.place).await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn connect(options: &PgConnectOptions, place: &str) -> Result<PgConnection> {
    let words = format!("cannot connect to PostgreSQL at {place}");
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(sqlx::Error::Io(failed))) => {
            Err(Error::because(Kind::DatabaseUnavailable, words, failed))
        }
        Ok(Err(sqlx::Error::Database(failed))) => {
            Err(Error::because(Kind::DatabaseUnavailable, words, failed))
        }
        Ok(Err(failed)) => Err(Error::because(Kind::DatabaseUnavailable, words, failed)),
        Err(_) => Err(Error::of(
            Kind::DatabaseUnavailable,
            format!("{words}: no answer in {} s", CONNECT_TIMEOUT.as_secs()),
        )),
    }
}
