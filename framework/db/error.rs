//! What sqlx reports, in the framework's words.

use sqlx::error::{DatabaseError, ErrorKind};

use crate::error::{Error, Kind};

/// PostgreSQL's "in failed SQL transaction" and its like never get here: see `transaction`.
///
/// SQLSTATE classes and codes that mean "not now": connection failures, too many connections,
/// shutdown, start-up (PostgreSQL 18 manual, appendix A).
const SQLSTATE_AWAY: [&str; 5] = ["08", "53", "57P01", "57P02", "57P03"];

/// SQLite's primary codes that mean the same: BUSY, LOCKED, IOERR, FULL, CANTOPEN.
const SQLITE_AWAY: [i32; 5] = [5, 6, 10, 13, 14];

/// SQLite's BUSY and LOCKED: somebody else holds the lock; try again.
const SQLITE_LOCKED: [i32; 2] = [5, 6];

/// MariaDB's numbers that mean the same: too many connections, shutdown, unknown user or database,
/// no right to it, blocked host, too many connections of a user, killed connection.
#[cfg(feature = "mysql")]
const MYSQL_AWAY: [u16; 11] = [1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1927, 3159];

/// Of these, those with which a server ends a session instead of running its statement.
#[cfg(feature = "mysql")]
const MYSQL_ENDED: [u16; 2] = [1053, 1927];

/// MariaDB's number for two transactions that waited for each other; its SQLSTATE is 40001.
const DEADLOCK: u16 = 1213;

/// MariaDB's number for a lock that was not free, or not in time.
const LOCK_WAIT: u16 = 1205;

/// Turns sqlx's error into ours.
pub(super) fn translate(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => refused(error),
        sqlx::Error::PoolTimedOut => Error::of(
            Kind::DatabaseUnavailable,
            "waited too long for a database connection: all are busy or the database is away",
        ),
        sqlx::Error::PoolClosed => {
            Error::of(Kind::DatabaseUnavailable, "the database is already closed")
        }
        sqlx::Error::Encode(error) => Error::of(Kind::Field, error.to_string()),
        error @ (sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed) => {
            Error::because(Kind::DatabaseUnavailable, "cannot talk to the database", error)
        }
        error => Error::because(Kind::Database, "the database answered something else", error),
    }
}

fn refused(error: Box<dyn DatabaseError>) -> Error {
    let (kind, words) = match error.kind() {
        ErrorKind::UniqueViolation
        | ErrorKind::ForeignKeyViolation
        | ErrorKind::NotNullViolation
        | ErrorKind::CheckViolation => (Kind::Integrity, "the database refused a row"),
        _ if is_away(error.as_ref()) => {
            (Kind::DatabaseUnavailable, "the database is not available")
        }
        _ => (Kind::Database, "the database refused a statement"),
    };
    Error::because(kind, words, error)
}

fn is_away(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    #[cfg(feature = "mysql")]
    if let Some(number) = mysql_number(error) {
        return MYSQL_AWAY.contains(&number);
    }
    match sqlite_code(error) {
        Some(number) => SQLITE_AWAY.contains(&number),
        None => SQLSTATE_AWAY.iter().any(|away| code.starts_with(away)),
    }
}

/// The primary result code if the error is SQLite's.
fn sqlite_code(error: &dyn DatabaseError) -> Option<i32> {
    #[cfg(feature = "sqlite")]
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The lower byte is the primary code; the rest says more.
        return error.code()?.parse::<i32>().ok().map(|code| code & 0xff);
    }
    let _ = error;
    None
}

/// The number if the error is MariaDB's.
fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return Some(error.number());
    }
    let _ = error;
    None
}

/// Whether another connection holds SQLite's lock, so that trying again may help.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    sqlite_code(error).is_some_and(|code| SQLITE_LOCKED.contains(&code))
}

/// Whether the connection broke before or while the statement ran.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed)
        || is_ended_session(error)
        || is_stale_plan(error)
}

/// Whether PostgreSQL refuses a prepared statement because a migration has changed its columns. On
/// this connection it would do so for ever.
pub(super) fn is_stale_plan(error: &sqlx::Error) -> bool {
    #[cfg(feature = "postgres")]
    {
        use sqlx::postgres::PgDatabaseError;
        let error = error.as_database_error();
        let error = error.and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
        error.is_some_and(|error| error.routine() == Some("RevalidateCachedQuery"))
    }
    #[cfg(not(feature = "postgres"))]
    {
        let _ = error;
        false
    }
}

/// Whether the server ended the session instead of running the statement (SQLSTATE 57P01 to 57P03),
/// so that even a writing one may be repeated. PostgreSQL holds this back while it commits.
pub(super) fn is_ended_session(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    #[cfg(feature = "mysql")]
    if let Some(number) = mysql_number(error) {
        return MYSQL_ENDED.contains(&number);
    }
    sqlite_code(error).is_none() && error.code().is_some_and(|code| code.starts_with("57P"))
}

impl Error {
    /// The database could not be reached, or had no connection free in time.
    ///
    /// If you see this, look whether the database runs and `database.url` is right; under load,
    /// raise `database.connections_max`.
    #[must_use]
    pub fn is_database_unavailable(&self) -> bool {
        self.kind() == Kind::DatabaseUnavailable
    }

    /// A unique, foreign key, check or not-null constraint refused a row.
    #[must_use]
    pub fn is_integrity(&self) -> bool {
        self.kind() == Kind::Integrity
    }

    /// A unique constraint refused a row: there is one with this value already.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.is_integrity() && self.database_error().is_some_and(|e| e.is_unique_violation())
    }

    /// A foreign key refused a row: what it refers to is not there, or is still referred to.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        self.is_integrity() && self.database_error().is_some_and(|e| e.is_foreign_key_violation())
    }

    /// A check constraint refused a row.
    #[must_use]
    pub fn is_check_violation(&self) -> bool {
        self.is_integrity() && self.database_error().is_some_and(|e| e.is_check_violation())
    }

    /// A transaction could not go on as if it were alone: another changed what it relies on. Run it
    /// again from its beginning, as `Site::atomic_with` does when asked to. Never on SQLite, where
    /// one writes at a time.
    #[must_use]
    pub fn is_serialization_failure(&self) -> bool {
        self.has_code(&["40001"])
    }

    /// Two transactions waited for each other and the database ended this one. Run it again.
    /// Never on SQLite.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        self.has_code(&["40P01"]) || self.has_number(DEADLOCK)
    }

    /// A row or table was locked by another and the statement was not to wait (`nowait`), or waited
    /// too long. Never on SQLite.
    #[must_use]
    pub fn is_lock_unavailable(&self) -> bool {
        self.has_code(&["55P03"]) || self.has_number(LOCK_WAIT)
    }

    /// A transaction that must be the outermost one was opened inside another.
    ///
    /// If you see this, take the `durable` or the isolation level away, or call it from outside any
    /// `atomic` block.
    #[must_use]
    pub fn is_nested_transaction(&self) -> bool {
        self.kind() == Kind::NestedTransaction
    }

    /// A handle was used after its transaction ended, or after a statement in it failed.
    ///
    /// If you see this, use the site that `atomic` gives its closure, inside the closure only; to
    /// go on after an error inside a transaction, put what may fail into an `atomic` of its own.
    #[must_use]
    pub fn is_transaction_closed(&self) -> bool {
        self.kind() == Kind::TransactionClosed
    }

    /// Whether it is MariaDB's error of this number.
    fn has_number(&self, number: u16) -> bool {
        self.database_error().and_then(mysql_number) == Some(number)
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        let code = self.database_error().and_then(DatabaseError::code);
        code.is_some_and(|code| codes.contains(&&*code))
    }

    fn database_error(&self) -> Option<&dyn DatabaseError> {
        let source: &(dyn std::error::Error + 'static) = self.source()?;
        source.downcast_ref::<Box<dyn DatabaseError>>().map(AsRef::as_ref)
    }
}
