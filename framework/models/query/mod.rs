//! `QuerySet`: a question about a model's rows, asked only when it is awaited.

mod aggregate;
mod explain;
mod lock;
mod more;
mod names;
mod narrow;
mod paginator;
mod parse;
mod projection;
mod read;
mod selection;
mod sets;
mod undeferred;
mod write;

use std::fmt;

use sea_query::Value;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q};
use crate::models::expression::{Comparison, Node};
use crate::models::model::Model;
use crate::models::registry::points_to;
use crate::models::related::no_key;
use crate::models::slot::RowMut;
use crate::models::sql::{Plan, Selected};
use crate::models::trail::{Columns, FieldPath, Trail};

pub use explain::Explain;
pub use lock::Lock;
pub use more::Every;
pub use narrow::OneOrMore;
pub use paginator::{Page, Paginator};
pub use projection::{Projection, select};
pub use read::refresh;
pub use selection::Selection;
pub use sets::Distinction;
pub use write::Assignment;

/// Rows of `M` to be: narrowed by `filter` and `exclude`, ordered, cut; nothing is asked until one
/// of the methods that take a [`Site`](crate::Site) is awaited. `R` is what a row becomes: the
/// model itself, or what `values` and `annotate` make of it.
pub struct QuerySet<M, R = M> {
    pub(super) plan: Plan,
    /// Makes an `R` of a row of the answer.
    pub(super) reader: Reader<R>,
    /// The model's row in an `R`, if there is one.
    row: fn(&mut R) -> Option<RowMut<'_>>,
    /// What is wrong with it, told when it is asked.
    mistake: Option<String>,
    of: std::marker::PhantomData<fn() -> M>,
}

/// Makes an `R` of a row of a plan's answer.
pub(super) type Reader<R> = fn(&Plan, &Row) -> Result<R>;

impl<M, R> Clone for QuerySet<M, R> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            reader: self.reader,
            row: self.row,
            mistake: self.mistake.clone(),
            of: std::marker::PhantomData,
        }
    }
}

impl<M, R> fmt::Debug for QuerySet<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuerySet of {}", self.plan.meta.label())
    }
}

impl<M: Model> QuerySet<M> {
    /// All rows, in the model's default order.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plan: Plan::of(M::meta()),
            reader: read_model::<M>,
            row: |row| Some(row),
            mistake: None,
            of: std::marker::PhantomData,
        }
    }

    /// The rows that point to `row`: the other side of the one foreign key from `M` to `T`. A row
    /// without a key is an error when the query runs.
    #[must_use]
    pub fn of<T: Model>(row: &T) -> Self {
        let mut rows = Self::new();
        let fields = rows.plan.meta.fields.iter().filter(|field| points_to(field, T::meta()));
        let fields: Vec<_> = fields.collect();
        let [field] = fields.as_slice() else {
            let (from, to) = (M::meta().label(), T::meta().label());
            let count = fields.len();
            rows.mistake = Some(format!("{from} has {count} foreign keys to {to}: use `filter`"));
            return rows;
        };
        let path = FieldPath::own(M::meta(), field);
        match row.key() {
            Some(key) => rows.plan.filter(equal(path, key)),
            None => rows.mistaken(no_key::<T>()),
        }
        rows
    }

    /// The row with this key.
    pub(crate) fn with_key(key: Value) -> Self {
        let mut rows = Self::new();
        rows.plan.filter(equal(FieldPath::own(M::meta(), M::meta().primary_key()), key));
        rows
    }
}

impl<M: Model> Default for QuerySet<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M, R> QuerySet<M, R> {
    /// The same rows, read in another way.
    fn read_as<S>(self, reader: Reader<S>) -> QuerySet<M, S> {
        let Self { plan, mistake, .. } = self;
        QuerySet { plan, reader, row: |_| None, mistake, of: std::marker::PhantomData }
    }

    /// As a part of another query.
    pub(super) fn into_plan(mut self) -> Plan {
        if let Some(words) = self.mistake {
            self.plan.filters = vec![Q::test(Node::Mistake(words), Lookup::IsNull(true))];
        }
        self.plan
    }

    /// Its keys, as a part of another query.
    pub(super) fn into_keys(mut self) -> Plan {
        let meta = self.plan.meta;
        let key = Node::Column(FieldPath::own(meta, meta.primary_key()));
        self.plan.select_only(&Selected::Values(vec![key]));
        self.into_plan()
    }

    pub(super) fn mistaken(&mut self, words: impl Into<String>) {
        self.mistake.get_or_insert_with(|| words.into());
    }

    /// Reads these expressions; with an aggregate among them, the others make groups.
    fn select_values(&mut self, nodes: Vec<Node>) {
        self.plan.related = Vec::new();
        self.plan.columns = if nodes.iter().any(Node::has_aggregate) {
            Selected::Groups(nodes)
        } else {
            Selected::Values(nodes)
        };
        if self.plan.combined.is_some() {
            self.mistaken("cannot select other columns of queries put together");
        }
    }

    fn refuse_if_sliced(&mut self, what: &str) {
        if self.plan.combined.is_some() && what != "order_by" {
            self.mistaken(format!("cannot {what} after union, intersection or difference"));
        }
        if self.plan.is_sliced() {
            self.mistaken(format!("cannot {what} after limit or offset"));
        }
    }

    /// What was built wrong, if something was.
    pub(super) fn checked(&self) -> Result<()> {
        match &self.mistake {
            None => Ok(()),
            Some(words) => {
                let words = format!("a query of {}: {words}", self.plan.meta.label());
                Err(Error::of(Kind::Field, words))
            }
        }
    }
}

impl<M: Model, R> QuerySet<M, R> {
    fn columns() -> M::Columns {
        M::Columns::along(Trail::of(M::meta()))
    }
}

fn equal(path: FieldPath, value: Value) -> Q {
    Q::test(Node::Column(path), Lookup::Compare(Comparison::Equal, Node::Value(value)))
}

/// Reads a row whose columns are the model's, then those of related rows.
pub(super) fn read_model<M: Model>(plan: &Plan, row: &Row) -> Result<M> {
    let mut model = M::from_row(row, 0).map_err(|error| misfit(plan, &error))?;
    let mut index = plan.meta.fields.len();
    for along in &plan.related {
        attach(&mut model, &along.names, row, index).map_err(|error| misfit(plan, &error))?;
        index += along.trail.steps.last().map_or(0, |step| step.target().fields.len());
    }
    undeferred::read(plan, &mut model, row).map_err(|error| misfit(plan, &error))?;
    Ok(model)
}

/// Reads the row at the end of relations into the one before it, if there is one; or a deferred
/// field of that.
fn attach(model: RowMut<'_>, names: &[&str], row: &Row, index: usize) -> Result<()> {
    let Some((last, before)) = names.split_last() else { return Ok(()) };
    let mut holder = model;
    for name in before {
        let Some(next) = holder.relation(name).and_then(|slot| slot.rows().pop()) else {
            return Ok(());
        };
        holder = next;
    }
    holder.relation(last).map_or(Ok(()), |slot| slot.attach(row, index))
}

fn misfit(plan: &Plan, error: &Error) -> Error {
    Error::of(error.kind(), format!("reading a {}: {error}", plan.meta.label()))
}
