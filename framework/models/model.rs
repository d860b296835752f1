//! `Model`: what `#[derive(Model)]` implements.

use std::any::Any;

use chrono::{DateTime, Utc};
use sea_query::Value;
use serde::Serialize;

use crate::db::Row;
use crate::error::Result;
use crate::models::field::Plain;
use crate::models::hooks::Hooks;
use crate::models::meta::Meta;
use crate::models::slot::Slot;
use crate::models::trail::Columns;

/// A struct that is a table. Derive it; the derive adds `objects`, `save`, `delete`, `refresh`,
/// `create` and `of`, which call the functions of this room.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "put `#[derive(Model)]` on the struct"
)]
pub trait Model: Hooks + Clone + Default + Serialize + 'static {
    /// What its primary key is: `i64` for an `Id`.
    type Key: Plain + PartialEq;
    /// What a query's closure gets.
    type Columns: Columns;
    /// Whether the site has written its `Hooks`; without, nothing is done for them.
    const HOOKS: bool;

    /// Its description.
    fn meta() -> &'static Meta;

    /// Reads a row whose columns begin at `index`, in the order of the description.
    ///
    /// # Errors
    /// A column holds something else.
    fn from_row(row: &Row, index: usize) -> Result<Self>;

    /// What to store, in the order of the description; `None` for what is unset and must not be.
    fn values(&self) -> Vec<Option<Value>>;

    /// Its primary key, if it is set.
    fn own_key(&self) -> Option<Self::Key>;

    /// Its primary key as a value to bind, if it is set.
    fn key(&self) -> Option<Value>;

    /// Takes the key the database has given, from the column at `index`.
    ///
    /// # Errors
    /// The column holds something else.
    fn read_key(&mut self, row: &Row, index: usize) -> Result<()>;

    /// Forgets its key.
    fn unset_key(&mut self);

    /// Sets the `auto_now` fields and, for a new row, the `auto_now_add` ones.
    fn set_times(&mut self, now: DateTime<Utc>, adding: bool);

    /// What holds the rows of the relation called `field`, or its deferred value.
    #[doc(hidden)]
    fn slot(&mut self, field: &str) -> Option<&mut dyn Slot>;

    /// Has the foreign key called `field` point to the row with this key.
    #[doc(hidden)]
    fn point(&mut self, field: &str, key: &dyn Any);
}
