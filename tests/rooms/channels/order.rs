//! One order per group, for all members of all workers, without a hole.

use futures_util::future::join_all;

use super::cluster::{Member, On, numbers, publish};

on_every_layer!(
    one_worker_has_one_order_for_all_members,
    two_workers_have_one_order_for_all_members,
    four_workers_have_one_order_for_all_members,
    nothing_is_missed_or_doubled_between_joining_and_the_first_message,
    offsets_have_no_hole_and_none_twice,
);

async fn one_worker_has_one_order_for_all_members(on: On) {
    one_order(on, 1).await;
}

async fn two_workers_have_one_order_for_all_members(on: On) {
    one_order(on, 2).await;
}

async fn four_workers_have_one_order_for_all_members(on: On) {
    one_order(on, 4).await;
}

/// Eight publish at once.
async fn one_order(on: On, workers: usize) {
    let cluster = on.workers(workers).await;
    let mut members = Vec::new();
    for worker in &cluster.workers {
        for _ in 0..25 {
            members.push(Member::of(worker, "order").await);
        }
    }
    let publishers = (0..8).map(|publisher| {
        let layer = &cluster.workers[publisher % workers];
        async move {
            for i in 0..50 {
                publish(layer, "order", format!("{publisher}:{i}")).await;
            }
        }
    });
    join_all(publishers).await;
    let order = members[0].hear(400).await;
    for member in &mut members {
        assert_eq!(member.hear(400).await, order);
    }
    for publisher in 0..8 {
        let own = order.iter().filter(|text| text.starts_with(&format!("{publisher}:")));
        let expected: Vec<String> = (0..50).map(|i| format!("{publisher}:{i}")).collect();
        assert_eq!(own.cloned().collect::<Vec<_>>(), expected, "order of one sender");
    }
}

async fn nothing_is_missed_or_doubled_between_joining_and_the_first_message(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let publishing = async {
        for i in 0..300 {
            publish(here, "seam", i.to_string()).await;
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
    assert_eq!(publish(here, "seam", "300").await, 301);
    for mut member in members {
        let heard = member.hear_to("300").await;
        assert_eq!(heard, numbers(heard[0].parse().unwrap()..=300));
    }
}

async fn offsets_have_no_hole_and_none_twice(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let publishing = (0..200).map(|i| publish([here, there][i % 2], "offsets", i.to_string()));
    let mut offsets = join_all(publishing).await;
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=200).collect::<Vec<u64>>());
}
