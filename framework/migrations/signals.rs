//! What `migrate` tells the site's receivers, before and after.

use super::operation::Operation;
use super::plan::Step;
use super::{Applied, Graph, Migration, MigrationKey, ModelKey, ProjectState};

/// A run of `migrate` is about to begin; its lock is held. Sent also when there is nothing to do.
#[derive(Debug)]
pub struct PreMigrate {
    /// What will be run or undone, in order.
    pub plan: Vec<Planned>,
    /// The models as they are now.
    pub state: ProjectState,
}

/// A run of `migrate` is over; its lock is still held, so receivers of two runs do not meet.
#[derive(Debug)]
pub struct PostMigrate {
    /// What was run or undone, in order.
    pub plan: Vec<Planned>,
    /// The models as they are now.
    pub state: ProjectState,
    /// The models that have got another name, in order: before and afterwards. Those of earlier
    /// runs come first, as a run that failed half-way told nobody: what a receiver does about them
    /// must be good to be done again.
    pub renamed: Vec<(ModelKey, ModelKey)>,
}

/// One migration of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub key: MigrationKey,
    /// Whether it is undone.
    pub backwards: bool,
}

impl From<&Step<'_>> for Planned {
    fn from(step: &Step<'_>) -> Self {
        Self { key: step.migration.key.clone(), backwards: step.backwards }
    }
}

/// The models that have been renamed, by this run or before.
///
/// What earlier runs did is read from what is applied, and from what is not, undone; a name that a
/// model has now is no former one.
pub(super) fn renamed(
    graph: &Graph,
    applied: &Applied,
    state: &ProjectState,
    plan: &[Step<'_>],
) -> Vec<(ModelKey, ModelKey)> {
    let (done, undone): (Vec<_>, Vec<_>) =
        graph.migrations().partition(|migration| applied.contains(&migration.key));
    let done = done.into_iter().flat_map(|migration| names(migration, false));
    let undone = undone.into_iter().rev().flat_map(|migration| names(migration, true));
    let earlier = done.chain(undone).filter(|(from, _)| state.model(from).is_none());
    let now = plan.iter().flat_map(|step| names(step.migration, step.backwards));
    earlier.chain(now).collect()
}

/// The names a migration changes, in its order.
fn names(migration: &Migration, backwards: bool) -> Vec<(ModelKey, ModelKey)> {
    let app = &migration.key.app;
    let names = migration.operations.iter().filter_map(|operation| match operation {
        Operation::RenameModel { from, to } => {
            Some((ModelKey::new(app, from), ModelKey::new(app, to)))
        }
        _ => None,
    });
    match backwards {
        false => names.collect(),
        true => names.map(|(from, to)| (to, from)).rev().collect(),
    }
}
