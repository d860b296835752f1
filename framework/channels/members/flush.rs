//! The end of a tick: what came in leaves, one piece per group; and what those take who lagged.

use bytes::{Bytes, BytesMut};

use super::{Connection, Drained, Local, Member, Table};
use crate::channels::ring::Ring;
use crate::channels::{
    Delivery, Envelope, GroupName, Policy, Position, Statistics, Written, deflate_frames,
};

/// A tick ends for a group when it has this many bytes to hand out.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

impl Table {
    /// Whether a group has messages that are not handed out.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Ends the tick: hands out what came in.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for group in &dirty {
            self.flush_group(group);
        }
        dirty.clear();
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Hands a group's messages to its members.
    pub(super) fn flush_group(&mut self, group: &GroupName) {
        let Some(local) = self.groups.get_mut(group) else { return };
        local.waiting_bytes = 0;
        let Some(top) = local.position else { return };
        let from = local.flushed.replace(top).unwrap_or(top);
        if from == top {
            return;
        }
        let batch = batch(&local.ring, from, top, &mut self.batch);
        let mut deflated = None;
        let Local { ring, members, envelopes, .. } = local;
        for member in members.values_mut() {
            let is_in_step = member.cursor == Some(from) && !member.is_lagging;
            match &batch {
                Some(raw) if is_in_step && member.is_joined && !member.is_listening => {
                    let is_deflated = member.sink.is_deflated();
                    match member.envelope {
                        None if is_deflated => {
                            member.hand(deflated.get_or_insert_with(|| deflate_frames(raw)), top);
                        }
                        None => member.hand(raw, top),
                        Some(place) => match envelopes.batch(place, ring, (from, top), is_deflated)
                        {
                            Some(sealed) => member.hand(&sealed, top),
                            None => member.note(top),
                        },
                    }
                }
                _ => member.note(top),
            }
            if member.is_lagging {
                member.look_back(ring, top, &mut self.counted);
            }
        }
        envelopes.forget_batches();
        self.batch.clear();
    }

    /// Moves what `id` has not had yet to `out` and [`Drained::heard`], until `out` holds
    /// `bytes_max`.
    pub(crate) fn drain(&mut self, id: u64, out: &mut BytesMut, bytes_max: usize) -> Drained {
        let mut drained = Drained::default();
        let Some(connection) = self.connections.get_mut(&id) else { return drained };
        if connection.doubt.is_some() {
            drained.doubt = connection.doubt;
            return drained;
        }
        let Connection { groups, first, was_overrun, .. } = connection;
        let start = (*first as usize).min(groups.len());
        let (before, from) = groups.split_at(start);
        for (at, group) in (start..groups.len()).chain(0..start).zip(from.iter().chain(before)) {
            let Some(local) = self.groups.get_mut(group) else { continue };
            let Some(top) = local.position else { continue };
            let Some(member) = local.members.get_mut(&id) else { continue };
            member.look_back(&local.ring, top, &mut self.counted);
            drained.top = top;
            let room = (&mut *out, bytes_max);
            let envelope = member.envelope.and_then(|place| local.envelopes.get(place));
            member.drain((group, &local.ring, envelope), room, &mut drained);
            self.counted.dropped += std::mem::take(&mut drained.dropped);
            if drained.is_overrun && !std::mem::replace(was_overrun, true) {
                self.counted.overruns += 1;
            }
            if drained.is_overrun || drained.has_more {
                *first = u32::try_from(at + 1).unwrap_or(0);
                return drained;
            }
        }
        drained
    }

    /// Lets `id` be written to, if it has everything; whether it has.
    pub(crate) fn open(&mut self, id: u64) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        if connection.doubt.is_some() {
            return false;
        }
        let is_behind = |group: &GroupName| {
            let Some(local) = self.groups.get(group) else { return false };
            let cursor = local.members.get(&id).and_then(|member| member.cursor);
            cursor.is_some() && cursor < local.position
        };
        if connection.groups.iter().any(is_behind) {
            return false;
        }
        connection.sink.open();
        true
    }

    /// Whether `id` has been left behind; asked while it cannot be written to.
    pub(crate) fn is_overrun(&mut self, id: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let is_overrun = connection.groups.iter().any(|group| {
            let Some(local) = self.groups.get(group) else { return false };
            let member = local.members.get(&id);
            let (Some(member), Some(top)) = (member, local.position) else { return false };
            member.policy == Policy::Close && member.is_lost(&local.ring, top)
        });
        if is_overrun && !std::mem::replace(&mut connection.was_overrun, true) {
            self.counted.overruns += 1;
        }
        is_overrun
    }
}

/// The frames behind `from` up to `top` as one piece; `None` if the ring has not all of them.
fn batch(ring: &Ring, from: Position, top: Position, scratch: &mut BytesMut) -> Option<Bytes> {
    if from.epoch != top.epoch {
        return None;
    }
    let first = ring.get(from.offset + 1)?;
    if from.offset + 1 == top.offset {
        return Some(first.frame.bytes().clone());
    }
    for offset in from.offset + 1..=top.offset {
        scratch.extend_from_slice(ring.get(offset)?.frame.bytes());
    }
    Some(scratch.split().freeze())
}

impl Member {
    /// Writes `batch`, which ends at `top`, to a member that has all before it.
    fn hand(&mut self, batch: &Bytes, top: Position) {
        match self.sink.write(batch) {
            Written::All => self.cursor = Some(top),
            Written::Frames(count) => {
                self.is_lagging = true;
                if let Some(cursor) = &mut self.cursor {
                    cursor.offset += count;
                }
            }
        }
    }

    /// Tells a member that is not in step that there is more, once.
    fn note(&mut self, top: Position) {
        if self.cursor.is_some_and(|cursor| cursor < top) && !self.is_lagging {
            self.is_lagging = true;
            self.sink.wake();
        }
    }

    /// Whether what follows its cursor is gone.
    pub(super) fn is_lost(&self, ring: &Ring, top: Position) -> bool {
        self.cursor.is_some_and(|cursor| {
            cursor < top && (cursor.epoch != top.epoch || ring.get(cursor.offset + 1).is_none())
        })
    }

    /// What its policy says if the ring has left it behind.
    fn look_back(&mut self, ring: &Ring, top: Position, counted: &mut Statistics) {
        if !self.is_lost(ring, top) {
            return;
        }
        match self.policy {
            // It finds out when it looks.
            Policy::Close => self.sink.wake(),
            Policy::DropOldest | Policy::DropNewest | Policy::Latest => {
                self.was_left = self.policy == Policy::DropNewest;
                let first = ring.iter().next().map_or(top.offset + 1, |entry| entry.offset);
                let last = Position { epoch: top.epoch, offset: first - 1 };
                if let Some(cursor) = &mut self.cursor {
                    counted.dropped += last.offset.saturating_sub(cursor.offset);
                    *cursor = last;
                }
            }
        }
    }

    /// Moves what follows its cursor to `out` or to what is heard, as far as there is room.
    fn drain(
        &mut self,
        (group, ring, envelope): (&GroupName, &Ring, Option<&Envelope>),
        (out, bytes_max): (&mut BytesMut, usize),
        drained: &mut Drained,
    ) {
        let Some(cursor) = &mut self.cursor else { return };
        while *cursor < drained.top {
            let next = ring.get(cursor.offset + 1).filter(|_| cursor.epoch == drained.top.epoch);
            let Some(entry) = next else {
                drained.is_overrun = true;
                *cursor = drained.top;
                return;
            };
            if self.policy == Policy::Latest && ring.is_superseded(entry) {
                drained.dropped += 1;
                cursor.offset += 1;
                continue;
            }
            if out.len() + drained.heard_bytes >= bytes_max {
                if !self.was_left {
                    drained.has_more = true;
                    return;
                }
                drained.dropped += drained.top.offset - cursor.offset;
                *cursor = drained.top;
                break;
            }
            match envelope {
                Some(envelope) if self.is_joined => envelope.seal(cursor.epoch, entry, out),
                None if self.is_joined => out.extend_from_slice(entry.frame.bytes()),
                _ => {}
            }
            if self.is_listening {
                drained.heard_bytes += entry.frame.len();
                let position = Position { epoch: cursor.epoch, offset: entry.offset };
                let (message, is_presence) = (entry.frame.message(), entry.is_presence);
                let delivery = Delivery { position, message, is_presence };
                drained.heard.push((group.clone(), delivery));
            }
            cursor.offset += 1;
        }
        self.is_lagging = false;
        self.was_left = false;
    }
}
