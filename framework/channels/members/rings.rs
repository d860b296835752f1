//! What a worker keeps of its groups: within the limits of each, and within those of all together.

use std::time::Duration;

use super::{HISTORY_BYTES_TOTAL, Local, Table};
use crate::channels::protocol::{Entry, Named};
use crate::channels::ring::{room_for, thin_out};
use crate::channels::{GroupName, Limits, Policy, Position};

/// How often what is too old is looked for in all groups.
const SWEEP: Duration = Duration::from_secs(10);

impl Table {
    /// Puts `entry` in its group's ring. What leaves the ring for it has been handed out.
    pub(super) fn keep(&mut self, now: Duration, group: &GroupName, entry: Entry) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let before = local.ring.bytes();
        local.ring.append(now, entry);
        let is_short = local.trim(now, &self.limits);
        self.counted.history_bytes = self.counted.history_bytes + local.ring.bytes() - before;
        if is_short {
            self.flush_group(group);
            self.cut_back(now, group);
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.sweep(now);
        }
        if self.counted.history_bytes > self.history_bytes_max {
            self.make_room();
        }
    }

    /// What came in `group` before this worker did, so that a store that follows can be told.
    pub(super) fn learn(
        &mut self,
        now: Duration,
        group: &GroupName,
        epoch: u64,
        names: Vec<Named>,
    ) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(known) = local.position.filter(|known| known.epoch == epoch) else { return };
        let before = local.ring.bytes();
        local.ring.add_names(now, names.into_iter().filter(|name| name.offset <= known.offset));
        self.counted.history_bytes = self.counted.history_bytes + local.ring.bytes() - before;
    }

    /// What lies between what `group` has and `position` is lost: of what it has only the names are
    /// of use, if they are of the same order.
    pub(super) fn break_off(&mut self, group: &GroupName, position: Position) {
        let Some(local) = self.groups.get_mut(group) else { return };
        self.counted.history_bytes -= local.ring.bytes();
        if local.position.is_some_and(|known| known.epoch == position.epoch) {
            local.ring.keep_names();
        } else {
            local.ring.clear();
        }
        self.counted.history_bytes += local.ring.bytes();
    }

    /// Trims a group's ring to its limits; who lags behind it must look.
    fn cut_back(&mut self, now: Duration, group: &GroupName) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let before = local.ring.bytes();
        local.trim(now, &self.limits);
        self.counted.history_bytes -= before - local.ring.bytes();
        local.wake_lost();
    }

    /// Drops what is too old.
    fn sweep(&mut self, now: Duration) {
        self.swept = now;
        let mut bytes = 0;
        for local in self.groups.values_mut() {
            let before = local.ring.bytes();
            local.trim(now, &self.limits);
            bytes += local.ring.bytes();
            if local.ring.bytes() < before {
                local.wake_lost();
            }
        }
        self.counted.history_bytes = bytes;
        self.history_bytes_max = room_for(bytes, HISTORY_BYTES_TOTAL);
    }

    /// Drops the oldest messages of the groups that hold the most.
    fn make_room(&mut self) {
        self.flush();
        let (count, total) = (self.groups.len(), self.counted.history_bytes);
        let rings = self.groups.values_mut().map(|local| &mut local.ring);
        let bytes = total - thin_out(rings, (count, total));
        self.counted.history_bytes = bytes;
        self.history_bytes_max = room_for(bytes, HISTORY_BYTES_TOTAL);
        self.groups.values_mut().for_each(Local::wake_lost);
    }
}

impl Local {
    /// Drops what is over the limits and handed out; whether there is still too much.
    fn trim(&mut self, now: Duration, limits: &Limits) -> bool {
        let last = self.flushed.map_or(u64::MAX, |flushed| flushed.offset);
        self.ring.trim_up_to(now, limits, last)
    }

    /// Wakes those to be closed whom the ring has left behind.
    fn wake_lost(&mut self) {
        let Some(top) = self.position else { return };
        for member in self.members.values() {
            let may_be = member.is_lagging && member.policy == Policy::Close;
            if may_be && member.is_lost(&self.ring, top) {
                member.sink.wake();
            }
        }
    }
}
