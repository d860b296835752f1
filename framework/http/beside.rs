//! What belongs to one request: what is known of it from the beginning (its id, its line of the URL
//! table), and what is made when somebody asks for it (its session, its user, its token, its
//! nonce).
//!
//! One piece of the request's extensions: those are copied with each copy of a request, a box a
//! value.
//!
//! Invariant: a request that asks for nothing makes nothing; the pieces of the stack look on the
//! way out what there is.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::Extensions;

/// Kinds of values there may be; the framework's own have four.
const KINDS_MAX: usize = 5;
/// Kinds of facts: id, captured values, line.
const FACTS_MAX: usize = 3;

/// Values of different types, one a type, filled from the first place on.
type Values<const MAX: usize> = [OnceLock<Box<dyn Any + Send + Sync>>; MAX];

/// The place beside a request, in its extensions; shared by all clones of the request.
#[derive(Clone, Default)]
pub(crate) struct Beside(Arc<Inner>);

#[derive(Default)]
struct Inner {
    values: Values<KINDS_MAX>,
    /// The response has gone, or there will be none: no cookie can reach the browser any more.
    is_answered: AtomicBool,
    /// What does not change.
    facts: Values<FACTS_MAX>,
    /// The first place beside the request, which has the facts, if this is another one.
    first: Option<Beside>,
}

impl Beside {
    /// A new place beside the same request, whose answer is gone.
    pub(crate) fn renewed(&self) -> Self {
        let first = Some(self.0.first.as_ref().unwrap_or(self).clone());
        Self(Arc::new(Inner { first, is_answered: AtomicBool::new(true), ..Inner::default() }))
    }

    /// Writes down what is known of the request.
    ///
    /// # Panics
    /// There are more kinds of facts than places, which is an error of the framework.
    pub(crate) fn state<T: Send + Sync + 'static>(&self, fact: T) {
        let place = self.0.facts.iter().find(|place| place.get().is_none());
        let stated = place.expect("a place for each kind of fact").set(Box::new(fact));
        debug_assert!(stated.is_ok(), "facts are stated by one task");
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
        if let Some(known) = self.made() {
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
    pub(crate) fn made<T: 'static>(&self) -> Option<&T> {
        of(&self.0.values)
    }

    /// The same, or the fact.
    pub(crate) fn find<T: 'static>(&self) -> Option<&T> {
        let first = self.0.first.as_ref().unwrap_or(self);
        of(&first.0.facts).or_else(|| self.made())
    }

    /// Whether both are the place beside one request.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The one of this type.
fn of<T: 'static, const MAX: usize>(values: &Values<MAX>) -> Option<&T> {
    values.iter().map_while(OnceLock::get).find_map(|value| value.downcast_ref())
}

/// What is known of the request with these extensions.
pub(crate) fn fact<T: 'static>(extensions: &Extensions) -> Option<&T> {
    extensions.get::<Beside>()?.find()
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}
