//! Rows as sets: each once, and queries put together.

use crate::models::expression::{Expression, Node, Output};
use crate::models::field::Plain;
use crate::models::model::Model;
use crate::models::query::{OneOrMore, QuerySet, undeferred};
use crate::models::sql::{Combination, Combined, Distinct, Plan, Selected};

impl<M: Model, R> QuerySet<M, R> {
    /// Each row once. What it is ordered by counts too, as far as it is not among the columns.
    #[must_use]
    pub fn distinct(mut self) -> Self {
        self.refuse_if_sliced("make distinct");
        self.plan.distinct = Distinct::All;
        self
    }

    /// Of rows that agree in these expressions the first in the order, which must begin with them.
    /// PostgreSQL only.
    #[must_use]
    pub fn distinct_on<O: OneOrMore<Distinction>>(
        mut self,
        of: impl FnOnce(&M::Columns) -> O,
    ) -> Self {
        self.refuse_if_sliced("make distinct");
        let nodes = of(&Self::columns()).into_all().into_iter().map(|one| one.0);
        self.plan.distinct = Distinct::On(nodes.collect());
        self
    }

    /// The rows of both, each once. What follows orders and slices them all; the order is by what
    /// is selected.
    #[must_use]
    pub fn union<N: Model>(self, other: QuerySet<N, R>) -> Self {
        self.combined(Combination::Union, other)
    }

    /// The rows of both, those in both twice.
    #[must_use]
    pub fn union_all<N: Model>(self, other: QuerySet<N, R>) -> Self {
        self.combined(Combination::UnionAll, other)
    }

    /// The rows that are in both.
    #[must_use]
    pub fn intersection<N: Model>(self, other: QuerySet<N, R>) -> Self {
        self.combined(Combination::Intersection, other)
    }

    /// The rows that are not in `other`.
    #[must_use]
    pub fn difference<N: Model>(self, other: QuerySet<N, R>) -> Self {
        self.combined(Combination::Difference, other)
    }

    fn combined<N: Model>(mut self, how: Combination, other: QuerySet<N, R>) -> Self {
        if let Some(words) = other.mistake {
            self.mistaken(words);
        }
        let whole = Plan {
            columns: self.plan.columns.clone(),
            related: self.plan.related.clone(),
            undeferred: self.plan.undeferred.clone(),
            order: Some(Vec::new()),
            prefetches: std::mem::take(&mut self.plan.prefetches),
            fetch_mode: self.plan.fetch_mode,
            ..Plan::of(self.plan.meta)
        };
        let mut first = std::mem::replace(&mut self.plan, whole);
        let mut second = other.plan;
        for part in [&mut first, &mut second] {
            // An order without a slice decides nothing.
            if !part.is_sliced() {
                part.order = Some(Vec::new());
            }
        }
        let columns = |plan: &Plan| match &plan.columns {
            Selected::Model(more) => more.len(),
            Selected::Values(nodes) | Selected::Groups(nodes) => nodes.len(),
        };
        let differ = columns(&first) != columns(&second)
            || first.related.len() != second.related.len()
            || !undeferred::is_same(&first, &second);
        if differ {
            self.mistaken("queries put together select the same columns");
        }
        let parts = vec![first, second];
        self.plan.combined = Some(Box::new(Combined { how, parts }));
        self
    }
}

/// One expression of a `distinct_on` or `partition_by`.
#[derive(Clone, Debug)]
pub struct Distinction(Node);

impl Distinction {
    pub(in crate::models) fn into_node(self) -> Node {
        self.0
    }
}

impl<T: Plain, Out: Output> From<Expression<T, Out>> for Distinction {
    fn from(expression: Expression<T, Out>) -> Self {
        Self(expression.into_node())
    }
}

impl<T: Plain, Out: Output> OneOrMore<Distinction> for Expression<T, Out> {
    fn into_all(self) -> Vec<Distinction> {
        vec![self.into()]
    }
}

impl<const N: usize> OneOrMore<Distinction> for [Distinction; N] {
    fn into_all(self) -> Vec<Distinction> {
        self.into()
    }
}
