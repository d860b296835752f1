//! What `migrate` tells the site's receivers, before and after.

use super::plan::Step;
use super::{MigrationKey, ProjectState};

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
