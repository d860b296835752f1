//! A connection's handle on the groups it takes part in.

use std::sync::Arc;

use bytes::BytesMut;

use super::frame::Frame;
use super::members::{Drained, Part, Reply};
use super::protocol::{Ask, Key, Person};
use super::worker::Worker;
use super::{Entered, GroupName, Message, Policy, Presence, Sink};
use crate::error::{Error, Kind, Result};

/// Longest key of a presence, bytes.
const KEY_BYTES_MAX: usize = 200;

/// One connection. Dropping it leaves all its groups.
#[derive(Debug)]
pub struct Connection {
    worker: Arc<Worker>,
    id: u64,
}

impl Connection {
    pub(super) fn new(worker: Arc<Worker>, sink: Arc<dyn Sink>) -> Self {
        let id = worker.table().connect(sink);
        Self { worker, id }
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

    /// Ends its part in `group`, presence included; nothing if it has none.
    pub fn leave(&self, group: &GroupName) {
        self.worker.change(|table| table.leave(self.id, group));
    }

    /// Joins `group` and is counted as present there, until it leaves.
    ///
    /// # Errors
    /// As [`join`](Self::join); or the key is empty or longer than 200 bytes.
    pub async fn enter(&self, group: &GroupName, presence: &Presence) -> Result<Entered> {
        let person = person(presence)?;
        let bytes = presence.joined.len() + presence.left.len();
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

    async fn take_part(&self, group: &GroupName, part: Part) -> Result<()> {
        let undo = Undo::new(self, group);
        // Bound first: a match would keep the table locked while it waits for the store.
        let joined = self.worker.table().join(self.id, group, part);
        match joined {
            None => return Err(closed()),
            Some(true) => {}
            Some(false) => {
                let group = group.clone();
                let make = |key: Key| Ask::Subscribe { request: key.request, group };
                self.worker.request(0, make).await?;
            }
        }
        undo.disarm();
        Ok(())
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
    pub fn hear(&self, bytes_max: usize) -> Result<Vec<(GroupName, Message)>> {
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
    is_armed: bool,
}

impl<'a> Undo<'a> {
    /// Does nothing to a part that was there before.
    fn new(connection: &'a Connection, group: &'a GroupName) -> Self {
        let is_armed = !connection.worker.table().is_member(connection.id, group);
        Self { connection, group, is_armed }
    }

    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            self.connection.leave(self.group);
        }
    }
}

fn person(presence: &Presence) -> Result<Person> {
    if !(1..=KEY_BYTES_MAX).contains(&presence.key.len()) {
        return Err(Error::of(
            Kind::BadGroupName,
            format!("the key of a presence has 1 to {KEY_BYTES_MAX} bytes"),
        ));
    }
    Ok(Person {
        key: presence.key.as_str().into(),
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
