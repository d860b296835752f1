//! This worker's side of the layer: its table, and the way to the store.
//!
//! Flow: [`Worker::request`] → the table's `outgoing` → [`Way`] → the store → [`Worker::tell`] →
//! the table answers the request.
//!
//! Invariants:
//! - Requests in flight are bounded in number and bytes, a question until it has its place in the
//!   channel; who waits longer than the setting says gets an error.
//! - Two locks: the table's, for moments (at the end of a tick one `send` per member, none of which
//!   blocks), and around it (in-process only) the one that keeps the order of what goes to the
//!   store.
//! - Who lets messages in ends the tick: the link after each read, in-process whoever asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::hub::Hub;
use super::members::{Reply, Table};
use super::protocol::{Ask, Key, Tell};
#[cfg(feature = "redis")]
use super::redis::Shards;
use super::store::{Event, WorkerId};
use crate::error::{Error, Kind, Result};

/// Permits for requests in flight. Each request takes one, and one for every KiB of its message.
const PERMITS: usize = 16 * 1024;
/// Questions that wait for their answers, which may take long, in no one's way.
const QUESTIONS_MAX: usize = 16 * 1024;
/// Longest time that is counted.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// What a permit is worth, bytes.
const PERMIT_BYTES: usize = 1024;

/// The table and its clock; what the hub of the same process holds of a worker.
#[derive(Debug)]
pub(super) struct Seat {
    table: Mutex<Table>,
    started: Instant,
}

impl Seat {
    fn new(table: Table) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(table), started: Instant::now() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store says; what it must be told at once, if it asks.
    pub(super) fn tell(&self, tell: Tell) -> Option<Ask> {
        let now = self.started.elapsed();
        self.table().tell(now, tell)
    }

    /// Ends the tick.
    pub(super) fn flush(&self) {
        let mut table = self.table();
        if table.is_dirty() {
            table.flush();
        }
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    seat: Arc<Seat>,
    permits: Arc<Semaphore>,
    questions: Semaphore,
    /// How long a request may take.
    wait: Duration,
    way: Way,
}

/// How the store is reached.
#[derive(Debug)]
enum Way {
    /// In this process.
    Hub { hub: Arc<Hub>, id: WorkerId, carrying: Mutex<()> },
    /// By the link's task, which is notified when there is something to carry.
    Link { filled: Notify },
    /// By the links of the shards.
    #[cfg(feature = "redis")]
    Redis(Arc<Shards>),
}

impl Worker {
    /// A worker beside `hub`.
    pub(super) fn local(table: Table, wait: Duration, hub: Arc<Hub>) -> Self {
        let seat = Seat::new(table);
        let id = hub.attach(Arc::clone(&seat));
        Self::new(seat, wait, Way::Hub { hub, id, carrying: Mutex::new(()) })
    }

    /// A worker whose way to the store is a link's task.
    pub(super) fn linked(table: Table, wait: Duration) -> Self {
        let mut table = table;
        table.cut();
        Self::new(Seat::new(table), wait, Way::Link { filled: Notify::new() })
    }

    /// A worker whose ways to the store are the links of `shards`.
    #[cfg(feature = "redis")]
    pub(super) fn sharded(table: Table, wait: Duration, shards: Arc<Shards>) -> Self {
        Self::new(Seat::new(table), wait, Way::Redis(shards))
    }

    fn new(seat: Arc<Seat>, wait: Duration, way: Way) -> Self {
        let permits = Arc::new(Semaphore::new(PERMITS));
        Self { seat, permits, questions: Semaphore::new(QUESTIONS_MAX), wait, way }
    }

    /// The table, for a moment, to look at.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.seat.table()
    }

    /// The table's time.
    pub(super) fn now(&self) -> Duration {
        self.seat.started.elapsed()
    }

    /// How long a request may take.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Changes the table and carries what follows to the store.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let _tick = self.own_tick();
        let value = change(&mut self.table());
        self.carry();
        value
    }

    /// A tick, which ends when this is dropped.
    pub(super) fn tick(&self) -> Tick<'_> {
        Tick(self)
    }

    /// The tick of whoever asks a store in this process. Over a link its task ends the ticks.
    fn own_tick(&self) -> Option<Tick<'_>> {
        matches!(self.way, Way::Hub { .. }).then(|| self.tick())
    }

    /// Whether the tick has something to hand out.
    pub(super) fn is_dirty(&self) -> bool {
        self.table().is_dirty()
    }

    /// Whether a message of this worker's has no place in its group's order yet.
    pub(super) fn is_publishing(&self) -> bool {
        self.table().is_publishing()
    }

    /// What the store says over the link.
    pub(super) fn tell(&self, tell: Tell) {
        if let Some(ask) = self.seat.tell(tell) {
            self.table().say(ask);
        }
    }

    /// Asks the store and waits for its answer.
    pub(super) async fn request(
        &self,
        bytes: usize,
        make: impl FnOnce(Key) -> Ask,
    ) -> Result<Reply> {
        let asked = async {
            let _permit = self.permits(bytes).await?;
            let tick = self.own_tick();
            let request = self.start(make);
            if tick.is_some() && self.is_dirty() {
                // In one process: what others send in the same turn goes along.
                tokio::task::yield_now().await;
            }
            request.answer().await
        };
        tokio::time::timeout(self.wait, asked).await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Asks the store for what may take as long as it takes. Dropping the future withdraws it.
    pub(super) async fn wait_for(&self, make: impl FnOnce(Key) -> Ask) -> Result<Reply> {
        let request = {
            let _tick = self.own_tick();
            self.start(make)
        };
        self.let_time_pass(request.answer()).await
    }

    /// Puts a question and waits for its answer at most for `wait`. `Ok(None)`: it waits in
    /// its channel or is being worked on.
    pub(super) async fn call(
        &self,
        bytes: usize,
        wait: Duration,
        make: impl FnOnce(Key) -> Ask,
    ) -> Result<Option<Reply>> {
        let deadline = later(Instant::now(), wait);
        // The semaphore is never closed.
        let question = timeout_at(deadline, self.questions.acquire()).await;
        let _question = question.map_err(|_| unavailable())?.map_err(|_| unavailable())?;
        let permit = timeout_at(deadline, self.permits(bytes)).await;
        let permit = permit.unwrap_or_else(|_| Err(unavailable()))?;
        let request = {
            let _tick = self.own_tick();
            self.start_with(make, Some(permit))
        };
        let number = request.number;
        let answer = self.let_time_pass(request.answer());
        tokio::pin!(answer);
        match timeout_at(deadline, &mut answer).await {
            Ok(reply) => reply.map(Some),
            Err(_) if self.table().is_called(number) => Ok(None),
            Err(_) => Err(unavailable()),
        }
    }

    /// In one process there is no other clock: who waits here sees to what is due meanwhile.
    async fn let_time_pass<T>(&self, work: impl Future<Output = T>) -> T {
        let Way::Hub { hub, .. } = &self.way else { return work.await };
        tokio::select! {
            biased;
            value = work => value,
            never = hub.turn() => match never {},
        }
    }

    async fn permits(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(1 + bytes / PERMIT_BYTES).unwrap_or(u32::MAX);
        let permits = permits.min(u32::try_from(PERMITS).expect("fits"));
        // The semaphore is never closed.
        let permits = Arc::clone(&self.permits).acquire_many_owned(permits);
        permits.await.map_err(|_| unavailable())
    }

    fn start(&self, make: impl FnOnce(Key) -> Ask) -> Request<'_> {
        self.start_with(make, None)
    }

    /// The request holds `permit` until the store has its message.
    fn start_with(
        &self,
        make: impl FnOnce(Key) -> Ask,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Request<'_> {
        let mut table = self.table();
        let (number, answer) = table.request(make);
        if let Some(permit) = permit {
            table.hold(number, permit);
        }
        drop(table);
        self.carry();
        Request { worker: self, number, answer: Some(answer) }
    }

    /// Hands what waits in `outgoing` to the store, in order.
    pub(super) fn carry(&self) {
        match &self.way {
            Way::Link { filled } => filled.notify_one(),
            #[cfg(feature = "redis")]
            Way::Redis(shards) => shards.carry(|| self.next_ask()),
            Way::Hub { hub, id, carrying } => {
                let _order = carrying.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some(ask) = self.next_ask() {
                    hub.step(Event::Asked(*id, ask));
                }
            }
        }
    }

    fn next_ask(&self) -> Option<Ask> {
        self.table().next_ask()
    }

    /// Ends when there may be something to carry over the link.
    pub(super) async fn filled(&self) {
        if let Way::Link { filled } = &self.way {
            return filled.notified().await;
        }
        std::future::pending().await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Way::Hub { hub, id, .. } = &self.way {
            hub.remove(*id);
        }
    }
}

/// Hands out what came in when it is dropped, on every way out.
pub(super) struct Tick<'a>(&'a Worker);

impl Drop for Tick<'_> {
    fn drop(&mut self) {
        if let Way::Hub { hub, .. } = &self.0.way {
            return hub.flush();
        }
        self.0.seat.flush();
    }
}

/// A request under way.
pub(super) struct Request<'a> {
    worker: &'a Worker,
    number: u64,
    answer: Option<oneshot::Receiver<Reply>>,
}

impl Request<'_> {
    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Result<Reply> {
        let Some(answer) = &mut self.answer else { return Err(unavailable()) };
        let reply = answer.await;
        self.answer = None;
        #[cfg(feature = "redis")]
        if let Ok(Reply::Refused(words)) = reply {
            let words = format!("the data store refused: {words}");
            return Err(Error::of(Kind::LayerUnavailable, words));
        }
        reply.map_err(|_| unavailable())
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        answer.close();
        let (worker, number) = (self.worker, self.number);
        let unread = answer.try_recv().ok();
        worker.change(|table| match unread {
            Some(reply) => table.give_back(reply),
            None => table.withdraw(number),
        });
    }
}

/// `moment` and `wait`, however long that is: beyond thirty years there is no difference.
pub(super) fn later(moment: Instant, wait: Duration) -> Instant {
    moment + wait.min(FOR_EVER)
}

pub(super) fn unavailable() -> Error {
    Error::of(Kind::LayerUnavailable, "the data store did not answer in time")
}

impl Error {
    /// The data store is away, or slower than `channels.send_wait_seconds`. The message may still
    /// arrive.
    ///
    /// If you see this, look for the store in the server's log; the workers link to it again by
    /// themselves.
    #[must_use]
    pub fn is_layer_unavailable(&self) -> bool {
        self.kind() == Kind::LayerUnavailable
    }
}
