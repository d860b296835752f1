//! Redis that dies, restarts, freezes, forgets; links that are cut or go silent.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::channels::{Layer, Message, Policy, Position};
use hulse::conf;
use hulse_tests::{Network, RedisServer};
use tokio::time::timeout;

use super::cluster::{
    Member, WAIT, name, numbers, presence, publish, redis_url, send, texts, until,
};

/// What is below the wait of a default site, with room for a busy machine.
const BOUNDED: Duration = Duration::from_secs(4);

fn quick() -> conf::Channels {
    conf::Channels { send_wait_seconds: 1, ..Default::default() }
}

async fn workers(url: &str, settings: &conf::Channels, count: usize) -> Vec<Layer> {
    let workers: Vec<Layer> = (0..count).map(|_| Layer::redis(url, settings).unwrap()).collect();
    for worker in &workers {
        worker.ready().await.unwrap();
    }
    workers
}

/// Publishes until it is taken: the first offset it gets.
async fn publish_again(layer: &Layer, group: &str, text: &str) -> Position {
    let trying = async {
        loop {
            if let Ok(position) = layer.publish(&name(group), text.into()).await {
                return position;
            }
        }
    };
    timeout(WAIT, trying).await.expect("Redis takes messages again")
}

#[tokio::test]
async fn redis_away_for_five_seconds_tells_senders_and_what_is_lost_is_a_gap() {
    let Some(mut server) = RedisServer::start().await else {
        return;
    };
    let url = redis_url(&[server.host()]);
    let workers = workers(&url, &quick(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let mut old = Member::of(there, "life").await;
    let _ann = Member::enter(there, "life", "ann").await;
    let before = here.publish(&name("life"), "before".into()).await.unwrap();
    let channel = name("jobs");
    let reading = there.receive(&channel);
    let faults = async {
        server.kill().await;
        let killed = Instant::now();
        for _ in 0..3 {
            let begun = Instant::now();
            let refused = here.publish(&name("life"), "lost".into()).await.unwrap_err();
            assert!(refused.is_layer_unavailable(), "{refused}");
            assert!(begun.elapsed() < BOUNDED, "{:?}", begun.elapsed());
            let refused = here.send(&name("jobs"), "lost".into()).await.unwrap_err();
            assert!(refused.is_layer_unavailable(), "{refused}");
        }
        until(killed + Duration::from_secs(5)).await;
        server.start_again().await;
        let after = publish_again(here, "life", "after").await;
        assert!(after.epoch > before.epoch, "{before} {after}");
        send(here, "jobs", "work").await;
        after
    };
    let (received, after) = tokio::join!(timeout(WAIT, reading), faults);
    assert_eq!(received.unwrap().unwrap(), Message::from("work"), "the reader was not forgotten");
    old.lose().await;
    let back = Member::new(there);
    let joined = back.connection.join_at(&name("life"), Some(before), Policy::Close).await.unwrap();
    assert!(!joined.recovered);
    let back = Member::new(there);
    let joined = back.connection.join_at(&name("life"), Some(after), Policy::Close).await.unwrap();
    assert!(joined.recovered);
    let late = Member::new(here);
    let entered = late.connection.enter(&name("life"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.roster), ["ann joined"], "presence is counted again");
}

#[tokio::test]
async fn redis_with_persistence_restarts_and_nothing_is_lost() {
    let always = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = RedisServer::start_with(&always).await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &Default::default(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let mut member = Member::of(there, "kept").await;
    let mut last = Position::default();
    for i in 0..300 {
        if i % 100 == 50 {
            server.kill().await;
            server.start_again().await;
        }
        last = here.publish(&name("kept"), i.to_string().into()).await.unwrap();
    }
    assert_eq!(last.offset, 300);
    assert_eq!(member.hear(300).await, numbers(0..=299));
    let back = Member::new(there);
    let since = Position { offset: 100, ..last };
    let joined = back.connection.join_at(&name("kept"), Some(since), Policy::Close).await.unwrap();
    assert!(joined.recovered, "its offsets go on");
}

#[tokio::test]
async fn cut_links_lose_and_double_nothing_and_nobody_seems_to_leave() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &Default::default(), 3).await;
    let mut members = Vec::new();
    for worker in &workers {
        members.push(Member::of(worker, "cut").await);
    }
    let _ann = Member::enter(&workers[2], "cut", "ann").await;
    let publishers = workers.iter().enumerate().map(|(publisher, layer)| async move {
        for i in 0..300 {
            publish(layer, "cut", format!("{publisher}:{i}")).await;
        }
    });
    let cutting = async {
        let mut watcher = Member::of(&workers[0], "cut").await;
        for round in 1..5 {
            watcher.hear(round * 150).await;
            server.command("CLIENT KILL TYPE pubsub").await;
        }
    };
    tokio::join!(join_all(publishers), cutting);
    let order = members[0].hear(901).await;
    for member in &mut members {
        assert_eq!(member.hear(901).await, order);
    }
    let mut all = order.clone();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 901, "each once, and ann once");
    let late = Member::new(&workers[0]);
    let entered = late.connection.enter(&name("cut"), &presence("late")).await.unwrap();
    assert_eq!(texts(&entered.roster), ["ann joined"]);
}

#[tokio::test]
async fn a_cut_link_loses_no_message_of_a_channel() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &Default::default(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let sending = async {
        for i in 0..200 {
            send(here, "jobs", i.to_string()).await;
            if i % 20 == 10 {
                server.command("CLIENT KILL TYPE pubsub").await;
            }
        }
    };
    let receiving = async {
        let mut got = Vec::new();
        while got.len() < 200 {
            got.push(super::cluster::receive(there, "jobs").await);
        }
        got
    };
    let (mut got, ()) = tokio::join!(receiving, sending);
    got.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(got, numbers(0..=199));
}

#[tokio::test]
async fn a_frozen_redis_is_an_error_after_a_bounded_wait_and_then_goes_on() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &quick(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let mut member = Member::of(there, "ice").await;
    publish(here, "ice", "before").await;
    server.freeze();
    let begun = Instant::now();
    let refused = here.publish(&name("ice"), "frozen".into()).await.unwrap_err();
    assert!(refused.is_layer_unavailable(), "{refused}");
    assert!(begun.elapsed() < BOUNDED, "{:?}", begun.elapsed());
    server.thaw();
    publish_again(here, "ice", "after").await;
    let heard = member.hear_to("after").await;
    assert_eq!(heard, ["before", "frozen", "after"], "late is not lost");
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_a_new_epoch() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &Default::default(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let mut member = Member::of(there, "flushed").await;
    let before = here.publish(&name("flushed"), "before".into()).await.unwrap();
    assert_eq!(server.command("FLUSHALL").await, "+OK");
    assert_eq!(server.command("SCRIPT FLUSH").await, "+OK");
    let after = publish_again(here, "flushed", "after").await;
    assert!(after.epoch > before.epoch && after.offset == 1, "{before} {after}");
    member.lose().await;
    let mut fresh = Member::of(there, "flushed").await;
    publish(here, "flushed", "more").await;
    assert_eq!(fresh.hear_to("more").await.last().unwrap(), "more");
}

#[tokio::test]
async fn a_machine_that_goes_silent_is_taken_for_dead_and_comes_back() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let network = Network::before(&server.host()).await;
    let settings = conf::Channels::default();
    let url = redis_url(&[server.host()]);
    let near = workers(&url, &settings, 1).await.remove(0);
    let far_url = url.replace(&server.host(), network.host());
    let far = workers(&far_url, &settings, 1).await.remove(0);
    let mut watcher = Member::of(&near, "far").await;
    let _ann = Member::enter(&far, "far", "ann").await;
    assert_eq!(watcher.hear(1).await, ["ann joined"]);
    network.freeze();
    let begun = Instant::now();
    assert_eq!(watcher.hear(2).await[1], "ann left");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    network.thaw();
    assert_eq!(watcher.hear(3).await[2], "ann joined", "and is back with all it holds");
}

#[tokio::test]
async fn who_is_in_a_group_is_known_over_a_redis_that_is_far_away() {
    let Some(server) = RedisServer::start().await else { return };
    let network = Network::before(&server.host()).await;
    let (url, settings) = (redis_url(&[server.host()]), conf::Channels::default());
    let near = workers(&url, &settings, 1).await.remove(0);
    let far = workers(&url.replace(&server.host(), network.host()), &settings, 1).await.remove(0);
    let (here, there) = (Member::of(&near, "g").await, Member::of(&far, "g").await);
    let mut expected = [here.connection.name(), there.connection.name()];
    expected.sort();
    // Its own answer takes four of these, longer than the first round.
    network.delay(Duration::from_millis(120));
    for layer in [&far, &near] {
        assert_eq!(layer.group_channels(&name("g")).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_redis_that_wants_a_password_gets_it_and_no_error_shows_it() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "hush"]).await else {
        return;
    };
    let settings = quick();
    let good = redis_url(&[server.host()]).replace("redis://", "redis://:hush@");
    let layer = workers(&good, &settings, 1).await.remove(0);
    publish(&layer, "g", "in").await;
    for bad in ["redis://:wrong-hush@", "redis://nobody:wrong-hush@", "redis://"] {
        let url = redis_url(&[server.host()]).replace("redis://", bad);
        let error = Layer::redis(&url, &settings).unwrap().ready().await.unwrap_err();
        assert!(error.is_layer_unavailable(), "{error}");
        assert!(error.to_string().contains(&server.host()), "{error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_redis_without_memory_tells_senders_at_once_and_takes_again() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let workers = workers(&redis_url(&[server.host()]), &Default::default(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let mut member = Member::of(there, "full").await;
    publish(here, "full", "before").await;
    assert_eq!(server.command("CONFIG SET maxmemory 1").await, "+OK");
    let begun = Instant::now();
    let refused = here.publish(&name("full"), "no room".into()).await.unwrap_err();
    assert!(refused.is_layer_unavailable(), "{refused}");
    assert!(refused.to_string().contains("OOM"), "{refused}");
    assert!(begun.elapsed() < BOUNDED, "{:?}", begun.elapsed());
    assert_eq!(server.command("CONFIG SET maxmemory 0").await, "+OK");
    assert_eq!(publish(here, "full", "after").await, 2, "what was refused has no place");
    assert_eq!(member.hear(2).await, ["before", "after"]);
}

#[tokio::test]
async fn tls_is_spoken_and_who_cannot_be_believed_is_refused() {
    let names = vec!["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let arguments = [
        ["--port", "0", "--tls-port", "PORT", "--save", ""],
        ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"],
    ];
    let Some(server) = RedisServer::start_with(&arguments.concat()).await else {
        return;
    };
    let plain = redis_url(&[server.host()]);
    let url = format!("{}&ca={certificate}", plain.replace("redis://", "rediss://"));
    let workers = workers(&url, &quick(), 2).await;
    let mut member = Member::of(&workers[1], "secret").await;
    let long = "x".repeat(300_000);
    publish(&workers[0], "secret", long.as_str()).await;
    assert_eq!(member.hear(1).await, [long]);
    for (url, words) in [
        // Nobody this machine believes has signed it.
        (plain.replace("redis://", "rediss://"), "certificate"),
        (plain, ""),
        (url.replace(certificate, "/nowhere.pem"), "/nowhere.pem"),
    ] {
        let error = Layer::redis(&url, &quick()).unwrap().ready().await.unwrap_err().to_string();
        assert!(error.contains(&server.host()) && error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_was_missed_comes_in_pages_below_what_redis_lets_wait() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let network = Network::before(&server.host()).await;
    let settings = conf::Channels { history_bytes: 64 * 1024 * 1024, ..Default::default() };
    let url = redis_url(&[server.host()]);
    let near = workers(&url, &settings, 1).await.remove(0);
    let far_url = url.replace(&server.host(), network.host());
    let far = workers(&far_url, &settings, 1).await.remove(0);
    let mut members = Vec::new();
    for group in ["one", "two", "three"] {
        publish(&near, group, "first").await;
        members.push(Member::of(&far, group).await);
    }
    // A subscriber with more than this unread is cut off.
    let limit = "CONFIG SET client-output-buffer-limit \"pubsub 4mb 4mb 60\"";
    assert_eq!(server.command(limit).await, "+OK");
    network.freeze();
    let text = "x".repeat(100_000);
    for _ in 0..120 {
        for group in ["one", "two", "three"] {
            publish(&near, group, text.as_str()).await;
        }
    }
    network.thaw();
    for member in &mut members {
        assert!(member.hear(120).await.iter().all(|heard| *heard == text));
    }
}

#[tokio::test]
async fn one_shard_away_leaves_the_names_of_the_others_alone() {
    let Some(mut first) = RedisServer::start().await else {
        return;
    };
    let Some(second) = RedisServer::start().await else {
        return;
    };
    let url = redis_url(&[first.host(), second.host()]);
    let layer = workers(&url, &quick(), 1).await.remove(0);
    first.kill().await;
    let mut taken = Vec::new();
    for i in 0..16 {
        let group = name(&format!("group-{i}"));
        let (layer, text) = (layer.clone(), Message::from("x"));
        taken.push(async move { layer.publish(&group, text).await.is_ok() });
    }
    let taken = join_all(taken).await.into_iter().filter(|is_taken| *is_taken).count();
    assert!((1..16).contains(&taken), "{taken} of 16");
    first.start_again().await;
    for i in 0..16 {
        publish_again(&layer, &format!("group-{i}"), "y").await;
    }
}

#[tokio::test]
async fn a_shard_that_restarts_is_a_gap_for_its_groups_and_nothing_for_the_others() {
    let Some(mut first) = RedisServer::start().await else {
        return;
    };
    let Some(second) = RedisServer::start().await else {
        return;
    };
    let url = redis_url(&[first.host(), second.host()]);
    let workers = workers(&url, &quick(), 2).await;
    let (here, there) = (&workers[0], &workers[1]);
    let groups: Vec<String> = (0..16).map(|number| format!("group-{number}")).collect();
    let (mut members, mut people, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for group in &groups {
        members.push(Member::of(there, group).await);
        people.push(Member::enter(there, group, "ann").await);
        before.push(here.publish(&name(group), "before".into()).await.unwrap());
    }
    first.kill().await;
    let publishing = groups
        .iter()
        .map(|group| async move { here.publish(&name(group), "meanwhile".into()).await.is_ok() });
    let stays = join_all(publishing).await;
    first.start_again().await;
    for group in &groups {
        publish_again(here, group, "after").await;
    }
    for (number, group) in groups.iter().enumerate() {
        if !stays[number] {
            // Until its worker knows of the restart, who comes back is not told of it either.
            members[number].lose().await;
        }
        let back = Member::new(there);
        let since = Some(before[number]);
        let joined = back.connection.join_at(&name(group), since, Policy::Close).await.unwrap();
        assert_eq!(joined.recovered, stays[number], "{group}");
        if stays[number] {
            let heard = members[number].hear(4).await;
            assert_eq!(heard, ["ann joined", "before", "meanwhile", "after"], "{group}");
        }
        let late = Member::new(here);
        let entered = late.connection.enter(&name(group), &presence("late")).await.unwrap();
        assert_eq!(texts(&entered.roster), ["ann joined"], "{group}");
    }
    let count = stays.iter().filter(|stays| **stays).count();
    assert!((1..16).contains(&count), "both shards have groups: {count} of 16");
}
