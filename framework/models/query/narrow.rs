//! Narrowing, ordering and cutting a query: nothing is asked here.

use crate::models::condition::Q;
use crate::models::expression::Order;
use crate::models::model::Model;
use crate::models::query::{Assignment, QuerySet};

impl<M: Model, R> QuerySet<M, R> {
    /// Only rows for which `condition` holds. What one call asks of a relation to many rows, it
    /// asks of one of them; another call may mean another.
    #[must_use]
    pub fn filter(mut self, condition: impl FnOnce(&M::Columns) -> Q) -> Self {
        self.refuse_if_sliced("filter");
        self.plan.filter(condition(&Self::columns()));
        self
    }

    /// Only rows for which `condition` does not hold; one whose column is NULL stays.
    #[must_use]
    pub fn exclude(self, condition: impl FnOnce(&M::Columns) -> Q) -> Self {
        self.filter(|columns| !condition(columns))
    }

    /// Orders by one expression or several, instead of the model's order.
    #[must_use]
    pub fn order_by<O: OneOrMore<Order>>(mut self, order: impl FnOnce(&M::Columns) -> O) -> Self {
        self.refuse_if_sliced("order_by");
        self.plan.order = Some(order(&Self::columns()).into_all());
        self.plan.is_reversed = false;
        self
    }

    /// The other way round.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.refuse_if_sliced("reverse");
        self.plan.is_reversed = !self.plan.is_reversed;
        self
    }

    /// At most `rows`; of several limits the least counts. As in SQL, and unlike a slice of a slice
    /// in Django, they are counted behind the `offset`, whichever was said first.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.plan.limit = Some(self.plan.limit.map_or(rows, |limit| limit.min(rows)));
        self
    }

    /// Without the first `rows` of all, as in SQL: of several offsets the last counts, and a
    /// `limit` said before cuts what is left. `limit(10).offset(5)` are the rows 5 to 14.
    #[must_use]
    pub fn offset(mut self, rows: u64) -> Self {
        self.plan.offset = rows;
        self
    }

    /// No row, and no query.
    #[must_use]
    pub fn none(mut self) -> Self {
        self.plan.filter(Q::NEVER);
        self
    }
}

/// One of something, or several: an array or a `Vec`.
pub trait OneOrMore<T> {
    /// All of them.
    fn into_all(self) -> Vec<T>;
}

macro_rules! one_or_more {
    ($($type:ty),+) => {$(
        impl OneOrMore<$type> for $type {
            fn into_all(self) -> Vec<$type> {
                vec![self]
            }
        }

        impl<const N: usize> OneOrMore<$type> for [$type; N] {
            fn into_all(self) -> Vec<$type> {
                self.into()
            }
        }

        impl OneOrMore<$type> for Vec<$type> {
            fn into_all(self) -> Self {
                self
            }
        }
    )+};
}

one_or_more!(Order, Assignment);
