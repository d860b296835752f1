//! What a table keeps and says, and what it must not: bursts, bounds, a way to the store that is
//! cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::tests::{Recorder, deliver, joined, name, recorded, table};
use super::{Part, Table};
use crate::channels::position::Lineage;
use crate::channels::protocol::{Ask, Entry, Key, Person, Tell};
use crate::channels::{Frame, GroupName, Message, Policy, Position};

/// All that a sink took.
fn taken(sink: &Recorder) -> Vec<u8> {
    sink.pieces.lock().unwrap().concat()
}

/// A message of one payload byte, at so many seconds.
fn deliver_at(table: &mut Table, seconds: u64, (group, offset): (&str, u64), text: &str) {
    let frame = Frame::new(&Message::from(text));
    let entry = Entry { offset, key: Key::default(), of: 0, is_presence: false, frame };
    let group = GroupName::new(group).unwrap();
    table.tell(Duration::from_secs(seconds), Tell::Deliver { group, epoch: 1, entry });
}

#[test]
fn a_tick_longer_than_the_history_reaches_all_who_are_in_step() {
    let (mut table, id, sink) = recorded(9, Policy::Close);
    (1..=9).for_each(|offset| deliver(&mut table, offset));
    table.flush();
    let expected: Vec<u8> = (b'1'..=b'9').flat_map(|digit| [0x81, 1, digit]).collect();
    assert_eq!(taken(&sink), expected);
    assert!(!table.is_overrun(id));
    assert_eq!(sink.wakes.load(Ordering::Relaxed), 0);
    assert!(table.statistics().history_bytes < 5 * 200, "the limit holds");
}

#[test]
fn a_history_that_lasts_no_time_reaches_all_who_are_in_step() {
    let (mut table, id, sink) = recorded(9, Policy::Close);
    table.limits.history_age = Duration::ZERO;
    for offset in 1..=3 {
        deliver_at(&mut table, offset, ("g", offset), &offset.to_string());
    }
    table.flush();
    assert_eq!(taken(&sink), b"\x81\x011\x81\x012\x81\x013");
    assert!(!table.is_overrun(id));
    deliver_at(&mut table, 4, ("g", 4), "4");
    assert_eq!(table.groups[&name()].ring.len(), 1, "what was handed out is old");
}

#[test]
fn the_groups_with_the_most_make_room_and_nobody_in_step_loses_any() {
    let (mut table, id, sink) = recorded(20, Policy::Close);
    table.limits.history_messages = 8;
    let small = GroupName::new("small").unwrap();
    assert_eq!(table.join(id, &small, Part::Join(Policy::Close)), Some(false));
    let (position, lineage) = (Position { epoch: 1, offset: 0 }, Lineage::default());
    let subscribed = Tell::Subscribed { request: 99, group: small.clone(), position, lineage };
    table.tell(Duration::ZERO, subscribed);
    deliver_at(&mut table, 0, ("small", 1), "a");
    (1..=8).for_each(|offset| deliver(&mut table, offset));
    table.history_bytes_max = table.statistics().history_bytes;
    deliver_at(&mut table, 0, ("small", 2), "b");
    assert_eq!(table.groups[&name()].ring.len(), 6);
    assert_eq!(table.groups[&small].ring.len(), 2, "not the one just delivered to");
    table.flush();
    assert!(!table.is_overrun(id));
    assert_eq!(taken(&sink).len(), 10 * 3);
    let held: usize = table.groups.values().map(|local| local.ring.bytes()).sum();
    assert_eq!(table.statistics().history_bytes, held);
}

#[test]
fn what_is_too_old_goes_also_where_nothing_comes_any_more() {
    let (mut table, _, _) = recorded(9, Policy::Close);
    let other = table.connect(Arc::new(Notify::new()));
    let quiet = GroupName::new("quiet").unwrap();
    table.join(other, &quiet, Part::Listen);
    let (position, lineage) = (Position { epoch: 1, offset: 0 }, Lineage::default());
    let subscribed = Tell::Subscribed { request: 99, group: quiet.clone(), position, lineage };
    table.tell(Duration::ZERO, subscribed);
    deliver_at(&mut table, 0, ("quiet", 1), "a");
    table.flush();
    deliver_at(&mut table, 101, ("g", 1), "b");
    assert_eq!(table.groups[&quiet].ring.len(), 0);
}

#[test]
fn nothing_gathers_while_there_is_no_way_to_the_store_but_what_must_not_get_lost() {
    let (mut table, _) = joined(Part::Join(Policy::Close));
    table.outgoing.clear();
    table.cut();
    let publish = |table: &mut Table| {
        let frame = Frame::new(&Message::from("x"));
        table.request(|key| Ask::Publish { key, retry: false, group: name(), frame })
    };
    for _ in 0..1000 {
        let (request, answer) = publish(&mut table);
        drop(answer);
        table.withdraw(request);
    }
    let frame = Frame::new(&Message::from("unread"));
    let back = Ask::Return { channel: name(), number: 7, frame: frame.clone() };
    let asker = None;
    table.give_back(super::Reply::Received { channel: name(), number: 7, frame, asker });
    assert_eq!(table.outgoing, std::slice::from_ref(&back));
    let (_, waiting) = publish(&mut table);
    let said = table.reconnected(true);
    assert_eq!(said.iter().filter(|ask| matches!(ask, Ask::Publish { .. })).count(), 1);
    assert_eq!(said.last(), Some(&back));
    // Now there is one, but it takes nothing.
    for _ in 0..1000 {
        let (request, answer) = publish(&mut table);
        drop(answer);
        table.withdraw(request);
        assert!(table.outgoing.len() <= 130, "{}", table.outgoing.len());
    }
    assert_eq!(table.next_ask(), None, "nobody waits for any of them");
    drop(waiting);
}

#[test]
fn who_drops_the_newest_reads_all_there_is_while_the_history_has_it() {
    let (mut table, id, _) = recorded(0, Policy::DropNewest);
    (1..=4).for_each(|offset| deliver(&mut table, offset));
    table.flush();
    let mut out = BytesMut::new();
    assert!(table.drain(id, &mut out, 6).has_more);
    assert!(!table.drain(id, &mut out, 1000).has_more);
    assert_eq!(&out[..], b"\x81\x011\x81\x012\x81\x013\x81\x014");
    assert_eq!(table.statistics().dropped, 0);
}

#[test]
fn a_busy_group_does_not_keep_a_slow_member_from_its_others() {
    let (mut table, id, _) = recorded(0, Policy::DropOldest);
    let quiet = GroupName::new("quiet").unwrap();
    table.join(id, &quiet, Part::Join(Policy::Close));
    let (position, lineage) = (Position { epoch: 1, offset: 0 }, Lineage::default());
    let subscribed = Tell::Subscribed { request: 99, group: quiet, position, lineage };
    table.tell(Duration::ZERO, subscribed);
    deliver_at(&mut table, 0, ("quiet", 1), "q");
    let mut read = Vec::new();
    for offset in [1, 4, 7] {
        (offset..offset + 3).for_each(|offset| deliver(&mut table, offset));
        table.flush();
        let mut out = BytesMut::new();
        assert!(table.drain(id, &mut out, 6).has_more);
        read.extend_from_slice(&out);
    }
    assert!(read.contains(&b'q'), "{read:?}");
}

#[test]
fn an_answer_to_an_earlier_subscription_is_not_for_who_joins_again() {
    let mut table = table();
    let id = table.connect(Arc::new(Notify::new()));
    let ask = |table: &mut Table| {
        assert_eq!(table.join(id, &name(), Part::Join(Policy::Close)), Some(false));
        table.request(|key| Ask::Subscribe { request: key.request, group: name() })
    };
    let (earlier, _waiting) = ask(&mut table);
    table.leave(id, &name());
    let (later, _waiting) = ask(&mut table);
    for (request, offset) in [(earlier, 0), (later, 5)] {
        let (position, lineage) = (Position { epoch: 1, offset }, Lineage::default());
        table.tell(Duration::ZERO, Tell::Subscribed { request, group: name(), position, lineage });
        deliver(&mut table, offset + 1);
    }
    let mut out = BytesMut::new();
    assert!(!table.drain(id, &mut out, 1000).is_overrun);
    assert_eq!(&out[..], b"\x81\x016");
}

#[test]
fn a_place_in_another_order_is_not_where_a_member_is() {
    for (epoch, is_there) in [(1, true), (9, false)] {
        let (mut table, id) = joined(Part::Listen);
        let since = Position { epoch, offset: 0 };
        match table.resume(id, &name(), Part::Join(Policy::Close), since) {
            Some(super::Start::At(joined)) => assert_eq!(joined.recovered, is_there),
            start => panic!("{start:?}"),
        }
    }
}

#[test]
fn who_listens_and_enters_hears_what_came_before_too() {
    let (mut table, id) = joined(Part::Listen);
    (1..=2).for_each(|offset| deliver(&mut table, offset));
    let frame = || Frame::new(&Message::from("x"));
    let (joined, left) = (frame(), frame());
    let (key, since) = ("ann".into(), Position::default());
    let person = Person { key, grace: Duration::ZERO, since, joined, left };
    assert!(table.entered(id, &name(), Position { epoch: 1, offset: 2 }, person));
    let drained = table.drain(id, &mut BytesMut::new(), 1000);
    let offsets: Vec<u64> = drained.heard.iter().map(|(_, heard)| heard.position.offset).collect();
    assert_eq!(offsets, [1, 2]);
}

#[test]
fn the_newest_message_is_announced_however_large_it_is() {
    let (mut table, _) = joined(Part::Join(Policy::Close));
    deliver_at(&mut table, 0, ("g", 1), &"x".repeat(2 * 1024 * 1024));
    let said = table.reconnected(true);
    assert_eq!(said.iter().filter(|ask| matches!(ask, Ask::AnnounceEntry { .. })).count(), 1);
    assert!(said.contains(&Ask::Announced));
}
