//! Messages their senders named: said twice, sent once.

use futures_util::future::join_all;
use hulse::channels::{Layer, Position};
use hulse::conf;

use super::cluster::{Member, On, name};

on_every_layer! {
    a_name_said_twice_is_one_message,
    a_name_is_known_as_long_as_its_message_is_kept,
    of_many_who_say_the_same_name_at_once_one_is_heard,
    names_of_all_kinds_are_told_apart,
}

async fn once(layer: &Layer, key: &str, text: &str) -> Position {
    layer.publish_once(&name("once"), key, text.into()).await.unwrap()
}

async fn a_name_said_twice_is_one_message(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut member = Member::of(there, "once").await;
    let first = once(here, "k1", "a").await;
    assert_eq!(once(here, "k1", "a").await, first);
    assert_eq!(once(there, "k1", "another text").await, first, "the first counts");
    let second = once(there, "k2", "b").await;
    assert_eq!(second.offset, first.offset + 1);
    // Another group knows nothing of it, and messages without a name are all their own.
    let other = here.publish_once(&name("other"), "k1", "a".into()).await.unwrap();
    assert_eq!(other.offset, 1);
    for _ in 0..2 {
        here.publish(&name("once"), "c".into()).await.unwrap();
    }
    assert_eq!(member.hear(4).await, ["a", "b", "c", "c"]);
}

async fn a_name_is_known_as_long_as_its_message_is_kept(on: On) {
    let settings = conf::Channels { history_messages: 3, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    let first = once(layer, "k", "a").await;
    for text in ["b", "c"] {
        layer.publish(&name("once"), text.into()).await.unwrap();
    }
    assert_eq!(once(layer, "k", "a").await, first, "the oldest that is kept");
    layer.publish(&name("once"), "d".into()).await.unwrap();
    let again = once(layer, "k", "a").await;
    assert_eq!(again.offset, 5, "nobody remembers it");
    assert_eq!(once(layer, "k", "a").await, again, "and now this one is known");
}

async fn of_many_who_say_the_same_name_at_once_one_is_heard(on: On) {
    let cluster = on.workers(4).await;
    let mut member = Member::of(&cluster.workers[0], "once").await;
    let saying = (0..200).map(|i| once(&cluster.workers[i % 4], "same", "one"));
    let positions = join_all(saying).await;
    assert!(positions.iter().all(|position| *position == positions[0]));
    once(&cluster.workers[1], "end", "end").await;
    assert_eq!(member.hear(2).await, ["one", "end"]);
}

async fn names_of_all_kinds_are_told_apart(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let long = "x".repeat(200);
    let names = ["a", "A", " a", "a ", "ä", "\u{1F600}", "\0", "a\nb", &long, &long[1..]];
    for (place, name) in names.iter().enumerate() {
        assert_eq!(once(layer, name, "m").await.offset, place as u64 + 1, "{name:?}");
    }
    for bad in ["", &"x".repeat(201)] {
        assert!(layer.publish_once(&name("once"), bad, "m".into()).await.is_err());
    }
}

#[tokio::test]
async fn a_name_outlives_the_store_with_its_message() {
    let mut cluster = On::pulse().workers(2).await;
    let mut member = Member::of(&cluster.workers[1], "once").await;
    let before = once(&cluster.workers[0], "k", "a").await;
    member.hear(1).await;
    cluster.store.as_mut().unwrap().restart().await;
    let after = once(&cluster.workers[0], "k", "a").await;
    assert_eq!(after.offset, before.offset, "{after} {before}");
    assert!(after.epoch > before.epoch);
    once(&cluster.workers[0], "end", "end").await;
    assert_eq!(member.hear(2).await, ["a", "end"]);
}
