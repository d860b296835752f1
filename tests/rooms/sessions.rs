//! Sessions: what is remembered, when it costs something, what an id is worth.

use chrono::{TimeDelta, Utc};
use hulse::contrib::sessions::models::Session;
use hulse::contrib::sessions::{self, clear_expired};
use hulse::db::Sql;
use hulse::http::{Request, get, post};
use hulse::test::TestSite;
use hulse::urls::{Urls, path};
use hulse::{Error, Project, Result};
use hulse_tests::databases;

async fn remember(request: Request) -> Result<String> {
    let session = request.session();
    let visits: u32 = session.get("visits").await?.unwrap_or_default();
    session.set("visits", visits + 1).await?;
    Ok(format!("visit {}", visits + 1))
}

async fn read(request: Request) -> Result<String> {
    let visits: Option<u32> = request.session().get("visits").await?;
    Ok(format!("visits: {visits:?}"))
}

async fn plain() -> &'static str {
    "plain"
}

async fn fail(request: Request) -> Result<String> {
    request.session().set("visits", 99).await?;
    Err(Error::new("broken"))
}

async fn forget(request: Request) -> Result<&'static str> {
    request.session().pop::<u32>("visits").await?;
    Ok("forgotten")
}

async fn flush(request: Request) -> Result<&'static str> {
    request.session().flush().await?;
    Ok("flushed")
}

/// Changes the session, but not before another request has deleted its row.
async fn late(request: Request) -> Result<&'static str> {
    request.session().set("late", true).await?;
    Session::objects().delete(&request).await?;
    Ok("late")
}

fn project() -> Project {
    let urls = Urls::new([
        path("remember/", get(remember)),
        path("read/", get(read)),
        path("plain/", get(plain)),
        path("fail/", get(fail)),
        path("forget/", get(forget)),
        path("flush/", post(flush)),
        path("late/", get(late)),
    ]);
    Project::new("remembering", "/nonexistent").install(sessions::App).urls(urls)
}

async fn rows(site: &TestSite) -> u64 {
    Session::objects().count(site).await.unwrap()
}

#[tokio::test]
async fn a_visitor_is_remembered_by_a_cookie_and_a_row() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let client = site.client();
        let first = client.get("/remember/").await;
        first.assert_contains("visit 1");
        let [cookie] = first.set_cookies()[..] else { panic!("one cookie of {first:?}") };
        assert!(cookie.starts_with("sessionid="), "{cookie}");
        for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=12096", "Expires="] {
            assert!(cookie.contains(part), "{part} in {cookie}");
        }
        assert!(!cookie.contains("Secure"), "{cookie}");
        assert_eq!(client.cookie("sessionid").unwrap().len(), 22, "128 bits in base64");
        assert_eq!(first.header("vary"), "Cookie");

        client.get("/remember/").await.assert_contains("visit 2");
        client.get("/read/").await.assert_contains("visits: Some(2)");
        assert_eq!(rows(&site).await, 1);

        site.client().get("/remember/").await.assert_contains("visit 1");
        assert_eq!(rows(&site).await, 2, "another visitor has another session");
    }
}

#[tokio::test]
async fn an_untouched_session_costs_nothing() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let client = site.client();
        client.get("/remember/").await.assert_status(200);

        let read = client.get("/read/").await;
        assert!(read.set_cookies().is_empty(), "reading saves nothing");
        assert_eq!(read.header("vary"), "Cookie");

        // Without its table any query would fail.
        site.db().execute(Sql::raw("DROP TABLE sessions_session")).await.unwrap();
        for client in [client, site.client()] {
            let answer = client.get("/plain/").await;
            answer.assert_contains("plain");
            assert!(answer.set_cookies().is_empty());
            assert_eq!(answer.header("vary"), "");
        }
        site.client().get("/read/").await.assert_contains("visits: None");
    }
}

#[tokio::test]
async fn an_unknown_id_is_never_adopted() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        for planted in ["AAAAAAAAAAAAAAAAAAAAAA", "x", "", "%00", "'; DROP TABLE x"] {
            let client = site.client();
            client.set_cookie("sessionid", planted);
            client.get("/remember/").await.assert_contains("visit 1");
            let given = client.cookie("sessionid").unwrap();
            assert_ne!(given, planted);
            assert_eq!(given.len(), 22);
        }
    }
}

#[tokio::test]
async fn an_id_that_means_nothing_is_taken_away() {
    let site = TestSite::new(project()).await;
    let client = site.client();
    client.set_cookie("sessionid", "AAAAAAAAAAAAAAAAAAAAAA");
    let answer = client.get("/read/").await;
    answer.assert_contains("visits: None");
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie of {answer:?}") };
    for part in ["sessionid=;", "Max-Age=0", "01 Jan 1970", "Path=/", "SameSite=Lax"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert_eq!(client.cookie("sessionid"), None);
}

#[tokio::test]
async fn an_ended_session_is_forgotten_and_cleared() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let (old, new) = (site.client(), site.client());
        old.get("/remember/").await.assert_status(200);
        new.get("/remember/").await.assert_status(200);
        let key = old.cookie("sessionid").unwrap();
        let past = Utc::now() - TimeDelta::seconds(1);
        let row = Session::objects().filter(|s| s.session_key().eq(&key));
        assert_eq!(row.update(&site, |s| [s.expire_date().set(past)]).await.unwrap(), 1);

        old.get("/read/").await.assert_contains("visits: None");
        assert_eq!(clear_expired(&site).await.unwrap(), 1);
        assert_eq!(rows(&site).await, 1);
        new.get("/read/").await.assert_contains("visits: Some(1)");
    }
}

#[tokio::test]
async fn nothing_is_saved_when_the_view_fails() {
    let site = TestSite::new(project()).await;
    let client = site.client();
    let answer = client.get("/fail/").await;
    answer.assert_status(500);
    assert!(answer.set_cookies().is_empty());
    client.get("/remember/").await.assert_status(200);
    client.get("/fail/").await.assert_status(500);
    client.get("/read/").await.assert_contains("visits: Some(1)");
}

#[tokio::test]
async fn an_emptied_session_loses_its_cookie_and_row() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let client = site.client();
        client.get("/remember/").await.assert_status(200);
        client.get("/forget/").await.assert_status(200);
        assert_eq!(client.cookie("sessionid"), None);
        assert_eq!(rows(&site).await, 0);

        client.get("/remember/").await.assert_status(200);
        client.post("/flush/", &[]).await.assert_status(200);
        assert_eq!(client.cookie("sessionid"), None);
        assert_eq!(rows(&site).await, 0);
    }
}

#[tokio::test]
async fn a_session_deleted_meanwhile_is_not_brought_back() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let client = site.client();
        client.get("/remember/").await.assert_status(200);
        client.get("/late/").await.assert_status(400);
        assert_eq!(rows(&site).await, 0);
    }
}

#[tokio::test]
async fn the_settings_shape_the_cookie() {
    let site = TestSite::with(project(), |settings| {
        settings.sessions.cookie_name = "__Host-visit".into();
        settings.sessions.expire_at_browser_close = true;
        settings.sessions.cookie_secure = true;
    })
    .await;
    let client = site.client();
    let answer = client.get("/remember/").await;
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie of {answer:?}") };
    assert!(cookie.starts_with("__Host-visit="), "{cookie}");
    assert!(cookie.contains("Secure") && !cookie.contains("Max-Age"), "{cookie}");
    client.get("/remember/").await.assert_contains("visit 2");
}

#[tokio::test]
async fn a_cookie_that_must_be_secure_is_deleted_as_one() {
    for name in ["__Host-visit", "__Secure-visit"] {
        let site = TestSite::with(project(), |settings| {
            settings.sessions.cookie_name = name.into();
            settings.sessions.cookie_secure = false;
        })
        .await;
        let client = site.client();
        client.get("/remember/").await.assert_status(200);
        let answer = client.post("/flush/", &[]).await;
        let cookies = answer.set_cookies();
        let deleted = cookies.iter().find(|cookie| cookie.starts_with(name)).expect("deleted");
        for word in ["Max-Age=0", "1970", "Path=/", "SameSite=Lax", "; Secure"] {
            assert!(deleted.contains(word), "{deleted}");
        }
    }
}
