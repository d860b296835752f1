//! Sessions in each of their engines: one suite for all, and what only one of them can or cannot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use hulse::conf::{SameSite, Secret, SessionEngine, Settings};
use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions::models::Session as Row;
use hulse::contrib::sessions::{self, Expiry};
use hulse::http::{Path, Request, get, post};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::test::{Answer, Client, TestSite};
use hulse::urls::{Urls, include, path};
use hulse::{Error, Project, Result};
use hulse_tests::databases;
use tokio::sync::Barrier;
use tokio::time::timeout;

use SessionEngine::{Cached, Database, SignedCookies};

const ENGINES: [SessionEngine; 3] = [Database, Cached, SignedCookies];
/// Those that keep something.
const KEEPERS: [SessionEngine; 2] = [Database, Cached];
/// Requests of one session at once.
const AT_ONCE: usize = 6;

async fn count(request: Request) -> Result<String> {
    let visits = request.session().get::<u32>("visits").await?.unwrap_or_default() + 1;
    request.session().set("visits", visits).await?;
    Ok(format!("visit {visits}"))
}

async fn read(request: Request) -> Result<String> {
    Ok(format!("{:?}", request.session().get::<u32>("visits").await?))
}

async fn pop(request: Request) -> Result<String> {
    Ok(format!("{:?} gone", request.session().pop::<u32>("visits").await?))
}

async fn flush(request: Request) -> Result<&'static str> {
    request.session().flush().await?;
    Ok("flushed")
}

/// What was remembered is gone, and what comes is another session.
async fn restart(request: Request) -> Result<&'static str> {
    request.session().flush().await?;
    request.session().set("visits", 50).await?;
    Ok("again")
}

async fn clear(request: Request) -> Result<&'static str> {
    request.session().clear().await;
    request.session().set("cleared", true).await?;
    Ok("cleared")
}

async fn cycle(request: Request) -> Result<&'static str> {
    request.session().cycle_id().await?;
    Ok("cycled")
}

async fn fail(request: Request) -> Result<String> {
    request.session().set("visits", 99).await?;
    Err(Error::new("broken"))
}

async fn fill(request: Request, Path(length): Path<usize>) -> Result<&'static str> {
    request.session().set("much", "x".repeat(length)).await?;
    Ok("kept")
}

/// Changes a session that another request of it ends meanwhile.
async fn late(request: Request) -> Result<&'static str> {
    request.session().set("visits", 7).await?;
    auth::afresh(&request).session().flush().await?;
    Ok("late")
}

/// The same with another id for it.
async fn late_cycle(request: Request) -> Result<&'static str> {
    request.session().get::<u32>("visits").await?;
    auth::afresh(&request).session().flush().await?;
    // What comes of it is not looked at, as a careless view would.
    drop(request.session().cycle_id().await);
    Ok("late")
}

async fn set_expiry(request: Request, Path(kind): Path<String>) -> Result<String> {
    let expiry = match kind.as_str() {
        "minute" => Expiry::After(Duration::from_secs(60)),
        "hour" => Expiry::At(Utc::now() + TimeDelta::hours(1)),
        "soon" => Expiry::At(Utc::now() + TimeDelta::seconds(2)),
        "browser" => Expiry::AtBrowserClose,
        _ => Expiry::AsConfigured,
    };
    request.session().set_expiry(expiry).await?;
    assert_eq!(request.session().expiry().await?, expiry);
    Ok(request.session().expiry_age().await?.as_secs().to_string())
}

async fn who(request: Request) -> Result<String> {
    Ok(request.user().await?.to_string())
}

async fn ticket(request: Request) -> Result<String> {
    request.ticket().await
}

/// Reads and writes the session of its handshake.
struct Counting;

impl Consumer for Counting {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.request().session().set("socket", true).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        let request = auth::afresh(socket.request());
        let visits: u32 = request.session().get("visits").await?.unwrap_or_default();
        request.session().set("visits", visits + 100).await?;
        let saved = request.session().save().await;
        socket.send(if saved.is_ok() { "saved" } else { "too late" }).await
    }
}

fn project() -> Project {
    // All of them have read before the first one writes.
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let meet = async move |request: Request, Path(key): Path<String>| {
        request.session().get::<bool>(&key).await?;
        barrier.wait().await;
        request.session().set(&key, true).await?;
        Ok::<_, Error>("set")
    };
    let keys = async |request: Request| {
        let mut known = Vec::new();
        for key in (0..AT_ONCE).map(|number| format!("key{number}")) {
            if request.session().get::<bool>(&key).await? == Some(true) {
                known.push(key);
            }
        }
        Ok::<_, Error>(known.len().to_string())
    };
    let urls = Urls::new([
        path("count/", get(count)),
        path("read/", get(read)),
        path("pop/", get(pop)),
        path("flush/", post(flush)),
        path("restart/", post(restart)),
        path("clear/", get(clear)),
        path("cycle/", get(cycle)),
        path("fail/", get(fail)),
        path("fill/<int:length>/", get(fill)),
        path("late/", get(late)),
        path("late-cycle/", get(late_cycle)),
        path("expiry/<slug:kind>/", get(set_expiry)),
        path("meet/<slug:key>/", get(meet)),
        path("keys/", get(keys)),
        path("who/", get(who)),
        path("ticket/", get(ticket)),
        path("plain/", get(async || "plain")),
        socket("counting/", || Counting),
        include("accounts/", auth::urls()),
    ]);
    Project::new("engines", "/nonexistent").install(sessions::App).install(auth::App).urls(urls)
}

async fn site(change: impl FnOnce(&mut Settings)) -> TestSite {
    TestSite::with(project(), change).await
}

async fn site_with(engine: SessionEngine) -> TestSite {
    site(|settings| settings.sessions.engine = engine).await
}

fn cookie(answer: &Answer) -> String {
    let cookies = answer.set_cookies();
    assert_eq!(cookies.len(), 1, "{answer:?}");
    cookies[0].to_owned()
}

fn id(client: &Client) -> String {
    client.cookie("sessionid").unwrap()
}

#[tokio::test]
async fn every_engine_remembers_and_forgets() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/read/").await.assert_contains("None");
        assert_eq!(client.cookie("sessionid"), None, "reading begins nothing");
        for visits in 1..4 {
            client.get("/count/").await.assert_contains(&format!("visit {visits}"));
        }
        site.client().get("/count/").await.assert_contains("visit 1");
        assert!(client.get("/read/").await.set_cookies().is_empty(), "it is as fresh as can be");
        client.get("/pop/").await.assert_contains("Some(3) gone");
        assert_eq!(client.cookie("sessionid"), None, "emptied in {engine:?}");
        client.get("/count/").await.assert_contains("visit 1");
        client.get("/clear/").await.assert_status(200);
        client.get("/read/").await.assert_contains("None");
    }
}

#[tokio::test]
async fn no_engine_is_asked_by_a_page_that_does_not_look() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let plain = client.get("/plain/").await;
        assert_eq!((plain.header("vary"), plain.set_cookies().len()), ("", 0), "{engine:?}");
    }
}

#[tokio::test]
async fn no_engine_keeps_what_a_view_did_that_failed() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        assert!(client.get("/fail/").await.assert_status(500).set_cookies().is_empty());
        client.get("/count/").await.assert_contains("visit 1");
        client.get("/fail/").await.assert_status(500);
        client.get("/read/").await.assert_contains("Some(1)");
    }
}

#[tokio::test]
async fn no_engine_takes_a_cookie_it_has_not_given() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/count/").await.assert_contains("visit 1");
        let own = id(&client);
        let (first, last) = (own.chars().next().unwrap(), own.chars().last().unwrap());
        let other = |c| if c == 'A' { "B" } else { "A" };
        let forged = [
            format!("{}{}", other(first), &own[1..]),
            format!("{}{}", &own[..own.len() - 1], other(last)),
            format!("{own}A"),
        ];
        let odd = ["AAAAAAAAAAAAAAAAAAAAAA", "x", "", ".", "a.b", "%00"].map(str::to_owned);
        for cookie in odd.iter().chain(&forged) {
            let stranger = site.client();
            stranger.set_cookie("sessionid", cookie);
            stranger.get("/count/").await.assert_contains("visit 1");
            assert_ne!(id(&stranger), *cookie, "{engine:?}");
        }
    }
}

#[tokio::test]
async fn a_session_that_begins_behind_another_has_an_id_of_its_own() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let planted = id(&client);
        client.post("/restart/", &[]).await.assert_status(200);
        client.get("/read/").await.assert_contains("Some(50)");
        assert_ne!(id(&client), planted, "{engine:?}");
        if engine != SignedCookies {
            let attacker = site.client();
            attacker.set_cookie("sessionid", &planted);
            attacker.get("/read/").await.assert_contains("None");
        }
        let before = id(&client);
        client.get("/cycle/").await.assert_status(200);
        client.get("/read/").await.assert_contains("Some(50)");
        assert_ne!(id(&client), before, "{engine:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_deleted_meanwhile_is_not_brought_back() {
    for (engine, url) in
        ENGINES.iter().flat_map(|engine| ["/late/", "/late-cycle/"].map(|url| (*engine, url)))
    {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let before = id(&client);
        client.get(url).await.assert_status(400);
        if engine == SignedCookies {
            assert_eq!(client.cookie("sessionid"), None, "it would come again and again");
            // Read it can be until it ends; but nothing that is saved makes it last.
            client.set_cookie("sessionid", &before);
            client.get("/count/").await.assert_status(400);
        } else {
            client.set_cookie("sessionid", &before);
            client.get("/read/").await.assert_contains("None");
        }
    }
}

#[tokio::test]
async fn requests_of_one_session_that_change_different_keys_all_have_their_way() {
    for database in databases().await {
        for engine in KEEPERS {
            let site = TestSite::with(project(), |settings| {
                settings.database.url = Secret::new(database.url.clone());
                settings.sessions.engine = engine;
            })
            .await;
            let client = site.client();
            client.get("/count/").await.assert_status(200);
            let urls: Vec<_> = (0..AT_ONCE).map(|number| format!("/meet/key{number}/")).collect();
            let calls = urls.iter().map(|url| client.get(url).into_future());
            for answer in futures_util::future::join_all(calls).await {
                answer.assert_status(200);
            }
            assert_eq!(client.get("/keys/").await.text(), AT_ONCE.to_string(), "{engine:?}");
            client.get("/read/").await.assert_contains("Some(1)");
        }
    }
}

#[tokio::test]
async fn a_socket_and_the_pages_have_one_session() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let mut socket = client.socket("/counting/").await;
        socket.send("count").await;
        if engine == SignedCookies {
            assert_eq!(socket.receive().await, "too late", "no cookie can reach the browser");
        } else {
            assert_eq!(socket.receive().await, "saved");
            client.get("/read/").await.assert_contains("Some(101)");
            client.post("/flush/", &[]).await.assert_status(200);
        }
    }
}

#[tokio::test]
async fn a_session_ends_when_it_says_also_after_later_changes() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        let client = site.client();
        let minute = client.get("/expiry/minute/").await;
        assert!(cookie(minute.assert_contains("60")).contains("Max-Age=60"), "{minute:?}");
        assert!(cookie(&client.get("/count/").await).contains("Max-Age=60"));
        let hour = cookie(client.get("/expiry/hour/").await.assert_contains("35"));
        assert!(hour.contains("Max-Age=3600") || hour.contains("Max-Age=3599"), "{hour}");
        let browser = cookie(client.get("/expiry/browser/").await.assert_contains("1209600"));
        assert!(!browser.contains("Max-Age") && !browser.contains("Expires"), "{browser}");
        assert!(!cookie(&client.get("/count/").await).contains("Max-Age"));
        let configured = cookie(&client.get("/expiry/configured/").await);
        assert!(configured.contains("Max-Age=1209600"), "{configured}");
    }
}

/// Reads until nothing is remembered any more: how long that took.
async fn until_forgotten(client: &Client) -> Duration {
    let begun = Instant::now();
    let forgotten = async {
        while client.get("/read/").await.text() != "None" {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), forgotten).await.expect("it ends");
    begun.elapsed()
}

#[tokio::test]
async fn a_session_ends_at_its_moment_or_its_greatest_age_however_much_it_is_used() {
    for engine in ENGINES {
        let site = site(|settings| {
            settings.sessions.engine = engine;
            settings.sessions.save_every_request = true;
        });
        let site = site.await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        client.get("/expiry/soon/").await.assert_status(200);
        let aged = TestSite::with(project(), |settings| {
            settings.sessions.engine = engine;
            settings.sessions.save_every_request = true;
            settings.sessions.absolute_age = 2;
        })
        .await;
        let old = aged.client();
        let first = cookie(&old.get("/count/").await);
        assert!(first.contains("Max-Age=2;") || first.contains("Max-Age=1;"), "{first}");
        let (one, other) = tokio::join!(until_forgotten(&client), until_forgotten(&old));
        assert!(one.min(other) > Duration::from_millis(500), "{engine:?}: {one:?}, {other:?}");
    }
}

#[tokio::test]
async fn reading_puts_the_end_off_from_time_to_time() {
    for engine in KEEPERS {
        let site = site(|settings| {
            settings.sessions.engine = engine;
            settings.sessions.cookie_age = 1;
        })
        .await;
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let (begun, mut kept, mut asked) = (Instant::now(), 0, 0);
        while begun.elapsed() < Duration::from_millis(2500) {
            let answer = client.get("/read/").await;
            answer.assert_contains("Some(1)");
            kept += answer.set_cookies().len();
            asked += 1;
            tokio::task::yield_now().await;
        }
        assert!((2..=25).contains(&kept), "{engine:?}: {kept} of {asked}");
    }
}

#[tokio::test]
async fn every_request_may_put_the_end_off() {
    for engine in ENGINES {
        let site = site(|settings| {
            settings.sessions.engine = engine;
            settings.sessions.save_every_request = true;
        })
        .await;
        let client = site.client();
        assert!(client.get("/plain/").await.set_cookies().is_empty(), "there is no session");
        client.get("/count/").await.assert_status(200);
        for url in ["/plain/", "/read/"] {
            let set = cookie(client.get(url).await.assert_status(200));
            assert!(set.contains("Max-Age=1209600"), "{engine:?}: {set}");
        }
        client.get("/fail/").await.assert_status(500);
        client.get("/read/").await.assert_contains("Some(1)");
        client.set_cookie("sessionid", "AAAAAAAAAAAAAAAAAAAAAA");
        client.get("/plain/").await.assert_status(200);
        assert_eq!(client.cookie("sessionid"), None);
    }
}

#[tokio::test]
async fn the_cookie_is_as_the_settings_say_and_so_is_its_deletion() {
    let site = site(|settings| {
        let sessions = &mut settings.sessions;
        sessions.cookie_samesite = SameSite::None;
        sessions.cookie_path = "/count/".into();
        sessions.cookie_domain = "example.com".into();
        sessions.cookie_httponly = false;
    })
    .await;
    let client = site.client();
    let set = cookie(&client.get("/count/").await);
    let deleted = cookie(&client.get("/pop/").await);
    for line in [&set, &deleted] {
        for part in ["SameSite=None", "Secure", "Path=/count/", "Domain=example.com"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("HttpOnly"), "{line}");
    }
    assert!(deleted.contains("Max-Age=0") && deleted.contains("1970"), "{deleted}");
}

#[tokio::test]
async fn somebody_signs_in_and_out_with_each_engine_and_his_sockets_go_with_it() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
        let client = site.client();
        client.get("/count/").await.assert_status(200);
        let before = id(&client);
        let fields = [("username", "ann"), ("password", "secret")];
        client.post("/accounts/login/", &fields).await.assert_redirects("/");
        assert_ne!(id(&client), before, "{engine:?}");
        client.get("/who/").await.assert_contains("ann");
        client.get("/read/").await.assert_contains("Some(1)");
        let other = site.client();
        let ann = User::objects().first(&site).await.unwrap().unwrap();
        other.force_login(&ann).await;
        let (mut own, mut others) =
            (client.socket("/counting/").await, other.socket("/counting/").await);
        client.post("/accounts/logout/", &[]).await.assert_redirects("/");
        let (code, _) = timeout(Duration::from_secs(1), own.closed()).await.expect("at once");
        assert_eq!(code, 4401, "{engine:?}");
        client.get("/who/").await.assert_contains("anonymous");
        others.send("still there").await;
        others.receive().await;
        let mut ann = ann;
        ann.set_password(&site, "another one").await.unwrap();
        ann.save(&site).await.unwrap();
        let (code, _) = timeout(Duration::from_secs(1), others.closed()).await.expect("at once");
        assert_eq!(code, 4401, "{engine:?}");
        other.get("/who/").await.assert_contains("anonymous");
    }
}

#[tokio::test]
async fn a_signed_cookie_outlives_its_key_as_a_fallback_and_is_signed_anew() {
    let signed = async |key: &str, fallbacks: &[&str]| {
        site(|settings| {
            settings.sessions.engine = SignedCookies;
            settings.secret_key = Secret::new(key);
            settings.secret_key_fallbacks = fallbacks.iter().map(|key| Secret::new(*key)).collect();
        })
        .await
    };
    let client = signed("old", &[]).await.client();
    client.get("/count/").await.assert_contains("visit 1");
    let old = id(&client);
    let visitor = async |cookie: &str, fallbacks: &[&str]| {
        let client = signed("new", fallbacks).await.client();
        client.set_cookie("sessionid", cookie);
        client.get("/read/").await.assert_status(200);
        client
    };
    assert_eq!(visitor(&old, &[]).await.cookie("sessionid"), None);
    let new = id(&visitor(&old, &["older", "old"]).await);
    assert_ne!(new, old);
    let client = visitor(&new, &[]).await;
    client.get("/count/").await.assert_contains("visit 2");
}

#[tokio::test]
async fn a_session_that_no_browser_would_keep_as_a_cookie_is_an_error_that_says_so() {
    let site = site_with(SignedCookies).await;
    let client = site.client();
    client.get("/count/").await.assert_status(200);
    client.get("/fill/2700/").await.assert_status(200);
    assert!(id(&client).len() > 3600, "{}", id(&client).len());
    let answer = client.get("/fill/2900/").await;
    let error = answer.assert_status(500).error().unwrap().to_string();
    assert!(error.contains("browsers keep 3800") && error.contains("sessions.engine"), "{error}");
    client.get("/read/").await.assert_contains("Some(1)");
    for engine in KEEPERS {
        let client = site_with(engine).await.client();
        client.get("/fill/100000/").await.assert_status(200);
        client.get("/count/").await.assert_contains("visit 1");
    }
}

#[tokio::test]
async fn tickets_name_sessions_that_are_kept() {
    for engine in ENGINES {
        let client = site_with(engine).await.client();
        client.get("/ticket/").await.assert_status(200);
        client.get("/count/").await.assert_status(200);
        let status = if engine == SignedCookies { 500 } else { 200 };
        client.get("/ticket/").await.assert_status(status);
    }
}

#[tokio::test]
async fn only_the_table_wants_its_ended_sessions_cleared() {
    for engine in ENGINES {
        let site = site_with(engine).await;
        site.client().get("/count/").await.assert_status(200);
        let rows = Row::objects().count(&site).await.unwrap();
        assert_eq!(rows, u64::from(engine == Database), "{engine:?}");
        let past = Utc::now() - TimeDelta::seconds(1);
        Row::objects().update(&site, |s| [s.expire_date().set(past)]).await.unwrap();
        assert_eq!(sessions::clear_expired(&site).await.unwrap(), rows);
    }
}

#[tokio::test]
async fn what_is_no_session_in_the_table_counts_as_none() {
    let site = site_with(Database).await;
    let client = site.client();
    client.get("/count/").await.assert_status(200);
    Row::objects().update(&site, |s| [s.session_data().set("[1")]).await.unwrap();
    client.get("/read/").await.assert_contains("None");
}
