//! `project`: rows as structs of some columns.

use crate::db::Row;
use crate::error::Result;
use crate::models::expression::Node;
use crate::models::model::Model;
use crate::models::query::{QuerySet, Selection};
use crate::models::sql::Plan;

/// A struct that rows of a model can be read as, with only the columns it needs. Derive it.
pub trait Projection: Sized {
    /// The model.
    type Model: Model;

    /// Adds its expressions, in the order that `read` reads them.
    #[doc(hidden)]
    fn nodes(columns: &<Self::Model as Model>::Columns, nodes: &mut Vec<Node>);

    /// Reads it from the columns from `index` on.
    ///
    /// # Errors
    /// A column holds something else.
    #[doc(hidden)]
    fn read(row: &Row, index: usize) -> Result<Self>;
}

/// Adds the expressions of a field that is a `T`.
#[doc(hidden)]
pub fn select<T>(selection: impl Selection<Row = T>, nodes: &mut Vec<Node>) {
    selection.nodes(nodes);
}

impl<M: Model, R> QuerySet<M, R> {
    /// Reads rows as a struct that derives [`Projection`], and no other columns.
    #[must_use]
    pub fn project<P: Projection<Model = M>>(mut self) -> QuerySet<M, P> {
        let mut nodes = Vec::new();
        P::nodes(&Self::columns(), &mut nodes);
        self.select_values(nodes);
        self.read_as(read_projection::<P>)
    }
}

fn read_projection<P: Projection>(_: &Plan, row: &Row) -> Result<P> {
    P::read(row, 0)
}
