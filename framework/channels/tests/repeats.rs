//! What is said again after everybody who took part in it has been replaced: it is known.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};

use super::limits;
use super::wires::{End, step};
use crate::channels::members::{Part, Reply};
use crate::channels::protocol::{Ask, Entry, Key};
use crate::channels::ring::{NAMES_AGE, Ring};
use crate::channels::store::{Event, SETTLE, Store, WorkerId};
use crate::channels::{Frame, GroupName, Message, Policy, wire};

/// Two workers and a store, all of whom may be replaced.
struct Site {
    store: Store,
    epoch: u64,
    links: u64,
    now: Duration,
    workers: [End; 2],
}

fn group() -> GroupName {
    GroupName::new("alpha").unwrap()
}

impl Site {
    /// Two workers with a member each.
    fn new() -> Self {
        let (store, workers) = (Store::new(limits(), 1000, SETTLE), [End::new(1), End::new(3)]);
        let mut site = Self { store, epoch: 1000, links: 0, now: Duration::ZERO, workers };
        for worker in [0, 1] {
            site.link(worker);
            site.join(worker);
        }
        site
    }

    fn step(&mut self, event: Event) {
        step(&mut self.store, self.now, event, self.workers.iter_mut());
    }

    fn link(&mut self, worker: usize) {
        self.links += 1;
        let id = WorkerId(self.links);
        self.workers[worker].link(id);
        self.step(Event::Connected(id));
    }

    /// All that `worker` has to say is heard.
    fn speak(&mut self, worker: usize) {
        while let Some(event) = self.workers[worker].say() {
            if let Event::Asked(_, ask) = &event {
                let mut bytes = BytesMut::new();
                wire::encode_ask(ask, &mut bytes);
                assert!(matches!(wire::next_ask(&mut bytes), Ok(Some(read)) if read == *ask));
            }
            self.step(event);
        }
    }

    /// It hears all there is for it.
    fn hear(&mut self, worker: usize) {
        self.speak(worker);
        self.now += Duration::from_secs(1);
        self.step(Event::Tick);
        while let Some(tell) = self.workers[worker].down.pop_front() {
            let mut bytes = BytesMut::new();
            wire::encode_tell(&tell, &mut bytes);
            assert!(matches!(wire::next_tell(&mut bytes), Ok(Some(read)) if read == tell));
            self.workers[worker].table.tell(self.now, tell);
        }
    }

    fn join(&mut self, worker: usize) {
        let table = &mut self.workers[worker].table;
        let id = table.connect(Arc::new(Notify::new()));
        assert_eq!(table.join(id, &group(), Part::Join(Policy::Close)), Some(false));
        let make = |key: Key| Ask::Subscribe { request: key.request, group: group() };
        // As long as somebody waits.
        let _subscribed = table.request(make);
        self.hear(worker);
        assert!(self.workers[worker].table.cursor_of(id, &group()).is_some());
    }

    /// A worker is killed, and the next one has a member too.
    fn replace(&mut self, worker: usize) {
        let link = self.workers[worker].cut().expect("it was linked");
        self.step(Event::Gone(link));
        self.workers[worker] = End::new(100 + self.links * 2);
        self.link(worker);
        self.join(worker);
    }

    /// The store is killed; who lives announces to the next one what it knows.
    fn replace_store(&mut self) {
        self.epoch += 1000;
        self.store = Store::new(limits(), self.epoch, SETTLE);
        for worker in [0, 1] {
            self.workers[worker].cut();
            self.link(worker);
            self.speak(worker);
        }
        self.now += Duration::from_secs(1);
        self.step(Event::Tick);
    }

    /// A client of `worker` says what it calls `name`; its place.
    fn say(&mut self, worker: usize, name: &str) -> u64 {
        let frame = Frame::new(&Message::from(name));
        let (key, group) = (Key::named(name).unwrap(), group());
        let make = |asked: Key| Ask::PublishOnce { request: asked.request, key, group, frame };
        let (_, mut reply): (_, oneshot::Receiver<Reply>) =
            self.workers[worker].table.request(make);
        self.hear(worker);
        match reply.try_recv() {
            Ok(Reply::Published(position)) => position.offset,
            other => panic!("{other:?}"),
        }
    }

    fn top(&self) -> u64 {
        self.store.top(&group()).unwrap().offset
    }
}

#[test]
fn what_was_said_before_the_workers_came_is_known_by_the_store_that_follows() {
    let mut site = Site::new();
    assert_eq!([site.say(0, "one"), site.say(1, "two")], [1, 2]);
    for _ in 0..3 {
        (0..2).for_each(|worker| site.replace(worker));
        site.replace_store();
        assert_eq!([site.say(1, "one"), site.say(0, "two")], [1, 2]);
        assert_eq!(site.top(), 2, "nobody hears them twice");
    }
    assert_eq!(site.say(1, "three"), 3);
}

#[test]
fn what_a_worker_holds_counts_though_it_has_not_heard_of_the_store_between() {
    let mut site = Site::new();
    assert_eq!(site.say(0, "one"), 1);
    site.hear(1);
    site.replace_store();
    site.hear(1);
    // So late that the next one is told nothing of what was.
    site.now += NAMES_AGE;
    site.replace(1);
    // Now 0 calls the place by the first store's name, and 1 by the second's.
    site.replace_store();
    assert_eq!(site.store.kept(&group()), 1, "its history is there");
    assert_eq!(site.say(1, "one"), 1);
}

#[test]
fn what_lies_behind_the_end_of_a_later_order_is_lost_and_said_again() {
    let mut site = Site::new();
    assert_eq!(site.say(0, "one"), 1);
    site.hear(1);
    assert_eq!(site.say(0, "two"), 2);
    // The next store has that of 0, and dies when it has told 1 what its place is called now.
    site.replace_store();
    let renewed = site.workers[1].down.pop_front().expect("it has a new name");
    site.workers[1].table.tell(site.now, renewed);
    site.replace_store();
    assert_eq!(site.top(), 1, "the later order is the one that counts");
    assert_eq!((site.say(1, "one"), site.say(1, "two")), (1, 2));
    assert_eq!(site.top(), 2, "it was said again");
}

#[test]
fn behind_a_hole_names_are_known_and_no_more_of_them_than_may_be() {
    let (mut ring, now) = (Ring::default(), Duration::ZERO);
    let entry = |offset: u64| {
        let key = Key { session: 1, request: offset };
        Entry { offset, key, of: 0, is_presence: false, frame: Frame::new(&Message::from("x")) }
    };
    for offset in (1..=20).chain(31..=40) {
        ring.push(now, entry(offset), &limits());
    }
    assert_eq!((ring.len(), ring.first()), (10, Some(31)));
    assert!((1..=20).chain(31..=40).all(|offset| ring.find(entry(offset).key) == Some(offset)));
    assert_eq!(ring.find_named(entry(7).key), Some(7));
    assert_eq!(ring.names(31, now).map(|name| name.offset).collect::<Vec<_>>()[..2], [20, 19]);
    for offset in 41..=2000 {
        ring.push(now, entry(offset), &limits());
    }
    let bytes = ring.bytes();
    assert!(bytes <= limits().history_bytes, "{bytes}");
    ring.trim(limits().history_age + Duration::from_secs(1), &limits());
    assert_eq!(
        (ring.bytes(), ring.find(entry(7).key), ring.find_named(entry(7).key)),
        (0, None, None)
    );
}
