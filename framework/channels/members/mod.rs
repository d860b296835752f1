//! This worker's table: its groups, their latest messages, and its connections' places in them.
//!
//! Flow: a connection joins → the first of a group makes the worker subscribe → what the store
//! tells is put in the group's ring once → at the end of the tick [`Table::flush`] hands it as
//! one piece to every member that has all before it → the others drain from their cursors when
//! they can.
//!
//! Invariants:
//! - No queue per connection: a slow one lags in the ring; what happens when the ring leaves it
//!   behind is its [`Policy`]. A member that lags costs a tick one comparison.
//! - A member that lags is told once, or knows: it drains before it is written to again.
//! - What must be asked of the store is put in `outgoing` under the same lock as the change it
//!   follows from, so the two never disagree about the order. Nothing is put there while there is
//!   no way to the store, but what must not get lost.
//! - A ring loses nothing that is not handed out: what would make it do so ends the tick first.
//! - Pure: the caller brings the time and carries `outgoing`.

#[cfg(test)]
mod bounds_tests;
mod compare;
mod envelopes;
mod flush;
mod marks;
mod reconnect;
mod requests;
mod resume;
mod rings;
mod stakes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Semaphore;

use super::dismiss::Mark;
use super::position::Lineage;
use super::protocol::{Ask, Entry, Person};
use super::ring::Ring;
use super::{Delivery, GroupName, Limits, MEMBERS_MAX, Policy, Position, Sink, Statistics};
pub(super) use compare::PARTS;
use envelopes::{Envelopes, Wrapping};
pub(crate) use marks::Suspicion;
pub(super) use requests::{Pending, Reply};
pub(super) use resume::{Missed, Start};

/// Bytes of recent messages a worker keeps in all groups together; beyond it the groups with the
/// most lose their oldest.
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
    /// The largest epoch, version or token the store gave.
    latest: u64,
    /// What the store must hear, in order. Bounded: requests by their permits (what was withdrawn
    /// is at most as much again), the rest by what was joined before.
    pub(super) outgoing: VecDeque<Ask>,
    counted: Statistics,
    /// Groups with messages that are not handed out yet.
    dirty: Vec<GroupName>,
    /// Where a tick's messages of a group become one piece.
    batch: BytesMut,
    /// Bytes of history from which room is made.
    history_bytes_max: usize,
    /// When what is too old was last looked for.
    swept: Duration,
    /// There is no way to the store: what it must hear is said anew when there is one.
    is_cut: bool,
    /// Withdrawn since the last look for what `outgoing` has of it.
    withdrawn: usize,
    /// The groups in which dismissals come; here while somebody is watched.
    dismissals: Vec<GroupName>,
    /// Connections that can be dismissed.
    watched: usize,
    /// On whose word connections are.
    marks: BTreeSet<(Mark, u64)>,
    doubt_last: u32,
}

/// A group with members here.
#[derive(Debug, Default)]
struct Local {
    /// Up to where this worker knows the group; `None` until the store has answered.
    position: Option<Position>,
    /// The last request before its first member joined: an answer to one of those is for an
    /// earlier subscription, which has ended.
    asked_before: u64,
    /// What its positions were called by earlier stores.
    lineage: Lineage,
    /// Up to where it was handed out.
    flushed: Option<Position>,
    /// Bytes behind that.
    waiting_bytes: usize,
    ring: Ring,
    /// Held by who asks the store for older messages; none before the first who needs it.
    turn: Option<Arc<Semaphore>>,
    /// Where it was when it was last looked at for having been idle.
    compared: Option<Position>,
    /// The store was asked for what is missing before messages that came.
    is_behind: bool,
    /// Members that get a cursor when it is clear what they missed.
    resuming: BTreeSet<u64>,
    /// By connection.
    members: HashMap<u64, Member>,
    /// What members want their messages in.
    envelopes: Envelopes,
}

#[derive(Debug)]
struct Connection {
    sink: Arc<dyn Sink>,
    groups: Vec<GroupName>,
    /// The group that is drained first: not always the same, which may always have more than fits.
    first: u32,
    /// It can be dismissed, or will be when it is known on whose word it is.
    is_watched: bool,
    /// It has lagged too far behind, and that is counted.
    was_overrun: bool,
    /// On whose word it is.
    marks: Box<[Mark]>,
    /// Nothing is for it until this is settled.
    doubt: Option<Suspicion>,
}

/// A connection's part in a group.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part or a state of its own")]
struct Member {
    sink: Arc<dyn Sink>,
    /// The last message it has; `None` until the store has answered.
    cursor: Option<Position>,
    /// Its messages go to the client.
    is_joined: bool,
    /// Its messages go to the consumer.
    is_listening: bool,
    /// It knows that there is more behind its cursor, and drains before it is written to again.
    is_lagging: bool,
    /// The ring has left it behind, and it has not read on since. Only of
    /// [`Policy::DropNewest`].
    was_left: bool,
    policy: Policy,
    /// What its messages come in, of its group's; as they are without one.
    envelope: Option<Wrapping>,
    person: Option<Box<Person>>,
}

impl Member {
    fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            cursor: None,
            is_joined: false,
            is_listening: false,
            is_lagging: false,
            was_left: false,
            policy: Policy::default(),
            envelope: None,
            person: None,
        }
    }
}

/// How a connection takes part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Messages go to the client as they are.
    Join(Policy),
    /// Messages go to the consumer.
    Listen,
    /// As [`Join`](Self::Join) with the default policy, from the moment its presence is counted.
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
    pub(crate) heard: Vec<(GroupName, Delivery)>,
    heard_bytes: usize,
    /// It gets nothing until this is settled.
    pub(crate) doubt: Option<Suspicion>,
    /// What its policy makes it miss.
    dropped: u64,
    /// Where the group being drained ends.
    top: Position,
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
            latest: 0,
            outgoing: VecDeque::new(),
            counted: Statistics::default(),
            dirty: Vec::new(),
            batch: BytesMut::new(),
            history_bytes_max: HISTORY_BYTES_TOTAL,
            swept: Duration::ZERO,
            is_cut: false,
            withdrawn: 0,
            dismissals: vec![GroupName::of_dismissals(0)],
            watched: 0,
            marks: BTreeSet::new(),
            doubt_last: 0,
        }
    }

    /// Names this worker for ever.
    #[cfg(feature = "redis")]
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// A new connection, and where its messages go.
    pub(super) fn connect(&mut self, sink: Arc<dyn Sink>) -> u64 {
        self.connection_last += 1;
        let connection = Connection {
            sink,
            groups: Vec::new(),
            first: 0,
            is_watched: false,
            was_overrun: false,
            marks: Box::default(),
            doubt: None,
        };
        self.connections.insert(self.connection_last, connection);
        self.connection_last
    }

    /// Ends a connection and all it takes part in.
    pub(super) fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for group in std::mem::take(&mut connection.groups) {
            self.end_part(id, &group);
        }
        if let Some(connection) = self.connections.remove(&id) {
            self.unmark(id, &connection);
        }
    }

    /// Makes `id` take part in `group`. `true`: it does so already, with all that comes from now
    /// on; else it does once the request for a subscription, to be made now, is answered.
    pub(super) fn join(&mut self, id: u64, group: &GroupName, part: Part) -> Option<bool> {
        let cursor = self.take_part(id, group, part)?.cursor;
        let local = self.groups.get_mut(group)?;
        let cursor = cursor.or(local.position.filter(|_| !local.resuming.contains(&id)));
        local.members.get_mut(&id)?.cursor = cursor;
        Some(cursor.is_some())
    }

    /// Makes `id` a member of `group`, with no cursor yet if it was none.
    fn take_part(&mut self, id: u64, group: &GroupName, part: Part) -> Option<&mut Member> {
        let connection = self.connections.get_mut(&id)?;
        if !self.groups.contains_key(group) {
            let local = Local { asked_before: self.request_last, ..Local::default() };
            self.groups.insert(group.clone(), local);
        }
        // All connections share the table's name.
        let name = self.groups.get_key_value(group)?.0.clone();
        let local = self.groups.get_mut(group)?;
        let member = local.members.entry(id).or_insert_with(|| {
            // Most are in one group.
            connection.groups.reserve_exact(1);
            connection.groups.push(name);
            Member::new(Arc::clone(&connection.sink))
        });
        match part {
            Part::Join(policy) => {
                member.is_joined = true;
                member.policy = policy;
            }
            Part::Listen => member.is_listening = true,
            Part::Enter => {}
        }
        Some(member)
    }

    fn member(&self, id: u64, group: &GroupName) -> Option<&Member> {
        self.groups.get(group)?.members.get(&id)
    }

    /// Whether `id` takes part in `group`.
    pub(super) fn is_member(&self, id: u64, group: &GroupName) -> bool {
        self.member(id, group).is_some()
    }

    /// Ends what `id` has in `group`; nothing if it has no part in it.
    pub(super) fn leave(&mut self, id: u64, group: &GroupName) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.groups.retain(|name| name != group);
        }
        self.end_part(id, group);
    }

    fn end_part(&mut self, id: u64, group: &GroupName) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(member) = local.members.remove(&id) else { return };
        local.resuming.remove(&id);
        local.envelopes.give_back(member.envelope);
        let is_last = local.members.is_empty();
        if let Some(person) = member.person {
            self.ask_to_leave(id, group, Some(*person));
        }
        if is_last && let Some(local) = self.groups.remove(group) {
            self.counted.history_bytes -= local.ring.bytes();
            self.say(Ask::Unsubscribe { group: group.clone() });
        }
    }

    /// The store subscribed this worker.
    fn subscribed(&mut self, group: &GroupName, position: Position, lineage: Lineage) {
        let Some(local) = self.groups.get_mut(group) else {
            // Everything was flushed meanwhile, or its member is gone.
            self.say(Ask::Unsubscribe { group: group.clone() });
            return;
        };
        let mut first = position;
        match local.position.filter(|known| known.epoch == position.epoch) {
            None => self.gap(group, position),
            // What was lost on the way between may still be had.
            Some(known) if known < position => self.ask_between(group),
            Some(known) => first = known,
        }
        let Some(local) = self.groups.get_mut(group) else { return };
        local.lineage = lineage;
        for (id, member) in &mut local.members {
            if !local.resuming.contains(id) {
                member.cursor = member.cursor.or(Some(first));
            }
        }
    }

    /// The store counts `person`: what comes after `position` is for this connection.
    fn entered(&mut self, id: u64, group: &GroupName, position: Position, person: Person) -> bool {
        let member = self.groups.get_mut(group).and_then(|local| local.members.get_mut(&id));
        let Some(member) = member else { return false };
        member.person = Some(Box::new(person));
        if !member.is_joined {
            member.is_joined = true;
            member.is_lagging = true;
            if !member.is_listening || member.cursor.is_none() {
                // Else its consumer has not read all before that.
                member.cursor = Some(position);
            }
            member.sink.wake();
        }
        true
    }

    /// A message of a group: into the ring, to be handed out at the end of the tick.
    pub(super) fn deliver(&mut self, now: Duration, group: &GroupName, epoch: u64, entry: Entry) {
        let position = Position { epoch, offset: entry.offset };
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(known) = local.position else { return };
        if known.epoch != epoch || known.offset + 1 != entry.offset {
            if position <= known {
                return;
            }
            // It comes again, behind those between.
            self.ask_between(group);
            return;
        }
        local.is_told();
        local.position = Some(position);
        if local.waiting_bytes == 0 {
            self.dirty.push(group.clone());
        }
        local.waiting_bytes += entry.frame.len();
        let dismissal = group.is_own().then(|| entry.frame.clone());
        self.keep(now, group, entry);
        if let Some(dismissal) = dismissal {
            self.obey(&dismissal);
            return;
        }
        self.counted.delivered += 1;
        let waiting = self.groups.get(group).map(|local| local.waiting_bytes);
        if waiting.is_some_and(|bytes| bytes >= flush::BATCH_BYTES_MAX) {
            self.flush_group(group);
        }
    }

    /// What lies before `position` is lost to this worker.
    pub(super) fn gap(&mut self, group: &GroupName, position: Position) {
        self.break_off(group, position);
        let Some(local) = self.groups.get_mut(group) else { return };
        let are_lost = group.is_own() && local.position.is_some();
        local.is_told();
        if local.position.is_some_and(|known| known.epoch != position.epoch) {
            local.lineage = Lineage::default();
        }
        local.position = Some(position);
        local.flushed = Some(position);
        for member in local.members.values_mut() {
            member.is_lagging = member.cursor.is_some();
            member.sink.wake();
        }
        if are_lost {
            self.doubt_all();
        }
    }

    /// The position this worker has is called `position` now.
    fn renew(&mut self, group: &GroupName, position: Position, lineage: Lineage) {
        let Some(local) = self.groups.get_mut(group) else { return };
        local.lineage = lineage;
        local.is_told();
        let Some(known) = local.position else { return };
        if known.offset != position.offset {
            self.gap(group, position);
            return;
        }
        let are_in_doubt = group.is_own() && known.epoch != position.epoch;
        local.position = Some(position);
        let cursors = local.members.values_mut().filter_map(|member| member.cursor.as_mut());
        for cursor in cursors.chain(local.flushed.as_mut()) {
            // One that came back was ahead of this worker perhaps, and what it had is lost.
            if local.lineage.leads_from(*cursor) {
                cursor.epoch = position.epoch;
            }
        }
        if are_in_doubt {
            // What only a worker knew that is late or gone was perhaps lost with the store.
            self.doubt_all();
        }
    }

    /// How long after its last connection somebody still counts as present.
    pub(super) fn presence_grace(&self) -> Duration {
        self.limits.presence_grace
    }

    /// The name of a connection, its own of all processes.
    pub(super) fn name_of(&self, id: u64) -> GroupName {
        GroupName::new(&format!("connection.{:016x}.{id}", self.session)).expect("a good name")
    }

    /// Whether a connection takes part in `group`.
    #[cfg(feature = "redis")]
    pub(super) fn has_group(&self, group: &GroupName) -> bool {
        self.groups.contains_key(group)
    }

    /// The connections that take part in `group`.
    pub(super) fn names_in(&self, group: &GroupName) -> Vec<GroupName> {
        let members = self.groups.get(group).map(|local| local.members.keys());
        let members = members.into_iter().flatten().take(MEMBERS_MAX);
        members.map(|id| self.name_of(*id)).collect()
    }

    /// No connection is in any group any more.
    fn flushed(&mut self) {
        self.groups.clear();
        self.dirty.clear();
        self.counted.history_bytes = 0;
        for connection in self.connections.values_mut() {
            connection.groups.clear();
        }
        for pending in self.requests.values_mut() {
            // Nobody is to hear of it any more.
            pending.person = None;
        }
        self.watch_anew();
    }

    /// Each group with members here, and how many.
    pub(super) fn members_of_groups(&self) -> Vec<(String, u64)> {
        let groups = self.groups.iter().filter(|(_, local)| !local.members.is_empty());
        groups.map(|(name, local)| (name.as_str().to_owned(), local.members.len() as u64)).collect()
    }

    pub(super) fn statistics(&self) -> Statistics {
        let own = self.dismissals.iter().filter(|group| self.groups.contains_key(*group)).count();
        Statistics {
            groups: self.groups.len() - own,
            connections: self.connections.len(),
            in_flight: self.requests.len(),
            ..self.counted
        }
    }
}
