//! `Node`: an expression without its type.

use chrono::NaiveDateTime;
use sea_query::Value;

use crate::models::condition::Q;
use crate::models::expression::Order;
use crate::models::expression::function::Function;
use crate::models::meta::FieldKind;
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
    /// The moment at which the site's clocks show this.
    Wall(NaiveDateTime),
    /// Arithmetic.
    Binary(Box<(Self, Operator, Self)>),
    /// A function of the database.
    Call(Box<Call>),
    /// One value of many rows.
    Aggregate(Box<Aggregate>),
    /// A value of a row among its like.
    Window(Box<Window>),
    /// The first of several whose condition holds.
    Case(Box<Branches>),
    /// Something inside a JSON document.
    Json(Box<JsonPath>),
    /// The one column of a query's first row.
    Subquery(Box<Plan>),
    /// A condition as a boolean.
    Condition(Box<Q>),
    /// Something of the query around a subquery.
    Outer(Box<Self>),
    /// What was built wrong, told when the query is asked.
    Mistake(String),
}

/// A function and what it is called with.
#[derive(Clone, Debug)]
pub struct Call {
    pub(in crate::models) function: Function,
    pub(in crate::models) arguments: Vec<Node>,
}

/// One value of many rows.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub(in crate::models) of: AggregateFunction,
    pub(in crate::models) argument: Node,
    pub(in crate::models) is_distinct: bool,
    /// Which rows count.
    pub(in crate::models) filter: Option<Q>,
    /// What it gives.
    pub(in crate::models) kind: FieldKind,
}

/// A function over a window.
#[derive(Clone, Debug)]
pub struct Window {
    pub(in crate::models) function: WindowFunction,
    pub(in crate::models) partition: Vec<Node>,
    pub(in crate::models) order: Vec<Order>,
}

/// What a row has of its window.
#[derive(Clone, Debug)]
pub(in crate::models) enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    Lag(Node, u16),
    Lead(Node, u16),
    Aggregate(Box<Aggregate>),
}

/// How many rows make one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// `CASE WHEN .. THEN .. ELSE .. END`
#[derive(Clone, Debug)]
pub struct Branches {
    pub(in crate::models) whens: Vec<(Q, Node)>,
    pub(in crate::models) otherwise: Option<Node>,
}

/// A way into a JSON document.
#[derive(Clone, Debug)]
pub struct JsonPath {
    pub(in crate::models) document: Node,
    pub(in crate::models) steps: Vec<JsonStep>,
    /// As text instead of JSON.
    pub(in crate::models) as_text: bool,
}

/// One step into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::models) enum JsonStep {
    Key(String),
    Index(i32),
}

/// What stands between two numbers.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideWhole,
    Remainder,
    RemainderWhole,
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
    pub(in crate::models) fn call(function: Function, arguments: Vec<Self>) -> Self {
        Self::Call(Box::new(Call { function, arguments }))
    }

    /// Calls `visit` with this and what it is made of, short of subqueries, until it says `true`.
    pub(in crate::models) fn any(&self, visit: &mut dyn FnMut(&Self) -> bool) -> bool {
        visit(self)
            || match self {
                Self::Binary(both) => both.0.any(visit) || both.2.any(visit),
                Self::Call(call) => call.arguments.iter().any(|node| node.any(visit)),
                Self::Aggregate(aggregate) => {
                    aggregate.argument.any(visit)
                        || aggregate.filter.as_ref().is_some_and(|q| q.any(visit))
                }
                Self::Case(branches) => {
                    branches.whens.iter().any(|(q, node)| q.any(visit) || node.any(visit))
                        || branches.otherwise.as_ref().is_some_and(|node| node.any(visit))
                }
                Self::Json(path) => path.document.any(visit),
                Self::Condition(condition) => condition.any(visit),
                Self::Column(_) | Self::Value(_) | Self::Subquery(_) | Self::Outer(_) => false,
                Self::Wall(_) | Self::Window(_) | Self::Mistake(_) => false,
            }
    }

    /// Whether a column in it, of one row at a time, is one that `look` looks for.
    pub(in crate::models) fn any_column(&self, look: &mut dyn FnMut(&FieldPath) -> bool) -> bool {
        // The columns of an aggregate are of the rows it is made of.
        if self.has_aggregate() {
            return match self {
                Self::Aggregate(_) => false,
                Self::Binary(both) => both.0.any_column(look) || both.2.any_column(look),
                Self::Call(call) => call.arguments.iter().any(|node| node.any_column(look)),
                _ => false,
            };
        }
        self.any(&mut |node| matches!(node, Self::Column(path) if look(path)))
    }

    /// Whether it is made of many rows.
    pub(in crate::models) fn has_aggregate(&self) -> bool {
        self.any(&mut |node| matches!(node, Self::Aggregate(_)))
    }

    /// Whether it is NULL as soon as a column in it is.
    pub(in crate::models) fn is_strict(&self) -> bool {
        match self {
            Self::Column(_) | Self::Value(_) | Self::Wall(_) | Self::Outer(_) => true,
            Self::Binary(both) => both.0.is_strict() && both.2.is_strict(),
            Self::Call(call) => {
                call.function.is_strict() && call.arguments.iter().all(Self::is_strict)
            }
            Self::Json(path) => path.document.is_strict(),
            Self::Aggregate(_) | Self::Case(_) | Self::Subquery(_) => false,
            Self::Window(_) | Self::Condition(_) | Self::Mistake(_) => false,
        }
    }
}
