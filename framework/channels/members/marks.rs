//! Connections that can be dismissed: their marks, and what dismissals do to them.
//!
//! Flow: [`Table::watch`] subscribes the groups of dismissals with the first connection that wants
//! it → [`Table::mark`] → an entry of such a group is obeyed where it stands in the order, after
//! what came before it was handed out ([`Table::dismiss`]).
//!
//! Invariants:
//! - Whoever is dismissed is in no group any more when the next message is looked at.
//! - Who is in doubt is told nothing until it is settled: it is neither written to nor drained.
//! - A gap among dismissals, and a store that restarted, put everybody in doubt who is marked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Connection, Local, Table};
use crate::channels::dismiss::{Dismissal, Mark, Seen};
use crate::channels::frame::Frame;
use crate::channels::protocol::Ask;
use crate::channels::{GroupName, Position};

/// Dismissals that wait for a store that is away.
const LATER_MAX: usize = 1024;

/// Why a connection is told nothing at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// Something was said about it; else something may have been.
    is_certain: bool,
    number: u32,
}

impl Suspicion {
    /// Whether something was said about the connection, and not only perhaps.
    pub(crate) fn is_certain(self) -> bool {
        self.is_certain
    }
}

impl Table {
    /// The groups in which dismissals come.
    pub(crate) fn dismissal_groups(&self) -> Vec<GroupName> {
        self.dismissals.clone()
    }

    /// They come in these groups; to be said before anything else.
    #[cfg(feature = "redis")]
    pub(crate) fn dismissed_in(&mut self, groups: Vec<GroupName>) {
        self.dismissals = groups;
    }

    /// From now on `id` can be dismissed. The groups a subscription of which is to be asked for;
    /// `None`: it is closed.
    pub(crate) fn watch(&mut self, id: u64) -> Option<Vec<GroupName>> {
        let connection = self.connections.get_mut(&id)?;
        if !std::mem::replace(&mut connection.is_watched, true) {
            self.watched += 1;
        }
        let asked_before = self.request_last;
        let mut missing = Vec::new();
        for group in &self.dismissals {
            let fresh = || Local { asked_before, ..Local::default() };
            let local = self.groups.entry(group.clone()).or_insert_with(fresh);
            if local.position.is_none() {
                missing.push(group.clone());
            }
        }
        Some(missing)
    }

    /// Up to where dismissals were obeyed; `None` before they are subscribed.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let position = |group| self.groups.get(group)?.position;
        self.dismissals.iter().map(position).collect::<Option<_>>().map(Seen)
    }

    /// Marks `id`, and does to it what was said since `seen`.
    pub(crate) fn mark(&mut self, id: u64, marks: &[Mark], seen: &Seen) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut all = std::mem::take(&mut connection.marks).into_vec();
        all.extend(marks);
        connection.marks = all.into_boxed_slice();
        self.marks.extend(marks.iter().map(|mark| (*mark, id)));
        let mut later = Vec::new();
        for (group, since) in self.dismissals.iter().zip(&seen.0) {
            match self.groups.get(group).and_then(|local| said_since(local, *since)) {
                Some(said) => later.extend(said),
                None => {
                    self.doubt(id, false);
                    break;
                }
            }
        }
        for dismissal in later {
            let marks = self.connections.get(&id).map(|connection| &*connection.marks);
            if marks.is_some_and(|marks| dismissal.is_about(marks)) {
                self.dismiss_one(id, &dismissal);
            }
        }
    }

    /// The marks of a connection.
    pub(crate) fn marks_of(&self, id: u64) -> Vec<Mark> {
        self.connections.get(&id).map(|held| held.marks.to_vec()).unwrap_or_default()
    }

    /// Forgets what there was of a connection that ends.
    pub(super) fn unmark(&mut self, id: u64, connection: &Connection) {
        for mark in &connection.marks {
            self.marks.remove(&(*mark, id));
        }
        if !connection.is_watched {
            return;
        }
        self.watched -= 1;
        if self.watched > 0 {
            return;
        }
        for group in self.dismissals.clone() {
            if let Some(local) = self.groups.remove(&group) {
                self.counted.history_bytes -= local.ring.bytes();
                self.say(Ask::Unsubscribe { group });
            }
        }
    }

    /// A message of one of the groups of dismissals.
    pub(super) fn obey(&mut self, frame: &Frame) {
        match Dismissal::read(&frame.message()) {
            Some(dismissal) => self.dismiss(&dismissal),
            // Of a later version, perhaps.
            None => self.doubt_all(),
        }
    }

    /// Ends whom it is about, or puts them in doubt. What came before it is handed out first.
    pub(crate) fn dismiss(&mut self, dismissal: &Dismissal) {
        self.flush();
        let (first, last) = (u64::MIN, u64::MAX);
        let mut about = Vec::new();
        for mark in dismissal.marks() {
            let ids = self.marks.range((*mark, first)..=(*mark, last)).map(|(_, id)| *id);
            about.extend(ids.filter(|id| {
                self.connections.get(id).is_some_and(|held| !dismissal.spares(&held.marks))
            }));
        }
        for id in about {
            self.dismiss_one(id, dismissal);
        }
    }

    fn dismiss_one(&mut self, id: u64, dismissal: &Dismissal) {
        if dismissal.may_stay() {
            self.doubt(id, true);
            return;
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let sink = Arc::clone(&connection.sink);
        self.disconnect(id);
        self.counted.dismissed += 1;
        sink.dismiss(dismissal.is_again());
    }

    fn doubt(&mut self, id: u64, is_certain: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.doubt_last = self.doubt_last.wrapping_add(1);
        let was_certain = connection.doubt.is_some_and(Suspicion::is_certain);
        let is_certain = is_certain || was_certain;
        connection.doubt = Some(Suspicion { is_certain, number: self.doubt_last });
        connection.sink.wake();
    }

    /// Nobody knows who was dismissed.
    pub(super) fn doubt_all(&mut self) {
        self.flush();
        let (first, last) = Mark::ENDS;
        let marked = self.marks.range((first, u64::MIN)..=(last, u64::MAX)).map(|(_, id)| *id);
        let marked: BTreeSet<u64> = marked.collect();
        for id in marked {
            self.doubt(id, false);
        }
    }

    /// `id` may stay, if nothing has made it doubtful since.
    pub(crate) fn settle(&mut self, id: u64, doubt: Suspicion) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.doubt == Some(doubt)
        {
            connection.doubt = None;
            connection.sink.wake();
        }
    }

    /// Whether `id` is gone, or told nothing.
    pub(crate) fn is_doubtful(&self, id: u64) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.doubt.is_some())
    }

    /// Why `id` is told nothing.
    #[cfg(test)]
    pub(crate) fn doubt_of(&self, id: u64) -> Option<Suspicion> {
        self.connections.get(&id)?.doubt
    }

    /// Whether there still is a connection of this number.
    pub(crate) fn is_connected(&self, id: u64) -> bool {
        self.connections.contains_key(&id)
    }

    /// Whether `id` may take part in one group more, if `max` is how many it may; it may always do
    /// anything more in one that it is in.
    pub(crate) fn has_room(&self, id: u64, group: &GroupName, max: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        connection.groups.len() < max || connection.groups.contains(group)
    }

    /// The store is told when it can be; the first of many that wait are.
    pub(crate) fn dismiss_later(&mut self, groups: &[GroupName], frame: &Frame) {
        let is_later = |ask: &Ask| matches!(ask, Ask::Publish { group, .. } if group.is_own());
        let waiting = self.requests.values().filter(|pending| is_later(&pending.ask)).count();
        if waiting + groups.len() > LATER_MAX {
            return;
        }
        for group in groups {
            let (group, frame) = (group.clone(), frame.clone());
            self.order(|key| Ask::Publish { key, retry: false, group, frame });
        }
    }

    /// Everything was emptied: what is to be heard of dismissals is asked for anew.
    pub(super) fn watch_anew(&mut self) {
        if self.watched == 0 {
            return;
        }
        for group in self.dismissals.clone() {
            let local = Local { asked_before: self.request_last, ..Local::default() };
            self.groups.insert(group.clone(), local);
            self.order(|key| Ask::Subscribe { request: key.request, group });
        }
        self.doubt_all();
    }
}

/// What was said in a group behind `since`, if that is known.
fn said_since(local: &Local, since: Position) -> Option<Vec<Dismissal>> {
    let top = local.position?;
    if since.epoch != top.epoch {
        return None;
    }
    if since.offset >= top.offset {
        return Some(Vec::new());
    }
    let said = local.ring.after(since.offset)?;
    said.map(|entry| Dismissal::read(&entry.frame.message())).collect()
}
