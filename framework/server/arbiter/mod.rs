//! The arbiter: starts the store and the workers, replaces those that die, stops them all.
//!
//! Flow: one loop takes one [`Event`] at a time; after each, `tend` does what is due by the clock.
//! What takes several events has a file of its own: `reload`, `upgrade` beside this folder, and
//! what the control socket asks (`answers`).
//!
//! Invariants:
//! - It serves no visitor and touches no database while it runs.
//! - It ends after its last child has.
//! - A worker that is ready is told to leave only when another one is, or when there are to be
//!   fewer.

mod answers;
mod place;
mod reload;
mod services;
mod stopping;
mod times;

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::address::Listener;
use crate::server::arbiter::answers::{Moves, Question};
use crate::server::arbiter::place::{Leaving, Place, Post, Release};
use crate::server::arbiter::reload::{Held, Reload};
use crate::server::backoff::apart;
use crate::server::balance::{Board, SEATS_MAX};
use crate::server::children::{Birth, Nursery, Program, Role, Running};
use crate::server::control::{Leave, Order, PROTOCOL, Preparation, Report, Start};
use crate::server::ctl::{Answer, Request};
use crate::server::in_force::InForce;
use crate::server::log_file;
use crate::server::manager::Manager;
use crate::server::monitor::{Life, Monitor};
use crate::server::prepare::DataStore;
use crate::server::signals::Signalled;

pub(super) use reload::Reloads;
pub(super) use services::Duty;
pub(super) use times::Times;

/// Children that may die without a word before the first time all are ready.
const START_DEATHS_MAX: usize = 5;

/// The loop looks at the clock at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Everything that can happen to the arbiter.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal came.
    Signalled(Signalled),
    /// Somebody asks something over the control socket.
    Asked(Request, Answer),
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
    /// The services that have processes.
    pub(super) services: Vec<Duty>,
    /// How many connections each of them holds.
    pub(super) board: Board,
    pub(super) listeners: Vec<Listener>,
    /// How visitors reach them.
    pub(super) urls: Vec<String>,
    pub(super) data_store: DataStore,
    /// The store's listening socket; none with `memory://`.
    pub(super) store: Option<Listener>,
    pub(super) store_path: Option<PathBuf>,
    pub(super) monitor: Monitor,
    pub(super) times: Times,
    /// What a reload's workers do about the database.
    pub(super) database: Preparation,
    /// Who started the site, and wants to hear of it.
    pub(super) manager: Manager,
    /// What each listener was bound as, for a successor.
    pub(super) binds: Vec<String>,
    /// The metrics' socket, to hand it on.
    pub(super) metrics: Option<OwnedFd>,
    /// The control socket, to hand it on.
    pub(super) control: Option<OwnedFd>,
    pub(super) reloads: Reloads,
    /// How one leaves that another worker stands in for. In development as at the end of the site:
    /// nobody is to wait for the last pages of the old code.
    pub(super) replaced: Leave,
    /// Cancelled: the site is another process's.
    pub(super) handed_over: CancellationToken,
    /// Cancelled once the workers are told to end.
    pub(super) stopping: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet all are ready for the first time.
    Starting,
    Serving,
    /// Whoever is left at this time is killed.
    Stopping(Instant),
}

/// The arbiter's state.
pub(super) struct Arbiter<'a> {
    pub(super) plan: Plan,
    /// Reads the settings anew.
    pub(super) load: &'a dyn Fn() -> Result<Settings>,
    pub(super) nursery: Nursery,
    pub(super) phase: Phase,
    pub(super) places: Vec<Place>,
    /// Those of a reload are at most `reload::LEAVING_MAX`; each has its time.
    pub(super) leaving: Vec<Leaving>,
    /// What a child in an empty place is started as.
    pub(super) release: Release,
    /// The settings that only a new start takes, as they were at this one.
    pub(super) held: Held,
    pub(super) reload: Option<Reload>,
    /// The arbiter that is to take over.
    pub(super) successor: Option<Running>,
    /// What the workers were asked for somebody.
    pub(super) question: Option<Question>,
    pub(super) started: Instant,
    /// Children that died while it served.
    pub(super) deaths: u64,
    /// What became of the WebSockets of workers that have ended.
    pub(super) moves: Moves,
    start_deaths: usize,
    /// Why the start failed.
    failure: Option<Error>,
    has_terminal: bool,
}

impl<'a> Arbiter<'a> {
    pub(super) fn new(
        plan: Plan,
        nursery: Nursery,
        settings: &Settings,
        load: &'a dyn Fn() -> Result<Settings>,
    ) -> Result<Self> {
        let release = Release {
            generation: 1,
            program: Program::default(),
            settings: InForce::new(settings, settings, &[])?,
            // It was seen to before.
            database: Preparation::Nothing,
            start_wait: plan.times.start,
        };
        let store = plan.store.is_some().then(|| Place::new(Role::Store, 0));
        let workers = (1..=plan.workers).map(|number| Place::new(Role::Worker, number));
        let services = plan.services.iter().enumerate();
        let services = services.map(|(index, duty)| Place::of_service(index + 1, duty));
        Ok(Self {
            places: store.into_iter().chain(workers).chain(services).collect(),
            plan,
            load,
            nursery,
            phase: Phase::Starting,
            leaving: Vec::new(),
            release,
            held: Held::new(settings),
            reload: None,
            successor: None,
            question: None,
            started: Instant::now(),
            deaths: 0,
            moves: Moves::default(),
            start_deaths: 0,
            failure: None,
            has_terminal: std::io::stdin().is_terminal(),
        })
    }

    /// Runs until the last child has ended; `ready` is called once, when all serve.
    pub(super) async fn run(
        mut self,
        events: &mut mpsc::Receiver<Event>,
        ready: &mut dyn FnMut(),
    ) -> Result<()> {
        self.tend();
        let mut looked = Instant::now();
        while !self.is_done() {
            let event = tokio::select! {
                event = events.recv() => event.unwrap_or(Event::Tick),
                () = sleep_until(self.next_due()) => Event::Tick,
            };
            let missed = looked.elapsed();
            looked += missed;
            if missed > TICK * 3 {
                self.forgive(missed);
            }
            let was_starting = self.phase == Phase::Starting;
            self.handle(event);
            self.tend();
            self.plan.monitor.lives(self.life());
            if was_starting && self.phase == Phase::Serving {
                ready();
                self.say_ready();
            }
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn life(&self) -> Life {
        let workers = || self.places.iter().filter(|place| place.role == Role::Worker);
        Life {
            is_draining: matches!(self.phase, Phase::Stopping(_)),
            wanted: workers().count(),
            ready: workers().filter(|place| place.is_ready()).count(),
        }
    }

    /// Tells who started the site how it is.
    pub(super) fn say_ready(&self) {
        let (workers, generation) = (self.workers(), self.release.generation);
        self.plan.manager.ready(&format!("{workers} workers of generation {generation} serve"));
    }

    /// This process was stopped, or the machine: nobody else has to answer for that time.
    fn forgive(&mut self, missed: Duration) {
        tracing::warn!(?missed, "the arbiter was held up");
        let waits = self.places.iter_mut().flat_map(|p| p.child.iter_mut().chain(&mut p.next));
        waits.for_each(|child| child.heard += missed);
        for leaving in &mut self.leaving {
            leaving.child.heard += missed;
            leaving.kill_at += missed;
        }
        if let Phase::Stopping(kill_at) = &mut self.phase {
            *kill_at += missed;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Signalled(signalled) => self.signalled(signalled),
            Event::Asked(request, answer) => self.asked(request, answer),
            Event::Said(id, report) => self.said(id, report),
            Event::Exited(id, status) => self.exited(id, status),
            Event::Tick => {}
        }
    }

    fn signalled(&mut self, signalled: Signalled) {
        let workers = self.workers();
        let done = match signalled {
            Signalled::Stop(stop) => return self.stop(stop),
            // Its terminal was closed: that is what HUP once meant.
            Signalled::Reload if self.has_terminal && !std::io::stdin().is_terminal() => {
                return self.stop(Stop::Gracefully);
            }
            Signalled::Reload => return self.begin_reload(Vec::new()),
            Signalled::Reopen => return self.reopen_log(),
            Signalled::Upgrade => return self.begin_upgrade(),
            Signalled::More => self.scale(workers + 1),
            Signalled::Fewer => self.scale(workers.saturating_sub(1).max(1)),
        };
        if let Err(words) = done {
            tracing::error!("cannot scale: {words}");
        }
    }

    /// The log files were moved away.
    fn reopen_log(&self) {
        log_file::reopen();
        self.children().for_each(|child| child.order(Order::Reopen));
        tracing::info!("opened the log anew");
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
        self.begin_stopping(Instant::now());
    }

    fn said(&mut self, id: u64, report: Report) {
        let starting = self.phase == Phase::Starting;
        let Some((post, name)) = self.find(id) else { return };
        let is_service = self.is_of_service(post);
        let Some(child) = self.running(post) else { return };
        child.heard = Instant::now();
        match report {
            Report::Alive(counts) => child.counts = counts,
            Report::Figures(told) => self.plan.monitor.told(id, told),
            // It said so in its last moment: nobody may leave for it.
            Report::Ready if child.is_killed() => {}
            Report::Ready => {
                child.is_ready = true;
                let (process, took) = (child.process, child.started.elapsed());
                tracing::info!(process, ?took, "{name} is ready");
                self.prepared(post);
                match post {
                    Post::Next(index) => self.promote(index),
                    Post::Successor => self.hand_over(),
                    Post::Child(_) | Post::Leaving(_) => {}
                }
            }
            Report::Failed(words) if starting && !is_service => {
                self.fail(Error::of(Kind::Server, words))
            }
            Report::Failed(words) => {
                let what = if child.is_ready { "go on" } else { "start" };
                tracing::error!("{name} cannot {what}: {words}");
                child.complaint = Some(words);
            }
            Report::Groups(groups) => self.hear_groups(id, &groups),
        }
    }

    /// Puts the ready one in the place of the other, which leaves.
    fn promote(&mut self, index: usize) {
        let times = self.plan.times;
        let Some(place) = self.places.get_mut(index) else { return };
        let Some(next) = place.next.take() else { return };
        match &place.child {
            Some(child) if self.plan.replaced == Leave::Replaced => child.make_way_for(&next),
            Some(child) => child.drain(self.plan.replaced),
            None => {}
        }
        if let Some(child) = place.child.replace(next) {
            let (role, number) = (place.role, place.number);
            let kill_at = Instant::now() + times.graceful;
            self.leaving.push(Leaving::new((role, number), child, kill_at));
        }
    }

    fn exited(&mut self, id: u64, status: Option<ExitStatus>) {
        let Some((post, name)) = self.find(id) else { return };
        let died = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        if post == Post::Successor {
            return self.successor_ended(&died);
        }
        let is_service = self.is_of_service(post);
        let Some(child) = self.take(post) else { return };
        let (process, lived) = (child.process, child.started.elapsed());
        self.plan.board.leave(child.seat);
        self.moves.add(&child.counts);
        self.hear_no_groups(id);
        let is_expected = matches!(post, Post::Leaving(_));
        let is_expected = is_expected || matches!(self.phase, Phase::Stopping(_));
        self.plan.monitor.ended(id, !is_expected);
        if is_expected {
            tracing::info!(process, "{name} ended ({died})");
            return;
        }
        let wait = match post {
            Post::Child(index) | Post::Next(index) => self.put_off(index, lived),
            Post::Leaving(_) | Post::Successor => return,
        };
        tracing::error!(process, ?lived, ?wait, "{name} died ({died})");
        if self.phase == Phase::Starting && !is_service {
            self.start_deaths += 1;
            if self.start_deaths >= START_DEATHS_MAX {
                let words = format!("{name} keeps dying before it is ready ({died})");
                self.fail(Error::of(Kind::Server, words));
            }
            return;
        }
        self.deaths += 1;
        if !child.is_ready && !is_service {
            let words = child.complaint.unwrap_or(died);
            self.start_failed(child.generation, &format!("{name}: {words}"));
        }
    }

    /// When the next child of a place is started whose last one died after `lived`; from now.
    fn put_off(&mut self, index: usize, lived: Duration) -> Duration {
        let now = Instant::now();
        let wait = self.places[index].backoff.wait(lived);
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != index);
        let due = match wait {
            Duration::ZERO => now,
            wait => apart(now + wait, others.map(|(_, place)| place.due)),
        };
        let place = &mut self.places[index];
        place.due = due;
        place.restarts += 1;
        due - now
    }

    /// Does what the clock says is due.
    fn tend(&mut self) {
        let now = Instant::now();
        self.plan.manager.beat(now);
        if let Phase::Stopping(kill_at) = self.phase {
            self.tend_stopping(now, kill_at);
            return;
        }
        // Also if those that were not yet ready are no longer wanted.
        let is_up = |place: &Place| place.is_ready() || place.role == Role::Service;
        if self.phase == Phase::Starting && self.places.iter().all(is_up) {
            self.phase = Phase::Serving;
        }
        self.kill_silent(now);
        self.tend_successor(now);
        for index in 0..self.places.len() {
            let place = &self.places[index];
            if place.child.is_none() && now >= place.due && !self.is_being_left(place) {
                self.fill(index);
            }
        }
        for leaving in &self.leaving {
            let child = &leaving.child;
            let is_late = now >= leaving.kill_at || now >= self.plan.times.silent_at(child);
            if is_late && !child.is_killed() {
                tracing::warn!(process = child.process, "{leaving} does not end, killing it");
                child.kill();
            }
        }
        self.tend_question(now);
        if self.phase == Phase::Serving {
            self.tend_reload(now);
            self.tend_services(now);
        }
    }

    fn kill_silent(&mut self, now: Instant) {
        let times = self.plan.times;
        for place in &mut self.places {
            let name = place.to_string();
            for child in place.child.iter_mut().chain(&mut place.next) {
                if now >= times.silent_at(child) && !child.is_killed() {
                    tracing::error!(process = child.process, "{name} is silent, killing it");
                    child.complaint.get_or_insert_with(|| "it said nothing in time".to_owned());
                    child.kill();
                }
            }
        }
    }

    /// Starts a child in an empty place.
    fn fill(&mut self, index: usize) {
        let reload = self.reload.as_ref().filter(|_| self.places[index].role == Role::Worker);
        let release = reload.map_or(&self.release, |reload| &reload.release).clone();
        match self.spawn(index, &release) {
            Ok(child) => self.places[index].child = Some(child),
            Err(error) if self.phase == Phase::Starting => self.fail(error),
            Err(error) => {
                tracing::error!(%error, "{}", self.places[index]);
                let place = &mut self.places[index];
                place.due = Instant::now() + place.backoff.wait(Duration::ZERO).max(TICK);
                self.start_failed(release.generation, &error.to_string());
            }
        }
    }

    /// Starts a child for a place.
    pub(super) fn spawn(&mut self, index: usize, release: &Release) -> Result<Running> {
        let Place { role, number, .. } = self.places[index];
        let start = Start {
            protocol: PROTOCOL,
            number,
            seat: if role == Role::Worker { self.free_seat() } else { 0 },
            store: self.plan.store_path.clone(),
            service: self.service_name(&self.places[index]).map(str::to_owned),
            database: release.database,
            release: format!("{}-{}", self.plan.reloads.start, release.generation),
            ..Start::default()
        };
        let mut sockets = vec![release.settings.as_fd()];
        match role {
            Role::Worker => {
                sockets.push(self.plan.board.as_fd());
                sockets.extend(self.plan.listeners.iter().map(AsFd::as_fd));
            }
            Role::Store => sockets.extend(self.plan.store.iter().map(AsFd::as_fd)),
            Role::Service | Role::Builder | Role::Successor => {}
        }
        let birth = Birth {
            role,
            title: Arc::clone(&self.places[index].title),
            program: &release.program,
            generation: release.generation,
            requests_max: self.plan.times.requests_max(),
            start_wait: release.start_wait,
        };
        self.nursery.spawn(&birth, &start, &sockets)
    }

    /// The first seat nobody has.
    fn free_seat(&self) -> usize {
        let taken: Vec<usize> = self.children().map(|child| child.seat).collect();
        (1..SEATS_MAX).find(|seat| !taken.contains(seat)).unwrap_or(SEATS_MAX)
    }

    /// All children.
    pub(super) fn children(&self) -> impl Iterator<Item = &Running> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.child);
        self.places.iter().flat_map(Place::children).chain(leaving)
    }

    /// How many workers there are to be.
    pub(super) fn workers(&self) -> usize {
        self.places.iter().filter(|place| place.role == Role::Worker).count()
    }

    fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_)) && self.children().next().is_none()
    }

    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let soon = now + TICK;
        let silent = self.children().map(|child| self.plan.times.silent_at(child));
        let empty = self.places.iter().filter(|place| place.child.is_none()).map(|place| place.due);
        let killed = self.leaving.iter().map(|leaving| leaving.kill_at);
        let stopped = match self.phase {
            Phase::Stopping(kill_at) => Some(kill_at),
            Phase::Starting | Phase::Serving => None,
        };
        let asked = self.question.as_ref().map(Question::due);
        let asked = asked.into_iter().chain(self.plan.manager.next_beat());
        let due = silent.chain(empty).chain(killed).chain(stopped).chain(asked);
        // One that is due already was tended to; it is waiting for its end.
        due.filter(|due| *due > now).min().unwrap_or(soon).min(soon)
    }

    /// Where the child called `id` is and what the log calls it; it may be gone.
    fn find(&self, id: u64) -> Option<(Post, String)> {
        let is = |child: &Option<Running>| child.as_ref().is_some_and(|child| child.id == id);
        for (index, place) in self.places.iter().enumerate() {
            if is(&place.child) {
                return Some((Post::Child(index), place.to_string()));
            }
            if is(&place.next) {
                return Some((Post::Next(index), format!("the new {place}")));
            }
        }
        if is(&self.successor) {
            return Some((Post::Successor, "the successor".to_owned()));
        }
        let index = self.leaving.iter().position(|leaving| leaving.child.id == id)?;
        Some((Post::Leaving(index), format!("the old {}", self.leaving[index])))
    }

    fn running(&mut self, post: Post) -> Option<&mut Running> {
        match post {
            Post::Child(index) => self.places.get_mut(index)?.child.as_mut(),
            Post::Next(index) => self.places.get_mut(index)?.next.as_mut(),
            Post::Leaving(index) => self.leaving.get_mut(index).map(|leaving| &mut leaving.child),
            Post::Successor => self.successor.as_mut(),
        }
    }

    fn take(&mut self, post: Post) -> Option<Running> {
        match post {
            Post::Child(index) => self.places.get_mut(index)?.child.take(),
            Post::Next(index) => self.places.get_mut(index)?.next.take(),
            Post::Leaving(index) => Some(self.leaving.remove(index).child),
            Post::Successor => None,
        }
    }
}
