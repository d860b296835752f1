//! Development: what changes on disk is built, served and shown, while the site runs.
//!
//! Flow: in the arbiter's process a [`Developer`] looks at the project's files (`walk`) → code:
//! `build` runs cargo, and a good build is a rolling reload like any other; settings: a reload;
//! templates and static files: nothing but the news → the [`News`] go to a group and a value of the
//! site's own data store → `page`, in the workers: every HTML answer names one small script, whose
//! WebSocket hears the news and loads the page anew, swaps its style sheets or shows what the
//! compiler said.
//!
//! Invariants:
//! - Only with `server.reload`, which `conf` refuses outside debug: otherwise nobody watches, no
//!   answer is changed and the URLs are the site's.
//! - The listening sockets are never closed; a build or a reload that fails leaves who serves
//!   alone.
//! - What serves is compared with what is on disk, not with what one build has made: a save at any
//!   moment, also during a build or a reload, is served in the end.
//! - The news are the whole state, so whoever comes late or comes back has missed nothing.

mod build;
mod builder;
mod findings;
mod page;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::apps::Project;
use crate::channels::{GroupName, Layer};
use crate::conf::Settings;
use crate::error::{Error, Result};
use crate::server::Options;
use crate::server::arbiter::{Event, Plan};
use crate::server::children::{Program, RUNNING};
use crate::server::ctl::{Answer, Request};
use crate::server::prepare::{self, DataStore};

use build::Build;
use walk::{Change, ENTRIES_MAX, Mark, Stamp, Walk};

pub(super) use builder::build_for_arbiter;
pub(super) use findings::tell_findings;
pub(super) use page::{Page, Release};

/// The pause before the files are looked at again. A change is taken once one look has found no
/// more of it: editors write several files one after the other.
const LOOK: Duration = Duration::from_millis(200);

/// The pause is at least this many times the look.
const LOOK_SHARE: u32 = 10;

/// A change is taken after this time also while there are more.
const STILL_MAX: Duration = Duration::from_secs(1);

/// Before a start's name: the group in which its pages hear the news, and the name of the value
/// that is the last of them. Others may be at work on the same data store.
const NAME: &str = "hulse.development.";

/// How long the value is kept, and how often it is said again: the store may have lost it.
const NEWS_LAST: Duration = Duration::from_secs(60);
const NEWS_AGAIN: Duration = Duration::from_secs(20);

/// Whom a developer's terminal hears: called with what is to be shown there.
#[derive(Clone)]
pub struct Say(Arc<dyn Fn(&str) + Send + Sync>);

impl Say {
    /// Says it so.
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    fn words(&self, words: &str) {
        (self.0)(words);
    }

    fn line(&self, words: impl fmt::Display) {
        self.words(&format!("{words}\n"));
    }
}

impl Default for Say {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Say").finish_non_exhaustive()
    }
}

/// What open pages are told: all there is to know, each time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct News {
    /// Grows when a page would look different: a template, a script, an image.
    page: u64,
    /// Grows when a style sheet has changed.
    style: u64,
    /// What the last build or reload said, if it failed.
    failed: Option<String>,
}

/// What goes on beside the looking.
#[derive(Debug)]
enum Done {
    Built(Result<(), String>),
    /// With the mark of the program that was to be served.
    Reloaded(Result<(), String>, Mark, Duration),
}

/// One look at everything: what it takes to look again, what was seen, how long it took.
type Looked = Result<(Walk, Stamp, Duration), JoinError>;

/// Watches the project and sees to it that what runs is what is written.
#[derive(Debug)]
pub(super) struct Developer {
    /// Not there during a look.
    walk: Option<Walk>,
    /// At most one: it may take long, and the arbiter has one thread.
    looks: JoinSet<Looked>,
    seen: Stamp,
    /// Changed since, and perhaps not yet whole.
    pending: Change,
    /// When the first of `pending` was seen.
    pending_since: Option<Instant>,
    build: Option<Build>,
    /// At most one: a build, or a reload.
    work: JoinSet<Done>,
    /// Code has changed that no build has begun with.
    build_wanted: bool,
    /// Other settings or another program are there than a reload has begun with.
    reload_wanted: bool,
    /// A build may have been made from other files.
    learn: bool,
    /// The program that serves.
    served: Mark,
    news: News,
    build_failed: Option<String>,
    reload_failed: Option<String>,
    cut: Once,
    /// The group's name.
    name: String,
    /// Somebody has reloaded the site.
    reloads: watch::Receiver<u64>,
    layer: Layer,
    events: mpsc::Sender<Event>,
    /// The site stops: nothing is built any more.
    stopping: CancellationToken,
    say: Say,
}

impl Developer {
    /// Looks at everything once; `None` if the settings want nobody to watch.
    pub(super) fn of(
        project: &Project,
        settings: &Settings,
        options: &Options,
        plan: &Plan,
        events: mpsc::Sender<Event>,
    ) -> Result<Option<Self>> {
        if !settings.server.reload {
            return Ok(None);
        }
        if plan.data_store == DataStore::Memory {
            let words = "--reload tells open pages through the data store, and memory:// cannot \
                         be reached from outside its worker: use pulse://";
            return Err(Error::usage(words));
        }
        let program = Program::path_on_disk(options.arguments.first())?;
        let build = Build::of(project.folder(), settings, &program, options);
        let walk = Walk::new(project.folder(), settings, build.is_some().then_some(&program));
        Ok(Some(Self {
            seen: walk.look(),
            walk: Some(walk),
            looks: JoinSet::new(),
            pending: Change::default(),
            pending_since: None,
            build,
            work: JoinSet::new(),
            build_wanted: false,
            reload_wanted: false,
            learn: false,
            served: Mark::of(Path::new(RUNNING)),
            news: News::default(),
            build_failed: None,
            reload_failed: None,
            cut: Once::new(),
            name: format!("{NAME}{}", plan.reloads.start),
            reloads: plan.reloads.last.subscribe(),
            layer: prepare::layer(settings, plan.store_path.as_deref())?,
            events,
            stopping: plan.stopping.clone(),
            say: options.say.clone(),
        }))
    }

    /// Goes on as long as the site runs, from when it is `serving`: before, nothing can be
    /// reloaded. Its end, or dropping it, ends a build.
    pub(super) async fn run(mut self, serving: CancellationToken) {
        let stopping = self.stopping.clone();
        let stopped = || stopping.cancelled();
        tokio::select! {
            () = serving.cancelled() => {}
            () = stopped() => return,
        }
        self.begin().await;
        let mut again = interval(NEWS_AGAIN);
        loop {
            tokio::select! {
                // A reload that has worked is no answer to one that failed behind it.
                biased;
                Ok(()) = self.reloads.changed() => {
                    self.reload_failed = None;
                    self.tell_failed().await;
                }
                Some(looked) = self.looks.join_next() => self.look_ended(looked.flatten()).await,
                Some(done) = self.work.join_next() => self.work_ended(done).await,
                _ = again.tick() => self.keep().await,
                () = stopped() => return,
            }
        }
    }

    async fn begin(&mut self) {
        // What a start before this one has left there is over.
        self.publish().await;
        if let Some(build) = &self.build
            && let Some(file) = self.seen.newer_code(Mark::of(build.program()))
        {
            let file = file.display();
            self.say.line(format_args!("{file} is newer than the program, building"));
            self.build_wanted = true;
            self.go_on();
        }
        self.begin_look(LOOK);
    }

    async fn look_ended(&mut self, looked: Looked) {
        match looked {
            Ok((walk, now, took)) => {
                self.walk = Some(walk);
                self.looked(now).await;
                self.begin_look(LOOK.max(took * LOOK_SHARE));
            }
            Err(error) => tracing::error!(%error, "changes are no longer seen"),
        }
    }

    async fn work_ended(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Built(built)) => self.built(built).await,
            Ok(Done::Reloaded(outcome, program, took)) => {
                self.reloaded(outcome, program, took).await;
            }
            Err(error) => self.say.line(error),
        }
    }

    fn begin_look(&mut self, pause: Duration) {
        let Some(mut walk) = self.walk.take() else { return };
        let learn = std::mem::take(&mut self.learn);
        self.looks.spawn(async move {
            sleep(pause).await;
            let look = move || {
                let began = Instant::now();
                if learn {
                    walk.learn();
                }
                let now = walk.look();
                (walk, now, began.elapsed())
            };
            spawn_blocking(look).await
        });
    }

    async fn looked(&mut self, now: Stamp) {
        let change = self.seen.change(&now);
        self.seen = now;
        if self.seen.is_cut() {
            self.cut.call_once(|| {
                tracing::warn!(
                    "there is more below the project than the {ENTRIES_MAX} files and folders \
                     that are looked at: changes of others are not seen"
                );
            });
        }
        let is_still = change.is_none();
        self.pending.add(change);
        if self.pending.is_none() {
            return;
        }
        let since = *self.pending_since.get_or_insert_with(Instant::now);
        if is_still || since.elapsed() >= STILL_MAX {
            self.pending_since = None;
            let change = std::mem::take(&mut self.pending);
            self.changed(change).await;
        }
    }

    async fn changed(&mut self, change: Change) {
        if change.page.is_some() {
            self.news.page += 1;
        }
        if change.style.is_some() {
            self.news.style += 1;
        }
        if let Some(file) = change.page.as_deref().or(change.style.as_deref()) {
            self.say.line(format_args!("{} changed", file.display()));
            self.publish().await;
        }
        if let Some(file) = change.code {
            self.say.line(format_args!("{} changed, building", file.display()));
            self.build_wanted = true;
        }
        if let Some(file) = change.settings {
            self.say.line(format_args!("{} changed, reloading", file.display()));
            self.reload_wanted = true;
        }
        self.go_on();
    }

    /// Begins what is wanted, one after the other: what is built is reloaded once no more is to be
    /// built.
    fn go_on(&mut self) {
        if !self.work.is_empty() {
            return;
        }
        match &self.build {
            Some(build) if std::mem::take(&mut self.build_wanted) => {
                let (build, say) = (build.clone(), self.say.clone());
                self.work.spawn(async move { Done::Built(build.run(&say).await) });
            }
            _ if std::mem::take(&mut self.reload_wanted) => self.begin_reload(),
            _ => {}
        }
    }

    async fn built(&mut self, built: Result<(), String>) {
        self.learn = true;
        match built {
            // What it says is out of date.
            Err(_) if self.build_wanted => {}
            Err(words) => {
                self.say.line("The build failed; the one before it goes on serving.");
                self.build_failed = Some(words);
                self.tell_failed().await;
            }
            Ok(()) => {
                self.build_failed = None;
                self.tell_failed().await;
                // Not whether this build has changed it: another one may have, or a reload failed.
                if self.build.as_ref().is_some_and(|b| Mark::of(b.program()) != self.served) {
                    self.reload_wanted = true;
                } else if !self.reload_wanted && !self.build_wanted {
                    self.say_nothing_to_reload();
                }
            }
        }
        self.go_on();
    }

    fn say_nothing_to_reload(&self) {
        let program = self.build.as_ref().map(Build::program);
        let newer = program.and_then(|program| self.seen.newer_code(Mark::of(program)));
        match (newer, program) {
            (Some(file), Some(program)) => self.say.line(format_args!(
                "Nothing to reload: {} is still older than {}. If it is built elsewhere, \
                 server.build has to say how.",
                program.display(),
                file.display()
            )),
            _ => self.say.line("Nothing to reload: the program is the one that serves."),
        }
    }

    fn begin_reload(&mut self) {
        let (answer, answered) = Answer::pair();
        let (events, began) = (self.events.clone(), Instant::now());
        // Before it is opened: one that comes between is reloaded after the next build.
        let program = self.build.as_ref().map_or(self.served, |b| Mark::of(b.program()));
        self.work.spawn(async move {
            let gone = || Err("the site stops".to_owned());
            let outcome = match events.send(Event::Asked(Request::Reload, answer)).await {
                Ok(()) => answered.await.map_or_else(|_| gone(), |outcome| outcome.map(drop)),
                Err(_) => gone(),
            };
            Done::Reloaded(outcome, program, began.elapsed())
        });
    }

    async fn reloaded(&mut self, outcome: Result<(), String>, program: Mark, took: Duration) {
        match outcome {
            Ok(()) => {
                let took = took.as_secs_f32();
                self.say.line(format_args!("Reloaded in {took:.1} s."));
                self.served = program;
                self.reload_failed = None;
            }
            Err(words) => {
                self.say.line(format_args!("It cannot be reloaded: {words}"));
                self.reload_failed = Some(format!("The site cannot be reloaded: {words}"));
            }
        }
        self.tell_failed().await;
        self.go_on();
    }

    /// Tells open pages what is wrong, if that is news.
    async fn tell_failed(&mut self) {
        let failed = self.build_failed.as_ref().or(self.reload_failed.as_ref()).cloned();
        if failed != self.news.failed {
            self.news.failed = failed;
            self.publish().await;
        }
    }

    /// First the value, for who comes now; then the group, for who is there.
    async fn publish(&self) {
        self.keep().await;
        let words = json!(self.news).to_string();
        let told = async { self.layer.publish(&GroupName::new(&self.name)?, words.into()).await };
        said(told.await.map(drop));
    }

    async fn keep(&self) {
        let words = json!(self.news).to_string();
        said(self.layer.values().set(&self.name, words, Some(NEWS_LAST)).await.map(drop));
    }
}

fn said(told: Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "open pages do not hear what has changed");
    }
}
