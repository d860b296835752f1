//! Where somebody is signed in: the list, and the end of any of it.

use std::time::Duration;

use hulse::conf::SessionEngine;
use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::{Request, post};
use hulse::sockets::{Consumer, socket};
use hulse::test::{Client, SocketClient, TestSite};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};
use serde_json::Value;
use tokio::time::timeout;

const KEEPERS: [SessionEngine; 2] = [SessionEngine::Database, SessionEngine::Cached];
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";

#[derive(Default)]
struct Open;

impl Consumer for Open {}

async fn list(request: Request) -> Result<String> {
    Ok(serde_json::to_string(&auth::open_sessions(&request).await?)?)
}

async fn who(request: Request) -> Result<String> {
    Ok(request.user().await?.to_string())
}

async fn revoke(request: Request) -> Result<String> {
    let handle = request.query("handle").unwrap_or_default();
    Ok(auth::revoke_session(&request, &handle).await?.to_string())
}

async fn revoke_others(request: Request) -> Result<String> {
    Ok(auth::revoke_other_sessions(&request).await?.to_string())
}

async fn site(engine: SessionEngine) -> TestSite {
    let urls = Urls::new([
        path("list/", list),
        path("who/", who),
        path("revoke/", post(revoke)),
        path("others/", post(revoke_others)),
        socket("open/", Open::default),
        include("accounts/", auth::urls()),
    ]);
    let project =
        Project::new("open", "/nowhere").install(sessions::App).install(auth::App).urls(urls);
    let site = TestSite::with(project, |settings| settings.sessions.engine = engine).await;
    for name in ["ann", "bob"] {
        User::create_user(&site, name, "", Some("secret")).await.unwrap();
    }
    site
}

async fn sign_in(site: &TestSite, name: &str, agent: &str, address: &str) -> Client {
    let client = site.client().at_address(address.parse().unwrap());
    let fields = [("username", name), ("password", "secret")];
    let answer = client.post("/accounts/login/", &fields).header("user-agent", agent).await;
    answer.assert_redirects("/");
    client
}

async fn listed(client: &Client) -> Vec<Value> {
    client.get("/list/").await.json()
}

async fn handle_of(client: &Client, agent: &str) -> String {
    let all = listed(client).await;
    let one = all.iter().find(|one| one["agent"].as_str().unwrap().starts_with(agent));
    one.expect("a session of this browser")["handle"].as_str().unwrap().to_owned()
}

/// It is closed in less than a second.
async fn is_closed(mut socket: SocketClient) {
    let (code, _) = timeout(Duration::from_secs(1), socket.closed()).await.expect("at once");
    assert_eq!(code, 4401);
}

#[tokio::test]
async fn somebody_sees_where_he_is_signed_in_and_nobody_sees_an_id() {
    for engine in KEEPERS {
        let site = site(engine).await;
        let here = sign_in(&site, "ann", FIREFOX, "203.0.113.5").await;
        let phone = sign_in(&site, "ann", &"p".repeat(300), "2001:db8::7").await;
        sign_in(&site, "bob", "bob's", "203.0.113.9").await;
        let all = listed(&here).await;
        assert_eq!(all.len(), 2, "{engine:?}: {all:?}");
        let mine = all.iter().find(|one| one["is_current"] == true).unwrap();
        let other = all.iter().find(|one| one["is_current"] == false).unwrap();
        assert_eq!((&mine["agent"], &mine["address"]), (&FIREFOX.into(), &"203.0.113.5".into()));
        assert_eq!(other["agent"].as_str().unwrap(), "p".repeat(200));
        assert_eq!(other["address"], "2001:db8::7");
        assert!(mine["begun"].is_string() && other["last_used"].is_string(), "{all:?}");
        let shown = here.get("/list/").await.text().to_owned();
        for id in [&here, &phone].map(|client| client.cookie("sessionid").unwrap()) {
            assert!(!shown.contains(&id), "{shown}");
        }
        assert_eq!(site.client().get("/list/").await.text(), "[]");
    }
}

#[tokio::test]
async fn a_session_that_is_revoked_is_over_and_so_is_what_is_open_in_it() {
    for engine in KEEPERS {
        let site = site(engine).await;
        let here = sign_in(&site, "ann", "here", "203.0.113.5").await;
        let phone = sign_in(&site, "ann", "phone", "203.0.113.6").await;
        let bob = sign_in(&site, "bob", "bob", "203.0.113.7").await;
        let (mut own, other) = (here.socket("/open/").await, phone.socket("/open/").await);
        let url = format!("/revoke/?handle={}", handle_of(&here, "phone").await);
        assert_eq!(bob.post(&url, &[]).await.text(), "false", "it is none of his");
        phone.get("/who/").await.assert_contains("ann");
        assert_eq!(here.post(&url, &[]).await.text(), "true");
        is_closed(other).await;
        phone.get("/who/").await.assert_contains("anonymous");
        assert_eq!(here.post(&url, &[]).await.text(), "false", "there is none any more");
        assert_eq!(listed(&here).await.len(), 1);
        own.send("still open").await;
        own.close(1000).await;
    }
}

#[tokio::test]
async fn everywhere_else_is_everywhere_but_here() {
    for engine in KEEPERS {
        let site = site(engine).await;
        let here = sign_in(&site, "ann", "here", "203.0.113.5").await;
        let mut others = Vec::new();
        for number in 0..3 {
            let client = sign_in(&site, "ann", &number.to_string(), "203.0.113.6").await;
            others.push((client.socket("/open/").await, client));
        }
        let bob = sign_in(&site, "bob", "bob", "203.0.113.7").await;
        let (own, bobs) = (here.socket("/open/").await, bob.socket("/open/").await);
        assert_eq!(here.post("/others/", &[]).await.text(), "3", "{engine:?}");
        for (socket, client) in others {
            is_closed(socket).await;
            client.get("/who/").await.assert_contains("anonymous");
        }
        here.get("/who/").await.assert_contains("ann");
        bob.get("/who/").await.assert_contains("bob");
        for mut socket in [own, bobs] {
            socket.send("still open").await;
            socket.close(1000).await;
        }
        let ann = User::objects().filter(|u| u.username().eq("ann")).get(&site).await.unwrap();
        let open = here.socket("/open/").await;
        assert_eq!(auth::revoke_sessions(&site, &ann).await.unwrap(), 1);
        is_closed(open).await;
        here.get("/who/").await.assert_contains("anonymous");
    }
}

#[tokio::test]
async fn of_sessions_that_are_cookies_only_the_own_is_known_and_what_is_open_ends() {
    let site = site(SessionEngine::SignedCookies).await;
    let here = sign_in(&site, "ann", "here", "203.0.113.5").await;
    let phone = sign_in(&site, "ann", "phone", "203.0.113.6").await;
    let all = listed(&here).await;
    assert_eq!((all.len(), &all[0]["is_current"]), (1, &true.into()));
    let (mut own, other) = (here.socket("/open/").await, phone.socket("/open/").await);
    assert_eq!(here.post("/others/", &[]).await.text(), "0");
    is_closed(other).await;
    own.send("still open").await;
    own.close(1000).await;
    phone.get("/who/").await.assert_contains("ann");
    let page = here.get("/accounts/sessions/").await;
    page.assert_contains("A new password signs you out");
    page.assert_not_contains("Sign out everywhere else");
}

#[tokio::test]
async fn the_page_shows_them_and_signs_out() {
    let site = site(SessionEngine::Database).await;
    let stranger = site.client().get("/accounts/sessions/").await;
    stranger.assert_redirects("/accounts/login/?next=/accounts/sessions/");
    let here = sign_in(&site, "ann", FIREFOX, "203.0.113.5").await;
    let page = here.get("/accounts/sessions/").await;
    page.assert_contains("Firefox on Linux").assert_contains("This device");
    page.assert_contains("203.0.113.5").assert_contains("You are signed in nowhere else");
    assert!(page.header("cache-control").contains("no-store"));

    let phone = sign_in(&site, "ann", IPHONE, "203.0.113.6").await;
    let work = sign_in(&site, "ann", "<b>work", "203.0.113.7").await;
    let page = here.get("/accounts/sessions/").await;
    page.assert_contains("Safari on iPhone").assert_contains("Another program");
    page.assert_contains("Sign out everywhere else").assert_not_contains("<b>work");
    let handle = handle_of(&here, "Mozilla/5.0 (iPhone").await;
    let strict = here.clone().enforce_csrf_checks();
    strict.post("/accounts/sessions/", &[("handle", &handle)]).await.assert_status(403);
    let answer = here.post("/accounts/sessions/", &[("handle", &handle)]).await;
    answer.assert_redirects("/accounts/sessions/");
    phone.get("/who/").await.assert_contains("anonymous");
    work.get("/who/").await.assert_contains("ann");
    here.post("/accounts/sessions/", &[("others", "yes")]).await.assert_status(302);
    work.get("/who/").await.assert_contains("anonymous");
    let own = handle_of(&here, "Mozilla").await;
    here.post("/accounts/sessions/", &[("handle", &own)]).await.assert_status(302);
    here.get("/who/").await.assert_contains("anonymous");
}

async fn ann(site: &TestSite) -> User {
    User::objects().filter(|u| u.username().eq("ann")).get(site).await.unwrap()
}

#[tokio::test]
async fn everywhere_is_also_where_the_list_does_not_reach() {
    let site = site(SessionEngine::Database).await;
    let (ann, here, thief) = (ann(&site).await, site.client(), site.client());
    thief.force_login(&ann).await;
    let open = thief.socket("/open/").await;
    let others: Vec<Client> = (0..203).map(|_| site.client()).collect();
    for other in &others {
        other.force_login(&ann).await;
    }
    here.force_login(&ann).await;
    assert_eq!(listed(&here).await.len(), 200);
    assert_eq!(here.post("/others/", &[]).await.text(), "204");
    is_closed(open).await;
    for gone in others.iter().chain([&thief]) {
        gone.get("/who/").await.assert_contains("anonymous");
    }
    here.get("/who/").await.assert_contains("ann");
    thief.force_login(&ann).await;
    assert_eq!(auth::revoke_sessions(&site, &ann).await.unwrap(), 2);
    for gone in [here, thief] {
        gone.get("/who/").await.assert_contains("anonymous");
    }
}

#[tokio::test]
async fn a_session_in_the_data_store_is_on_the_list_or_over() {
    let site = site(SessionEngine::Cached).await;
    let (ann, first, second) = (ann(&site).await, site.client(), site.client());
    for client in [&first, &second] {
        client.force_login(&ann).await;
    }
    // Those that have ended make room, and push nobody out.
    let client = site.client();
    for _ in 0..203 {
        client.force_login(&ann).await;
        client.get("/who/").await.assert_contains("ann");
        client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    }
    assert_eq!(listed(&first).await.len(), 2);
    let open = first.socket("/open/").await;
    let others: Vec<Client> = (0..199).map(|_| site.client()).collect();
    for other in &others {
        other.force_login(&ann).await;
    }
    // One more than there is room for: the oldest has ended, with what was open in it.
    is_closed(open).await;
    first.get("/who/").await.assert_contains("anonymous");
    assert_eq!(listed(&second).await.len(), 200);
    assert_eq!(second.post("/others/", &[]).await.text(), "199");
    for gone in others {
        gone.get("/who/").await.assert_contains("anonymous");
    }
    second.get("/who/").await.assert_contains("ann");
}
