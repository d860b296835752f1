//! One migration: its statements and functions with its record in one transaction.
//!
//! Flow: `executor` → [`Run::migration`] → statements, tables made anew, functions → `recorder`.
//!
//! Invariants:
//! - SQLite and PostgreSQL undo DDL with the transaction: a failed migration leaves nothing.
//! - MariaDB does not, nor does one that says `atomic = false`: there each operation stands alone,
//!   it is recorded after the last, and a later run goes on (`unfinished`).
//! - While a SQLite table is made anew its foreign keys are off (a switch that works only outside a
//!   transaction), so that dropping the old table takes no rows of others with it; before the
//!   commit they are checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::db::{Begin, Connection, Sql};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::site::Site;

use super::executor::{On, Options};
use super::functions::DataMigrations;
use super::graph::{Applied, Graph};
use super::plan::Step as PlanStep;
use super::schema::{self, Check, Dialect, Rebuild, Step};
use super::unfinished::Unfinished;
use super::work::{self, Work};
use super::{History, Operation, fake, recorder, unfinished};

/// Whether renaming a SQLite table leaves what names it alone.
const LEGACY_ON: &str = "PRAGMA legacy_alter_table = ON";
const LEGACY_OFF: &str = "PRAGMA legacy_alter_table = OFF";

/// What all migrations of one run share.
pub(super) struct Run<'a> {
    pub(super) on: On<'a>,
    pub(super) functions: &'a DataMigrations,
    pub(super) options: Options,
}

/// An operation with the statements it comes to.
type Todo<'a> = (&'a Work, Vec<Step>);

/// What is remembered at the end of a transaction.
#[derive(Clone, Copy)]
enum End {
    /// That so many operations, of so many, are done.
    Noted(usize, usize),
    /// That the whole migration is.
    Recorded,
}

/// What runs inside a transaction.
#[derive(Clone, Copy)]
struct Inside<'a> {
    connection: &'a Connection,
    site: Option<&'a Site>,
}

impl Run<'_> {
    /// Sees that every function the plan needs is there.
    pub(super) fn check(&self, plan: &[PlanStep<'_>], all: &[Vec<Work>]) -> Result<()> {
        for (step, work) in plan.iter().zip(all) {
            for one in work {
                let Operation::Run { function, .. } = &one.operation else { continue };
                let blame = |error| step.migration.blame(&one.operation, error);
                let function = self.functions.named(function);
                if self.on.site().is_none() {
                    let words = "it needs a site, and this run has only a database";
                    return Err(blame(Error::of(ErrorKind::Migration, words)));
                }
                function.map_err(blame)?;
            }
        }
        Ok(())
    }

    /// Runs one migration, or undoes it, with its record; whether only the record was made.
    pub(super) async fn migration(&self, step: PlanStep<'_>, work: &[Work]) -> Result<bool> {
        let connection = self.on.database().connection();
        let is_there = self.options.fake_initial
            && !step.backwards
            && fake::is_there(&connection, step.migration, work).await?;
        if self.options.fake || is_there {
            let transaction = connection.begin().await?;
            remember(&transaction.connection(), step).await?;
            transaction.commit().await?;
            return Ok(true);
        }
        let dialect = Dialect::from(connection.dialect());
        let steps = work.iter().map(|one| Ok((one, one.steps(step.migration, dialect)?)));
        let todo: Vec<Todo<'_>> = steps.collect::<Result<_>>()?;
        if unfinished::is_noted(&connection, step.migration) {
            self.one_by_one(&connection, step, todo).await?;
        } else {
            self.in_transaction(step, &todo, End::Recorded).await?;
        }
        Ok(false)
    }

    async fn in_transaction(&self, step: PlanStep<'_>, todo: &[Todo<'_>], end: End) -> Result<()> {
        let rebuilds = todo.iter().any(|(_, steps)| has_rebuild(steps));
        let work = async |inside: Inside<'_>| {
            let known = if rebuilds { orphans(inside.connection).await? } else { BTreeMap::new() };
            for (work, steps) in todo {
                let done = self.operate(inside, work, steps).await;
                done.map_err(|error| step.migration.blame(&work.operation, error))?;
            }
            if rebuilds {
                let found = no_new_orphans(inside.connection, &known).await;
                found
                    .map_err(|error| error.context(format!("migration {}", step.migration.key)))?;
            }
            match end {
                End::Noted(done, total) => {
                    unfinished::note(inside.connection, step, (done, total)).await
                }
                End::Recorded => remember(inside.connection, step).await,
            }
        };
        let committing =
            |error: Error| error.context(format!("migration {}: committing", step.migration.key));
        // The connection is not used again, whatever the switches are left at.
        let begin = Begin { unchecked_foreign_keys: rebuilds, ..Begin::default() };
        match self.on {
            On::Database(database) => {
                let transaction = database.connection().begin_with(begin).await?;
                let connection = transaction.connection();
                work(Inside { connection: &connection, site: None }).await?;
                transaction.commit().await.map_err(committing)
            }
            On::Site(site) => {
                let mut is_done = false;
                let done = site.atomic_begun(begin, async |inner| {
                    let connection = inner.db().clone();
                    work(Inside { connection: &connection, site: Some(&inner) }).await?;
                    is_done = true;
                    Ok(())
                });
                let done = done.await;
                if is_done { done.map_err(committing) } else { done }
            }
        }
    }

    /// Each operation on its own: with it is noted that it is done, so that a later run goes on
    /// behind it.
    async fn one_by_one(
        &self,
        connection: &Connection,
        step: PlanStep<'_>,
        mut todo: Vec<Todo<'_>>,
    ) -> Result<()> {
        let total = todo.len();
        let dialect = Dialect::from(connection.dialect());
        let first = match unfinished::done(connection, step, total).await? {
            None => 0,
            Some(done) => {
                todo.iter_mut().skip(done).take(1).for_each(|(_, steps)| again(steps, dialect));
                done
            }
        };
        unfinished::note(connection, step, (first, total)).await?;
        let why = match dialect {
            Dialect::Mysql => "MariaDB undoes no DDL",
            Dialect::Sqlite | Dialect::Postgres => "it is not atomic",
        };
        for (place, one) in todo.iter().enumerate().skip(first) {
            let done = self.noted(connection, step, one, (place + 1, total)).await;
            done.map_err(|error| {
                error.context(format!(
                    "{why}, so {place} of the {total} operations of {} are done and stay; the \
                     next `migrate` goes on behind them",
                    step.migration.key
                ))
            })?;
        }
        self.in_transaction(step, &[], End::Recorded).await
    }

    /// One operation of several that stand alone, and that so many are done then.
    async fn noted(
        &self,
        connection: &Connection,
        step: PlanStep<'_>,
        one: &Todo<'_>,
        done: (usize, usize),
    ) -> Result<()> {
        let (work, steps) = one;
        let is_asked_to = !step.migration.atomic
            && Dialect::from(connection.dialect()) != Dialect::Mysql
            && (work.is_by_hand() || steps.iter().any(|step| matches!(step, Step::Alone(_))));
        if !is_asked_to {
            let end = End::Noted(done.0, done.1);
            return self.in_transaction(step, std::slice::from_ref(one), end).await;
        }
        let inside = Inside { connection, site: self.on.site() };
        let operated = self.operate_alone(inside, work, steps).await;
        operated.map_err(|error| step.migration.blame(&work.operation, error))?;
        unfinished::note(connection, step, done).await
    }

    /// Takes back what the first operation of a migration may have done that was begun and given
    /// up: nobody knows after which of its statements.
    pub(super) async fn take_back(
        &self,
        graph: &Graph,
        applied: &Applied,
        begun: &Unfinished,
    ) -> Result<()> {
        let connection = self.on.database().connection();
        let dialect = Dialect::from(connection.dialect());
        let mut state = Arc::new(graph.state(|key| applied.contains(key) && *key != begun.key)?);
        let work = graph.get(&begun.key).map(|migration| {
            let work = match begun.backwards {
                true => work::doing(migration, &mut state),
                false => work::undone(migration, &mut state),
            };
            let last = work?.pop().filter(|one| !one.is_by_hand());
            last.map(|one| one.steps(migration, dialect)).transpose()
        });
        match work {
            Some(Ok(Some(mut steps))) => {
                again(&mut steps, dialect);
                steps.retain(|step| !matches!(step, Step::Check(_)));
                // Elsewhere an operation is done whole or not at all, unless it stands alone.
                if dialect != Dialect::Mysql {
                    steps.retain(|step| matches!(step, Step::Alone(_)));
                }
                let done = operate(&connection, &steps).await;
                let words = || format!("taking back what was begun of {}", begun.key);
                done.map_err(|error| error.context(words()))?;
            }
            _ => tracing::warn!(
                "{} was begun and given up; of its first operation something may be left",
                begun.key
            ),
        }
        unfinished::forget(&connection).await
    }

    async fn operate(&self, inside: Inside<'_>, work: &Work, steps: &[Step]) -> Result<()> {
        self.function(inside, work).await?;
        operate(inside.connection, steps).await
    }

    async fn operate_alone(&self, inside: Inside<'_>, work: &Work, steps: &[Step]) -> Result<()> {
        self.function(inside, work).await?;
        if matches!(work.operation, Operation::Run { .. }) {
            // A function's steps only settle what waits for a commit, and there is none.
            return Ok(());
        }
        for step in steps {
            match step {
                Step::Sql(sql) | Step::Script(sql) | Step::Alone(sql) => {
                    inside.connection.script(sql).await?;
                }
                Step::Check(found) => check(inside.connection, found).await?,
                // Only operations by hand and concurrent ones come here; they make nothing anew.
                Step::Rebuild(_) => {}
            }
        }
        Ok(())
    }

    /// Calls the function that a piece of work is, if it is one.
    async fn function(&self, inside: Inside<'_>, work: &Work) -> Result<()> {
        let Operation::Run { function, .. } = &work.operation else { return Ok(()) };
        match (self.functions.named(function)?, inside.site) {
            (Some(function), Some(site)) => {
                let history = History::new(Arc::clone(&work.before), inside.connection.clone());
                function.run(site, &history).await
            }
            _ => Ok(()),
        }
    }
}

/// Makes statements such that they may have run before. Those of a transaction that holds what is
/// noted with them have not, so only MariaDB's and those that stand alone are changed.
fn again(steps: &mut Vec<Step>, dialect: Dialect) {
    *steps = std::mem::take(steps)
        .into_iter()
        .flat_map(|step| match step {
            Step::Sql(sql) if dialect == Dialect::Mysql => vec![Step::Sql(schema::again(&sql))],
            Step::Alone(sql) => schema::again_alone(&sql).into_iter().map(Step::Alone).collect(),
            other => vec![other],
        })
        .collect();
}

fn has_rebuild(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Rebuild(_)))
}

async fn remember(connection: &Connection, step: PlanStep<'_>) -> Result<()> {
    let migration = step.migration;
    let keys = migration.replaces.iter().chain([&migration.key]);
    for key in keys {
        if step.backwards {
            recorder::forget(connection, key).await?;
        } else {
            recorder::record(connection, key).await?;
        }
    }
    match unfinished::is_noted(connection, migration) {
        true => unfinished::forget(connection).await,
        false => Ok(()),
    }
}

/// Runs the steps of one operation, all plain statements in one go.
async fn operate(connection: &Connection, steps: &[Step]) -> Result<()> {
    let mut waiting: Vec<String> = Vec::new();
    for step in steps {
        match step {
            Step::Sql(sql) => waiting.push(sql.clone()),
            Step::Alone(sql) => {
                flush(connection, &mut waiting).await?;
                connection.execute(Sql::raw(sql.clone())).await?;
            }
            Step::Check(found) => {
                flush(connection, &mut waiting).await?;
                check(connection, found).await?;
            }
            // A comment at its end must not swallow the divider.
            Step::Script(sql) => waiting.push(format!("{sql}\n")),
            Step::Rebuild(rebuild) => {
                flush(connection, &mut waiting).await?;
                make_anew(connection, rebuild).await?;
            }
        }
    }
    flush(connection, &mut waiting).await
}

async fn flush(connection: &Connection, waiting: &mut Vec<String>) -> Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let script = waiting.join(";\n");
    waiting.clear();
    connection.script(&script).await
}

/// Makes a SQLite table anew, keeping the indexes and triggers we know nothing about.
async fn make_anew(connection: &Connection, rebuild: &Rebuild) -> Result<()> {
    let switch = connection.fetch(Sql::raw("PRAGMA foreign_keys")).await?;
    if switch.first().map(|row| row.get::<i64>(0)).transpose()? != Some(0) {
        let words = format!("making table {} anew while foreign keys are on", rebuild.table);
        return Err(Error::of(ErrorKind::Migration, words));
    }
    let table = rebuild.table.replace('\'', "''");
    let rows = connection
        .fetch(Sql::raw(format!(
            "SELECT name, sql FROM sqlite_schema WHERE tbl_name = '{table}' \
             AND type IN ('index', 'trigger') AND sql IS NOT NULL"
        )))
        .await?;
    // Otherwise views and triggers that name the table would be found wrong while it is away.
    let mut statements = vec![LEGACY_ON.to_owned()];
    statements.extend(rebuild.statements.iter().cloned());
    statements.push(LEGACY_OFF.to_owned());
    for row in &rows {
        if !rebuild.indexes.contains(&row.get::<String>(0)?) {
            statements.push(row.get(1)?);
        }
    }
    connection.script(&statements.join(";\n")).await?;
    for found in &rebuild.checks {
        check(connection, found).await?;
    }
    Ok(())
}

async fn check(connection: &Connection, check: &Check) -> Result<()> {
    match connection.fetch(Sql::raw(check.sql.clone())).await?.is_empty() {
        true => Ok(()),
        false => Err(Error::of(ErrorKind::Migration, check.complaint.clone())),
    }
}

/// How many rows point to nothing, by their table and the one they point to.
async fn orphans(connection: &Connection) -> Result<BTreeMap<(String, String), i64>> {
    let sql = "SELECT \"table\", \"parent\", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2";
    let rows = connection.fetch(Sql::raw(sql)).await?;
    rows.iter().map(|row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).collect()
}

/// An error if rows point to nothing that did not before.
async fn no_new_orphans(
    connection: &Connection,
    known: &BTreeMap<(String, String), i64>,
) -> Result<()> {
    let before = |place: &(String, String)| known.get(place).copied().unwrap_or(0);
    let after = orphans(connection).await?;
    let Some(((table, parent), _)) = after.iter().find(|(place, n)| **n > before(place)) else {
        return Ok(());
    };
    let words = format!("rows of {table} would point to rows of {parent} that do not exist");
    Err(Error::of(ErrorKind::Migration, words))
}
