//! What a relation holds once it is loaded.
//!
//! The type of what is held is no part of the type that holds it: a compiler that wants to know
//! whether a row may go to another thread would else look into every model that its foreign keys
//! lead to, and gives up after some 27 of them.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

/// Nothing yet, or a `V` shared with others.
pub(in crate::models) struct Kept<V> {
    value: OnceLock<Arc<dyn Any + Send + Sync>>,
    of: PhantomData<fn() -> V>,
}

impl<V> Kept<V> {
    pub(in crate::models) fn new() -> Self {
        Self { value: OnceLock::new(), of: PhantomData }
    }
}

impl<V: Send + Sync + 'static> Kept<V> {
    pub(in crate::models) fn get(&self) -> Option<&V> {
        self.value.get().map(|value| value.downcast_ref().expect(ONLY))
    }

    /// What is held; `value` if that is nothing yet.
    pub(in crate::models) fn get_or(&self, value: Arc<V>) -> &V {
        self.value.get_or_init(|| value).downcast_ref().expect(ONLY)
    }

    /// What is held, no longer shared.
    pub(in crate::models) fn get_mut(&mut self) -> Option<&mut V>
    where
        V: Clone,
    {
        let mut value = self.value.take()?.downcast::<V>().ok()?;
        Arc::make_mut(&mut value);
        self.put(value);
        self.value.get_mut().and_then(Arc::get_mut).and_then(|value| value.downcast_mut())
    }

    pub(in crate::models) fn put(&mut self, value: Arc<V>) {
        self.value = OnceLock::from(value as Arc<dyn Any + Send + Sync>);
    }
}

/// Nothing else is ever put there.
const ONLY: &str = "a `Kept<V>` holds a `V`";

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), of: PhantomData }
    }
}
