//! `aggregate`: one row for all rows.

use sea_query::Value;

use crate::error::{Error, Kind, Result};
use crate::models::expression::{AggregateFunction, Function, Node, Output};
use crate::models::model::Model;
use crate::models::query::{QuerySet, Selection};
use crate::models::sql::{Distinct, Plan, Selected, Target};
use crate::models::trail::FieldPath;
use crate::site::Site;

impl<M: Model> QuerySet<M> {
    /// Aggregates over all rows: `aggregate(site, |p| (p.stars().avg(), p.id().count()))`. A row
    /// that comes several times counts as often. Of no row they are counted without asking.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn aggregate<A: Selection>(
        self,
        site: &Site,
        select: impl FnOnce(&M::Columns) -> A,
    ) -> Result<A::Row> {
        self.checked()?;
        let mut nodes = Vec::with_capacity(A::WIDTH);
        select(&Self::columns()).nodes(&mut nodes);
        if !nodes.iter().all(Node::has_aggregate) {
            let words = format!("aggregate of {}: takes aggregates only", M::meta().label());
            return Err(Error::of(Kind::Field, words));
        }
        if self.plan.is_never()
            && let Some(row) = A::nothing(&mut nodes.iter())
        {
            return Ok(row);
        }
        let mut plan = self.plan;
        let is_whole = plan.is_sliced() || plan.is_distinct() || plan.combined.is_some();
        if is_whole || plan.order_repeats() {
            let within = Some(Box::new(as_table(plan)));
            plan = Plan { within, ..Plan::of(M::meta()) };
        }
        plan.related = Vec::new();
        plan.order = Some(Vec::new());
        plan.columns = Selected::Groups(nodes);
        let rows = site.db().fetch(plan.select(Target::of(site))?).await?;
        let row = rows.first().ok_or_else(|| Error::does_not_exist(M::meta()))?;
        A::read(row, 0)
    }
}

/// The rows of a plan, with their keys at least, to be joined. What makes them differ or decides
/// which they are stays.
fn as_table(plan: Plan) -> Plan {
    let meta = plan.meta;
    let key = Node::Column(FieldPath::own(meta, meta.primary_key()));
    let decides = matches!(plan.distinct, Distinct::On(_)) || plan.order_repeats();
    let is_ordered = plan.is_sliced() || plan.combined.is_none() && decides;
    let are_whole = plan.combined.is_some() || plan.is_distinct() && is_ordered;
    let columns = if are_whole { Selected::Model(Vec::new()) } else { Selected::Values(vec![key]) };
    let mut rows = Plan { lock: None, ..plan };
    rows.select_only(&columns);
    if !is_ordered {
        rows.order = Some(Vec::new());
    }
    rows
}

/// What an expression is of no row, if that can be told here.
pub(super) fn nothing<Out: Output>(node: &Node) -> Option<Out> {
    match of_nothing(node)? {
        None if Out::NULL => Some(Out::unset()),
        None => None,
        Some(value) => Out::from_stored(value.clone()),
    }
}

/// The value of no row; `Some(None)` is NULL.
#[expect(clippy::option_option, reason = "not known here, NULL, or a value")]
fn of_nothing(node: &Node) -> Option<Option<&Value>> {
    const ZERO: &Value = &Value::BigInt(Some(0));
    match node {
        Node::Aggregate(aggregate) if aggregate.of == AggregateFunction::Count => Some(Some(ZERO)),
        Node::Aggregate(_) => Some(None),
        Node::Value(value) => Some(Some(value)),
        Node::Call(call) if call.function == Function::Coalesce => {
            let values = call.arguments.iter().map(of_nothing);
            let values = values.collect::<Option<Vec<_>>>()?;
            Some(values.into_iter().flatten().next())
        }
        _ => None,
    }
}
