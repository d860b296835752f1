//! A store process that dies and comes back: what survives it, and what its senders are told.

use futures_util::future::join_all;
use hulse::conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::cluster::{Member, On, WAIT, name, presence, publish, texts};

#[tokio::test]
async fn a_store_that_restarts_loses_and_doubles_nothing() {
    let mut cluster = On::Pulse.workers(3).await;
    let mut members = Vec::new();
    for worker in &cluster.workers {
        members.push(Member::of(worker, "life").await);
    }
    let publishers = cluster.workers.iter().enumerate().map(|(publisher, layer)| async move {
        for i in 0..400 {
            publish(layer, "life", format!("{publisher}:{i}")).await;
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
    let mut cluster = On::Pulse.workers(2).await;
    let (here, there) = (cluster.workers[0].clone(), cluster.workers[1].clone());
    let _ann = Member::enter(&here, "stay", "ann").await;
    let bob = Member::enter(&there, "stay", "bob").await;
    let mut watcher = Member::of(&here, "stay").await;
    let store = cluster.store.as_mut().unwrap();
    store.kill().await;
    drop(bob);
    store.begin_again();
    assert_eq!(watcher.hear(1).await, ["bob left"]);
    let late = Member::new(&there);
    let entered = late.connection.enter(&name("stay"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.roster), ["ann joined"]);
    assert_eq!(watcher.hear(2).await, ["bob left", "late joined"]);
}

#[tokio::test]
async fn without_a_store_a_sender_is_told_after_a_bounded_wait() {
    let settings = conf::Channels { send_wait_seconds: 1, ..Default::default() };
    let mut cluster = On::Pulse.workers_with(&settings, 1).await;
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
    let cluster = On::Pulse.workers(1).await;
    let path = &cluster.store.as_ref().unwrap().path;
    for bad in [&[0_u8; 4][..], &[255; 8], &[1, 0, 0, 0, 99], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut link = tokio::net::UnixStream::connect(path).await.unwrap();
        link.write_all(bad).await.unwrap();
        let mut rest = Vec::new();
        // Closed with or without a reset.
        let _ = timeout(WAIT, link.read_to_end(&mut rest)).await.expect("the store cuts it off");
    }
    publish(&cluster.workers[0], "g", "still here").await;
}
