//! Whole clusters in one process and in virtual time: the real store and the real tables, with
//! queues between them that a seed delays, cuts and loses. A failing seed replays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};

use super::members::{Part, Reply, Table};
use super::protocol::{Ask, Key, Person, Tell};
use super::store::{Event, SETTLE, Store, WorkerId};
use super::{Frame, GroupName, Limits, Message, Policy, Position};

const WORKERS: usize = 3;
const GROUPS: [&str; 2] = ["alpha", "beta"];
const STEPS: usize = 500;
const SEEDS: u64 = 1000;

pub(super) fn limits() -> Limits {
    Limits {
        history_messages: 40,
        history_bytes: 100_000,
        history_age: Duration::from_secs(300),
        presence_grace: Duration::from_millis(500),
        capacity: 5,
        expiry: Duration::from_secs(60),
        delayed: 3,
    }
}

/// splitmix64: enough chance for a test, and the same on every machine.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Client {
    id: u64,
    group: GroupName,
    /// Counted as present under this key, once the store has said so.
    key: Option<String>,
    /// Kept so that the request stays wanted; the answer is for the table.
    _subscribed: Option<oneshot::Receiver<Reply>>,
    entered: Option<(u64, oneshot::Receiver<Reply>)>,
    /// Who it believes is there; `None` until it is told.
    believed: Option<BTreeSet<String>>,
    seen: Vec<(Position, String)>,
}

struct Worker {
    table: Table,
    link: Option<WorkerId>,
    was_linked: bool,
    up: VecDeque<Ask>,
    down: VecDeque<Tell>,
    clients: Vec<Client>,
    published: Vec<(String, oneshot::Receiver<Reply>)>,
    /// What it was told, by place.
    told: BTreeMap<(GroupName, Position), String>,
}

struct World {
    seed: u64,
    chance: Chance,
    now: Duration,
    store: Option<Store>,
    epoch: u64,
    links: u64,
    workers: Vec<Worker>,
    messages: u64,
    /// What workers that are dead now were told by the store that runs.
    told_dead: BTreeMap<(GroupName, Position), String>,
    /// A store and a worker died together, or a store with a worker that did not read: who came
    /// and went then, some may not know.
    has_ghosts: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            chance: Chance::new(seed),
            now: Duration::ZERO,
            store: Some(Store::new(limits(), 1000, SETTLE)),
            epoch: 1000,
            links: 0,
            workers: Vec::new(),
            messages: 0,
            told_dead: BTreeMap::new(),
            has_ghosts: false,
        };
        for _ in 0..WORKERS {
            let worker = world.new_worker();
            world.workers.push(worker);
        }
        world
    }

    fn new_worker(&mut self) -> Worker {
        Worker {
            table: Table::new(limits(), self.chance.next() | 1),
            link: None,
            was_linked: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            clients: Vec::new(),
            published: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let Some(store) = &mut self.store else { return };
        for effect in store.step(self.now, event) {
            for worker in &mut self.workers {
                if worker.link.is_some_and(|link| effect.to.contains(&link)) {
                    worker.down.push_back(effect.tell.clone());
                }
            }
        }
    }

    fn link(&mut self, index: usize) {
        if self.store.is_none() || self.workers[index].link.is_some() {
            return;
        }
        self.links += 1;
        let id = WorkerId(self.links);
        let worker = &mut self.workers[index];
        worker.link = Some(id);
        worker.up = worker.table.reconnected(worker.was_linked).into();
        worker.was_linked = true;
        self.step(Event::Connected(id));
    }

    fn cut(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let Some(link) = worker.link.take() else { return };
        worker.up.clear();
        worker.down.clear();
        self.step(Event::Gone(link));
    }

    fn crash_store(&mut self) {
        let Some(store) = self.store.take() else { return };
        // A worker that was told nothing new may have had answers that tell more than it knows.
        let mut links = self.workers.iter().filter_map(|worker| worker.link);
        self.has_ghosts |= links.any(|link| store.is_blocked(link));
        self.told_dead.clear();
        for index in 0..self.workers.len() {
            // What the store had written is still read; what it had not is lost.
            let kept = self.chance.below(self.workers[index].down.len() + 1);
            for _ in 0..kept {
                self.hear(index);
            }
            let worker = &mut self.workers[index];
            worker.link = None;
            worker.up.clear();
            self.has_ghosts |= worker.down.iter().any(is_goodbye);
            worker.down.clear();
        }
    }

    fn start_store(&mut self) {
        if self.store.is_none() {
            self.epoch += 1000;
            self.store = Some(Store::new(limits(), self.epoch, SETTLE));
        }
    }

    fn kill(&mut self, index: usize) {
        let worker = &self.workers[index];
        let is_announced = worker.link.is_some()
            && !worker.up.iter().any(|ask| matches!(ask, Ask::AnnouncePerson { .. }));
        if !is_announced && !worker.clients.is_empty() {
            self.has_ghosts = true;
        }
        self.cut(index);
        let fresh = self.new_worker();
        let dead = std::mem::replace(&mut self.workers[index], fresh);
        self.told_dead.extend(dead.told);
    }

    fn speak(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let Some(link) = worker.link else { return };
        if let Some(ask) = worker.table.outgoing.pop_front() {
            worker.up.push_back(ask);
        }
        if let Some(ask) = worker.up.pop_front() {
            self.step(Event::Asked(link, ask));
        }
    }

    fn hear(&mut self, index: usize) {
        let now = self.now;
        let worker = &mut self.workers[index];
        let Some(tell) = worker.down.pop_front() else { return };
        if let Tell::Deliver { group, epoch, entry } = &tell {
            let position = Position { epoch: *epoch, offset: entry.offset };
            let text = text_of(&entry.frame);
            worker.told.insert((group.clone(), position), text);
        }
        worker.table.tell(now, tell);
    }

    fn publish(&mut self, index: usize) {
        self.messages += 1;
        let text = format!("message:{}", self.messages);
        let frame = Frame::new(&Message::from(text.as_str()));
        let group = self.group();
        let worker = &mut self.workers[index];
        let make = |key: Key| Ask::Publish { key, retry: false, group, frame };
        let (_, reply) = worker.table.request(make);
        worker.published.push((text, reply));
    }

    fn group(&mut self) -> GroupName {
        GroupName::new(GROUPS[self.chance.below(GROUPS.len())]).unwrap()
    }

    fn connect(&mut self, index: usize) {
        let group = self.group();
        let key = self.chance.one_in(2).then(|| format!("key{}", self.chance.below(4)));
        let worker = &mut self.workers[index];
        let id = worker.table.connect(Arc::new(Notify::new()));
        let mut subscribed = None;
        let part = if key.is_some() { Part::Enter } else { Part::Join(Policy::Close) };
        if worker.table.join(id, &group, part) == Some(false) {
            let name = group.clone();
            let make = |key: Key| Ask::Subscribe { request: key.request, group: name };
            subscribed = Some(worker.table.request(make).1);
        }
        let mut client = Client {
            id,
            group,
            key,
            _subscribed: subscribed,
            entered: None,
            believed: None,
            seen: Vec::new(),
        };
        if let Some(key) = &client.key {
            let person = Person {
                key: key.as_str().into(),
                grace: Duration::ZERO,
                joined: Frame::new(&Message::from(format!("joined:{key}"))),
                left: Frame::new(&Message::from(format!("left:{key}"))),
            };
            let (connection, group) = (id, client.group.clone());
            let make = |key: Key| Ask::Enter { request: key.request, group, connection, person };
            client.entered = Some(worker.table.request(make));
        }
        worker.clients.push(client);
    }

    fn disconnect(&mut self, index: usize) {
        let count = self.workers[index].clients.len();
        if count > 0 {
            let at = self.chance.below(count);
            let client = self.workers[index].clients.swap_remove(at);
            // A client that did not get its answer yet gives up its request, as a dropped future.
            if let Some((request, mut answer)) = client.entered
                && answer.try_recv().is_err()
            {
                self.workers[index].table.withdraw(request);
            }
            self.workers[index].table.disconnect(client.id);
        }
    }

    /// Lets one client read one message at a time, and checks each place.
    fn drain(&mut self, index: usize, at: usize) {
        let worker = &mut self.workers[index];
        let client = &mut worker.clients[at];
        client.hear_entered();
        loop {
            let mut out = BytesMut::new();
            let drained = worker.table.drain(client.id, &mut out, 1);
            if drained.is_overrun {
                let client = worker.clients.swap_remove(at);
                worker.table.disconnect(client.id);
                return;
            }
            if out.is_empty() {
                return;
            }
            let text = text_of(&Frame::parse(out.freeze()).unwrap());
            let position = worker.table.cursor_of(client.id, &client.group).unwrap();
            if let Some((last, _)) = client.seen.last() {
                let is_next = last.offset + 1 == position.offset && last.epoch <= position.epoch;
                assert!(is_next, "seed {}: {position:?} after {last:?}", self.seed);
            }
            client.believe(&text);
            client.seen.push((position, text));
        }
    }

    fn drain_some(&mut self) {
        let index = self.chance.below(WORKERS);
        let count = self.workers[index].clients.len();
        if count > 0 {
            let at = self.chance.below(count);
            self.drain(index, at);
        }
    }

    fn random_step(&mut self) {
        self.now += Duration::from_millis(self.chance.below(20) as u64);
        let index = self.chance.below(WORKERS);
        match self.chance.below(100) {
            0 => self.kill(index),
            1 => self.cut(index),
            2 if self.chance.one_in(3) => self.crash_store(),
            3..=8 => self.start_store(),
            9..=16 => self.link(index),
            17..=26 => self.publish(index),
            27..=32 => self.connect(index),
            33..=34 => self.disconnect(index),
            35 => {
                if let Some(link) = self.workers[index].link {
                    self.step(Event::Blocked(link));
                }
            }
            36..=40 => {
                if let Some(link) = self.workers[index].link {
                    self.step(Event::Drained(link));
                }
            }
            41..=60 => self.drain_some(),
            61..=80 => self.speak(index),
            _ => self.hear(index),
        }
    }

    /// Mends everything and lets it come to rest.
    fn settle(&mut self) {
        self.start_store();
        for index in 0..WORKERS {
            self.link(index);
        }
        for round in 0.. {
            assert!(round < 1000, "seed {}: never comes to rest", self.seed);
            self.now += Duration::from_secs(1);
            self.step(Event::Tick);
            let mut is_quiet = true;
            for index in 0..WORKERS {
                self.step(Event::Drained(self.workers[index].link.unwrap()));
                while {
                    let worker = &self.workers[index];
                    !worker.up.is_empty()
                        || !worker.table.outgoing.is_empty()
                        || !worker.down.is_empty()
                } {
                    is_quiet = false;
                    self.speak(index);
                    self.hear(index);
                }
                for at in (0..self.workers[index].clients.len()).rev() {
                    self.drain(index, at);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn check(&mut self) {
        self.check_order();
        self.check_answers();
        self.check_presence();
    }

    /// A place in a group's order has one message, whoever was told of it.
    fn check_order(&self) {
        let mut order: BTreeMap<&(GroupName, Position), &String> = BTreeMap::new();
        let alive = self.workers.iter().flat_map(|worker| &worker.told);
        for (place, text) in alive.chain(&self.told_dead) {
            let known = order.entry(place).or_insert(text);
            assert_eq!(*known, text, "seed {}: {place:?} has two messages", self.seed);
        }
        let mut places = BTreeMap::new();
        for ((group, position), text) in order {
            if text.starts_with("message") {
                let before = places.insert((group, position.epoch, text), position.offset);
                assert_eq!(before, None, "seed {}: {text} has two places", self.seed);
            }
        }
    }

    /// Every request is answered once the links are up.
    fn check_answers(&mut self) {
        for worker in &mut self.workers {
            for (text, reply) in &mut worker.published {
                let reply = reply.try_recv();
                assert!(
                    matches!(reply, Ok(Reply::Published(_))),
                    "seed {}: {text} got {reply:?}",
                    self.seed
                );
            }
        }
    }

    /// Who is counted is who is there, and everybody who watched knows it.
    fn check_presence(&self) {
        for group in GROUPS.map(|name| GroupName::new(name).unwrap()) {
            let clients = || self.workers.iter().flat_map(|worker| &worker.clients);
            let there: BTreeSet<String> = clients()
                .filter(|client| client.group == group)
                .filter_map(|client| client.key.clone())
                .collect();
            let counted = self.store.as_ref().unwrap().present(&group);
            assert_eq!(counted, there, "seed {}: presence in {group}", self.seed);
            if self.has_ghosts {
                continue;
            }
            for client in clients().filter(|client| client.group == group) {
                if let Some(believed) = &client.believed {
                    assert_eq!(*believed, there, "seed {}: beliefs in {group}", self.seed);
                }
            }
        }
    }
}

impl Client {
    fn hear_entered(&mut self) {
        if let Some((_, entered)) = &mut self.entered
            && let Ok(Reply::Entered { roster, .. }) = entered.try_recv()
        {
            let mut believed: BTreeSet<String> = self.key.iter().cloned().collect();
            believed.extend(
                roster.iter().map(|f| text_of(f).strip_prefix("joined:").unwrap().to_owned()),
            );
            self.believed = Some(believed);
        }
    }

    fn believe(&mut self, text: &str) {
        let Some(believed) = &mut self.believed else { return };
        match text.split_once(':') {
            Some(("joined", key)) => believed.insert(key.to_owned()),
            Some(("left", key)) => believed.remove(key),
            _ => false,
        };
    }
}

/// Whether somebody's end is told, which a dead worker cannot announce again.
fn is_goodbye(tell: &Tell) -> bool {
    matches!(tell, Tell::Deliver { entry, .. } if text_of(&entry.frame).starts_with("left"))
}

fn text_of(frame: &Frame) -> String {
    frame.message().text().unwrap().to_owned()
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for index in 0..WORKERS {
        world.link(index);
    }
    for _ in 0..STEPS {
        world.random_step();
    }
    world.settle();
    world.check();
}

#[test]
fn groups_keep_one_order_and_exact_presence_in_random_schedules() {
    let first = std::env::var("HULSE_SEED").ok().and_then(|seed| seed.parse().ok());
    match first {
        Some(seed) => run(seed),
        None => (0..SEEDS).for_each(run),
    }
}
