//! Signals: something happened, and whoever asked to hear of it is called.
//!
//! Flow: `Project::on` collects receivers → [`Signals::send`] calls those of the event's type.
//!
//! Invariants:
//! - An event is a type of its own; its fields are what a receiver gets to know.
//! - Receivers run one after the other, in the order they were added, and are awaited.
//! - Knows no site: the context is whatever the sender has.

#[cfg(test)]
mod tests;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::Result;

/// Receivers by event; `C` is what they get beside it.
#[derive(Clone)]
pub struct Signals<C> {
    receivers: Vec<(TypeId, Receiver<C>)>,
}

type Shared = Arc<dyn Any + Send + Sync>;
type Receiver<C> = Arc<dyn Fn(C, Shared) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl<C: Clone> Signals<C> {
    /// Calls `receiver` at every event of type `E`, after those added before.
    pub fn connect<E, F, Fut>(&mut self, receiver: F)
    where
        E: Any + Send + Sync,
        F: Fn(C, Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let erased: Receiver<C> = Arc::new(move |context, event| {
            match event.downcast::<E>() {
                Ok(event) => Box::pin(receiver(context, event)),
                // Receivers are found by the event's type, so this is never another's.
                Err(_) => Box::pin(async { Ok(()) }),
            }
        });
        self.receivers.push((TypeId::of::<E>(), erased));
    }

    /// Adds the receivers of `others` after its own.
    pub fn extend(&mut self, others: Self) {
        self.receivers.extend(others.receivers);
    }

    /// Whether anybody asked for events of type `E`.
    #[must_use]
    pub fn is_heard<E: Any>(&self) -> bool {
        self.receivers.iter().any(|(kind, _)| *kind == TypeId::of::<E>())
    }

    /// Calls the receivers of `event`, one after the other, and returns it as they leave it.
    ///
    /// # Errors
    /// The first receiver's that fails; those after it are not called.
    pub async fn send<E: Any + Send + Sync>(&self, context: &C, event: E) -> Result<Arc<E>> {
        let event: Arc<E> = Arc::new(event);
        for (kind, receiver) in &self.receivers {
            if *kind == TypeId::of::<E>() {
                receiver(context.clone(), Arc::<E>::clone(&event)).await?;
            }
        }
        Ok(event)
    }
}

impl<C> Default for Signals<C> {
    fn default() -> Self {
        Self { receivers: Vec::new() }
    }
}

impl<C> fmt::Debug for Signals<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("receivers", &self.receivers.len()).finish()
    }
}
