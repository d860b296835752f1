//! A row of any model, without its type: what saving and deleting ask of a struct, so that they are
//! ordinary code over the description and not made anew for every model.
//!
//! Flow: `post.save(&site)` → `&mut dyn Live` → `save` → [`Live::at`] around the statement.
//!
//! Invariant: a hook or a receiver is called in one place, here; who writes rows some other way
//! (fixtures, commands) comes through here too.

use std::any::Any;
use std::fmt;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sea_query::Value;

use crate::db::Row;
use crate::error::Result;
use crate::models::hooks::Change;
use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::models::signals::{PostDelete, PostSave, PreDelete, PreSave};
use crate::models::slot::Slot;
use crate::site::Site;

/// What a description knows of its struct; the derive makes it.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Whether the site has written hooks for it.
    pub(super) hooks: bool,
    /// A new row, with its defaults.
    pub(super) new: fn() -> Box<dyn Live>,
    /// A row read from the columns that begin at the index.
    pub(super) read: fn(&Row, usize) -> Result<Box<dyn Live>>,
    /// Whether somebody asked to hear of this.
    pub(super) heard: fn(&Site, Act) -> bool,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// INSERT or UPDATE.
    Save,
    /// DELETE.
    Delete,
}

/// A moment in the life of a row, with what its receivers get to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment<'a> {
    /// Before INSERT or UPDATE.
    BeforeSave(Saved<'a>),
    /// After INSERT or UPDATE.
    AfterSave(Saved<'a>, Change),
    /// Before DELETE.
    BeforeDelete,
    /// After DELETE, its key still set.
    AfterDelete,
    /// After the outermost commit.
    Committed(Change),
}

/// How a row is being saved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved<'a> {
    /// It comes as it is, from a fixture.
    pub(crate) raw: bool,
    /// The only fields that are written; all if `None`.
    pub(crate) update_fields: Option<&'a [&'static Field]>,
}

impl Saved<'_> {
    pub(super) fn names(self) -> Option<Vec<&'static str>> {
        self.update_fields.map(|fields| fields.iter().map(|field| field.name).collect())
    }
}

/// A row, whatever its type. Every model is one.
pub(crate) trait Live: Send + Sync {
    /// Its description.
    fn meta(&self) -> &'static Meta;
    /// Its key, if it is set.
    fn key(&self) -> Option<Value>;
    /// What to store, in the order of the description.
    fn values(&self) -> Vec<Option<Value>>;
    /// Takes the key in the column at `index`.
    ///
    /// # Errors
    /// The column holds something else.
    fn take_key(&mut self, row: &Row, index: usize) -> Result<()>;
    /// Forgets its key.
    fn unset_key(&mut self);
    /// Sets the `auto_now` fields and, for a new row, the `auto_now_add` ones.
    fn set_times(&mut self, now: DateTime<Utc>, adding: bool);
    /// What holds the relation or the deferred value of this name.
    fn slot(&mut self, field: &str) -> Option<&mut dyn Slot>;
    /// Becomes the row whose columns begin at 0.
    ///
    /// # Errors
    /// A column holds something else.
    fn replace(&mut self, row: &Row) -> Result<()>;
    /// Another of the same.
    fn copy(&self) -> Box<dyn Live>;
    /// Calls the model's hook and whoever listens.
    fn at<'a>(&'a mut self, site: &'a Site, moment: Moment<'a>) -> BoxFuture<'a, Result<()>>;
    /// The struct itself.
    fn as_any(&self) -> &dyn Any;
}

impl<M: Model> Live for M {
    fn meta(&self) -> &'static Meta {
        M::meta()
    }

    fn key(&self) -> Option<Value> {
        Model::key(self)
    }

    fn values(&self) -> Vec<Option<Value>> {
        Model::values(self)
    }

    fn take_key(&mut self, row: &Row, index: usize) -> Result<()> {
        self.read_key(row, index)
    }

    fn unset_key(&mut self) {
        Model::unset_key(self);
    }

    fn set_times(&mut self, now: DateTime<Utc>, adding: bool) {
        Model::set_times(self, now, adding);
    }

    fn slot(&mut self, field: &str) -> Option<&mut dyn Slot> {
        Model::slot(self, field)
    }

    fn replace(&mut self, row: &Row) -> Result<()> {
        *self = M::from_row(row, 0)?;
        Ok(())
    }

    fn copy(&self) -> Box<dyn Live> {
        Box::new(self.clone())
    }

    fn at<'a>(&'a mut self, site: &'a Site, moment: Moment<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(call(self, site, moment))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The hook stands around the receivers, as a `save` of the site's own would in Django.
async fn call<M: Model>(row: &mut M, site: &Site, moment: Moment<'_>) -> Result<()> {
    match moment {
        Moment::BeforeSave(saved) => {
            row.before_save(site).await?;
            PreSave::send(row, saved, site).await
        }
        Moment::AfterSave(saved, change) => {
            let created = change == Change::Created;
            PostSave::send(row, created, saved, site).await?;
            row.after_save(site, change).await
        }
        Moment::BeforeDelete => {
            row.before_delete(site).await?;
            PreDelete::send(row, site).await
        }
        Moment::AfterDelete => {
            PostDelete::send(row, site).await?;
            row.after_delete(site).await
        }
        Moment::Committed(change) => row.after_commit(site, change).await,
    }
}

/// What the description of `M` knows of it.
#[doc(hidden)]
#[must_use]
pub fn rows<M: Model>() -> Rows {
    Rows {
        hooks: M::HOOKS,
        new: || Box::new(M::default()),
        read: |row, index| Ok(Box::new(M::from_row(row, index)?)),
        heard: |site, act| match act {
            Act::Save => site.hears::<PreSave<M>>() || site.hears::<PostSave<M>>(),
            Act::Delete => site.hears::<PreDelete<M>>() || site.hears::<PostDelete<M>>(),
        },
    }
}

/// Whether somebody must be called when a row of `meta` is saved or deleted: the model itself or
/// a receiver.
pub(crate) fn is_observed(meta: &Meta, site: &Site, act: Act) -> bool {
    meta.rows.is_some_and(|rows| rows.hooks || (rows.heard)(site, act))
}

/// Calls the model's hook once the outermost transaction has committed.
pub(super) async fn when_committed(row: &dyn Live, site: &Site, change: Change) -> Result<()> {
    if !row.meta().rows.is_some_and(|rows| rows.hooks) {
        return Ok(());
    }
    let mut row = row.copy();
    site.on_commit(move |site| async move { row.at(&site, Moment::Committed(change)).await }).await
}
