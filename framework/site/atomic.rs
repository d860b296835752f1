//! Transactions of a site, and what follows their commit.
//!
//! Flow: [`Site::atomic`] begins → the work gets the site that *is* the transaction → commit, in a
//! task of the site's lifecycle → what [`Site::on_commit`] was told, in order.
//!
//! Invariants:
//! - What was asked for in a transaction or savepoint that does not last is dropped with it.
//! - Only the outermost block is run again, from its beginning, with a new transaction.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::batch::{Batch, Gathered, Piece};
use super::{Inner, Site};
use crate::db::{Begin, Isolation, Transaction};
use crate::error::{Error, Kind, Result};

/// Pause before the first repetition, on average; each further one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How [`Site::atomic_with`] runs its work. What is not said is as in [`Site::atomic`].
///
/// ```
/// # use hulse::site::Atomic;
/// # use hulse::db::Isolation;
/// let how = Atomic { isolation: Some(Isolation::Serializable), retries: 5, ..Atomic::default() };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Atomic {
    /// Refuse to run inside another transaction: when it returns, its changes last.
    pub durable: bool,
    /// What it may see of others' changes; not inside another transaction. PostgreSQL and MariaDB
    /// begin with [`Isolation::ReadCommitted`]; SQLite is always serializable.
    pub isolation: Option<Isolation>,
    /// How often the work is run again, from its beginning, when the database could not let it go
    /// on beside others (`is_serialization_failure`, `is_deadlock`). Inside another transaction
    /// that is left to the outermost one.
    pub retries: u32,
}

type AfterCommit = Box<dyn FnOnce(Site) -> BoxFuture<'static, Result<()>> + Send>;

/// What waits for a commit.
struct Effect {
    /// How deep in savepoints it was asked for.
    depth: u32,
    /// Its failure is logged and concerns nobody else.
    robust: bool,
    run: Run,
}

enum Run {
    Once(AfterCommit),
    /// With all others of its kind, in the place of the first.
    Together(Box<dyn Gathered>),
}

/// Effects in the order of asking; `None` once the transaction is over.
pub(super) struct Pending(Mutex<Option<Vec<Effect>>>);

/// What a site inside a transaction knows of it.
#[derive(Clone)]
pub(super) struct Inside {
    pending: Arc<Pending>,
    /// Whether the innermost block is to be rolled back though it returns `Ok`.
    rollback: Arc<AtomicBool>,
    /// 1 in a transaction, more in savepoints.
    depth: u32,
}

impl Pending {
    /// Changes the list, if the transaction is still open.
    fn with<T>(&self, change: impl FnOnce(&mut Vec<Effect>) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(change)
    }

    /// Takes all; nothing can be added any more.
    fn close(&self) -> Vec<Effect> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Site {
    /// Whether this handle is inside a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.0.inside.is_some()
    }

    pub(super) fn depth(&self) -> u32 {
        self.0.inside.as_ref().map_or(0, |inside| inside.depth)
    }

    /// Runs `work` in a transaction: all of its changes last, or none.
    ///
    /// `work` gets the site to use. It commits when `work` returns `Ok` and rolls back when it
    /// returns an error, panics or is dropped (a client that went away). Inside a transaction it is
    /// a savepoint. On SQLite the write lock is taken at the beginning.
    ///
    /// After a statement failed nothing more can run in the block around it
    /// (`is_transaction_closed`); what may fail goes into an `atomic` of its own.
    ///
    /// Once `work` has returned, the commit and what follows it run to their end, whether or not
    /// anybody still waits: rows that are there are never without their effects.
    ///
    /// # Errors
    /// That of `work`; the database's; or, with the changes committed, the first of what
    /// [`on_commit`](Self::on_commit) was told (`is_after_commit`).
    pub async fn atomic<T>(&self, work: impl AsyncFnOnce(Self) -> Result<T>) -> Result<T> {
        self.atomic_begun(Begin::default(), work).await
    }

    /// As [`atomic`](Self::atomic), run as `how` says. With `retries` the work may run more than
    /// once: what it does besides the database belongs into [`on_commit`](Self::on_commit), which
    /// forgets what a failed try asked for.
    ///
    /// ```
    /// # use hulse::{Result, Site, site::Atomic};
    /// # async fn pay(_: &Site) -> Result<()> { Ok(()) }
    /// # async fn example(site: &Site) -> Result<()> {
    /// let how = Atomic { durable: true, retries: 3, ..Atomic::default() };
    /// site.atomic_with(how, async |site| pay(&site).await).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`atomic`](Self::atomic); or it is inside another transaction and must not be
    /// (`is_nested_transaction`).
    pub async fn atomic_with<T, F, Fut>(&self, how: Atomic, mut work: F) -> Result<T>
    where
        F: FnMut(Self) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        if self.in_transaction() && (how.durable || how.isolation.is_some()) {
            let what = if how.durable { "durable" } else { "with an isolation level" };
            return Err(Error::of(
                Kind::NestedTransaction,
                format!("an atomic block {what} cannot be nested within another atomic block"),
            ));
        }
        let begin = Begin { isolation: how.isolation, ..Begin::default() };
        let retries = if self.in_transaction() { 0 } else { how.retries };
        for retry in 0..retries {
            match self.atomic_begun(begin, async |site| work(site).await).await {
                Err(error) if error.is_serialization_failure() || error.is_deadlock() => {
                    tracing::debug!(%error, retry, "running a transaction again");
                    tokio::time::sleep(pause(retry)).await;
                }
                done => return done,
            }
        }
        self.atomic_begun(begin, async |site| work(site).await).await
    }

    /// As [`atomic`](Self::atomic), with all that a transaction may begin with.
    pub(crate) async fn atomic_begun<T>(
        &self,
        begin: Begin,
        work: impl AsyncFnOnce(Self) -> Result<T>,
    ) -> Result<T> {
        let transaction = self.0.connection.begin_with(begin).await?;
        let inside = Inside {
            pending: match &self.0.inside {
                None => Arc::new(Pending(Mutex::new(Some(Vec::new())))),
                Some(inside) => Arc::clone(&inside.pending),
            },
            rollback: Arc::default(),
            depth: self.depth() + 1,
        };
        let site = Self(Arc::new(Inner {
            connection: transaction.connection(),
            inside: Some(inside.clone()),
            ..Inner::clone(&self.0)
        }));
        let undo = Undo { inside: &inside, armed: true };
        let value = match work(site).await {
            Ok(value) if !inside.rollback.load(Ordering::Relaxed) => value,
            other => {
                drop(undo);
                transaction.rollback().await?;
                return other;
            }
        };
        if self.in_transaction() {
            transaction.commit().await?;
            undo.disarm();
            return Ok(value);
        }
        undo.disarm();
        self.finish(transaction, inside.pending).await?;
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

    /// Has the innermost `atomic` block rolled back when its work ends, though it returns `Ok`: for
    /// a dry run, or a test.
    ///
    /// # Errors
    /// There is no transaction (`is_transaction_closed`).
    pub fn set_rollback(&self) -> Result<()> {
        let Some(inside) = &self.0.inside else {
            let words = "set_rollback was asked of a site outside of any atomic block";
            return Err(Error::of(Kind::TransactionClosed, words));
        };
        inside.rollback.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Calls `effect` once the outermost transaction has committed, in the order of asking; at once
    /// outside one. A rollback, of the savepoint it was asked in too, drops it.
    ///
    /// A failing effect stops no other (Django's stop those after it): all run, and who waits for
    /// `atomic` is told the first failure. An effect gets the site outside the transaction.
    ///
    /// # Errors
    /// Outside a transaction that of `effect`; inside one only that it is over
    /// (`is_transaction_closed`).
    pub async fn on_commit<F, Fut>(&self, effect: F) -> Result<()>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if self.in_transaction() {
            return self.after_commit(false, Run::once(effect));
        }
        effect(self.clone()).await
    }

    /// As [`on_commit`](Self::on_commit), for what nobody has to hear of: a failure of `effect` is
    /// logged and otherwise forgotten, also outside a transaction.
    ///
    /// # Errors
    /// The transaction is over (`is_transaction_closed`).
    pub async fn on_commit_robust<F, Fut>(&self, effect: F) -> Result<()>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if self.in_transaction() {
            return self.after_commit(true, Run::once(effect));
        }
        if let Err(error) = effect(self.clone()).await {
            tracing::error!(%error, "a robust effect");
        }
        Ok(())
    }

    /// As [`on_commit`](Self::on_commit), for work that is done once for all of its kind that was
    /// asked for in the transaction.
    pub(crate) async fn at_commit<B: Batch>(&self, batch: B) -> Result<()> {
        if self.in_transaction() {
            return self.after_commit(false, Run::Together(Box::new(Piece(Some(batch)))));
        }
        batch.run(self.clone()).await
    }

    fn after_commit(&self, robust: bool, run: Run) -> Result<()> {
        let effect = Effect { depth: self.depth(), robust, run };
        let asked =
            self.0.inside.as_ref().and_then(|inside| inside.pending.with(|list| list.push(effect)));
        asked.ok_or_else(|| {
            let words = "on_commit was asked of a site whose atomic block is over";
            Error::of(Kind::TransactionClosed, words)
        })
    }

    /// Runs every effect, also after one has failed; reports the first failure.
    async fn run_effects(&self, effects: Vec<Effect>) -> Result<()> {
        let mut first = None;
        for Effect { robust, run, .. } in together(effects) {
            let done = match run {
                Run::Once(effect) => effect(self.clone()).await,
                Run::Together(batch) => batch.run(self.clone()).await,
            };
            if let Err(error) = done {
                tracing::error!(%error, "after the commit");
                if !robust {
                    first.get_or_insert(error);
                }
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

impl Run {
    fn once<F, Fut>(effect: F) -> Self
    where
        F: FnOnce(Site) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self::Once(Box::new(move |site| Box::pin(effect(site))))
    }
}

/// One effect for all of a kind that are done together.
fn together(effects: Vec<Effect>) -> Vec<Effect> {
    let mut places: HashMap<TypeId, usize> = HashMap::new();
    let mut merged: Vec<Effect> = Vec::with_capacity(effects.len());
    for mut effect in effects {
        if let Run::Together(later) = &mut effect.run {
            let place = *places.entry(later.kind()).or_insert(merged.len());
            if let Some(Effect { run: Run::Together(first), .. }) = merged.get_mut(place) {
                first.add(later.any());
                continue;
            }
        }
        merged.push(effect);
    }
    merged
}

/// Between half of what is due and one and a half times that, so that two who were in each other's
/// way do not meet again.
fn pause(retry: u32) -> Duration {
    let due = RETRY_PAUSE.saturating_mul(2_u32.saturating_pow(retry)).min(RETRY_PAUSE_MAX);
    rand::random_range(due / 2..due + due / 2)
}

/// Drops what was asked for inside a transaction that does not commit.
struct Undo<'a> {
    inside: &'a Inside,
    armed: bool,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.armed = false;
        // A committed savepoint's effects now belong to the transaction around it.
        let depth = self.inside.depth - 1;
        self.inside.pending.with(|list| {
            list.iter_mut().for_each(|effect| effect.depth = effect.depth.min(depth));
        });
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Inside { pending, depth, .. } = self.inside;
        if !self.armed {
            return;
        }
        if *depth == 1 {
            drop(pending.close());
        } else {
            pending.with(|list| list.retain(|effect| effect.depth < *depth));
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
