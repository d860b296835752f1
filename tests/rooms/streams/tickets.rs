//! Connections without a cookie.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hulse::conf::Settings;
use hulse::contrib::auth::User;
use hulse::http::Method;
use hulse::test::{Client, SocketClient, TestSite};
use serde_json::json;

use super::{join, member, project, site};

async fn ticket(client: &Client) -> String {
    client.get("/ticket/").await.assert_status(200).text().to_owned()
}

/// A socket of a page or program with no cookies, perhaps of a foreign site.
async fn connect(site: &TestSite, ticket: &str, origin: &str) -> Result<SocketClient, u16> {
    let client = site.client();
    let path = format!("/stream/?ticket={ticket}");
    let opened = SocketClient::connect(&client, &path, &[("origin", origin)]).await;
    opened.map_err(|answer| answer.status())
}

#[tokio::test]
async fn a_ticket_opens_one_connection_as_its_visitor_from_anywhere() {
    let site = site().await;
    let (ann, _) = member(&site, "ann", true).await;
    let ticket = ticket(&ann).await;
    let mut socket = connect(&site, &ticket, "https://app.example").await.unwrap();
    assert_eq!(join(&mut socket, "staff").await["joined"], "staff");
    assert_eq!(connect(&site, &ticket, "https://app.example").await.unwrap_err(), 403);
    let answer = site.client().get(&format!("/stream/?join=staff&ticket={ticket}")).await;
    answer.assert_status(403);
}

#[tokio::test]
async fn a_ticket_is_worth_no_more_than_its_visitor() {
    let site = site().await;
    let visitor = ticket(&site.client()).await;
    let mut socket = connect(&site, &visitor, "https://app.example").await.unwrap();
    assert_eq!(join(&mut socket, "staff").await["error"], "denied");
    // Beside a cookie, the ticket counts.
    let (ann, _) = member(&site, "ann", true).await;
    let visitor = ticket(&site.client()).await;
    ann.get(&format!("/stream/?join=staff&ticket={visitor}")).await.assert_status(403);
}

#[tokio::test]
async fn what_ends_the_session_ends_the_ticket_s_connection_too() {
    let site = site().await;
    let (client, user) = member(&site, "ann", true).await;
    let mut socket = connect(&site, &ticket(&client).await, "https://app.example").await.unwrap();
    join(&mut socket, "staff").await;
    let mut user = User::objects().filter(|u| u.id().eq(user.id)).get(site.site()).await.unwrap();
    user.set_password(site.site(), "another horse").await.unwrap();
    user.save(site.site()).await.unwrap();
    assert_eq!(socket.closed().await.0, 4401);
}

#[tokio::test]
async fn a_forged_ticket_opens_nothing() {
    let site = site().await;
    let other = super::site().await;
    let (ann, _) = member(&other, "ann", true).await;
    let foreign = ticket(&ann).await;
    let own = ticket(&site.client()).await;
    let changed = format!("{}A{}", &own[..10], &own[11..]);
    let changed = if changed == own { format!("{}B{}", &own[..10], &own[11..]) } else { changed };
    for ticket in ["", "abc", "abc.def", &foreign, &changed] {
        let refused = connect(&site, ticket, "http://testserver").await;
        assert_eq!(refused.unwrap_err(), 403, "{ticket}");
    }
}

#[tokio::test]
async fn a_page_with_a_ticket_may_read_and_post() {
    let site = site().await;
    let (ann, _) = member(&site, "ann", true).await;
    let client = site.client();
    let app = "https://app.example";
    let url = format!("/stream/?ticket={}", ticket(&ann).await);
    let send = json!({ "send": "staff", "data": 1 });
    let sent = client.post_json(&url, &send).header("origin", app).await;
    assert_eq!(sent.assert_status(200).header("access-control-allow-origin"), app);
    assert_eq!(sent.header("access-control-allow-credentials"), "");
    let url = format!("/stream/?join=staff&ticket={}", ticket(&ann).await);
    client.get(&url).header("origin", app).await.assert_status(200);
}

#[tokio::test]
async fn a_preflight_leaves_the_ticket_to_the_request_after_it() {
    let site = site().await;
    let (ann, _) = member(&site, "ann", true).await;
    let client = site.client();
    let app = "https://app.example";
    let url = format!("/stream/?ticket={}", ticket(&ann).await);
    for _ in 0..2 {
        let preflight = client.call(Method::OPTIONS, &url).header("origin", app).await;
        assert_eq!(preflight.assert_status(204).header("access-control-allow-origin"), app);
        assert_eq!(preflight.header("access-control-allow-credentials"), "");
    }
    let send = json!({ "send": "staff", "data": 1 });
    client.post_json(&url, &send).header("origin", app).await.assert_status(200);
    let used = client.post_json(&url, &send).header("origin", app).await;
    assert_eq!(used.assert_status(403).header("access-control-allow-origin"), app);
}

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_shows_a_ticket() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // As long as there is but one, lines that another test's thread meets first stay unwanted.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logged = tracing::subscriber::set_default(subscriber);
    let set = |settings: &mut Settings| {
        settings.log.access = true;
        settings.log.access_query = true;
    };
    let site = TestSite::with(project(), set).await;
    let ticket = ticket(&site.client()).await;
    let path = format!("/stream/?join=staff&ticket={ticket}&x=1");
    site.client().get(&path).await.assert_status(403);
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("/stream/?join=staff&ticket=***&x=1"), "{said}");
    assert!(!said.contains(&ticket), "{said}");
}
