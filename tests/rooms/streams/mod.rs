//! Streams from outside: the protocol over a WebSocket, as events, as polls; who may, and who
//! comes back.

mod events;
mod gates;
mod http;
mod live;
mod script;
mod sends;
mod tickets;

use std::time::Duration;

use hulse::contrib::auth::User;
use hulse::contrib::{auth, sessions, staticfiles};
use hulse::http::{Request, bad_request, not_found, permission_denied};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::test::{Client, SocketClient, TestSite};
use hulse::urls::{Urls, path};
use hulse::{Error, Project, Result};
use serde_json::{Value, json};

const URL: &str = "/stream/";

/// Long enough for something that should not come to come.
const SILENCE: Duration = Duration::from_millis(150);

fn project() -> Project {
    let streams = Streams::new([
        stream("open/<slug:name>", open),
        stream("alias/<slug:name>", open),
        stream("kept/<slug:name>", async |_: Request, name: String| {
            Ok(Stream::group(format!("kept-{name}")).history(3))
        }),
        stream("state", async |_: Request, (): ()| {
            let snapshot = || async { Ok(json!({ "score": 3 })) };
            Ok(Stream::group("state").snapshot(snapshot))
        }),
        stream("room/<int:id>", room),
        stream("lobby/<int:id>", async |request: Request, id: i64| {
            Ok(room(request, id).await?.history(2))
        }),
        stream("staff", async |request: Request, (): ()| match request.user().await?.is_staff {
            true => Ok(Stream::group("staff")
                .on_send(|sender, data| async move { sender.publish(data).await.map(drop) })),
            false => Err(permission_denied("only for staff")),
        }),
        stream("once", async |_: Request, (): ()| Ok(Stream::group("once").on_send(sends::once))),
        stream("blog/<slug:slug>", async |_: Request, _: String| {
            Err::<Stream, _>(not_found("there is no such blog"))
        }),
        stream("broken", async |_: Request, (): ()| Err::<Stream, _>(Error::new("secret words"))),
        stream("badly-named", async |_: Request, (): ()| Ok(Stream::group("no name!"))),
    ]);
    Project::new("streams", std::env::temp_dir())
        .install(sessions::App)
        .install(auth::App)
        .install(staticfiles::App)
        .urls(Urls::new([
            streams.at("stream/").name("stream"),
            gates::streams(),
            socket("raw/", Raw::default),
            path("ticket/", async |request: Request| request.ticket().await),
        ]))
}

/// In the group of `open/a`, without a word about streams.
#[derive(Default)]
struct Raw;

impl Consumer for Raw {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.join("open-a").await?;
        socket.accept().await
    }
}

async fn open(_: Request, name: String) -> Result<Stream> {
    let group = Stream::group(format!("open-{name}"));
    Ok(group.on_send(|sender, data| async move {
        if data == "forbidden" {
            return Err(bad_request("not that word"));
        }
        sender.publish(data).await.map(drop)
    }))
}

/// Who it is says the URL: `?as=ann`.
async fn room(request: Request, id: i64) -> Result<Stream> {
    let name = request.query("as").unwrap_or_default();
    Ok(Stream::group(format!("room-{id}")).presence(name.as_str(), json!({ "name": name })))
}

async fn site() -> TestSite {
    TestSite::new(project()).await
}

/// Joins and gives the answer.
async fn join(socket: &mut SocketClient, stream: &str) -> Value {
    socket.send_json(&json!({ "join": stream })).await;
    socket.receive_json().await
}

async fn join_at(socket: &mut SocketClient, stream: &str, at: &Value) -> Value {
    socket.send_json(&json!({ "join": stream, "at": at })).await;
    socket.receive_json().await
}

async fn member(site: &TestSite, name: &str, is_staff: bool) -> (Client, User) {
    let mut user = User::create_user(site, name, "", Some("correct horse")).await.unwrap();
    user.is_staff = is_staff;
    user.save(site.site()).await.unwrap();
    let client = site.client();
    client.force_login(&user).await;
    (client, user)
}

#[tokio::test]
async fn what_is_sent_to_the_group_comes_with_name_and_place() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    let joined = join(&mut socket, "open/a").await;
    assert_eq!((&joined["joined"], &joined["recovered"]), (&json!("open/a"), &json!(false)));
    assert!(joined["at"].is_string() && joined.get("present").is_none(), "{joined}");

    site.group("open-a").send(json!({ "id": 1 })).await.unwrap();
    site.group("open-a").send("plain words").await.unwrap();
    site.group("open-a").send(vec![1, 2, 3]).await.unwrap();
    let first: Value = socket.receive_json().await;
    assert_eq!((&first["stream"], &first["data"]), (&json!("open/a"), &json!({ "id": 1 })));
    let second: Value = socket.receive_json().await;
    assert_eq!(second["data"], "plain words");
    assert_ne!(first["at"], second["at"]);
    let third: Value = socket.receive_json().await;
    assert_eq!((&third["bytes"], third.get("data")), (&json!("AQID"), None));
}

#[tokio::test]
async fn several_streams_share_a_connection_and_leave_it_one_by_one() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "open/a").await;
    join(&mut socket, "open/b").await;
    site.group("open-b").send(json!(1)).await.unwrap();
    site.group("open-a").send(json!(2)).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let frame: Value = socket.receive_json().await;
        heard.push((frame["stream"].as_str().unwrap().to_owned(), frame["data"].clone()));
    }
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(heard, [("open/a".to_owned(), json!(2)), ("open/b".to_owned(), json!(1))]);

    socket.send_json(&json!({ "leave": "open/a" })).await;
    assert_eq!(socket.receive_json::<Value>().await, json!({ "left": "open/a" }));
    site.group("open-a").send(json!(3)).await.unwrap();
    site.group("open-b").send(json!(4)).await.unwrap();
    assert_eq!(socket.receive_json::<Value>().await["data"], 4);
    assert_eq!(site.layer().statistics().groups, 1, "nothing is left of the other");
}

#[tokio::test]
async fn each_member_of_a_group_gets_its_own_kind_of_frame() {
    let site = site().await;
    let mut raw = site.socket("/raw/").await;
    let mut one = site.socket(URL).await;
    let mut other = site.socket(URL).await;
    join(&mut one, "open/a").await;
    join(&mut other, "alias/a").await;
    for number in 0..50 {
        site.group("open-a").send(json!(number)).await.unwrap();
    }
    for number in 0..50 {
        let frame: Value = one.receive_json().await;
        assert_eq!((&frame["stream"], &frame["data"]), (&json!("open/a"), &json!(number)));
        let alias: Value = other.receive_json().await;
        assert_eq!((&alias["stream"], &alias["at"]), (&json!("alias/a"), &frame["at"]));
        assert_eq!(raw.receive().await, number.to_string());
    }
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "open/a").await;
    site.group("open-a").send(json!(1)).await.unwrap();
    let at = socket.receive_json::<Value>().await["at"].clone();
    drop(socket);
    for number in 2..=20 {
        site.group("open-a").send(json!(number)).await.unwrap();
    }
    let mut socket = site.socket(URL).await;
    let joined = join_at(&mut socket, "open/a", &at).await;
    assert_eq!((&joined["recovered"], &joined["at"]), (&json!(true), &at));
    site.group("open-a").send(json!(21)).await.unwrap();
    for number in 2..=21 {
        assert_eq!(socket.receive_json::<Value>().await["data"], number);
    }
    socket.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn a_place_nobody_knows_is_told_as_a_gap() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    for at in ["1-1", "99999999999999-5", "nonsense", ""] {
        let joined = join_at(&mut socket, "state", &json!(at)).await;
        assert_eq!(joined["recovered"], false, "{at}");
        assert_eq!(joined["snapshot"], json!({ "score": 3 }), "{at}");
    }
}

#[tokio::test]
async fn a_snapshot_comes_when_something_may_be_missing_and_only_then() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    let joined = join(&mut socket, "state").await;
    assert_eq!(joined["snapshot"], json!({ "score": 3 }));
    let joined = join_at(&mut socket, "state", &joined["at"]).await;
    assert_eq!((&joined["recovered"], joined.get("snapshot")), (&json!(true), None));
}

#[tokio::test]
async fn a_newcomer_is_given_the_latest_messages_and_goes_on_behind_them() {
    let site = site().await;
    for number in 1..=5 {
        site.group("kept-a").send(json!(number)).await.unwrap();
    }
    let mut socket = site.socket(URL).await;
    join(&mut socket, "kept/a").await;
    site.group("kept-a").send(json!(6)).await.unwrap();
    let mut places = Vec::new();
    for number in 3..=6 {
        let frame: Value = socket.receive_json().await;
        assert_eq!(frame["data"], number);
        places.push(frame["at"].clone());
    }
    // Lost in the middle of it: the rest comes, and the beginning not again.
    let mut again = site.socket(URL).await;
    assert_eq!(join_at(&mut again, "kept/a", &places[1]).await["recovered"], true);
    assert_eq!(again.receive_json::<Value>().await["data"], 5);
    assert_eq!(again.receive_json::<Value>().await["data"], 6);
    again.receive_nothing(SILENCE).await;
    let mut empty = site.socket(URL).await;
    assert_eq!(join(&mut empty, "kept/b").await["recovered"], false);
    empty.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn who_came_and_went_counts_for_nothing_in_what_a_newcomer_is_given() {
    let site = site().await;
    for number in 1..=3 {
        site.group("room-1").send(json!(number)).await.unwrap();
    }
    let mut watcher = site.socket("/stream/?as=ann").await;
    join(&mut watcher, "room/1").await;
    assert_eq!(watcher.receive_json::<Value>().await["presence"]["joined"]["key"], "ann");
    for _ in 0..5 {
        let mut guest = site.socket("/stream/?as=guest").await;
        join(&mut guest, "room/1").await;
        drop(guest);
        assert_eq!(watcher.receive_json::<Value>().await["presence"]["joined"]["key"], "guest");
        assert_eq!(watcher.receive_json::<Value>().await["presence"]["left"]["key"], "guest");
    }
    let mut newcomer = site.socket("/stream/?as=ann").await;
    join(&mut newcomer, "lobby/1").await;
    assert_eq!(newcomer.receive_json::<Value>().await["data"], 2);
    assert_eq!(newcomer.receive_json::<Value>().await["data"], 3);
}

#[tokio::test]
async fn two_tabs_of_one_are_told_once() {
    let site = site().await;
    let mut ann = site.socket("/stream/?as=ann").await;
    let joined = join(&mut ann, "room/1").await;
    let own = json!([{ "key": "ann", "data": { "name": "ann" } }]);
    assert_eq!(joined["present"], own);
    // Its own arrival is part of the order, too.
    let first: Value = ann.receive_json().await;
    assert_eq!(first["presence"]["joined"]["key"], "ann");

    let mut bob = site.socket("/stream/?as=bob").await;
    let joined = join(&mut bob, "room/1").await;
    let keys: Vec<_> = joined["present"].as_array().unwrap().iter().map(|w| &w["key"]).collect();
    assert_eq!(keys, ["ann", "bob"]);
    let came: Value = ann.receive_json().await;
    assert_eq!(came["presence"]["joined"], json!({ "key": "bob", "data": { "name": "bob" } }));
    let mut tab = site.socket("/stream/?as=bob").await;
    join(&mut tab, "room/1").await;
    bob.send_json(&json!({ "leave": "room/1" })).await;
    ann.receive_nothing(SILENCE).await;
    drop(tab);
    let left: Value = ann.receive_json().await;
    assert_eq!(left["presence"]["left"]["key"], "bob");
    assert_eq!(left["stream"], "room/1");
}

#[tokio::test]
async fn permission_is_asked_at_every_join() {
    let site = site().await;
    let mut stranger = site.socket(URL).await;
    let denied = json!({ "error": "denied", "stream": "staff" });
    assert_eq!(join(&mut stranger, "staff").await, denied);
    site.group("staff").send(json!("secret")).await.unwrap();
    stranger.receive_nothing(SILENCE).await;

    let (client, mut user) = member(&site, "ann", true).await;
    let mut ann = client.socket(URL).await;
    let joined = join(&mut ann, "staff").await;
    assert_eq!(joined["joined"], "staff");
    user.is_staff = false;
    user.save(site.site()).await.unwrap();
    assert_eq!(ann.receive_json::<Value>().await, json!({ "left": "staff" }));
    assert_eq!(ann.receive_json::<Value>().await, denied);
    // The same connection, also with a place it was given.
    assert_eq!(join_at(&mut ann, "staff", &joined["at"]).await, denied);
    site.group("staff").send(json!("secret")).await.unwrap();
    ann.receive_nothing(SILENCE).await;
}

#[tokio::test]
async fn a_refusal_says_why_and_nothing_more() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    for (stream, word) in [
        ("blog/none", "unknown"),
        ("no/such/stream", "unknown"),
        ("open/not a slug", "unknown"),
        ("room/99999999999999999999", "unknown"),
        ("broken", "failed"),
        ("badly-named", "unknown"),
    ] {
        let refused = join(&mut socket, stream).await;
        assert_eq!(refused, json!({ "error": word, "stream": stream }));
    }
    join(&mut socket, "open/a").await;
    let taken = json!({ "error": "taken", "stream": "alias/a" });
    assert_eq!(join(&mut socket, "alias/a").await, taken);
    assert_eq!(join(&mut socket, "open/a").await["joined"], "open/a", "again is no other name");
}

#[tokio::test]
async fn what_is_no_frame_is_answered_and_costs_nothing_else() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "open/a").await;
    for text in ["", "{", "[]", "{}", "7", r#"{"join":7}"#, r#"{"stream":"open/a","data":1}"#] {
        socket.send(text).await;
        assert_eq!(socket.receive_json::<Value>().await["error"], "bad", "{text}");
    }
    socket.send_bytes(vec![1]).await;
    assert_eq!(socket.receive_json::<Value>().await["error"], "bad");
    socket.send(&format!("{{\"join\":\"{}\"}}", "x".repeat(70_000))).await;
    assert_eq!(socket.receive_json::<Value>().await["error"], "too_large");
    site.group("open-a").send(json!(1)).await.unwrap();
    assert_eq!(socket.receive_json::<Value>().await["data"], 1);
}

#[tokio::test]
async fn a_connection_joins_a_hundred_streams() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    for number in 0..100 {
        assert!(join(&mut socket, &format!("open/{number}")).await.get("joined").is_some());
    }
    assert_eq!(join(&mut socket, "open/100").await["error"], "too_many");
    socket.send_json(&json!({ "leave": "open/0" })).await;
    assert_eq!(socket.receive_json::<Value>().await["left"], "open/0");
    assert!(join(&mut socket, "open/100").await.get("joined").is_some());
}

#[tokio::test]
async fn a_page_of_a_foreign_site_gets_no_socket() {
    let site = site().await;
    let client = site.client();
    let foreign = [("origin", "https://evil.example")];
    let refused = SocketClient::connect(&client, URL, &foreign).await.unwrap_err();
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn a_server_that_goes_away_says_when_to_come_back() {
    let site = site().await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "open/a").await;
    let draining = tokio::spawn({
        let lifecycle = site.lifecycle().clone();
        async move { lifecycle.drain().await }
    });
    let frame: Value = socket.receive_json().await;
    let window = frame["drain"]["after"].as_array().expect("a window").clone();
    assert!(window[0].as_u64() < window[1].as_u64(), "{frame}");
    assert_eq!(socket.closed().await.0, 1001);
    drop(socket);
    draining.await.unwrap();
}
