//! Other workers in place of those that run, while the site goes on: after HUP, after
//! `server.worker_requests_max`, and when there are to be more or fewer.
//!
//! Flow: settings and program are read anew → one place after the other: a new worker is started
//! beside the old one, on the same sockets → it is ready → the old one leaves (`promote`) → the
//! next place. When all are replaced the new release is the one that dead workers are replaced
//! with.
//!
//! Invariants:
//! - The first new worker that does not become ready ends the reload; who serves goes on serving.
//! - At most one worker more than the site wants is starting.
//! - Who is still being handed WebSockets is not replaced, for some seconds: reloads that follow
//!   each other at once must not outrun what moves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::conf::Settings;
use crate::server::arbiter::place::{Leaving, Place, Post, Release};
use crate::server::arbiter::{Arbiter, Phase, Times};
use crate::server::children::{Role, Running};
use crate::server::control::{Leave, Preparation};
use crate::server::ctl::Answer;
use crate::server::in_force::InForce;
use crate::server::prepare::{self, DataStore};
use crate::signing::random_string;

/// Workers that may be leaving at once; a reload waits for them to end.
const LEAVING_MAX: usize = 32;

/// Most workers there may be.
const WORKERS_MAX: usize = 1024;

/// How long a worker that should be replaced goes on, when no other can be started.
const TIRED_PAUSE: Duration = Duration::from_secs(1);

/// Settings that are the arbiter's, or the store's which it does not restart.
const HELD: [&str; 11] = [
    "server.bind",
    "server.metrics_bind",
    "server.data_store",
    "server.runtime_dir",
    "server.control",
    "server.user",
    "server.group",
    "server.umask",
    // Who watches and builds is the arbiter.
    "server.reload",
    "server.build",
    "channels.",
];

/// Characters of a start's name.
const START_CHARACTERS: usize = 12;

/// What others may know of reloads.
#[derive(Debug)]
pub(in crate::server) struct Reloads {
    /// A random name of this start.
    pub(in crate::server) start: String,
    /// The generation that the last one has brought.
    pub(in crate::server) last: watch::Sender<u64>,
}

impl Reloads {
    pub(in crate::server) fn begin() -> Self {
        Self { start: random_string(START_CHARACTERS), last: watch::Sender::default() }
    }
}

/// A reload under way.
#[derive(Debug)]
pub(in crate::server) struct Reload {
    pub(in crate::server) release: Release,
    settings: Box<Settings>,
    begun: Instant,
    /// Who waits for its end.
    waiting: Vec<Answer>,
    /// Somebody asked for another one meanwhile, and who waits for that.
    again: Option<Vec<Answer>>,
}

/// The settings a reload cannot take, as they are in force.
#[derive(Debug)]
pub(in crate::server) struct Held {
    settings: Box<Settings>,
    workers: usize,
}

/// The values of those in `settings`.
fn held(settings: &Settings) -> BTreeMap<String, Value> {
    let mut values = settings.values();
    values.retain(|key, _| HELD.iter().any(|held| key.starts_with(held)));
    values
}

impl Held {
    pub(in crate::server) fn new(settings: &Settings) -> Self {
        Self { settings: Box::new(settings.clone()), workers: settings.server.workers }
    }

    /// Those that are different in `settings`, and where they were written.
    fn changed(&self, settings: &Settings) -> Vec<String> {
        let (old, new) = (held(&self.settings), held(settings));
        let keys = old.keys().chain(new.keys());
        let mut changed: Vec<&String> = keys.filter(|key| old.get(*key) != new.get(*key)).collect();
        changed.sort();
        changed.dedup();
        let written = |key: &String| match settings.origin(key) {
            Some(origin) => format!("{key} ({origin})"),
            None => key.clone(),
        };
        changed.into_iter().map(written).collect()
    }
}

impl Arbiter<'_> {
    /// Starts a reload; who waits is answered at its end.
    pub(in crate::server) fn begin_reload(&mut self, answers: Vec<Answer>) {
        if let Some(reload) = &mut self.reload {
            tracing::info!("a reload is under way; there will be another one after it");
            reload.again.get_or_insert_default().extend(answers);
            return;
        }
        match self.read_anew() {
            Ok((release, settings)) => self.reload_to(release, settings, answers),
            Err(words) => {
                tracing::error!("cannot reload, all goes on as it was: {words}");
                answers.into_iter().for_each(|answer| answer.fail(words.clone()));
            }
        }
    }

    fn reload_to(&mut self, release: Release, settings: Settings, waiting: Vec<Answer>) {
        tracing::info!(generation = release.generation, "reloading");
        self.plan.manager.reloading();
        let begun = Instant::now();
        let settings = Box::new(settings);
        self.reload = Some(Reload { release, settings, begun, waiting, again: None });
        // Whoever keeps dying may do so because of what is now mended.
        for place in self.places.iter_mut().filter(|place| place.child.is_none()) {
            place.due = begun;
        }
    }

    fn read_anew(&self) -> Result<(Release, Settings), String> {
        match self.phase {
            Phase::Starting => return Err("the site is still starting".to_owned()),
            Phase::Stopping(_) => return Err("the site stops".to_owned()),
            Phase::Serving => {}
        }
        let settings = (self.load)().map_err(|error| error.to_string())?;
        prepare::workers(&settings).map_err(|error| error.to_string())?;
        let program = self.nursery.program().map_err(|error| error.to_string())?;
        let changed = self.held.changed(&settings);
        if !changed.is_empty() {
            let words = changed.join(", ");
            // New workers would speak with another store than the old ones.
            if changed.iter().any(|key| key.starts_with("server.data_store")) {
                return Err(format!("only a new start can take another {words}"));
            }
            tracing::warn!("a reload does not take these, a new start would: {words}");
        }
        let newest = self.places.iter().flat_map(Place::children).map(|child| child.generation);
        let newest = newest.max().unwrap_or(1).max(self.release.generation);
        // Workers and store go on being of one mind about messages.
        let in_force = InForce::new(&settings, &self.held.settings, &HELD);
        let release = Release {
            generation: newest + 1,
            program,
            settings: in_force.map_err(|error| error.to_string())?,
            database: self.plan.database,
            start_wait: Times::new(&settings).start,
        };
        Ok((release, settings))
    }

    /// A child is ready: the database is as its release wants it.
    pub(in crate::server) fn prepared(&mut self, post: Post) {
        let Some(generation) = self.running(post).map(|child| child.generation) else { return };
        let reload = self.reload.as_mut().map(|reload| &mut reload.release);
        if let Some(release) = reload.filter(|release| release.generation == generation) {
            release.database = Preparation::Nothing;
        }
    }

    /// Starts the next new worker, or ends the reload.
    pub(in crate::server) fn tend_reload(&mut self, now: Instant) {
        let is_busy = self.places.iter().any(|place| place.next.is_some());
        if is_busy || self.leaving.len() >= LEAVING_MAX {
            return;
        }
        let Some(reload) = &self.reload else { return self.replace_tired(now) };
        let release = reload.release.clone();
        let is_new = |child: &Running| child.generation >= release.generation;
        let of_workers = || self.places.iter().enumerate().filter(|(_, p)| p.role == Role::Worker);
        let old = of_workers().find(|(_, p)| p.child.as_ref().is_some_and(|c| !is_new(c)));
        if let Some((index, place)) = old {
            if self.is_being_moved_to(place, now) {
                return;
            }
            match self.spawn(index, &release) {
                Ok(next) => self.places[index].next = Some(next),
                Err(error) => self.start_failed(release.generation, &error.to_string()),
            }
        } else if of_workers().all(|(_, place)| place.is_ready()) {
            self.finish_reload();
        }
    }

    /// Whether the one in `place` may still be handed WebSockets.
    fn is_being_moved_to(&self, place: &Place, now: Instant) -> bool {
        self.plan.replaced == Leave::Replaced
            && self.leaving.iter().any(|leaving| leaving.is_moving_to(place, now))
    }

    /// Starts one in place of a worker that has answered as many requests as it should.
    fn replace_tired(&mut self, now: Instant) {
        let is_tired =
            |child: &Running| child.is_ready && child.counts.requests >= child.requests_max;
        let is_due = |place: &Place| {
            let is_tired = place.child.as_ref().is_some_and(is_tired);
            is_tired && now >= place.due && !self.is_being_moved_to(place, now)
        };
        let Some(index) = self.places.iter().position(is_due) else { return };
        let place = &self.places[index];
        let requests = place.child.as_ref().map_or(0, |child| child.counts.requests);
        tracing::info!(requests, "{place} has answered enough, starting another one");
        match self.spawn(index, &self.release.clone()) {
            Ok(next) => self.places[index].next = Some(next),
            Err(error) => {
                tracing::error!(%error, "{}", self.places[index]);
                self.places[index].due = now + TIRED_PAUSE;
            }
        }
    }

    fn finish_reload(&mut self) {
        let Some(reload) = self.reload.take() else { return };
        let Reload { release, settings, begun, waiting, again } = reload;
        let (generation, took) = (release.generation, begun.elapsed());
        self.release = release;
        self.plan.reloads.last.send_replace(generation);
        self.plan.times = Times::new(&settings);
        let workers = settings.server.workers;
        if workers != self.held.workers {
            self.held.workers = workers;
            let wanted = prepare::workers(&settings).map(|(_, workers)| workers);
            if let Err(words) = wanted.map_err(|e| e.to_string()).and_then(|w| self.scale(w)) {
                tracing::warn!("server.workers stays as it was: {words}");
            }
        }
        let workers = self.workers();
        tracing::info!(generation, workers, ?took, "reloaded");
        self.say_ready();
        let done = json!({ "generation": generation, "workers": workers });
        waiting.into_iter().for_each(|answer| answer.tell(done.clone()));
        self.reload_again(again);
    }

    fn reload_again(&mut self, again: Option<Vec<Answer>>) {
        if let Some(again) = again {
            self.begin_reload(again);
        }
    }

    /// A child of this generation did not become ready.
    pub(in crate::server) fn start_failed(&mut self, generation: u64, words: &str) {
        if self.reload.as_ref().is_some_and(|reload| reload.release.generation == generation) {
            self.give_up_reload(words);
        }
    }

    /// Ends a reload that cannot go on; those that serve go on serving.
    pub(in crate::server) fn give_up_reload(&mut self, words: &str) {
        let Some(reload) = self.reload.take() else { return };
        let generation = reload.release.generation;
        let of_workers = || self.places.iter().filter(|place| place.role == Role::Worker);
        let is_new =
            |place: &&Place| place.child.as_ref().is_some_and(|c| c.generation == generation);
        let (replaced, workers) = (of_workers().filter(is_new).count(), self.workers());
        tracing::error!(
            "the reload failed, {} of {workers} workers go on as they were: {words}",
            workers - replaced
        );
        of_workers().flat_map(|place| &place.next).for_each(Running::kill);
        reload.waiting.into_iter().for_each(|answer| answer.fail(words));
        if self.phase == Phase::Serving {
            self.say_ready();
            self.reload_again(reload.again);
        } else {
            reload.again.into_iter().flatten().for_each(|answer| answer.fail(words));
        }
    }

    /// From now on there are to be so many workers.
    pub(in crate::server) fn scale(&mut self, workers: usize) -> Result<(), String> {
        if self.plan.data_store == DataStore::Memory && workers != 1 {
            let words = "the data store is memory://, inside the one worker; use pulse://";
            return Err(words.to_owned());
        }
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(format!("{workers} workers: 1 to {WORKERS_MAX} are possible"));
        }
        if matches!(self.phase, Phase::Stopping(_)) {
            return Err("the site stops".to_owned());
        }
        let before = self.workers();
        if workers != before {
            tracing::info!("{workers} workers instead of {before}");
        }
        self.places.extend((before + 1..=workers).map(|number| Place::new(Role::Worker, number)));
        let kill_at = Instant::now() + self.plan.times.graceful;
        let mut index = 0;
        while index < self.places.len() {
            let place = &self.places[index];
            if place.number <= workers || place.role != Role::Worker {
                index += 1;
                continue;
            }
            let Place { role, number, child, next, .. } = self.places.remove(index);
            child.iter().for_each(|child| child.drain(Leave::Replaced));
            // It serves nobody yet.
            next.iter().for_each(Running::kill);
            let leaving = child.into_iter().chain(next);
            let leave = |child| Leaving::new((role, number), child, kill_at);
            self.leaving.extend(leaving.map(leave));
        }
        Ok(())
    }
}
