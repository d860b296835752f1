//! The endpoint through which other systems publish.

use hulse::Project;
use hulse::contrib::publish;
use hulse::sockets::{Consumer, Socket, socket};
use hulse::test::{Answer, TestSite};
use hulse::urls::{Urls, include};
use serde_json::{Value, json};
use tempfile::TempDir;

const CRON: &str = "cron-0123456789abcdef0123456789abcdef";
const DJANGO: &str = "django-0123456789abcdef0123456789abcdef";

/// Hears the groups of a live blog.
struct Feed;

impl Consumer for Feed {
    async fn connect(&mut self, socket: &mut Socket) -> hulse::Result<()> {
        socket.join("live").await?;
        socket.join("live2").await?;
        socket.accept().await
    }
}

async fn site() -> (TestSite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        r#"
        debug = true
        [channels]
        message_bytes_max = 100
        [publish]
        body_bytes_max = 500
        [[publish.tokens]]
        name = "cron"
        token = "{CRON}"
        groups = ["live*"]
        [[publish.tokens]]
        name = "django"
        token = "{DJANGO}"
        groups = ["other"]
        "#
    );
    std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
    let urls = Urls::new([socket("feed/", || Feed), include("publish/", publish::urls())]);
    let project = Project::new("publishing", folder.path()).install(publish::App).urls(urls);
    (TestSite::new(project).await, folder)
}

async fn post(site: &TestSite, token: &str, value: &Value) -> Answer {
    // A program sends no CSRF token, and needs none.
    let client = site.client().enforce_csrf_checks();
    client.post_json("/publish/", value).header("authorization", &format!("Bearer {token}")).await
}

#[tokio::test]
async fn what_another_system_posts_reaches_browsers() {
    let (site, _folder) = site().await;
    let mut feed = site.socket("/feed/").await;
    let answer = post(&site, CRON, &json!({ "group": "live", "data": { "id": 7 } })).await;
    assert_eq!(answer.status(), 200);
    let first: Value = answer.json();
    assert_eq!(feed.receive().await, r#"{"id":7}"#);
    assert!(first["position"].as_str().unwrap().ends_with("-1"), "{first}");
    let two = json!([{ "group": "live", "message": "a" }, { "group": "live2", "message": "b" }]);
    let positions: Value = post(&site, CRON, &two).await.json();
    assert_eq!(feed.receive().await, "a");
    assert_eq!(feed.receive().await, "b");
    let positions = positions["positions"].as_array().unwrap();
    assert!(positions[0].as_str().unwrap().ends_with("-2"), "{positions:?}");
    assert!(positions[1].as_str().unwrap().ends_with("-1"), "{positions:?}");
}

#[tokio::test]
async fn each_token_sends_to_its_own_groups_only_and_a_batch_whole_or_not_at_all() {
    let (site, _folder) = site().await;
    let mut feed = site.socket("/feed/").await;
    let message = json!({ "group": "live", "data": 1 });
    let answer = post(&site, DJANGO, &message).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>()["error"], "this token may not send to group live");
    let batch = json!([message, { "group": "other", "data": 1 }]);
    let answer = post(&site, CRON, &batch).await;
    assert_eq!(answer.status(), 403);
    post(&site, CRON, &json!({ "group": "live", "data": "only this" })).await;
    assert_eq!(feed.receive().await, r#""only this""#);
}

#[tokio::test]
async fn who_has_no_token_is_told_how_to_show_one() {
    let (site, _folder) = site().await;
    let message = json!({ "group": "live", "data": 1 });
    let client = site.client();
    let without = client.post_json("/publish/", &message).await;
    assert_eq!(without.status(), 401);
    assert_eq!(without.header("www-authenticate"), "Bearer");
    for header in ["Bearer wrong", "Bearer", "Bearer ", "Basic abc", CRON] {
        let answer = client.post_json("/publish/", &message).header("authorization", header).await;
        assert_eq!(answer.status(), 401, "{header}");
        assert!(!answer.text().contains(CRON), "{header}");
    }
    let answer = client.get("/publish/").await;
    assert_eq!(answer.status(), 405);
}

#[tokio::test]
async fn what_cannot_be_published_is_told_apart() {
    let (site, _folder) = site().await;
    let long = json!({ "group": "live", "message": "x".repeat(101) });
    assert_eq!(post(&site, CRON, &long).await.status(), 413);
    let longer = json!({ "group": "live", "message": "x".repeat(600) });
    let answer = post(&site, CRON, &longer).await;
    assert_eq!(answer.status(), 413);
    assert!(answer.text().contains("at most 500"), "{}", answer.text());
    let malformed = post(&site, CRON, &json!({ "to": "live" })).await;
    assert_eq!(malformed.status(), 422);
    let client = site.client();
    let bearer = format!("Bearer {CRON}");
    let form = client.post("/publish/", &[("group", "live")]).header("authorization", &bearer);
    assert_eq!(form.await.status(), 415);
}

#[tokio::test]
async fn a_message_with_a_key_is_published_once_for_each_sender() {
    let (site, _folder) = site().await;
    let mut feed = site.socket("/feed/").await;
    let message = json!({ "group": "live", "message": "once", "key": "order-7" });
    let first: Value = post(&site, CRON, &message).await.json();
    let again: Value = post(&site, CRON, &message).await.json();
    assert_eq!(first, again);
    let other = json!([{ "group": "live", "message": "other", "key": "order-8" }, message]);
    let positions: Value = post(&site, CRON, &other).await.json();
    assert_eq!(positions["positions"][1], first["position"]);
    assert_eq!(feed.receive().await, "once");
    assert_eq!(feed.receive().await, "other");
}
