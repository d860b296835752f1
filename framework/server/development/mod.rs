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
//! - The news are the whole state, so whoever comes late or comes back has missed nothing.

mod build;
mod page;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::apps::Project;
use crate::channels::{GroupName, Layer};
use crate::conf::Settings;
use crate::error::{Error, Result};
use crate::server::Options;
use crate::server::arbiter::{Event, Plan};
use crate::server::children::Program;
use crate::server::ctl::{Answer, Request};
use crate::server::prepare::{self, DataStore};

use build::{Build, Built};
use walk::{Change, Stamp, Walk};

pub(super) use page::{Page, Release};

/// How often the files are looked at. A change is taken once one look has found no more of it:
/// editors write several files one after the other.
const LOOK: Duration = Duration::from_millis(200);

/// The group in which pages hear the news, and the name of the value that is the last of them.
const NAME: &str = "hulse.development";

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    Built(Result<Built, String>),
    Reloaded(Result<(), String>, Duration),
}

/// Watches the project and sees to it that what runs is what is written.
#[derive(Debug)]
pub(super) struct Developer {
    walk: Walk,
    seen: Stamp,
    /// Changed since, and perhaps not yet whole.
    pending: Change,
    build: Option<Build>,
    /// At most one: a build, or the reload after it.
    work: JoinSet<Done>,
    /// Code changed while something was built.
    again: bool,
    began: Instant,
    news: News,
    layer: Layer,
    events: mpsc::Sender<Event>,
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
        let build = Build::of(project.folder(), settings, &program);
        let walk = Walk::new(project.folder(), settings, build.is_some().then_some(&program));
        Ok(Some(Self {
            seen: walk.look(),
            walk,
            pending: Change::default(),
            build,
            work: JoinSet::new(),
            again: false,
            began: Instant::now(),
            news: News::default(),
            layer: prepare::layer(settings, plan.store_path.as_deref())?,
            events,
            say: options.say.clone(),
        }))
    }

    /// Goes on as long as the site runs. Dropping it ends a build.
    pub(super) async fn run(mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.look().await,
                Some(done) = self.work.join_next() => match done {
                    Ok(Done::Built(built)) => self.built(built).await,
                    Ok(Done::Reloaded(outcome, took)) => self.reloaded(outcome, took).await,
                    Err(error) => self.failed(&error.to_string()).await,
                },
            }
        }
    }

    async fn look(&mut self) {
        let now = self.walk.look();
        let change = self.seen.change(&now);
        self.seen = now;
        if !change.is_none() {
            self.pending.add(change);
            return;
        }
        let change = std::mem::take(&mut self.pending);
        if change.is_none() {
            return;
        }
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
            self.begin_build();
        } else if let Some(file) = change.settings {
            self.say.line(format_args!("{} changed, reloading", file.display()));
            self.begin_reload();
        }
    }

    fn begin_build(&mut self) {
        let Some(build) = self.build.clone() else { return };
        if !self.work.is_empty() {
            self.again = true;
            return;
        }
        self.began = Instant::now();
        let say = self.say.clone();
        self.work.spawn(async move { Done::Built(build.run(&say).await) });
    }

    async fn built(&mut self, built: Result<Built, String>) {
        if let Some(program) = self.build.as_ref().map(Build::program) {
            self.walk.learn(program, &mut self.seen);
        }
        if std::mem::take(&mut self.again) {
            // What it says is out of date.
            return self.begin_build();
        }
        match built {
            Err(words) => {
                self.say.line("The build failed; the one before it goes on serving.");
                self.failed(&words).await;
            }
            Ok(built) => {
                self.mended().await;
                match built {
                    Built::Same => self.say.line("Nothing to reload: the program is the same."),
                    Built::Another => self.begin_reload(),
                }
            }
        }
    }

    fn begin_reload(&mut self) {
        if !self.work.is_empty() {
            // A build is followed by a reload.
            self.again = true;
            return;
        }
        let (answer, answered) = Answer::pair();
        let (events, began) = (self.events.clone(), Instant::now());
        self.work.spawn(async move {
            let gone = || Err("the site stops".to_owned());
            if events.send(Event::Asked(Request::Reload, answer)).await.is_err() {
                return Done::Reloaded(gone(), began.elapsed());
            }
            let outcome = match answered.await {
                Ok(outcome) => outcome.map(drop),
                Err(_) => gone(),
            };
            Done::Reloaded(outcome, began.elapsed())
        });
    }

    async fn reloaded(&mut self, outcome: Result<(), String>, took: Duration) {
        match outcome {
            Ok(()) => {
                let took = took.as_secs_f32();
                self.say.line(format_args!("Reloaded in {took:.1} s."));
                self.mended().await;
            }
            Err(words) => {
                self.say.line(format_args!("It cannot be reloaded: {words}"));
                self.failed(&format!("The site cannot be reloaded: {words}")).await;
            }
        }
        match (std::mem::take(&mut self.again), &self.build) {
            (true, Some(_)) => self.begin_build(),
            (true, None) => self.begin_reload(),
            (false, _) => {}
        }
    }

    async fn failed(&mut self, words: &str) {
        self.news.failed = Some(words.to_owned());
        self.publish().await;
    }

    async fn mended(&mut self) {
        if self.news.failed.take().is_some() {
            self.publish().await;
        }
    }

    /// First the value, for who comes now; then the group, for who is there.
    async fn publish(&self) {
        let words = json!(self.news).to_string();
        let told = async {
            self.layer.values().set(NAME, words.clone(), None).await?;
            self.layer.publish(&GroupName::new(NAME)?, words.into()).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "open pages do not hear what has changed");
        }
    }
}

/// `folder/templates` and the like, once each.
fn folders(parents: [&Path; 2], name: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = parents.iter().map(|parent| parent.join(name)).collect();
    folders.dedup();
    folders
}
