//! This worker's table: its groups, their latest messages, and its connections' places in them.
//!
//! Flow: a connection joins → the first of a group makes the worker subscribe → what the store
//! tells is put in the group's ring once → the members are woken → each drains from its own cursor.
//!
//! Invariants:
//! - No queue per connection: a slow one lags in the ring, and is closed when the ring leaves it
//!   behind.
//! - What must be asked of the store is put in `outgoing` under the same lock as the change it
//!   follows from, so the two never disagree about the order.
//! - Pure: the caller brings the time and carries `outgoing`.

mod reconnect;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::protocol::{Ask, Entry, Person, Position};
use super::ring::Ring;
use super::{GroupName, Limits, Message, Statistics};
pub(super) use requests::{Pending, Reply};

/// Bytes of recent messages a worker keeps in all groups together; beyond it the group just
/// delivered to keeps its newest message only.
const HISTORY_BYTES_TOTAL: usize = 64 * 1024 * 1024;

/// The table. One lock around it, held for moments.
#[derive(Debug)]
pub(crate) struct Table {
    limits: Limits,
    /// Random: with a request's number it names a publish for ever.
    session: u64,
    groups: HashMap<GroupName, Local>,
    connections: HashMap<u64, Connection>,
    connection_last: u64,
    /// Asked and not answered, by number; they are asked again over a new link.
    requests: BTreeMap<u64, Pending>,
    request_last: u64,
    /// What the store must hear, in order. Bounded: requests by their permits, the rest by what
    /// was joined before.
    pub(super) outgoing: VecDeque<Ask>,
    counted: Statistics,
}

/// A group with members here.
#[derive(Debug, Default)]
struct Local {
    /// Up to where this worker knows the group; `None` until the store has answered.
    position: Option<Position>,
    ring: Ring,
    /// To wake each member.
    members: HashMap<u64, Arc<Notify>>,
}

#[derive(Debug)]
struct Connection {
    wake: Arc<Notify>,
    groups: BTreeMap<GroupName, Membership>,
}

/// A connection's part in a group.
#[derive(Debug, Default)]
struct Membership {
    /// The last message it has; `None` until the store has answered.
    cursor: Option<Position>,
    /// Its messages go to the client.
    is_joined: bool,
    /// Its messages go to the consumer.
    is_listening: bool,
    person: Option<Person>,
}

/// How a connection takes part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Messages go to the client as they are.
    Join,
    /// Messages go to the consumer.
    Listen,
    /// As [`Join`](Self::Join), from the moment its presence is counted.
    Enter,
}

/// What a connection gets of its groups at once.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// It lagged further than the history reaches: something is lost to it for good.
    pub(crate) is_overrun: bool,
    /// There is more than fitted.
    pub(crate) has_more: bool,
    /// What its consumer listens to.
    pub(crate) heard: Vec<(GroupName, Message)>,
}

impl Table {
    pub(super) fn new(limits: Limits, session: u64) -> Self {
        Self {
            limits,
            session,
            groups: HashMap::new(),
            connections: HashMap::new(),
            connection_last: 0,
            requests: BTreeMap::new(),
            request_last: 0,
            outgoing: VecDeque::new(),
            counted: Statistics::default(),
        }
    }

    /// A new connection; `wake` is notified when there is something to drain.
    pub(super) fn connect(&mut self, wake: Arc<Notify>) -> u64 {
        self.connection_last += 1;
        let connection = Connection { wake, groups: BTreeMap::new() };
        self.connections.insert(self.connection_last, connection);
        self.connection_last
    }

    /// Ends a connection and all it takes part in.
    pub(super) fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let groups: Vec<GroupName> = connection.groups.keys().cloned().collect();
        for group in groups {
            self.leave(id, &group);
        }
        self.connections.remove(&id);
    }

    /// Makes `id` take part in `group`. `true`: it does so already, with all that comes from now
    /// on; else it does once the request for a subscription, to be made now, is answered.
    pub(super) fn join(&mut self, id: u64, group: &GroupName, part: Part) -> Option<bool> {
        let connection = self.connections.get_mut(&id)?;
        let local = self.groups.entry(group.clone()).or_default();
        local.members.entry(id).or_insert_with(|| Arc::clone(&connection.wake));
        let membership = connection.groups.entry(group.clone()).or_default();
        match part {
            Part::Join => membership.is_joined = true,
            Part::Listen => membership.is_listening = true,
            Part::Enter => {}
        }
        membership.cursor = membership.cursor.or(local.position);
        Some(membership.cursor.is_some())
    }

    /// Whether `id` takes part in `group`.
    pub(super) fn is_member(&self, id: u64, group: &GroupName) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.groups.contains_key(group))
    }

    /// Ends what `id` has in `group`; nothing if it has no part in it.
    pub(super) fn leave(&mut self, id: u64, group: &GroupName) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(membership) = connection.groups.remove(group) else { return };
        if let Some(person) = membership.person {
            self.ask_to_leave(id, group, Some(person));
        }
        let Some(local) = self.groups.get_mut(group) else { return };
        local.members.remove(&id);
        if local.members.is_empty() {
            self.counted.history_bytes -= local.ring.bytes();
            self.groups.remove(group);
            self.outgoing.push_back(Ask::Unsubscribe { group: group.clone() });
        }
    }

    /// The store subscribed this worker.
    fn subscribed(&mut self, group: &GroupName, position: Position) {
        let Some(local) = self.groups.get_mut(group) else { return };
        if local.position.is_none_or(|known| known != position) {
            self.gap(group, position);
        }
        let Some(local) = self.groups.get_mut(group) else { return };
        for id in local.members.keys() {
            let membership = self.connections.get_mut(id).and_then(|c| c.groups.get_mut(group));
            if let Some(membership) = membership
                && membership.cursor.is_none()
            {
                membership.cursor = Some(position);
            }
        }
    }

    /// The store counts `person`: what comes after `position` is for this connection.
    fn entered(&mut self, id: u64, group: &GroupName, position: Position, person: Person) -> bool {
        let membership = self.connections.get_mut(&id).and_then(|c| c.groups.get_mut(group));
        let Some(membership) = membership else { return false };
        membership.person = Some(person);
        if !membership.is_joined {
            membership.is_joined = true;
            membership.cursor = Some(position);
        }
        true
    }

    /// A message of a group: into the ring, and the members are woken.
    pub(super) fn deliver(&mut self, now: Duration, group: &GroupName, epoch: u64, entry: Entry) {
        let position = Position { epoch, offset: entry.offset };
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(known) = local.position else { return };
        if known.epoch != epoch || known.offset + 1 != entry.offset {
            if position <= known {
                return;
            }
            self.gap(group, Position { epoch, offset: entry.offset - 1 });
        }
        let Some(local) = self.groups.get_mut(group) else { return };
        local.position = Some(position);
        let before = local.ring.bytes();
        local.ring.push(now, entry, &self.limits);
        let mut total = self.counted.history_bytes + local.ring.bytes() - before;
        if total > HISTORY_BYTES_TOTAL {
            let held = local.ring.bytes();
            let newest = Limits { history_messages: 1, ..self.limits };
            local.ring.trim(now, &newest);
            total = total + local.ring.bytes() - held;
        }
        self.counted.history_bytes = total;
        self.counted.delivered += 1;
        local.members.values().for_each(|wake| wake.notify_one());
    }

    /// What lies before `position` is lost to this worker.
    pub(super) fn gap(&mut self, group: &GroupName, position: Position) {
        let Some(local) = self.groups.get_mut(group) else { return };
        self.counted.history_bytes -= local.ring.bytes();
        local.ring.clear();
        local.position = Some(position);
        local.members.values().for_each(|wake| wake.notify_one());
    }

    /// The position this worker has is called `position` now.
    fn renew(&mut self, group: &GroupName, position: Position) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(known) = local.position else { return };
        if known.offset != position.offset {
            self.gap(group, position);
            return;
        }
        local.position = Some(position);
        for id in local.members.keys() {
            let membership = self.connections.get_mut(id).and_then(|c| c.groups.get_mut(group));
            if let Some(cursor) = membership.and_then(|membership| membership.cursor.as_mut())
                && cursor.epoch == known.epoch
            {
                cursor.epoch = position.epoch;
            }
        }
    }

    /// Moves what `id` has not had yet to `out` and [`Drained::heard`], until `out` holds
    /// `bytes_max`.
    pub(super) fn drain(&mut self, id: u64, out: &mut BytesMut, bytes_max: usize) -> Drained {
        let mut drained = Drained::default();
        let Some(connection) = self.connections.get_mut(&id) else { return drained };
        let mut heard_bytes = 0;
        for (group, membership) in &mut connection.groups {
            let Some(local) = self.groups.get(group) else { continue };
            let (Some(cursor), Some(top)) = (&mut membership.cursor, local.position) else {
                continue;
            };
            while *cursor < top {
                let next = local.ring.get(cursor.offset + 1).filter(|_| cursor.epoch == top.epoch);
                let Some(entry) = next else {
                    drained.is_overrun = true;
                    self.counted.overruns += 1;
                    *cursor = top;
                    return drained;
                };
                if out.len() + heard_bytes >= bytes_max {
                    drained.has_more = true;
                    return drained;
                }
                if membership.is_joined {
                    out.extend_from_slice(entry.frame.bytes());
                }
                if membership.is_listening {
                    heard_bytes += entry.frame.len();
                    drained.heard.push((group.clone(), entry.frame.message()));
                }
                cursor.offset += 1;
            }
        }
        drained
    }

    /// Whether `id` has been left behind; asked while it cannot be written to.
    pub(super) fn is_overrun(&self, id: u64) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        connection.groups.iter().any(|(group, membership)| {
            let Some(local) = self.groups.get(group) else { return false };
            let (Some(cursor), Some(top)) = (membership.cursor, local.position) else {
                return false;
            };
            let is_held = cursor.epoch == top.epoch && local.ring.get(cursor.offset + 1).is_some();
            cursor < top && !is_held
        })
    }

    /// The last message `id` has of `group`.
    #[cfg(test)]
    pub(super) fn cursor(&self, id: u64, group: &GroupName) -> Option<Position> {
        self.connections.get(&id)?.groups.get(group)?.cursor
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            groups: self.groups.len(),
            connections: self.connections.len(),
            in_flight: self.requests.len(),
            ..self.counted
        }
    }
}
