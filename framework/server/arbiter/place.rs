//! Where children are: the places the site wants filled, and those who leave them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::arbiter::services::Duty;
use crate::server::backoff::Backoff;
use crate::server::children::{Program, Role, Running};
use crate::server::control::Preparation;
use crate::server::in_force::InForce;

/// What children are started as: those of a reload are of another generation.
#[derive(Clone, Debug)]
pub(in crate::server) struct Release {
    pub(in crate::server) generation: u64,
    pub(in crate::server) program: Program,
    pub(in crate::server) settings: InForce,
    /// What its next worker does about the database: only the first one of a reload has to.
    pub(in crate::server) database: Preparation,
    /// How long a child may take until it is ready.
    pub(in crate::server) start_wait: Duration,
}

/// The place of one child.
#[derive(Debug)]
pub(in crate::server) struct Place {
    pub(in crate::server) role: Role,
    /// The workers count from 1, the services too.
    pub(in crate::server) number: usize,
    /// For the log.
    pub(in crate::server) title: Arc<str>,
    /// How often its child has died.
    pub(in crate::server) restarts: u64,
    pub(in crate::server) child: Option<Running>,
    /// The one that takes its place once it is ready.
    pub(in crate::server) next: Option<Running>,
    /// When the next one is started, while there is none.
    pub(in crate::server) due: Instant,
    pub(in crate::server) backoff: Backoff,
}

/// A child that is to end while the site goes on.
#[derive(Debug)]
pub(in crate::server) struct Leaving {
    pub(in crate::server) role: Role,
    pub(in crate::server) number: usize,
    pub(in crate::server) child: Running,
    since: Instant,
    pub(in crate::server) kill_at: Instant,
}

/// How old what a worker has said of its WebSockets may be: two beats.
const COUNTED: Duration = Duration::from_secs(2);
/// How long the next one is not replaced for their sake.
const MOVING_MAX: Duration = Duration::from_secs(10);

impl Leaving {
    /// One that has been told so now.
    pub(in crate::server) fn new(
        (role, number): (Role, usize),
        child: Running,
        kill_at: Instant,
    ) -> Self {
        Self { role, number, child, since: Instant::now(), kill_at }
    }

    /// Whether WebSockets may still be on their way to the one who has this place now.
    pub(in crate::server) fn is_moving_to(&self, place: &Place, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        let is_its = (self.role, self.number) == (place.role, place.number);
        is_its && age < MOVING_MAX && (age < COUNTED || self.child.counts.sockets > 0)
    }
}

/// Which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Post {
    /// The one in this place.
    Child(usize),
    /// The one that is to take this place.
    Next(usize),
    /// One of those that leave.
    Leaving(usize),
    /// The arbiter that is to take over.
    Successor,
}

impl Place {
    pub(in crate::server) fn new(role: Role, number: usize) -> Self {
        let title = match role {
            Role::Store => "the store".into(),
            Role::Worker => format!("worker {number}").into(),
            Role::Service => format!("service {number}").into(),
            Role::Builder => "the build".into(),
            Role::Successor => "the successor".into(),
        };
        let (due, backoff, restarts) = (Instant::now(), Backoff::default(), 0);
        Self { role, number, title, restarts, child: None, next: None, due, backoff }
    }

    /// That of a service.
    pub(in crate::server) fn of_service(number: usize, duty: &Duty) -> Self {
        Self { title: Arc::clone(&duty.title), ..Self::new(Role::Service, number) }
    }

    pub(in crate::server) fn is_ready(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.is_ready)
    }

    /// The children there are, the one that serves first.
    pub(in crate::server) fn children(&self) -> impl Iterator<Item = &Running> {
        self.child.iter().chain(&self.next)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.child.title)
    }
}
