//! What belongs to one request and is made when somebody asks for it: its session, its user, its
//! token.
//!
//! Invariant: a request that asks for nothing makes nothing; the pieces of the stack look on the
//! way out what there is.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Kinds of values there may be; the framework's own apps have three.
const KINDS_MAX: usize = 4;

/// The place beside a request, in its extensions; shared by all clones of the request.
#[derive(Clone, Default)]
pub(crate) struct Beside(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// One value a type, filled from the first place on.
    values: [OnceLock<Box<dyn Any + Send + Sync>>; KINDS_MAX],
    /// The response has gone, or there will be none: no cookie can reach the browser any more.
    is_answered: AtomicBool,
}

impl Beside {
    /// The place beside a request whose answer is gone.
    pub(crate) fn answered() -> Self {
        let beside = Self::default();
        beside.set_answered();
        beside
    }

    /// From now on nothing that is made can reach the browser.
    pub(crate) fn set_answered(&self) {
        self.0.is_answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.is_answered.load(Ordering::Relaxed)
    }

    /// The value of this type, made by `make` if nobody has asked before; of two who ask at once
    /// one may have made it in vain.
    ///
    /// # Panics
    /// There are more kinds of values than places, which is an error of the framework.
    pub(crate) fn get<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(known) = self.find() {
            return known;
        }
        let mut value: Option<Box<dyn Any + Send + Sync>> = Some(Box::new(make()));
        let found = self.0.values.iter().find_map(|place| {
            let there = place.get_or_init(|| value.take().expect("it fills one place"));
            there.downcast_ref()
        });
        found.expect("a place for each kind of value")
    }

    /// The value of this type, if somebody has asked for it.
    pub(crate) fn find<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.values.iter().map_while(OnceLock::get).find_map(|value| value.downcast_ref())
    }

    /// Whether both are the place beside one request.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}
