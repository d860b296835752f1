//! Groups: who is in one hears what is sent to it.

use std::time::Instant;

use futures_util::future::join_all;

use super::cluster::{Member, On, gone, name, publish};

on_every_layer!(
    of_three_members_one_of_whom_left_two_hear,
    twice_is_once,
    leaving_a_group_one_is_not_in_is_fine,
    groups_with_the_same_prefix_are_apart,
    all_members_hear_be_they_one_or_a_thousand,
    one_connection_in_many_groups_hears_each,
    a_group_nobody_is_in_takes_messages_all_the_same,
    a_member_may_come_back,
    a_worker_that_is_gone_takes_its_members_along,
    what_a_worker_sent_before_it_died_arrives,
);

async fn of_three_members_one_of_whom_left_two_hear(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut first = Member::of(here, "room").await;
    let mut second = Member::of(there, "room").await;
    let third = Member::of(there, "room").await;
    third.connection.leave(&name("room"));
    assert_eq!(publish(here, "room", "a").await, 1);
    assert_eq!(publish(there, "room", "b").await, 2);
    assert_eq!(first.hear(2).await, ["a", "b"]);
    assert_eq!(second.hear(2).await, ["a", "b"]);
    assert_eq!(third.connection.hear(usize::MAX).unwrap(), []);
}

async fn twice_is_once(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let mut member = Member::of(layer, "room").await;
    member.connection.listen(&name("room")).await.unwrap();
    publish(layer, "room", "a").await;
    publish(layer, "room", "b").await;
    assert_eq!(member.hear(2).await, ["a", "b"]);
    member.connection.leave(&name("room"));
    publish(layer, "room", "c").await;
    assert_eq!(member.connection.hear(usize::MAX).unwrap(), [], "left once is left");
}

async fn leaving_a_group_one_is_not_in_is_fine(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let mut member = Member::of(layer, "room").await;
    member.connection.leave(&name("never"));
    Member::new(layer).connection.leave(&name("room"));
    publish(layer, "room", "still here").await;
    assert_eq!(member.hear(1).await, ["still here"]);
}

async fn groups_with_the_same_prefix_are_apart(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut members = Vec::new();
    for group in ["room", "room-1", "room-10", "room.1", "ROOM"] {
        members.push((group, Member::of(here, group).await, Member::of(there, group).await));
    }
    for (group, ..) in &members {
        publish(here, group, *group).await;
        publish(there, group, "end").await;
    }
    for (group, one, other) in &mut members {
        assert_eq!(one.hear(2).await, [*group, "end"]);
        assert_eq!(other.hear(2).await, [*group, "end"]);
    }
}

async fn all_members_hear_be_they_one_or_a_thousand(on: On) {
    let cluster = on.workers(2).await;
    for count in [1, 10, 100, 1000] {
        let group = format!("of-{count}");
        let joining = (0..count).map(|i| Member::of(&cluster.workers[i % 2], &group));
        let mut members = join_all(joining).await;
        publish(&cluster.workers[0], &group, "hello").await;
        for member in &mut members {
            assert_eq!(member.hear(1).await, ["hello"]);
        }
    }
}

async fn one_connection_in_many_groups_hears_each(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut member = Member::new(there);
    for i in 0..20 {
        member.connection.listen(&name(&format!("many-{i}"))).await.unwrap();
    }
    for i in 0..20 {
        publish(here, &format!("many-{i}"), i.to_string()).await;
    }
    let mut heard = member.hear(20).await;
    heard.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(heard, super::cluster::numbers(0..=19));
}

async fn a_group_nobody_is_in_takes_messages_all_the_same(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    assert_eq!(publish(here, "empty", "a").await, 1);
    assert_eq!(publish(there, "empty", "b").await, 2);
    let mut late = Member::of(there, "empty").await;
    assert_eq!(publish(here, "empty", "c").await, 3);
    assert_eq!(late.hear(1).await, ["c"], "what was before is no message to it");
}

async fn a_member_may_come_back(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut member = Member::of(there, "back").await;
    for round in 0..20 {
        publish(here, "back", format!("{round} in")).await;
        assert_eq!(member.hear_to(&format!("{round} in")).await.len(), round + 1);
        member.connection.leave(&name("back"));
        publish(here, "back", "out").await;
        member.connection.listen(&name("back")).await.unwrap();
    }
}

async fn a_worker_that_is_gone_takes_its_members_along(on: On) {
    let mut cluster = on.workers(2).await;
    let mut watcher = Member::of(&cluster.workers[0], "gone").await;
    let lost = Member::enter(&cluster.workers[1], "gone", "lost").await;
    watcher.hear(1).await;
    let begun = Instant::now();
    cluster.kill_last();
    drop(lost);
    assert_eq!(watcher.hear(2).await, ["lost joined", "lost left"]);
    assert!(begun.elapsed() < gone(), "{:?}", begun.elapsed());
}

async fn what_a_worker_sent_before_it_died_arrives(on: On) {
    let mut cluster = on.workers(2).await;
    let mut member = Member::of(&cluster.workers[0], "last").await;
    publish(&cluster.workers[1], "last", "words").await;
    super::cluster::send(&cluster.workers[1], "last", "will").await;
    cluster.kill_last();
    assert_eq!(member.hear(1).await, ["words"]);
    assert_eq!(super::cluster::receive(&cluster.workers[0], "last").await, "will");
}
