//! What is bounded, and what those are told who meet a bound.

use std::time::Duration;

use futures_util::future::join_all;
use hulse::conf;

use super::cluster::{Member, On, name, publish, receive, send};

on_every_layer!(
    a_full_channel_refuses_and_takes_again_when_read,
    a_channel_with_a_waiting_reader_is_never_full,
    a_message_over_the_limit_is_refused_at_its_sender,
    a_message_is_a_mebibyte_at_most_unless_the_settings_say_otherwise,
    a_slow_member_holds_up_nobody_and_is_told_that_it_lost_messages,
    questions_that_wait_for_answers_hold_up_no_message,
);

async fn a_full_channel_refuses_and_takes_again_when_read(on: On) {
    let settings = conf::Channels { capacity: 5, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    for i in 0..5 {
        send(layer, "small", i.to_string()).await;
    }
    let refused = layer.send(&name("small"), "5".into()).await.unwrap_err();
    assert!(refused.is_channel_full(), "{refused}");
    assert!(refused.to_string().contains("small"), "{refused}");
    send(layer, "other", "x").await;
    assert_eq!(receive(layer, "small").await, "0");
    send(layer, "small", "again").await;
    for expected in ["1", "2", "3", "4", "again"] {
        assert_eq!(receive(layer, "small").await, expected);
    }
}

async fn a_channel_with_a_waiting_reader_is_never_full(on: On) {
    let settings = conf::Channels { capacity: 1, ..Default::default() };
    let cluster = on.workers_with(&settings, 2).await;
    let (here, there) = cluster.two();
    for round in 0..20 {
        let (got, ()) =
            tokio::join!(receive(there, "narrow"), send(here, "narrow", round.to_string()));
        assert_eq!(got, round.to_string());
    }
}

async fn a_message_over_the_limit_is_refused_at_its_sender(on: On) {
    let settings = conf::Channels { message_bytes_max: 10, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    assert_eq!(publish(layer, "g", "0123456789").await, 1);
    let refused = layer.publish(&name("g"), "0123456789a".into()).await.unwrap_err();
    assert!(refused.is_message_too_large(), "{refused}");
    let refused = layer.send(&name("c"), vec![0; 11].into()).await.unwrap_err();
    assert!(refused.is_message_too_large(), "{refused}");
    assert_eq!(publish(layer, "g", "next").await, 2, "what was refused has no place");
}

async fn a_message_is_a_mebibyte_at_most_unless_the_settings_say_otherwise(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    assert_eq!(publish(layer, "g", vec![7; 1024 * 1024]).await, 1);
    let refused = layer.publish(&name("g"), vec![7; 1024 * 1024 + 1].into()).await.unwrap_err();
    assert!(refused.is_message_too_large(), "{refused}");
    assert!(refused.to_string().contains("1048576"), "it says the limit: {refused}");
}

async fn a_slow_member_holds_up_nobody_and_is_told_that_it_lost_messages(on: On) {
    let settings = conf::Channels { history_messages: 100, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let layer = &cluster.workers[0];
    let slow = Member::of(layer, "fast").await;
    let mut quick = Member::of(layer, "fast").await;
    for i in 0..10_000 {
        publish(layer, "fast", i.to_string()).await;
        if i % 50 == 49 {
            quick.hear(i + 1).await;
        }
    }
    assert!(slow.connection.hear(usize::MAX).unwrap_err().is_socket_closed());
    assert_eq!(layer.statistics().overruns, 1);
    assert!(layer.statistics().history_bytes < 100 * 200);
}

async fn questions_that_wait_for_answers_hold_up_no_message(on: On) {
    let cluster = on.workers(1).await;
    let layer = &cluster.workers[0];
    // More bytes than may be under way at once.
    let ask = |_| async {
        let question = vec![0; 1024 * 1024].into();
        layer.ask(&name("thinker"), question, Duration::from_secs(3600)).await
    };
    let asked = join_all((0..20).map(ask));
    tokio::select! {
        biased;
        answers = asked => panic!("nobody answers: {}", answers.len()),
        offset = publish(layer, "g", "x") => assert_eq!(offset, 1),
    }
}
