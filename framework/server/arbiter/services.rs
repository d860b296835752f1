//! Services of the site, watched as workers are; what differs is how they leave.
//!
//! A reload replaces them once its workers serve, one after the other: the old one ends before the
//! new one is started, so there are never two at work where one is wanted. What it is sent
//! meanwhile waits in its mailbox. A site that stops ends them behind its workers, whose last
//! requests may want them, and before the store. Which there are is said when the arbiter starts:
//! a build with others wants a new start, or USR2, during which those of both are at work.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::arbiter::place::{Leaving, Place, Post};
use crate::server::arbiter::{Arbiter, Phase};
use crate::server::children::Role;
use crate::server::control::Leave;
use crate::services::Declared;

/// One process of a service.
#[derive(Clone, Debug)]
pub(in crate::server) struct Duty {
    pub(in crate::server) name: &'static str,
    /// What the log calls it.
    pub(in crate::server) title: Arc<str>,
}

impl Duty {
    /// All of a service.
    pub(in crate::server) fn of(declared: &Declared) -> impl Iterator<Item = Self> + use<> {
        let (name, count) = (declared.name(), declared.count());
        (1..=count).map(move |number| {
            let title = match count {
                1 => format!("service {name}"),
                _ => format!("service {name} {number}"),
            };
            Self { name, title: title.into() }
        })
    }
}

fn is_service(place: &Place) -> bool {
    place.role == Role::Service
}

impl Arbiter<'_> {
    /// The name of the service in a place.
    pub(super) fn service_name(&self, place: &Place) -> Option<&'static str> {
        let duty = is_service(place).then(|| self.plan.services.get(place.number.checked_sub(1)?));
        duty?.map(|duty| duty.name)
    }

    /// Whether it is a service that is there.
    pub(super) fn is_of_service(&self, post: Post) -> bool {
        match post {
            Post::Child(index) | Post::Next(index) => {
                self.places.get(index).is_some_and(is_service)
            }
            Post::Leaving(index) => {
                self.leaving.get(index).is_some_and(|leaving| leaving.role == Role::Service)
            }
            Post::Successor => false,
        }
    }

    /// Whether the one that was there before has still to end.
    pub(super) fn is_being_left(&self, place: &Place) -> bool {
        let is_same =
            |leaving: &Leaving| leaving.role == Role::Service && leaving.number == place.number;
        is_service(place) && self.leaving.iter().any(is_same)
    }

    /// Ends one that is older than what the site runs now; another is started when it has ended.
    pub(super) fn tend_services(&mut self, now: Instant) {
        let generation = self.release.generation;
        // One that cannot start, and waits for its next try, keeps no other.
        let is_busy = |place: &Place| {
            place.child.as_ref().is_some_and(|child| !child.is_ready) || self.is_being_left(place)
        };
        let mut services = self.places.iter().filter(|place| is_service(place));
        if self.reload.is_some() || self.phase != Phase::Serving || services.any(is_busy) {
            return;
        }
        let is_old = |place: &Place| {
            let child = place.child.as_ref().filter(|_| is_service(place));
            child.is_some_and(|child| child.generation < generation)
        };
        let Some(index) = self.places.iter().position(is_old) else { return };
        let kill_at = now + self.plan.times.graceful;
        let place = &mut self.places[index];
        let (role, number) = (place.role, place.number);
        place.due = now;
        if let Some(child) = place.child.take() {
            child.drain(Leave::Replaced);
            self.leaving.push(Leaving::new((role, number), child, kill_at));
        }
    }

    /// Whether services are to end now that the site stops: with its last worker, or while there
    /// is a quarter of the time left for them.
    pub(super) fn is_time_for_services(
        &self,
        now: Instant,
        kill_at: Instant,
        workers: usize,
    ) -> bool {
        let quarter: Duration = self.plan.times.graceful / 4;
        workers == 0 || now + quarter >= kill_at
    }
}
