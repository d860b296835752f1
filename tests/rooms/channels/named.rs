//! Named channels beyond sending and receiving: capacities, delays, questions and answers, numbers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::channels::{ChannelStatistics, Layer};
use hulse::conf;
use tokio::time::timeout;

use super::cluster::{Cluster, On, Store, WAIT, name, receive, send};

on_every_layer!(
    a_pattern_gives_a_channel_its_capacity_from_the_first_send_on,
    a_sender_keeps_its_order_for_one_reader,
    a_delayed_message_comes_in_its_time_and_not_before,
    a_delayed_message_survives_its_sender,
    delayed_messages_are_bounded_in_number_and_time,
    numbers_say_what_a_channel_holds_and_has_done,
    a_flush_empties_one_channel_and_leaves_the_others,
    a_question_is_answered_to_the_one_who_asked,
    a_send_asks_nobody,
    a_late_answer_goes_nowhere,
    who_drops_a_question_tells_that_there_is_no_answer,
    a_cancelled_reader_leaves_a_question_to_another,
    a_message_or_an_answer_over_the_limit_is_refused_at_its_sender,
);

/// Two workers of one store.
struct Pair {
    here: Layer,
    there: Layer,
    store: Option<Store>,
}

async fn pair_with(on: On, settings: &conf::Channels) -> Pair {
    let Cluster { mut workers, store, .. } = on.workers_with(settings, 2).await;
    let there = workers.pop().unwrap();
    Pair { here: workers.pop().unwrap(), there, store }
}

async fn pair(on: On) -> Pair {
    pair_with(on, &conf::Channels::default()).await
}

async fn ask(layer: &Layer, text: &str, wait: Duration) -> hulse::Result<String> {
    let answer = layer.ask(&name("questions"), text.into(), wait).await?;
    Ok(answer.text().unwrap().to_owned())
}

async fn numbers(layer: &Layer, channel: &str) -> ChannelStatistics {
    layer.channel_statistics(&name(channel)).await.unwrap()
}

async fn a_pattern_gives_a_channel_its_capacity_from_the_first_send_on(on: On) {
    let mut settings = conf::Channels { capacity: 3, ..Default::default() };
    let patterns = [("tiny.big*", 2), ("tiny*", 1), ("t*", 100)];
    settings.capacities.0 = patterns.map(|(pattern, n)| (pattern.to_owned(), n)).to_vec();
    let pair = pair_with(on, &settings).await;
    for (channel, capacity) in [("tiny.1", 1), ("tiny.big.1", 2), ("other", 3)] {
        for _ in 0..capacity {
            send(&pair.here, channel, "x").await;
        }
        let refused = pair.there.send(&name(channel), "x".into()).await.unwrap_err();
        assert!(refused.is_channel_full(), "{channel}: {refused}");
    }
}

async fn a_sender_keeps_its_order_for_one_reader(on: On) {
    let settings = conf::Channels { capacity: 1000, ..Default::default() };
    let pair = pair_with(on, &settings).await;
    let sending = [&pair.here, &pair.there].map(|layer| async move {
        for i in 0..200 {
            send(layer, "ordered", i.to_string()).await;
        }
    });
    join_all(sending).await;
    let mut last = Vec::new();
    for _ in 0..400 {
        last.push(receive(&pair.here, "ordered").await.parse::<u32>().unwrap());
    }
    // Two rising sequences make one in which a number is at most one ahead of its place.
    for expected in 0..200 {
        assert_eq!(last.iter().filter(|i| **i == expected).count(), 2);
    }
    let mut behind = (0, 0);
    for i in last {
        match behind {
            (a, b) if i == a => behind = (a + 1, b),
            (a, b) if i == b => behind = (a, b + 1),
            _ => unreachable!("{i} after {behind:?}"),
        }
    }
}

async fn a_delayed_message_comes_in_its_time_and_not_before(on: On) {
    let pair = pair(on).await;
    let begun = Instant::now();
    for (millis, text) in [(1200, "late"), (700, "soon"), (0, "now")] {
        let delay = Duration::from_millis(millis);
        pair.here.send_after(&name("later"), delay, text.into()).await.unwrap();
    }
    assert_eq!(numbers(&pair.there, "later").await.messages, 3);
    assert_eq!(receive(&pair.there, "later").await, "now");
    assert_eq!(receive(&pair.there, "later").await, "soon");
    // Redis cuts its clock to whole milliseconds.
    assert!(begun.elapsed() >= Duration::from_millis(699));
    assert_eq!(receive(&pair.there, "later").await, "late");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1199), "{took:?}");
}

async fn a_delayed_message_survives_its_sender(on: On) {
    let Pair { here, there, store: _store } = pair(on).await;
    let delay = Duration::from_millis(200);
    here.send_after(&name("later"), delay, "left behind".into()).await.unwrap();
    drop(here);
    assert_eq!(receive(&there, "later").await, "left behind");
}

async fn delayed_messages_are_bounded_in_number_and_time(on: On) {
    let settings = conf::Channels { delayed_messages: 2, capacity: 1, ..Default::default() };
    let pair = pair_with(on, &settings).await;
    let later = name("later");
    let send_after =
        |seconds| pair.here.send_after(&later, Duration::from_secs(seconds), "x".into());
    send_after(3600).await.unwrap();
    send_after(0).await.unwrap();
    send_after(3600).await.unwrap();
    let refused = send_after(3600).await.unwrap_err();
    assert!(refused.is_channel_full() && refused.to_string().contains("delayed"), "{refused}");
    let refused = send_after(8 * 24 * 3600).await.unwrap_err();
    assert!(refused.to_string().contains("at most"), "{refused}");
    let numbers = numbers(&pair.here, "later").await;
    assert_eq!((numbers.delayed, numbers.pending, numbers.refused), (2, 1, 1));
}

async fn numbers_say_what_a_channel_holds_and_has_done(on: On) {
    let settings = conf::Channels { capacity: 2, expiry_seconds: 1, ..Default::default() };
    let pair = pair_with(on, &settings).await;
    send(&pair.here, "a", "1").await;
    send(&pair.here, "a", "2").await;
    assert!(pair.here.send(&name("a"), "3".into()).await.unwrap_err().is_channel_full());
    send(&pair.here, "b", "1").await;
    assert_eq!(receive(&pair.there, "a").await, "1");
    let of_a = numbers(&pair.there, "a").await;
    assert_eq!((of_a.messages, of_a.pending, of_a.delivered, of_a.refused), (2, 1, 1, 1));
    assert!(of_a.oldest.is_some());
    let all = pair.there.channels_statistics().await.unwrap();
    assert_eq!((all.channels, all.messages, all.pending), (2, 3, 2));
    let gone = async {
        while numbers(&pair.here, "a").await.pending > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, gone).await.expect("it expires");
    let of_a = numbers(&pair.here, "a").await;
    assert_eq!((of_a.expired, of_a.oldest), (1, None));
    assert_eq!(numbers(&pair.here, "never").await, ChannelStatistics::default());
}

async fn a_flush_empties_one_channel_and_leaves_the_others(on: On) {
    let pair = pair(on).await;
    for channel in ["a", "b"] {
        send(&pair.here, channel, "old").await;
        let hour = Duration::from_secs(3600);
        pair.here.send_after(&name(channel), hour, "x".into()).await.unwrap();
    }
    pair.there.flush_channel(&name("a")).await.unwrap();
    let [a, b] = [numbers(&pair.here, "a").await, numbers(&pair.here, "b").await];
    assert_eq!((a.pending, a.delayed, b.pending, b.delayed), (0, 0, 1, 1));
    send(&pair.here, "a", "new").await;
    assert_eq!(receive(&pair.there, "a").await, "new");
}

async fn a_question_is_answered_to_the_one_who_asked(on: On) {
    let pair = pair(on).await;
    let asking = (0..50).map(|i| {
        let layer = if i % 2 == 0 { &pair.here } else { &pair.there };
        async move { ask(layer, &i.to_string(), WAIT).await.unwrap() }
    });
    let answering = async {
        for _ in 0..50 {
            let received = pair.there.take(&name("questions")).await.unwrap();
            let words = format!("answer to {}", received.message.text().unwrap());
            received.asker.expect("somebody asked").answer(words).await.unwrap();
        }
    };
    let (answers, ()) = tokio::join!(join_all(asking), answering);
    for (i, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, format!("answer to {i}"));
    }
}

async fn a_send_asks_nobody(on: On) {
    let pair = pair(on).await;
    send(&pair.here, "questions", "x").await;
    let received = pair.there.take(&name("questions")).await.unwrap();
    assert!(received.asker.is_none());
}

async fn a_late_answer_goes_nowhere(on: On) {
    let pair = pair(on).await;
    // A store that has just started takes a moment to listen to those of an earlier one.
    numbers(&pair.here, "questions").await;
    let refused = ask(&pair.here, "first", Duration::from_millis(50)).await.unwrap_err();
    assert!(refused.is_no_answer() && refused.to_string().contains("within 50ms"), "{refused}");
    let late = pair.there.take(&name("questions")).await.unwrap();
    let asking = ask(&pair.here, "second", WAIT);
    let answering = async {
        late.asker.unwrap().answer("to the first").await.unwrap();
        let second = pair.there.take(&name("questions")).await.unwrap();
        assert_eq!(second.message.text(), Some("second"));
        second.asker.unwrap().answer("to the second").await.unwrap();
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), "to the second");
    assert_eq!(pair.here.statistics().in_flight, 0);
}

async fn who_drops_a_question_tells_that_there_is_no_answer(on: On) {
    let pair = pair(on).await;
    let asking = ask(&pair.here, "x", WAIT * 10);
    let dropping = async { drop(pair.there.take(&name("questions")).await.unwrap()) };
    let (answer, ()) = timeout(WAIT, async { tokio::join!(asking, dropping) }).await.unwrap();
    assert!(answer.unwrap_err().is_no_answer());
    let asking = ask(&pair.here, "x", WAIT * 10);
    let flushing = async {
        while numbers(&pair.there, "questions").await.pending == 0 {}
        pair.there.flush_channel(&name("questions")).await.unwrap();
    };
    let (answer, ()) = timeout(WAIT, async { tokio::join!(asking, flushing) }).await.unwrap();
    assert!(answer.unwrap_err().is_no_answer());
}

async fn a_cancelled_reader_leaves_a_question_to_another(on: On) {
    let pair = pair(on).await;
    for round in 0..100 {
        let asking = ask(&pair.here, "x", WAIT);
        let answering = async {
            let wait = Duration::from_micros(round * 20);
            let first = timeout(wait, pair.there.take(&name("questions"))).await;
            let received = match first {
                Ok(received) => received.unwrap(),
                Err(_) => pair.here.take(&name("questions")).await.unwrap(),
            };
            received.asker.unwrap().answer("y").await.unwrap();
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap(), "y", "{round}");
    }
}

#[tokio::test]
async fn an_answer_finds_who_asked_though_the_store_restarted_meanwhile() {
    let mut pair = pair(On::pulse()).await;
    let asking = ask(&pair.here, "x", WAIT);
    let answering = async {
        let received = pair.there.take(&name("questions")).await.unwrap();
        pair.store.as_mut().unwrap().restart().await;
        received.asker.unwrap().answer("y").await.unwrap();
        // It was not asked a second time.
        assert_eq!(numbers(&pair.there, "questions").await.pending, 0);
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), "y");
}

#[tokio::test]
async fn without_a_store_who_asks_is_told_so() {
    let settings = conf::Channels { send_wait_seconds: 1, ..Default::default() };
    let mut pair = pair_with(On::pulse(), &settings).await;
    pair.store.as_mut().unwrap().kill().await;
    let refused = ask(&pair.here, "x", Duration::from_millis(200)).await.unwrap_err();
    assert!(refused.is_layer_unavailable(), "{refused}");
}

async fn a_message_or_an_answer_over_the_limit_is_refused_at_its_sender(on: On) {
    let settings = conf::Channels { message_bytes_max: 10, ..Default::default() };
    let pair = pair_with(on, &settings).await;
    let long = "x".repeat(11);
    assert!(ask(&pair.here, &long, WAIT).await.unwrap_err().is_message_too_large());
    let asking = ask(&pair.here, "x", WAIT);
    let answering = async {
        let received = pair.there.take(&name("questions")).await.unwrap();
        let refused = received.asker.unwrap().answer(long).await.unwrap_err();
        assert!(refused.is_message_too_large());
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(answer.unwrap_err().is_no_answer());
}
