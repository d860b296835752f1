//! Streams behind a gate of the URL table: whoever reads, over whatever transport, is asked.

use hulse::http::Request;
use hulse::streams::{Stream, Streams, stream};
use hulse::test::SocketClient;
use hulse::urls::Route;
use serde_json::{Value, json};

use super::{join, member, site};

/// A stream whose handler asks nothing.
pub(super) fn streams() -> Route {
    let news = stream("news", async |_: Request, (): ()| {
        Ok(Stream::group("news")
            .on_send(|sender, data| async move { sender.publish(data).await.map(drop) }))
    });
    Streams::new([news]).at("inside/").staff_required()
}

#[tokio::test]
async fn a_gate_is_asked_for_the_visitor_of_the_ticket() {
    let site = site().await;
    let (ann, _) = member(&site, "ann", true).await;
    let (bob, _) = member(&site, "bob", false).await;
    let ticket = async |client: &hulse::test::Client| {
        client.get("/ticket/").await.assert_status(200).text().to_owned()
    };
    let own = format!("/inside/?ticket={}", ticket(&ann).await);
    let origin = [("origin", "https://app.example")];
    let mut socket = SocketClient::connect(&site.client(), &own, &origin).await.unwrap();
    assert_eq!(join(&mut socket, "news").await["joined"], "news");
    // Bob's page in a browser of ann's.
    let foreign = format!("/inside/?ticket={}", ticket(&bob).await);
    let refused = SocketClient::connect(&ann, &foreign, &origin).await.unwrap_err();
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn who_may_not_pass_is_told_so_over_every_transport() {
    let site = site().await;
    let (bob, _) = member(&site, "bob", false).await;
    for client in [&site.client(), &bob] {
        assert_eq!(SocketClient::connect(client, "/inside/", &[]).await.unwrap_err().status(), 403);
        let denied = json!({ "error": "denied", "stream": "news" });
        let poll = client.get("/inside/?join=news&wait=0").await;
        assert_eq!(poll.assert_status(403).json::<Value>(), json!([denied]));
        let events = client.get("/inside/?join=news").header("accept", "text/event-stream").await;
        assert!(events.assert_status(403).text().contains(r#""error":"denied""#), "{events:?}");
        let sent = client.post_json("/inside/", &json!({ "send": "news", "data": 1 })).await;
        assert_eq!(sent.assert_status(403).json::<Value>(), denied);
    }
    let (ann, _) = member(&site, "ann", true).await;
    ann.get("/inside/?join=news&wait=0").await.assert_status(200);
    let sent = ann.post_json("/inside/", &json!({ "send": "news", "data": 1 })).await;
    assert!(sent.assert_status(200).json::<Value>()["at"].is_string());
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_missed_at_once_and_at_the_next_join() {
    let site = site().await;
    let (ann, mut user) = member(&site, "ann", true).await;
    let mut socket = SocketClient::connect(&ann, "/inside/", &[]).await.unwrap();
    assert_eq!(join(&mut socket, "news").await["joined"], "news");
    user.is_staff = false;
    user.save(site.site()).await.unwrap();
    assert_eq!(socket.receive_json::<Value>().await, json!({ "left": "news" }));
    let denied = json!({ "error": "denied", "stream": "news" });
    assert_eq!(socket.receive_json::<Value>().await, denied);
    assert_eq!(join(&mut socket, "news").await["error"], "denied");
}
