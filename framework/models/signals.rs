//! What other apps may hear of a model's rows: `Project::on` connects a receiver to
//! [`PreSave<Post>`](PreSave), [`PostSave<Post>`](PostSave) and so on.
//!
//! Order of a save: `before_save` → [`PreSave`] → INSERT or UPDATE → [`PostSave`] → `after_save` →
//! commit → `after_commit`. Of a delete: the same around DELETE, for every row that goes.
//!
//! Invariants:
//! - Receivers run in the transaction of the save or delete; the error of one undoes it.
//! - An event is made only if somebody listens; `QuerySet::update`, `bulk_create` and `bulk_update`
//!   send none.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::models::live::Saved;
use crate::models::model::Model;
use crate::site::Site;

/// A row is about to be inserted or updated. A receiver may still [`change`](Self::change) it.
pub struct PreSave<M> {
    row: Mutex<M>,
    /// Whether it comes from a fixture and is stored as it is.
    pub raw: bool,
    /// The only fields that are written (`save_only`); all if `None`.
    pub update_fields: Option<Vec<&'static str>>,
}

impl<M: Model> PreSave<M> {
    /// The row as it is to be saved so far.
    #[must_use]
    pub fn row(&self) -> M {
        self.change(|row| row.clone())
    }

    /// Looks at the row or changes it, before it is saved.
    pub fn change<T>(&self, work: impl FnOnce(&mut M) -> T) -> T {
        work(&mut self.row.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn send(row: &mut M, saved: Saved<'_>, site: &Site) -> Result<()> {
        if !site.hears::<Self>() {
            return Ok(());
        }
        let (raw, update_fields) = (saved.raw, saved.names());
        let event = Self { row: Mutex::new(row.clone()), raw, update_fields };
        let event = site.send_signal(event).await?;
        *row = event.row();
        Ok(())
    }
}

/// A row was inserted or updated; the transaction is still open.
pub struct PostSave<M> {
    /// The row, with its key.
    pub row: M,
    /// Whether it was inserted.
    pub created: bool,
    /// Whether it comes from a fixture and was stored as it is.
    pub raw: bool,
    /// The only fields that were written (`save_only`); all if `None`.
    pub update_fields: Option<Vec<&'static str>>,
}

impl<M: Model> PostSave<M> {
    pub(super) async fn send(row: &M, created: bool, saved: Saved<'_>, site: &Site) -> Result<()> {
        if !site.hears::<Self>() {
            return Ok(());
        }
        let (raw, update_fields) = (saved.raw, saved.names());
        let event = Self { row: row.clone(), created, raw, update_fields };
        site.send_signal(event).await.map(drop)
    }
}

/// A row is about to be deleted, by itself or because another one goes.
pub struct PreDelete<M> {
    /// The row.
    pub row: M,
}

impl<M: Model> PreDelete<M> {
    pub(super) async fn send(row: &M, site: &Site) -> Result<()> {
        if !site.hears::<Self>() {
            return Ok(());
        }
        site.send_signal(Self { row: row.clone() }).await.map(drop)
    }
}

/// A row was deleted; the transaction is still open.
pub struct PostDelete<M> {
    /// The row, with the key it had.
    pub row: M,
}

impl<M: Model> PostDelete<M> {
    pub(super) async fn send(row: &M, site: &Site) -> Result<()> {
        if !site.hears::<Self>() {
            return Ok(());
        }
        site.send_signal(Self { row: row.clone() }).await.map(drop)
    }
}

macro_rules! shown {
    ($($event:ident),+) => {$(
        impl<M: Model> fmt::Debug for $event<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} of {}", stringify!($event), M::meta().label())
            }
        }
    )+};
}

shown!(PreSave, PostSave, PreDelete, PostDelete);
