//! What `migrate` tells the site's receivers, before and after.

use super::operation::Operation;
use super::plan::Step;
use super::{MigrationKey, ModelKey, ProjectState};

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
    /// The models that have got another name, in order: before and afterwards.
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

/// The models that a run renames, in its order.
pub(super) fn renamed(plan: &[Step<'_>]) -> Vec<(ModelKey, ModelKey)> {
    let mut all = Vec::new();
    for step in plan {
        let app = &step.migration.key.app;
        let names = step.migration.operations.iter().filter_map(|operation| match operation {
            Operation::RenameModel { from, to } => {
                Some((ModelKey::new(app, from), ModelKey::new(app, to)))
            }
            _ => None,
        });
        if step.backwards {
            let names: Vec<_> = names.collect();
            all.extend(names.into_iter().rev().map(|(from, to)| (to, from)));
        } else {
            all.extend(names);
        }
    }
    all
}
