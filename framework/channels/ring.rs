//! The latest messages of a group: bounded by count, bytes and age, offsets without a hole.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::Limits;
use super::protocol::{Entry, Key, Named};

/// What an entry costs beside its frame, its place in the index included, bytes (rounded up).
const ENTRY_BYTES: usize = 144;
/// What a name without its entry costs, its place in the index included, bytes.
const NAME_BYTES: usize = 96;
/// Names without their entries, of a group.
pub(crate) const NAMES_MAX: usize = 1024;
/// How long those are handed on: who says something again does it within that.
pub(crate) const NAMES_AGE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<(Duration, Entry)>,
    bytes: usize,
    /// What came before the first entry and is known by its name alone: since when, by offset.
    #[expect(clippy::box_collection, reason = "most groups have none: one word instead of three")]
    names: Option<Box<BTreeMap<u64, (Duration, Key)>>>,
    /// The offsets of what senders named, once one of them has.
    #[expect(clippy::box_collection, reason = "most groups have none: one word instead of six")]
    index: Option<Box<HashMap<Key, u64>>>,
    /// The last offset of each thing that has a latest message, once there is one.
    #[expect(clippy::box_collection, reason = "most groups have none: one word instead of six")]
    latest: Option<Box<HashMap<u64, u64>>>,
}

impl Ring {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Age of the oldest entry.
    pub(crate) fn age(&self, now: Duration) -> Option<Duration> {
        self.entries.front().map(|(at, _)| now.saturating_sub(*at))
    }

    /// Appends `entry`; of what it does not follow only the names are kept.
    pub(crate) fn push(&mut self, now: Duration, entry: Entry, limits: &Limits) {
        self.append(now, entry);
        self.trim(now, limits);
    }

    /// As [`push`](Self::push), without dropping what is over the limits.
    pub(crate) fn append(&mut self, now: Duration, entry: Entry) {
        if self.entries.back().is_some_and(|(_, last)| last.offset + 1 != entry.offset) {
            self.keep_names();
        }
        self.bytes += cost(&entry);
        if let Some(index) = &mut self.index {
            index.extend(named(&entry).map(|name| (name.key, name.offset)));
        }
        if entry.of != 0 {
            self.latest.get_or_insert_default().insert(entry.of, entry.offset);
        }
        self.entries.push_back((now, entry));
    }

    /// Puts `entries`, oldest first, which end right before the first one, in front of it.
    pub(crate) fn extend_back(&mut self, now: Duration, entries: &[Entry]) {
        // The front tells the age of all.
        let at = self.entries.front().map_or(now, |(at, _)| *at);
        for entry in entries.iter().rev() {
            self.bytes += cost(entry);
            if let (Some(index), Some(Named { key, offset })) = (&mut self.index, named(entry)) {
                index.entry(key).or_insert(offset);
            }
            if entry.of != 0 {
                self.latest.get_or_insert_default().entry(entry.of).or_insert(entry.offset);
            }
            self.entries.push_front((at, entry.clone()));
        }
        let first = self.first().unwrap_or(u64::MAX);
        if let Some(names) = &mut self.names {
            self.bytes -= names.split_off(&first).len() * NAME_BYTES;
        }
    }

    /// Keeps the names of messages before the first entry, which it does not hold.
    pub(crate) fn add_names(&mut self, now: Duration, names: impl Iterator<Item = Named>) {
        let first = self.first().unwrap_or(u64::MAX);
        let known = self.names.get_or_insert_default();
        for Named { offset, key } in names.filter(|name| name.offset < first) {
            if let Slot::Vacant(place) = known.entry(offset) {
                place.insert((now, key));
                self.bytes += NAME_BYTES;
                if let Some(index) = &mut self.index {
                    index.entry(key).or_insert(offset);
                }
            }
        }
        while self.names.as_ref().is_some_and(|names| names.len() > NAMES_MAX) {
            self.drop_name();
        }
    }

    /// Drops all but the names: what comes next does not follow it.
    pub(crate) fn keep_names(&mut self) {
        let Some((now, _)) = self.entries.back() else { return };
        let now = *now;
        let names: Vec<Named> = self.iter().rev().filter_map(named).take(NAMES_MAX).collect();
        self.bytes -= self.iter().map(cost).sum::<usize>();
        self.entries.clear();
        self.index = None;
        self.latest = None;
        self.add_names(now, names.into_iter());
    }

    /// The names of what came before `offset` and not before `since`, newest first.
    pub(crate) fn names(&self, offset: u64, since: Duration) -> impl Iterator<Item = Named> {
        self.all_names()
            .take_while(move |(at, _)| *at >= since)
            .map(|(_, name)| name)
            .filter(move |name| name.offset < offset)
            .take(NAMES_MAX)
    }

    /// All names, newest first, and since when they are known.
    fn all_names(&self) -> impl Iterator<Item = (Duration, Named)> {
        let entries = self.entries.iter().rev();
        let entries = entries.filter_map(|(at, entry)| Some((*at, named(entry)?)));
        let alone = self.names.iter().flat_map(|names| names.iter().rev());
        entries.chain(alone.map(|(&offset, &(at, key))| (at, Named { offset, key })))
    }

    fn drop_name(&mut self) {
        let first = self.names.as_mut().and_then(|names| names.pop_first());
        let Some((offset, (_, key))) = first else { return };
        self.bytes -= NAME_BYTES;
        if let Some(index) = &mut self.index
            && index.get(&key) == Some(&offset)
        {
            index.remove(&key);
        }
    }

    /// Drops what is over the limits; the newest entry goes for its age only.
    pub(crate) fn trim(&mut self, now: Duration, limits: &Limits) {
        self.trim_up_to(now, limits, u64::MAX);
    }

    /// As [`trim`](Self::trim), but keeps what comes after `last`; whether that is too much, and
    /// not just too old.
    pub(crate) fn trim_up_to(&mut self, now: Duration, limits: &Limits, last: u64) -> bool {
        let is_old = |at: &Duration| now.saturating_sub(*at) > limits.history_age;
        while let Some((_, (at, _))) = self.names.as_ref().and_then(|names| names.first_key_value())
            && (is_old(at) || self.bytes > limits.history_bytes)
        {
            self.drop_name();
        }
        while let Some((at, entry)) = self.entries.front() {
            let is_much =
                self.entries.len() > limits.history_messages || self.bytes > limits.history_bytes;
            let is_much = is_much && self.entries.len() > 1;
            if !is_much && !is_old(at) {
                return false;
            }
            if entry.offset > last {
                return is_much;
            }
            self.drop_first();
        }
        false
    }

    /// Drops the oldest `count`, and all names before them.
    pub(crate) fn drop_oldest(&mut self, count: usize) {
        while self.names.as_ref().is_some_and(|names| !names.is_empty()) {
            self.drop_name();
        }
        for _ in 0..count {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((_, entry)) = self.entries.pop_front() else { return };
        self.bytes -= cost(&entry);
        if let Some(index) = &mut self.index
            && index.get(&entry.key) == Some(&entry.offset)
        {
            index.remove(&entry.key);
        }
        if let Some(latest) = &mut self.latest
            && latest.get(&entry.of) == Some(&entry.offset)
        {
            latest.remove(&entry.of);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.names = None;
        self.bytes = 0;
        self.index = None;
        self.latest = None;
    }

    /// The entry with this offset, if it is still there.
    pub(crate) fn get(&self, offset: u64) -> Option<&Entry> {
        let first = self.entries.front()?.1.offset;
        let index = usize::try_from(offset.checked_sub(first)?).ok()?;
        self.entries.get(index).map(|(_, entry)| entry)
    }

    /// What follows `offset`, if that is still there.
    pub(crate) fn after(&self, offset: u64) -> Option<impl Iterator<Item = &Entry>> {
        let index = usize::try_from((offset + 1).checked_sub(self.first()?)?).ok()?;
        (index < self.entries.len()).then(|| self.entries.range(index..).map(|(_, entry)| entry))
    }

    /// The offset of the oldest entry.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(_, entry)| entry.offset)
    }

    /// The place of a message that came before, if it is still there; a look at each.
    pub(crate) fn find(&self, key: Key) -> Option<u64> {
        self.all_names().find(|(_, name)| name.key == key).map(|(_, name)| name.offset)
    }

    /// The place of a message that came before, if it is still there; for senders that ask always.
    pub(crate) fn find_named(&mut self, key: Key) -> Option<u64> {
        if self.index.is_none() {
            let mut index = HashMap::new();
            for (_, name) in self.all_names() {
                index.entry(name.key).or_insert(name.offset);
            }
            self.index = Some(Box::new(index));
        }
        self.index.as_ref()?.get(&key).copied()
    }

    /// Whether a later message has taken the place of this one.
    pub(crate) fn is_superseded(&self, entry: &Entry) -> bool {
        let latest = self.latest.as_ref().and_then(|latest| latest.get(&entry.of));
        entry.of != 0 && latest.is_some_and(|offset| *offset > entry.offset)
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }
}

/// Makes room among `count` rings that hold `total` bytes: whose is not small against the others
/// loses its oldest quarter, but not its newest entry. How many bytes that freed.
pub(crate) fn thin_out<'a>(
    rings: impl Iterator<Item = &'a mut Ring>,
    (count, total): (usize, usize),
) -> usize {
    // Those below half the mean hold at most half of all.
    let small = total / (2 * count.max(1));
    let mut freed = 0;
    for ring in rings.filter(|ring| ring.bytes() >= small) {
        let before = ring.bytes();
        ring.drop_oldest(ring.len().div_ceil(4).min(ring.len().saturating_sub(1)));
        freed += before - ring.bytes();
    }
    freed
}

/// From how many bytes on room is made, which there should be for `max`: where `bytes` cannot be
/// made fewer, not at once again.
pub(crate) fn room_for(bytes: usize, max: usize) -> usize {
    if bytes <= max { max } else { bytes + bytes / 16 }
}

/// What a message is known by when it is said again.
fn named(entry: &Entry) -> Option<Named> {
    (!entry.is_presence).then_some(Named { offset: entry.offset, key: entry.key })
}

fn cost(entry: &Entry) -> usize {
    ENTRY_BYTES + entry.frame.len()
}
