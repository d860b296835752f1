//! `Plan`: what a query asks, whatever the model's type.

use crate::conf::FetchMode;
use crate::models::condition::{Q, Tree};
use crate::models::expression::{Node, Order};
use crate::models::meta::Meta;
use crate::models::prefetch::Prefetch;
use crate::models::trail::{FieldPath, Trail};

/// What a query asks, whatever the model's type.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(in crate::models) meta: &'static Meta,
    /// One for each call of `filter` and `exclude`: each has its own joins to many rows.
    pub(in crate::models) filters: Vec<Q>,
    /// The model's order if `None`.
    pub(in crate::models) order: Option<Vec<Order>>,
    pub(in crate::models) is_reversed: bool,
    pub(in crate::models) limit: Option<u64>,
    pub(in crate::models) offset: u64,
    /// Ways whose rows are read along; one that begins like another stands behind it.
    pub(in crate::models) related: Vec<Along>,
    pub(in crate::models) columns: Selected,
    /// The slice counts anew for each value of this.
    pub(in crate::models) per: Option<Node>,
    /// What is loaded once the rows are read.
    pub(in crate::models) prefetches: Vec<Prefetch>,
    /// What rows do when a relation is read that is not loaded, if the query says so.
    pub(in crate::models) fetch_mode: Option<FetchMode>,
}

/// A way to one row, read along with its beginning.
#[derive(Clone, Debug)]
pub(in crate::models) struct Along {
    pub(in crate::models) trail: Trail,
    /// The fields that hold the rows on the way.
    pub(in crate::models) names: Vec<&'static str>,
}

/// What a row of the answer has.
#[derive(Clone, Debug)]
pub(in crate::models) enum Selected {
    /// The model's columns, those of related rows behind them, then these.
    Model(Vec<Node>),
    /// These.
    Values(Vec<Node>),
}

impl Plan {
    pub(in crate::models) fn of(meta: &'static Meta) -> Self {
        Self {
            meta,
            filters: Vec::new(),
            order: None,
            is_reversed: false,
            limit: None,
            offset: 0,
            related: Vec::new(),
            columns: Selected::Model(Vec::new()),
            per: None,
            prefetches: Vec::new(),
            fetch_mode: None,
        }
    }

    /// Whether no row can match, so that nobody is asked.
    pub(in crate::models) fn is_never(&self) -> bool {
        self.limit == Some(0) || self.filters.iter().any(|q| matches!(q.0, Tree::Never))
    }

    pub(in crate::models) fn is_sliced(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }

    pub(in crate::models) fn filter(&mut self, condition: Q) {
        if !matches!(condition.0, Tree::Always) {
            self.filters.push(condition);
        }
    }

    /// The order it was given or else the model's.
    pub(in crate::models) fn orders(&self) -> Vec<Order> {
        let orders = match &self.order {
            Some(orders) => orders.clone(),
            None => {
                let names = self.meta.ordering.iter();
                names.filter_map(|name| own_order(self.meta, name)).collect()
            }
        };
        if self.is_reversed { orders.into_iter().map(Order::reversed).collect() } else { orders }
    }

    pub(in crate::models) fn is_ordered(&self) -> bool {
        self.order.as_ref().map_or(!self.meta.ordering.is_empty(), |orders| !orders.is_empty())
    }

    /// Orders by the key if there is no order.
    pub(in crate::models) fn order_somehow(&mut self) {
        if !self.is_ordered() {
            self.order = Some(vec![by_key(self.meta)]);
        }
    }
}

fn by_key(meta: &'static Meta) -> Order {
    let node = Node::Column(FieldPath::own(meta, meta.primary_key()));
    Order { node, descending: false, nulls: None }
}

/// `-created` as an order; the derive has checked the names.
fn own_order(meta: &'static Meta, name: &str) -> Option<Order> {
    let (name, descending) = match name.strip_prefix('-') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let node = Node::Column(FieldPath::own(meta, meta.field(name)?));
    Some(Order { node, descending, nulls: None })
}
