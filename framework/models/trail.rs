//! `Trail`: the way from a query's model to a column, over foreign keys and back.

use std::fmt;

use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::models::related::{Related, RelatedMany};

/// One step from a model to another.
#[derive(Clone, Copy)]
pub enum Step {
    /// Over a foreign key, to the row it points to.
    Forward(&'static Field),
    /// To the rows of `meta` whose `field` points here.
    Reverse {
        /// Their model.
        meta: &'static Meta,
        /// Their foreign key.
        field: &'static Field,
    },
}

impl Step {
    /// Where it leads.
    ///
    /// # Panics
    /// If it goes over a field that is no foreign key; nothing makes such a step.
    #[must_use]
    pub fn target(self) -> &'static Meta {
        match self {
            Self::Forward(field) => {
                (field.relation.expect("only foreign keys are stepped over").to)()
            }
            Self::Reverse { meta, .. } => meta,
        }
    }

    /// The foreign key it goes along, in either direction.
    #[must_use]
    pub fn field(self) -> &'static Field {
        match self {
            Self::Forward(field) | Self::Reverse { field, .. } => field,
        }
    }

    /// Whether it may lead to several rows.
    #[must_use]
    pub fn is_many(self) -> bool {
        matches!(self, Self::Reverse { field, .. } if !field.unique && !field.primary_key)
    }

    /// Whether it may lead to no row.
    pub(super) fn may_miss(self) -> bool {
        match self {
            Self::Forward(field) => field.null,
            Self::Reverse { .. } => true,
        }
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Forward(one), Self::Forward(two)) => std::ptr::eq(*one, *two),
            (Self::Reverse { field: one, .. }, Self::Reverse { field: two, .. }) => {
                std::ptr::eq(*one, *two)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(field) => write!(f, "{}", field.name),
            Self::Reverse { meta, field } => write!(f, "{}.{}", meta.label(), field.name),
        }
    }
}

/// The steps walked from the query's model to a column's.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// The model it begins at, if that is known: a column in another model's query is a mistake.
    pub(super) root: Option<&'static Meta>,
    pub(super) steps: Vec<Step>,
}

impl Trail {
    /// No step yet, from `root`.
    #[must_use]
    pub fn of(root: &'static Meta) -> Self {
        Self { root: Some(root), steps: Vec::new() }
    }

    /// One step further.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The column or relation of `field` at its end.
    #[must_use]
    pub fn column<C: AtPath>(&self, field: &'static Field) -> C {
        C::at(FieldPath { trail: self.clone(), field })
    }

    /// The rows of `R` whose foreign key `by` points to the model at its end.
    #[must_use]
    pub fn reverse<R: Model, T: Model>(
        &self,
        by: impl FnOnce(&R::Columns) -> Related<T>,
    ) -> RelatedMany<R> {
        let path = by(&R::Columns::along(Self::of(R::meta()))).into_path();
        RelatedMany::along(self.clone().then(Step::Reverse { meta: R::meta(), field: path.field }))
    }
}

/// A column as seen from the query's model.
#[derive(Clone, Debug)]
pub struct FieldPath {
    pub(super) trail: Trail,
    pub(super) field: &'static Field,
}

impl FieldPath {
    /// A column of `meta` itself.
    #[must_use]
    pub fn own(meta: &'static Meta, field: &'static Field) -> Self {
        Self { trail: Trail::of(meta), field }
    }

    /// The steps that lead to its model.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.trail.steps
    }

    /// Its field.
    #[must_use]
    pub fn field(&self) -> &'static Field {
        self.field
    }
}

/// Made from a path: an [`Expression`](super::Expression) or a [`Related`].
pub trait AtPath {
    /// The same where the field is an `Option`.
    type Nullable: AtPath;

    /// Makes it.
    fn at(path: FieldPath) -> Self;
}

/// A model's columns (`PostColumns`), reached over a trail.
pub trait Columns: Clone + fmt::Debug + Send + Sync + 'static {
    /// Those at the end of `trail`.
    fn along(trail: Trail) -> Self;

    /// The way to them.
    fn trail(&self) -> &Trail;
}
