//! What a plan comes to: for each migration its operations with the states around them.
//!
//! Pure: all that can be refused without a database is refused here, before anything runs.

use std::sync::Arc;

use crate::error::{Error, Kind as ErrorKind, Result};

use super::graph::{Applied, Graph};
use super::plan::Step as PlanStep;
use super::schema::{self, Dialect, Step};
use super::{Migration, MigrationKey, Operation, ProjectState};

/// An operation with the states before and after it.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) operation: Operation,
    pub(super) before: Arc<ProjectState>,
    pub(super) after: Arc<ProjectState>,
}

impl Work {
    /// It, or what it does to the database if that has functions in it.
    fn parts(self, migration: &Migration) -> Result<Vec<Self>> {
        let Operation::Separate { database, .. } = &self.operation else { return Ok(vec![self]) };
        if !database.iter().any(|one| matches!(one, Operation::Run { .. })) {
            return Ok(vec![self]);
        }
        let mut state = Arc::clone(&self.before);
        let mut parts = Vec::with_capacity(database.len());
        for operation in database {
            let before = Arc::clone(&state);
            let mut after = ProjectState::clone(&state);
            let applied = operation.apply(&migration.key.app, &mut after);
            applied.map_err(|error| migration.blame(operation, error))?;
            state = Arc::new(after);
            parts.push(Self { operation: operation.clone(), before, after: Arc::clone(&state) });
        }
        Ok(parts)
    }

    /// Whether a person wrote what it does.
    pub(super) fn is_by_hand(&self) -> bool {
        matches!(
            self.operation,
            Operation::Run { .. } | Operation::RunSql { .. } | Operation::Separate { .. }
        )
    }

    /// Its statements; a function has none.
    pub(super) fn steps(&self, migration: &Migration, dialect: Dialect) -> Result<Vec<Step>> {
        let states = (&*self.before, &*self.after);
        let steps = schema::steps(&self.operation, &migration.key.app, states, dialect);
        let steps = steps.map_err(|error| migration.blame(&self.operation, error))?;
        if migration.atomic && steps.iter().any(|step| matches!(step, Step::Alone(_))) {
            let words = "`concurrently` is not possible in a transaction: add `atomic = false` at \
                         the top of the file";
            let error = Error::of(ErrorKind::Migration, words);
            return Err(migration.blame(&self.operation, error));
        }
        Ok(steps)
    }
}

/// The work of each step of `plan`, given what is applied.
pub(super) fn planned(
    graph: &Graph,
    plan: &[PlanStep<'_>],
    applied: &Applied,
) -> Result<Vec<Vec<Work>>> {
    if plan.iter().any(|step| step.backwards) {
        return undoing(graph, plan, applied);
    }
    let mut state = Arc::new(graph.state(|key| applied.contains(key))?);
    plan.iter().map(|step| doing(step.migration, &mut state)).collect()
}

/// The operations of `migration`; `state` goes along.
pub(super) fn doing(migration: &Migration, state: &mut Arc<ProjectState>) -> Result<Vec<Work>> {
    let mut work = Vec::with_capacity(migration.operations.len());
    for operation in &migration.operations {
        let before = Arc::clone(state);
        let mut after = ProjectState::clone(state);
        let applied = operation.apply(&migration.key.app, &mut after);
        applied.map_err(|error| migration.blame(operation, error))?;
        *state = Arc::new(after);
        let whole = Work { operation: operation.clone(), before, after: Arc::clone(state) };
        work.extend(whole.parts(migration)?);
    }
    Ok(work)
}

/// What undoes each of `plan`, which is all backwards: the states are those on the way there.
fn undoing(graph: &Graph, plan: &[PlanStep<'_>], applied: &Applied) -> Result<Vec<Vec<Work>>> {
    let is_undone = |key: &MigrationKey| plan.iter().any(|step| step.migration.key == *key);
    let mut state = Arc::new(graph.state(|key| applied.contains(key) && !is_undone(key))?);
    let mut all = Vec::with_capacity(plan.len());
    for step in plan.iter().rev() {
        all.push(undone(step.migration, &mut state)?);
    }
    all.reverse();
    Ok(all)
}

/// What undoes `migration`; `state`, before it was done, goes on to where it is done.
pub(super) fn undone(migration: &Migration, state: &mut Arc<ProjectState>) -> Result<Vec<Work>> {
    let mut back = Vec::new();
    for operation in &migration.operations {
        let before = Arc::clone(state);
        let mut after = ProjectState::clone(state);
        let blame = |error| migration.blame(operation, error);
        operation.apply(&migration.key.app, &mut after).map_err(blame)?;
        let operation = operation.inverse(&migration.key.app, &before).map_err(blame)?;
        *state = Arc::new(after);
        back.push(Work { operation, before: Arc::clone(state), after: before });
    }
    let parts = back.into_iter().rev().map(|work| work.parts(migration));
    Ok(parts.collect::<Result<Vec<_>>>()?.concat())
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
    let needed = graph.forwards(std::slice::from_ref(&migration.key), &Applied::new());
    let before: Applied = needed.into_iter().map(|one| one.key.clone()).collect();
    let mut state = Arc::new(graph.state(|key| before.contains(key) && *key != migration.key)?);
    let work =
        if backwards { undone(migration, &mut state)? } else { doing(migration, &mut state)? };
    let dialect = Dialect::from(dialect);
    let mut text = String::new();
    for one in &work {
        text.push_str(&format!("--\n-- {}\n--\n", one.operation.describe()));
        if let Operation::Run { .. } = one.operation {
            text.push_str("-- (a function: no SQL)\n");
            continue;
        }
        let states = (&*one.before, &*one.after);
        if let Some(hint) = one.operation.hint(&migration.key.app, states, dialect) {
            text.push_str(&format!("-- hint: {hint}\n"));
        }
        let steps = one.steps(migration, dialect)?;
        if steps.is_empty() {
            text.push_str("-- (no-op)\n");
        }
        text.extend(steps.into_iter().map(lines));
    }
    Ok(if migration.atomic && dialect != Dialect::Mysql {
        format!("BEGIN;\n{text}COMMIT;\n")
    } else {
        text
    })
}

fn lines(step: Step) -> String {
    match step {
        Step::Sql(sql) | Step::Script(sql) | Step::Alone(sql) => format!("{sql};\n"),
        Step::Check(check) => format!("-- an error if rows are found: {}\n", check.sql),
        Step::Rebuild(rebuild) => {
            rebuild.statements.into_iter().map(|sql| format!("{sql};\n")).collect()
        }
    }
}
