//! The site as a whole, in this process: its page, its accounts, its room.

use hulse::contrib::auth::User;
use hulse::test::{SocketClient, TestSite};
use serde_json::Value;

use crate::project;

/// Opens a socket and reads its whole welcome: its own event, then all that follows.
async fn welcome(socket: &mut SocketClient) -> (Value, Vec<Value>) {
    let me: Value = socket.receive_json().await;
    let count = me["present"].as_u64().unwrap_or(0) + me["history"].as_u64().unwrap_or(0);
    let mut rest = Vec::new();
    for _ in 0..count {
        rest.push(socket.receive_json().await);
    }
    (me, rest)
}

#[tokio::test]
async fn the_page_is_there_and_nothing_else() {
    let site = TestSite::new(project()).await;
    let client = site.client();
    let page = client.get("/").await;
    page.assert_status(200).assert_contains("Write your message");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    client.get("/static/chat/chat.js").await.assert_status(200);
    client.get("/bsjdhcbjsdh").await.assert_status(404);
    client.get("/message").await.assert_status(426);
}

#[tokio::test]
async fn a_visitor_keeps_the_name_that_came_with_the_page() {
    let site = TestSite::new(project()).await;
    let client = site.client();
    client.get("/").await;
    let cookie = client.cookie("sessionid");
    let (first, _) = welcome(&mut client.socket("/message").await).await;
    assert_eq!(client.cookie("sessionid"), cookie);
    let (second, _) = welcome(&mut client.socket("/message").await).await;
    assert_eq!(first["user"], second["user"]);
    assert_eq!(first["authenticated"], false);
    let (other, _) = welcome(&mut site.socket("/message").await).await;
    assert_ne!(first["user"], other["user"]);
}

#[tokio::test]
async fn what_is_said_comes_to_everybody_and_to_who_comes_later() {
    let site = TestSite::new(project()).await;
    let mut ann = site.socket("/message").await;
    let mut bob = site.socket("/message").await;
    let (ann_event, _) = welcome(&mut ann).await;
    let (bob_event, here) = welcome(&mut bob).await;
    assert_eq!(here.len(), 1);
    assert_eq!(here[0]["user"], ann_event["user"]);
    let joined: Value = ann.receive_json().await;
    assert_eq!(joined["user"], bob_event["user"]);

    bob.send("  Hello\n\n there ").await;
    for socket in [&mut ann, &mut bob] {
        let said: Value = socket.receive_json().await;
        assert_eq!(said["message"], "Hello there");
        assert_eq!(said["user"], bob_event["user"]);
    }
    let (late, before) = welcome(&mut site.socket("/message").await).await;
    assert_eq!(late["history"], 1);
    assert_eq!(before.last().expect("the history")["message"], "Hello there");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_the_socket_stays() {
    let site = TestSite::new(project()).await;
    let mut socket = site.socket("/message").await;
    welcome(&mut socket).await;
    socket.send(&"x".repeat(4097)).await;
    let error: Value = socket.receive_json().await;
    assert_eq!(error["channel"], "error");
    socket.send("short").await;
    let said: Value = socket.receive_json().await;
    assert_eq!(said["message"], "short");
}

#[tokio::test]
async fn who_comes_back_is_given_all_that_was_said_meanwhile_and_nothing_twice() {
    let site = TestSite::new(project()).await;
    let mut ann = site.socket("/message").await;
    welcome(&mut ann).await;
    let mut ids = Vec::new();
    for number in 0..130 {
        ann.send(&format!("message {number}")).await;
        let said: Value = ann.receive_json().await;
        ids.push(said["id"].as_str().expect("an id").to_owned());
    }
    // Within what a newcomer is shown, beyond it, and nothing at all.
    for last in [120, 20, 129] {
        let mut back = site.socket(&format!("/message?after={}", ids[last])).await;
        let (me, rest) = welcome(&mut back).await;
        assert_eq!(me["recovered"], true);
        let said = rest.iter().filter(|event| event["channel"] == "webchat");
        let missed: Vec<_> = said.map(|event| event["id"].as_str().expect("an id")).collect();
        assert_eq!(missed, ids[last + 1..], "after {last}");
        back.close(1000).await;
    }
    let (me, rest) = welcome(&mut site.socket("/message?after=nonsense").await).await;
    assert_eq!((&me["recovered"], &me["history"]), (&false.into(), &50.into()));
    assert_eq!(rest.last().expect("the history")["id"], ids[129]);
    let (me, _) = welcome(&mut site.socket("/message").await).await;
    assert!(me.get("recovered").is_none(), "the original knows nothing of it: {me}");
}

#[tokio::test]
async fn somebody_signed_in_speaks_under_the_username() {
    let site = TestSite::new(project()).await;
    let password = "correct horse";
    User::create_user(&site, "ann", "", Some(password)).await.expect("a new user");
    let client = site.client();
    let fields = [("username", "ann"), ("password", password)];
    client.post("/accounts/login/", &fields).await.assert_redirects("/");
    client.get("/").await.assert_contains("@ann");
    let mut socket = client.socket("/message").await;
    let (me, _) = welcome(&mut socket).await;
    assert_eq!((&me["user"], &me["authenticated"]), (&"ann".into(), &true.into()));
    socket.send("it is me").await;
    let said: Value = socket.receive_json().await;
    assert_eq!(said["authenticated"], true);
}
