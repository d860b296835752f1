//! The end: workers finish what they have begun, then services, whom they may have asked for
//! something, then the store.

use tokio::time::Instant;

use crate::server::arbiter::place::Place;
use crate::server::arbiter::{Arbiter, Phase, Stop};
use crate::server::children::{Role, Running};
use crate::server::control::Leave;

impl Arbiter<'_> {
    pub(in crate::server) fn stop(&mut self, stop: Stop) {
        let now = Instant::now();
        let stopping = matches!(self.phase, Phase::Stopping(_));
        let at_once = stop == Stop::AtOnce || (stopping && stop == Stop::Interrupt);
        if at_once {
            self.begin_stopping(now);
        } else if !stopping {
            tracing::info!("stopping; a second interrupt stops at once");
            self.begin_stopping(now + self.plan.times.graceful);
        }
    }

    /// From here on nobody new is let in; whoever is left at `kill_at` is killed.
    pub(super) fn begin_stopping(&mut self, kill_at: Instant) {
        // One that is ready has the site, and nothing to fear.
        if self.phase == Phase::Serving {
            self.successor.iter().for_each(Running::kill);
        }
        self.phase = Phase::Stopping(kill_at);
        self.plan.manager.stopping();
        self.end_workers(kill_at, Leave::Stop);
    }

    /// The same, when a successor goes on.
    pub(in crate::server) fn begin_leaving(&mut self, kill_at: Instant) {
        self.phase = Phase::Stopping(kill_at);
        self.end_workers(kill_at, Leave::Replaced);
    }

    fn end_workers(&mut self, kill_at: Instant, leave: Leave) {
        // The workers have their own copies, and drop them once they have emptied the queue.
        self.plan.listeners.clear();
        self.plan.stopping.cancel();
        for place in self.places.iter().filter(|place| place.role == Role::Worker) {
            for child in place.children() {
                // One that is not ready serves nobody, and might hear of it late.
                if child.is_ready { child.drain(leave) } else { child.kill() }
            }
        }
        for leaving in &mut self.leaving {
            leaving.kill_at = leaving.kill_at.min(kill_at);
            leaving.child.drain(leave);
        }
        self.give_up_reload("the site stops");
    }

    /// Kills whoever is late, and ends services and store when their turn has come.
    pub(super) fn tend_stopping(&self, now: Instant, kill_at: Instant) {
        let of_workers = self.places.iter().filter(|place| place.role == Role::Worker);
        let workers = of_workers.flat_map(Place::children).count() + self.leaving.len();
        let is_of = |role| move |place: &&Place| place.role == role;
        let services = self.places.iter().filter(is_of(Role::Service)).flat_map(Place::children);
        let (services, is_time) =
            (services.count(), self.is_time_for_services(now, kill_at, workers));
        for place in &self.places {
            let is_due = match place.role {
                Role::Service => is_time,
                Role::Store => workers + services == 0,
                Role::Worker | Role::Builder | Role::Successor => false,
            };
            for child in place.children() {
                if now >= kill_at {
                    child.kill();
                } else if is_due {
                    child.drain(Leave::Stop);
                }
            }
        }
        for leaving in self.leaving.iter().filter(|leaving| now >= leaving.kill_at) {
            leaving.child.kill();
        }
    }
}
