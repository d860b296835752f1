//! The table alone: cursors, rings, and what is said over a new link.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{Part, Table};
use crate::channels::protocol::{Ask, Entry, Key, Position, Tell};
use crate::channels::{Frame, GroupName, Limits, Message};

fn table() -> Table {
    let limits = Limits {
        history_messages: 4,
        history_bytes: 10_000,
        history_age: Duration::from_secs(100),
        capacity: 5,
        expiry: Duration::from_secs(60),
    };
    Table::new(limits, 1)
}

fn name() -> GroupName {
    GroupName::new("g").unwrap()
}

/// A table with one member that is subscribed at offset 0.
fn joined(part: Part) -> (Table, u64) {
    let mut table = table();
    let id = table.connect(Arc::new(Notify::new()));
    assert_eq!(table.join(id, &name(), part), Some(false));
    let position = Position { epoch: 1, offset: 0 };
    table.tell(Duration::ZERO, Tell::Subscribed { request: 0, group: name(), position });
    (table, id)
}

fn deliver(table: &mut Table, offset: u64) {
    let frame = Frame::new(&Message::from(offset.to_string()));
    let entry = Entry { offset, key: Key::default(), is_presence: false, frame };
    table.tell(Duration::ZERO, Tell::Deliver { group: name(), epoch: 1, entry });
}

#[test]
fn a_member_reads_each_message_once_in_order() {
    let (mut table, id) = joined(Part::Join);
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
    let (mut table, id) = joined(Part::Join);
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
    let (mut table, id) = joined(Part::Join);
    (1..=4).for_each(|offset| deliver(&mut table, offset));
    assert!(!table.is_overrun(id));
    deliver(&mut table, 5);
    assert!(table.is_overrun(id));
    assert!(table.drain(id, &mut BytesMut::new(), 1000).is_overrun);
    assert_eq!(table.statistics().overruns, 1);
}

#[test]
fn what_does_not_follow_is_a_gap_and_what_came_before_is_nothing() {
    let (mut table, id) = joined(Part::Join);
    deliver(&mut table, 1);
    deliver(&mut table, 1);
    let mut out = BytesMut::new();
    assert!(!table.drain(id, &mut out, 1000).is_overrun);
    assert_eq!(&out[..], b"\x81\x011");
    deliver(&mut table, 3);
    assert!(table.drain(id, &mut out, 1000).is_overrun);
}

#[test]
fn a_renamed_position_costs_nobody_a_message() {
    let (mut table, id) = joined(Part::Listen);
    deliver(&mut table, 1);
    let position = Position { epoch: 9, offset: 1 };
    table.tell(Duration::ZERO, Tell::Renew { group: name(), position });
    let drained = table.drain(id, &mut BytesMut::new(), 1000);
    assert!(!drained.is_overrun);
    assert_eq!(drained.heard, [(name(), Message::from("1"))]);
}

#[test]
fn the_last_member_ends_the_subscription_and_leaves_nothing() {
    let (mut table, id) = joined(Part::Join);
    deliver(&mut table, 1);
    table.outgoing.clear();
    table.disconnect(id);
    assert_eq!(table.outgoing, [Ask::Unsubscribe { group: name() }]);
    let left = table.statistics();
    assert_eq!((left.groups, left.connections, left.history_bytes), (0, 0, 0));
}

#[test]
fn a_new_link_hears_all_that_is_held_and_what_is_not_answered() {
    let (mut table, _) = joined(Part::Join);
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
    assert!(matches!(&said[3], Ask::Publish { retry: true, .. }));
    assert_eq!(said.len(), 4, "nobody wants the subscription any more");
    drop(waiting);
}
