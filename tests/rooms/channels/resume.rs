//! Coming back: a client with a position gets what it missed, or is told that it cannot.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hulse::channels::{Connection, Delivery, Joined, Layer, Message, Position};
use hulse::conf;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::cluster::{On, WAIT, name, presence};

on_every_layer! {
    who_comes_back_gets_exactly_what_it_missed_and_then_what_is_new,
    who_comes_back_to_another_worker_misses_nothing,
    a_position_older_than_the_history_is_a_gap,
    a_position_of_an_unknown_epoch_or_of_the_future_is_a_gap,
    ten_thousand_random_seams_lose_and_double_nothing,
    a_thousand_who_come_back_at_once_all_get_what_they_missed,
    who_takes_part_already_goes_on_from_where_it_is,
    a_cancelled_return_leaves_nothing_behind,
    history_is_read_in_pages_and_says_who_came_and_went,
}

/// A client that may go away and come back, on whatever worker.
struct Client {
    group: &'static str,
    life: Option<(Connection, Arc<Notify>)>,
    seen: Vec<Delivery>,
}

impl Client {
    fn new(group: &'static str) -> Self {
        Self { group, life: None, seen: Vec::new() }
    }

    /// Comes (back) to `layer` with a position.
    async fn come_at(&mut self, layer: &Layer, since: Option<Position>) -> Joined {
        let wake = Arc::new(Notify::new());
        let connection = layer.connect(Arc::clone(&wake));
        let joined = connection.listen_at(&name(self.group), since).await.unwrap();
        self.life = Some((connection, wake));
        joined
    }

    /// Comes back to `layer` with the last position it has.
    async fn come_back(&mut self, layer: &Layer) -> Joined {
        self.come_at(layer, self.seen.last().map(|last| last.position)).await
    }

    fn go(&mut self) {
        self.life = None;
    }

    /// Takes what is there.
    fn look(&mut self) -> bool {
        let Some((connection, _)) = &self.life else {
            return false;
        };
        let heard = connection.hear(usize::MAX).unwrap();
        let is_news = !heard.is_empty();
        self.seen.extend(heard.into_iter().map(|(_, delivery)| delivery));
        is_news
    }

    /// Waits until it has seen `count` messages in all.
    async fn see(&mut self, count: usize) {
        let seeing = async {
            while self.seen.len() < count {
                if !self.look() {
                    self.life.as_ref().unwrap().1.notified().await;
                }
            }
        };
        let is_done = timeout(WAIT, seeing).await.is_ok();
        assert!(is_done, "saw {} of {count}: {:?}", self.seen.len(), self.texts());
    }

    fn texts(&self) -> Vec<&str> {
        self.seen.iter().map(|delivery| delivery.message.text().unwrap()).collect()
    }

    /// Each once, in order, from the group's first on.
    fn assert_all(&self, count: usize) {
        let offsets: Vec<u64> = self.seen.iter().map(|delivery| delivery.position.offset).collect();
        let expected: Vec<u64> = (1..=count as u64).collect();
        assert_eq!(offsets, expected);
    }
}

async fn publish(layer: &Layer, group: &str, from: usize, to: usize) -> Position {
    let mut last = Position::default();
    for i in from..to {
        last = layer.publish(&name(group), i.to_string().into()).await.unwrap();
    }
    last
}

#[test]
fn a_position_is_a_text_and_back_and_nothing_else_is() {
    let position = Position { epoch: 7_281_913_446_400_000, offset: u64::MAX };
    let text = position.to_string();
    assert_eq!(text, "7281913446400000-18446744073709551615");
    assert_eq!(text.parse::<Position>().unwrap(), position);
    assert_eq!(serde_json::to_string(&position).unwrap(), format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Position>(&format!("\"{text}\"")).unwrap(), position);
    let bad = ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", "01-2", "1-02", " 1-2", "1-2\n", "a-b"];
    for bad in bad.into_iter().chain(["18446744073709551616-1", "1-٣", "1.0-2", "--1"]) {
        assert!(bad.parse::<Position>().unwrap_err().is_bad_position(), "{bad:?}");
    }
    assert!(serde_json::from_str::<Position>("12").is_err());
}

async fn who_comes_back_gets_exactly_what_it_missed_and_then_what_is_new(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut client = Client::new("r");
    assert!(!client.come_at(here, None).await.recovered, "it has nothing to go on from");
    publish(here, "r", 0, 10).await;
    client.see(10).await;
    client.go();
    let last = publish(there, "r", 10, 60).await;
    let since = client.seen[9].position;
    let joined = client.come_back(here).await;
    assert_eq!(joined, Joined { position: since, recovered: true });
    client.see(60).await;
    publish(there, "r", 60, 70).await;
    client.see(70).await;
    client.assert_all(70);
    let expected: Vec<String> = (0..70).map(|i| i.to_string()).collect();
    assert_eq!(client.texts(), expected);
    assert_eq!(client.seen[59].position, last, "what the sender was told");
}

async fn who_comes_back_to_another_worker_misses_nothing(on: On) {
    for stays in [false, true] {
        let mut cluster = on.workers(3).await;
        let mut client = Client::new("other");
        let mut watcher = Client::new("other");
        if stays {
            // The worker it comes to knows the group, though not from the beginning.
            publish(&cluster.workers[0], "other", 0, 1).await;
            watcher.come_at(&cluster.workers[1], None).await;
        }
        let first = Position { offset: 0, ..publish(&cluster.workers[0], "other", 1, 11).await };
        client.come_at(&cluster.workers[2], Some(first)).await;
        let had = if stays { 11 } else { 10 };
        client.see(had).await;
        client.go();
        drop(cluster.workers.pop());
        publish(&cluster.workers[0], "other", 11, 61).await;
        assert!(client.come_back(&cluster.workers[1]).await.recovered);
        client.see(had + 50).await;
        publish(&cluster.workers[0], "other", 61, 62).await;
        client.see(had + 51).await;
        client.assert_all(had + 51);
    }
}

async fn a_position_older_than_the_history_is_a_gap(on: On) {
    let settings = conf::Channels { history_messages: 20, ..Default::default() };
    let cluster = on.workers_with(&settings, 2).await;
    let (here, there) = cluster.two();
    let top = publish(here, "old", 0, 50).await;
    for (offset, recovered) in [(50, true), (49, true), (30, true), (29, false), (0, false)] {
        let mut client = Client::new("old");
        let since = Position { offset, ..top };
        let joined = client.come_at(there, Some(since)).await;
        let position = if recovered { since } else { top };
        assert_eq!(joined, Joined { position, recovered }, "at {offset}");
        let missed = if recovered { 50 - offset as usize } else { 0 };
        client.see(missed).await;
        assert!(!client.look(), "and nothing else");
    }
    let mut client = Client::new("old");
    client.come_at(there, Some(Position { offset: 3, ..top })).await;
    publish(here, "old", 50, 51).await;
    client.see(1).await;
    assert_eq!(client.texts(), ["50"], "it goes on from now");
}

async fn a_position_of_an_unknown_epoch_or_of_the_future_is_a_gap(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let top = publish(here, "strange", 0, 5).await;
    let strange = [
        Position { epoch: top.epoch - 1, offset: 3 },
        Position { epoch: top.epoch + 1, offset: 3 },
        Position { epoch: 0, offset: 0 },
        Position { offset: 6, ..top },
        Position { offset: u64::MAX, ..top },
        Position { epoch: u64::MAX, offset: u64::MAX },
    ];
    for since in strange {
        let mut client = Client::new("strange");
        let joined = client.come_at(there, Some(since)).await;
        assert_eq!(joined, Joined { position: top, recovered: false }, "{since}");
        assert!(!client.look());
        let history = here.history(&name("strange"), Some(since), 100).await.unwrap();
        assert!(!history.recovered && history.messages.is_empty(), "{since}");
        assert_eq!(history.top, top);
    }
    here.publish(&name("strange"), "after".into()).await.unwrap();
}

/// splitmix64: the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Messages of each of four publishers while clients come and go.
const SEAM_MESSAGES: usize = 1500;
/// Clients that do.
const SEAM_CLIENTS: u64 = 40;

/// Comes and goes as chance has it until it has seen everything; how often it came.
async fn live_with_seams(layers: &[Layer], seed: u64, count: usize) -> (Client, usize) {
    let mut chance = Chance(seed);
    let mut client = Client::new("seams");
    let first = layers[0].history(&name("seams"), None, 0).await.unwrap().top;
    client.come_at(&layers[0], Some(Position { offset: 0, ..first })).await;
    let mut seams = 0;
    while client.seen.len() < count {
        for _ in 0..chance.below(4) {
            tokio::task::yield_now().await;
        }
        client.look();
        client.go();
        for _ in 0..chance.below(6) {
            tokio::task::yield_now().await;
        }
        // Sometimes what it saw last did not reach it after all.
        let kept = client.seen.len() - chance.below(4).min(client.seen.len());
        client.seen.truncate(kept);
        let since = client.seen.last().map_or(Position { offset: 0, ..first }, |d| d.position);
        let joined = client.come_at(&layers[chance.below(layers.len())], Some(since)).await;
        assert_eq!(joined, Joined { position: since, recovered: true }, "seed {seed}");
        seams += 1;
    }
    (client, seams)
}

async fn ten_thousand_random_seams_lose_and_double_nothing(on: On) {
    let settings = conf::Channels { history_messages: 100_000, ..Default::default() };
    let cluster = on.workers_with(&settings, 3).await;
    let layers = &cluster.workers;
    let publishers = (0..4).map(|publisher: usize| {
        let layer = &layers[publisher % 3];
        async move {
            for i in 0..SEAM_MESSAGES {
                let text = format!("{publisher}:{i}");
                layer.publish(&name("seams"), text.into()).await.unwrap();
            }
        }
    });
    // So that the group has begun.
    layers[0].publish(&name("seams"), "first".into()).await.unwrap();
    let count = 4 * SEAM_MESSAGES + 1;
    let clients = (0..SEAM_CLIENTS).map(|seed| live_with_seams(layers, seed, count));
    let (_, clients) = tokio::join!(join_all(publishers), join_all(clients));
    let mut seams = 0;
    for (client, came) in &clients {
        client.assert_all(count);
        assert_eq!(client.texts(), clients[0].0.texts());
        seams += came;
    }
    assert!(seams >= 10_000, "only {seams} seams");
}

async fn a_thousand_who_come_back_at_once_all_get_what_they_missed(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let top = publish(here, "crowd", 0, 200).await;
    let coming = (0..1000_u64).map(|i| async move {
        let mut client = Client::new("crowd");
        let since = Position { offset: i % 200, ..top };
        assert!(client.come_at(there, Some(since)).await.recovered);
        client.see(200 - (i % 200) as usize).await;
        assert_eq!(client.seen[0].position.offset, i % 200 + 1);
        client
    });
    let mut clients = timeout(WAIT, join_all(coming)).await.unwrap();
    publish(here, "crowd", 200, 201).await;
    for client in &mut clients {
        let count = client.seen.len() + 1;
        client.see(count).await;
        assert_eq!(client.texts().last(), Some(&"200"));
    }
    drop(clients);
    assert_eq!(there.statistics().history_bytes, 0, "nothing of it stays");
}

async fn who_takes_part_already_goes_on_from_where_it_is(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let mut client = Client::new("twice");
    client.come_at(layer, None).await;
    let top = publish(layer, "twice", 0, 3).await;
    client.see(3).await;
    let connection = &client.life.as_ref().unwrap().0;
    let since = Position { offset: 0, ..top };
    let joined = connection.listen_at(&name("twice"), Some(since)).await.unwrap();
    assert_eq!(joined.position, top);
    publish(layer, "twice", 3, 4).await;
    client.see(4).await;
    client.assert_all(4);
}

async fn a_cancelled_return_leaves_nothing_behind(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let top = publish(here, "gave-up", 0, 20).await;
    for polls in 0..6 {
        let wake = Arc::new(Notify::new());
        let connection = there.connect(Arc::clone(&wake));
        let group = name("gave-up");
        let since = Some(Position { offset: 5, ..top });
        {
            let coming = connection.listen_at(&group, since);
            tokio::pin!(coming);
            for _ in 0..polls {
                if futures_util::poll!(&mut coming).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Whether it had come or not, it comes now, and misses nothing.
        let joined = connection.listen_at(&group, since).await.unwrap();
        assert!(joined.recovered);
        let mut client = Client::new("gave-up");
        client.life = Some((connection, wake));
        client.see(15).await;
        assert_eq!(client.seen[0].position.offset, 6, "{polls}");
    }
    assert_eq!(there.statistics().groups, 0);
}

async fn history_is_read_in_pages_and_says_who_came_and_went(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let guest = here.connect(Arc::new(Notify::new()));
    let group = name("pages");
    guest.enter(&group, &presence("ann")).await.unwrap();
    let top = publish(here, "pages", 0, 9).await;
    let latest = there.history(&group, None, 4).await.unwrap();
    assert_eq!((latest.top, latest.recovered), (top, false));
    let texts = |messages: &[Delivery]| -> Vec<Message> {
        messages.iter().map(|delivery| delivery.message.clone()).collect()
    };
    assert_eq!(texts(&latest.messages), ["5", "6", "7", "8"].map(Message::from));
    let mut since = Position { offset: 0, ..top };
    let mut all = Vec::new();
    while since != top {
        let page = there.history(&group, Some(since), 3).await.unwrap();
        assert!(page.recovered && page.messages.len() <= 3);
        since = page.messages.last().unwrap().position;
        all.extend(page.messages);
    }
    assert!(all[0].is_presence && all[0].message == Message::from("ann joined"));
    assert!(all[1..].iter().all(|delivery| !delivery.is_presence));
    assert_eq!(all.len(), 10);
    let end = there.history(&group, Some(top), 3).await.unwrap();
    assert!(end.recovered && end.messages.is_empty());
}

#[tokio::test]
async fn a_position_outlives_the_store_as_long_as_a_worker_holds_the_group() {
    let mut cluster = On::pulse().workers(2).await;
    let mut watcher = Client::new("life");
    watcher.come_at(&cluster.workers[0], None).await;
    let mut client = Client::new("life");
    client.come_at(&cluster.workers[1], None).await;
    publish(&cluster.workers[0], "life", 0, 5).await;
    client.see(5).await;
    client.go();
    for round in 1..4 {
        let from = round * 5;
        publish(&cluster.workers[1], "life", from, from + 5).await;
        watcher.see(from + 5).await;
        cluster.store.as_mut().unwrap().restart().await;
    }
    publish(&cluster.workers[1], "life", 20, 25).await;
    let since = client.seen[4].position;
    let joined = client.come_back(&cluster.workers[1]).await;
    assert!(joined.recovered && joined.position.epoch > since.epoch, "{joined:?} from {since}");
    client.see(25).await;
    client.assert_all(25);
}

#[tokio::test]
async fn a_store_that_lost_a_group_nobody_held_says_so() {
    let mut cluster = On::pulse().workers(1).await;
    let layer = &cluster.workers[0];
    let top = publish(layer, "lost", 0, 5).await;
    cluster.store.as_mut().unwrap().restart().await;
    let mut client = Client::new("lost");
    let joined = client.come_at(&cluster.workers[0], Some(top)).await;
    assert!(!joined.recovered && joined.position.epoch > top.epoch, "{joined:?}");
    publish(&cluster.workers[0], "lost", 5, 6).await;
    client.see(1).await;
    assert_eq!(client.texts(), ["5"]);
}

#[tokio::test]
async fn without_a_store_who_comes_back_is_told_in_time() {
    let settings = conf::Channels { send_wait_seconds: 1, ..Default::default() };
    let mut cluster = On::pulse().workers_with(&settings, 1).await;
    cluster.store.as_mut().unwrap().kill().await;
    let layer = &cluster.workers[0];
    let coming = (0..50).map(|_| async {
        let connection = layer.connect(Arc::new(Notify::new()));
        let since = Some(Position { epoch: 1, offset: 1 });
        connection.listen_at(&name("away"), since).await.unwrap_err()
    });
    let refused = timeout(Duration::from_secs(5), join_all(coming)).await.unwrap();
    assert!(refused.iter().all(hulse::error::Error::is_layer_unavailable));
    assert_eq!(layer.statistics().groups, 0, "what failed is undone");
}
