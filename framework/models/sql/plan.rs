//! `Plan`: what a query asks, whatever the model's type.

use crate::conf::FetchMode;
use crate::models::condition::{Lookup, Q, Tree};
use crate::models::expression::{Comparison, Node, Order};
use crate::models::meta::{Field, Meta};
use crate::models::prefetch::Prefetch;
use crate::models::query::Lock;
use crate::models::trail::{FieldPath, Step, Trail};

/// What a query asks, whatever the model's type.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(in crate::models) meta: &'static Meta,
    /// One for each call of `filter` and `exclude`: each has its own joins to many rows.
    pub(in crate::models) filters: Vec<Q>,
    /// Conditions on groups.
    pub(in crate::models) having: Vec<Q>,
    /// The model's order if `None`.
    pub(in crate::models) order: Option<Vec<Order>>,
    pub(in crate::models) is_reversed: bool,
    pub(in crate::models) limit: Option<u64>,
    pub(in crate::models) offset: u64,
    /// Ways whose rows are read along; one that begins like another stands behind it.
    pub(in crate::models) related: Vec<Along>,
    pub(in crate::models) columns: Selected,
    /// Deferred fields that are read all the same.
    pub(in crate::models) undeferred: Vec<Undeferred>,
    /// The slice counts anew for each value of this.
    pub(in crate::models) per: Option<Node>,
    /// What is loaded once the rows are read.
    pub(in crate::models) prefetches: Vec<Prefetch>,
    /// What rows do when a relation is read that is not loaded, if the query says so.
    pub(in crate::models) fetch_mode: Option<FetchMode>,
    pub(in crate::models) distinct: Distinct,
    pub(in crate::models) lock: Option<Lock>,
    /// Queries whose rows are put together with this one's; the order and slice are those of all.
    pub(in crate::models) combined: Option<Box<Combined>>,
    /// A query of the same model whose rows these are, as often as they come there.
    pub(in crate::models) within: Option<Box<Self>>,
}

/// A way to one row, read along with its beginning.
#[derive(Clone, Debug)]
pub(in crate::models) struct Along {
    pub(in crate::models) trail: Trail,
    /// The fields that hold the rows on the way.
    pub(in crate::models) names: Vec<&'static str>,
}

/// A deferred field that is read with its row.
#[derive(Clone, Debug)]
pub(in crate::models) struct Undeferred {
    pub(in crate::models) path: FieldPath,
    /// The fields that hold the rows on the way, and its own.
    pub(in crate::models) names: Vec<&'static str>,
}

/// What a row of the answer has.
#[derive(Clone, Debug)]
pub(in crate::models) enum Selected {
    /// The model's columns, those of related rows behind them, then these.
    Model(Vec<Node>),
    /// These.
    Values(Vec<Node>),
    /// These, one row for all rows with the same values beside the aggregates.
    Groups(Vec<Node>),
}

/// Which rows come once.
#[derive(Clone, Debug)]
pub(in crate::models) enum Distinct {
    No,
    All,
    On(Vec<Node>),
}

/// Queries put together.
#[derive(Clone, Debug)]
pub(in crate::models) struct Combined {
    pub(in crate::models) how: Combination,
    pub(in crate::models) parts: Vec<Plan>,
}

/// How queries are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Combination {
    Union,
    UnionAll,
    Intersection,
    Difference,
}

impl Plan {
    pub(in crate::models) fn of(meta: &'static Meta) -> Self {
        Self {
            meta,
            filters: Vec::new(),
            having: Vec::new(),
            order: None,
            is_reversed: false,
            limit: None,
            offset: 0,
            related: Vec::new(),
            columns: Selected::Model(Vec::new()),
            undeferred: Vec::new(),
            per: None,
            prefetches: Vec::new(),
            fetch_mode: None,
            distinct: Distinct::No,
            lock: None,
            combined: None,
            within: None,
        }
    }

    /// Whether no row can match, so that nobody is asked.
    pub(in crate::models) fn is_never(&self) -> bool {
        let is_never = self.limit == Some(0)
            || self.filters.iter().chain(&self.having).any(|q| matches!(q.0, Tree::Never))
            || self.combined.as_ref().is_some_and(|combined| combined.is_never());
        is_never && !self.is_mistaken()
    }

    /// Whether one of its conditions was built wrong, which must be told.
    pub(in crate::models) fn is_mistaken(&self) -> bool {
        let parts = self.combined.iter().flat_map(|combined| &combined.parts);
        self.filters.iter().chain(&self.having).any(Q::is_mistaken)
            || parts.into_iter().any(Self::is_mistaken)
    }

    /// Whether the field of a whole row, which is read over `steps`, is not among its columns.
    pub(in crate::models) fn leaves_out(&self, steps: &[Step], field: &Field) -> bool {
        let is_it =
            |one: &Undeferred| std::ptr::eq(one.path.field, field) && one.path.steps() == steps;
        field.deferred && !self.undeferred.iter().any(is_it)
    }

    pub(in crate::models) fn is_sliced(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }

    pub(in crate::models) fn is_distinct(&self) -> bool {
        !matches!(self.distinct, Distinct::No)
    }

    pub(in crate::models) fn is_grouped(&self) -> bool {
        matches!(self.columns, Selected::Groups(_))
    }

    /// Whether it asks for one row by its key or another unique column, and for nothing else, so
    /// that no join can repeat the row.
    pub(in crate::models) fn is_one(&self) -> bool {
        let [Q(Tree::Test(test))] = self.filters.as_slice() else { return false };
        let Lookup::Compare(Comparison::Equal, Node::Value(_)) = &test.lookup else { return false };
        let Node::Column(path) = &test.left else { return false };
        let is_plain = self.combined.is_none() && self.lock.is_none() && self.per.is_none();
        let is_own = path.steps().is_empty() && (path.field.primary_key || path.field.unique);
        let is_bare = matches!(&self.columns, Selected::Model(more) if more.is_empty());
        is_plain && is_own && is_bare && !self.order_repeats()
    }

    /// Whether the order may join many rows, or make rows differ that are the same without it.
    pub(in crate::models) fn order_repeats(&self) -> bool {
        let is_of_one = |order: &Order| match &order.node {
            Node::Column(path) => !path.steps().iter().any(|step| step.is_many()),
            _ => false,
        };
        // A model's own order is by its columns.
        self.order.as_ref().is_some_and(|orders| !orders.iter().all(is_of_one))
    }

    /// The same query for the number of its rows only: without an order that does not change it,
    /// and whether their keys stand for them.
    pub(in crate::models) fn counted(&self) -> (Self, bool) {
        let mut plan = Self { lock: None, ..self.clone() };
        let is_bare = match &self.columns {
            Selected::Model(more) => more.is_empty() && !matches!(self.distinct, Distinct::On(_)),
            _ => false,
        };
        // What rows are made once or grouped by counts, too.
        let counts = match &self.columns {
            Selected::Model(_) => self.order_repeats(),
            _ => self.order.as_ref().is_some_and(|orders| !orders.is_empty()),
        };
        let is_ordered = self.is_sliced() || counts && !matches!(self.distinct, Distinct::On(_));
        if !is_ordered {
            plan.order = Some(Vec::new());
        }
        (plan, is_bare && (self.is_sliced() || !is_ordered))
    }

    pub(in crate::models) fn filter(&mut self, mut condition: Q) {
        if condition.any(&mut |node| matches!(node, Node::Window(_))) {
            let words =
                "rows are filtered before there are windows: select it and look at the rows";
            condition = Q::test(Node::Mistake(words.to_owned()), Lookup::IsNull(true));
        }
        match condition.0 {
            Tree::Always => {}
            Tree::All(parts) if self.is_grouped() => {
                let (groups, rows) = parts.into_iter().partition(Q::has_aggregate);
                let _: &Vec<Q> = &rows;
                self.having.extend::<Vec<Q>>(groups);
                if !rows.is_empty() {
                    self.filters.push(Q(Tree::All(rows)));
                }
            }
            tree => {
                let condition = Q(tree);
                if self.is_grouped() && condition.has_aggregate() {
                    self.having.push(condition);
                } else {
                    self.filters.push(condition);
                }
            }
        }
    }

    /// The order it was given or else the model's; groups have none by themselves.
    pub(in crate::models) fn orders(&self) -> Vec<Order> {
        let orders = match &self.order {
            Some(orders) => orders.clone(),
            None if self.is_grouped() => Vec::new(),
            None => {
                let names = self.meta.ordering.iter();
                names.filter_map(|name| own_order(self.meta, name)).collect()
            }
        };
        if self.is_reversed { orders.into_iter().map(Order::reversed).collect() } else { orders }
    }

    pub(in crate::models) fn is_ordered(&self) -> bool {
        match &self.order {
            Some(orders) => !orders.is_empty(),
            None => !self.is_grouped() && !self.meta.ordering.is_empty(),
        }
    }

    /// Orders by the key if there is no order.
    pub(in crate::models) fn order_somehow(&mut self) {
        // A key would make rows differ that are to come once.
        let is_of_models = matches!(self.columns, Selected::Model(_));
        let differs = self.is_distinct() && !is_of_models || self.combined.is_some();
        if !self.is_ordered() && !self.is_grouped() && !differs {
            self.order = Some(vec![by_key(self.meta)]);
        }
    }

    /// The same rows with these columns only.
    pub(in crate::models) fn select_only(&mut self, columns: &Selected) {
        self.columns = columns.clone();
        self.related = Vec::new();
        self.undeferred = Vec::new();
        for part in self.combined.iter_mut().flat_map(|combined| &mut combined.parts) {
            part.select_only(columns);
        }
    }
}

impl Combined {
    fn is_never(&self) -> bool {
        let mut parts = self.parts.iter();
        match self.how {
            Combination::Union | Combination::UnionAll => parts.all(Plan::is_never),
            Combination::Intersection => parts.any(Plan::is_never),
            Combination::Difference => parts.next().is_some_and(Plan::is_never),
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
