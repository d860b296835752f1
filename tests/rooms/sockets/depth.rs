//! What consumers can do beyond a call at a time: typed JSON, filters, groups of the path, tasks,
//! several streams, several calls at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::SinkExt;
use hulse::sockets::{
    Concurrent, Consumer, Demultiplexer, Event, JsonConsumer, Message, Routing, SharedConsumer,
    Socket, filters, route, socket,
};
use hulse::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::{Client, WAIT, goodbye, serve, text};

async fn say(client: &mut Client, words: &str) {
    client.send(Frame::text(words)).await.unwrap();
}

async fn value(client: &mut Client) -> Value {
    serde_json::from_str(&text(client).await).unwrap()
}

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
enum Said {
    Add { a: i64, b: i64 },
    Fail,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

#[derive(Default)]
struct Calculator;

impl JsonConsumer for Calculator {
    type In = Said;

    async fn receive(&mut self, socket: &mut Socket, said: Said) -> Result<()> {
        match said {
            Said::Add { a, b } => socket.send_json(&Sum { sum: a + b }).await,
            Said::Fail => Err(Error::new("a secret: hunter2")),
        }
    }
}

/// Says goodbye and hangs up: the server waits for both.
pub(super) async fn leave(client: &mut Client) {
    client.close(None).await.unwrap();
    client.get_mut().shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_no_json_of_the_type_is_an_error_frame_and_the_socket_stays_open() {
    let server = serve([socket("sum", Calculator::default)]).await;
    let mut client = server.connect("/sum").await;
    let bad = [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", ""),
        ("null", ""),
        (r#"{"command": "add", "a": 1}"#, "missing field `b`"),
        (r#"{"command": "add", "a": "1", "b": 2}"#, "invalid type"),
        (r#"{"command": "sub", "a": 1, "b": 2}"#, "unknown variant `sub`"),
        (r#"{"command": "add", "a": 1, "b": 2} x"#, "trailing"),
    ];
    for (words, reason) in bad {
        say(&mut client, words).await;
        let answer = value(&mut client).await;
        assert_eq!(answer["error"], "bad_message", "{words}");
        assert!(answer["reason"].as_str().unwrap().contains(reason), "{words}: {answer}");
    }
    client.send(Frame::binary(vec![1, 2])).await.unwrap();
    assert_eq!(value(&mut client).await["error"], "bad_message");
    say(&mut client, r#"{"command": "add", "a": 1, "b": 2}"#).await;
    assert_eq!(text(&mut client).await, r#"{"sum":3}"#);
    say(&mut client, r#"{"command": "fail"}"#).await;
    assert_eq!(goodbye(&mut client).await, (1011, "internal error".into()));
}

/// Has words of its own for what it does not understand, and three strikes.
#[derive(Default)]
struct Strict(u8);

impl JsonConsumer for Strict {
    type In = Vec<i64>;

    fn groups(&self, _: &Socket) -> Result<Vec<String>> {
        Ok(vec!["strict".into()])
    }

    async fn receive(&mut self, socket: &mut Socket, numbers: Vec<i64>) -> Result<()> {
        socket.group("strict").send(json!(numbers.iter().sum::<i64>())).await
    }

    async fn bad_message(&mut self, socket: &mut Socket, _: Error) -> Result<()> {
        self.0 += 1;
        if self.0 == 3 { socket.close(4000, "three strikes").await } else { socket.send("?").await }
    }
}

#[tokio::test]
async fn a_consumer_may_answer_bad_messages_in_its_own_way() {
    let server = serve([socket("strict", Strict::default)]).await;
    let mut client = server.connect("/strict").await;
    say(&mut client, "x").await;
    assert_eq!(text(&mut client).await, "?");
    say(&mut client, "[1, 2]").await;
    assert_eq!(text(&mut client).await, "3");
    say(&mut client, "y").await;
    assert_eq!(text(&mut client).await, "?");
    say(&mut client, "z").await;
    assert_eq!(goodbye(&mut client).await, (4000, "three strikes".into()));
}

async fn reply(event: Event, words: &str) -> Result<()> {
    event.reply.send(words).await
}

fn filtered() -> Routing {
    Routing::new([
        route("websocket.connect", |event| async move {
            event.reply.add_header("x-room", event.captured("room").unwrap_or_default())?;
            event.reply.accept().await
        })
        .filter(filters::path(r"^/filtered/(?P<room>[a-z]+)/$")),
        route("websocket.receive", |event| async move { reply(event, "joined").await })
            .filter(filters::json("command", "join"))
            .filter(filters::has("room")),
        route("websocket.receive", |event| async move { reply(event, "no room").await })
            .filter(filters::json("command", "join")),
        route("websocket.receive", |event| async move {
            let name = event.captured("name").unwrap_or_default().to_owned();
            reply(event, &name).await
        })
        .filter(filters::json_matches("user.name", "^(?P<name>a.*)$")),
        route("websocket.receive", |event| async move { reply(event, "shout").await })
            .filter(filters::text("!$")),
        route("websocket.receive", |event| async move { reply(event, "bytes").await })
            .filter(filters::Filter::new(|event| event.message.text().is_none())),
        route("websocket.receive", |event| async move { reply(event, "other").await }),
        route("jobs", |event| async move { event.answer("first").await })
            .filter(filters::json("kind", 1)),
    ])
}

#[tokio::test]
async fn the_first_route_whose_filters_fit_is_called() {
    let server = serve([filtered().socket("filtered/<str:room>/")]).await;
    let mut client = server.connect("/filtered/lobby/").await;
    for (words, expected) in [
        (r#"{"command": "join", "room": 7}"#, "joined"),
        (r#"{"command": "join"}"#, "no room"),
        (r#"{"command": "leave"}"#, "other"),
        (r#"{"user": {"name": "ann"}}"#, "ann"),
        (r#"{"user": {"name": "bob"}}"#, "other"),
        (r#"{"user": "ann"}"#, "other"),
        ("hey!", "shout"),
        ("not json", "other"),
        // Whatever a client calls what it says, it is what a client said.
        (r#"{"type": "jobs", "kind": 1}"#, "other"),
        (r#"{"type": "websocket.connect"}"#, "other"),
        (r#"{"type": "websocket.disconnect", "code": 1000}"#, "other"),
    ] {
        say(&mut client, words).await;
        assert_eq!(text(&mut client).await, expected, "{words}");
    }
    client.send(Frame::binary(vec![0xff])).await.unwrap();
    assert_eq!(text(&mut client).await, "bytes");
    assert_eq!(server.status("/filtered/LOBBY/", &[]).await, 403, "no route for it");
    let jobs = server.site.channel("jobs");
    let answer = jobs.ask(json!({ "kind": 1 }), WAIT).await.unwrap();
    assert_eq!(answer.text(), Some("first"));
    let unanswered = timeout(WAIT, jobs.ask(json!({ "kind": 2 }), WAIT * 2)).await.unwrap();
    assert!(unanswered.unwrap_err().is_no_answer(), "a message that fits no route");
}

#[test]
fn a_route_that_can_never_be_reached_stops_the_program() {
    let line = || route("jobs", |_| async { Ok(()) });
    let made = std::panic::catch_unwind(|| Routing::new([line(), line()]));
    assert!(made.is_err());
    let _ = Routing::new([line().filter(filters::has("x")), line()]);
    assert!(std::panic::catch_unwind(|| filters::path("(")).is_err());
}

/// In the groups its path names.
struct Rooms(mpsc::Sender<String>);

impl Consumer for Rooms {
    fn groups(&self, socket: &Socket) -> Result<Vec<String>> {
        let room: String = socket.path()?;
        Ok(vec![format!("room-{room}"), "lobby".into()])
    }

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        // It hears what it says here: it is in its groups already.
        socket.group("lobby").send("somebody came").await?;
        socket.accept().await
    }

    async fn disconnect(&mut self, socket: &mut Socket, _: u16) -> Result<()> {
        let groups = socket.layer().statistics().groups;
        self.0.send(format!("{groups} groups left")).await?;
        Ok(())
    }
}

#[tokio::test]
async fn groups_of_the_path_are_joined_before_the_connection_and_left_at_its_end() {
    let (ended, mut ends) = mpsc::channel(10);
    let server = serve([socket("rooms/<str:room>/", move || Rooms(ended.clone()))]).await;
    let mut client = server.connect("/rooms/a/").await;
    assert_eq!(text(&mut client).await, "somebody came");
    server.site.group("room-b").send("not for a").await.unwrap();
    server.site.group("room-a").send("for a").await.unwrap();
    assert_eq!(text(&mut client).await, "for a");
    leave(&mut client).await;
    assert_eq!(timeout(WAIT, ends.recv()).await.unwrap().unwrap(), "0 groups left");
    assert_eq!(server.status("/rooms/caf%C3%A9/", &[]).await, 404, "no group can be called so");
    assert_eq!(server.site.layer().statistics().groups, 0);
}

/// Has tasks.
struct Busy(mpsc::Sender<&'static str>);

/// Says so when it is dropped.
struct Dropped(mpsc::Sender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send("task dropped");
    }
}

impl Consumer for Busy {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let (reply, dropped) = (socket.reply().clone(), Dropped(self.0.clone()));
        match text {
            "wait" => socket.spawn(async move {
                let _dropped = dropped;
                reply.send("waiting").await?;
                std::future::pending().await
            }),
            "fail" => socket.spawn(async move { Err(Error::new("a secret: hunter2")) }),
            "panic" => socket.spawn(async move { panic!("a secret: hunter2") }),
            _ => {
                let mut count = 0;
                while socket.spawn(std::future::pending()).is_ok() {
                    count += 1;
                }
                socket.send(count.to_string()).await
            }
        }
    }

    async fn disconnect(&mut self, socket: &mut Socket, _: u16) -> Result<()> {
        assert!(socket.spawn(std::future::pending()).unwrap_err().is_socket_closed());
        self.0.send("disconnected").await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_sockets_tasks_end_before_its_disconnect() {
    let (sender, mut said) = mpsc::channel(10);
    let server = serve([socket("busy", move || Busy(sender.clone()))]).await;
    for is_polite in [true, false] {
        let mut client = server.connect("/busy").await;
        say(&mut client, "wait").await;
        assert_eq!(text(&mut client).await, "waiting");
        if is_polite {
            leave(&mut client).await;
        }
        drop(client);
        assert_eq!(timeout(WAIT, said.recv()).await.unwrap().unwrap(), "task dropped");
        assert_eq!(timeout(WAIT, said.recv()).await.unwrap().unwrap(), "disconnected");
    }
}

#[tokio::test]
async fn a_task_that_fails_closes_its_socket_and_tasks_are_bounded() {
    let (sender, _said) = mpsc::channel(100);
    let server = serve([socket("busy", move || Busy(sender.clone()))]).await;
    for words in ["fail", "panic"] {
        let mut client = server.connect("/busy").await;
        say(&mut client, words).await;
        assert_eq!(goodbye(&mut client).await, (1011, "internal error".into()));
    }
    let mut client = server.connect("/busy").await;
    say(&mut client, "many").await;
    assert_eq!(text(&mut client).await, "100");
}

#[derive(Default)]
struct Decorated;

impl Consumer for Decorated {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        for (name, value) in [
            ("bad name", "x"),
            ("x-split", "a\r\nset-cookie: b=c"),
            ("Upgrade", "h2c"),
            ("sec-websocket-protocol", "forged"),
        ] {
            assert!(socket.add_header(name, value).is_err(), "{name}");
        }
        socket.add_header("X-Served-By", "hulse")?;
        socket.accept_subprotocol("v2.chat").await
    }

    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        let late = socket.add_header("x-late", "x").unwrap_err();
        socket.send(late.to_string()).await
    }
}

#[tokio::test]
async fn headers_and_the_subprotocol_are_on_the_answer() {
    let server = serve([socket("decorated", Decorated::default)]).await;
    let head = server
        .raw(
            "GET /decorated HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v1.chat, v2.chat\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        .await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("\r\nx-served-by: hulse\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: v2.chat\r\n"), "{head}");
    let offer = [("sec-websocket-protocol", "v2.chat")];
    let (mut client, _) = server.try_connect("/decorated", &offer).await.unwrap();
    say(&mut client, "x").await;
    assert!(text(&mut client).await.contains("answered already"));
}

/// Handles several messages at once; each waits for as many permits as it says.
struct Rpc {
    gate: Arc<Semaphore>,
    running: AtomicUsize,
    ended: mpsc::Sender<usize>,
}

impl SharedConsumer for Rpc {
    async fn receive(&self, socket: &mut Socket, text: String) -> Result<()> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        socket.send(format!("{text} begun, {running} at once")).await?;
        if text == "fail" {
            return Err(Error::new("a secret: hunter2"));
        }
        let permits = text.parse()?;
        self.gate.acquire_many(permits).await?.forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        socket.send(format!("{text} done")).await
    }

    async fn disconnect(&self, _: &mut Socket, _: u16) -> Result<()> {
        self.ended.send(self.running.load(Ordering::SeqCst)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_shared_consumer_handles_as_many_messages_at_once_as_it_is_told() {
    let gate = Arc::new(Semaphore::new(0));
    let (ended, mut ends) = mpsc::channel(1);
    let of_consumer = Arc::clone(&gate);
    let server = serve([socket("rpc", move || {
        let (gate, ended) = (Arc::clone(&of_consumer), ended.clone());
        Concurrent::new(2, Rpc { gate, running: AtomicUsize::default(), ended })
    })])
    .await;
    let mut client = server.connect("/rpc").await;
    for permits in ["5", "1", "2"] {
        say(&mut client, permits).await;
    }
    assert_eq!(text(&mut client).await, "5 begun, 1 at once");
    assert_eq!(text(&mut client).await, "1 begun, 2 at once");
    gate.add_permits(5);
    assert_eq!(text(&mut client).await, "5 done");
    assert_eq!(text(&mut client).await, "2 begun, 2 at once");
    // Who leaves does not cut short what is begun.
    leave(&mut client).await;
    gate.add_permits(3);
    assert_eq!(timeout(WAIT, ends.recv()).await.unwrap(), Some(0));
}

#[tokio::test]
async fn one_of_several_calls_that_fails_closes_the_socket() {
    let (ended, mut ends) = mpsc::channel(1);
    let gate = Arc::new(Semaphore::new(10));
    let server = serve([socket("rpc", move || {
        let (gate, ended) = (Arc::clone(&gate), ended.clone());
        Concurrent::new(2, Rpc { gate, running: AtomicUsize::default(), ended })
    })])
    .await;
    let mut client = server.connect("/rpc").await;
    say(&mut client, "fail").await;
    assert_eq!(goodbye(&mut client).await, (1011, "internal error".into()));
    assert!(timeout(WAIT, ends.recv()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_routing_may_handle_several_messages_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let of_handler = Arc::clone(&gate);
    let routing = Routing::new([route("websocket.receive", move |event: Event| {
        let gate = Arc::clone(&of_handler);
        async move {
            if event.text() == "wait" {
                gate.acquire().await?.forget();
            }
            event.reply.send(event.message.clone()).await
        }
    })]);
    let server = serve([routing.concurrency(2).socket("routed")]).await;
    let mut client = server.connect("/routed").await;
    say(&mut client, "wait").await;
    say(&mut client, "quick").await;
    assert_eq!(text(&mut client).await, "quick");
    gate.add_permits(1);
    assert_eq!(text(&mut client).await, "wait");
}

/// A stream that echoes, joins and closes as it is told.
struct Stream(&'static str, mpsc::Sender<String>);

impl Consumer for Stream {
    fn groups(&self, _: &Socket) -> Result<Vec<String>> {
        Ok(vec![format!("of-{}", self.0), "both".into()])
    }

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        match self.0 {
            "closed" => Err(Error::status(403.try_into()?, "not you")),
            _ => socket.accept().await,
        }
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match text {
            "\"fail\"" => Err(Error::new("a secret: hunter2")),
            "\"panic\"" => panic!("a secret: hunter2"),
            "\"close\"" => {
                socket.close(4001, "enough").await?;
                assert!(socket.send("x").await.unwrap_err().is_socket_closed());
                Ok(())
            }
            "\"leave\"" => socket.leave("both").await,
            "\"task\"" => socket.spawn(async { Err(Error::new("a secret: hunter2")) }),
            "\"listen\"" => socket.listen("heard").await,
            "\"bytes\"" => {
                assert!(socket.send(vec![1]).await.is_err());
                socket.send("plain text").await
            }
            text => socket.send(text).await,
        }
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        let text = message.text().unwrap_or_default();
        socket.send_json(&json!({ "heard": text, "group": group })).await
    }

    async fn disconnect(&mut self, _: &mut Socket, code: u16) -> Result<()> {
        self.1.send(format!("{} {code}", self.0)).await?;
        Ok(())
    }
}

async fn demultiplexed() -> (super::Server, mpsc::Receiver<String>) {
    let (sender, ends) = mpsc::channel(10);
    let of = |name: &'static str| {
        let sender = sender.clone();
        move || Stream(name, sender.clone())
    };
    let several = Demultiplexer::new()
        .stream("chat", of("chat"))
        .stream("notes", of("notes"))
        .stream("closed", of("closed"));
    let refused = Demultiplexer::new().stream("closed", of("closed"));
    (serve([several.socket("several"), refused.socket("refused")]).await, ends)
}

#[tokio::test]
async fn several_streams_share_a_socket_and_hear_what_is_theirs() {
    let (server, mut ends) = demultiplexed().await;
    let mut client = server.connect("/several").await;
    for (sent, expected) in [
        (r#"{"stream": "chat", "payload": {"b": 1, "a": 2.0}}"#, r#"{"b": 1, "a": 2.0}"#),
        (r#"{"stream": "chat", "payload": null}"#, "null"),
        (r#"{"stream": "chat", "payload": "bytes"}"#, r#""plain text""#),
    ] {
        say(&mut client, sent).await;
        let marked = format!(r#"{{"stream":"chat","payload":{expected}}}"#);
        assert_eq!(text(&mut client).await, marked);
    }
    server.site.group("of-notes").send(json!({ "id": 1 })).await.unwrap();
    assert_eq!(text(&mut client).await, r#"{"stream":"notes","payload":{"id":1}}"#);
    server.site.group("both").send("1").await.unwrap();
    assert_eq!(text(&mut client).await, r#"{"stream":"chat","payload":1}"#);
    assert_eq!(text(&mut client).await, r#"{"stream":"notes","payload":1}"#);
    say(&mut client, r#"{"stream": "chat", "payload": "leave"}"#).await;
    say(&mut client, r#"{"stream": "chat", "payload": "listen"}"#).await;
    say(&mut client, r#"{"stream": "chat", "payload": "ready"}"#).await;
    assert_eq!(text(&mut client).await, r#"{"stream":"chat","payload":"ready"}"#);
    server.site.group("both").send("2").await.unwrap();
    assert_eq!(text(&mut client).await, r#"{"stream":"notes","payload":2}"#);
    server.site.group("heard").send("x").await.unwrap();
    let heard = json!({ "stream": "chat", "payload": { "heard": "x", "group": "heard" } });
    assert_eq!(value(&mut client).await, heard);
    leave(&mut client).await;
    for expected in ["chat 1005", "notes 1005"] {
        assert_eq!(timeout(WAIT, ends.recv()).await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn what_is_for_no_open_stream_is_an_error_frame() {
    let (server, _ends) = demultiplexed().await;
    let mut client = server.connect("/several").await;
    for (sent, error) in [
        ("x", "bad_message"),
        (r#"{"stream": "chat"}"#, "bad_message"),
        (r#"{"payload": 1}"#, "bad_message"),
        (r#"{"stream": 7, "payload": 1}"#, "bad_message"),
        (r#"{"stream": "none", "payload": 1}"#, "unknown_stream"),
        (r#"{"stream": "closed", "payload": 1}"#, "stream_closed"),
    ] {
        say(&mut client, sent).await;
        assert_eq!(value(&mut client).await["error"], error, "{sent}");
    }
    assert_eq!(server.status("/refused", &[]).await, 403, "no stream is open");
}

#[tokio::test]
async fn a_stream_that_ends_ends_alone() {
    let (server, mut ends) = demultiplexed().await;
    for (word, code) in [("close", 4001), ("fail", 1011), ("panic", 1011), ("task", 1011)] {
        let mut client = server.connect("/several").await;
        say(&mut client, &json!({ "stream": "chat", "payload": word }).to_string()).await;
        let close = value(&mut client).await;
        assert_eq!((&close["stream"], &close["close"]["code"]), (&json!("chat"), &json!(code)));
        assert!(!close.to_string().contains("hunter2"));
        server.site.group("both").send("1").await.unwrap();
        assert_eq!(text(&mut client).await, r#"{"stream":"notes","payload":1}"#);
        let end = timeout(WAIT, ends.recv()).await.unwrap().unwrap();
        assert_eq!(end, format!("chat {code}"));
        say(&mut client, r#"{"stream": "chat", "payload": 1}"#).await;
        assert_eq!(value(&mut client).await["error"], "stream_closed");
        leave(&mut client).await;
        assert_eq!(timeout(WAIT, ends.recv()).await.unwrap().unwrap(), "notes 1005");
    }
    let quiet = timeout(Duration::from_millis(1), ends.recv()).await;
    assert!(quiet.is_err(), "each is told once: {quiet:?}");
}
