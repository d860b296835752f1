//! Aggregates: one value of many rows.

use chrono::TimeDelta;
use rust_decimal::Decimal;

use crate::models::condition::Q;
use crate::models::expression::node::{Aggregate, AggregateFunction};
use crate::models::expression::{Expression, Node, Output};
use crate::models::field::{FieldType, Plain};
use crate::models::meta::FieldKind;
use crate::models::model::Model;
use crate::models::operand::Operand;
use crate::models::related::{Related, RelatedMany};

/// What can be summed up.
#[diagnostic::on_unimplemented(message = "`{Self}` has no sum")]
pub trait Summed: Plain {
    /// What its sum is.
    type Sum: Plain;
    /// What its average is.
    type Average: Plain;
}

macro_rules! summed {
    ($($type:ty: $sum:ty, $average:ty;)+) => {$(
        impl Summed for $type {
            type Sum = $sum;
            type Average = $average;
        }
    )+};
}

summed! {
    i16: i64, f64;
    i32: i64, f64;
    i64: i64, f64;
    u16: i64, f64;
    u32: i64, f64;
    u64: i64, f64;
    f64: f64, f64;
    Decimal: Decimal, Decimal;
    TimeDelta: TimeDelta, TimeDelta;
}

fn aggregate(of: AggregateFunction, argument: Node, kind: FieldKind) -> Node {
    let (is_distinct, filter) = (false, None);
    Node::Aggregate(Box::new(Aggregate { of, argument, is_distinct, filter, kind }))
}

impl<T: Plain, Out: Output> Expression<T, Out> {
    fn aggregate<U, V>(self, of: AggregateFunction, kind: FieldKind) -> Expression<U, V> {
        Expression::from_node(aggregate(of, self.into_node(), kind))
    }

    /// How many rows have it, NULLs left out.
    #[must_use]
    pub fn count(self) -> Expression<i64> {
        self.aggregate(AggregateFunction::Count, FieldKind::BigInteger)
    }

    /// The least; NULL of no row.
    #[must_use]
    pub fn min(self) -> Expression<T, Option<T>> {
        self.aggregate(AggregateFunction::Min, T::KIND)
    }

    /// The greatest; NULL of no row.
    #[must_use]
    pub fn max(self) -> Expression<T, Option<T>> {
        self.aggregate(AggregateFunction::Max, T::KIND)
    }

    fn changed(self, change: impl FnOnce(&mut Aggregate)) -> Self {
        Self::from_node(match self.into_node() {
            Node::Aggregate(mut aggregate) => {
                change(&mut aggregate);
                Node::Aggregate(aggregate)
            }
            _ => {
                Node::Mistake("`distinct` and `filter` belong right behind an aggregate".to_owned())
            }
        })
    }

    /// Of an aggregate: each value once.
    #[must_use]
    pub fn distinct(self) -> Self {
        self.changed(|aggregate| aggregate.is_distinct = true)
    }

    /// Of an aggregate: only rows for which `condition` holds.
    #[must_use]
    pub fn filter(self, condition: Q) -> Self {
        self.changed(|aggregate| {
            aggregate.filter = Some(match aggregate.filter.take() {
                Some(before) => before & condition,
                None => condition,
            });
        })
    }

    /// Of an aggregate: this instead of NULL.
    #[must_use]
    pub fn default(self, value: impl Operand<T>) -> Expression<T> {
        Expression::from_node(self.coalesce(value).into_node())
    }
}

impl<T: Summed, Out: Output> Expression<T, Out> {
    /// The sum; NULL of no row.
    #[must_use]
    pub fn sum(self) -> Expression<T::Sum, Option<T::Sum>> {
        self.aggregate(AggregateFunction::Sum, T::Sum::KIND)
    }

    /// The average; NULL of no row.
    #[must_use]
    pub fn avg(self) -> Expression<T::Average, Option<T::Average>> {
        self.aggregate(AggregateFunction::Avg, T::Average::KIND)
    }
}

impl<T: Model> Related<T> {
    /// How many rows have one.
    #[must_use]
    pub fn count(self) -> Expression<i64> {
        self.key().count()
    }
}

impl<T: Model> RelatedMany<T> {
    /// How many there are.
    #[must_use]
    pub fn count(self) -> Expression<i64> {
        self.key().count()
    }
}
