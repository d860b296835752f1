//! The statements that ran, for tests and the debug page.
//!
//! Flow: [`Database::record`](super::Database::record) starts a record → each statement leaves its
//! text and duration in every record that is open → dropping the record ends it.
//!
//! Invariants:
//! - While nothing records, a statement costs one atomic load and copies nothing.
//! - Values are not recorded: they may be secrets, and they are not what makes a query slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Most statements one record keeps; those after it are only counted.
const QUERIES_MAX: usize = 10_000;

/// One statement that ran, or failed, or was given up.
#[derive(Clone, Debug)]
pub struct Query {
    /// The text, with placeholders where the values were bound.
    pub sql: String,
    /// From asking for a connection to the last row.
    pub duration: Duration,
}

/// What ran on a database since [`Database::record`](super::Database::record); dropping it ends the
/// recording.
///
/// It holds the statements of everybody who uses this database in this process, transactions and
/// migrations included; BEGIN, SAVEPOINT and their ends are no queries.
#[derive(Debug)]
pub struct QueryLog {
    kept: Arc<Mutex<Kept>>,
    records: Arc<Records>,
}

#[derive(Debug, Default)]
struct Kept {
    queries: Vec<Query>,
    count: usize,
}

impl QueryLog {
    /// What ran so far, in the order of the ends; the first 10,000.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        lock(&self.kept).queries.clone()
    }

    /// How many statements ran so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.kept).count
    }

    /// How long they took together.
    #[must_use]
    pub fn duration(&self) -> Duration {
        lock(&self.kept).queries.iter().map(|query| query.duration).sum()
    }

    /// Forgets what ran so far.
    pub fn clear(&self) {
        *lock(&self.kept) = Kept::default();
    }
}

impl Drop for QueryLog {
    fn drop(&mut self) {
        self.records.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open records of one database.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// How many there are: looked at before every statement.
    open: AtomicUsize,
    /// Those that were dropped are swept when the next begins.
    list: Mutex<Vec<Weak<Mutex<Kept>>>>,
}

impl Records {
    pub(super) fn begin(self: &Arc<Self>) -> QueryLog {
        let kept = Arc::default();
        let mut list = lock(&self.list);
        list.retain(|record| record.strong_count() > 0);
        list.push(Arc::downgrade(&kept));
        self.open.fetch_add(1, Ordering::Relaxed);
        QueryLog { kept, records: Arc::clone(self) }
    }

    /// To be held while the statement runs, if anybody wants to know.
    pub(super) fn watch(&self, text: &str) -> Option<Watch<'_>> {
        let heard = tracing::enabled!(target: "hulse::queries", tracing::Level::DEBUG);
        if !heard && self.open.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(Watch { records: self, sql: text.to_owned(), started: Instant::now() })
    }

    fn keep(&self, query: &Query) {
        for kept in lock(&self.list).iter().filter_map(Weak::upgrade) {
            let mut kept = lock(&kept);
            kept.count += 1;
            if kept.queries.len() < QUERIES_MAX {
                kept.queries.push(query.clone());
            }
        }
    }
}

/// A statement under way.
pub(super) struct Watch<'a> {
    records: &'a Records,
    sql: String,
    started: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let query = Query { sql: std::mem::take(&mut self.sql), duration: self.started.elapsed() };
        let micros = u64::try_from(query.duration.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(target: "hulse::queries", micros, "{}", query.sql);
        self.records.keep(&query);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
