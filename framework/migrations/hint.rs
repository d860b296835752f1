//! What users of a running site notice of a migration on PostgreSQL, and how they need not.
//!
//! A table that was made in the same migration has no users yet.

use super::constraint::Rule;
use super::schema::{Dialect, column_type};
use super::state::{ModelKey, ProjectState};
use super::{Migration, Operation};

const INDEX: &str = "who writes to the table waits until the index is made; `concurrently = true` \
                     here, with `atomic = false` at the top of the file, makes it beside them";
const UNIQUE: &str = "who writes to the table waits until all rows are compared";
const READ: &str = "the whole table waits until all rows are read; `SET LOCAL lock_timeout = '5s'` \
                    in a `run_sql` before it gives up instead of holding up others";
const WRITTEN: &str = "the whole table waits until it is written anew; a new column that is filled \
                       step by step, and a rename later, keep it in use";

impl Operation {
    /// Who waits while it runs in a migration of `app`, if it may be long.
    pub(super) fn hint(
        &self,
        app: &str,
        (before, after): (&ProjectState, &ProjectState),
        dialect: Dialect,
    ) -> Option<&'static str> {
        if dialect != Dialect::Postgres {
            return None;
        }
        match self {
            Self::AddIndex { concurrently: false, .. } => Some(INDEX),
            Self::AddConstraint { constraint, .. } => match constraint.rule {
                Rule::Unique { .. } => Some(UNIQUE),
                Rule::Check(_) => Some(READ),
            },
            Self::AlterField { model, field, .. } => {
                let old = before.model(&ModelKey::new(app, model))?.field(&field.name)?;
                let was = column_type(dialect, before, old).ok()?;
                let is = column_type(dialect, after, field).ok()?;
                let shorter = match (old.max_length, field.max_length) {
                    (Some(was), Some(is)) => is < was,
                    _ => field.max_length.is_some(),
                };
                // Texts are kept alike, whatever their longest length.
                let text = |kind: &str| kind == "text" || kind.starts_with("varchar");
                match was == is || text(&was) && text(&is) && !shorter {
                    false => Some(WRITTEN),
                    true if old.null && !field.null => Some(READ),
                    true => None,
                }
            }
            _ => None,
        }
    }
}

impl Migration {
    /// For each of its operations what users of a running site notice of it on PostgreSQL, given
    /// the state before it; `None` for what is done at once or on a table that is new.
    #[must_use]
    pub fn hints(&self, before: &ProjectState) -> Vec<Option<&'static str>> {
        let mut state = before.clone();
        let mut hints = Vec::with_capacity(self.operations.len());
        for operation in &self.operations {
            let before = state.clone();
            if operation.apply(&self.key.app, &mut state).is_err() {
                break;
            }
            let model = ModelKey::new(&self.key.app, operation.model().unwrap_or_default());
            let is_new = self.operations.iter().any(|one| one.creates() == Some(&model));
            let hint = operation.hint(&self.key.app, (&before, &state), Dialect::Postgres);
            hints.push(hint.filter(|_| !is_new));
        }
        hints.resize(self.operations.len(), None);
        hints
    }
}
