//! How far a migration got that is not undone as a whole: every one on MariaDB, where no rollback
//! undoes DDL, and elsewhere one that says `atomic = false`.
//!
//! Flow: `run` notes that it begins → each operation and its number → the record, and the note
//! goes. What finds a note goes on after the operations that are done; that which was interrupted
//! is done again (`schema::again`), because some of its statements may have run.
//!
//! Invariants:
//! - At most one migration is unfinished: who finds one finishes it before anything else.
//! - One of which no operation is done may be given up for another plan: what its first operation
//!   may have done is taken back.
//! - On MariaDB a function, and SQL by hand without DDL, is kept together with its number or not at
//!   all; SQL by hand with DDL in it may run again. Elsewhere a function and SQL by hand run
//!   outside a transaction, as was asked for, and may run again.

use sea_query::{Alias, Expr, OnConflict, Query};

use crate::db::{Connection, Sql};
use crate::error::{Error, Kind as ErrorKind, Result};

use super::plan::Step;
use super::schema::Dialect;
use super::{Migration, MigrationKey, recorder};

/// Name of the table.
const TABLE: &str = "hulse_migrations_unfinished";

/// A migration that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) key: MigrationKey,
    pub(super) backwards: bool,
    /// How many of its operations are done.
    done: i64,
    /// How many it has.
    total: i64,
}

/// Whether it is noted how far a migration got.
pub(super) fn is_noted(connection: &Connection, migration: &Migration) -> bool {
    !migration.atomic || Dialect::from(connection.dialect()) == Dialect::Mysql
}

/// Makes the table if it is not there.
pub(super) async fn prepare(connection: &Connection) -> Result<()> {
    if recorder::has_table(connection, TABLE).await? {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS \"{TABLE}\" (\n    \"app\" varchar(255) NOT NULL,\n    \
         \"name\" varchar(255) NOT NULL,\n    \"backwards\" boolean NOT NULL,\n    \
         \"done\" bigint NOT NULL,\n    \"total\" bigint NOT NULL,\n    \
         PRIMARY KEY (\"app\", \"name\")\n)"
    );
    connection.execute(Sql::raw(sql)).await.map(drop)
}

/// The migration that was not finished.
pub(super) async fn find(connection: &Connection) -> Result<Option<Unfinished>> {
    if !recorder::has_table(connection, TABLE).await? {
        return Ok(None);
    }
    let columns = ["app", "name", "backwards", "done", "total"].map(Alias::new);
    let select = Query::select().columns(columns).from(TABLE).take();
    let rows = connection.fetch(connection.dialect().build(&select)).await?;
    let read = |row: &crate::db::Row| {
        Ok(Unfinished {
            key: MigrationKey { app: row.get(0)?, name: row.get(1)? },
            backwards: row.get(2)?,
            done: row.get(3)?,
            total: row.get(4)?,
        })
    };
    rows.first().map(read).transpose()
}

/// The migration that was begun, of which nothing is done, and that `plan` gives up; an error if
/// one is unfinished that `plan` does not finish.
pub(super) async fn given_up(
    connection: &Connection,
    plan: &[Step<'_>],
) -> Result<Option<Unfinished>> {
    let Some(found) = find(connection).await? else { return Ok(None) };
    if plan.iter().any(|&step| found.is(step)) {
        return Ok(None);
    }
    let Unfinished { key, backwards, done, total } = &found;
    if *done == 0 {
        return Ok(Some(found));
    }
    let (what, how) = match backwards {
        false => ("applying", format!("{} {}", key.app, key.name)),
        true => ("undoing", format!("{} to the one before it, or zero", key.app)),
    };
    Err(Error::of(
        ErrorKind::Migration,
        format!(
            "{what} {key} was interrupted after {done} of {total} operations, which stay done: \
             finish it first, with `manage migrate {how}`, or by hand and `--fake`"
        ),
    ))
}

/// How many operations of `step` are done; `None` if it was not begun.
pub(super) async fn done(
    connection: &Connection,
    step: Step<'_>,
    total: usize,
) -> Result<Option<usize>> {
    let found = find(connection).await?;
    let Some(found) = found.filter(|found| found.is(step)) else { return Ok(None) };
    if found.done > 0 && i64::try_from(total).ok() != Some(found.total) {
        let words = format!(
            "migration {}: it was interrupted when it had {} operations, and has {total} now: \
             restore its file and finish it first",
            found.key, found.total
        );
        return Err(Error::of(ErrorKind::Migration, words));
    }
    Ok(usize::try_from(found.done).ok())
}

/// Notes how many operations of `step` are done.
pub(super) async fn note(
    connection: &Connection,
    step: Step<'_>,
    (done, total): (usize, usize),
) -> Result<()> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let known = OnConflict::columns(["app", "name"].map(Alias::new))
        .update_column(Alias::new("done"))
        .to_owned();
    let key = &step.migration.key;
    let insert = Query::insert()
        .into_table(TABLE)
        .columns(["app", "name", "backwards", "done", "total"].map(Alias::new))
        .values_panic([
            Expr::value(key.app.as_str()),
            Expr::value(key.name.as_str()),
            Expr::value(step.backwards),
            Expr::value(number(done)),
            Expr::value(number(total)),
        ])
        .on_conflict(known)
        .take();
    connection.execute(connection.dialect().build(&insert)).await.map(drop)
}

/// Forgets what was noted: there is a record now.
pub(super) async fn forget(connection: &Connection) -> Result<()> {
    let delete = Query::delete().from_table(TABLE).take();
    connection.execute(connection.dialect().build(&delete)).await.map(drop)
}

impl Unfinished {
    fn is(&self, step: Step<'_>) -> bool {
        step.migration.key == self.key && step.backwards == self.backwards
    }
}
