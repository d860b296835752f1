//! The table alone: cursors, rings, and what is said over a new link.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::{PARTS, Part, Table};
use crate::channels::groups::GroupAsk;
use crate::channels::position::Lineage;
use crate::channels::protocol::{Ask, Entry, Key, Tell};
use crate::channels::{
    DEFLATED, Delivery, Envelope, Frame, GroupName, Limits, Message, Policy, Position, Sink,
    Written, frame_texts,
};

pub(super) fn table() -> Table {
    let limits = Limits {
        history_messages: 4,
        history_bytes: 10_000,
        history_age: Duration::from_secs(100),
        presence_grace: Duration::ZERO,
        capacity: 5,
        expiry: Duration::from_secs(60),
        delayed: 3,
    };
    Table::new(limits, 1)
}

pub(super) fn name() -> GroupName {
    GroupName::new("g").unwrap()
}

/// A table with one member that is subscribed at offset 0.
pub(super) fn joined(part: Part) -> (Table, u64) {
    let mut table = table();
    let id = table.connect(Arc::new(Notify::new()));
    assert_eq!(table.join(id, &name(), part), Some(false));
    let position = Position { epoch: 1, offset: 0 };
    subscribe(&mut table, position);
    (table, id)
}

pub(super) fn subscribe(table: &mut Table, position: Position) {
    let (group, lineage) = (name(), Lineage::default());
    table.tell(Duration::ZERO, Tell::Subscribed { request: 99, group, position, lineage });
}

pub(super) fn deliver(table: &mut Table, offset: u64) {
    let frame = Frame::new(&Message::from(offset.to_string()));
    let entry = Entry { offset, key: Key::default(), of: 0, is_presence: false, frame };
    table.tell(Duration::ZERO, Tell::Deliver { group: name(), epoch: 1, entry });
}

#[test]
fn a_member_reads_each_message_once_in_order() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    (1..=3).for_each(|offset| deliver(&mut table, offset));
    let mut out = BytesMut::new();
    assert!(!table.drain(id, &mut out, 1000).has_more);
    assert_eq!(&out[..], b"\x81\x011\x81\x012\x81\x013");
    out.clear();
    table.drain(id, &mut out, 1000);
    assert!(out.is_empty());
}

#[test]
fn a_full_client_reads_on_later_from_where_it_was() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    (1..=3).for_each(|offset| deliver(&mut table, offset));
    let mut out = BytesMut::new();
    assert!(table.drain(id, &mut out, 4).has_more);
    assert_eq!(&out[..], b"\x81\x011\x81\x012");
    out.clear();
    assert!(!table.drain(id, &mut out, 4).has_more);
    assert_eq!(&out[..], b"\x81\x013");
}

#[test]
fn a_member_behind_the_ring_is_overrun_once() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    (1..=4).for_each(|offset| deliver(&mut table, offset));
    assert!(!table.is_overrun(id));
    deliver(&mut table, 5);
    assert!(table.is_overrun(id));
    assert!(table.drain(id, &mut BytesMut::new(), 1000).is_overrun);
    assert_eq!(table.statistics().overruns, 1);
}

#[test]
fn what_does_not_follow_is_asked_for_and_what_came_before_is_nothing() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    deliver(&mut table, 1);
    deliver(&mut table, 1);
    let mut out = BytesMut::new();
    assert!(!table.drain(id, &mut out, 1000).is_overrun);
    assert_eq!(&out[..], b"\x81\x011");
    table.outgoing.clear();
    // The second is lost on the way.
    (3..=4).for_each(|offset| deliver(&mut table, offset));
    let position = Position { epoch: 1, offset: 1 };
    let compare = Ask::Group(GroupAsk::Compare { group: name(), position });
    assert_eq!(table.outgoing, [compare], "asked for once");
    (2..=4).for_each(|offset| deliver(&mut table, offset));
    assert!(!table.drain(id, &mut out, 1000).is_overrun);
    assert_eq!(&out[..], b"\x81\x011\x81\x012\x81\x013\x81\x014");
    let position = Position { epoch: 1, offset: 9 };
    table.tell(Duration::ZERO, Tell::Gap { group: name(), position });
    assert!(table.drain(id, &mut out, 1000).is_overrun, "or it is lost");
}

#[test]
fn a_second_subscription_loses_nothing_of_the_first() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    deliver(&mut table, 1);
    table.outgoing.clear();
    // Answered before that came, and when the next had been lost on the way.
    subscribe(&mut table, Position { epoch: 1, offset: 0 });
    assert!(table.outgoing.is_empty());
    subscribe(&mut table, Position { epoch: 1, offset: 2 });
    let position = Position { epoch: 1, offset: 1 };
    let compare = Ask::Group(GroupAsk::Compare { group: name(), position });
    assert_eq!(table.outgoing, [compare]);
    (2..=3).for_each(|offset| deliver(&mut table, offset));
    let mut out = BytesMut::new();
    assert!(!table.drain(id, &mut out, 1000).is_overrun);
    assert_eq!(&out[..], b"\x81\x011\x81\x012\x81\x013");
}

#[test]
fn a_group_in_which_nothing_came_for_a_while_is_compared() {
    let (mut table, _) = joined(Part::Join(Policy::Close));
    table.outgoing.clear();
    let look = |table: &mut Table| (0..PARTS).for_each(|part| table.compare_idle(part));
    look(&mut table);
    deliver(&mut table, 1);
    look(&mut table);
    assert!(table.outgoing.is_empty(), "something came");
    look(&mut table);
    let position = Position { epoch: 1, offset: 1 };
    let compare = Ask::Group(GroupAsk::Compare { group: name(), position });
    assert_eq!(table.outgoing, [compare]);
}

#[test]
fn a_member_that_lags_gets_the_last_of_each_thing() {
    let check = |policy, expected: &[u8], dropped| {
        let (mut table, id) = joined(Part::Join(policy));
        for (offset, of) in [(1, 7), (2, 0), (3, 8), (4, 7)] {
            let frame = Frame::new(&Message::from(offset.to_string()));
            let entry = Entry { offset, key: Key::default(), of, is_presence: false, frame };
            table.tell(Duration::ZERO, Tell::Deliver { group: name(), epoch: 1, entry });
        }
        let mut out = BytesMut::new();
        assert!(!table.drain(id, &mut out, 1000).is_overrun);
        assert_eq!(&out[..], expected);
        assert_eq!(table.statistics().dropped, dropped);
    };
    check(Policy::Latest, b"\x81\x012\x81\x013\x81\x014", 1);
    check(Policy::Close, b"\x81\x011\x81\x012\x81\x013\x81\x014", 0);
}

#[test]
fn a_renamed_position_costs_nobody_a_message() {
    let (mut table, id) = joined(Part::Listen);
    deliver(&mut table, 1);
    let position = Position { epoch: 9, offset: 1 };
    let lineage = Lineage::new(vec![Position { epoch: 1, offset: 1 }]).unwrap();
    table.tell(Duration::ZERO, Tell::Renew { group: name(), position, lineage });
    let drained = table.drain(id, &mut BytesMut::new(), 1000);
    assert!(!drained.is_overrun);
    let delivery = Delivery { position, message: Message::from("1"), is_presence: false };
    assert_eq!(drained.heard, [(name(), delivery)]);
}

#[test]
fn the_last_member_ends_the_subscription_and_leaves_nothing() {
    let (mut table, id) = joined(Part::Join(Policy::Close));
    deliver(&mut table, 1);
    table.outgoing.clear();
    table.disconnect(id);
    assert_eq!(table.outgoing, [Ask::Unsubscribe { group: name() }]);
    let left = table.statistics();
    assert_eq!((left.groups, left.connections, left.history_bytes), (0, 0, 0));
}

#[test]
fn a_new_link_hears_all_that_is_held_and_what_is_not_answered() {
    let (mut table, _) = joined(Part::Join(Policy::Close));
    deliver(&mut table, 1);
    let frame = Frame::new(&Message::from("unanswered"));
    let make = |key| Ask::Publish { key, retry: false, group: name(), frame };
    let (_, waiting) = table.request(make);
    let given_up = table.request(|key| Ask::Subscribe { request: key.request, group: name() });
    drop(given_up);
    let said = table.reconnected(true);
    assert!(matches!(said[0], Ask::Hello { resumed: true, .. }));
    assert!(matches!(&said[1], Ask::Announce { position, .. } if position.offset == 1));
    assert!(matches!(&said[2], Ask::AnnounceEntry { entry, .. } if entry.offset == 1));
    assert_eq!(said[3], Ask::Announced);
    assert!(matches!(&said[4], Ask::Publish { retry: true, .. }));
    assert_eq!(said.len(), 5, "nobody wants the subscription any more");
    drop(waiting);
}

/// A sink that takes so many more frames of two payload bytes or one, and notes what it was told.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    room: AtomicUsize,
    pub(super) pieces: Mutex<Vec<Vec<u8>>>,
    pub(super) wakes: AtomicUsize,
    opened: AtomicUsize,
}

impl Sink for Recorder {
    fn write(&self, frames: &[u8]) -> Written {
        let room = self.room.load(Ordering::Relaxed);
        let frame = 3;
        if frames.len() <= room * frame {
            self.pieces.lock().unwrap().push(frames.to_vec());
            self.room.fetch_sub(frames.len() / frame, Ordering::Relaxed);
            return Written::All;
        }
        self.pieces.lock().unwrap().push(frames[..room * frame].to_vec());
        self.room.store(0, Ordering::Relaxed);
        Written::Frames(room as u64)
    }

    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }

    fn open(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }
}

/// A table with one subscribed member whose sink has room for so many frames.
pub(super) fn recorded(room: usize, policy: Policy) -> (Table, u64, Arc<Recorder>) {
    let mut table = table();
    let sink = Arc::new(Recorder { room: AtomicUsize::new(room), ..Recorder::default() });
    let id = table.connect(Arc::<Recorder>::clone(&sink));
    table.join(id, &name(), Part::Join(policy));
    let position = Position { epoch: 1, offset: 0 };
    subscribe(&mut table, position);
    sink.wakes.store(0, Ordering::Relaxed);
    assert!(table.open(id));
    (table, id, sink)
}

#[test]
fn a_tick_is_one_piece_and_wakes_nobody() {
    let (mut table, id, sink) = recorded(9, Policy::Close);
    (1..=3).for_each(|offset| deliver(&mut table, offset));
    assert!(sink.pieces.lock().unwrap().is_empty(), "the tick has not ended");
    table.flush();
    deliver(&mut table, 4);
    table.flush();
    table.flush();
    assert_eq!(*sink.pieces.lock().unwrap(), [&b"\x81\x011\x81\x012\x81\x013"[..], b"\x81\x014"]);
    assert_eq!(sink.wakes.load(Ordering::Relaxed), 0);
    let mut out = BytesMut::new();
    table.drain(id, &mut out, 1000);
    assert!(out.is_empty(), "it has everything");
}

#[test]
fn a_sink_that_took_a_part_is_left_alone_until_it_has_drained() {
    let (mut table, id, sink) = recorded(1, Policy::Close);
    (1..=2).for_each(|offset| deliver(&mut table, offset));
    table.flush();
    deliver(&mut table, 3);
    table.flush();
    assert_eq!(*sink.pieces.lock().unwrap(), [b"\x81\x011"]);
    assert!(!table.open(id), "there is more for it");
    let mut out = BytesMut::new();
    table.drain(id, &mut out, 1000);
    assert_eq!(&out[..], b"\x81\x012\x81\x013");
    assert!(table.open(id));
    sink.room.store(1, Ordering::Relaxed);
    deliver(&mut table, 4);
    table.flush();
    assert_eq!(sink.pieces.lock().unwrap().last().unwrap(), b"\x81\x014");
    assert_eq!(sink.wakes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_member_who_joins_within_a_tick_gets_what_comes_after_it() {
    let (mut table, _, first) = recorded(9, Policy::Close);
    deliver(&mut table, 1);
    let second = Arc::new(Recorder { room: AtomicUsize::new(9), ..Recorder::default() });
    let late = table.connect(Arc::<Recorder>::clone(&second));
    assert_eq!(table.join(late, &name(), Part::Join(Policy::Close)), Some(true));
    deliver(&mut table, 2);
    table.flush();
    assert_eq!(*first.pieces.lock().unwrap(), [b"\x81\x011\x81\x012"]);
    assert!(second.pieces.lock().unwrap().is_empty());
    assert_eq!(second.wakes.load(Ordering::Relaxed), 1, "it has to look");
    let mut out = BytesMut::new();
    table.drain(late, &mut out, 1000);
    assert_eq!(&out[..], b"\x81\x012");
}

#[test]
fn who_leaves_within_a_tick_gets_nothing_of_it() {
    let (mut table, id, sink) = recorded(9, Policy::Close);
    deliver(&mut table, 1);
    table.leave(id, &name());
    table.flush();
    assert!(sink.pieces.lock().unwrap().is_empty());
}

#[test]
fn a_policy_says_what_a_member_behind_the_ring_misses() {
    // The ring holds four; six came.
    let check = |policy, expected: &[u8], dropped, overruns| {
        let (mut table, id, sink) = recorded(0, policy);
        for offset in 1..=6 {
            deliver(&mut table, offset);
            table.flush();
        }
        let mut out = BytesMut::new();
        let drained = table.drain(id, &mut out, 6);
        while table.drain(id, &mut out, 1000).has_more {}
        assert_eq!(drained.is_overrun, policy == Policy::Close);
        assert_eq!(&out[..], expected);
        let counted = table.statistics();
        assert_eq!((counted.dropped, counted.overruns), (dropped, overruns), "{policy:?}");
        let wakes = sink.wakes.load(Ordering::Relaxed);
        assert_eq!(wakes > 0, policy == Policy::Close, "only who is to be closed must look");
    };
    check(Policy::Close, b"", 0, 1);
    check(Policy::DropOldest, b"\x81\x013\x81\x014\x81\x015\x81\x016", 2, 0);
    check(Policy::Latest, b"\x81\x013\x81\x014\x81\x015\x81\x016", 2, 0);
    check(Policy::DropNewest, b"\x81\x013\x81\x014", 4, 0);
}

#[test]
fn members_who_know_a_group_by_one_name_share_one_piece() {
    let (mut table, raw, raw_sink) = recorded(9, Policy::Close);
    let mut sealed = Vec::new();
    for name_of_it in ["a", "a", "b"] {
        let sink = Arc::new(Whole::default());
        let id = table.connect(Arc::<Whole>::clone(&sink));
        assert_eq!(table.join(id, &name(), Part::Join(Policy::Close)), Some(true));
        table.address(id, &name(), Envelope::new(name_of_it));
        sink.is_open.store(true, Ordering::Relaxed);
        sealed.push((id, sink));
    }
    (1..=2).for_each(|offset| deliver(&mut table, offset));
    table.flush();
    deliver(&mut table, 3);
    table.flush();
    assert_eq!(*raw_sink.pieces.lock().unwrap(), [&b"\x81\x011\x81\x012"[..], b"\x81\x013"]);
    let texts = |index: usize| -> Vec<String> {
        let mut texts = Vec::new();
        for piece in sealed[index].1.pieces.lock().unwrap().iter() {
            frame_texts(piece, |text| texts.push(text.to_owned()));
        }
        texts
    };
    let expected = |of: &str| -> Vec<String> {
        let frame = |n| format!("{{\"stream\":\"{of}\",\"at\":\"1-{n}\",\"data\":{n}}}");
        (1..=3).map(frame).collect()
    };
    assert_eq!((texts(0), texts(1), texts(2)), (expected("a"), expected("a"), expected("b")));
    let places = |index: usize| sealed[index].1.places.lock().unwrap().clone();
    assert_eq!(places(0), places(1), "made once");
    assert_ne!(places(0), places(2));
    // Who leaves gives its name back.
    for (id, _) in &sealed {
        table.leave(*id, &name());
    }
    let late = table.connect(Arc::new(Notify::new()));
    table.join(late, &name(), Part::Join(Policy::Close));
    table.address(late, &name(), Envelope::new("c"));
    deliver(&mut table, 4);
    let mut out = BytesMut::new();
    table.drain(late, &mut out, 1000);
    frame_texts(&out.freeze(), |text| {
        assert_eq!(text, "{\"stream\":\"c\",\"at\":\"1-4\",\"data\":4}");
    });
    table.disconnect(raw);
}

#[test]
fn a_member_with_a_name_that_lags_gets_the_same_frames_later() {
    let (mut table, id, sink) = recorded(0, Policy::Close);
    table.address(id, &name(), Envelope::new("a"));
    for offset in 1..=3 {
        deliver(&mut table, offset);
        table.flush();
    }
    assert!(sink.pieces.lock().unwrap().iter().all(Vec::is_empty));
    let mut texts = Vec::new();
    loop {
        let mut out = BytesMut::new();
        let drained = table.drain(id, &mut out, 1);
        frame_texts(&out.freeze(), |text| texts.push(text.to_owned()));
        if !drained.has_more {
            break;
        }
    }
    let frame = |n| format!("{{\"stream\":\"a\",\"at\":\"1-{n}\",\"data\":{n}}}");
    assert_eq!(texts, [frame(1), frame(2), frame(3)]);
    assert!(table.open(id));
}

/// A sink that takes everything once it is open, and keeps it as it came.
#[derive(Debug, Default)]
struct Whole {
    is_open: AtomicBool,
    pieces: Mutex<Vec<Bytes>>,
    /// Where each piece lay.
    places: Mutex<Vec<usize>>,
}

impl Sink for Whole {
    fn write(&self, frames: &[u8]) -> Written {
        if !self.is_open.load(Ordering::Relaxed) {
            return Written::Frames(0);
        }
        self.pieces.lock().unwrap().push(Bytes::copy_from_slice(frames));
        self.places.lock().unwrap().push(frames.as_ptr().addr());
        Written::All
    }

    fn wake(&self) {}

    fn open(&self) {}
}

/// Takes everything, compressed.
#[derive(Debug, Default)]
struct Packed(AtomicUsize);

impl Sink for Packed {
    fn write(&self, frames: &[u8]) -> Written {
        self.0.fetch_add(frames.len(), Ordering::Relaxed);
        Written::All
    }

    fn wake(&self) {}

    fn open(&self) {}

    fn is_deflated(&self) -> bool {
        true
    }
}

#[test]
fn a_tick_is_compressed_once_for_all_who_want_the_same() {
    const MESSAGES: usize = 3;
    let mut table = table();
    let mut sinks = Vec::new();
    for number in 0..300 {
        let sink = Arc::new(Packed::default());
        let id = table.connect(Arc::clone(&sink) as Arc<dyn Sink>);
        table.join(id, &name(), Part::Join(Policy::Close));
        if number % 3 > 0 {
            table.address(id, &name(), Envelope::new(["a", "bb"][number % 3 - 1]));
        }
        sinks.push(sink);
    }
    subscribe(&mut table, Position { epoch: 1, offset: 0 });
    for offset in 1..=MESSAGES as u64 {
        let frame = Frame::new(&Message::from("long ".repeat(100)));
        let entry = Entry { offset, key: Key::default(), of: 0, is_presence: false, frame };
        table.tell(Duration::ZERO, Tell::Deliver { group: name(), epoch: 1, entry });
    }
    DEFLATED.set(0);
    table.flush();
    assert_eq!(DEFLATED.get(), 3 * MESSAGES, "as they are, and in each of two envelopes");
    let taken = |number: usize| sinks[number].0.load(Ordering::Relaxed);
    assert!((1..MESSAGES * 400).contains(&taken(0)), "{} bytes", taken(0));
    assert!((3..sinks.len()).all(|number| taken(number) == taken(number % 3)));
}
