//! `Site`: what runs. The first argument of everything that touches the world.
//!
//! Flow: `apps::Project::open` builds one → `Request` and `Socket` deref to it → models, groups and
//! templates are reached through it.
//!
//! Invariants:
//! - A cheap clone; no process global holds one, so many run side by side in tests.
//! - Inside [`Site::atomic`] the closure's site *is* the transaction: its queries run in it, and
//!   its `group.send` waits for the commit.

mod channel;
mod group;
mod kept;
mod lifecycle;
mod reverse;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::channels::Layer;
use crate::conf::Settings;
use crate::db::{Begin, Connection, Database, Transaction};
use crate::error::{Error, Kind, Result};
use crate::signals::Signals;
use crate::template::Templates;

use kept::Kept;

pub use channel::Channel;
pub use group::Group;
pub use lifecycle::Lifecycle;
pub use reverse::{Reverse, ReversePart};

/// A running site: settings, database, templates, layer and URL names.
#[derive(Clone)]
pub struct Site {
    shared: Arc<Parts>,
    /// What apps keep with the site; shared by all clones.
    kept: Arc<Kept>,
    connection: Connection,
    /// What waits for the commit, and how deep in savepoints it was asked for. `None` outside.
    pending: Option<Arc<Pending>>,
    /// 0 outside a transaction, 1 in one, more in savepoints.
    depth: u32,
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

type AfterCommit = Box<dyn FnOnce(Site) -> BoxFuture<'static, Result<()>> + Send>;

/// Effects in the order of asking, with the depth they were asked at; `None` once the transaction
/// is over.
struct Pending(Mutex<Option<Vec<(u32, AfterCommit)>>>);

impl Default for Pending {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Pending {
    /// Changes the list, if the transaction is still open.
    fn with<T>(&self, change: impl FnOnce(&mut Vec<(u32, AfterCommit)>) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(change)
    }

    /// Takes all; nothing can be added any more.
    fn close(&self) -> Vec<(u32, AfterCommit)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Site {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let connection = parts.database.connection();
        let shared = Arc::new(parts);
        Self { shared, kept: Arc::default(), connection, pending: None, depth: 0 }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What queries run on: the pool, or the open transaction inside [`atomic`](Self::atomic).
    #[must_use]
    pub fn db(&self) -> &Connection {
        &self.connection
    }

    /// The pools themselves.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.shared.database
    }

    /// The loaded templates.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.shared.templates
    }

    /// The layer, for work that no group covers.
    #[must_use]
    pub fn layer(&self) -> &Layer {
        &self.shared.layer
    }

    /// Shutdown of this process.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.shared.lifecycle
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
        self.shared.reverse.url(name, arguments)
    }

    /// Whether a URL is called `name`.
    #[must_use]
    pub fn knows_url(&self, name: &str) -> bool {
        self.shared.reverse.knows(name)
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

    /// What an app keeps for as long as the site runs (a pool, an index): one value a type, made by
    /// `make` the first time. `make` must not ask for another kept value.
    pub fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        self.kept.get(|| make(self))
    }

    /// Whether this handle is inside a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.depth > 0
    }

    /// Runs `work` in a transaction: all of its changes last, or none.
    ///
    /// `work` gets the site to use. It commits when `work` returns `Ok` and rolls back when it
    /// returns an error, panics or is dropped (a client that went away). Inside a transaction it is
    /// a savepoint. On SQLite the write lock is taken at the beginning.
    ///
    /// Once `work` has returned, the commit and what follows it run to their end, whether or not
    /// anybody still waits: rows that are there are never without their effects.
    ///
    /// # Errors
    /// That of `work`; the database's; or, with the changes committed, the first of what
    /// [`on_commit`](Self::on_commit) was told (`is_after_commit`).
    pub async fn atomic<T>(&self, work: impl AsyncFnOnce(Self) -> Result<T>) -> Result<T> {
        self.atomic_with(Begin::default(), work).await
    }

    /// As [`atomic`](Self::atomic), with a say in how the transaction begins.
    ///
    /// # Errors
    /// As [`atomic`](Self::atomic).
    pub async fn atomic_with<T>(
        &self,
        begin: Begin,
        work: impl AsyncFnOnce(Self) -> Result<T>,
    ) -> Result<T> {
        let transaction = self.connection.begin_with(begin).await?;
        let pending = self.pending.clone().unwrap_or_default();
        let inner = Self {
            shared: Arc::clone(&self.shared),
            kept: Arc::clone(&self.kept),
            connection: transaction.connection(),
            pending: Some(Arc::clone(&pending)),
            depth: self.depth + 1,
        };
        let undo = Undo { pending: &pending, depth: inner.depth, armed: true };
        let value = match work(inner).await {
            Ok(value) => value,
            Err(error) => {
                drop(undo);
                transaction.rollback().await?;
                return Err(error);
            }
        };
        if self.depth > 0 {
            transaction.commit().await?;
            undo.disarm();
            return Ok(value);
        }
        undo.disarm();
        self.finish(transaction, pending).await?;
        Ok(value)
    }

    /// Commits and runs the effects, in a task of the site's lifecycle: dropping the future that
    /// waits for it stops neither.
    async fn finish(&self, transaction: Transaction, pending: Arc<Pending>) -> Result<()> {
        let (done, ended) = tokio::sync::oneshot::channel();
        let site = self.clone();
        self.lifecycle().spawn(async move {
            let committed = transaction.commit().await;
            let effects = pending.close();
            let result = match committed {
                Ok(()) => site.run_effects(effects).await,
                Err(error) => Err(error),
            };
            // Nobody may be waiting any more.
            drop(done.send(result));
        });
        ended.await.unwrap_or_else(|_| {
            Err(Error::of(Kind::AfterCommit, "committed, but afterwards an effect panicked"))
        })
    }

    /// Calls `effect` once the outermost transaction has committed, in the order of asking; at once
    /// outside one. A rollback, of the savepoint it was asked in too, drops it.
    ///
    /// # Errors
    /// Outside a transaction that of `effect`; inside one only that it is over
    /// (`is_transaction_closed`).
    pub async fn on_commit<F, Fut>(&self, effect: F) -> Result<()>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        match &self.pending {
            None => effect(self.clone()).await,
            Some(pending) => {
                let effect: AfterCommit = Box::new(move |site| Box::pin(effect(site)));
                pending.with(|list| list.push((self.depth, effect))).ok_or_else(|| {
                    let words = "on_commit was asked of a site whose atomic block is over";
                    Error::of(Kind::TransactionClosed, words)
                })
            }
        }
    }

    /// Runs every effect, also after one has failed; reports the first failure.
    async fn run_effects(&self, effects: Vec<(u32, AfterCommit)>) -> Result<()> {
        let mut first = None;
        for (_, effect) in effects {
            if let Err(error) = effect(self.clone()).await {
                tracing::error!(%error, "after the commit");
                first.get_or_insert(error);
            }
        }
        match first {
            None => Ok(()),
            Some(error) => {
                Err(Error::of(Kind::AfterCommit, format!("committed, but afterwards: {error}")))
            }
        }
    }
}

/// Drops what was asked for inside a transaction that does not commit.
struct Undo<'a> {
    pending: &'a Pending,
    depth: u32,
    armed: bool,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.armed = false;
        // A committed savepoint's effects now belong to the transaction around it.
        let depth = self.depth - 1;
        self.pending.with(|list| list.iter_mut().for_each(|(at, _)| *at = (*at).min(depth)));
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if self.depth == 1 {
            drop(self.pending.close());
        } else {
            self.pending.with(|list| list.retain(|(at, _)| *at < self.depth));
        }
    }
}

impl Error {
    /// The transaction is committed, but an effect that should have followed failed.
    ///
    /// If you see this, do not run the transaction again: its rows are there.
    #[must_use]
    pub fn is_after_commit(&self) -> bool {
        self.kind() == Kind::AfterCommit
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("depth", &self.depth).finish_non_exhaustive()
    }
}
