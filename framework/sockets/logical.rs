//! One of several streams on a socket, as its consumer's handles see it: what it says is marked
//! with its name, and its groups are its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use serde_json::value::RawValue;

use super::Socket;
use super::slot::closed;
use crate::channels::{GroupName, Message};
use crate::error::{Error, Result};

/// How a stream takes part in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Messages go to the client, marked.
    pub(super) is_joined: bool,
    /// Messages go to the consumer.
    pub(super) is_listening: bool,
}

/// The groups of all streams of one socket.
#[derive(Debug, Default)]
pub(super) struct Crossing(Mutex<BTreeMap<GroupName, BTreeMap<Arc<str>, Part>>>);

/// A stream.
#[derive(Debug)]
pub(super) struct Logical {
    name: Arc<str>,
    crossing: Arc<Crossing>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_accepted: bool,
    closed: Option<u16>,
}

impl Logical {
    pub(super) fn new(name: &str, crossing: Arc<Crossing>) -> Self {
        Self { name: name.into(), crossing, state: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupName, BTreeMap<Arc<str>, Part>>> {
        self.crossing.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn accept(&self) {
        self.state().is_accepted = true;
    }

    pub(super) fn is_accepted(&self) -> bool {
        let state = self.state();
        state.is_accepted && state.closed.is_none()
    }

    /// The code it was closed with.
    pub(super) fn closed_with(&self) -> Option<u16> {
        self.state().closed
    }

    /// An error once it is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed_with() {
            Some(_) => Err(closed("the stream is closed")),
            None => Ok(()),
        }
    }

    /// `message` as the client gets it.
    pub(super) fn marked(&self, message: Message) -> Result<Message> {
        self.check_open()?;
        let Message::Text(text) = message else {
            let words = format!("sending on stream {}: only texts can be sent", self.name);
            return Err(Error::new(words));
        };
        let name = json!(&*self.name);
        // What is JSON already is not read into values and written again.
        let payload = match serde_json::from_str::<&RawValue>(&text) {
            Ok(payload) => payload.get().to_owned(),
            Err(_) => json!(text).to_string(),
        };
        Ok(Message::Text(format!("{{\"stream\":{name},\"payload\":{payload}}}")))
    }

    /// Closes it; what to tell the client.
    pub(super) fn close(&self, code: u16, reason: &str) -> Result<Message> {
        self.check_open()?;
        self.state().closed = Some(code);
        let close = json!({ "stream": &*self.name, "close": { "code": code, "reason": reason } });
        Ok(Message::from(close))
    }

    /// Takes part in `group`, from now on.
    pub(super) fn take_part(&self, group: &GroupName, part: Part) {
        let mut groups = self.groups();
        let parts = groups.entry(group.clone()).or_default();
        let own = parts.entry(Arc::clone(&self.name)).or_default();
        own.is_joined |= part.is_joined;
        own.is_listening |= part.is_listening;
    }

    /// Leaves `group`; whether no other stream is in it.
    pub(super) fn leave(&self, group: &GroupName) -> bool {
        let mut groups = self.groups();
        let Some(parts) = groups.get_mut(group) else { return false };
        parts.remove(&self.name);
        let is_empty = parts.is_empty();
        if is_empty {
            groups.remove(group);
        }
        is_empty
    }

    /// Leaves all its groups.
    pub(super) fn leave_all(&self, socket: &Socket) {
        let groups: Vec<GroupName> = self.groups().keys().cloned().collect();
        for group in groups.iter().filter(|group| self.leave(group)) {
            socket.leave_now(group);
        }
    }

    pub(super) fn part_in(&self, group: &str) -> Option<Part> {
        let groups = self.groups();
        let of_group = groups.iter().find(|(name, _)| name.as_str() == group)?.1;
        of_group.get(&self.name).copied()
    }
}
