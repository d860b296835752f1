//! Windows: a row's place among its like, its neighbours, and sums that run along.

use std::marker::PhantomData;

use crate::models::expression::node::{Window, WindowFunction};
use crate::models::expression::{Expression, Node, Order, Output};
use crate::models::field::Plain;
use crate::models::query::{Distinction, OneOrMore};

/// Among which rows a window looks, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Over {
    partition: Vec<Node>,
    order: Vec<Order>,
}

impl Over {
    /// Among all rows of the query, in no order.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Among those that agree in these expressions.
    #[must_use]
    pub fn partition_by<O: OneOrMore<Distinction>>(mut self, of: O) -> Self {
        self.partition = of.into_all().into_iter().map(Distinction::into_node).collect();
        self
    }

    /// In this order. An aggregate is then of the rows up to this one and its equals.
    #[must_use]
    pub fn order_by<O: OneOrMore<Order>>(mut self, order: O) -> Self {
        self.order = order.into_all();
        self
    }

    fn window<T, Out>(self, function: WindowFunction) -> Expression<T, Out> {
        let Self { partition, order } = self;
        Expression::from_node(Node::Window(Box::new(Window { function, partition, order })))
    }
}

/// What needs a window: end it with `over`.
#[derive(Clone, Debug)]
#[must_use = "end it with `over`"]
pub struct Windowed<T, Out = T> {
    function: WindowFunction,
    of: PhantomData<fn() -> (T, Out)>,
}

impl<T: Plain, Out: Output> Windowed<T, Out> {
    fn new(function: WindowFunction) -> Self {
        Self { function, of: PhantomData }
    }

    /// In this window. It can be selected and ordered by; rows are filtered before there are
    /// windows, so filtering by it is an error.
    #[must_use]
    pub fn over(self, over: Over) -> Expression<T, Out> {
        over.window(self.function)
    }
}

/// Which row it is among its like, from 1: `row_number().over(Over::new().order_by(..))`.
pub fn row_number() -> Windowed<i64> {
    Windowed::new(WindowFunction::RowNumber)
}

/// Its place among its like, from 1; equals share one, and the next ones are left out.
pub fn rank() -> Windowed<i64> {
    Windowed::new(WindowFunction::Rank)
}

/// Its place among its like, from 1; equals share one, and none is left out.
pub fn dense_rank() -> Windowed<i64> {
    Windowed::new(WindowFunction::DenseRank)
}

impl<T: Plain, Out: Output> Expression<T, Out> {
    /// What it is in the row so many before this one in a window; NULL if there is none.
    pub fn lag(self, rows: u16) -> Windowed<T, Option<T>> {
        Windowed::new(WindowFunction::Lag(self.into_node(), rows))
    }

    /// What it is in the row so many behind this one in a window; NULL if there is none.
    pub fn lead(self, rows: u16) -> Windowed<T, Option<T>> {
        Windowed::new(WindowFunction::Lead(self.into_node(), rows))
    }

    /// Of an aggregate: over the rows of a window instead of making one row of many.
    #[must_use]
    pub fn over(self, over: Over) -> Self {
        match self.into_node() {
            Node::Aggregate(aggregate) => over.window(WindowFunction::Aggregate(aggregate)),
            _ => Self::from_node(Node::Mistake("`over` belongs behind an aggregate".to_owned())),
        }
    }
}
