//! The layer's contract, on the store in this process and on one behind a unix socket.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hulse::channels::{Connection, GroupName, Layer, Message, Presence, serve, socket_path};
use hulse::conf;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(20);

/// Workers around one store.
struct Cluster {
    label: &'static str,
    workers: Vec<Layer>,
    store: Option<Store>,
}

/// A store behind a socket, which can be killed and started again.
struct Store {
    path: PathBuf,
    settings: conf::Channels,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Store {
    async fn start(settings: &conf::Channels) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_path(folder.path());
        let task = Self::run(&path, settings);
        Self { path, settings: settings.clone(), task, _folder: folder }
    }

    fn run(path: &Path, settings: &conf::Channels) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        let settings = settings.clone();
        tokio::spawn(async move { serve(listener, &settings, pending()).await.unwrap() })
    }

    async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        std::fs::remove_file(&self.path).unwrap();
    }

    async fn restart(&mut self) {
        self.kill().await;
        self.task = Self::run(&self.path, &self.settings);
    }
}

async fn pulse(settings: &conf::Channels, count: usize) -> Cluster {
    let store = Store::start(settings).await;
    let workers: Vec<Layer> = (0..count).map(|_| Layer::pulse(&store.path, settings)).collect();
    for worker in &workers {
        worker.ready().await.unwrap();
    }
    Cluster { label: "pulse", workers, store: Some(store) }
}

async fn clusters_with(settings: &conf::Channels, count: usize) -> Vec<Cluster> {
    let workers = Layer::memory_workers(settings, count);
    vec![Cluster { label: "memory", workers, store: None }, pulse(settings, count).await]
}

async fn clusters(count: usize) -> Vec<Cluster> {
    clusters_with(&conf::Channels::default(), count).await
}

fn name(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

/// A connection that listens, as a consumer does.
struct Member {
    connection: Connection,
    wake: Arc<Notify>,
    heard: Vec<Message>,
}

impl Member {
    fn new(layer: &Layer) -> Self {
        let wake = Arc::new(Notify::new());
        let connection = layer.connect(Arc::clone(&wake));
        Self { connection, wake, heard: Vec::new() }
    }

    async fn of(layer: &Layer, group: &str) -> Self {
        let member = Self::new(layer);
        member.connection.listen(&name(group)).await.unwrap();
        member
    }

    /// Waits until it has heard `count` messages in all.
    async fn hear(&mut self, count: usize) -> Vec<String> {
        let hearing = async {
            while self.heard.len() < count {
                let heard = self.connection.hear(usize::MAX).unwrap();
                if heard.is_empty() {
                    self.wake.notified().await;
                }
                self.heard.extend(heard.into_iter().map(|(_, message)| message));
            }
        };
        let is_done = timeout(WAIT, hearing).await.is_ok();
        let heard = texts(&self.heard);
        assert!(is_done, "heard {} of {count}: {heard:?}", heard.len());
        heard
    }
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.text().unwrap().to_owned()).collect()
}

fn presence(key: &str) -> Presence {
    Presence {
        key: key.to_owned(),
        joined: Message::from(format!("{key} joined")),
        left: Message::from(format!("{key} left")),
    }
}

async fn receive(layer: &Layer, channel: &str) -> String {
    let received = timeout(WAIT, layer.receive(&name(channel))).await.expect("a message");
    received.unwrap().text().unwrap().to_owned()
}

#[test]
fn a_bad_name_is_refused_with_the_rule() {
    let long = "x".repeat(101);
    for bad in ["", &long, "£", "a b", "!!", "Café", "\u{1F600}"] {
        let error = GroupName::new(bad).unwrap_err();
        assert!(error.is_bad_group_name(), "{bad:?}");
        assert!(error.to_string().contains("1 to 100"), "{error}");
    }
    for good in ["a", "Room-42_x.y", &"x".repeat(100)] {
        assert_eq!(GroupName::new(good).unwrap().as_str(), good);
    }
}

#[test]
fn any_text_makes_a_name_and_equal_texts_the_same() {
    let name = GroupName::hashed("room", "Café!").unwrap();
    assert_eq!(name, GroupName::hashed("room", "Café!").unwrap());
    assert_ne!(name, GroupName::hashed("room", "Cafe!").unwrap());
    assert_eq!(name.as_str().len(), "room-".len() + 32);
    assert!(GroupName::hashed("ro om", "x").unwrap_err().is_bad_group_name());
}

#[tokio::test]
async fn channels_keep_their_messages_apart_and_in_order() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        for (channel, text) in [("one", "1"), ("two", "a"), ("one", "2"), ("two", "b")] {
            here.send(&name(channel), text.into()).await.unwrap();
        }
        assert_eq!(receive(there, "one").await, "1", "{}", cluster.label);
        assert_eq!(receive(here, "one").await, "2");
        assert_eq!(receive(there, "two").await, "a");
        assert_eq!(receive(there, "two").await, "b");
    }
}

#[tokio::test]
async fn a_waiting_receiver_is_woken() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let channel = name("wake");
        let (received, sent) =
            tokio::join!(receive(there, "wake"), here.send(&channel, "now".into()));
        sent.unwrap();
        assert_eq!(received, "now");
    }
}

#[tokio::test]
async fn two_readers_never_get_the_same_message() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let channel = name("shared");
        let readers = (0..50).map(|i| receive([here, there][i % 2], "shared"));
        let sending = async {
            for i in 0..50 {
                here.send(&channel, i.to_string().into()).await.unwrap();
            }
        };
        let (mut got, ()) = tokio::join!(join_all(readers), sending);
        got.sort_by_key(|text| text.parse::<u32>().unwrap());
        let expected: Vec<String> = (0..50).map(|i| i.to_string()).collect();
        assert_eq!(got, expected, "{}", cluster.label);
    }
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing_and_blocks_nobody() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let channel = name("cancel");
        let mut expected = Vec::new();
        let mut got = Vec::new();
        for round in 0..100_u64 {
            let text = round.to_string();
            expected.push(text.clone());
            let sending = async {
                here.send(&channel, text.into()).await.unwrap();
            };
            // Given up at a hundred different moments around the arrival.
            let cut = timeout(Duration::from_micros(round * 10), there.receive(&channel));
            let (cut, ()) = tokio::join!(cut, sending);
            match cut {
                Ok(message) => got.push(message.unwrap().text().unwrap().to_owned()),
                Err(_) => got.push(receive(here, "cancel").await),
            }
        }
        assert_eq!(got, expected, "{}", cluster.label);
    }
}

#[tokio::test]
async fn a_full_channel_refuses_and_takes_again_when_read() {
    let settings = conf::Channels { capacity: 5, ..Default::default() };
    for cluster in clusters_with(&settings, 1).await {
        let layer = &cluster.workers[0];
        let channel = name("small");
        for i in 0..5 {
            layer.send(&channel, i.to_string().into()).await.unwrap();
        }
        let refused = layer.send(&channel, "5".into()).await.unwrap_err();
        assert!(refused.is_channel_full(), "{refused}");
        layer.send(&name("other"), "x".into()).await.unwrap();
        assert_eq!(receive(layer, "small").await, "0");
        layer.send(&channel, "again".into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_at_its_sender() {
    let settings = conf::Channels { message_bytes_max: 10, ..Default::default() };
    for cluster in clusters_with(&settings, 1).await {
        let layer = &cluster.workers[0];
        layer.publish(&name("g"), "0123456789".into()).await.unwrap();
        let refused = layer.publish(&name("g"), "0123456789a".into()).await.unwrap_err();
        assert!(refused.is_message_too_large(), "{refused}");
        let refused = layer.send(&name("c"), vec![0; 11].into()).await.unwrap_err();
        assert!(refused.is_message_too_large(), "{refused}");
    }
}

#[tokio::test]
async fn bytes_and_texts_of_every_length_keep_their_type() {
    let long = "x".repeat(70_000);
    let messages = [
        Message::from("\u{1F600} nested {\"a\": [1, null]}"),
        Message::from(""),
        Message::from(vec![0_u8, 255, 128]),
        Message::from("x".repeat(125)),
        Message::from("x".repeat(126)),
        Message::from(long.as_str()),
        Message::from(long.into_bytes()),
    ];
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let mut member = Member::of(there, "types").await;
        for message in &messages {
            here.publish(&name("types"), message.clone()).await.unwrap();
            here.send(&name("types"), message.clone()).await.unwrap();
        }
        for message in &messages {
            assert_eq!(there.receive(&name("types")).await.unwrap(), *message);
        }
        while member.heard.len() < messages.len() {
            let heard = member.connection.hear(usize::MAX).unwrap();
            if heard.is_empty() {
                timeout(WAIT, member.wake.notified()).await.unwrap();
            }
            member.heard.extend(heard.into_iter().map(|(_, message)| message));
        }
        assert_eq!(member.heard, messages, "{}", cluster.label);
    }
}

#[tokio::test]
async fn new_channels_have_names_of_their_own() {
    let layer = Layer::memory(&conf::Channels::default());
    let one = layer.new_channel("specific").unwrap();
    assert!(one.as_str().starts_with("specific."));
    assert_ne!(one, layer.new_channel("specific").unwrap());
    assert!(layer.new_channel("no good").unwrap_err().is_bad_group_name());
}

#[tokio::test]
async fn members_hear_what_is_sent_and_those_who_left_do_not() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let mut first = Member::of(here, "room").await;
        let mut second = Member::of(there, "room").await;
        let third = Member::of(there, "room").await;
        third.connection.leave(&name("room"));
        third.connection.leave(&name("never"));
        // Twice is once.
        first.connection.listen(&name("room")).await.unwrap();
        assert_eq!(here.publish(&name("room"), "a".into()).await.unwrap(), 1);
        assert_eq!(there.publish(&name("room"), "b".into()).await.unwrap(), 2);
        assert_eq!(first.hear(2).await, ["a", "b"], "{}", cluster.label);
        assert_eq!(second.hear(2).await, ["a", "b"]);
        assert_eq!(third.connection.hear(usize::MAX).unwrap(), []);
    }
}

#[tokio::test]
async fn a_group_has_one_order_for_all_members_of_all_workers() {
    for cluster in clusters(4).await {
        let mut members = Vec::new();
        for worker in &cluster.workers {
            for _ in 0..25 {
                members.push(Member::of(worker, "order").await);
            }
        }
        let publishers = (0..8).map(|publisher| {
            let layer = &cluster.workers[publisher % 4];
            async move {
                for i in 0..50 {
                    let text = format!("{publisher}:{i}");
                    layer.publish(&name("order"), text.into()).await.unwrap();
                }
            }
        });
        join_all(publishers).await;
        let order = members[0].hear(400).await;
        for member in &mut members {
            assert_eq!(member.hear(400).await, order, "{}", cluster.label);
        }
        for publisher in 0..8 {
            let own = order.iter().filter(|text| text.starts_with(&format!("{publisher}:")));
            let expected: Vec<String> = (0..50).map(|i| format!("{publisher}:{i}")).collect();
            assert_eq!(own.cloned().collect::<Vec<_>>(), expected, "order of one sender");
        }
    }
}

#[tokio::test]
async fn nothing_is_missed_or_doubled_between_joining_and_the_first_message() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let publishing = async {
            for i in 0..300 {
                here.publish(&name("seam"), i.to_string().into()).await.unwrap();
            }
        };
        let joining = async {
            let mut members = Vec::new();
            for _ in 0..60 {
                members.push(Member::of(there, "seam").await);
                tokio::task::yield_now().await;
            }
            members
        };
        let ((), members) = tokio::join!(publishing, joining);
        let end = here.publish(&name("seam"), "300".into()).await.unwrap();
        assert_eq!(end, 301);
        for mut member in members {
            while member.heard.last().is_none_or(|last| *last != Message::from("300")) {
                let count = member.heard.len() + 1;
                member.hear(count).await;
            }
            let heard = texts(&member.heard);
            let first: usize = heard[0].parse().unwrap();
            let expected: Vec<String> = (first..=300).map(|i| i.to_string()).collect();
            assert_eq!(heard, expected, "{}", cluster.label);
        }
    }
}

#[tokio::test]
async fn two_tabs_are_one_presence_until_both_are_gone() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let mut watcher = Member::of(here, "who").await;
        let (first, second) = (Member::new(here), Member::new(there));
        let ann = first.connection.enter(&name("who"), &presence("ann")).await.unwrap();
        assert!(ann.first && ann.roster.is_empty());
        let again = second.connection.enter(&name("who"), &presence("ann")).await.unwrap();
        assert!(!again.first && again.roster.is_empty());
        let bob = Member::new(there);
        let entered = bob.connection.enter(&name("who"), &presence("bob")).await.unwrap();
        assert!(entered.first);
        assert_eq!(texts(&entered.roster), ["ann joined"]);
        drop(first);
        drop(bob);
        drop(second);
        let heard = watcher.hear(4).await;
        assert_eq!(
            heard,
            ["ann joined", "bob joined", "bob left", "ann left"],
            "{}",
            cluster.label
        );
    }
}

#[tokio::test]
async fn a_newcomer_gets_the_latest_messages_without_comings_and_goings() {
    for cluster in clusters(2).await {
        let [here, there] = &cluster.workers[..] else { panic!() };
        let guest = Member::new(here);
        guest.connection.enter(&name("hall"), &presence("guest")).await.unwrap();
        for i in 0..60 {
            here.publish(&name("hall"), i.to_string().into()).await.unwrap();
        }
        let late = Member::new(there);
        let entered = late.connection.enter(&name("hall"), &presence("late")).await.unwrap();
        let expected: Vec<String> = (10..60).map(|i| i.to_string()).collect();
        assert_eq!(texts(&entered.history), expected, "{}", cluster.label);
    }
}

#[tokio::test]
async fn a_worker_that_is_gone_takes_its_members_along() {
    for mut cluster in clusters(2).await {
        let mut watcher = Member::of(&cluster.workers[0], "gone").await;
        let lost = Member::new(&cluster.workers[1]);
        lost.connection.enter(&name("gone"), &presence("lost")).await.unwrap();
        // Nothing says goodbye: only the link's end tells.
        let worker = cluster.workers.pop().unwrap();
        drop(worker);
        drop(lost);
        assert_eq!(watcher.hear(2).await, ["lost joined", "lost left"], "{}", cluster.label);
    }
}

#[tokio::test]
async fn a_slow_member_holds_up_nobody_and_is_told_that_it_lost_messages() {
    let settings = conf::Channels { history_messages: 100, ..Default::default() };
    for cluster in clusters_with(&settings, 1).await {
        let layer = &cluster.workers[0];
        let slow = Member::of(layer, "fast").await;
        let mut quick = Member::of(layer, "fast").await;
        for i in 0..10_000 {
            layer.publish(&name("fast"), i.to_string().into()).await.unwrap();
            if i % 50 == 49 {
                quick.hear(i + 1).await;
            }
        }
        assert!(slow.connection.hear(usize::MAX).unwrap_err().is_socket_closed());
        assert_eq!(layer.statistics().overruns, 1, "{}", cluster.label);
        assert!(layer.statistics().history_bytes < 100 * 200);
    }
}

#[tokio::test]
async fn a_store_that_restarts_loses_and_doubles_nothing() {
    let mut cluster = pulse(&conf::Channels::default(), 3).await;
    let mut members = Vec::new();
    for worker in &cluster.workers {
        members.push(Member::of(worker, "life").await);
    }
    let publishers = cluster.workers.iter().enumerate().map(|(publisher, layer)| async move {
        for i in 0..400 {
            let text = format!("{publisher}:{i}");
            layer.publish(&name("life"), text.into()).await.unwrap();
        }
    });
    let store = cluster.store.as_mut().unwrap();
    let killing = async {
        let mut watcher = Member::of(&cluster.workers[0], "life").await;
        for rounds in 1..4 {
            watcher.hear(rounds * 200).await;
            store.restart().await;
        }
    };
    tokio::join!(join_all(publishers), killing);
    let order = members[0].hear(1200).await;
    for member in &mut members {
        assert_eq!(member.hear(1200).await, order);
    }
    let mut all = order.clone();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1200, "each once");
}

#[tokio::test]
async fn presence_outlives_the_store_and_hears_who_left_meanwhile() {
    let mut cluster = pulse(&conf::Channels::default(), 2).await;
    let [here, there] = &cluster.workers[..] else { panic!() };
    let ann = Member::new(here);
    ann.connection.enter(&name("stay"), &presence("ann")).await.unwrap();
    let bob = Member::new(there);
    bob.connection.enter(&name("stay"), &presence("bob")).await.unwrap();
    let mut watcher = Member::of(here, "stay").await;
    let store = cluster.store.as_mut().unwrap();
    store.kill().await;
    drop(bob);
    store.task = Store::run(&store.path, &store.settings);
    assert_eq!(watcher.hear(1).await, ["bob left"]);
    let late = Member::new(there);
    let entered = late.connection.enter(&name("stay"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.roster), ["ann joined"]);
    assert_eq!(watcher.hear(2).await, ["bob left", "late joined"]);
}

#[tokio::test]
async fn without_a_store_a_sender_is_told_after_a_bounded_wait() {
    let settings = conf::Channels { send_wait_seconds: 1, ..Default::default() };
    let mut cluster = pulse(&settings, 1).await;
    cluster.store.as_mut().unwrap().kill().await;
    let layer = &cluster.workers[0];
    let refused = timeout(WAIT, layer.publish(&name("g"), "x".into())).await.unwrap();
    assert!(refused.unwrap_err().is_layer_unavailable());
    assert_eq!(layer.statistics().in_flight, 0);
    let member = Member::new(layer);
    assert!(member.connection.listen(&name("g")).await.unwrap_err().is_layer_unavailable());
    assert_eq!(layer.statistics().groups, 0, "what failed is undone");
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_link_and_nothing_else() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cluster = pulse(&conf::Channels::default(), 1).await;
    let path = &cluster.store.as_ref().unwrap().path;
    for bad in [&[0_u8; 4][..], &[255; 8], &[1, 0, 0, 0, 99], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut link = tokio::net::UnixStream::connect(path).await.unwrap();
        link.write_all(bad).await.unwrap();
        let mut rest = Vec::new();
        // Closed with or without a reset.
        let _ = timeout(WAIT, link.read_to_end(&mut rest)).await.expect("the store cuts it off");
    }
    cluster.workers[0].publish(&name("g"), "still here".into()).await.unwrap();
}
