//! Streams as server-sent events.

use std::time::Duration;

use hulse::test::TestSite;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{SILENCE, project, site};

const WAIT: Duration = Duration::from_secs(10);

/// A connection that reads events.
struct Events {
    lines: BufReader<TcpStream>,
    head: String,
}

/// One event: its `id` and its `data`.
type Event = (String, Value);

impl Events {
    async fn open(site: &TestSite, query: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(site.address().await).await.unwrap();
        let mut lines = BufReader::new(stream);
        let request = format!(
            "GET /stream/?{query} HTTP/1.1\r\nHost: testserver\r\nAccept: text/event-stream\r\n\
             {headers}\r\n"
        );
        lines.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { lines, head: String::new() };
        while !events.head.ends_with("\r\n\r\n") {
            let line = events.line().await.expect("a head");
            events.head.push_str(&line);
        }
        events.head = events.head.to_lowercase();
        events
    }

    /// The next line, marks of the chunked body among them; `None` at its end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(WAIT, self.lines.read_line(&mut line)).await.expect("a line in time");
        (read.unwrap() > 0 && line != "0\r\n").then_some(line)
    }

    async fn next(&mut self) -> Option<Event> {
        let (mut id, mut data) = (String::new(), None);
        loop {
            let line = self.line().await?;
            if let Some(text) = line.strip_prefix("id: ") {
                text.trim_end().clone_into(&mut id);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            } else if line == "\n"
                && let Some(data) = data.take()
            {
                return Some((id, data));
            }
        }
    }

    async fn expect(&mut self) -> Event {
        self.next().await.expect("an event")
    }
}

#[tokio::test]
async fn a_stream_is_read_as_events_with_its_places_as_ids() {
    let site = site().await;
    let mut events = Events::open(&site, "join=open/a", "").await;
    assert!(events.head.starts_with("http/1.1 200 "), "{}", events.head);
    for header in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(events.head.contains(header), "{header} in {}", events.head);
    }
    let (id, joined) = events.expect().await;
    assert_eq!((&joined["joined"], &joined["at"]), (&json!("open/a"), &json!(id)));
    site.group("open-a").send("{\n\"lines\": 2\n}").await.unwrap();
    let (id, said) = events.expect().await;
    assert_eq!((&said["data"], &said["at"]), (&json!({ "lines": 2 }), &json!(id)));
}

#[tokio::test]
async fn the_last_id_goes_on_where_it_was_whatever_transport_gave_it() {
    let site = site().await;
    let mut socket = site.socket("/stream/").await;
    let joined = super::join(&mut socket, "open/a").await;
    for number in 1..=3 {
        site.group("open-a").send(json!(number)).await.unwrap();
    }
    let first: Value = socket.receive_json().await;
    let last = format!("Last-Event-ID: {}\r\n", first["at"].as_str().unwrap());
    let at = format!("join=open/a&at={}", joined["at"].as_str().unwrap());
    // The header is newer than the URL a browser opens again.
    let mut events = Events::open(&site, &at, &last).await;
    assert_eq!(events.expect().await.1["recovered"], true);
    assert_eq!(events.expect().await.1["data"], 2);
    assert_eq!(events.expect().await.1["data"], 3);
    let mut events = Events::open(&site, &at, "").await;
    assert_eq!(events.expect().await.1["recovered"], true);
    assert_eq!(events.expect().await.1["data"], 1);
}

#[tokio::test]
async fn an_id_holds_the_places_of_all_streams() {
    let site = site().await;
    let mut events = Events::open(&site, "join=open/a&join=open/b", "").await;
    events.expect().await;
    let (before, _) = events.expect().await;
    site.group("open-a").send(json!(1)).await.unwrap();
    site.group("open-b").send(json!(2)).await.unwrap();
    let (one, _) = events.expect().await;
    let (both, _) = events.expect().await;
    assert!(before.split(',').count() == 2 && one != before && both != one);
    let expected = |id: String, numbers: Vec<i32>| {
        let site = &site;
        async move {
            let last = format!("Last-Event-ID: {id}\r\n");
            let mut events = Events::open(site, "join=open/a&join=open/b", &last).await;
            assert_eq!(events.expect().await.1["recovered"], true);
            assert_eq!(events.expect().await.1["recovered"], true);
            let mut heard = Vec::new();
            for _ in &numbers {
                heard.push(events.expect().await.1["data"].as_i64().unwrap() as i32);
            }
            heard.sort_unstable();
            assert_eq!(heard, numbers);
            assert!(timeout(SILENCE, events.next()).await.is_err());
        }
    };
    expected(before, vec![1, 2]).await;
    expected(both, vec![]).await;
}

#[tokio::test]
async fn one_refused_stream_leaves_the_others_and_none_is_an_error() {
    let site = site().await;
    let mut events = Events::open(&site, "join=staff&join=open/a", "").await;
    assert_eq!(events.expect().await.1, json!({ "error": "denied", "stream": "staff" }));
    assert_eq!(events.expect().await.1["joined"], "open/a");
    for (stream, status) in [("staff", "403"), ("blog/a", "404"), ("broken", "500")] {
        let mut events = Events::open(&site, &format!("join={stream}"), "").await;
        assert!(events.head.starts_with(&format!("http/1.1 {status} ")), "{}", events.head);
        assert!(events.expect().await.1["error"].is_string());
    }
}

#[tokio::test]
async fn silence_is_broken_by_a_comment() {
    let site = TestSite::with(project(), |settings| settings.server.ping_interval = 1).await;
    let mut events = Events::open(&site, "join=open/a", "").await;
    events.expect().await;
    while events.line().await.expect("a comment") != ":\n" {}
}

#[tokio::test]
async fn events_end_when_the_server_goes_away() {
    let site = site().await;
    let mut events = Events::open(&site, "join=open/a", "").await;
    events.expect().await;
    let lifecycle = site.lifecycle().clone();
    let draining = tokio::spawn(async move { lifecycle.drain().await });
    assert!(events.expect().await.1["drain"]["after"].is_array());
    assert!(events.next().await.is_none());
    draining.await.unwrap();
}

#[tokio::test]
async fn who_goes_leaves_nothing_behind() {
    let site = site().await;
    let mut watcher = site.socket("/stream/?as=bob").await;
    super::join(&mut watcher, "room/1").await;
    watcher.receive().await;
    let mut events = Events::open(&site, "join=room/1&as=ann", "").await;
    assert_eq!(events.expect().await.1["present"][0]["key"], "ann");
    let came: Value = watcher.receive_json().await;
    assert_eq!(came["presence"]["joined"]["key"], "ann");
    drop(events);
    let left: Value = watcher.receive_json().await;
    assert_eq!(left["presence"]["left"]["key"], "ann");
}
