//! What the store does with time, which no test of the layer should wait for.

use std::time::Duration;

use super::{Effect, Event, Store, WorkerId};
use crate::channels::calls::{ChannelAsk, ChannelTell};
use crate::channels::position::Lineage;
use crate::channels::protocol::{Ask, Entry, Key, Person, Tell};
use crate::channels::values::calls::{Action, Outcome, ValueAsk, When};
use crate::channels::{Frame, GroupName, Limits, Message, Position};

const WORKER: WorkerId = WorkerId(1);

fn limits() -> Limits {
    Limits {
        history_messages: 10,
        history_bytes: 10_000,
        history_age: Duration::from_secs(100),
        presence_grace: Duration::ZERO,
        capacity: 5,
        expiry: Duration::from_secs(3),
        delayed: 3,
    }
}

fn store() -> Store {
    let mut store = Store::new(limits(), 1, Duration::ZERO);
    store.step(Duration::ZERO, Event::Connected(WORKER));
    store
}

fn name(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

fn frame(text: &str) -> Frame {
    Frame::new(&Message::from(text))
}

fn key(request: u64) -> Key {
    Key { session: 7, request }
}

/// What `ask` at `seconds` makes the store tell.
fn ask(store: &mut Store, seconds: f64, ask: Ask) -> Vec<Tell> {
    let effects = store.step(Duration::from_secs_f64(seconds), Event::Asked(WORKER, ask));
    effects.into_iter().map(|effect| effect.tell).collect()
}

fn send(store: &mut Store, seconds: f64, text: &str) -> Vec<Tell> {
    let request = (seconds * 10.0) as u64;
    let (channel, frame) = (name("c"), frame(text));
    ask(store, seconds, Ask::Send { key: key(request), retry: false, channel, frame })
}

fn receive(store: &mut Store, seconds: f64) -> Option<String> {
    match &ask(store, seconds, Ask::Receive { request: 99, channel: name("c") })[..] {
        [Tell::Received { frame, .. }] => frame.message().text().map(ToOwned::to_owned),
        _ => None,
    }
}

fn publish(store: &mut Store, seconds: f64, request: u64, retry: bool) -> Position {
    let (group, frame) = (name("g"), frame("x"));
    let told = ask(store, seconds, Ask::Publish { key: key(request), retry, group, frame });
    match &told[..] {
        [Tell::Published { position, .. }] => *position,
        told => panic!("{told:?}"),
    }
}

#[test]
fn unread_messages_expire_one_by_one() {
    let mut store = store();
    for (seconds, text) in [(0.0, "first"), (2.0, "second"), (4.0, "third")] {
        send(&mut store, seconds, text);
    }
    assert_eq!(receive(&mut store, 4.5).as_deref(), Some("second"));
    assert_eq!(receive(&mut store, 4.5).as_deref(), Some("third"));
    assert_eq!(receive(&mut store, 4.5), None);
}

#[test]
fn a_repeated_publish_keeps_its_place() {
    let mut store = store();
    let first = publish(&mut store, 0.0, 1, false);
    let second = publish(&mut store, 0.0, 2, false);
    assert_eq!((first.offset, second.offset), (1, 2));
    assert_eq!(publish(&mut store, 0.0, 1, true), first);
    assert_eq!(publish(&mut store, 0.0, 3, true).offset, 3, "never came before");
}

#[test]
fn a_repeated_send_is_one_message() {
    let mut store = store();
    send(&mut store, 0.0, "once");
    let (channel, frame) = (name("c"), frame("once"));
    ask(&mut store, 0.0, Ask::Send { key: key(0), retry: true, channel, frame });
    assert_eq!(receive(&mut store, 0.0).as_deref(), Some("once"));
    assert_eq!(receive(&mut store, 0.0), None);
}

#[test]
fn a_forgotten_group_begins_again_in_a_later_epoch() {
    let mut store = store();
    let before = publish(&mut store, 0.0, 1, false);
    store.step(Duration::from_secs(200), Event::Tick);
    let after = publish(&mut store, 200.0, 2, false);
    assert_eq!(after.offset, 1);
    assert!(after > before, "{after:?} {before:?}");
}

#[test]
fn a_blocked_worker_is_told_later_what_it_missed_or_that_it_is_lost() {
    for (missed, is_lost) in [(9, false), (11, true)] {
        let mut store = store();
        ask(&mut store, 0.0, Ask::Subscribe { request: 1, group: name("g") });
        store.step(Duration::ZERO, Event::Blocked(WORKER));
        for request in 2..2 + missed {
            publish(&mut store, 0.0, request, false);
        }
        let told = store.step(Duration::ZERO, Event::Drained(WORKER));
        let offsets: Vec<u64> = told
            .iter()
            .filter_map(|effect| match &effect.tell {
                Tell::Deliver { entry, .. } => Some(entry.offset),
                _ => None,
            })
            .collect();
        if is_lost {
            assert!(matches!(told[0].tell, Tell::Gap { position, .. } if position.offset == 11));
            assert!(offsets.is_empty());
        } else {
            assert_eq!(offsets, (1..=9).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_two_stores_lost_is_no_part_of_the_order() {
    let (behind, ahead) = (WORKER, WorkerId(2));
    // The first store ended at 6. The second took that over, and died when it had told one worker
    // of it, who had 3.
    let (six, three) = (Position { epoch: 50, offset: 6 }, Position { epoch: 60, offset: 3 });
    let mut store = Store::new(limits(), 100, Duration::ZERO);
    for worker in [behind, ahead] {
        store.step(Duration::ZERO, Event::Connected(worker));
        let hello = Ask::Hello { version: 1, resumed: true, latest: 0 };
        store.step(Duration::ZERO, Event::Asked(worker, hello));
    }
    let group = name("g");
    let lineage = Lineage::new(vec![six]).unwrap();
    ask(&mut store, 0.0, Ask::Announce { group: group.clone(), position: three, lineage });
    ask(&mut store, 0.0, Ask::Announced);
    store.step(Duration::from_secs(60), Event::Tick);
    for request in 1..=5 {
        let (group, frame) = (group.clone(), frame("x"));
        ask(&mut store, 61.0, Ask::Publish { key: key(request), retry: false, group, frame });
    }
    // What the other has behind 3 is not what the order has there.
    let announce = Ask::Announce { group, position: six, lineage: Lineage::default() };
    let told = store.step(Duration::from_secs(62), Event::Asked(ahead, announce));
    let told: Vec<Tell> = told.into_iter().map(|effect| effect.tell).collect();
    assert!(matches!(told[..], [Tell::Gap { position, .. }] if position.offset == 8), "{told:?}");
}

#[test]
fn a_settling_store_waits_for_what_its_workers_know() {
    let mut store = Store::new(limits(), 100, Duration::from_millis(200));
    let at = Duration::from_millis;
    store.step(at(0), Event::Connected(WORKER));
    let told = ask(&mut store, 0.0, Ask::Subscribe { request: 1, group: name("g") });
    assert!(told.is_empty(), "not before it knows the order");
    let late = WorkerId(2);
    store.step(at(100), Event::Connected(late));
    store.step(at(100), Event::Asked(late, Ask::Hello { version: 1, resumed: true, latest: 0 }));
    let position = Position { epoch: 50, offset: 12 };
    let lineage = Lineage::default();
    let announce = Ask::Announce { group: name("g"), position, lineage };
    store.step(at(100), Event::Asked(late, announce));
    store.step(at(100), Event::Asked(late, Ask::Announced));
    assert!(store.step(at(250), Event::Tick).is_empty(), "a worker came back: a little longer");
    let told = store.step(at(350), Event::Tick);
    let subscribed = told.iter().find_map(|effect| match effect.tell {
        Tell::Subscribed { position, .. } => Some(position),
        _ => None,
    });
    assert_eq!(subscribed.unwrap().offset, 12, "goes on where the earlier store was");
    assert!(subscribed.unwrap() > position, "in an epoch of its own");
}

fn delay(store: &mut Store, seconds: f64, after: f64, text: &str) -> Vec<Tell> {
    let (key, channel) = (key((seconds * 10.0) as u64 + 500), name("c"));
    let delay = Duration::from_secs_f64(after);
    let ask_later = ChannelAsk::SendAfter { key, retry: false, channel, frame: frame(text), delay };
    ask(store, seconds, Ask::Channel(ask_later))
}

#[test]
fn a_delayed_message_expires_from_when_it_is_due() {
    let mut store = store();
    delay(&mut store, 0.0, 10.0, "late");
    assert_eq!(store.next_due(), Some(Duration::from_secs(10)));
    assert_eq!(receive(&mut store, 9.9), None);
    ask(&mut store, 9.95, Ask::Cancel { request: 99, channel: name("c") });
    assert_eq!(receive(&mut store, 12.9).as_deref(), Some("late"));
    delay(&mut store, 13.0, 1.0, "later");
    assert_eq!(receive(&mut store, 17.1), None, "three seconds after it was due");
    assert_eq!(store.next_due(), None);
}

#[test]
fn a_waiting_reader_gets_a_delayed_message_when_it_is_due() {
    let mut store = store();
    assert_eq!(receive(&mut store, 0.0), None);
    delay(&mut store, 0.0, 1.0, "due");
    let effects = store.step(Duration::from_secs(1), Event::Tick);
    assert!(matches!(&effects[..], [Effect { tell: Tell::Received { .. }, .. }]), "{effects:?}");
}

#[test]
fn a_full_channel_takes_the_delayed_messages_that_are_due() {
    let mut store = store();
    delay(&mut store, 0.0, 1.0, "due");
    for i in 0..5 {
        send(&mut store, 0.1 + f64::from(i) / 10.0, "x");
    }
    assert!(matches!(send(&mut store, 0.9, "x")[..], [Tell::Full { .. }]));
    let texts: Vec<_> = (0..6).filter_map(|_| receive(&mut store, 1.0)).collect();
    assert_eq!(texts, ["x", "x", "x", "x", "x", "due"]);
}

#[test]
fn a_repeated_delayed_message_comes_once() {
    let mut store = store();
    for retry in [false, true, true] {
        let (key, channel, delay) = (key(1), name("c"), Duration::from_secs(1));
        let again = ChannelAsk::SendAfter { key, retry, channel, frame: frame("x"), delay };
        assert!(matches!(ask(&mut store, 0.0, Ask::Channel(again))[..], [Tell::Done { .. }]));
    }
    assert_eq!(receive(&mut store, 1.0).as_deref(), Some("x"));
    assert_eq!(receive(&mut store, 1.0), None);
}

#[test]
fn who_asked_hears_of_a_question_that_expired_unread() {
    let mut store = store();
    let call = |retry| {
        let (key, channel) = (key(1), name("c"));
        Ask::Channel(ChannelAsk::Call { key, retry, channel, frame: frame("x") })
    };
    for retry in [false, true] {
        let told = ask(&mut store, 0.0, call(retry));
        assert!(matches!(told[..], [Tell::Channel(ChannelTell::Called { .. })]), "{told:?}");
    }
    let told = ask(&mut store, 3.0, Ask::Receive { request: 99, channel: name("c") });
    let expected = ChannelTell::Answered { request: 1, frame: None };
    assert_eq!(told, [Tell::Channel(expected)]);
}

#[test]
fn a_channel_nobody_uses_is_forgotten_after_an_hour() {
    let mut store = store();
    send(&mut store, 0.0, "x");
    assert_eq!(receive(&mut store, 0.0).as_deref(), Some("x"));
    let inspect = Ask::Channel(ChannelAsk::Inspect { request: 1, channel: None });
    let channels = |told: Vec<Tell>| match &told[..] {
        [Tell::Channel(ChannelTell::Inspected { numbers, .. })] => numbers.channels,
        told => panic!("{told:?}"),
    };
    assert_eq!(channels(ask(&mut store, 3500.0, inspect.clone())), 1);
    store.step(Duration::from_secs(3601), Event::Tick);
    assert_eq!(channels(ask(&mut store, 3602.0, inspect)), 0);
}

/// What `worker` is told when it asks for the lock `l`.
fn lock(store: &mut Store, worker: u64, request: u64, retry: bool) -> Outcome {
    let action = Action::Lock { lasts: Duration::from_secs(60) };
    act(store, worker, (request, retry), action)
}

fn act(store: &mut Store, worker: u64, (request, retry): (u64, bool), action: Action) -> Outcome {
    let ask = ValueAsk { key: key(request), retry, name: "l".into(), action };
    let asked = Event::Asked(WorkerId(worker), Ask::Value(ask));
    let told = store.step(Duration::from_secs(1), asked).pop().map(|effect| effect.tell);
    let Some(Tell::Valued { outcome, .. }) = told else { panic!("{told:?}") };
    outcome
}

#[test]
fn a_lock_asked_for_again_is_never_anothers() {
    for is_free in [false, true] {
        let mut store = store();
        (2..=3).for_each(|id| drop(store.step(Duration::ZERO, Event::Connected(WorkerId(id)))));
        assert!(matches!(lock(&mut store, 1, 1, false), Outcome::Locked { .. }));
        // The answer is lost with the link.
        store.step(Duration::ZERO, Event::Gone(WORKER));
        let Outcome::Locked { token } = lock(&mut store, 2, 50, false) else { panic!("freed") };
        if is_free {
            act(&mut store, 2, (51, false), Action::Unlock { token });
        }
        match lock(&mut store, 3, 1, true) {
            Outcome::Locked { token: later } => assert!(is_free && later > token),
            outcome => assert!(!is_free && outcome == Outcome::No, "it is another's now"),
        }
    }
}

#[test]
fn a_lock_asked_for_again_over_a_new_link_is_that_links() {
    let mut store = store();
    (2..=3).for_each(|id| drop(store.step(Duration::ZERO, Event::Connected(WorkerId(id)))));
    let taken = lock(&mut store, 1, 1, false);
    assert_eq!(lock(&mut store, 3, 1, true), taken);
    store.step(Duration::ZERO, Event::Gone(WORKER));
    assert_eq!(lock(&mut store, 2, 50, false), Outcome::No);
    store.step(Duration::ZERO, Event::Gone(WorkerId(3)));
    assert!(matches!(lock(&mut store, 2, 51, false), Outcome::Locked { .. }));
}

/// A store to which a worker has begun to announce that it knows `g` up to 2.
fn recovering() -> Store {
    let mut store = Store::new(limits(), 100, Duration::from_millis(200));
    store.step(Duration::ZERO, Event::Connected(WORKER));
    ask(&mut store, 0.0, Ask::Hello { version: 3, resumed: true, latest: 0 });
    let (position, lineage) = (Position { epoch: 50, offset: 2 }, Lineage::default());
    ask(&mut store, 0.0, Ask::Announce { group: name("g"), position, lineage });
    store
}

#[test]
fn a_store_waits_for_a_worker_that_takes_long_to_tell_what_it_knows() {
    let mut store = recovering();
    let history = || Ask::History { request: 1, group: name("g"), since: None, limit: 9 };
    assert!(ask(&mut store, 1.0, history()).is_empty());
    for offset in [2, 1] {
        let (key, frame) = (key(offset), frame("x"));
        let entry = Entry { offset, key, of: 0, is_presence: false, frame };
        ask(&mut store, 2.0, Ask::AnnounceEntry { group: name("g"), epoch: 50, entry });
    }
    ask(&mut store, 2.0, Ask::Announced);
    let told = store.step(Duration::from_secs(2), Event::Tick).pop().map(|effect| effect.tell);
    assert!(matches!(&told, Some(Tell::History { entries, .. }) if entries.len() == 2), "{told:?}");
}

#[test]
fn a_store_waits_for_nobody_who_is_gone_or_takes_too_long() {
    for is_gone in [true, false] {
        let mut store = recovering();
        let other = WorkerId(2);
        store.step(Duration::ZERO, Event::Connected(other));
        let subscribe = Ask::Subscribe { request: 1, group: name("g") };
        store.step(Duration::ZERO, Event::Asked(other, subscribe));
        if is_gone {
            store.step(Duration::from_millis(100), Event::Gone(WORKER));
        }
        assert!(store.step(Duration::from_millis(150), Event::Tick).is_empty());
        let told = store.step(Duration::from_millis(900), Event::Tick);
        assert_eq!(told.is_empty(), !is_gone);
        assert_eq!(store.step(Duration::from_secs(3), Event::Tick).is_empty(), is_gone);
    }
}

#[test]
fn the_groups_with_the_most_make_room_and_keep_their_newest() {
    let mut store = store();
    for request in 1..=8 {
        publish(&mut store, 0.0, request, false);
    }
    store.history_bytes_max = store.history_bytes;
    let (group, frame) = (name("small"), frame("x"));
    ask(&mut store, 0.0, Ask::Publish { key: key(9), retry: false, group, frame });
    assert_eq!(store.topics[&name("g")].ring.len(), 6);
    assert_eq!(store.topics[&name("small")].ring.len(), 1, "not the one just sent to");
    let held: usize = store.topics.values().map(|topic| topic.ring.bytes()).sum();
    assert_eq!(store.history_bytes, held);
}

#[test]
fn a_channel_nobody_reads_any_more_is_forgotten_with_its_last_reader() {
    let mut store = store();
    assert_eq!(receive(&mut store, 0.0), None);
    assert_eq!(store.channels.read(), 1);
    send(&mut store, 0.0, "read");
    assert_eq!(store.channels.read(), 0);
    send(&mut store, 0.1, "there already");
    assert!(receive(&mut store, 0.1).is_some());
    assert_eq!(store.channels.read(), 0);
    for request in [99, 100] {
        ask(&mut store, 0.2, Ask::Receive { request, channel: name("c") });
    }
    ask(&mut store, 0.2, Ask::Cancel { request: 99, channel: name("c") });
    assert_eq!(store.channels.read(), 1, "one is left");
    ask(&mut store, 0.2, Ask::Cancel { request: 100, channel: name("c") });
    assert_eq!(store.channels.read(), 0);
}

#[test]
fn a_repeated_send_is_known_behind_all_that_was_under_way_with_it() {
    let mut store = store();
    let ask_to_send = |request, retry| {
        let (channel, frame) = (name("c"), frame("x"));
        Ask::Send { key: key(request), retry, channel, frame }
    };
    ask(&mut store, 0.0, ask_to_send(1, false));
    assert!(receive(&mut store, 0.0).is_some());
    for request in 2..2000 {
        ask(&mut store, 0.0, ask_to_send(request, false));
        assert!(receive(&mut store, 0.0).is_some());
    }
    ask(&mut store, 0.0, ask_to_send(1, true));
    assert_eq!(receive(&mut store, 0.0), None);
}

#[test]
fn what_is_given_back_goes_where_it_was() {
    let mut store = store();
    for text in ["1", "2", "3", "4"] {
        let seconds = text.parse::<f64>().unwrap() / 10.0;
        send(&mut store, seconds, text);
    }
    let mut taken = Vec::new();
    for _ in 0..3 {
        let told = ask(&mut store, 0.5, Ask::Receive { request: 99, channel: name("c") });
        let [Tell::Received { number, frame, .. }] = &told[..] else { panic!("{told:?}") };
        taken.push((*number, frame.clone()));
    }
    for place in [1, 0, 2] {
        let (number, frame) = taken[place].clone();
        ask(&mut store, 0.6, Ask::Return { channel: name("c"), number, frame });
    }
    for text in ["1", "2", "3", "4"] {
        assert_eq!(receive(&mut store, 0.7).as_deref(), Some(text));
    }
}

#[test]
fn what_lasts_for_ever_has_no_end() {
    let mut store = store();
    let for_ever = Duration::MAX;
    let set = Action::Set { bytes: "x".into(), lasts: Some(for_ever), when: When::Always };
    store.step(Duration::from_secs(1), Event::Tick);
    assert!(matches!(act(&mut store, 1, (1, false), set), Outcome::Done { .. }));
    let lock = Action::Lock { lasts: for_ever };
    assert!(matches!(act(&mut store, 1, (2, false), lock), Outcome::Locked { .. }));
    let count = Action::Count { by: 1, window: for_ever };
    assert!(matches!(act(&mut store, 1, (3, false), count), Outcome::Counted { .. }));
    let extend = Action::Touch { lasts: Some(for_ever) };
    assert!(matches!(act(&mut store, 1, (4, false), extend), Outcome::Done { .. }));
}

#[test]
fn who_is_here_but_was_told_to_have_left_is_told_to_be_here() {
    // The last that is known of them, and since when the store before counted them; it had not told
    // anybody of what came behind 50-2, and nobody here knows epoch 40.
    let (known, lost, before) = ((50, 1), (50, 3), (40, 1));
    for (last, since, is_told) in [
        ("left", known, true),
        ("joined", known, false),
        ("joined", lost, true),
        ("joined", before, true),
    ] {
        let mut store = recovering();
        let (key, grace) = ("ann".into(), Duration::ZERO);
        let since = Position { epoch: since.0, offset: since.1 };
        let (joined, left) = (frame("joined"), frame("left"));
        let person = Person { key, grace, since, joined, left };
        let (group, frame) = (name("g"), frame(last));
        let entry = Entry { offset: 2, key: Key::default(), of: 0, is_presence: true, frame };
        ask(&mut store, 0.0, Ask::AnnounceEntry { group: group.clone(), epoch: 50, entry });
        ask(&mut store, 0.0, Ask::AnnouncePerson { group, connection: 1, person });
        ask(&mut store, 0.0, Ask::Announced);
        let told = store.step(Duration::from_secs(1), Event::Tick);
        let tells = told.iter().filter(|effect| matches!(effect.tell, Tell::Deliver { .. }));
        assert_eq!(tells.count(), usize::from(is_told), "{told:?}");
    }
}
