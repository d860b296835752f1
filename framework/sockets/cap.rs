//! How many WebSockets a process holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::site::Site;

/// The WebSockets of a site in this process.
#[derive(Debug, Default)]
pub(crate) struct Cap {
    held: AtomicUsize,
}

/// The place of one. Dropping it lets another one in.
#[derive(Debug)]
pub(super) struct Place(Arc<Cap>);

impl Cap {
    /// That of a site.
    pub(crate) fn of(site: &Site) -> Arc<Self> {
        site.keep(|_| Self::default())
    }

    /// A place, if `max` (0: any number) are not there yet.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        if max > 0 && before >= max {
            return None;
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}
