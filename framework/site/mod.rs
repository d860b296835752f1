//! `Site`: what runs. The first argument of everything that touches the world.
//!
//! Flow: `apps::Project::open` builds one → `Request` and `Socket` deref to it → models, groups and
//! templates are reached through it.
//!
//! Invariants:
//! - A cheap clone; no process global holds one, so many run side by side in tests.
//! - Inside [`Site::atomic`] the closure's site *is* the transaction: its queries run in it, and
//!   its `group.send` waits for the commit.

mod atomic;
mod batch;
mod channel;
mod group;
mod kept;
mod lifecycle;
mod reverse;

use std::fmt;
use std::sync::Arc;

use crate::channels::{Layer, Values};
use crate::conf::Settings;
use crate::db::{Connection, Database};
use crate::error::Result;
use crate::signals::Signals;
use crate::template::Templates;

use atomic::Inside;
use kept::Kept;

pub use atomic::Atomic;
pub(crate) use batch::Batch;
pub use channel::Channel;
pub use group::Group;
pub use lifecycle::Lifecycle;
pub use reverse::{Reverse, ReversePart};

/// A running site: settings, database, templates, layer and URL names.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

/// One piece: a request's site is cloned some ten times on its way.
#[derive(Clone)]
struct Inner {
    shared: Arc<Parts>,
    /// What apps keep with the site; shared by all clones.
    kept: Arc<Kept>,
    connection: Connection,
    /// `None` outside a transaction.
    inside: Option<Inside>,
}

/// What a site is made of; [`Site::new`] takes it whole.
#[derive(Debug)]
pub struct Parts {
    /// The settings, checked.
    pub settings: Settings,
    /// The pools.
    pub database: Database,
    /// The templates.
    pub templates: Templates,
    /// The way to every other process.
    pub layer: Layer,
    /// The named URLs.
    pub reverse: Reverse,
    /// Shutdown: who still works, and the word that it is time to stop.
    pub lifecycle: Lifecycle,
}

impl Site {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let connection = parts.database.connection();
        let shared = Arc::new(parts);
        Self(Arc::new(Inner { shared, kept: Arc::default(), connection, inside: None }))
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.shared.settings
    }

    /// What queries run on: the pool, or the open transaction inside [`atomic`](Self::atomic).
    #[must_use]
    pub fn db(&self) -> &Connection {
        &self.0.connection
    }

    /// The pools themselves.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.shared.database
    }

    /// The loaded templates.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.0.shared.templates
    }

    /// The layer, for work that no group covers.
    #[must_use]
    pub fn layer(&self) -> &Layer {
        &self.0.shared.layer
    }

    /// Shutdown of this process.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.shared.lifecycle
    }

    /// Tells the receivers of the project (`Project::on`) that `event` happened, one after the
    /// other, and returns it as they leave it. Inside [`atomic`](Self::atomic) they are part of the
    /// transaction.
    ///
    /// # Errors
    /// The first receiver's that fails; those after it are not called.
    pub async fn send_signal<E: Send + Sync + 'static>(&self, event: E) -> Result<Arc<E>> {
        self.keep(|_| Signals::<Self>::default()).send(self, event).await
    }

    /// Whether anybody asked for events of type `E`: an event that costs something to make is made
    /// only then.
    #[must_use]
    pub fn hears<E: Send + Sync + 'static>(&self) -> bool {
        self.keep(|_| Signals::<Self>::default()).is_heard::<E>()
    }

    /// The URL called `name` with `arguments` in place of its converters, in order.
    ///
    /// # Errors
    /// The name is unknown or the arguments do not fit (`is_no_reverse_match`).
    pub fn reverse(&self, name: &str, arguments: &[&dyn fmt::Display]) -> Result<String> {
        self.0.shared.reverse.url(name, arguments)
    }

    /// Whether a URL is called `name`.
    #[must_use]
    pub fn knows_url(&self, name: &str) -> bool {
        self.0.shared.reverse.knows(name)
    }

    /// The group called `name`. A bad name is an error when something is sent.
    #[must_use]
    pub fn group(&self, name: impl Into<String>) -> Group {
        Group::new(self.clone(), name.into())
    }

    /// The named channel called `name`. A bad name is an error when something is sent.
    #[must_use]
    pub fn channel(&self, name: impl Into<String>) -> Channel {
        Channel::new(self.clone(), name.into())
    }

    /// Values, counters and locks that all processes of the site share, in the data store's memory.
    /// Transactions have no part in them: what is done here is done at once.
    #[must_use]
    pub fn values(&self) -> Values {
        self.layer().values()
    }

    /// What an app keeps for as long as the site runs (a pool, an index): one value a type, made by
    /// `make` the first time. `make` must not ask for another kept value.
    pub fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        self.0.kept.get(|| make(self))
    }

    /// The kept value of this type, if somebody has made it.
    pub(crate) fn kept<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.kept.find()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("depth", &self.depth()).finish_non_exhaustive()
    }
}
