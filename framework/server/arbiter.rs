//! The arbiter: starts the store and the workers, replaces those that die, stops them all.
//!
//! Flow: one loop takes one [`Event`] at a time; after each, `tend` does what is due by the clock.
//!
//! Invariants:
//! - It serves no visitor and touches no database while it runs.
//! - It ends after its last child has.

use std::iter;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::address::Listener;
use crate::server::backoff::Backoff;
use crate::server::balance::Board;
use crate::server::children::{Nursery, Role, Running};
use crate::server::control::{Order, Report, Start};

/// How long a child may take to its first "ready"; a heartbeat comes only after it.
const START_MAX: Duration = Duration::from_secs(60);

/// Children that may die without a word before the first time all are ready.
const START_DEATHS_MAX: usize = 5;

/// The loop looks at the clock at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Everything that can happen to the arbiter.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody wants it to stop.
    Stop(Stop),
    /// A child said something.
    Said(u64, Report),
    /// A child ended; `None` if its status could not be had.
    Exited(u64, Option<ExitStatus>),
    /// The clock.
    Tick,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// TERM: what is begun may finish.
    Gracefully,
    /// INT: the same; the second one is at once.
    Interrupt,
    /// QUIT.
    AtOnce,
}

/// What the arbiter needs to know of the site.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) workers: usize,
    /// How many connections each of them holds.
    pub(super) board: Board,
    pub(super) listeners: Vec<Listener>,
    /// The store's listening socket; none with `memory://`.
    pub(super) store: Option<Listener>,
    pub(super) store_path: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) graceful_timeout: Duration,
}

impl Plan {
    pub(super) fn timeouts(settings: &Settings) -> (Duration, Duration) {
        let server = &settings.server;
        (Duration::from_secs(server.timeout), Duration::from_secs(server.graceful_timeout))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Not yet all are ready for the first time.
    Starting,
    Serving,
    /// Whoever is left at this time is killed.
    Stopping(Instant),
}

/// The place of one child.
#[derive(Debug)]
struct Place {
    role: Role,
    /// For the log; the workers count from 1.
    number: usize,
    child: Option<Running>,
    /// When the next one is started, while there is none.
    due: Instant,
    backoff: Backoff,
}

/// The arbiter's state.
#[derive(Debug)]
pub(super) struct Arbiter {
    plan: Plan,
    nursery: Nursery,
    phase: Phase,
    places: Vec<Place>,
    start_deaths: usize,
    /// Why the start failed.
    failure: Option<Error>,
}

impl Arbiter {
    pub(super) fn new(plan: Plan, nursery: Nursery) -> Self {
        let store = plan.store.is_some().then_some((Role::Store, 0));
        let workers = (1..=plan.workers).map(|number| (Role::Worker, number));
        let due = Instant::now();
        let place =
            |(role, number)| Place { role, number, child: None, due, backoff: Backoff::default() };
        let places = store.into_iter().chain(workers).map(place).collect();
        Self { plan, nursery, phase: Phase::Starting, places, start_deaths: 0, failure: None }
    }

    /// Runs until the last child has ended; `ready` is called once, when all serve.
    pub(super) async fn run(
        mut self,
        events: &mut mpsc::Receiver<Event>,
        ready: &mut dyn FnMut(),
    ) -> Result<()> {
        self.tend();
        while !self.is_done() {
            let event = tokio::select! {
                event = events.recv() => event.unwrap_or(Event::Tick),
                () = sleep_until(self.next_due()) => Event::Tick,
            };
            let was_starting = self.phase == Phase::Starting;
            self.handle(event);
            self.tend();
            if was_starting && self.phase == Phase::Serving {
                ready();
            }
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Stop(stop) => self.stop(stop),
            Event::Said(id, report) => self.said(id, report),
            Event::Exited(id, status) => self.exited(id, status),
            Event::Tick => {}
        }
    }

    fn stop(&mut self, stop: Stop) {
        let now = Instant::now();
        let stopping = matches!(self.phase, Phase::Stopping(_));
        let at_once = stop == Stop::AtOnce || (stopping && stop == Stop::Interrupt);
        if at_once {
            self.begin_stopping(now);
        } else if !stopping {
            tracing::info!("stopping; a second interrupt stops at once");
            self.begin_stopping(now + self.plan.graceful_timeout);
        }
    }

    /// From here on nobody new is let in; whoever is left at `kill_at` is killed.
    fn begin_stopping(&mut self, kill_at: Instant) {
        self.phase = Phase::Stopping(kill_at);
        // The workers have their own copies, and drop them once they have emptied the queue.
        self.plan.listeners.clear();
        for place in self.places.iter().filter(|place| place.role == Role::Worker) {
            if let Some(child) = &place.child {
                child.order(Order::Drain);
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
        self.begin_stopping(Instant::now());
    }

    fn said(&mut self, id: u64, report: Report) {
        let starting = self.phase == Phase::Starting;
        let Some((name, child)) = child(&mut self.places, id) else { return };
        child.heard = Instant::now();
        match report {
            Report::Alive => {}
            Report::Ready => {
                child.is_ready = true;
                let took = child.started.elapsed();
                tracing::info!(process = child.process, ?took, "{name} is ready");
                let is_ready = |p: &Place| p.child.as_ref().is_some_and(|child| child.is_ready);
                if starting && self.places.iter().all(is_ready) {
                    self.phase = Phase::Serving;
                }
            }
            Report::Failed(words) if starting => self.fail(Error::of(Kind::Server, words)),
            Report::Failed(words) => tracing::error!("{name} cannot start: {words}"),
        }
    }

    fn exited(&mut self, id: u64, status: Option<ExitStatus>) {
        let Some((name, child)) = child(&mut self.places, id) else { return };
        let process = child.process;
        let lived = child.started.elapsed();
        let died = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        if let Some(place) = self.places.iter_mut().find(|p| p.holds(id)) {
            place.child = None;
            if place.role == Role::Worker {
                self.plan.board.leave(place.number);
            }
            let wait = place.backoff.wait(lived);
            place.due = Instant::now() + wait;
            match self.phase {
                Phase::Stopping(_) => tracing::info!(process, "{name} ended ({died})"),
                Phase::Starting | Phase::Serving => {
                    tracing::error!(process, ?lived, ?wait, "{name} died ({died})");
                }
            }
        }
        if self.phase == Phase::Starting {
            self.start_deaths += 1;
            if self.start_deaths >= START_DEATHS_MAX {
                let words = format!("{name} keeps dying before it is ready ({died})");
                self.fail(Error::of(Kind::Server, words));
            }
        }
    }

    /// Does what the clock says is due.
    fn tend(&mut self) {
        let now = Instant::now();
        if let Phase::Stopping(kill_at) = self.phase {
            self.tend_stopping(now, kill_at);
            return;
        }
        for index in 0..self.places.len() {
            let place = &self.places[index];
            match &place.child {
                Some(child) if now >= self.silent_at(child) => {
                    tracing::error!(process = child.process, "{place} is silent, killing it");
                    child.kill();
                }
                Some(_) => {}
                None if now >= place.due => self.fill(index),
                None => {}
            }
        }
    }

    fn tend_stopping(&self, now: Instant, kill_at: Instant) {
        let workers_left =
            self.places.iter().any(|place| place.role == Role::Worker && place.child.is_some());
        for place in &self.places {
            let Some(child) = &place.child else { continue };
            if now >= kill_at {
                child.kill();
            } else if place.role == Role::Store && !workers_left {
                child.order(Order::Drain);
            }
        }
    }

    /// When a child that says nothing more is taken for hung.
    fn silent_at(&self, child: &Running) -> Instant {
        child.heard + if child.is_ready { self.plan.timeout } else { START_MAX }
    }

    /// Starts a child in an empty place.
    fn fill(&mut self, index: usize) {
        let (role, number) = (self.places[index].role, self.places[index].number);
        let (store, workers) = (self.plan.store_path.clone(), self.plan.workers);
        let start = Start { number, workers, store };
        let sockets: Vec<_> = match role {
            Role::Worker => iter::once(self.plan.board.as_fd())
                .chain(self.plan.listeners.iter().map(AsFd::as_fd))
                .collect(),
            Role::Store => self.plan.store.iter().map(AsFd::as_fd).collect(),
        };
        match self.nursery.spawn(role, &start, &sockets) {
            Ok(child) => self.places[index].child = Some(child),
            Err(error) if self.phase == Phase::Starting => self.fail(error),
            Err(error) => {
                tracing::error!(%error, "{}", self.places[index]);
                let place = &mut self.places[index];
                place.due = Instant::now() + place.backoff.wait(Duration::ZERO).max(TICK);
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_)) && self.places.iter().all(|p| p.child.is_none())
    }

    fn next_due(&self) -> Instant {
        let soon = Instant::now() + TICK;
        let of_place = |place: &Place| match (&self.phase, &place.child) {
            (Phase::Stopping(kill_at), _) => *kill_at,
            (_, Some(child)) => self.silent_at(child),
            (_, None) => place.due,
        };
        let now = Instant::now();
        // One that is due already was tended to; it is waiting for its end.
        self.places.iter().map(of_place).filter(|due| *due > now).min().unwrap_or(soon).min(soon)
    }
}

impl Place {
    fn holds(&self, id: u64) -> bool {
        self.child.as_ref().is_some_and(|child| child.id == id)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.role {
            Role::Store => f.write_str("the store"),
            Role::Worker => write!(f, "worker {}", self.number),
        }
    }
}

/// The child called `id` and the name of its place; an event of one replaced since finds none.
fn child(places: &mut [Place], id: u64) -> Option<(String, &mut Running)> {
    let place = places.iter_mut().find(|place| place.holds(id))?;
    let name = place.to_string();
    Some((name, place.child.as_mut()?))
}
