//! Values, counters and locks that all processes share.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::channels::{GroupName, Layer};
use hulse::conf;
use tokio::time::timeout;

use super::cluster::{Member, On, WAIT, gone, name, presence, receive, until};

on_every_layer! {
    what_one_worker_sets_every_worker_gets,
    a_value_ends_at_its_time_and_not_before,
    of_many_who_swap_the_same_version_one_wins,
    a_counter_counts_everybody_and_begins_again,
    of_many_who_want_a_lock_one_has_it,
    a_lock_given_up_while_it_was_asked_for_is_free,
    a_lock_ends_with_its_time_and_cannot_be_extended_then,
    names_and_values_have_limits,
    what_lasts_for_ever_is_no_mistake,
    what_looks_like_code_is_a_name_and_a_value,
}

/// What a script or a command of a store could take for its own.
const CODE: [&str; 9] = [
    "]] redis.call('FLUSHALL') --",
    "' .. redis.call('SET', 'canary', 'dead') .. '",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "KEYS[1]",
    "{canary}",
    "%s%n\0\\",
    "return 0",
    "v:canary",
    "*",
];

async fn what_looks_like_code_is_a_name_and_a_value(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    here.values().set("canary", "alive", None).await.unwrap();
    for code in CODE {
        here.values().set(code, code, Some(LONG)).await.unwrap();
        assert!(here.values().count(code, 1, LONG).await.unwrap().value == 1, "{code:?}");
        let lock = there.values().lock(code, LONG).await.unwrap().expect("nobody holds it");
        assert!(here.values().lock(code, LONG).await.unwrap().is_none(), "{code:?}");
        assert!(lock.release().await.unwrap());
        // As what is said, as the name it is said under, and as what somebody is called.
        let group = name("code");
        let first = here.publish_once(&group, code, code.into()).await.unwrap();
        assert_eq!(there.publish_once(&group, code, code.into()).await.unwrap(), first);
        here.publish_latest(&group, code, code.into()).await.unwrap();
        let member = Member::new(there);
        member.connection.enter(&group, &presence(code)).await.unwrap();
        let present = there.present(&group).await.unwrap();
        assert_eq!(present.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), [code]);
        here.send(&name("code"), code.into()).await.unwrap();
        assert_eq!(receive(there, "code").await, code);
    }
    for code in CODE {
        assert_eq!(text(there, code).await.as_deref(), Some(code));
        assert!(there.values().remove(code).await.unwrap());
    }
    assert_eq!(text(there, "canary").await.as_deref(), Some("alive"));
    let history = there.history(&name("code"), None, 100).await.unwrap();
    let said = history.messages.iter().filter(|delivery| !delivery.is_presence);
    let said: Vec<&str> = said.map(|delivery| delivery.message.text().unwrap()).collect();
    assert_eq!(said, CODE.iter().flat_map(|code| [*code, *code]).collect::<Vec<_>>());
}

const LONG: Duration = Duration::from_secs(60);

async fn text(layer: &Layer, name: &str) -> Option<String> {
    let value = layer.values().get(name).await.unwrap()?;
    Some(String::from_utf8(value.bytes.to_vec()).unwrap())
}

async fn what_one_worker_sets_every_worker_gets(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    assert_eq!(text(there, "k").await, None);
    let first = here.values().set("k", "one", None).await.unwrap();
    assert_eq!(text(there, "k").await.as_deref(), Some("one"));
    assert_eq!(there.values().get("k").await.unwrap().unwrap().left, None, "for ever");
    assert!(there.values().add("k", "two", None).await.unwrap().is_none());
    assert!(there.values().add("other", "two", Some(LONG)).await.unwrap().is_some());
    let second = there.values().swap("k", first, "three", None).await.unwrap().unwrap();
    assert!(second > first);
    assert!(here.values().swap("k", first, "four", None).await.unwrap().is_none());
    assert_eq!(text(here, "k").await.as_deref(), Some("three"));
    assert!(here.values().remove("k").await.unwrap());
    assert!(!there.values().remove("k").await.unwrap());
    assert!(there.values().swap("k", second, "five", None).await.unwrap().is_none());
    assert_eq!(text(here, "other").await.as_deref(), Some("two"));
    let bytes: Vec<u8> = (0..=255).collect();
    here.values().set("k", bytes.clone(), None).await.unwrap();
    assert_eq!(there.values().get("k").await.unwrap().unwrap().bytes, bytes);
    here.values().set("k", "", None).await.unwrap();
    assert_eq!(text(there, "k").await.as_deref(), Some(""), "empty is not absent");
}

async fn a_value_ends_at_its_time_and_not_before(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let start = Instant::now();
    here.values().set("short", "x", Some(Duration::from_millis(300))).await.unwrap();
    here.values().set("touched", "x", Some(Duration::from_millis(300))).await.unwrap();
    here.values().set("kept", "x", Some(Duration::from_millis(300))).await.unwrap();
    assert!(there.values().touch("touched", Some(LONG)).await.unwrap());
    assert!(there.values().touch("kept", None).await.unwrap());
    assert!(!there.values().touch("absent", None).await.unwrap());
    let left = there.values().get("short").await.unwrap();
    if start.elapsed() < Duration::from_millis(300) {
        assert!(left.unwrap().left.unwrap() <= Duration::from_millis(300));
    }
    until(start + Duration::from_millis(800)).await;
    assert_eq!(text(there, "short").await, None);
    assert_eq!(text(there, "touched").await.as_deref(), Some("x"));
    assert_eq!(text(here, "kept").await.as_deref(), Some("x"));
    assert!(here.values().add("short", "y", None).await.unwrap().is_some());
}

async fn of_many_who_swap_the_same_version_one_wins(on: On) {
    let cluster = on.workers(3).await;
    let first = cluster.workers[0].values().set("n", "0", None).await.unwrap();
    let swapping = (0..30).map(|i: usize| {
        let layer = &cluster.workers[i % 3];
        async move { layer.values().swap("n", first, i.to_string(), None).await.unwrap() }
    });
    let won = join_all(swapping).await;
    assert_eq!(won.iter().flatten().count(), 1);
    // Counting by swapping: whoever loses looks again.
    let adding = (0..12).map(|i: usize| {
        let values = cluster.workers[i % 3].values();
        async move {
            loop {
                let value = values.get("sum").await.unwrap();
                let set = match value {
                    None => values.add("sum", "1", None).await.unwrap(),
                    Some(value) => {
                        let sum: u64 = std::str::from_utf8(&value.bytes).unwrap().parse().unwrap();
                        let sum = (sum + 1).to_string();
                        values.swap("sum", value.version, sum, None).await.unwrap()
                    }
                };
                if set.is_some() {
                    return;
                }
            }
        }
    });
    timeout(WAIT, join_all(adding)).await.unwrap();
    assert_eq!(text(&cluster.workers[0], "sum").await.as_deref(), Some("12"));
}

async fn a_counter_counts_everybody_and_begins_again(on: On) {
    let cluster = on.workers(2).await;
    let window = Duration::from_millis(700);
    let start = Instant::now();
    let counting = (0..40).map(|i: usize| {
        let layer = &cluster.workers[i % 2];
        async move { layer.values().count("hits", 1, window).await.unwrap().value }
    });
    let mut seen = join_all(counting).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=40).collect::<Vec<i64>>(), "each answer is of its moment");
    let values = cluster.workers[0].values();
    let looked = values.count("hits", 0, LONG).await.unwrap();
    assert!(looked.value == 40 && looked.left <= window, "the first sets the window");
    assert_eq!(values.count("hits", -50, LONG).await.unwrap().value, -10);
    assert_eq!(values.count("other", 0, LONG).await.unwrap().value, 0);
    assert_eq!(values.count("big", i64::MAX, LONG).await.unwrap().value, i64::MAX);
    assert_eq!(values.count("big", 1, LONG).await.unwrap().value, i64::MAX, "it stays there");
    until(start + Duration::from_millis(1500)).await;
    assert_eq!(values.count("hits", 1, window).await.unwrap().value, 1);
}

async fn of_many_who_want_a_lock_one_has_it(on: On) {
    let cluster = on.workers(3).await;
    let inside = std::sync::atomic::AtomicUsize::new(0);
    let working = (0..12).map(|i: usize| {
        let (values, inside) = (cluster.workers[i % 3].values(), &inside);
        async move {
            let lock = values.lock_within("work", LONG, WAIT).await.unwrap().unwrap();
            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            let token = lock.token();
            if i.is_multiple_of(2) {
                assert!(lock.release().await.unwrap());
            }
            token
        }
    });
    let tokens = timeout(WAIT, join_all(working)).await.unwrap();
    let mut distinct = tokens.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), tokens.len(), "no token twice");
    let values = cluster.workers[0].values();
    let held = values.lock("work", LONG).await.unwrap().unwrap();
    assert!(held.token() > *distinct.last().unwrap(), "later is larger");
    assert!(values.lock("work", LONG).await.unwrap().is_none());
    let other = values.lock("another", LONG).await.unwrap().unwrap();
    assert!(other.token() > held.token());
    assert!(held.extend(LONG).await.unwrap());
}

async fn a_lock_given_up_while_it_was_asked_for_is_free(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    for polls in 0..6 {
        let values = here.values();
        {
            let taking = values.lock("gave-up", LONG);
            tokio::pin!(taking);
            for _ in 0..polls {
                if futures_util::poll!(&mut taking).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let lock = there.values().lock_within("gave-up", LONG, WAIT).await.unwrap();
        assert!(lock.is_some(), "after {polls} polls");
    }
}

async fn a_lock_ends_with_its_time_and_cannot_be_extended_then(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let slow = here.values().lock("job", Duration::from_millis(200)).await.unwrap().unwrap();
    let next = there.values().lock_within("job", LONG, WAIT).await.unwrap().unwrap();
    assert!(next.token() > slow.token(), "what is guarded can tell who is late");
    assert!(!slow.extend(LONG).await.unwrap());
    assert!(!slow.release().await.unwrap(), "it frees nobody else's");
    assert!(here.values().lock("job", LONG).await.unwrap().is_none());
    drop(next);
    assert!(here.values().lock_within("job", LONG, WAIT).await.unwrap().is_some());
}

async fn names_and_values_have_limits(on: On) {
    let settings = conf::Channels { message_bytes_max: 100, ..Default::default() };
    let cluster = on.workers_with(&settings, 1).await;
    let values = cluster.workers[0].values();
    for bad in ["", &"x".repeat(201)] {
        assert!(values.get(bad).await.is_err());
    }
    for good in ["x".repeat(200), "any text, Café \u{1F600}\0".to_owned()] {
        values.set(&good, vec![1; 100], None).await.unwrap();
    }
    let refused = values.set("large", vec![1; 101], None).await.unwrap_err();
    assert!(refused.is_message_too_large(), "{refused}");
    assert!(values.get("large").await.unwrap().is_none());
}

#[tokio::test]
async fn tokens_and_versions_go_on_after_the_store_was_restarted() {
    let mut cluster = On::pulse().workers(1).await;
    let values = cluster.workers[0].values();
    let version = values.set("k", "x", None).await.unwrap();
    let mut token = values.lock("l", LONG).await.unwrap().unwrap().token();
    for _ in 0..3 {
        cluster.store.as_mut().unwrap().restart().await;
        assert!(values.get("k").await.unwrap().is_none(), "values are gone with the store");
        assert!(values.swap("k", version, "y", None).await.unwrap().is_none());
        let lock = values.lock("l", LONG).await.unwrap().unwrap();
        assert!(lock.token() > token);
        token = lock.token();
        assert!(values.set("k", "x", None).await.unwrap() > version);
    }
}

#[tokio::test]
async fn a_worker_that_is_gone_holds_no_locks() {
    let mut cluster = On::pulse().workers(2).await;
    let lock = cluster.workers[1].values().lock("mine", LONG).await.unwrap().unwrap();
    let values = cluster.workers[0].values();
    assert!(values.lock("mine", LONG).await.unwrap().is_none());
    // Nothing is said: only its link's end tells.
    cluster.kill_last();
    let taken = values.lock_within("mine", LONG, gone()).await.unwrap().unwrap();
    assert!(taken.token() > lock.token());
}

async fn what_lasts_for_ever_is_no_mistake(on: On) {
    let cluster = on.workers(2).await;
    let (here, there) = cluster.two();
    let lock = here.values().lock("l", Duration::MAX).await.unwrap().unwrap();
    let waiting = there.values();
    let (taken, ()) = tokio::join!(waiting.lock_within("l", Duration::MAX, Duration::MAX), async {
        let _was_held = lock.release().await.unwrap();
    },);
    assert!(taken.unwrap().is_some());
    here.values().set("k", "x", Some(Duration::MAX)).await.unwrap();
    assert_eq!(text(there, "k").await.as_deref(), Some("x"));
    let group = GroupName::new("oracle").unwrap();
    let (answer, ()) = tokio::join!(here.ask(&group, "why".into(), Duration::MAX), async {
        there.take(&group).await.unwrap().asker.unwrap().answer("so").await.unwrap();
    });
    assert_eq!(answer.unwrap().text(), Some("so"));
}
