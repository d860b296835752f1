//! `values` and `annotate`: rows of expressions instead of models, or beside them.

use crate::db::Row;
use crate::error::Result;
use crate::models::expression::{Expression, Node, Output};
use crate::models::field::{FieldType, Plain};
use crate::models::model::Model;
use crate::models::query::aggregate::nothing;
use crate::models::query::{QuerySet, read_model};
use crate::models::related::Related;
use crate::models::sql::{Plan, Selected};

/// What `values` and `annotate` can be asked for: an expression, a foreign key (its key is read),
/// or a tuple of up to twelve of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be selected",
    label = "expected an expression or a tuple of up to 12 of them"
)]
pub trait Selection {
    /// What a row becomes.
    type Row: Send;
    /// How many columns it takes.
    const WIDTH: usize;

    /// Adds its expressions.
    #[doc(hidden)]
    fn nodes(self, nodes: &mut Vec<Node>);

    /// Reads it from the columns from `index` on.
    ///
    /// # Errors
    /// A column holds something else.
    #[doc(hidden)]
    fn read(row: &Row, index: usize) -> Result<Self::Row>;

    /// What it is of no row at all, if that can be told without asking.
    #[doc(hidden)]
    fn nothing(nodes: &mut std::slice::Iter<'_, Node>) -> Option<Self::Row>;
}

impl<T, Out: Output> Selection for Expression<T, Out> {
    type Row = Out;
    const WIDTH: usize = 1;

    fn nodes(self, nodes: &mut Vec<Node>) {
        nodes.push(self.into_node());
    }

    fn read(row: &Row, index: usize) -> Result<Out> {
        Out::read(row, index).map_err(|error| {
            if row.is_null(index) && !Out::NULL {
                return error.context("a value is NULL; read it with nullable() as an Option");
            }
            error
        })
    }

    fn nothing(nodes: &mut std::slice::Iter<'_, Node>) -> Option<Out> {
        nothing(nodes.next()?)
    }
}

impl<T: Model> Selection for Related<T> {
    type Row = Option<T::Key>;
    const WIDTH: usize = 1;

    fn nodes(self, nodes: &mut Vec<Node>) {
        nodes.push(self.key().into_node());
    }

    fn read(row: &Row, index: usize) -> Result<Option<T::Key>> {
        FieldType::read(row, index)
    }

    fn nothing(nodes: &mut std::slice::Iter<'_, Node>) -> Option<Option<T::Key>> {
        nodes.next().map(|_| None)
    }
}

macro_rules! tuples {
    ($($($part:ident)+;)+) => {$(
        impl<$($part: Selection),+> Selection for ($($part,)+) {
            type Row = ($($part::Row,)+);
            const WIDTH: usize = 0 $(+ $part::WIDTH)+;

            #[expect(non_snake_case, reason = "one name for a part and its type")]
            fn nodes(self, nodes: &mut Vec<Node>) {
                let ($($part,)+) = self;
                $($part.nodes(nodes);)+
            }

            fn read(row: &Row, mut index: usize) -> Result<Self::Row> {
                Ok(($({
                    let part = $part::read(row, index)?;
                    index += $part::WIDTH;
                    let _ = index;
                    part
                },)+))
            }

            fn nothing(nodes: &mut std::slice::Iter<'_, Node>) -> Option<Self::Row> {
                Some(($($part::nothing(nodes)?,)+))
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

impl<M: Model, R> QuerySet<M, R> {
    /// Reads these expressions instead of models: one as itself, several as a tuple (Django's
    /// `values_list`).
    #[must_use]
    pub fn values<A: Selection>(
        mut self,
        select: impl FnOnce(&M::Columns) -> A,
    ) -> QuerySet<M, A::Row> {
        let mut nodes = Vec::with_capacity(A::WIDTH);
        select(&Self::columns()).nodes(&mut nodes);
        self.select_values(nodes);
        self.read_as(read_values::<A>)
    }
}

impl<M: Model, R> QuerySet<M, R> {
    /// One expression of the first row as an expression of another query; NULL without a row.
    /// Columns of that other query are marked with `outer_ref`.
    #[must_use]
    pub fn subquery<T: Plain, Out: Output>(
        mut self,
        select: impl FnOnce(&M::Columns) -> Expression<T, Out>,
    ) -> Expression<T, Option<T>> {
        let node = select(&Self::columns()).into_node();
        self.select_values(vec![node]);
        let is_one = self.plan.is_grouped();
        Expression::from_node(Node::Subquery(Box::new(match is_one {
            true => self.into_plan(),
            false => self.limit(1).into_plan(),
        })))
    }
}

impl<M: Model> QuerySet<M> {
    /// Reads these expressions beside each model.
    #[must_use]
    pub fn annotate<A: Selection>(
        mut self,
        select: impl FnOnce(&M::Columns) -> A,
    ) -> QuerySet<M, (M, A::Row)> {
        let mut nodes = Vec::with_capacity(A::WIDTH);
        select(&Self::columns()).nodes(&mut nodes);
        self.plan.columns = Selected::Model(nodes);
        let mut rows = self.read_as(read_annotated::<M, A>);
        rows.row = |(model, _)| Some(model);
        rows
    }
}

fn read_values<A: Selection>(_: &Plan, row: &Row) -> Result<A::Row> {
    A::read(row, 0)
}

fn read_annotated<M: Model, A: Selection>(plan: &Plan, row: &Row) -> Result<(M, A::Row)> {
    let related = plan.related.iter().filter_map(|along| along.trail.steps.last());
    let related: usize = related.map(|step| step.target().fields.len()).sum();
    let index = plan.meta.fields.len() + related;
    Ok((read_model(plan, row)?, A::read(row, index)?))
}
