//! What httpbin promises.

use hulse::test::TestSite;
use serde_json::{Value, json};

#[tokio::test]
async fn it_says_back_what_was_asked() {
    let client = TestSite::new(super::project()).await.client();
    let said: Value = client.get("/anything/a/b?x=1&y=%C3%A4").header("x-mine", "7").await.json();
    assert_eq!(said["method"], "GET");
    assert_eq!(said["url"], "http://testserver/anything/a/b?x=1&y=%C3%A4");
    assert_eq!(said["args"], json!({ "x": "1", "y": "ä" }));
    assert_eq!(said["headers"]["x-mine"], "7");
    let said: Value = client.post_json("/anything", &json!({ "a": [1] })).await.json();
    assert_eq!((&said["method"], &said["json"]), (&json!("POST"), &json!({ "a": [1] })));
    let said: Value = client.get("/headers").header("x-mine", "8").await.json();
    assert_eq!(said["headers"]["x-mine"], "8");
}

#[tokio::test]
async fn it_answers_with_any_status_and_redirects_as_often_as_asked() {
    let client = TestSite::new(super::project()).await.client();
    for code in [200, 204, 301, 404, 418, 503] {
        assert_eq!(client.get(&format!("/status/{code}")).await.status(), code);
    }
    assert_eq!(client.get("/status/100").await.status(), 400);
    let answer = client.get("/redirect/3").await;
    answer.assert_redirects("/redirect/2");
    assert_eq!(client.get("/redirect/3").follow().await.json::<Value>()["method"], "GET");
}

#[tokio::test]
async fn it_waits_no_longer_than_ten_seconds_and_makes_up_bytes() {
    let site = TestSite::new(super::project()).await;
    let client = site.client();
    // Not before: opening waits for SQLite's thread, which has a clock of its own.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(client.get("/delay/3").await.status(), 200);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(client.get("/delay/9999").await.status(), 200);
    assert_eq!(began.elapsed().as_secs(), 13);
    assert_eq!(client.get("/bytes/300").await.bytes().len(), 300);
    assert_eq!(client.get("/bytes/999999999").await.bytes().len(), 102_400);
}
