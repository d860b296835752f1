//! Who gets to which URL, over HTTP and WebSocket.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::middleware::{Next, from_fn};
use hulse::conf::Settings;
use hulse::contrib::auth::{
    self, Add, CurrentUser, Demand, May, Only, SignedIn, Staff, Superuser, User,
};
use hulse::contrib::{publish, sessions};
use hulse::http::{Method, Request};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::test::{Client, TestSite, assert_queries};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};

use super::{Blog, Post, grant, user};

async fn plain() -> &'static str {
    "inside"
}

/// Whoever has a number in their name.
struct Numbered;

impl Demand for Numbered {
    async fn is_met(user: &CurrentUser, _: &Request) -> Result<bool> {
        Ok(user.username.contains(char::is_numeric))
    }
}

async fn signed_in(user: Only<SignedIn>) -> String {
    format!("inside: {}", user.username)
}

async fn staff(user: Only<Staff>) -> String {
    format!("inside: {}", user.username)
}

async fn superuser(user: Only<Superuser>) -> String {
    format!("inside: {}", user.username)
}

async fn may(user: Only<May<Add, Post>>) -> String {
    format!("inside: {}", user.username)
}

async fn numbered(user: Only<Numbered>) -> String {
    format!("inside: {}", user.username)
}

#[derive(Default)]
struct Open;

impl Consumer for Open {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.accept().await?;
        socket.send("inside").await
    }
}

fn project() -> Project {
    let inner = Urls::new([
        path("page/", plain),
        path("staff/", plain).staff_required(),
        path("open/", plain).login_not_required(),
        path("open/write/", plain).login_not_required().permission_required("blog.add_post"),
        socket("ws/", Open::default),
    ]);
    let urls = Urls::new([
        path("open/", plain),
        path("login/", plain).login_required(),
        path("may/", plain).permission_required("blog.add_post"),
        path("may/both/", plain).permissions_required(&["blog.add_post", "blog.view_post"]),
        path("test/", plain).user_passes_test(|user| user.email.ends_with("@example.org")),
        path("staff/", plain).staff_required(),
        path("superuser/", plain).superuser_required(),
        path("only/login/", signed_in),
        path("only/staff/", staff),
        path("only/superuser/", superuser),
        path("only/may/", may),
        path("only/numbered/", numbered),
        path("line/numbered/", plain).only::<Numbered>(),
        include("numbered/", Urls::new([path("page/", plain)])).only::<Numbered>(),
        socket("ws/numbered/", Open::default).only::<Numbered>(),
        include("group/", inner).login_required(),
        include("inside/", Urls::new([path("open/", plain).login_not_required()])).staff_required(),
        socket("ws/open/", Open::default),
        socket("ws/login/", Open::default).login_required(),
        socket("ws/may/", Open::default).permission_required("blog.add_post"),
        include("accounts/", auth::urls()),
        include("publish/", publish::urls()),
    ]);
    Project::new("gates", "/nowhere")
        .install(sessions::App)
        .install(auth::App)
        .install(publish::App)
        .install(Blog)
        .urls(urls)
}

struct Visitors {
    site: TestSite,
    nobody: Client,
    ann: Client,
    writer: Client,
    staff: Client,
    root: Client,
}

async fn visitors(site: TestSite) -> Visitors {
    let signed_in = async |user: &User| {
        let client = site.client();
        client.force_login(user).await;
        client
    };
    let ann = User::create_user(&site, "ann", "ann@elsewhere.org", None).await.unwrap();
    let writer = user(&site, "writer1").await;
    grant(&site, &writer, &["blog.add_post"]).await;
    let staff = user(&site, "staff").await;
    let mut staff = User { is_staff: true, ..staff };
    staff.save(&site).await.unwrap();
    let root = User::create_superuser(&site, "root", "", None).await.unwrap();
    Visitors {
        nobody: site.client(),
        ann: signed_in(&ann).await,
        writer: signed_in(&writer).await,
        staff: signed_in(&staff).await,
        root: signed_in(&root).await,
        site,
    }
}

impl Visitors {
    /// What ann, the writer, the staff and root are answered; nobody is sent to sign in, unless
    /// all may come in.
    async fn check(&self, path: &str, expected: [u16; 4]) {
        let clients = [&self.ann, &self.writer, &self.staff, &self.root];
        for (client, expected) in clients.into_iter().zip(expected) {
            let answer = client.get(path).await;
            answer.assert_status(expected);
            assert_eq!(answer.text().contains("inside"), expected == 200, "{answer:?}");
        }
        let answer = self.nobody.get(path).await;
        if expected == [200; 4] && path.contains("open") {
            answer.assert_status(200);
        } else {
            answer.assert_redirects(&format!("/accounts/login/?next={path}"));
        }
    }
}

#[tokio::test]
async fn a_url_lets_in_whom_its_line_says() {
    let all = visitors(TestSite::new(project()).await).await;
    all.check("/open/", [200, 200, 200, 200]).await;
    all.check("/login/", [200, 200, 200, 200]).await;
    all.check("/may/", [403, 200, 403, 200]).await;
    all.check("/may/both/", [403, 403, 403, 200]).await;
    all.check("/test/", [403, 200, 200, 403]).await;
    all.check("/staff/", [403, 403, 200, 200]).await;
    all.check("/superuser/", [403, 403, 403, 200]).await;
}

#[tokio::test]
async fn a_view_lets_in_whom_its_arguments_say() {
    let all = visitors(TestSite::new(project()).await).await;
    all.check("/only/login/", [200, 200, 200, 200]).await;
    all.check("/only/staff/", [403, 403, 200, 200]).await;
    all.check("/only/superuser/", [403, 403, 403, 200]).await;
    all.check("/only/may/", [403, 200, 403, 200]).await;
    all.check("/only/numbered/", [403, 200, 403, 403]).await;
    all.writer.get("/only/may/").await.assert_contains("inside: writer1");
}

#[tokio::test]
async fn an_include_demands_it_of_all_its_lines() {
    let all = visitors(TestSite::new(project()).await).await;
    all.check("/group/page/", [200, 200, 200, 200]).await;
    all.check("/group/staff/", [403, 403, 200, 200]).await;
    all.check("/group/open/", [200, 200, 200, 200]).await;
    // Without a login does not mean without the rest.
    all.nobody.get("/inside/open/").await.assert_status(302);
    all.ann.get("/inside/open/").await.assert_status(403);
    all.staff.get("/inside/open/").await.assert_contains("inside");
    // Being open to the world takes away nothing of what the line itself demands.
    all.check("/group/open/write/", [403, 200, 403, 200]).await;
    let closed = all.nobody.try_socket("/group/ws/").await.unwrap_err();
    assert_eq!(closed.status(), 403);
    assert_eq!(all.ann.socket("/group/ws/").await.receive().await, "inside");
}

#[tokio::test]
async fn a_gate_costs_what_it_asks_for() {
    let all = visitors(TestSite::new(project()).await).await;
    let cost = async |client: &Client, path: &str, queries| {
        assert_queries(&all.site, queries, async || client.get(path).await).await;
    };
    cost(&all.writer, "/open/", 0).await;
    cost(&all.nobody, "/may/", 0).await;
    cost(&all.writer, "/login/", 2).await;
    cost(&all.writer, "/staff/", 2).await;
    cost(&all.writer, "/may/", 3).await;
    cost(&all.root, "/may/", 2).await;
}

#[tokio::test]
async fn every_method_is_kept_out_and_events_are_not_sent_to_a_page() {
    let all = visitors(TestSite::new(project()).await).await;
    all.nobody.post("/login/", &[]).await.assert_redirects("/accounts/login/?next=/login/");
    all.nobody.head("/login/").await.assert_status(302);
    let events = all.nobody.get("/login/").header("accept", "text/event-stream").await;
    events.assert_status(403);
    let query = all.nobody.get("/login/?a=1&b=%2F").await;
    query.assert_redirects("/accounts/login/?next=/login/%3Fa%3D1%26b%3D%252F");
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refused_socket_is_a_403_that_says_why_in_the_log() {
    let all = visitors(TestSite::new(project()).await).await;
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // As long as there is but one, lines that another test's thread meets first stay unwanted.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let quiet = tracing::subscriber::set_default(subscriber);
    for (client, path) in
        [(&all.nobody, "/ws/login/"), (&all.nobody, "/ws/may/"), (&all.ann, "/ws/may/")]
    {
        let refused = client.try_socket(path).await.unwrap_err();
        assert_eq!(refused.status(), 403, "{path}: {refused:?}");
    }
    drop(quiet);
    let words = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    for refused in ["anonymous lacks a login", "ann lacks the permission blog.add_post"] {
        assert!(words.contains(&format!("a WebSocket was refused: {refused}")), "{words}");
    }
    assert_eq!(all.ann.socket("/ws/login/").await.receive().await, "inside");
    assert_eq!(all.writer.socket("/ws/may/").await.receive().await, "inside");
    assert_eq!(all.nobody.socket("/ws/open/").await.receive().await, "inside");
}

#[tokio::test]
async fn a_private_site_has_one_open_door() {
    let closed = TestSite::with(project(), |settings| settings.auth.login_required = true).await;
    let all = visitors(closed).await;
    all.nobody.get("/open/").await.assert_redirects("/accounts/login/?next=/open/");
    all.ann.get("/open/").await.assert_contains("inside");
    all.nobody.get("/accounts/login/").await.assert_contains("Sign in");
    all.nobody.get("/group/open/").await.assert_contains("inside");
    all.nobody.get("/nowhere/").await.assert_status(404);
    assert_eq!(all.nobody.try_socket("/ws/open/").await.unwrap_err().status(), 403);
    // Who proves who they are by a token.
    all.nobody.post_json("/publish/", &1).await.assert_status(401);
}

#[test]
#[should_panic(expected = "it is called app.codename")]
fn a_malformed_permission_is_told_at_start() {
    drop(path("x/", plain).permission_required("add_post"));
}

#[tokio::test]
async fn a_gate_holds_for_every_method_however_deep_it_stands() {
    let inner = Urls::new([path("page/", plain)]);
    let middle = Urls::new([include("inner/", inner).permission_required("blog.add_post")]);
    let urls = Urls::new([
        include("deep/", middle).staff_required(),
        path("login/", plain).login_required(),
        include("accounts/", auth::urls()),
    ]);
    let all = visitors(TestSite::new(project().urls(urls)).await).await;
    // Each has one of the two that are wanted.
    for client in [&all.ann, &all.writer, &all.staff] {
        client.get("/deep/inner/page/").await.assert_status(403);
    }
    all.root.get("/deep/inner/page/").await.assert_contains("inside");
    for method in [Method::OPTIONS, Method::PUT, Method::PATCH, Method::DELETE, Method::POST] {
        let answer = all.nobody.call(method.clone(), "/deep/inner/page/").await;
        answer.assert_status(302);
        assert!(!answer.text().contains("inside"), "{answer:?}");
        all.writer.call(method, "/deep/inner/page/").await.assert_status(403);
    }
    // The way to the slash tells no more than that there is such a URL.
    all.nobody.get("/login").await.assert_redirects("/login/");
    // Whoever signs in has to bring the token all the same.
    let ann = all.site.client().enforce_csrf_checks();
    ann.force_login(
        &User::objects().filter(|u| u.username().eq("ann")).get(&all.site).await.unwrap(),
    )
    .await;
    ann.post("/login/", &[]).await.assert_status(403);
}

#[tokio::test]
async fn a_layer_that_keeps_pages_is_told_whose_they_are() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    let layer = from_fn(move |request: axum::extract::Request, next: Next| {
        let (path, kept) = (request.uri().path().to_owned(), Arc::clone(&keeping));
        async move {
            let response = next.run(request).await;
            let vary = response.headers().get("vary").map(|vary| vary.to_str().unwrap().to_owned());
            kept.lock().unwrap().push((path, vary));
            response
        }
    });
    let all = visitors(TestSite::new(project().layer(layer)).await).await;
    all.nobody.get("/open/").await.assert_status(200);
    all.nobody.get("/login/").await.assert_status(302);
    let answer = all.ann.get("/login/").await;
    assert_eq!(answer.header("vary"), "Cookie");
    assert_eq!(answer.headers().get_all("vary").iter().count(), 1);
    all.nobody.get("/accounts/login/").await.assert_status(200);
    let own = || Some("Cookie".to_owned());
    let expected =
        [("/open/", None), ("/login/", own()), ("/login/", own()), ("/accounts/login/", own())];
    let expected = expected.map(|(path, vary)| (path.to_owned(), vary));
    assert_eq!(*kept.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_login_page_may_be_named_in_the_settings() {
    let site = TestSite::with(project(), |settings| settings.auth.login_url = "login".into()).await;
    site.client().get("/login/").await.assert_redirects("/accounts/login/?next=/login/");
    site.client().get("/accounts/login/").await.assert_status(200);
}

#[test]
fn check_finds_a_login_page_that_sends_to_itself() {
    let found = |urls: Urls, login_url: &str, is_private: bool| {
        let mut settings = Settings::default();
        settings.auth.login_url = login_url.to_owned();
        settings.auth.login_required = is_private;
        let project = Project::new("gates", "/nowhere").install(auth::App).urls(urls);
        let found = project.check(&settings);
        found.iter().filter(|check| check.id.starts_with("auth.")).map(|c| c.id).collect::<Vec<_>>()
    };
    let own = || Urls::new([path("login/", plain).name("enter")]);
    let nothing: [&str; 0] = [];
    assert_eq!(found(own(), "/login/", false), nothing);
    assert_eq!(found(own(), "/login/?from=here", true), ["auth.E101"]);
    assert_eq!(found(own(), "enter", true), ["auth.E101"]);
    assert_eq!(found(own(), "leave", true), ["auth.E103"]);
    assert_eq!(found(own(), "https://sign-in.example/", true), nothing);
    let below = |line: hulse::urls::Route| Urls::new([include("in/", Urls::new([line]))]);
    let open = path("login/", plain).login_not_required();
    assert_eq!(found(below(open), "/in/login/", true), nothing);
    let gated = Urls::new([include("in/", own()).staff_required()]);
    assert_eq!(found(gated, "/in/login/", false), ["auth.E101"]);
}

#[tokio::test]
async fn a_demand_stands_on_lines_includes_and_sockets() {
    let all = visitors(TestSite::new(project()).await).await;
    for path in ["/line/numbered/", "/numbered/page/"] {
        all.writer.get(path).await.assert_contains("inside");
        all.ann.get(path).await.assert_status(403);
        all.root.get(path).await.assert_status(403);
        all.nobody.get(path).await.assert_redirects(&format!("/accounts/login/?next={path}"));
    }
    assert_eq!(all.writer.socket("/ws/numbered/").await.receive().await, "inside");
    for client in [&all.ann, &all.nobody] {
        assert_eq!(client.try_socket("/ws/numbered/").await.unwrap_err().status(), 403);
    }
}
