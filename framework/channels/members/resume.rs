//! Connections that come back: what they missed comes before anything new, or they are told.
//!
//! Flow: [`Table::resume`] makes the connection a member without a cursor → the group is
//! subscribed, if it was not → [`Table::place`] sets the cursor where the ring reaches the position
//! asked for; else the worker asks the store once, and [`Table::place_with`] puts what it says in
//! front of the ring, for all who come back meanwhile.
//!
//! Invariants:
//! - A cursor is set only where the ring follows it without a hole, or as lost.
//! - One question a group is on its way at a time: a thousand clients of a worker that was killed
//!   cost one history.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{HISTORY_BYTES_TOTAL, Local, Part, Table};
use crate::channels::protocol::Entry;
use crate::channels::{GroupName, Joined, Position};

/// Where a member that comes back stands.
#[derive(Debug)]
pub(crate) enum Start {
    /// It takes part; what follows the position comes.
    At(Joined),
    /// The group must be subscribed first.
    Unsubscribed,
    /// The ring does not reach its position; who holds the permit asks the store.
    Short(Arc<Semaphore>),
}

/// What the store says has been sent since a position.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) top: Position,
    pub(crate) recovered: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    /// Makes `id` a member of `group` that is told nothing until it has a place; `None`: it is
    /// closed.
    pub(crate) fn resume(
        &mut self,
        id: u64,
        group: &GroupName,
        part: Part,
        since: Position,
    ) -> Option<Start> {
        let before = self.cursor_of(id, group);
        let was_joined = self.member(id, group).is_some_and(|member| member.is_joined);
        self.take_part(id, group, part)?;
        if let Some(position) = before {
            // It takes part already, and goes on from where it is.
            let lineage = self.groups.get(group).map(|local| &local.lineage);
            let same = lineage.and_then(|lineage| lineage.renamed(since, position));
            let recovered = was_joined || same == Some(position);
            return Some(Start::At(Joined { position, recovered }));
        }
        self.groups.get_mut(group)?.resuming.insert(id);
        self.place(id, group, since)
    }

    /// Places a member that comes back, if what is known here is enough.
    pub(crate) fn place(&mut self, id: u64, group: &GroupName, since: Position) -> Option<Start> {
        let local = self.groups.get_mut(group)?;
        let Some(top) = local.position else { return Some(Start::Unsubscribed) };
        if let Some(position) = local.lineage.renamed(since, top)
            && (position == top || local.ring.get(position.offset + 1).is_some())
        {
            return local.resume_at(id, position, top).map(Start::At);
        }
        let turn = local.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1)));
        Some(Start::Short(Arc::clone(turn)))
    }

    /// Places a member that comes back with what the store said. [`Start::Short`]: the group has
    /// gone on so far meanwhile that the store must be asked again.
    pub(crate) fn place_with(
        &mut self,
        now: Duration,
        (id, group): (u64, &GroupName),
        since: Position,
        missed: &Missed,
    ) -> Option<Start> {
        let place = self.place(id, group, since)?;
        let Start::Short(_) = place else { return Some(place) };
        if !missed.recovered {
            return self.place_lost(id, group);
        }
        let (total, local) = (self.counted.history_bytes, self.groups.get_mut(group)?);
        let Some(top) = local.position.filter(|top| top.epoch == missed.top.epoch) else {
            return Some(place);
        };
        if since.offset < top.offset {
            let first = local.ring.first().unwrap_or(top.offset + 1);
            let count = first.saturating_sub(since.offset + 1);
            let older = usize::try_from(count).ok().and_then(|count| missed.entries.get(..count));
            let Some(older) = older else { return Some(place) };
            let before = local.ring.bytes();
            local.ring.extend_back(now, older);
            let added = local.ring.bytes() - before;
            self.counted.history_bytes += added;
            if total + added > HISTORY_BYTES_TOTAL {
                local.ring.drop_oldest(older.len());
                self.counted.history_bytes = total - before + local.ring.bytes();
                return self.place_lost(id, group);
            }
        }
        // Beyond `top` is what this worker has not been told yet: it is not told that again.
        let position = Position { epoch: top.epoch, offset: since.offset };
        local.resume_at(id, position, top).map(Start::At)
    }

    /// Places a member whose position means nothing any more: it gets what comes from now on.
    pub(crate) fn place_lost(&mut self, id: u64, group: &GroupName) -> Option<Start> {
        let local = self.groups.get_mut(group)?;
        let Some(position) = local.position else { return Some(Start::Unsubscribed) };
        local.resume_at(id, position, position)?;
        Some(Start::At(Joined { position, recovered: false }))
    }

    /// Nobody waits for the place of `id` any more: it is as if it had asked for none.
    pub(crate) fn give_up_resuming(&mut self, id: u64, group: &GroupName) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(member) = local.members.get_mut(&id) else { return };
        local.resuming.remove(&id);
        member.cursor = member.cursor.or(local.position);
    }

    /// The last message `id` has of `group`.
    pub(crate) fn cursor_of(&self, id: u64, group: &GroupName) -> Option<Position> {
        self.member(id, group)?.cursor
    }
}

impl Local {
    /// `id` takes part from `position` on.
    fn resume_at(&mut self, id: u64, position: Position, top: Position) -> Option<Joined> {
        let member = self.members.get_mut(&id)?;
        self.resuming.remove(&id);
        member.cursor = Some(position);
        member.is_lagging = position < top;
        if member.is_lagging {
            member.sink.wake();
        }
        Some(Joined { position, recovered: true })
    }
}
