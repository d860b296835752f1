//! `Related` and `RelatedMany`: relations as a query's closure sees them, with the columns behind.

use std::fmt;
use std::ops::Deref;

use crate::models::condition::{Lookup, Q};
use crate::models::expression::{Comparison, Expression, Node, Order, Output};
use crate::models::field::FieldType;
use crate::models::foreign_key::ForeignKey;
use crate::models::model::Model;
use crate::models::query::{Assignment, QuerySet};
use crate::models::trail::{AtPath, Columns, FieldPath, Trail};

/// A foreign key to `T`: its own lookups, and the columns of `T` behind it.
pub struct Related<T: Model> {
    path: FieldPath,
    columns: T::Columns,
}

impl<T: Model> AtPath for Related<T> {
    type Nullable = Self;

    fn at(path: FieldPath) -> Self {
        let trail = path.trail.clone().then(crate::models::trail::Step::Forward(path.field));
        Self { path, columns: T::Columns::along(trail) }
    }
}

impl<T: Model> Deref for Related<T> {
    type Target = T::Columns;

    fn deref(&self) -> &T::Columns {
        &self.columns
    }
}

impl<T: Model> Clone for Related<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), columns: self.columns.clone() }
    }
}

impl<T: Model> fmt::Debug for Related<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Related({})", self.path.field.name)
    }
}

impl<T: Model> Related<T> {
    fn node(self) -> Node {
        Node::Column(self.path)
    }

    /// It points to `row`; `None` asks for NULL. A row without a key is an error when the query
    /// runs.
    #[must_use]
    pub fn eq(self, row: impl PointsTo<T>) -> Q {
        points_to(self.node(), row)
    }

    /// It does not point to `row`.
    #[must_use]
    pub fn ne(self, row: impl PointsTo<T>) -> Q {
        !self.eq(row)
    }

    /// It points to one of `rows`.
    #[must_use]
    pub fn in_<R: PointsTo<T>>(self, rows: impl IntoIterator<Item = R>) -> Q {
        points_to_one_of(self.node(), rows)
    }

    /// It points to one of the rows of a query.
    #[must_use]
    pub fn in_query<R>(self, rows: QuerySet<T, R>) -> Q {
        Q::test(self.node(), Lookup::InQuery(Box::new(rows.into_keys())))
    }

    /// It points nowhere, or with `false` somewhere.
    #[must_use]
    pub fn isnull(self, null: bool) -> Q {
        Q::test(self.node(), Lookup::IsNull(null))
    }

    /// What `update` sets it to; `None` is NULL, a row without a key an error.
    #[must_use]
    pub fn set(self, row: impl PointsTo<T>) -> Assignment {
        let null = || Node::Value(<ForeignKey<T> as FieldType>::null());
        Assignment::new(Node::Column(self.path), row.target().unwrap_or_else(null))
    }

    /// The other row's key as an expression.
    #[must_use]
    pub fn key(self) -> Expression<T::Key> {
        Expression::from_node(self.node())
    }

    /// By the other row's key, smallest first.
    #[must_use]
    pub fn asc(self) -> Order {
        self.key().asc()
    }

    /// By the other row's key, largest first.
    #[must_use]
    pub fn desc(self) -> Order {
        self.key().desc()
    }

    pub(in crate::models) fn into_path(self) -> FieldPath {
        self.path
    }

    /// The other side of a one-to-one, at the end of `trail`.
    pub(in crate::models) fn back(trail: Trail) -> Self {
        let columns = T::Columns::along(trail.clone());
        Self { path: FieldPath { trail, field: T::meta().primary_key() }, columns }
    }

    /// The way to the other row.
    pub(in crate::models) fn into_trail(self) -> Trail {
        self.columns.trail().clone()
    }
}

/// Rows of `T` that belong to the row: the other side of a foreign key, or a many-to-many. Each
/// call of `filter` looks at one of them at a time; `exclude` drops rows that have any such.
pub struct RelatedMany<T: Model> {
    trail: Trail,
    columns: T::Columns,
}

impl<T: Model> RelatedMany<T> {
    /// Those at the end of `trail`.
    #[must_use]
    pub fn along(trail: Trail) -> Self {
        Self { columns: T::Columns::along(trail.clone()), trail }
    }

    fn node(self) -> Node {
        Node::Column(FieldPath { trail: self.trail, field: T::meta().primary_key() })
    }

    /// One of them is `row`. A row without a key is an error when the query runs.
    #[must_use]
    pub fn eq(self, row: impl PointsTo<T>) -> Q {
        points_to(self.node(), row)
    }

    /// None of them is `row`.
    #[must_use]
    pub fn ne(self, row: impl PointsTo<T>) -> Q {
        !self.eq(row)
    }

    /// One of them is one of `rows`.
    #[must_use]
    pub fn in_<R: PointsTo<T>>(self, rows: impl IntoIterator<Item = R>) -> Q {
        points_to_one_of(self.node(), rows)
    }

    /// One of them is one of the rows of a query.
    #[must_use]
    pub fn in_query<R>(self, rows: QuerySet<T, R>) -> Q {
        Q::test(self.node(), Lookup::InQuery(Box::new(rows.into_keys())))
    }

    /// There is none, or with `false` there is one.
    #[must_use]
    pub fn isnull(self, null: bool) -> Q {
        Q::test(self.node(), Lookup::IsNull(null))
    }

    /// Their keys as an expression.
    #[must_use]
    pub fn key(self) -> Expression<T::Key> {
        Expression::from_node(self.node())
    }

    /// The way to them.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.trail
    }
}

impl<T: Model> Deref for RelatedMany<T> {
    type Target = T::Columns;

    fn deref(&self) -> &T::Columns {
        &self.columns
    }
}

impl<T: Model> Clone for RelatedMany<T> {
    fn clone(&self) -> Self {
        Self { trail: self.trail.clone(), columns: self.columns.clone() }
    }
}

impl<T: Model> fmt::Debug for RelatedMany<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelatedMany({:?})", self.trail.steps)
    }
}

/// What is wrong with a row in a query before it is saved.
pub(in crate::models) fn no_key<T: Model>() -> String {
    format!("this {} has no key yet: save it first", T::meta().label())
}

/// In place of the key of a foreign key that has none.
fn unset<T: Model>() -> Node {
    let label = T::meta().label();
    Node::Mistake(format!(
        "this foreign key to {label} has no key yet: save the row it is made of first"
    ))
}

fn points_to<T: Model>(node: Node, row: impl PointsTo<T>) -> Q {
    match row.target() {
        Some(key) => Q::test(node, Lookup::Compare(Comparison::Equal, key)),
        None => Q::test(node, Lookup::IsNull(true)),
    }
}

fn points_to_one_of<T: Model, R: PointsTo<T>>(node: Node, rows: impl IntoIterator<Item = R>) -> Q {
    let keys: Vec<_> = rows.into_iter().filter_map(PointsTo::target).collect();
    if keys.is_empty() { Q::NEVER } else { Q::test(node, Lookup::In(keys)) }
}

/// What a foreign key to `T` can be compared with: a row, another foreign key, or the key of one
/// as an expression.
#[diagnostic::on_unimplemented(
    message = "a foreign key to `{T}` cannot be compared with a `{Self}`",
    label = "expected a row `&{T}`, a `ForeignKey<{T}>` or an expression of its key"
)]
pub trait PointsTo<T: Model> {
    /// The key to bind or the expression; `None` is NULL.
    fn target(self) -> Option<Node>;
}

impl<T: Model> PointsTo<T> for &T {
    fn target(self) -> Option<Node> {
        Some(self.key().map_or_else(|| Node::Mistake(no_key::<T>()), Node::Value))
    }
}

impl<T: Model> PointsTo<T> for &ForeignKey<T> {
    fn target(self) -> Option<Node> {
        Some(self.value().map_or_else(unset::<T>, Node::Value))
    }
}

impl<T: Model> PointsTo<T> for ForeignKey<T> {
    fn target(self) -> Option<Node> {
        Some(self.value().map_or_else(unset::<T>, Node::Value))
    }
}

/// A foreign key that may be NULL: `p.editor().set(None)`.
impl<T: Model> PointsTo<T> for Option<ForeignKey<T>> {
    fn target(self) -> Option<Node> {
        self.and_then(PointsTo::<T>::target)
    }
}

impl<T: Model> PointsTo<T> for &Option<ForeignKey<T>> {
    fn target(self) -> Option<Node> {
        self.as_ref().and_then(PointsTo::<T>::target)
    }
}

impl<T: Model> PointsTo<T> for Related<T> {
    fn target(self) -> Option<Node> {
        Some(self.node())
    }
}

impl<T: Model, Out: Output> PointsTo<T> for Expression<T::Key, Out> {
    fn target(self) -> Option<Node> {
        Some(self.into_node())
    }
}
