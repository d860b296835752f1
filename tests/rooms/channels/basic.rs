//! Named channels: first in, first out, each message to one reader.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::channels::Message;
use hulse::conf;
use tokio::time::timeout;

use super::cluster::{On, WAIT, assert_empty, name, numbers, receive, send, until};

on_every_layer!(
    two_channels_keep_four_messages_apart,
    a_receive_waits_and_is_woken,
    the_messages_of_a_sender_come_in_its_order,
    two_readers_never_get_the_same_message,
    readers_are_served_in_the_order_they_came,
    a_cancelled_receive_loses_nothing_and_blocks_nobody,
    a_reader_that_dies_takes_no_message_along,
    unread_messages_expire_one_by_one,
    the_expiry_of_one_channel_leaves_the_others,
    what_cancelled_readers_give_back_keeps_its_order,
    messages_of_every_type_and_length_arrive_as_they_were_sent,
);

async fn two_channels_keep_four_messages_apart(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    for (channel, text) in [("one", "1"), ("two", "a"), ("one", "2"), ("two", "b")] {
        send(here, channel, text).await;
    }
    assert_eq!(receive(there, "one").await, "1");
    assert_eq!(receive(here, "one").await, "2");
    assert_eq!(receive(there, "two").await, "a");
    assert_eq!(receive(there, "two").await, "b");
}

async fn a_receive_waits_and_is_woken(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let channel = name("wake");
    let mut waiting = Box::pin(there.receive(&channel));
    let early = timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "nothing was sent");
    send(here, "wake", "now").await;
    assert_eq!(waiting.await.unwrap(), Message::from("now"));
}

async fn the_messages_of_a_sender_come_in_its_order(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    for text in ["1", "2", "3"] {
        send(here, "order", text).await;
    }
    for text in ["1", "2", "3"] {
        assert_eq!(receive(there, "order").await, text);
    }
}

async fn two_readers_never_get_the_same_message(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let readers = (0..50).map(|i| receive([here, there][i % 2], "shared"));
    let sending = async {
        for i in 0..50 {
            send(here, "shared", i.to_string()).await;
        }
    };
    let (mut got, ()) = tokio::join!(join_all(readers), sending);
    got.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(got, numbers(0..=49));
}

async fn readers_are_served_in_the_order_they_came(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    let readers = join_all((0..5).map(|_| receive(layer, "turns")));
    let sending = async {
        for i in 0..5 {
            send(layer, "turns", i.to_string()).await;
        }
    };
    let (got, ()) = tokio::join!(readers, sending);
    assert_eq!(got, numbers(0..=4));
}

async fn a_cancelled_receive_loses_nothing_and_blocks_nobody(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let channel = name("cancel");
    let (mut got, mut cut_off) = (Vec::new(), 0);
    for round in 0..100_u64 {
        // Given up at a hundred different moments around the arrival, counted in turns of the
        // runtime: timers count whole milliseconds.
        let patience = async {
            for _ in 0..round * 10 {
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            tokio::select! {
                biased;
                () = patience => None,
                message = there.receive(&channel) => Some(message),
            }
        };
        let (read, ()) = tokio::join!(reading, send(here, "cancel", round.to_string()));
        match read {
            Some(message) => got.push(message.unwrap().text().unwrap().to_owned()),
            None => {
                cut_off += 1;
                got.push(receive(here, "cancel").await);
            }
        }
    }
    assert_eq!(got, numbers(0..=99));
    assert!(cut_off > 0, "nothing was given up");
}

async fn a_reader_that_dies_takes_no_message_along(on: On) {
    let mut cluster = on.workers(2).await;
    let channel = name("orphan");
    let waiting = timeout(Duration::from_millis(100), cluster.workers[1].receive(&channel));
    assert!(waiting.await.is_err());
    cluster.kill_last();
    let layer = &cluster.workers[0];
    let forgotten = async {
        while layer.channel_statistics(&channel).await.unwrap().readers > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, forgotten).await.expect("the store sees that it is dead");
    send(layer, "orphan", "for the living").await;
    assert_eq!(receive(layer, "orphan").await, "for the living");
}

async fn unread_messages_expire_one_by_one(on: On) {
    let settings = conf::Channels { expiry_seconds: 3, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    let begun = Instant::now();
    for (seconds, text) in [(0, "first"), (2, "second"), (4, "third")] {
        until(begun + Duration::from_secs(seconds)).await;
        send(layer, "expiring", text).await;
    }
    // Four and a half would do as well; a busy machine is late.
    until(begun + Duration::from_millis(4200)).await;
    assert_eq!(receive(layer, "expiring").await, "second");
    assert_eq!(receive(layer, "expiring").await, "third");
    assert_empty(layer, "expiring").await;
}

async fn the_expiry_of_one_channel_leaves_the_others(on: On) {
    let settings = conf::Channels { expiry_seconds: 3, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    send(layer, "early", "gone").await;
    let expiring = async {
        while layer.channel_statistics(&name("early")).await.unwrap().expired == 0 {
            until(Instant::now() + Duration::from_millis(50)).await;
        }
    };
    timeout(WAIT, expiring).await.expect("it expires");
    send(layer, "late", "kept").await;
    assert_eq!(receive(layer, "late").await, "kept");
    assert_empty(layer, "early").await;
}

async fn what_cancelled_readers_give_back_keeps_its_order(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let channel = name("back");
    let mut readers: Vec<_> = (0..3).map(|_| Box::pin(there.receive(&channel))).collect();
    for reader in &mut readers {
        assert!(timeout(Duration::from_millis(20), reader).await.is_err(), "nothing was sent");
    }
    let waiting = async {
        while here.channel_statistics(&channel).await.unwrap().readers < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, waiting).await.expect("all wait");
    for text in ["1", "2", "3", "4"] {
        send(here, "back", text).await;
    }
    // One answer behind all that was handed out to this worker.
    there.channel_statistics(&channel).await.unwrap();
    for reader in readers {
        drop(reader);
    }
    for text in ["1", "2", "3", "4"] {
        assert_eq!(receive(there, "back").await, text);
    }
}

async fn messages_of_every_type_and_length_arrive_as_they_were_sent(on: On) {
    let long = "x".repeat(70_000);
    let messages = [
        Message::from("\u{1F600} nested {\"a\": [1, null, {\"b\": \"\\u0000\"}]}"),
        Message::from(""),
        Message::from(vec![0_u8, 255, 128, 13, 10]),
        Message::from(Vec::<u8>::new()),
        Message::from("x".repeat(125)),
        Message::from("x".repeat(126)),
        Message::from(long.as_str()),
        Message::from(long.into_bytes()),
    ];
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let mut member = super::cluster::Member::of(there, "types").await;
    for message in &messages {
        here.publish(&name("types"), message.clone()).await.unwrap();
        here.send(&name("types"), message.clone()).await.unwrap();
    }
    for message in &messages {
        assert_eq!(there.receive(&name("types")).await.unwrap(), *message);
    }
    assert_eq!(member.hear_messages(messages.len()).await, messages);
}
