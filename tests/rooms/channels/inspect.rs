//! Who is there, what is held, and emptying it; grace periods; the latest of a thing.

use std::time::{Duration, Instant};

use hulse::channels::{GroupName, Layer, Message, Policy, Position};
use hulse::conf;

use super::cluster::{Member, On, name, presence, publish, send, until};

on_every_layer! {
    the_connections_of_a_group_are_known_before_and_after,
    many_connections_of_many_workers_are_enumerated,
    a_flush_empties_channels_and_groups,
    numbers_say_what_a_group_holds,
    a_roster_counts_connections,
    who_comes_back_within_the_grace_period_never_left,
    who_does_not_come_back_has_left_once_the_grace_period_is_over,
    a_second_tab_closed_within_the_grace_period_of_the_first_changes_nothing,
    a_message_is_the_latest_of_its_thing_also_in_the_history,
}

async fn members(layer: &Layer, group: &str) -> Vec<GroupName> {
    layer.group_channels(&name(group)).await.unwrap()
}

async fn the_connections_of_a_group_are_known_before_and_after(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    assert_eq!(members(here, "room").await, []);
    let first = Member::of(here, "room").await;
    let second = Member::of(there, "room").await;
    let _elsewhere = Member::of(there, "other").await;
    let mut expected = [first.connection.name(), second.connection.name()];
    expected.sort();
    for layer in [here, there] {
        assert_eq!(members(layer, "room").await, expected);
    }
    first.connection.leave(&name("room"));
    assert_eq!(members(here, "room").await, [second.connection.name()]);
    drop(second);
    assert_eq!(members(here, "room").await, []);
}

async fn many_connections_of_many_workers_are_enumerated(on: On) {
    let cluster = on.workers(4).await;
    let mut held = Vec::new();
    for i in 0..200 {
        held.push(Member::of(&cluster.workers[i % 4], "many").await);
    }
    let mut expected: Vec<GroupName> = held.iter().map(|m| m.connection.name()).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(expected.len(), 200, "each has a name of its own");
    assert_eq!(members(&cluster.workers[2], "many").await, expected);
}

async fn a_flush_empties_channels_and_groups(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let gone = Member::of(here, "full").await;
    let counted = Member::enter(there, "full", "ann").await;
    send(here, "box", "unread").await;
    let before = here.publish(&name("full"), "old".into()).await.unwrap();
    here.values().set("k", "v", None).await.unwrap();
    let lock = here.values().lock("l", Duration::from_secs(60)).await.unwrap().unwrap();
    here.flush().await.unwrap();
    assert_eq!(members(here, "full").await, []);
    assert_eq!(here.present(&name("full")).await.unwrap(), []);
    assert!(there.values().get("k").await.unwrap().is_none());
    assert!(there.values().lock("l", Duration::from_secs(60)).await.unwrap().is_some());
    assert!(!lock.extend(Duration::from_secs(60)).await.unwrap());
    send(here, "box", "new").await;
    assert_eq!(super::cluster::receive(there, "box").await, "new");
    let history = there.history(&name("full"), Some(before), 10).await.unwrap();
    assert!(!history.recovered && history.messages.is_empty());
    // Connections live on, and join again as if for the first time.
    gone.connection.hear(usize::MAX).unwrap();
    let mut again = gone;
    again.heard.clear();
    again.connection.listen(&name("full")).await.unwrap();
    let entered = counted.connection.enter(&name("full"), &presence("ann")).await.unwrap();
    assert!(entered.first && entered.roster.is_empty());
    publish(there, "full", "news").await;
    assert_eq!(again.hear(2).await, ["ann joined", "news"]);
}

async fn numbers_say_what_a_group_holds(on: On) {
    let settings = conf::Channels { history_messages: 5, ..Default::default() };
    let cluster = on.workers_with(&settings, 2).await;
    let (here, there) = cluster.two();
    let nothing = here.group_statistics(&name("counted")).await.unwrap();
    assert_eq!(nothing, hulse::channels::GroupStatistics::default());
    let _one = Member::of(here, "counted").await;
    let _two = Member::enter(there, "counted", "ann").await;
    for i in 0..9 {
        publish(here, "counted", i.to_string()).await;
    }
    publish(here, "another", "x").await;
    let numbers = there.group_statistics(&name("counted")).await.unwrap();
    assert_eq!((numbers.groups, numbers.workers, numbers.present), (1, 2, 1));
    assert_eq!((numbers.messages, numbers.kept, numbers.gaps), (10, 5, 0));
    assert!(numbers.kept_bytes > 5 && numbers.oldest.is_some());
    let all = here.groups_statistics().await.unwrap();
    assert_eq!((all.groups, all.workers, all.messages, all.kept), (2, 2, 11, 6));
}

async fn roster(layer: &Layer, group: &str) -> Vec<(String, Message, u32)> {
    let present = layer.present(&name(group)).await.unwrap();
    present.into_iter().map(|p| (p.key, p.joined, p.connections)).collect()
}

fn counted(key: &str, connections: u32) -> (String, Message, u32) {
    (key.to_owned(), presence(key).joined, connections)
}

async fn a_roster_counts_connections(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    assert_eq!(roster(here, "who").await, []);
    let first = Member::enter(here, "who", "bob").await;
    let _second = Member::enter(there, "who", "bob").await;
    let _third = Member::enter(there, "who", "ann").await;
    assert_eq!(roster(here, "who").await, [counted("ann", 1), counted("bob", 2)]);
    drop(first);
    // Asked by the same worker, so after it.
    assert_eq!(roster(here, "who").await, [counted("ann", 1), counted("bob", 1)]);
}

fn with_grace() -> conf::Channels {
    conf::Channels { presence_grace_seconds: 1, ..Default::default() }
}

async fn who_comes_back_within_the_grace_period_never_left(on: On) {
    let cluster = on.workers_with(&with_grace(), 2).await;
    let (here, there) = cluster.two();
    let mut watcher = Member::of(here, "stay").await;
    let mut ann = Member::enter(there, "stay", "ann").await;
    for round in 0..6 {
        // A reload in either order, to either worker.
        let layer = [here, there][round % 2];
        if round % 3 == 0 {
            drop(ann);
            ann = Member::new(layer);
            let entered = ann.connection.enter(&name("stay"), &presence("ann")).await.unwrap();
            assert!(!entered.first, "nobody knows that she was gone");
        } else {
            let next = Member::enter(layer, "stay", "ann").await;
            drop(std::mem::replace(&mut ann, next));
        }
    }
    publish(here, "stay", "end").await;
    assert_eq!(watcher.hear(2).await, ["ann joined", "end"]);
    assert_eq!(roster(here, "stay").await.len(), 1);
}

async fn who_does_not_come_back_has_left_once_the_grace_period_is_over(on: On) {
    let cluster = on.workers_with(&with_grace(), 2).await;
    let (here, there) = cluster.two();
    let mut watcher = Member::of(here, "gone").await;
    let ann = Member::enter(there, "gone", "ann").await;
    let start = Instant::now();
    drop(ann);
    watcher.hear(2).await;
    assert!(start.elapsed() >= Duration::from_millis(900), "not before its time");
    assert_eq!(watcher.hear(2).await, ["ann joined", "ann left"]);
    assert_eq!(roster(here, "gone").await, []);
    let ann = Member::new(here);
    assert!(ann.connection.enter(&name("gone"), &presence("ann")).await.unwrap().first);
    assert_eq!(watcher.hear(3).await[2], "ann joined");
}

async fn a_second_tab_closed_within_the_grace_period_of_the_first_changes_nothing(on: On) {
    let cluster = on.workers_with(&with_grace(), 2).await;
    let (here, there) = cluster.two();
    let mut watcher = Member::of(here, "tabs").await;
    let (first, second) =
        (Member::enter(here, "tabs", "ann").await, Member::enter(there, "tabs", "ann").await);
    let start = Instant::now();
    drop(first);
    until(start + Duration::from_millis(600)).await;
    drop(second);
    // Only the last of them starts the clock, and it tells once.
    watcher.hear(2).await;
    assert!(start.elapsed() >= Duration::from_millis(1500));
    publish(here, "tabs", "end").await;
    assert_eq!(watcher.hear(3).await, ["ann joined", "ann left", "end"]);
}

async fn a_message_is_the_latest_of_its_thing_also_in_the_history(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let group = name("prices");
    let mut quick = Member::of(there, "prices").await;
    let first = here.publish_latest(&group, "oil", "oil 1".into()).await.unwrap();
    here.publish_latest(&group, "gas", "gas 1".into()).await.unwrap();
    here.publish(&group, "news".into()).await.unwrap();
    for i in 2..=20 {
        here.publish_latest(&group, "oil", format!("oil {i}").into()).await.unwrap();
    }
    assert_eq!(quick.hear(22).await.len(), 22, "who listens with another policy gets each");
    assert!(here.publish_latest(&group, "", "x".into()).await.is_err());
    // Who comes back lags: it wants the last of each, in the order they were said.
    let since = Position { offset: 0, ..first };
    let connection = there.connect(std::sync::Arc::default());
    let joined = connection.join_at(&group, Some(since), Policy::Latest).await.unwrap();
    assert!(joined.recovered);
    connection.listen(&group).await.unwrap();
    let heard = connection.hear(usize::MAX).unwrap();
    let texts: Vec<&str> = heard.iter().map(|(_, d)| d.message.text().unwrap()).collect();
    assert_eq!(texts, ["gas 1", "news", "oil 20"]);
    assert_eq!(there.statistics().dropped, 19);
}

#[tokio::test]
async fn a_grace_period_outlives_the_store_and_ends() {
    let mut cluster = On::pulse().workers_with(&with_grace(), 2).await;
    let mut watcher = Member::of(&cluster.workers[0], "life").await;
    let ann = Member::enter(&cluster.workers[1], "life", "ann").await;
    let bob = Member::enter(&cluster.workers[1], "life", "bob").await;
    watcher.hear(2).await;
    drop(ann);
    drop(bob);
    cluster.store.as_mut().unwrap().restart().await;
    let entered = Member::new(&cluster.workers[0]);
    let first = entered.connection.enter(&name("life"), &presence("bob")).await.unwrap().first;
    assert!(!first, "the next store knows that his time is not over");
    assert_eq!(watcher.hear(3).await, ["ann joined", "bob joined", "ann left"]);
}

#[tokio::test]
async fn a_killed_worker_leaves_its_people_their_grace_period() {
    let mut cluster = On::pulse().workers_with(&with_grace(), 2).await;
    let mut watcher = Member::of(&cluster.workers[0], "kill").await;
    let lost = [
        Member::enter(&cluster.workers[1], "kill", "ann").await,
        Member::enter(&cluster.workers[1], "kill", "bob").await,
    ];
    cluster.kill_last();
    let back = Member::new(&cluster.workers[0]);
    assert!(!back.connection.enter(&name("kill"), &presence("ann")).await.unwrap().first);
    assert_eq!(watcher.hear(3).await, ["ann joined", "bob joined", "bob left"]);
    drop(lost);
}
