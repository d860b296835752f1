//! `AbstractModel`: fields that several models have in common, without a table of their own.

use std::any::Any;
use std::fmt;

use chrono::{DateTime, Utc};
use sea_query::Value;
use serde::ser::SerializeStruct;

use crate::db::Row;
use crate::error::Result;
use crate::models::meta::{Field, Meta};
use crate::models::slot::Slot;
use crate::models::trail::Trail;

/// Fields that several models have in common (Django's `abstract = True`). Derive it, and put it
/// into a model as `#[field(flatten)] times: TimeStamped`, as many of them as needed.
///
/// The columns are the model's own, behind those of its other fields; indexes, constraints and
/// `ordering` of the model may name them. A template sees them as the model's fields. In closures
/// they are reached over the field, `p.times().created()`, and if the model has one base only, also
/// as `p.created()`. A base has no key, no hooks and no relations without a column; what a model's
/// hooks are to do for it they call on `self.times`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no abstract model",
    note = "put `#[derive(AbstractModel)]` on the struct"
)]
pub trait AbstractModel: Clone + fmt::Debug + Send + Sync + 'static {
    /// What a query's closure gets for it.
    type Columns: BaseColumns;
    /// How many columns it has.
    const COUNT: usize;

    /// The descriptions of its fields.
    fn fields() -> Vec<Field>;

    /// What a new row has; `fields` are those of the whole model, its own begin at `at`.
    fn initial(fields: &[Field], at: usize) -> Self;

    /// Reads it from a row whose columns begin at `index`.
    ///
    /// # Errors
    /// A column holds something else.
    fn read(row: &Row, index: usize, meta: &'static Meta, at: usize) -> Result<Self>;

    /// Adds what to store.
    fn values(&self, values: &mut Vec<Option<Value>>);

    /// Sets the `auto_now` fields and, for a new row, the `auto_now_add` ones.
    fn set_times(&mut self, now: DateTime<Utc>, adding: bool);

    /// What holds the row that the foreign key called `field` points to, or its deferred value.
    #[doc(hidden)]
    fn slot(&mut self, field: &str) -> Option<&mut dyn Slot>;

    /// Has the foreign key called `field` point to the row with this key.
    #[doc(hidden)]
    fn point(&mut self, field: &str, key: &dyn Any);

    /// How many of its fields are serialized.
    #[doc(hidden)]
    fn shown(&self) -> usize;

    /// Writes its fields as those of the row.
    ///
    /// # Errors
    /// The serializer refuses one.
    fn serialize_fields<S: SerializeStruct>(
        &self,
        row: &mut S,
    ) -> std::result::Result<(), S::Error>;
}

/// The columns of an abstract model within those of a model.
pub trait BaseColumns: Clone + fmt::Debug + Send + Sync + 'static {
    /// Those of `meta`, from its field at `at` on, at the end of `trail`.
    fn within(trail: Trail, meta: &'static Meta, at: usize) -> Self;
}
