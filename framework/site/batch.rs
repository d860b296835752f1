//! What the commits of a transaction are told at once, though it was asked for piece by piece.

use std::any::{Any, TypeId};

use futures_util::future::BoxFuture;

use super::Site;
use crate::error::Result;

/// Pieces of work that are one after the commit.
pub(crate) trait Batch: Send + Sized + 'static {
    /// Takes over what was asked for later.
    fn add(&mut self, later: Self);

    /// Does it, outside the transaction.
    fn run(self, site: Site) -> impl Future<Output = Result<()>> + Send;
}

/// A [`Batch`], whatever its type.
pub(super) trait Gathered: Send {
    fn kind(&self) -> TypeId;
    fn any(&mut self) -> &mut dyn Any;
    /// Takes what is in `later`, which is of the same kind.
    fn add(&mut self, later: &mut dyn Any);
    fn run(self: Box<Self>, site: Site) -> BoxFuture<'static, Result<()>>;
}

/// Empty once it was added to another.
pub(super) struct Piece<B>(pub(super) Option<B>);

impl<B: Batch> Gathered for Piece<B> {
    fn kind(&self) -> TypeId {
        TypeId::of::<B>()
    }

    fn any(&mut self) -> &mut dyn Any {
        &mut self.0
    }

    fn add(&mut self, later: &mut dyn Any) {
        let later = later.downcast_mut::<Option<B>>().and_then(Option::take);
        match (&mut self.0, later) {
            (Some(batch), Some(later)) => batch.add(later),
            (own, later) => *own = own.take().or(later),
        }
    }

    fn run(self: Box<Self>, site: Site) -> BoxFuture<'static, Result<()>> {
        match self.0 {
            Some(batch) => Box::pin(batch.run(site)),
            None => Box::pin(async { Ok(()) }),
        }
    }
}
