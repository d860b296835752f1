//! Runs migrations: each in one transaction together with its record.
//!
//! Flow: [`migrate`] → the lock → `recorder::applied` → `Graph::plan` → for each migration
//! `schema::steps` → statements → `recorder` → commit.
//!
//! Invariants:
//! - One runner at a time on a database, across processes; who waited sees what the other has done.
//! - Both databases undo DDL with the transaction: a failed migration leaves nothing.
//! - While a SQLite table is made anew its foreign keys are off (a switch that works only outside a
//!   transaction), so that dropping the old table takes no rows of others with it; before the
//!   commit they are checked.

use std::collections::BTreeMap;

use crate::db::{Begin, Connection, Database, Sql};
use crate::error::{Error, Kind as ErrorKind, Result};

use super::graph::{Applied, Graph};
use super::plan::{Step as PlanStep, Target};
use super::recorder;
use super::schema::{self, Dialect, Rebuild, Step};
use super::{Migration, MigrationKey, Operation, ProjectState};

/// Name of the lock that keeps two runners apart.
const LOCK: &str = "migrations";

/// Whether renaming a SQLite table leaves what names it alone.
const LEGACY_ON: &str = "PRAGMA legacy_alter_table = ON";
const LEGACY_OFF: &str = "PRAGMA legacy_alter_table = OFF";

/// What a run tells while it works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// The whole plan, before its first step.
    Plan(&'a [PlanStep<'a>]),
    /// This step begins.
    Begin(PlanStep<'a>),
    /// This step is done, its record included.
    Done(PlanStep<'a>),
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only records, changes no table.
    pub fake: bool,
}

/// Brings the database to `target`; returns how many migrations were run or undone.
///
/// # Errors
/// Migrations are in conflict or their history has gaps; an operation does not fit or cannot be
/// undone; the database refuses a statement. What was done before the failing migration stays done,
/// that migration leaves nothing.
pub async fn migrate(
    database: &Database,
    graph: &Graph,
    target: &Target,
    options: Options,
    progress: &mut (dyn for<'a> FnMut(Progress<'a>) + Send),
) -> Result<usize> {
    let connection = database.connection();
    let lock = database.exclusive(LOCK).await?;
    recorder::prepare(&connection).await?;
    let mut applied = recorder::applied(&connection).await?;
    let plan = graph.plan(target, &applied)?;
    progress(Progress::Plan(&plan));
    let mut state = graph.state(|key| applied.contains(key))?;
    for &step in &plan {
        progress(Progress::Begin(step));
        let work = if step.backwards {
            undoing(graph, step.migration, &applied)?
        } else {
            doing(step.migration, &mut state)?
        };
        let work = if options.fake { Vec::new() } else { work };
        run(&connection, step, work).await?;
        if step.backwards {
            applied.remove(&step.migration.key);
        } else {
            applied.insert(step.migration.key.clone());
        }
        progress(Progress::Done(step));
    }
    drop(lock);
    Ok(plan.len())
}

/// What is applied on the database.
///
/// # Errors
/// The database cannot be read.
pub async fn applied(database: &Database) -> Result<Applied> {
    recorder::applied(&database.connection()).await
}

/// The statements of a migration as text, for `sqlmigrate`: one a line, with its operations as
/// comments.
///
/// # Errors
/// An operation does not fit or cannot be undone.
pub fn sql(
    dialect: crate::db::Dialect,
    graph: &Graph,
    migration: &Migration,
    backwards: bool,
) -> Result<String> {
    let before: Applied = {
        let needed = graph.forwards(std::slice::from_ref(&migration.key), &Applied::new());
        needed.into_iter().map(|migration| migration.key.clone()).collect()
    };
    let work = if backwards {
        undoing(graph, migration, &before)?
    } else {
        let mut state = graph.state(|key| before.contains(key) && *key != migration.key)?;
        doing(migration, &mut state)?
    };
    let mut text = String::from("BEGIN;\n");
    for (operation, states) in &work {
        text.push_str(&format!("--\n-- {}\n--\n", operation.describe()));
        let steps = steps(migration, operation, states, dialect.into())?;
        if steps.is_empty() {
            text.push_str("-- (no-op)\n");
        }
        for step in steps {
            text.push_str(&lines(step));
        }
    }
    text.push_str("COMMIT;\n");
    Ok(text)
}

fn lines(step: Step) -> String {
    match step {
        Step::Sql(sql) | Step::Script(sql) | Step::Alone(sql) => format!("{sql};\n"),
        Step::Rebuild(rebuild) => {
            rebuild.statements.into_iter().map(|sql| format!("{sql};\n")).collect()
        }
    }
}

/// An operation with the states before and after it.
type Work = (Operation, (ProjectState, ProjectState));

/// The operations of `migration`; `state` goes along.
fn doing(migration: &Migration, state: &mut ProjectState) -> Result<Vec<Work>> {
    let mut work = Vec::with_capacity(migration.operations.len());
    for operation in &migration.operations {
        let before = state.clone();
        let blame = |error| migration.blame(operation, error);
        operation.apply(&migration.key.app, state).map_err(blame)?;
        work.push((operation.clone(), (before, state.clone())));
    }
    Ok(work)
}

/// The operations that undo `migration`, given what is applied (it included).
fn undoing(graph: &Graph, migration: &Migration, applied: &Applied) -> Result<Vec<Work>> {
    let mut state = graph.state(|key| applied.contains(key) && *key != migration.key)?;
    let mut work = Vec::new();
    for (operation, (before, after)) in doing(migration, &mut state)? {
        let inverse = operation.inverse(&migration.key.app, &before);
        let inverse = inverse.map_err(|error| migration.blame(&operation, error))?;
        work.push((inverse, (after, before)));
    }
    work.reverse();
    Ok(work)
}

fn steps(
    migration: &Migration,
    operation: &Operation,
    (before, after): &(ProjectState, ProjectState),
    dialect: Dialect,
) -> Result<Vec<Step>> {
    let steps = schema::steps(operation, &migration.key.app, (before, after), dialect);
    steps.map_err(|error| migration.blame(operation, error))
}

/// Runs one migration, or undoes it, with its record.
async fn run(connection: &Connection, step: PlanStep<'_>, work: Vec<Work>) -> Result<()> {
    let dialect = Dialect::from(connection.dialect());
    let mut planned = Vec::with_capacity(work.len());
    for (operation, states) in &work {
        if let Operation::Run { function, .. } = operation {
            let words = format!("`run = \"{function}\"` needs a site, and this run has none");
            return Err(step.migration.blame(operation, Error::of(ErrorKind::Migration, words)));
        }
        planned.push((operation, steps(step.migration, operation, states, dialect)?));
    }
    let rebuilds = |(_, steps): &(&Operation, Vec<Step>)| {
        steps.iter().any(|step| matches!(step, Step::Rebuild(_)))
    };
    let rebuilds = planned.iter().any(rebuilds);
    in_transaction(connection, step, planned, rebuilds).await
}

async fn in_transaction(
    connection: &Connection,
    step: PlanStep<'_>,
    planned: Vec<(&Operation, Vec<Step>)>,
    rebuilds: bool,
) -> Result<()> {
    // The connection is not used again, whatever the switches are left at.
    let begin = Begin { unchecked_foreign_keys: rebuilds, ..Begin::default() };
    let transaction = connection.begin_with(begin).await?;
    let inside = transaction.connection();
    let orphans_before = if rebuilds { orphans(&inside).await? } else { BTreeMap::new() };
    for (operation, steps) in planned {
        let done = operate(&inside, steps).await;
        done.map_err(|error| step.migration.blame(operation, error))?;
    }
    if rebuilds {
        let known = |place: &(String, String)| orphans_before.get(place).copied().unwrap_or(0);
        let after = orphans(&inside).await?;
        if let Some(((table, parent), _)) = after.iter().find(|(place, n)| **n > known(place)) {
            return Err(Error::of(
                ErrorKind::Migration,
                format!(
                    "migration {}: rows of {table} would point to rows of {parent} that do not \
                     exist",
                    step.migration.key
                ),
            ));
        }
    }
    remember(&inside, &step.migration.key, step.backwards).await?;
    transaction
        .commit()
        .await
        .map_err(|error| error.context(format!("migration {}: committing", step.migration.key)))
}

async fn remember(connection: &Connection, key: &MigrationKey, backwards: bool) -> Result<()> {
    if backwards {
        recorder::forget(connection, key).await
    } else {
        recorder::record(connection, key).await
    }
}

/// Runs the steps of one operation, all plain statements in one go.
async fn operate(connection: &Connection, steps: Vec<Step>) -> Result<()> {
    let mut waiting: Vec<String> = Vec::new();
    for step in steps {
        match step {
            Step::Sql(sql) => waiting.push(sql),
            Step::Alone(sql) => {
                flush(connection, &mut waiting).await?;
                connection.execute(Sql::raw(sql)).await?;
            }
            // A comment at its end must not swallow the divider.
            Step::Script(sql) => waiting.push(format!("{sql}\n")),
            Step::Rebuild(rebuild) => {
                flush(connection, &mut waiting).await?;
                make_anew(connection, &rebuild).await?;
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
    for check in &rebuild.checks {
        let rows = connection.fetch(Sql::raw(check.sql.clone())).await?;
        if !rows.is_empty() {
            return Err(Error::of(ErrorKind::Migration, check.complaint.clone()));
        }
    }
    Ok(())
}

/// How many rows point to nothing, by their table and the one they point to.
async fn orphans(connection: &Connection) -> Result<BTreeMap<(String, String), i64>> {
    let sql = "SELECT \"table\", \"parent\", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2";
    let rows = connection.fetch(Sql::raw(sql)).await?;
    rows.iter().map(|row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).collect()
}
