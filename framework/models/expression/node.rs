//! `Node`: an expression without its type.

use sea_query::Value;

use crate::models::condition::Q;
use crate::models::sql::Plan;
use crate::models::trail::FieldPath;

/// An expression without its type. No part of the public interface.
#[doc(hidden)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Node {
    /// A column.
    Column(FieldPath),
    /// A value, bound.
    Value(Value),
    /// Arithmetic.
    Binary(Box<(Self, Operator, Self)>),
    /// The one column of a query's first row.
    Subquery(Box<Plan>),
    /// A condition as a boolean.
    Condition(Box<Q>),
    /// Something of the query around a subquery.
    Outer(Box<Self>),
}

/// What stands between two numbers.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Node {
    /// Calls `visit` with every column of this query that it looks at, until it says `true`.
    pub(in crate::models) fn any_column(&self, visit: &mut dyn FnMut(&FieldPath) -> bool) -> bool {
        match self {
            Self::Column(path) => visit(path),
            Self::Binary(both) => both.0.any_column(visit) || both.2.any_column(visit),
            Self::Condition(condition) => condition.any_column(visit),
            Self::Value(_) | Self::Subquery(_) | Self::Outer(_) => false,
        }
    }

    /// Whether it is NULL as soon as a column in it is.
    pub(in crate::models) fn is_strict(&self) -> bool {
        match self {
            Self::Column(_) | Self::Value(_) | Self::Outer(_) => true,
            Self::Binary(both) => both.0.is_strict() && both.2.is_strict(),
            Self::Subquery(_) | Self::Condition(_) => false,
        }
    }
}
