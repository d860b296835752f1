//! What the map promises, in this process.

use std::sync::atomic::{AtomicU32, Ordering};

use hulse::App;
use hulse::test::{Client, SocketClient, TestSite};
use serde_json::{Value, json};

use crate::map;
use crate::project;

/// A visitor who has opened the page, and the key of the marker.
async fn visitor(site: &TestSite) -> (Client, String) {
    let client = site.client();
    let page = client.get("/").await;
    let key = page.text().split("data-me=\"").nth(1).and_then(|rest| rest.split('"').next());
    let key = key.expect("the page knows whose it is").to_owned();
    (client, key)
}

/// Opens a connection and joins the map: the connection and the answer.
async fn join(client: &Client) -> (SocketClient, Value) {
    let mut socket = client.socket("/stream/").await;
    socket.send_json(&json!({ "join": "map" })).await;
    let joined: Value = socket.receive_json().await;
    assert_eq!(joined["joined"], "map", "{joined}");
    (socket, joined)
}

async fn go(socket: &mut SocketClient, place: Value) {
    static SENDS: AtomicU32 = AtomicU32::new(0);
    let key = format!("k{}", SENDS.fetch_add(1, Ordering::Relaxed));
    socket.send_json(&json!({ "send": "map", "key": key, "data": place })).await;
}

/// The next frame that `has` this field.
async fn next(socket: &mut SocketClient, has: &str) -> Value {
    loop {
        let frame: Value = socket.receive_json().await;
        if !frame[has].is_null() {
            return frame[has].clone();
        }
    }
}

#[tokio::test]
async fn a_visitor_keeps_the_marker_in_every_tab_and_there_is_no_table_of_places() {
    let site = TestSite::new(project()).await;
    let (client, key) = visitor(&site).await;
    client.get("/").await.assert_contains(&format!("data-me=\"{key}\""));
    assert_ne!(visitor(&site).await.1, key);
    assert_eq!(map::App.models().len(), 0);
}

#[tokio::test]
async fn a_move_reaches_everybody_and_stays_on_the_map() {
    let site = TestSite::new(project()).await;
    let ((ann, key), (bob, _)) = (visitor(&site).await, visitor(&site).await);
    let (mut ann, _) = join(&ann).await;
    let (mut bob, _) = join(&bob).await;
    go(&mut ann, json!({ "x": 0.25, "y": 0.123456 })).await;
    for socket in [&mut ann, &mut bob] {
        let moved = json!({ "key": key, "x": 0.25, "y": 0.1235 });
        assert_eq!(next(socket, "data").await, moved);
    }
    go(&mut ann, json!({ "x": -3, "y": 1e300 })).await;
    assert_eq!(next(&mut bob, "data").await, json!({ "key": key, "x": 0.0, "y": 1.0 }));
    for place in [json!(null), json!([]), json!({ "x": 1 }), json!({ "x": "1", "y": 1 })] {
        go(&mut ann, place).await;
        assert_eq!(next(&mut ann, "error").await, "bad");
    }
}

#[tokio::test]
async fn a_newcomer_is_painted_all_markers_at_once() {
    let site = TestSite::new(project()).await;
    let ((ann, ann_key), (bob, bob_key)) = (visitor(&site).await, visitor(&site).await);
    let (mut ann, first) = join(&ann).await;
    assert_eq!(first["snapshot"], json!([]));
    for x in [0.1, 0.2, 0.3] {
        go(&mut ann, json!({ "x": x, "y": 0.5 })).await;
        next(&mut ann, "sent").await;
    }
    let (_bob, joined) = join(&bob).await;
    assert_eq!(joined["snapshot"], json!([{ "key": ann_key, "x": 0.3, "y": 0.5 }]));
    let present = joined["present"].as_array().expect("who is present");
    let keys: Vec<_> = present.iter().map(|person| person["key"].clone()).collect();
    assert!(keys.contains(&json!(ann_key)) && keys.contains(&json!(bob_key)), "{keys:?}");
    assert!(present[0]["data"]["name"].is_string(), "{joined}");
}

#[tokio::test]
async fn who_leaves_is_gone_with_the_last_tab_and_is_no_longer_painted() {
    let site = TestSite::new(project()).await;
    let ((ann, key), (bob, _)) = (visitor(&site).await, visitor(&site).await);
    let (mut bob, _) = join(&bob).await;
    let (mut tab, _) = join(&ann).await;
    while next(&mut bob, "presence").await["joined"]["key"] != json!(key) {}
    let (mut other, _) = join(&ann).await;
    go(&mut tab, json!({ "x": 0.5, "y": 0.5 })).await;
    next(&mut tab, "sent").await;
    tab.close(1000).await;
    go(&mut other, json!({ "x": 0.6, "y": 0.5 })).await;
    drop(other);
    assert_eq!(next(&mut bob, "presence").await["left"]["key"], json!(key));
    let (_, joined) = join(&visitor(&site).await.0).await;
    assert_eq!(joined["snapshot"], json!([]));
}

#[tokio::test]
async fn who_has_not_opened_the_page_may_look_and_has_no_marker() {
    let site = TestSite::new(project()).await;
    let (ann, key) = visitor(&site).await;
    let (mut ann, _) = join(&ann).await;
    let (mut watcher, joined) = join(&site.client()).await;
    assert_eq!(joined["present"], Value::Null);
    go(&mut watcher, json!({ "x": 0.5, "y": 0.5 })).await;
    assert_eq!(next(&mut watcher, "error").await, "denied");
    go(&mut ann, json!({ "x": 0.5, "y": 0.5 })).await;
    assert_eq!(next(&mut watcher, "data").await["key"], json!(key));
}

#[tokio::test]
async fn a_slow_client_gets_the_latest_places_not_the_way_there() {
    const MOVES: u32 = 3000;
    let site = TestSite::new(project()).await;
    let ((ann, key), (bob, _)) = (visitor(&site).await, visitor(&site).await);
    let (mut ann, _) = join(&ann).await;
    let (mut bob, _) = join(&bob).await;
    for number in 0..MOVES {
        go(&mut ann, json!({ "x": f64::from(number) / f64::from(MOVES), "y": 0.5 })).await;
        next(&mut ann, "sent").await;
    }
    go(&mut ann, json!({ "x": 1, "y": 1 })).await;
    // All this time bob has read nothing.
    let mut read = 0;
    loop {
        read += 1;
        if next(&mut bob, "data").await == json!({ "key": key, "x": 1.0, "y": 1.0 }) {
            break;
        }
    }
    assert!(read < MOVES / 2, "a queue of {read} places");
}
