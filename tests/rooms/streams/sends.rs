//! What clients say: acknowledged, counted once, and only by those who may.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hulse::Error;
use hulse::contrib::auth::User;
use hulse::streams::{Position, Sender};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{SILENCE, URL, join, member, site};

const CLIENT: &str = "0123456789abcdef0123456789abcdef";

/// What the handler of `once` has to do with.
#[derive(Default)]
struct Calls {
    count: AtomicUsize,
    begun: Notify,
    go_on: Notify,
}

/// Counts its calls; fails, publishes nothing, or takes its time, as it is told.
pub(super) async fn once(sender: Sender, data: Value) -> hulse::Result<()> {
    let calls = sender.keep(|_| Calls::default());
    calls.count.fetch_add(1, Ordering::Relaxed);
    match data.as_str() {
        Some("fail") => return Err(Error::new("as it was told")),
        Some("nothing") => return Ok(()),
        Some("wait") => {
            calls.begun.notify_one();
            calls.go_on.notified().await;
        }
        _ => {}
    }
    assert!(sender.key().is_some());
    sender.publish(data).await.map(drop)
}

fn send(stream: &str, key: &str, data: &Value) -> Value {
    json!({ "send": stream, "key": key, "data": data })
}

#[tokio::test]
async fn a_send_is_acknowledged_with_its_place() {
    let site = site().await;
    let mut ann = site.socket(URL).await;
    let mut bob = site.socket(URL).await;
    join(&mut ann, "open/a").await;
    join(&mut bob, "open/a").await;
    ann.send_json(&send("open/a", "k1", &json!({ "text": "hi" }))).await;
    let sent: Value = ann.receive_json().await;
    assert_eq!((&sent["sent"], &sent["stream"]), (&json!("k1"), &json!("open/a")));
    for socket in [&mut ann, &mut bob] {
        let said: Value = socket.receive_json().await;
        assert_eq!((&said["data"], &said["at"]), (&json!({ "text": "hi" }), &sent["at"]));
    }
    assert!(sent["at"].as_str().unwrap().parse::<Position>().is_ok());
    ann.send_json(&json!({ "send": "open/a", "data": 1 })).await;
    assert_eq!(ann.receive_json::<Value>().await["sent"], Value::Null);
}

#[tokio::test]
async fn only_who_has_joined_and_may_send_is_heard() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    let mut listener = site.socket(URL).await;
    join(&mut listener, "open/a").await;
    socket.send_json(&send("open/a", "k1", &json!(1))).await;
    let denied = json!({ "error": "denied", "stream": "open/a", "key": "k1" });
    assert_eq!(socket.receive_json::<Value>().await, denied);
    join(&mut socket, "kept/a").await;
    socket.send_json(&send("kept/a", "k2", &json!(1))).await;
    let denied = json!({ "error": "denied", "stream": "kept/a", "key": "k2" });
    assert_eq!(socket.receive_json::<Value>().await, denied);
    join(&mut socket, "open/a").await;
    socket.send_json(&send("open/a", "k3", &json!("forbidden"))).await;
    let bad = json!({ "error": "bad", "stream": "open/a", "key": "k3" });
    assert_eq!(socket.receive_json::<Value>().await, bad);
    listener.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn a_send_to_what_could_not_be_joined_now_is_to_be_tried_again() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    assert_eq!(join(&mut socket, "broken").await["error"], "failed");
    socket.send_json(&send("broken", "k1", &json!(1))).await;
    let later = json!({ "error": "unavailable", "stream": "broken", "key": "k1" });
    assert_eq!(socket.receive_json::<Value>().await, later);
    socket.send_json(&json!({ "leave": "broken" })).await;
    assert_eq!(socket.receive_json::<Value>().await["left"], "broken");
    socket.send_json(&send("broken", "k2", &json!(1))).await;
    assert_eq!(socket.receive_json::<Value>().await["error"], "denied");
}

#[tokio::test]
async fn a_send_that_is_too_large_is_refused_by_its_key() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "open/a").await;
    socket.send_json(&send("open/a", "k1", &json!("x".repeat(70_000)))).await;
    let large = json!({ "error": "too_large", "stream": "open/a", "key": "k1" });
    assert_eq!(socket.receive_json::<Value>().await, large);
    socket.send_json(&json!({ "ping": 1 })).await;
    assert_eq!(socket.receive_json::<Value>().await, json!({ "pong": 1 }));
}

#[tokio::test]
async fn a_handler_may_take_its_time() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let mut ann = site.socket(URL).await;
    let mut again = site.socket(URL).await;
    for socket in [&mut ann, &mut again] {
        socket.send_json(&json!({ "hello": CLIENT })).await;
        join(socket, "once").await;
    }
    tokio::time::pause();
    ann.send_json(&send("once", "k1", &json!("wait"))).await;
    calls.begun.notified().await;
    sleep_until(Instant::now() + Duration::from_secs(30)).await;
    again.send_json(&send("once", "k1", &json!("wait"))).await;
    assert_eq!(again.receive_json::<Value>().await["error"], "unavailable");
    calls.go_on.notify_one();
    let sent: Value = ann.receive_json().await;
    assert_eq!((&sent["sent"], calls.count.load(Ordering::Relaxed)), (&json!("k1"), 1));
}

#[tokio::test]
async fn who_may_no_more_is_out_at_the_next_send() {
    let site = site().await;
    let (client, user) = member(&site, "ann", true).await;
    let mut ann = client.socket(URL).await;
    join(&mut ann, "staff").await;
    ann.send_json(&send("staff", "k1", &json!(1))).await;
    assert_eq!(ann.receive_json::<Value>().await["sent"], "k1");
    assert_eq!(ann.receive_json::<Value>().await["data"], 1);
    // As the framework does not see it.
    let rows = User::objects().filter(|u| u.id().eq(user.id));
    rows.update(site.site(), |u| [u.is_staff().set(false)]).await.unwrap();
    ann.send_json(&send("staff", "k2", &json!(2))).await;
    assert_eq!(ann.receive_json::<Value>().await["error"], "denied");
    assert_eq!(ann.receive_json::<Value>().await, json!({ "left": "staff" }));
    site.group("staff").send(json!("secret")).await.unwrap();
    ann.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn the_same_key_after_a_reconnect_is_the_same_message() {
    let site = site().await;
    let mut listener = site.socket(URL).await;
    join(&mut listener, "open/a").await;
    let mut places = Vec::new();
    for _ in 0..3 {
        let mut ann = site.socket(URL).await;
        ann.send_json(&json!({ "hello": CLIENT })).await;
        join(&mut ann, "open/a").await;
        ann.send_json(&send("open/a", "k1", &json!("once"))).await;
        let mut frame: Value = ann.receive_json().await;
        if frame.get("sent").is_none() {
            frame = ann.receive_json().await;
        }
        places.push(frame["at"].clone());
    }
    assert_eq!(places[0], places[1]);
    assert_eq!(places[0], places[2]);
    assert_eq!(listener.receive_json::<Value>().await["data"], "once");
    listener.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn a_key_of_one_client_is_nothing_to_another() {
    let site = site().await;
    let mut listener = site.socket(URL).await;
    join(&mut listener, "open/a").await;
    let (member, _) = member(&site, "ann", false).await;
    let other = "fedcba9876543210fedcba9876543210";
    let visitors = [(site.client(), None), (site.client(), None), (member.clone(), None)];
    let told = [(site.client(), Some(CLIENT)), (site.client(), Some(other)), (member, Some(other))];
    for (number, (client, hello)) in visitors.into_iter().chain(told).enumerate() {
        let mut socket = client.socket(URL).await;
        if let Some(hello) = hello {
            socket.send_json(&json!({ "hello": hello })).await;
        }
        join(&mut socket, "open/a").await;
        socket.send_json(&send("open/a", "k1", &json!(number))).await;
        assert_eq!(listener.receive_json::<Value>().await["data"], number);
    }
}

#[tokio::test]
async fn one_key_in_two_streams_is_two_messages() {
    let site = site().await;
    let mut ann = site.socket(URL).await;
    ann.send_json(&json!({ "hello": CLIENT })).await;
    for stream in ["open/a", "open/b"] {
        join(&mut ann, stream).await;
        ann.send_json(&send(stream, "k1", &json!(stream))).await;
        assert_eq!(ann.receive_json::<Value>().await["sent"], "k1");
        assert_eq!(ann.receive_json::<Value>().await["data"], stream);
    }
}

#[tokio::test]
async fn a_repeated_send_is_handled_once_and_answered_each_time() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let client = site.client();
    let say = async |key: &str, data: &str| {
        let mut body = send("once", key, &json!(data));
        body["client"] = CLIENT.into();
        client.post_json(URL, &body).await.json::<Value>()
    };
    let first = say("k1", "said").await;
    assert_eq!(first["sent"], "k1");
    assert_eq!(say("k1", "said").await, first);
    assert_eq!(calls.count.load(Ordering::Relaxed), 1);
    let silent = json!({ "sent": "k2", "stream": "once" });
    assert_eq!(say("k2", "nothing").await, silent);
    assert_eq!(say("k2", "nothing").await, silent);
    assert_eq!(calls.count.load(Ordering::Relaxed), 2);
    // What failed is no answer to keep.
    assert_eq!(say("k3", "fail").await["error"], "failed");
    assert_eq!(say("k3", "said").await["sent"], "k3");
    assert_eq!(calls.count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_send_under_way_is_not_begun_again() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let client = site.client();
    let mut body = send("once", "k1", &json!("wait"));
    body["client"] = CLIENT.into();
    let waiting = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { client.post_json(URL, &body).await.json::<Value>() }
    });
    calls.begun.notified().await;
    let again = client.post_json(URL, &body).await;
    assert_eq!(again.assert_status(503).json::<Value>()["error"], "unavailable");
    calls.go_on.notify_one();
    let sent = waiting.await.unwrap();
    assert_eq!(client.post_json(URL, &body).await.json::<Value>(), sent);
    assert_eq!(calls.count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_said_behind_a_send_that_has_to_be_said_again_stays_behind_it() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let mut first = site.socket(URL).await;
    let mut next = site.socket(URL).await;
    for socket in [&mut first, &mut next] {
        socket.send_json(&json!({ "hello": CLIENT })).await;
        join(socket, "once").await;
    }
    join(&mut next, "open/a").await;
    first.send_json(&send("once", "k1", &json!("wait"))).await;
    calls.begun.notified().await;
    // The client has lost its connection, and says everything again on another.
    for key in ["k1", "k2", "k3"] {
        next.send_json(&send("once", key, &json!(key))).await;
    }
    for key in ["k1", "k2", "k3"] {
        let later = json!({ "error": "unavailable", "stream": "once", "key": key });
        assert_eq!(next.receive_json::<Value>().await, later);
    }
    // Another stream has an order of its own.
    next.send_json(&send("open/a", "k4", &json!(4))).await;
    assert_eq!(next.receive_json::<Value>().await["sent"], "k4");
    assert_eq!(next.receive_json::<Value>().await["data"], 4);
    calls.go_on.notify_one();
    assert_eq!(next.receive_json::<Value>().await["data"], "wait");
    // What it says again in another order than its own comes in its own.
    for (key, is_its_turn) in [("k3", false), ("k1", true), ("k5", false), ("k2", true)] {
        next.send_json(&send("once", key, &json!(key))).await;
        let answer: Value = next.receive_json().await;
        assert_eq!(answer["sent"] == key, is_its_turn, "{answer}");
    }
    assert_eq!(next.receive_json::<Value>().await["data"], "k2");
    for key in ["k3", "k5"] {
        next.send_json(&send("once", key, &json!(key))).await;
        assert_eq!(next.receive_json::<Value>().await["sent"], key);
        assert_eq!(next.receive_json::<Value>().await["data"], key);
    }
}

#[tokio::test]
async fn who_gives_up_a_send_may_say_the_next() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let mut first = site.socket(URL).await;
    let mut next = site.socket(URL).await;
    for socket in [&mut first, &mut next] {
        socket.send_json(&json!({ "hello": CLIENT })).await;
        join(socket, "once").await;
    }
    first.send_json(&send("once", "k1", &json!("wait"))).await;
    calls.begun.notified().await;
    for key in ["k1", "k2"] {
        next.send_json(&send("once", key, &json!(key))).await;
        assert_eq!(next.receive_json::<Value>().await["error"], "unavailable");
    }
    tokio::time::pause();
    sleep_until(Instant::now() + Duration::from_secs(6)).await;
    next.send_json(&send("once", "k2", &json!("k2"))).await;
    assert_eq!(next.receive_json::<Value>().await["sent"], "k2");
}

#[tokio::test]
async fn a_posted_list_keeps_its_order_too() {
    let site = site().await;
    let calls = site.keep(|_| Calls::default());
    let client = site.client();
    let body = |key: &str, data: &str| {
        let mut body = send("once", key, &json!(data));
        body["client"] = CLIENT.into();
        body
    };
    let waiting = tokio::spawn({
        let (client, body) = (client.clone(), body("k1", "wait"));
        async move { client.post_json(URL, &body).await.json::<Value>() }
    });
    calls.begun.notified().await;
    let list = json!([body("k1", "wait"), body("k2", "behind")]);
    let answers = client.post_json(URL, &list).await.json::<Vec<Value>>();
    assert!(answers.iter().all(|answer| answer["error"] == "unavailable"), "{answers:?}");
    calls.go_on.notify_one();
    waiting.await.unwrap();
    assert_eq!(calls.count.load(Ordering::Relaxed), 1);
}
