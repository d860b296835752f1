//! Looking for messages that were lost on the way: a group's position is compared with the store's
//! when a message does not follow the last one, and when nothing came for a while.

use super::{Local, Table};
use crate::channels::GroupName;
use crate::channels::groups::GroupAsk;
use crate::channels::protocol::Ask;

/// Idle groups are looked at in so many parts, one after the other. A group in which nothing came
/// since the look before is compared.
pub(in crate::channels) const PARTS: u64 = 20;

impl Table {
    /// Compares the idle groups of a part.
    pub(crate) fn compare_idle(&mut self, part: u64) {
        let Self { groups, outgoing, .. } = self;
        for (group, local) in groups.iter_mut().filter(|(group, _)| part_of(group) == part) {
            let Some(position) = local.position else { continue };
            if local.compared.replace(position) == Some(position) {
                let group = group.clone();
                outgoing.push_back(Ask::Group(GroupAsk::Compare { group, position }));
            }
        }
    }

    /// A message came that does not follow the last one: the store is asked for those between.
    pub(super) fn ask_between(&mut self, group: &GroupName) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(position) = local.position.filter(|_| !local.is_behind) else { return };
        local.is_behind = true;
        let group = group.clone();
        self.say(Ask::Group(GroupAsk::Compare { group, position }));
    }
}

impl Local {
    /// What comes now is what was asked for.
    pub(super) fn is_told(&mut self) {
        self.is_behind = false;
    }
}

/// FNV-1a: the same part every time.
fn part_of(group: &GroupName) -> u64 {
    let hash = group.as_str().bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash % PARTS
}
