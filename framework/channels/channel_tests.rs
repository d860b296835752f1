//! Named channels in random schedules: the real store and the real tables, with queues between them
//! that a seed delays and cuts. A failing seed replays (`HULSE_SEED`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::calls::ChannelAsk;
use super::members::Reply;
use super::protocol::{Ask, Key};
use super::store::{Event, SETTLE, Store, WorkerId};
use super::tests::wires::{Chance, End, step};
use super::tests::{limits, seed_to_replay};
use super::{Frame, GroupName, Message};

const WORKERS: usize = 3;
const CHANNELS: [&str; 2] = ["emails", "thumbnails"];
const STEPS: usize = 400;
const SEEDS: u64 = 500;

type Answer = oneshot::Receiver<Reply>;

struct Worker {
    end: End,
    /// Messages under way, by their number.
    sent: Vec<(u64, Answer)>,
    /// Questions under way.
    asked: Vec<(u64, Answer)>,
    /// Readers that wait, with their requests.
    reading: Vec<(u64, Answer)>,
}

struct World {
    seed: u64,
    chance: Chance,
    now: Duration,
    store: Store,
    links: u64,
    workers: Vec<Worker>,
    messages: u64,
    /// What became of each message.
    fates: BTreeMap<u64, Fate>,
    /// Links are cut.
    cuts: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    is_taken: bool,
    is_refused: bool,
    read: u32,
    /// How often its asker was told something.
    answered: u32,
}

impl World {
    fn new(seed: u64, cuts: bool) -> Self {
        let mut chance = Chance::new(seed);
        let worker = |session: u64| Worker {
            end: End::new(session),
            sent: Vec::new(),
            asked: Vec::new(),
            reading: Vec::new(),
        };
        let workers = (0..WORKERS).map(|_| worker(chance.next())).collect();
        let (store, now) = (Store::new(limits(), 1000, SETTLE), Duration::ZERO);
        let fates = BTreeMap::new();
        Self { seed, chance, now, store, links: 0, workers, messages: 0, fates, cuts }
    }

    fn step(&mut self, event: Event) {
        let ends = self.workers.iter_mut().map(|worker| &mut worker.end);
        step(&mut self.store, self.now, event, ends);
    }

    fn link(&mut self, index: usize) {
        if self.workers[index].end.link.is_some() {
            return;
        }
        self.links += 1;
        let id = WorkerId(self.links);
        self.workers[index].end.link(id);
        self.step(Event::Connected(id));
    }

    fn cut(&mut self, index: usize) {
        if let Some(link) = self.workers[index].end.cut() {
            self.step(Event::Gone(link));
        }
    }

    fn speak(&mut self, index: usize) {
        if let Some(event) = self.workers[index].end.say() {
            self.step(event);
        }
    }

    fn hear(&mut self, index: usize) {
        let now = self.now;
        let worker = &mut self.workers[index];
        if let Some(tell) = worker.end.down.pop_front() {
            worker.end.table.tell(now, tell);
        }
    }

    fn send(&mut self, index: usize) {
        self.messages += 1;
        let number = self.messages;
        self.fates.insert(number, Fate::default());
        let channel = GroupName::new(CHANNELS[self.chance.below(2)]).unwrap();
        let frame = Frame::new(&Message::from(number.to_string()));
        let kind = self.chance.below(4);
        let delay = Duration::from_millis(self.chance.below(500) as u64);
        let worker = &mut self.workers[index];
        let (_, answer) = worker.end.table.request(|key| match kind {
            0 => Ask::Channel(ChannelAsk::SendAfter { key, retry: false, channel, frame, delay }),
            1 => Ask::Channel(ChannelAsk::Call { key, retry: false, channel, frame }),
            _ => Ask::Send { key, retry: false, channel, frame },
        });
        let under_way = if kind == 1 { &mut worker.asked } else { &mut worker.sent };
        under_way.push((number, answer));
    }

    fn receive(&mut self, index: usize) {
        let channel = GroupName::new(CHANNELS[self.chance.below(2)]).unwrap();
        let worker = &mut self.workers[index];
        let make = |key: Key| Ask::Receive { request: key.request, channel };
        worker.reading.push(worker.end.table.request(make));
    }

    /// As a dropped future does.
    fn cancel(&mut self, index: usize) {
        let count = self.workers[index].reading.len();
        if count == 0 {
            return;
        }
        let at = self.chance.below(count);
        let worker = &mut self.workers[index];
        let (request, mut answer) = worker.reading.swap_remove(at);
        answer.close();
        match answer.try_recv() {
            Ok(reply) => worker.end.table.give_back(reply),
            Err(_) => worker.end.table.withdraw(request),
        }
    }

    /// Looks at what came: readers read, and answer who asked.
    fn look(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let mut read = Vec::new();
        worker.reading.retain_mut(|(_, answer)| match answer.try_recv() {
            Ok(Reply::Received { frame, asker, .. }) => {
                read.push((number(&frame), asker));
                false
            }
            Ok(reply) => panic!("{reply:?}"),
            Err(_) => true,
        });
        for (number, asker) in read {
            self.fates.get_mut(&number).unwrap().read += 1;
            let Some(asker) = asker else { continue };
            // Some handlers end without an answer.
            let text = Message::from(number.to_string());
            let frame = self.chance.one_in(2).then(|| Frame::new(&text));
            self.workers[index].end.table.order(|key| {
                Ask::Channel(ChannelAsk::Answer { request: key.request, asker, frame })
            });
        }
        self.look_at_answers(index);
    }

    fn look_at_answers(&mut self, index: usize) {
        let (fates, seed) = (&mut self.fates, self.seed);
        let worker = &mut self.workers[index];
        worker.sent.retain_mut(|(number, answer)| {
            let Ok(reply) = answer.try_recv() else { return true };
            let fate = fates.get_mut(number).unwrap();
            match reply {
                Reply::Done => fate.is_taken = true,
                Reply::Full => fate.is_refused = true,
                reply => panic!("seed {seed}: {reply:?}"),
            }
            false
        });
        worker.asked.retain_mut(|(asked, answer)| {
            let Ok(reply) = answer.try_recv() else { return true };
            let fate = fates.get_mut(asked).unwrap();
            match reply {
                Reply::Full => fate.is_refused = true,
                Reply::Answered(frame) => {
                    fate.answered += 1;
                    let answer = frame.as_ref().map(number);
                    assert!(answer.is_none_or(|of| of == *asked), "seed {seed}: another's answer");
                }
                reply => panic!("seed {seed}: {reply:?}"),
            }
            false
        });
    }

    fn random_step(&mut self) {
        self.now += Duration::from_millis(self.chance.below(20) as u64);
        let index = self.chance.below(WORKERS);
        match self.chance.below(100) {
            0 if self.cuts => self.cut(index),
            0..=3 => self.link(index),
            4..=15 => self.send(index),
            16..=27 => self.receive(index),
            28..=33 => self.cancel(index),
            34..=63 => self.speak(index),
            64..=90 => self.hear(index),
            _ => self.look(index),
        }
    }

    /// Mends everything and reads all there is.
    fn settle(&mut self) {
        for index in 0..WORKERS {
            self.link(index);
        }
        for round in 0..100 {
            self.now += Duration::from_millis(50);
            self.step(Event::Tick);
            for index in 0..WORKERS {
                if round < 90 {
                    self.receive(index);
                }
                for _ in 0..200 {
                    self.speak(index);
                    self.hear(index);
                }
                self.look(index);
            }
        }
    }

    fn check(&self) {
        let seed = self.seed;
        for worker in &self.workers {
            assert!(worker.sent.is_empty(), "seed {seed}: a sender waits for ever");
            // The answer to a question may have been lost with a link.
            assert!(self.cuts || worker.asked.is_empty(), "seed {seed}: an asker waits for ever");
        }
        for (number, fate) in &self.fates {
            assert!(fate.read <= 1, "seed {seed}: {number} was read twice: {fate:?}");
            assert!(!(fate.is_refused && fate.read > 0), "seed {seed}: {number}: {fate:?}");
            let is_kept = fate.is_taken || fate.answered > 0;
            assert!(self.cuts || !is_kept || fate.read == 1, "seed {seed}: {number} is lost");
        }
        let read: u32 = self.fates.values().map(|fate| fate.read).sum();
        assert!(read > 0, "seed {seed}: nothing was read");
    }
}

fn number(frame: &Frame) -> u64 {
    frame.message().text().unwrap().parse().unwrap()
}

fn run(seed: u64, cuts: bool) {
    let mut world = World::new(seed, cuts);
    (0..WORKERS).for_each(|index| world.link(index));
    (0..STEPS).for_each(|_| world.random_step());
    world.settle();
    world.check();
}

fn run_seeds(cuts: bool) {
    match seed_to_replay() {
        Some(seed) => run(seed, cuts),
        None => (0..SEEDS).for_each(|seed| run(seed, cuts)),
    }
}

#[test]
fn every_message_of_a_channel_is_read_once_whoever_cancels() {
    run_seeds(false);
}

#[test]
fn no_message_of_a_channel_is_read_twice_though_links_are_cut() {
    run_seeds(true);
}
