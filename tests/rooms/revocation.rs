//! What is open when somebody signs out, changes a password or loses a permission: it gets nothing
//! that is sent afterwards.

use std::sync::Arc;
use std::time::Duration;

use hulse::channels::GroupName;
use hulse::conf::SessionEngine;
use hulse::contrib::auth::{self, Group, Permission, User};
use hulse::contrib::sessions;
use hulse::http::{Request, permission_denied, post};
use hulse::sockets::{Consumer, Doubt, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::test::{Client, SocketClient, TestSite};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How soon a connection must be closed.
const CLOSED: Duration = Duration::from_secs(1);
const DISMISSED: u16 = 4401;
/// What a client is told that is to come again.
const COME_AGAIN: u16 = 1012;

/// Hears what is said in `news`, whoever it is.
#[derive(Default)]
struct News;

impl Consumer for News {
    fn groups(&self, _: &Socket) -> Result<Vec<String>> {
        Ok(vec!["news".into()])
    }
}

/// Who is staff hears `news`, as long as it lasts.
#[derive(Default)]
struct Staff;

impl Consumer for Staff {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.reauthorize(socket, Doubt::Changed).await?;
        socket.join("news").await?;
        socket.accept().await
    }

    async fn reauthorize(&mut self, socket: &mut Socket, _: Doubt) -> Result<()> {
        match auth::afresh(socket.request()).user().await?.is_staff {
            true => Ok(()),
            false => Err(permission_denied("staff only")),
        }
    }
}

/// What a test and its consumer tell each other.
#[derive(Clone, Debug, Default)]
struct Signs {
    /// A call has begun.
    begun: Arc<Notify>,
    /// It may end.
    go_on: Arc<Notify>,
}

/// Looks who it is, and then takes its time to accept.
struct Slow(Signs);

impl Consumer for Slow {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.request().user().await?;
        self.0.begun.notify_one();
        self.0.go_on.notified().await;
        socket.join("news").await?;
        socket.accept().await
    }
}

/// Takes its time with a message, and answers it.
struct Busy(Signs);

impl Consumer for Busy {
    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        self.0.begun.notify_one();
        self.0.go_on.notified().await;
        socket.send("late").await
    }
}

async fn new_password(request: Request) -> Result<&'static str> {
    let mut user = request.user().await?.user().cloned().unwrap_or_default();
    auth::change_password(&request, &mut user, "something new").await?;
    Ok("changed")
}

async fn who(request: Request) -> Result<String> {
    Ok(request.user().await?.to_string())
}

fn project(signs: &Signs) -> Project {
    let streams = Streams::new([
        stream("open", async |_: Request, (): ()| Ok(Stream::group("news"))),
        stream("staff", async |request: Request, (): ()| match request.user().await?.is_staff {
            true => Ok(Stream::group("staff")),
            false => Err(permission_denied("only for staff")),
        }),
    ]);
    let (slow, busy) = (signs.clone(), signs.clone());
    Project::new("revoking", "/nonexistent").install(sessions::App).install(auth::App).urls(
        Urls::new([
            include("accounts/", auth::urls()),
            path("who/", who),
            path("new-password/", post(new_password)),
            socket("news/", News::default),
            socket("staff/", Staff::default),
            socket("slow/", move || Slow(slow.clone())),
            socket("busy/", move || Busy(busy.clone())),
            streams.at("stream/"),
        ]),
    )
}

async fn site() -> TestSite {
    TestSite::new(project(&Signs::default())).await
}

async fn ann(site: &TestSite) -> User {
    let ann = User::create_user(site, "ann", "ann@example.com", Some("secret")).await.unwrap();
    let ann = User { is_staff: true, ..ann };
    let mut saved = ann.clone();
    saved.save(site).await.unwrap();
    saved
}

/// Somebody who is signed in, in a session of his own.
async fn signed_in(site: &TestSite, user: &User) -> Client {
    let client = site.client();
    client.force_login(user).await;
    client
}

async fn say(site: &TestSite, text: &str) {
    site.group("news").send(text).await.unwrap();
}

/// It hears nothing any more but that it is closed, soon.
async fn is_dismissed(mut socket: SocketClient) {
    let (texts, code, reason) = timeout(CLOSED, socket.rest()).await.expect("closed in a second");
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!((code, reason.as_str()), (DISMISSED, "what this was opened for has ended"));
}

/// It hears nothing any more but that it is to come again, soon.
async fn comes_again(mut socket: SocketClient) {
    let (texts, code, reason) = timeout(CLOSED, socket.rest()).await.expect("closed in a second");
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!((code, reason.as_str()), (COME_AGAIN, "come again"));
}

/// It hears what is said now, and nothing before.
async fn still_hears(site: &TestSite, socket: &mut SocketClient) {
    say(site, "still here").await;
    assert_eq!(socket.receive().await, "still here");
}

#[tokio::test]
async fn a_socket_opened_before_a_logout_hears_nothing_that_is_said_after_it() {
    let site = site().await;
    let ann = ann(&site).await;
    let (here, there) = (signed_in(&site, &ann).await, signed_in(&site, &ann).await);
    let mut first = here.socket("/news/").await;
    let (mut other, mut nobody) = (there.socket("/news/").await, site.socket("/news/").await);
    say(&site, "before").await;
    assert_eq!(first.receive().await, "before");
    here.post("/accounts/logout/", &[]).await.assert_redirects("/");
    say(&site, "after").await;
    is_dismissed(first).await;
    for socket in [&mut other, &mut nobody] {
        assert_eq!(socket.receive().await, "before");
        assert_eq!(socket.receive().await, "after");
        still_hears(&site, socket).await;
    }
}

#[tokio::test]
async fn who_signs_in_as_somebody_else_ends_what_was_open_before() {
    let site = site().await;
    let ann = ann(&site).await;
    User::create_user(&site, "bob", "", Some("secret")).await.unwrap();
    let client = signed_in(&site, &ann).await;
    let socket = client.socket("/news/").await;
    let as_bob = [("username", "bob"), ("password", "secret")];
    assert_eq!(client.post("/accounts/login/", &as_bob).await.status(), 302);
    is_dismissed(socket).await;
}

#[tokio::test]
async fn who_signs_in_again_can_still_sign_out_of_everything() {
    let site = site().await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let socket = client.socket("/news/").await;
    let again = [("username", "ann"), ("password", "secret")];
    assert_eq!(client.post("/accounts/login/", &again).await.status(), 302);
    // What was open knows the session by a name that it has no more.
    comes_again(socket).await;
    let mut socket = client.socket("/news/").await;
    still_hears(&site, &mut socket).await;
    client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    is_dismissed(socket).await;
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_what_is_open_in_them() {
    let site = site().await;
    let ann = ann(&site).await;
    let (here, there) = (signed_in(&site, &ann).await, signed_in(&site, &ann).await);
    let (own, other) = (here.socket("/news/").await, there.socket("/news/").await);
    here.post("/new-password/", &[]).await.assert_contains("changed");
    is_dismissed(other).await;
    comes_again(own).await;
    let mut own = here.socket("/news/").await;
    still_hears(&site, &mut own).await;
    there.get("/who/").await.assert_contains("anonymous");
    here.get("/who/").await.assert_contains("ann");
    // Under its new id it is the same session.
    here.post("/accounts/logout/", &[]).await.assert_redirects("/");
    is_dismissed(own).await;
}

#[tokio::test]
async fn who_changes_a_password_joins_again_as_who_he_was() {
    let site = site().await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    for page in ["new-password", "accounts/login"] {
        let mut socket = client.socket("/stream/").await;
        socket.send_json(&json!({ "join": "staff" })).await;
        assert_eq!(frame(&mut socket).await["joined"], "staff", "{page}");
        let again = [("username", "ann"), ("password", "something new")];
        client.post(&format!("/{page}/"), &again).await;
        comes_again(socket).await;
    }
    let mut socket = client.socket("/stream/").await;
    socket.send_json(&json!({ "join": "staff" })).await;
    assert_eq!(frame(&mut socket).await["joined"], "staff");
}

#[tokio::test]
async fn a_login_that_asks_for_another_protocol_is_a_login_all_the_same() {
    let site = site().await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    client.post("/new-password/", &[]).await.assert_contains("changed");
    for protocol in ["h2c", "websocket"] {
        let mut socket = client.socket("/stream/").await;
        socket.send_json(&json!({ "join": "staff" })).await;
        assert_eq!(frame(&mut socket).await["joined"], "staff", "{protocol}");
        let again = [("username", "ann"), ("password", "something new")];
        let login = client.post("/accounts/login/", &again).header("upgrade", protocol);
        login.header("connection", "upgrade").await.assert_status(302);
        comes_again(socket).await;
    }
}

#[tokio::test]
async fn a_copy_of_a_cookie_from_before_closes_nothing_that_was_opened_since() {
    let site = TestSite::with(project(&Signs::default()), |settings| {
        settings.sessions.engine = SessionEngine::SignedCookies;
    })
    .await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let copy = client.cookie("sessionid").unwrap();
    client.post("/new-password/", &[]).await.assert_contains("changed");
    let mut socket = client.socket("/news/").await;
    let thief = || {
        let thief = site.client();
        thief.set_cookie("sessionid", &copy);
        thief
    };
    thief().get("/who/").await.assert_contains("anonymous");
    thief().post("/accounts/logout/", &[]).await.assert_status(302);
    let mut stream = thief().socket("/stream/").await;
    stream.send_json(&json!({ "join": "staff" })).await;
    is_dismissed(stream).await;
    still_hears(&site, &mut socket).await;
    client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    is_dismissed(socket).await;
}

#[tokio::test]
async fn a_password_that_is_set_elsewhere_ends_every_session() {
    let site = site().await;
    let mut ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let socket = client.socket("/news/").await;
    ann.set_password(&site, "of the administrator").await.unwrap();
    ann.save(&site).await.unwrap();
    is_dismissed(socket).await;
    client.get("/who/").await.assert_contains("anonymous");
}

#[tokio::test]
async fn a_closed_or_deleted_account_ends_what_it_has_open() {
    for delete in [false, true] {
        let site = site().await;
        let mut ann = ann(&site).await;
        let client = signed_in(&site, &ann).await;
        let (plain, staff) = (client.socket("/news/").await, client.socket("/staff/").await);
        if delete {
            ann.delete(&site).await.unwrap();
        } else {
            ann.is_active = false;
            ann.save(&site).await.unwrap();
        }
        say(&site, "after").await;
        is_dismissed(plain).await;
        is_dismissed(staff).await;
    }
}

#[tokio::test]
async fn a_consumer_may_look_itself_whether_a_change_matters() {
    let site = site().await;
    let mut ann = ann(&site).await;
    ann.is_superuser = true;
    ann.save(&site).await.unwrap();
    let client = signed_in(&site, &ann).await;
    let (plain, mut staff) = (client.socket("/news/").await, client.socket("/staff/").await);
    ann.is_superuser = false;
    ann.save(&site).await.unwrap();
    is_dismissed(plain).await;
    still_hears(&site, &mut staff).await;
    auth::reauthorize(&site, &[ann.id]).await.unwrap();
    still_hears(&site, &mut staff).await;
    ann.is_staff = false;
    ann.save(&site).await.unwrap();
    say(&site, "after").await;
    is_dismissed(staff).await;
}

#[tokio::test]
async fn what_is_undone_dismisses_nobody() {
    let site = site().await;
    let ann = ann(&site).await;
    let mut socket = signed_in(&site, &ann).await.socket("/news/").await;
    let undone = site.atomic(async |site| {
        let mut ann = ann.clone();
        ann.is_active = false;
        ann.save(&site).await?;
        Err::<(), _>(permission_denied("after all not"))
    });
    assert!(undone.await.is_err());
    still_hears(&site, &mut socket).await;
}

async fn frame(socket: &mut SocketClient) -> Value {
    socket.receive_json().await
}

#[tokio::test]
async fn streams_are_asked_again_one_by_one() {
    let site = site().await;
    let mut ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let mut socket = client.socket("/stream/").await;
    for name in ["open", "staff"] {
        socket.send_json(&json!({ "join": name })).await;
        assert_eq!(frame(&mut socket).await["joined"], name);
    }
    ann.is_staff = false;
    ann.save(&site).await.unwrap();
    site.group("staff").send("secret").await.unwrap();
    say(&site, "for all").await;
    assert_eq!(frame(&mut socket).await, json!({ "left": "staff" }));
    assert_eq!(frame(&mut socket).await, json!({ "error": "denied", "stream": "staff" }));
    let heard = frame(&mut socket).await;
    assert_eq!((&heard["stream"], &heard["data"]), (&json!("open"), &json!("for all")));
    client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    is_dismissed(socket).await;
}

/// Waits until somebody takes part in a group.
async fn is_heard(site: &TestSite, group: &str) {
    let group = GroupName::new(group).unwrap();
    while site.layer().group_channels(&group).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_poll_that_waits_is_told_of_a_logout() {
    let site = site().await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let first = client.get("/stream/?join=staff").await;
    let at = first.json::<Value>()[0]["at"].as_str().unwrap().to_owned();
    let url = format!("/stream/?join=staff&at={at}");
    let (waiting, _) = tokio::join!(timeout(CLOSED, client.get(&url).into_future()), async {
        is_heard(&site, "staff").await;
        client.clone().post("/accounts/logout/", &[]).await.assert_redirects("/");
        site.group("staff").send("secret").await.unwrap();
    });
    let said: Value = waiting.expect("answered in a second").json();
    assert_eq!(said, json!([{ "error": "denied" }]));
}

#[tokio::test]
async fn a_handshake_during_a_logout_is_refused() {
    let signs = Signs::default();
    let site = TestSite::new(project(&signs)).await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let opening = client.clone();
    let opening = tokio::spawn(async move { opening.try_socket("/slow/").await.map(drop) });
    signs.begun.notified().await;
    client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    signs.go_on.notify_one();
    let refused = opening.await.unwrap().expect_err("it must not be let in");
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn what_a_busy_consumer_still_says_reaches_nobody() {
    let signs = Signs::default();
    let site = TestSite::new(project(&signs)).await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let mut socket = client.socket("/busy/").await;
    socket.send("do something").await;
    signs.begun.notified().await;
    client.post("/accounts/logout/", &[]).await.assert_redirects("/");
    signs.go_on.notify_one();
    is_dismissed(socket).await;
}

#[tokio::test]
async fn events_end_with_the_session() {
    let site = site().await;
    let ann = ann(&site).await;
    let client = signed_in(&site, &ann).await;
    let reading = client.get("/stream/?join=open").header("accept", "text/event-stream");
    let reading = tokio::spawn(timeout(CLOSED, reading.into_future()));
    is_heard(&site, "news").await;
    say(&site, "before").await;
    client.clone().post("/accounts/logout/", &[]).await.assert_redirects("/");
    say(&site, "after").await;
    let events = reading.await.unwrap().expect("ended in a second");
    events.assert_contains("{\"error\":\"denied\"}");
    assert!(!events.text().contains("after"), "{}", events.text());
}

#[tokio::test]
async fn who_leaves_a_group_or_loses_a_permission_is_asked_again() {
    let site = site().await;
    let ann = ann(&site).await;
    let group = Group { name: "editors".into(), ..Group::default() };
    let group = Group::create(&site, group).await.unwrap();
    let may = Permission {
        name: "Can edit".into(),
        app_label: "news".into(),
        model: "item".into(),
        codename: "edit_item".into(),
        ..Permission::default()
    };
    let may = Permission::create(&site, may).await.unwrap();
    group.permissions().add(&site, [&may]).await.unwrap();
    ann.groups().add(&site, [&group]).await.unwrap();
    ann.user_permissions().add(&site, [&may]).await.unwrap();
    let client = signed_in(&site, &ann).await;

    let (plain, mut staff) = (client.socket("/news/").await, client.socket("/staff/").await);
    ann.user_permissions().remove(&site, [&may]).await.unwrap();
    is_dismissed(plain).await;
    let plain = client.socket("/news/").await;
    group.permissions().remove(&site, [&may]).await.unwrap();
    is_dismissed(plain).await;
    let plain = client.socket("/news/").await;
    ann.groups().clear(&site).await.unwrap();
    is_dismissed(plain).await;
    ann.groups().add(&site, [&group]).await.unwrap();
    let plain = client.socket("/news/").await;
    let mut group = group;
    group.delete(&site).await.unwrap();
    is_dismissed(plain).await;
    still_hears(&site, &mut staff).await;
}
