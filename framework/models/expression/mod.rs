//! `Expression`: what a query computes with. A column, a value, a function, an aggregate or a
//! subquery; all have the same lookups.
//!
//! Invariants:
//! - `T` is what lookups compare with, `Out` what reading gives; below them is an untyped [`Node`].

mod aggregate;
mod arithmetic;
mod function;
mod json;
mod lookups;
mod moment;
mod node;
mod text;
mod window;

use std::fmt;
use std::marker::PhantomData;

use crate::models::field::{FieldType, Plain};
use crate::models::query::Assignment;
use crate::models::trail::{AtPath, FieldPath};

pub use aggregate::Summed;
pub use arithmetic::Number;
pub use function::{Case, case, condition, now, random, value};
pub(super) use function::{Function, Part};
pub(super) use lookups::year_compared;
pub use moment::FromMoment;
pub use node::Node;
pub(super) use node::{
    Aggregate, AggregateFunction, Branches, Call, Comparison, JsonPath, JsonStep, Operator, Window,
    WindowFunction,
};
pub use window::{Over, Windowed, dense_rank, rank, row_number};

/// Something of type `T` that the database computes for each row; reading it gives an `Out`.
pub struct Expression<T, Out = T> {
    node: Node,
    of: PhantomData<fn() -> (T, Out)>,
}

impl<T: Plain, Out: Output> AtPath for Expression<T, Out> {
    type Nullable = Expression<T, Option<T>>;

    fn at(path: FieldPath) -> Self {
        Self::from_node(Node::Column(path))
    }
}

impl<T, Out> Clone for Expression<T, Out> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), of: PhantomData }
    }
}

impl<T, Out> fmt::Debug for Expression<T, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Column(path) => write!(f, "Expression({})", path.field.name),
            node => write!(f, "Expression({node:?})"),
        }
    }
}

impl<T, Out> Expression<T, Out> {
    pub(super) fn from_node(node: Node) -> Self {
        Self { node, of: PhantomData }
    }

    pub(super) fn into_node(self) -> Node {
        self.node
    }
}

impl<T: Plain, Out: Output> Expression<T, Out> {
    /// The same, read as an `Option`: for a column behind a relation that may lead nowhere.
    #[must_use]
    pub fn nullable(self) -> Expression<T, Option<T>> {
        Expression::from_node(self.node)
    }

    /// The same, of the query around the subquery it stands in (Django's `OuterRef`).
    #[must_use]
    pub fn outer_ref(self) -> Self {
        Self::from_node(Node::Outer(Box::new(self.node)))
    }

    /// Smallest first.
    #[must_use]
    pub fn asc(self) -> Order {
        Order { node: self.node, descending: false, nulls: None }
    }

    /// Largest first.
    #[must_use]
    pub fn desc(self) -> Order {
        Order { node: self.node, descending: true, nulls: None }
    }

    /// What `update` sets it to; `None` is NULL.
    #[must_use]
    pub fn set(self, value: impl crate::models::operand::Operand<T>) -> Assignment {
        let value = value.operand().unwrap_or_else(|| Node::Value(T::null()));
        Assignment::new(self.node, value)
    }
}

/// What reading an expression gives: `T`, or `Option<T>` where it may be NULL.
pub trait Output: FieldType {
    /// `U`, or `Option<U>` where this is an `Option`.
    type Of<U: Plain>: Output;
    /// `U`, or `Option<U>` where this or `Other` is an `Option`.
    type With<Other: Output, U: Plain>: Output;
}

impl<T: Plain> Output for T {
    type Of<U: Plain> = U;
    type With<Other: Output, U: Plain> = Other::Of<U>;
}

impl<T: Plain> Output for Option<T> {
    type Of<U: Plain> = Option<U>;
    type With<Other: Output, U: Plain> = Option<U>;
}

/// One part of an ORDER BY.
#[derive(Clone, Debug)]
pub struct Order {
    pub(super) node: Node,
    pub(super) descending: bool,
    /// Whether NULLs come first or last, if that is not left to the database.
    pub(super) nulls: Option<Nulls>,
}

/// Where NULLs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Before all values.
    First,
    /// After all values.
    Last,
}

impl Order {
    /// NULLs before all values. Unless told, SQLite has them smallest and PostgreSQL largest.
    #[must_use]
    pub fn nulls_first(mut self) -> Self {
        self.nulls = Some(Nulls::First);
        self
    }

    /// NULLs after all values. Unless told, SQLite has them smallest and PostgreSQL largest.
    #[must_use]
    pub fn nulls_last(mut self) -> Self {
        self.nulls = Some(Nulls::Last);
        self
    }

    /// The other way round.
    pub(super) fn reversed(mut self) -> Self {
        self.descending = !self.descending;
        self.nulls = self.nulls.map(|nulls| match nulls {
            Nulls::First => Nulls::Last,
            Nulls::Last => Nulls::First,
        });
        self
    }
}
