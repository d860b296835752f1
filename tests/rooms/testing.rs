//! The test room itself: sites apart, a client that behaves like a browser.

use std::time::Duration;

use hulse::forms::FormData;
use hulse::http::{Json, Method, Request, Response, get, post, redirect};
use hulse::models::{Id, Model};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::test::{SocketClient, TestSite, assert_queries};
use hulse::urls::{Urls, path};
use hulse::{App, Error, Project, Result};
use serde_json::{Value, json};

/// A model without a migration: a test's own.
#[derive(Clone, Debug, Model)]
#[model(app = "testing")]
struct Note {
    id: Id,
    #[field(max_length = 20)]
    text: String,
}

struct Notes;

impl App for Notes {
    fn label(&self) -> &'static str {
        "testing"
    }

    fn models(&self) -> Vec<&'static hulse::models::Meta> {
        vec![Note::meta()]
    }
}

async fn echo(request: Request, data: FormData) -> String {
    format!("{} {:?} {:?}", request.method(), data.get("word"), request.header("x-extra"))
}

async fn away(request: Request) -> Result<Response> {
    redirect(&request, "/there/")
}

async fn circle(request: Request) -> Result<Response> {
    redirect(&request, "/circle/")
}

async fn there(request: Request) -> String {
    format!("there by {}", request.method())
}

async fn sum(body: Json<Vec<i64>>) -> Json<Value> {
    Json(json!({ "sum": body.0.iter().sum::<i64>() }))
}

async fn broken() -> Result<String> {
    Err(Error::new("the wheel came off"))
}

/// Answers what it hears; closes on `bye`.
#[derive(Default)]
struct Echo;

impl Consumer for Echo {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match text {
            "bye" => socket.close(4000, "so long").await,
            "mum" => Ok(()),
            text => socket.send(json!({ "heard": text }).to_string()).await,
        }
    }
}

/// Lets nobody in.
#[derive(Default)]
struct Shut;

impl Consumer for Shut {
    async fn connect(&mut self, _: &mut Socket) -> Result<()> {
        Ok(())
    }
}

fn project() -> Project {
    let urls = Urls::new([
        path("echo/", post(echo).get(echo)),
        path("away/", get(away)),
        path("circle/", get(circle)),
        path("there/", get(there)),
        path("sum/", post(sum)),
        path("broken/", get(broken)),
        socket("ws/", Echo::default),
        socket("shut/", Shut::default),
    ]);
    Project::new("testing", "/nonexistent").install(Notes).urls(urls)
}

#[tokio::test]
async fn sites_share_nothing() {
    let (one, two) = tokio::join!(TestSite::new(project()), TestSite::new(project()));
    Note::create(&one, Note { text: "mine".into(), ..Default::default() }).await.unwrap();
    assert_eq!(Note::objects().count(&one).await.unwrap(), 1);
    assert_eq!(Note::objects().count(&two).await.unwrap(), 0);
    assert_ne!(one.settings().secret_key.expose(), two.settings().secret_key.expose());
    assert_ne!(one.address().await, two.address().await);
}

#[tokio::test]
async fn a_dropped_site_leaves_no_file() {
    let site = TestSite::new(project()).await;
    let url = site.settings().database.url.expose().to_owned();
    let file = std::path::PathBuf::from(url.strip_prefix("sqlite://").unwrap());
    assert!(file.exists());
    let client = site.client();
    drop(site);
    client.get("/there/").await.assert_status(200);
    drop(client);
    assert!(!file.exists() && !file.parent().unwrap().exists());
}

#[tokio::test]
async fn a_client_posts_forms_json_and_headers() {
    let client = TestSite::new(project()).await.client();
    let answer = client.post("/echo/", &[("word", "a&b=c ä+")]).header("x-extra", "1").await;
    answer.assert_contains("POST Some(\"a&b=c ä+\") Some(\"1\")");
    client.get("/echo/?word=x").await.assert_contains("GET None None");
    let sum: Value = client.post_json("/sum/", &[1, 2, 3]).await.json();
    assert_eq!(sum, json!({ "sum": 6 }));
    client.call(Method::DELETE, "/echo/").await.assert_status(405);
    let head = client.head("/there/").await;
    head.assert_status(200);
    assert!(head.bytes().is_empty());
}

#[tokio::test]
async fn a_client_follows_redirects_when_told_to() {
    let client = TestSite::new(project()).await.client();
    client.get("/away/").await.assert_redirects("/there/");
    client.get("/away/").follow().await.assert_contains("there by GET");
    client.get("/there").await.assert_redirects("/there/");
}

#[tokio::test]
#[should_panic(expected = "more than 20 redirects in a row")]
async fn a_circle_of_redirects_fails_the_test() {
    TestSite::new(project()).await.client().get("/circle/").follow().await;
}

#[tokio::test]
async fn an_answer_knows_the_error_behind_it() {
    let answer = TestSite::new(project()).await.client().get("/broken/").await;
    answer.assert_status(500);
    assert_eq!(answer.error().unwrap().to_string(), "the wheel came off");
    let told = format!("{answer:?}");
    assert!(told.starts_with("GET /broken/: 500"), "{told}");
    assert!(told.contains("because: the wheel came off"), "{told}");
}

#[tokio::test]
#[should_panic(
    expected = "expected status 200 of GET /broken/: 500 Internal Server Error\nbecause: \
                           the wheel came off"
)]
async fn a_failed_expectation_tells_what_came_instead() {
    TestSite::new(project()).await.client().get("/broken/").await.assert_contains("x");
}

#[tokio::test]
async fn a_socket_talks_and_closes() {
    let site = TestSite::new(project()).await;
    let mut socket = site.socket("/ws/").await;
    socket.send("hello").await;
    assert_eq!(socket.receive_json::<Value>().await, json!({ "heard": "hello" }));
    socket.send("mum").await;
    socket.receive_nothing(Duration::from_millis(50)).await;
    socket.send("bye").await;
    assert_eq!(socket.closed().await, (4000, "so long".to_owned()));
    site.socket("/ws/").await.close(1000).await;
}

#[tokio::test]
async fn a_refused_socket_gives_the_answer() {
    let site = TestSite::new(project()).await;
    let client = site.client();
    client.try_socket("/shut/").await.unwrap_err().assert_status(403);
    client.try_socket("/nowhere/").await.unwrap_err().assert_status(404);
    let foreign = [("origin", "https://evil.example")];
    let refused = SocketClient::connect(&client, "/ws/", &foreign).await.unwrap_err();
    refused.assert_status(403);
}

#[tokio::test]
#[should_panic(expected = "the WebSocket was refused by WebSocket /shut/: 403")]
async fn a_socket_that_must_open_fails_the_test_in_words() {
    TestSite::new(project()).await.socket("/shut/").await;
}

#[tokio::test]
async fn queries_are_counted_and_listed_when_they_are_too_many() {
    let site = TestSite::new(project()).await;
    let note = assert_queries(&site, 1, async || {
        let mut note = Note { id: Id::default(), text: "a".into() };
        note.save(&site).await.unwrap();
        note
    })
    .await;
    assert_eq!(assert_queries(&site, 0, async || note.text.clone()).await, "a");
    let spawned = tokio::spawn(async move {
        assert_queries(&site, 1, async || {
            Note::objects().count(&site).await.unwrap();
            Note::objects().all(&site).await.unwrap();
        })
        .await;
    });
    let panic = spawned.await.unwrap_err().into_panic();
    let words = panic.downcast_ref::<String>().unwrap();
    assert!(words.contains("testing.rs:") && words.contains("1 queries were expected, 2 made"));
    assert!(words.contains("1. SELECT COUNT(") && words.contains("2. SELECT \""), "{words}");
}
