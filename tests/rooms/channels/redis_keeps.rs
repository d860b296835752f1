//! What Redis keeps beside the messages themselves, how long, and what it is good for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::channels::{Layer, Policy, Position};
use hulse::conf;
use hulse_tests::{Network, RedisServer};
use tokio::time::timeout;

use super::cluster::{Member, WAIT, name, publish, receive, redis_url, send, until};

async fn worker(url: &str) -> Layer {
    let settings = conf::Channels { capacity: 1000, send_wait_seconds: 30, ..Default::default() };
    let worker = Layer::redis(url, &settings).unwrap();
    worker.ready().await.unwrap();
    worker
}

/// Waits until `script` says `number`.
async fn says(server: &RedisServer, script: &str, number: i64) {
    let wanted = format!(":{number}");
    let mut said = String::new();
    let begun = Instant::now();
    while said != wanted {
        assert!(begun.elapsed() < WAIT, "{script} says {said}");
        until(Instant::now() + Duration::from_millis(20)).await;
        said = server.command(&format!("EVAL \"{script}\" 0")).await;
    }
}

/// How many keys are named so.
async fn has_keys(server: &RedisServer, pattern: &str, number: i64) {
    says(server, &format!("return #redis.call('KEYS', '{pattern}')"), number).await;
}

/// How many locks are noted with workers.
const HOLDS: &str = "local n = 0 for _, k in ipairs(redis.call('KEYS', '*:w:*')) do \
    for _, f in ipairs(redis.call('HKEYS', k)) do if string.sub(f, 1, 1) == 'l' then n = n + 1 \
    end end end return n";

#[tokio::test]
async fn what_a_reader_has_and_what_came_of_a_value_is_not_kept() {
    let Some(server) = RedisServer::start().await else { return };
    let url = redis_url(&[server.host()]);
    let (here, there) = (worker(&url).await, worker(&url).await);
    for number in 0..100 {
        send(&here, "letters", number.to_string()).await;
    }
    for number in 0..100 {
        assert_eq!(receive(&there, "letters").await, number.to_string());
    }
    let waiting = receive(&there, "letters");
    let (got, ()) = tokio::join!(waiting, send(&here, "letters", "handed"));
    assert_eq!(got, "handed");
    has_keys(&server, "*:d:*", 0).await;
    for number in 0..10_i64 {
        here.values().set("value", number.to_string(), None).await.unwrap();
        here.values().count("counter", 1, Duration::from_secs(60)).await.unwrap();
    }
    has_keys(&server, "*:o:*", 0).await;
}

#[tokio::test]
async fn a_lock_that_ran_out_is_not_noted_with_its_worker_for_ever() {
    let Some(server) = RedisServer::start().await else { return };
    let worker = worker(&redis_url(&[server.host()])).await;
    let lock = worker.values().lock("job", Duration::from_millis(100)).await.unwrap();
    let lock = lock.expect("it is free");
    says(&server, HOLDS, 1).await;
    has_keys(&server, "*:l:*", 0).await;
    drop(lock);
    says(&server, HOLDS, 0).await;
}

#[tokio::test]
async fn a_cut_link_leaves_its_locks_to_a_holder_who_may_live() {
    let Some(server) = RedisServer::start().await else { return };
    let network = Network::before(&server.host()).await;
    let url = redis_url(&[server.host()]);
    let near = worker(&url).await;
    let far = worker(&url.replace(&server.host(), network.host())).await;
    let lasts = Duration::from_secs(60);
    let held = far.values().lock("job", lasts).await.unwrap().expect("it is free");
    network.cut();
    network.freeze();
    // It is taken for dead, but five seconds from its last word its lock is nobody else's.
    says(&server, HOLDS, 0).await;
    let left = "for _, k in ipairs(redis.call('KEYS', '*:l:*')) do local left = \
        redis.call('PTTL', k) return left > 1000 and left <= 5000 and 1 or left end return -1";
    says(&server, left, 1).await;
    assert!(near.values().lock("job", lasts).await.unwrap().is_none());
    network.thaw();
    assert!(held.extend(lasts).await.unwrap(), "nobody else had it");
    says(&server, HOLDS, 1).await;
}

#[tokio::test]
async fn a_lock_that_another_has_meanwhile_is_not_given_to_who_asks_again() {
    let Some(server) = RedisServer::start().await else { return };
    let network = Network::before(&server.host()).await;
    let url = redis_url(&[server.host()]);
    let near = worker(&url).await;
    let far = worker(&url.replace(&server.host(), network.host())).await;
    network.hold_answers();
    let (values, lasts) = (far.values(), Duration::from_secs(60));
    let locking = values.lock("job", lasts);
    let meanwhile = async {
        has_keys(&server, "*:l:*", 1).await;
        let ending = "for _, k in ipairs(redis.call('KEYS', '*:l:*')) do redis.call('DEL', k) end \
            return 0";
        says(&server, ending, 0).await;
        let taken = near.values().lock("job", lasts).await.unwrap();
        network.cut();
        taken.expect("it is free")
    };
    let (late, taken) = tokio::join!(locking, meanwhile);
    assert!(late.unwrap().is_none(), "it is another's");
    assert!(taken.extend(lasts).await.unwrap(), "who has it keeps it");
}

#[tokio::test]
async fn as_many_sends_as_are_under_way_are_known_when_they_come_again() {
    let Some(server) = RedisServer::start().await else { return };
    let network = Network::before(&server.host()).await;
    let url = redis_url(&[server.host()]);
    let near = worker(&url).await;
    let far = worker(&url.replace(&server.host(), network.host())).await;
    network.hold_answers();
    let sending = join_all((0..500).map(|number| send(&far, "many", number.to_string())));
    let cutting = async {
        let arrived = async {
            while near.channel_statistics(&name("many")).await.unwrap().pending < 500 {
                until(Instant::now() + Duration::from_millis(20)).await;
            }
        };
        timeout(WAIT, arrived).await.expect("all arrive");
        network.cut();
    };
    tokio::join!(sending, cutting);
    let held = near.channel_statistics(&name("many")).await.unwrap();
    assert_eq!((held.pending, held.messages), (500, 500));
}

#[tokio::test]
async fn an_entry_nobody_can_read_is_a_gap_of_its_group_alone() {
    let Some(server) = RedisServer::start().await else { return };
    let worker = worker(&redis_url(&[server.host()])).await;
    let mut other = Member::of(&worker, "other").await;
    let mut member = Member::of(&worker, "bad").await;
    let first = worker.publish(&name("bad"), "1".into()).await.unwrap();
    assert_eq!(member.hear(1).await, ["1"]);
    let links = worker.statistics().links;
    let Position { epoch, .. } = first;
    let spoil = format!(
        "local g = redis.call('KEYS', '*:g:bad')[1] local h = string.gsub(g, ':g:bad', ':h:bad') \
        redis.call('XADD', h, '{epoch}-2', 'm', '?', 's', redis.call('TIME')[1] .. '000', \
        'c', '300', 'k', '') redis.call('HSET', g, 't', '2') return 0"
    );
    says(&server, &spoil, 0).await;
    publish(&worker, "bad", "3").await;
    member.lose().await;
    publish(&worker, "other", "whole").await;
    assert_eq!(other.hear(1).await, ["whole"]);
    let back = Member::new(&worker);
    let joined = back.connection.join_at(&name("bad"), Some(first), Policy::Close).await.unwrap();
    assert!(!joined.recovered);
    assert_eq!(worker.statistics().links, links, "its link was not cut");
}
