//! A connection's handle on the groups it takes part in.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::frame::Frame;
use super::members::{Drained, Part, Reply, Start};
use super::protocol::{Ask, Key, Person};
use super::worker::{Worker, unavailable};
use super::{
    Delivery, Entered, Envelope, GroupName, Joined, Message, Policy, Position, Presence, Sink,
    too_many_bytes,
};
use crate::error::{Error, Kind, Result};

/// Longest key of a presence, bytes.
const KEY_BYTES_MAX: usize = 200;

/// How often the store is asked what a connection missed, while the group runs away from it.
const RESUME_ATTEMPTS_MAX: usize = 3;

/// One connection. Dropping it leaves all its groups.
#[derive(Debug)]
pub struct Connection {
    pub(super) worker: Arc<Worker>,
    pub(super) id: u64,
    message_bytes_max: usize,
}

impl Connection {
    pub(super) fn new(worker: Arc<Worker>, sink: Arc<dyn Sink>, message_bytes_max: usize) -> Self {
        let id = worker.table().connect(sink);
        Self { worker, id, message_bytes_max }
    }

    /// The name it has in [`Layer::group_channels`](super::Layer::group_channels), its own of all
    /// processes.
    #[must_use]
    pub fn name(&self) -> GroupName {
        self.worker.table().name_of(self.id)
    }

    /// Takes part in `group`: what is sent to it from now on can be drained. Twice is once.
    ///
    /// # Errors
    /// The store cannot be reached in time, or the connection is closed.
    pub async fn join(&self, group: &GroupName) -> Result<()> {
        self.join_with(group, Policy::default()).await
    }

    /// As [`join`](Self::join), with what happens when it lags too far.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_with(&self, group: &GroupName, policy: Policy) -> Result<()> {
        self.take_part(group, Part::Join(policy)).await
    }

    /// Takes part in `group` as one who listens: its messages are for the consumer.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn listen(&self, group: &GroupName) -> Result<()> {
        self.take_part(group, Part::Listen).await
    }

    /// As [`join_with`](Self::join_with), for one that comes back: what was sent after `since`
    /// comes first, all of it, once and in order, whatever worker or transport it had before. If
    /// the group's history does not reach there, [`Joined::recovered`] is false and what comes
    /// begins now. Who takes part already goes on from where it is.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_at(
        &self,
        group: &GroupName,
        since: Option<Position>,
        policy: Policy,
    ) -> Result<Joined> {
        self.take_part_at(group, since, Part::Join(policy)).await
    }

    /// As [`join_at`](Self::join_at), for one who listens.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn listen_at(&self, group: &GroupName, since: Option<Position>) -> Result<Joined> {
        self.take_part_at(group, since, Part::Listen).await
    }

    /// From now on the messages of `group` come in `envelope`; nothing if it has no part in it. To
    /// be called before its sink is opened: frames that are on their way stay as they are.
    pub(crate) fn address(&self, group: &GroupName, envelope: Envelope) {
        self.worker.table().address(self.id, group, envelope);
    }

    /// Ends its part in `group`, presence included; nothing if it has none.
    pub fn leave(&self, group: &GroupName) {
        self.worker.change(|table| table.leave(self.id, group));
    }

    /// Joins `group` and is counted as present there, until it leaves.
    ///
    /// # Errors
    /// As [`join`](Self::join); or the key is empty or longer than 200 bytes, or the messages are
    /// together larger than one may be (`is_message_too_large`).
    pub async fn enter(&self, group: &GroupName, presence: &Presence) -> Result<Entered> {
        self.enter_lasting(group, presence, Duration::ZERO).await
    }

    /// As [`enter`](Self::enter); who leaves may take at least `lasts` to come back, whatever the
    /// site's grace is.
    pub(crate) async fn enter_lasting(
        &self,
        group: &GroupName,
        presence: &Presence,
        lasts: Duration,
    ) -> Result<Entered> {
        let grace = self.worker.table().presence_grace().max(lasts);
        let person = person(presence, grace)?;
        let bytes = presence.joined.len() + presence.left.len();
        too_many_bytes(bytes, self.message_bytes_max)?;
        let undo = Undo::new(self, group);
        self.take_part(group, Part::Enter).await?;
        let (connection, name) = (self.id, group.clone());
        let make = |key: Key| Ask::Enter { request: key.request, group: name, connection, person };
        match self.worker.request(bytes, make).await? {
            Reply::Entered { first, roster, history } => {
                undo.disarm();
                Ok(Entered { first, roster: messages(&roster), history: messages(&history) })
            }
            reply => Err(super::unexpected(&reply)),
        }
    }

    pub(super) async fn take_part(&self, group: &GroupName, part: Part) -> Result<()> {
        let undo = Undo::new(self, group);
        // Bound first: a match would keep the table locked while it waits for the store.
        let joined = self.worker.table().join(self.id, group, part);
        match joined {
            None => return Err(closed()),
            Some(true) => {}
            Some(false) => self.subscribe(group).await?,
        }
        undo.disarm();
        Ok(())
    }

    async fn subscribe(&self, group: &GroupName) -> Result<()> {
        let group = group.clone();
        let make = |key: Key| Ask::Subscribe { request: key.request, group };
        self.worker.request(0, make).await.map(drop)
    }

    pub(super) async fn take_part_at(
        &self,
        group: &GroupName,
        since: Option<Position>,
        part: Part,
    ) -> Result<Joined> {
        let Some(since) = since else {
            self.take_part(group, part).await?;
            let position = self.worker.table().cursor_of(self.id, group).ok_or_else(closed)?;
            return Ok(Joined { position, recovered: false });
        };
        let undo = Undo::new(self, group);
        let resuming = self.resume(group, since, part);
        let resumed = tokio::time::timeout(self.worker.wait(), resuming).await;
        let joined = resumed.map_err(|_| unavailable())??;
        undo.disarm();
        Ok(joined)
    }

    /// Asks for what is missing until there is a place.
    async fn resume(&self, group: &GroupName, since: Position, part: Part) -> Result<Joined> {
        let mut start = self.worker.table().resume(self.id, group, part, since);
        for _ in 0..RESUME_ATTEMPTS_MAX {
            start = match start.ok_or_else(closed)? {
                Start::At(joined) => return Ok(joined),
                Start::Unsubscribed => {
                    self.subscribe(group).await?;
                    self.worker.table().place(self.id, group, since)
                }
                Start::Short(turn) => {
                    // The semaphore is never closed.
                    let _turn = turn.acquire_owned().await.map_err(|_| unavailable())?;
                    self.ask_missed(group, since).await?
                }
            };
        }
        match start {
            Some(Start::At(joined)) => Ok(joined),
            Some(_) => self.place_lost(group),
            None => Err(closed()),
        }
    }

    /// Asks the store what was sent since, unless somebody else has just done so.
    async fn ask_missed(&self, group: &GroupName, since: Position) -> Result<Option<Start>> {
        let start = self.worker.table().place(self.id, group, since);
        let Some(Start::Short(_)) = start else { return Ok(start) };
        let name = group.clone();
        let make = |key: Key| Ask::History {
            request: key.request,
            group: name,
            since: Some(since),
            limit: u32::MAX,
        };
        match self.worker.request(0, make).await? {
            Reply::Missed(missed) => {
                let now = self.worker.now();
                Ok(self.worker.table().place_with(now, (self.id, group), since, &missed))
            }
            reply => Err(super::unexpected(&reply)),
        }
    }

    fn place_lost(&self, group: &GroupName) -> Result<Joined> {
        match self.worker.table().place_lost(self.id, group) {
            Some(Start::At(joined)) => Ok(joined),
            Some(_) => Err(unavailable()),
            None => Err(closed()),
        }
    }

    /// Leaves all groups and can join none any more.
    pub fn close(&self) {
        self.worker.change(|table| table.disconnect(self.id));
    }

    /// What the groups it listens to have for it, each in its order, up to about `bytes_max`; ask
    /// again until it is empty, then wait for `wake`.
    ///
    /// # Errors
    /// It lagged further than the history of a group reaches (`is_socket_closed`): messages are
    /// lost to it, and it should be closed.
    pub fn hear(&self, bytes_max: usize) -> Result<Vec<(GroupName, Delivery)>> {
        let drained = self.drain(&mut BytesMut::new(), bytes_max);
        if drained.is_overrun {
            return Err(Error::of(Kind::SocketClosed, "the connection lagged too far behind"));
        }
        Ok(drained.heard)
    }

    /// Moves encoded frames of joined groups to `out`, until it holds about `bytes_max`.
    pub(crate) fn drain(&self, out: &mut BytesMut, bytes_max: usize) -> Drained {
        self.worker.table().drain(self.id, out, bytes_max)
    }

    /// Lets its sink be written to, if there is nothing to drain; whether it is so.
    pub(crate) fn open(&self) -> bool {
        self.worker.table().open(self.id)
    }

    /// Whether it lagged further than the history of a group reaches.
    pub(crate) fn is_overrun(&self) -> bool {
        self.worker.table().is_overrun(self.id)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes back a part in a group that was not complete when its future ended.
struct Undo<'a> {
    connection: &'a Connection,
    group: &'a GroupName,
    was_member: bool,
    is_armed: bool,
}

impl<'a> Undo<'a> {
    /// Does nothing to a part that was there before.
    fn new(connection: &'a Connection, group: &'a GroupName) -> Self {
        let was_member = connection.worker.table().is_member(connection.id, group);
        Self { connection, group, was_member, is_armed: true }
    }

    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Self { connection, group, .. } = self;
        match (self.is_armed, self.was_member) {
            (false, _) => {}
            (true, false) => connection.leave(group),
            (true, true) => {
                connection.worker.table().give_up_resuming(connection.id, group);
            }
        }
    }
}

fn person(presence: &Presence, grace: Duration) -> Result<Person> {
    if !(1..=KEY_BYTES_MAX).contains(&presence.key.len()) {
        return Err(Error::of(
            Kind::BadGroupName,
            format!("the key of a presence has 1 to {KEY_BYTES_MAX} bytes"),
        ));
    }
    Ok(Person {
        key: presence.key.as_str().into(),
        grace,
        since: Position::default(),
        joined: Frame::new(&presence.joined),
        left: Frame::new(&presence.left),
    })
}

fn messages(frames: &[Frame]) -> Vec<Message> {
    frames.iter().map(Frame::message).collect()
}

fn closed() -> Error {
    Error::of(Kind::SocketClosed, "the connection is closed")
}
