//! Random schedules on real Redis servers: workers are killed, links cut and frozen, servers
//! killed, stopped and started again, while clients come and go, on whatever worker, and others
//! publish. What they saw has one order, no hole and nothing twice, unless they were told of a gap,
//! and one that there is; who is present is exact in the end, and everybody who watched knows it.
//!
//! `HULSE_TEST_LONG` tries 100 seeds of each kind; `HULSE_SEED=n` tries that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hulse::channels::{Connection, Layer, Position};
use hulse::conf;
use hulse_tests::{Network, RedisServer};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cluster::{WAIT, name, presence, redis_url, texts, until};

const WORKERS: usize = 3;
const GROUPS: [&str; 2] = ["alpha", "beta"];
const TRAVELLERS: usize = 4;
const PEOPLE: usize = 3;
/// Messages a group keeps: more than a schedule has.
const HISTORY: usize = 4096;
/// How long things go wrong.
const CHAOS: Duration = Duration::from_millis(1200);
const SEEDS: u64 = 2;
const SEEDS_LONG: u64 = 100;
/// The last message of a group.
const END: &str = "end";

/// splitmix64: the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn millis(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.below(most) as u64)
    }

    /// Another one, its own.
    fn split(&mut self) -> Self {
        Self((self.below(usize::MAX) as u64) << 1)
    }
}

/// A worker, until it is killed.
struct Worker {
    layer: Layer,
    killed: watch::Sender<()>,
}

/// What all know of.
struct World {
    seed: u64,
    /// By whom a worker that is killed is forgotten.
    workers: Mutex<Vec<Worker>>,
    urls: Vec<String>,
    /// Redis keeps what it has been told through its death.
    is_kept: bool,
    /// It has died.
    has_died: AtomicBool,
    /// Everything is mended; whoever is away comes, and stays.
    is_over: watch::Sender<bool>,
    /// What is where. The epoch counts only where it tells lives of Redis apart.
    places: Mutex<BTreeMap<(&'static str, Position), String>>,
    recovered: AtomicU64,
    gaps: AtomicU64,
}

fn settings() -> conf::Channels {
    conf::Channels { history_messages: HISTORY, send_wait_seconds: 2, ..Default::default() }
}

/// What a killed worker does to whoever is at it.
#[derive(Debug)]
struct Killed;

impl World {
    fn worker(&self, index: usize) -> Worker {
        let layer = Layer::redis(&self.urls[index], &settings()).expect("a good URL");
        Worker { layer, killed: watch::Sender::new(()) }
    }

    fn kill(&self, index: usize) {
        // Whoever waits at it hears that the sender is gone.
        let fresh = self.worker(index);
        drop(std::mem::replace(&mut self.workers.lock().unwrap()[index], fresh));
    }

    fn connect(&self, index: usize) -> (Connection, Arc<Notify>, watch::Receiver<()>) {
        let wake = Arc::new(Notify::new());
        let workers = self.workers.lock().unwrap();
        let worker = &workers[index];
        (worker.layer.connect(Arc::clone(&wake)), wake, worker.killed.subscribe())
    }

    fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// A message is at a place, and there is no other.
    fn note(&self, group: &'static str, position: Position, text: &str) {
        let epoch = if self.is_kept { 0 } else { position.epoch };
        let place = (group, Position { epoch, ..position });
        let mut places = self.places.lock().unwrap();
        let known = places.entry(place).or_insert_with(|| text.to_owned());
        assert_eq!(known, text, "seed {}: {group} at {position}", self.seed);
    }

    async fn publish(&self, index: usize, group: &'static str, text: String) {
        let (layer, mut killed) = {
            let workers = self.workers.lock().unwrap();
            (workers[index].layer.clone(), workers[index].killed.subscribe())
        };
        let (name, message) = (name(group), text.as_str().into());
        let published = tokio::select! {
            biased;
            _ = killed.changed() => None,
            published = layer.publish(&name, message) => published.ok(),
        };
        if let Some(position) = published {
            self.note(group, position, &text);
        }
    }
}

/// Ends with `work`, or with its worker.
async fn alive<T>(
    killed: &mut watch::Receiver<()>,
    work: impl Future<Output = T>,
) -> Result<T, Killed> {
    tokio::select! {
        biased;
        _ = killed.changed() => Err(Killed),
        done = work => Ok(done),
    }
}

/// A client that comes back with the place it was at.
struct Traveller {
    world: Arc<World>,
    group: &'static str,
    chance: Chance,
    last: Option<Position>,
    /// Since it was told that something is lost.
    seen: BTreeMap<String, Position>,
}

impl Traveller {
    async fn travel(mut self) {
        while !self.has_ended() {
            // A killed worker is left like any other.
            let _killed = self.stay().await;
        }
    }

    fn has_ended(&self) -> bool {
        self.seen.contains_key(END)
    }

    async fn stay(&mut self) -> Result<(), Killed> {
        let (connection, wake, mut killed) = self.world.connect(self.chance.below(WORKERS));
        let group = name(self.group);
        let joining = connection.listen_at(&group, self.last);
        let joined = match alive(&mut killed, joining).await? {
            Ok(joined) => joined,
            Err(error) => {
                assert!(error.is_layer_unavailable(), "seed {}: {error}", self.world.seed);
                return Ok(());
            }
        };
        self.arrive(joined.position, joined.recovered);
        let going = Instant::now() + self.chance.millis(200);
        let mut is_over = self.world.is_over.subscribe();
        while !self.has_ended() {
            match connection.hear(1) {
                // It is closed, and comes back with what it has.
                Err(_) => return Ok(()),
                Ok(heard) if heard.is_empty() => {
                    let waiting = async {
                        tokio::select! {
                            () = wake.notified() => false,
                            () = until(going), if !self.world.is_over() => true,
                            _ = is_over.changed() => false,
                        }
                    };
                    if alive(&mut killed, waiting).await? {
                        return Ok(());
                    }
                }
                Ok(heard) => {
                    for (_, delivery) in heard {
                        self.read(delivery.position, delivery.message.text().expect("a text"));
                    }
                }
            }
        }
        Ok(())
    }

    fn arrive(&mut self, position: Position, recovered: bool) {
        let world = &self.world;
        match self.last {
            Some(last) if recovered => {
                assert_eq!(last.offset, position.offset, "seed {}", world.seed);
                world.recovered.fetch_add(1, Ordering::Relaxed);
            }
            Some(last) => {
                // The history is longer than a schedule: only a Redis that died may lose it.
                let is_lost = !world.is_kept && world.has_died.load(Ordering::Relaxed);
                let why = format!("seed {}: {last}, now {position}", world.seed);
                assert!(is_lost && last.epoch != position.epoch, "a gap without a cause, {why}");
                world.gaps.fetch_add(1, Ordering::Relaxed);
                self.seen.clear();
            }
            None => {}
        }
        self.last = Some(position);
    }

    fn read(&mut self, position: Position, text: &str) {
        let (seed, last) = (self.world.seed, self.last.expect("it has arrived"));
        let is_next = last.offset + 1 == position.offset && last.epoch <= position.epoch;
        assert!(is_next, "seed {seed}: {position} after {last}");
        self.world.note(self.group, position, text);
        self.last = Some(position);
        let before = self.seen.insert(text.to_owned(), position);
        let is_news = text.contains(" joined") || text.contains(" left");
        assert!(before.is_none() || is_news, "seed {seed}: {text} at {before:?} and {position}");
    }
}

/// Somebody who is present, and believes what is said of others.
struct Person {
    world: Arc<World>,
    group: &'static str,
    key: String,
    chance: Chance,
}

impl Person {
    /// Comes and goes; whom it believes to be there in the end.
    async fn live(mut self) -> BTreeSet<String> {
        loop {
            if let Ok(Some(believed)) = self.stay().await {
                return believed;
            }
        }
    }

    async fn stay(&mut self) -> Result<Option<BTreeSet<String>>, Killed> {
        let (connection, wake, mut killed) = self.world.connect(self.chance.below(WORKERS));
        let group = name(self.group);
        let who = presence(&self.key);
        let entering = async {
            connection.listen(&group).await?;
            connection.enter(&group, &who).await
        };
        let Ok(entered) = alive(&mut killed, entering).await? else { return Ok(None) };
        let mut believed = BTreeSet::from([self.key.clone()]);
        texts(&entered.roster).iter().for_each(|text| believe(&mut believed, text));
        let going = Instant::now() + self.chance.millis(300);
        let mut is_over = self.world.is_over.subscribe();
        loop {
            let Ok(heard) = connection.hear(1) else { return Ok(None) };
            if heard.is_empty() {
                let waiting = async {
                    tokio::select! {
                        () = wake.notified() => false,
                        () = until(going), if !self.world.is_over() => true,
                        _ = is_over.changed() => false,
                    }
                };
                if alive(&mut killed, waiting).await? {
                    return Ok(None);
                }
            }
            for (_, delivery) in heard {
                match delivery.message.text() {
                    Some(END) => return Ok(Some(believed)),
                    text => believe(&mut believed, text.expect("a text")),
                }
            }
        }
    }
}

fn believe(believed: &mut BTreeSet<String>, text: &str) {
    match text.split_once(' ') {
        Some((key, "joined")) => drop(believed.insert(key.to_owned())),
        Some((key, "left")) => drop(believed.remove(key)),
        _ => {}
    }
}

/// The servers, and the ways to them.
struct Servers {
    servers: Vec<RedisServer>,
    /// Of each worker to each server; the same for all workers if there are several servers, which
    /// would be others under other names.
    networks: Vec<Vec<Arc<Network>>>,
}

impl Servers {
    async fn start(count: usize, is_kept: bool) -> Option<Self> {
        let kept = if is_kept { "yes" } else { "no" };
        let arguments = ["--save", "", "--appendonly", kept, "--appendfsync", "always"];
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(RedisServer::start_with(&arguments).await?);
        }
        let mut networks: Vec<Vec<Arc<Network>>> = Vec::new();
        for _ in 0..WORKERS {
            let shared = networks.first().filter(|_| count > 1).cloned();
            let mut own = Vec::new();
            for server in servers.iter().filter(|_| shared.is_none()) {
                own.push(Arc::new(Network::before(&server.host()).await));
            }
            networks.push(shared.unwrap_or(own));
        }
        Some(Self { servers, networks })
    }

    fn hosts(&self, worker: usize) -> Vec<String> {
        self.networks[worker].iter().map(|network| network.host().to_owned()).collect()
    }

    /// Something goes wrong.
    async fn fail(&mut self, world: &World, chance: &mut Chance) {
        let worker = chance.below(WORKERS);
        let server = chance.below(self.servers.len());
        let network = Arc::clone(&self.networks[worker][server]);
        let server = &mut self.servers[server];
        let begun = Instant::now();
        match chance.below(12) {
            0..=2 => world.kill(worker),
            3 | 4 => network.cut(),
            5 => network.freeze(),
            6 => network.hold_answers(),
            7 => network.thaw(),
            8 => {
                server.freeze();
                until(begun + chance.millis(150)).await;
                server.thaw();
            }
            9 => {
                server.kill().await;
                world.has_died.store(true, Ordering::Relaxed);
                until(begun + chance.millis(150)).await;
                server.start_again().await;
            }
            _ => {
                // One connection of the latest.
                let newest = server.command("CLIENT ID").await;
                let newest: usize = newest[1..].parse().expect("a number");
                let doomed = newest.saturating_sub(chance.below(10));
                server.command(&format!("CLIENT KILL ID {doomed}")).await;
            }
        }
    }

    fn mend(&self) {
        self.networks.iter().flatten().for_each(|network| network.thaw());
    }
}

/// Runs a schedule: how many went on from where they were, and how many were told of a gap.
async fn run(seed: u64, servers: &mut Servers, is_kept: bool) -> (u64, u64) {
    let mut chance = Chance(seed);
    let prefix = redis_url(&[]).rsplit_once('=').expect("a prefix").1.to_owned();
    let url = |worker| format!("redis://{}/0?prefix={prefix}", servers.hosts(worker).join(","));
    let world = Arc::new(World {
        seed,
        workers: Mutex::default(),
        urls: (0..WORKERS).map(url).collect(),
        is_kept,
        has_died: AtomicBool::new(false),
        is_over: watch::Sender::new(false),
        places: Mutex::default(),
        recovered: AtomicU64::new(0),
        gaps: AtomicU64::new(0),
    });
    *world.workers.lock().unwrap() = (0..WORKERS).map(|index| world.worker(index)).collect();
    let (mut travellers, mut people) = (JoinSet::new(), JoinSet::new());
    for number in 0..TRAVELLERS {
        let (world, group) = (Arc::clone(&world), GROUPS[number % 2]);
        let chance = chance.split();
        travellers
            .spawn(Traveller { world, group, chance, last: None, seen: BTreeMap::new() }.travel());
    }
    for group in GROUPS {
        for number in 0..PEOPLE {
            let (world, key) = (Arc::clone(&world), format!("key{number}"));
            people.spawn(Person { world, group, key, chance: chance.split() }.live());
        }
    }
    let mut publishing = JoinSet::new();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < CHAOS {
        until(Instant::now() + chance.millis(6)).await;
        if chance.one_in(15) {
            servers.fail(&world, &mut chance).await;
        }
        let (world, index) = (Arc::clone(&world), chance.below(WORKERS));
        let group = GROUPS[chance.below(2)];
        count += 1;
        publishing.spawn(async move { world.publish(index, group, format!("{count}")).await });
    }
    servers.mend();
    world.is_over.send_replace(true);
    while let Some(done) = publishing.join_next().await {
        done.expect("its place is its own");
    }
    settle(&world, &mut travellers, &mut people).await;
    (world.recovered.load(Ordering::Relaxed), world.gaps.load(Ordering::Relaxed))
}

/// Lets everything come to rest, and says that this is the end.
async fn settle(
    world: &World,
    travellers: &mut JoinSet<()>,
    people: &mut JoinSet<BTreeSet<String>>,
) {
    let seed = world.seed;
    let layers: Vec<Layer> =
        world.workers.lock().unwrap().iter().map(|worker| worker.layer.clone()).collect();
    let there: BTreeSet<String> = (0..PEOPLE).map(|number| format!("key{number}")).collect();
    for group in GROUPS {
        let mut counted = BTreeSet::new();
        let counting = async {
            while counted != there {
                let Ok(present) = layers[0].present(&name(group)).await else { continue };
                assert!(present.iter().all(|one| there.contains(&one.key)), "seed {seed}");
                let once = present.into_iter().filter(|one| one.connections == 1);
                counted = once.map(|one| one.key).collect();
            }
        };
        let is_exact = timeout(WAIT, counting).await.is_ok();
        assert!(is_exact, "seed {seed}: {group} counts {counted:?}");
    }
    // Who is told of a gap begins anew, and that may be behind what is said once.
    let mut saying = tokio::time::interval(Duration::from_millis(300));
    let ending = async {
        loop {
            saying.tick().await;
            for group in GROUPS {
                let said = layers[0].publish(&name(group), END.into()).await;
                assert!(said.is_ok(), "seed {seed}: {said:?}");
            }
            if world.is_kept {
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = timeout(WAIT, async {
        while let Some(done) = travellers.join_next().await {
            done.expect("what it saw is right");
        }
        while let Some(believed) = people.join_next().await {
            assert_eq!(believed.expect("it lives"), there, "seed {seed}: beliefs");
        }
    });
    tokio::select! {
        ended = ended => assert!(ended.is_ok(), "seed {seed}: somebody never hears the end"),
        () = ending => {}
    }
}

async fn try_seeds(shards: usize) {
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    let one = std::env::var("HULSE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..if is_long { SEEDS_LONG } else { SEEDS },
    };
    let (mut recovered, mut gaps) = (0, 0);
    for seed in seeds.clone() {
        let is_kept = seed % 2 == 0;
        let Some(mut servers) = Servers::start(shards, is_kept).await else { return };
        let one = run(seed, &mut servers, is_kept).await;
        recovered += one.0;
        gaps += one.1;
    }
    say(&format!("{seeds:?} on {shards}: {recovered} came back, {gaps} gaps"));
    assert!(recovered > 5 * (seeds.end - seeds.start), "only {recovered} came back");
    // Of so many that lose a Redis without a disk somebody is away meanwhile.
    assert!(gaps > 0 || seeds.end - seeds.start < SEEDS_LONG, "no gap was tried");
}

#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn say(words: &str) {
    println!("{words}");
}

#[tokio::test]
async fn clients_miss_nothing_in_random_schedules_on_one_redis() {
    try_seeds(1).await;
}

#[tokio::test]
async fn clients_miss_nothing_in_random_schedules_on_three_shards() {
    try_seeds(3).await;
}
