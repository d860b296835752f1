//! Streams as plain requests: polls and POSTs, and whose pages may ask.

use std::time::Instant;

use hulse::http::Method;
use serde_json::{Value, json};

use super::{SILENCE, URL, join, member, site};

#[tokio::test]
async fn a_poll_without_a_place_says_where_the_stream_is() {
    let site = site().await;
    for number in 1..=5 {
        site.group("kept-a").send(json!(number)).await.unwrap();
    }
    let answer = site.client().get("/stream/?join=kept/a").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let frames: Vec<Value> = answer.assert_status(200).json();
    assert_eq!(frames[0]["joined"], "kept/a");
    let data: Vec<_> = frames[1..].iter().map(|frame| &frame["data"]).collect();
    assert_eq!(data, [3, 4, 5]);
}

#[tokio::test]
async fn a_poll_waits_for_what_comes_after_its_place() {
    let site = site().await;
    let client = site.client();
    let frames: Vec<Value> = client.get("/stream/?join=open/a&join=open/b").await.json();
    assert_eq!(frames.len(), 2);
    let at = |index: usize| frames[index]["at"].as_str().unwrap().to_owned();
    let next = format!("/stream/?join=open/a&at={}&join=open/b&at={}", at(0), at(1));
    let waiting = tokio::spawn({
        let (client, next) = (client.clone(), next.clone());
        async move { client.get(&next).await.json::<Vec<Value>>() }
    });
    while site.layer().statistics().groups < 2 {
        tokio::task::yield_now().await;
    }
    site.group("open-b").send(json!("now")).await.unwrap();
    let heard = waiting.await.unwrap();
    assert_eq!((heard.len(), &heard[0]["data"]), (1, &json!("now")));
    // The same question again has the same answer, at once.
    let again: Vec<Value> = client.get(&next).await.json();
    assert_eq!(again, heard);
    assert_eq!(site.layer().statistics().connections, 0);
}

#[tokio::test]
async fn a_poll_that_hears_nothing_is_answered_with_nothing() {
    let site = site().await;
    let client = site.client();
    let frames: Vec<Value> = client.get("/stream/?join=open/a").await.json();
    let at = frames[0]["at"].as_str().unwrap();
    let begun = Instant::now();
    let answer = client.get(&format!("/stream/?join=open/a&at={at}&wait=1")).await;
    assert_eq!(answer.assert_status(200).json::<Vec<Value>>(), [Value::Null; 0]);
    assert!(begun.elapsed().as_millis() >= 1000);
}

#[tokio::test]
async fn what_does_not_fit_in_one_answer_is_in_the_next() {
    let site = site().await;
    let client = site.client();
    let frames: Vec<Value> = client.get("/stream/?join=open/a").await.json();
    let mut at = frames[0]["at"].as_str().unwrap().to_owned();
    for number in 0..10 {
        let padding = "x".repeat(60_000);
        site.group("open-a").send(json!([number, padding])).await.unwrap();
    }
    let (mut heard, mut answers) = (Vec::new(), 0);
    while heard.len() < 10 {
        let answer = client.get(&format!("/stream/?join=open/a&at={at}")).await;
        assert!(answer.bytes().len() < 256 * 1024 + 61_000);
        for frame in answer.json::<Vec<Value>>() {
            heard.push(frame["data"][0].as_i64().unwrap());
            frame["at"].as_str().unwrap().clone_into(&mut at);
        }
        answers += 1;
    }
    assert_eq!(heard, (0..10).collect::<Vec<_>>());
    assert_eq!(answers, 2);
}

#[tokio::test]
async fn who_polls_is_present_between_two_questions() {
    let site = site().await;
    let mut ann = site.socket("/stream/?as=ann").await;
    join(&mut ann, "room/1").await;
    assert_eq!(ann.receive_json::<Value>().await["presence"]["joined"]["key"], "ann");
    let client = site.client();
    let mut at = String::new();
    for wait in [0, 1, 1] {
        let begun = Instant::now();
        let url = format!("/stream/?as=bob&join=room/1&at={at}&wait={wait}");
        let heard: Vec<Value> = client.get(&url).await.json();
        assert!(begun.elapsed().as_secs() >= wait, "{heard:?}");
        for frame in &heard {
            frame["at"].as_str().unwrap().clone_into(&mut at);
        }
    }
    assert_eq!(ann.receive_json::<Value>().await["presence"]["joined"]["key"], "bob");
    ann.receive_nothing(SILENCE).await;
    // Others are heard of at once.
    drop(ann);
    let url = format!("/stream/?as=bob&join=room/1&at={at}");
    let heard: Vec<Value> = client.get(&url).await.json();
    assert_eq!(heard.last().unwrap()["presence"]["left"]["key"], "ann");
}

#[tokio::test]
async fn a_url_joins_a_hundred_streams_each_once() {
    let site = site().await;
    let client = site.client();
    let of = |names: Vec<String>| format!("/stream/?join={}", names.join("&join="));
    let names = |count: usize| (0..count).map(|number| format!("state{number}")).collect();
    for names in [names(101), vec!["open/a".into(), "open/a".into()], vec!["x".repeat(201)]] {
        for accept in ["application/json", "text/event-stream"] {
            let answer = client.get(&of(names.clone())).header("accept", accept).await;
            assert_eq!(
                answer.assert_status(400).header("content-type"),
                "text/plain; charset=utf-8"
            );
        }
    }
    let frames: Vec<Value> = client.get(&of(names(100))).await.assert_status(404).json();
    assert_eq!(frames.len(), 100);
}

#[tokio::test]
async fn streams_that_do_not_fit_in_one_answer_are_joined_by_the_next() {
    let site = site().await;
    let client = site.client();
    for name in ["kept-a", "kept-b", "kept-c"] {
        for _ in 0..3 {
            site.group(name).send(json!("x".repeat(60_000))).await.unwrap();
        }
    }
    let url = "/stream/?join=kept/a&join=kept/b&join=kept/c";
    let joined = |frames: &[Value]| -> Vec<String> {
        frames.iter().filter_map(|frame| Some(frame["joined"].as_str()?.to_owned())).collect()
    };
    let first: Vec<Value> = client.get(url).await.json();
    assert_eq!(joined(&first), ["kept/a", "kept/b"]);
    let at = |name: &str| {
        let last = first.iter().rfind(|frame| frame["stream"] == name);
        last.and_then(|frame| frame["at"].as_str()).unwrap().to_owned()
    };
    let (a, b) = (at("kept/a"), at("kept/b"));
    let url = format!("/stream/?join=kept/a&at={a}&join=kept/b&at={b}&join=kept/c");
    let second: Vec<Value> = client.get(&url).await.json();
    assert_eq!((joined(&second), second.len()), (vec!["kept/c".to_owned()], 4));
}

#[tokio::test]
async fn a_session_of_an_earlier_key_outlives_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    let with_keys = async |key: &str, fallbacks: &[&str]| {
        hulse::test::TestSite::with(super::project(), |settings| {
            settings.database.url = hulse::conf::Secret::new(url.clone());
            settings.secret_key = hulse::conf::Secret::new(key);
            settings.secret_key_fallbacks =
                fallbacks.iter().map(|key| hulse::conf::Secret::new(*key)).collect();
        })
        .await
    };
    let site = with_keys("old", &[]).await;
    let (browser, _) = member(&site, "ann", true).await;
    let cookie = browser.cookie("sessionid").unwrap();

    let site = with_keys("new", &["old"]).await;
    let browser = site.client();
    browser.set_cookie("sessionid", &cookie);
    for _ in 0..3 {
        browser.get("/stream/?join=staff").await.assert_status(200);
    }
}

#[tokio::test]
async fn a_poll_of_what_is_not_for_this_visitor_is_refused() {
    let site = site().await;
    let client = site.client();
    let refused = client.get("/stream/?join=staff").await;
    let denied = json!([{ "error": "denied", "stream": "staff" }]);
    assert_eq!(refused.assert_status(403).json::<Value>(), denied);
    client.get("/stream/?join=blog/a").await.assert_status(404);
    client.get(URL).await.assert_status(400);
    let (member, _) = member(&site, "ann", true).await;
    member.get("/stream/?join=staff").await.assert_status(200);
    client.call(Method::PUT, URL).await.assert_status(405);
}

#[tokio::test]
async fn a_send_can_be_posted() {
    let site = site().await;
    let mut listener = site.socket(URL).await;
    join(&mut listener, "open/a").await;
    let client = site.client().enforce_csrf_checks();
    let send = json!({
        "send": "open/a", "key": "k1", "data": 1, "client": "0123456789abcdef",
    });
    let first: Value = client.post_json(URL, &send).await.assert_status(200).json();
    let again: Value = client.post_json(URL, &send).await.assert_status(200).json();
    assert_eq!((&first["sent"], &first), (&json!("k1"), &again));
    let heard: Value = listener.receive_json().await;
    assert_eq!((&heard["data"], &heard["at"]), (&json!(1), &first["at"]));
    let two = json!([{ "send": "open/a", "data": 2 }, { "send": "staff", "data": 3 }]);
    let answers: Vec<Value> = client.post_json(URL, &two).await.assert_status(200).json();
    assert_eq!((&answers[0]["stream"], &answers[1]["error"]), (&json!("open/a"), &json!("denied")));
    assert_eq!(listener.receive_json::<Value>().await["data"], 2);
}

#[tokio::test]
async fn a_bad_post_says_what_is_wrong() {
    let site = site().await;
    let client = site.client();
    let check = async |body: Value, status: u16, word: &str| {
        let answer = client.post_json(URL, &body).await;
        assert_eq!(answer.assert_status(status).json::<Value>()["error"], word, "{body}");
    };
    check(json!({ "send": "staff", "data": 1 }), 403, "denied").await;
    check(json!({ "send": "nothing", "data": 1 }), 404, "unknown").await;
    check(json!({ "join": "open/a" }), 400, "bad").await;
    check(json!("text"), 400, "bad").await;
    check(json!({ "send": "open/a", "data": "x".repeat(70_000) }), 413, "too_large").await;
    check(vec![json!({ "send": "open/a", "data": 1 }); 101].into(), 400, "too_many").await;
    let form = client.post(URL, &[("send", "open/a"), ("data", "1")]).await;
    form.assert_status(415);
}

#[tokio::test]
async fn a_page_of_a_foreign_site_may_neither_read_nor_send() {
    let site = site().await;
    let (client, _) = member(&site, "ann", true).await;
    let foreign = "https://evil.example";
    let get = client.get("/stream/?join=staff").header("origin", foreign).await;
    assert_eq!(get.assert_status(403).header("access-control-allow-origin"), "");
    let send = json!({ "send": "staff", "data": 1 });
    client.post_json(URL, &send).header("origin", foreign).await.assert_status(403);
    client.post_json(URL, &send).header("origin", "null").await.assert_status(403);
    let preflight = client.call(Method::OPTIONS, URL).header("origin", foreign).await;
    preflight.assert_status(403);
    let own = client.post_json(URL, &send).header("origin", "http://testserver").await;
    own.assert_status(200);
}

#[tokio::test]
async fn a_page_of_a_trusted_site_may() {
    let site = hulse::test::TestSite::with(super::project(), |settings| {
        settings.csrf.trusted_origins = vec!["https://partner.example".to_owned()];
    })
    .await;
    let client = site.client();
    let partner = "https://partner.example";
    let answer = client.get("/stream/?join=open/a").header("origin", partner).await;
    answer.assert_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), partner);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let preflight = client.call(Method::OPTIONS, URL).header("origin", partner).await;
    preflight.assert_status(204);
    assert!(preflight.header("access-control-allow-headers").contains("content-type"));
}

#[tokio::test]
async fn a_name_that_is_too_long_for_a_group_is_nobody_s() {
    let site = site().await;
    let name = format!("open/{}", "a".repeat(150));
    let answer = site.client().get(&format!("/stream/?join={name}&wait=0")).await;
    let unknown = json!({ "error": "unknown", "stream": name });
    assert_eq!(answer.assert_status(404).json::<Value>(), json!([unknown]));
    let sent = site.client().post_json("/stream/", &json!({ "send": name, "data": 1 })).await;
    assert_eq!(sent.assert_status(404).json::<Value>(), unknown);
    assert_eq!(join(&mut site.socket(URL).await, &name).await, unknown);
}
