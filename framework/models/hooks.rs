//! `Hooks`: what a model does around its saves and deletes.

use crate::error::Result;
use crate::site::Site;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was inserted.
    Created,
    /// It was updated.
    Updated,
    /// It was deleted.
    Deleted,
}

/// What a model does around its saves and deletes. With `#[model(hooks)]` a site writes the impl;
/// otherwise the derive writes an empty one.
///
/// Everything up to `after_commit` runs in the transaction of the save: an error undoes it. A
/// `QuerySet`'s `update` calls no hook, its `delete` does. Implementors write `async fn`.
pub trait Hooks: Sized + Send + Sync {
    /// What this model demands of a row beside what its description says: part of `full_clean`, not
    /// of saving. Says what is wrong with [`Error::invalid`](crate::Error::invalid), or with
    /// [`Invalid`](crate::models::Invalid) if that is several things.
    fn clean(&self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }

    /// Before INSERT or UPDATE; may still change the row.
    fn before_save(&mut self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }

    /// After INSERT or UPDATE, before the commit.
    fn after_save(&self, site: &Site, change: Change) -> impl Future<Output = Result<()>> + Send {
        let _ = (site, change);
        async { Ok(()) }
    }

    /// Before DELETE, also of a row that goes because another one does.
    fn before_delete(&mut self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }

    /// After DELETE, before the commit.
    fn after_delete(&self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }

    /// After the outermost commit: the place to tell others. An error undoes nothing.
    fn after_commit(&self, site: &Site, change: Change) -> impl Future<Output = Result<()>> + Send {
        let _ = (site, change);
        async { Ok(()) }
    }
}
