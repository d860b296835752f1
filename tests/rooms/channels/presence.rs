//! Who is in a group: one entry a key, however many connections, workers and deaths.

use std::time::Instant;

use hulse::conf;

use super::cluster::{Member, On, gone, name, numbers, presence, publish, texts};

on_every_layer!(
    two_tabs_are_one_presence_until_both_are_gone,
    a_newcomer_gets_the_roster_of_all_workers,
    a_newcomer_gets_the_latest_messages_without_comings_and_goings,
    entering_twice_is_once,
    a_tab_on_a_worker_that_died_leaves_the_other_present,
    a_presence_larger_than_a_message_may_be_is_refused,
);

async fn two_tabs_are_one_presence_until_both_are_gone(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
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
    assert_eq!(watcher.hear(3).await, ["ann joined", "bob joined", "bob left"]);
    drop(second);
    assert_eq!(watcher.hear(4).await[3], "ann left");
}

async fn a_presence_larger_than_a_message_may_be_is_refused(on: On) {
    let settings = conf::Channels { message_bytes_max: 20, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let member = Member::new(&cluster.workers[0]);
    let long = presence("a name that is long");
    let refused = member.connection.enter(&name("who"), &long).await.unwrap_err();
    assert!(refused.is_message_too_large(), "{refused}");
    assert!(member.connection.enter(&name("who"), &presence("ann")).await.unwrap().first);
}

async fn a_newcomer_gets_the_roster_of_all_workers(on: On) {
    let cluster = on.workers(3).await;
    let mut present = Vec::new();
    for (i, key) in ["dora", "ann", "cid", "bob", "eve"].into_iter().enumerate() {
        present.push(Member::enter(&cluster.workers[i % 3], "roster", key).await);
    }
    let late = Member::new(&cluster.workers[2]);
    let entered = late.connection.enter(&name("roster"), &presence("late")).await.unwrap();
    let expected = ["ann joined", "bob joined", "cid joined", "dora joined", "eve joined"];
    assert_eq!(texts(&entered.roster), expected, "in the order of their keys");
}

async fn a_newcomer_gets_the_latest_messages_without_comings_and_goings(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let _guest = Member::enter(here, "hall", "guest").await;
    for i in 0..60 {
        publish(here, "hall", i.to_string()).await;
    }
    let late = Member::new(there);
    let entered = late.connection.enter(&name("hall"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.history), numbers(10..=59));
}

async fn entering_twice_is_once(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let mut watcher = Member::of(layer, "twice").await;
    let ann = Member::enter(layer, "twice", "ann").await;
    ann.connection.enter(&name("twice"), &presence("ann")).await.unwrap();
    ann.connection.leave(&name("twice"));
    assert_eq!(watcher.hear(2).await, ["ann joined", "ann left"]);
}

async fn a_tab_on_a_worker_that_died_leaves_the_other_present(on: On) {
    let mut cluster = on.workers(2).await;
    let mut watcher = Member::of(&cluster.workers[0], "tabs").await;
    let stays = Member::enter(&cluster.workers[0], "tabs", "ann").await;
    let _dies = Member::enter(&cluster.workers[1], "tabs", "ann").await;
    let _bob = Member::enter(&cluster.workers[1], "tabs", "bob").await;
    watcher.hear(2).await;
    let begun = Instant::now();
    cluster.kill_last();
    drop((_dies, _bob));
    assert_eq!(watcher.hear(3).await[2], "bob left");
    assert!(begun.elapsed() < gone(), "{:?}", begun.elapsed());
    let late = Member::new(&cluster.workers[0]);
    let entered = late.connection.enter(&name("tabs"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.roster), ["ann joined"]);
    drop(stays);
    assert_eq!(watcher.hear(5).await[3..], ["late joined", "ann left"]);
}
