//! Accounts: who gets in, what a session is worth afterwards.

use hulse::contrib::auth::{self, User, authenticate, login_required};
use hulse::contrib::sessions;
use hulse::contrib::sessions::models::Session;
use hulse::db::Sql;
use hulse::http::{Request, Response, get, render};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::test::{Client, TestSite};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result, context};
use hulse_tests::databases;

const PASSWORD: &str = "correct horse battery";
const REFUSED: &str = "Please enter a correct username and password.";

async fn whoami(request: Request) -> Result<String> {
    let user = request.user().await?;
    Ok(format!("{:?} {}", user.username, user.is_authenticated()))
}

async fn diary(request: Request) -> Result<String> {
    Ok(format!("Dear {}", request.user().await?))
}

async fn plain() -> &'static str {
    "plain"
}

async fn note(request: Request) -> Result<&'static str> {
    request.session().set("note", "kept").await?;
    Ok("noted")
}

async fn read(request: Request) -> Result<String> {
    Ok(request.session().get::<String>("note").await?.unwrap_or_default())
}

async fn hello(request: Request) -> Result<Response> {
    render(&request, "hello.html", context! {}).await
}

/// Says who it is, once connected.
#[derive(Default)]
struct Whoami;

impl Consumer for Whoami {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let user = socket.request().user().await?;
        socket.request().session().set("seen", true).await?;
        socket.accept().await?;
        socket.send(format!("{} {}", user.username, user.is_authenticated())).await
    }
}

fn project() -> Project {
    let urls = Urls::new([
        path("", get(whoami)),
        path("diary/", login_required(diary)),
        path("plain/", get(plain)),
        path("note/", get(note)),
        path("read/", get(read)),
        path("hello/", get(hello)),
        socket("ws/", Whoami::default),
        include("accounts/", auth::urls()),
    ]);
    Project::new("accounts", concat!(env!("CARGO_MANIFEST_DIR"), "/sites/accounts"))
        .install(sessions::App)
        .install(auth::App)
        .urls(urls)
}

async fn with_ann(site: &TestSite) -> User {
    User::create_user(site, "ann", "ann@Example.ORG", Some(PASSWORD)).await.unwrap()
}

async fn log_in(client: &Client, password: &str) -> hulse::test::Answer {
    client.post("/accounts/login/", &[("username", "ann"), ("password", password)]).await
}

#[tokio::test]
async fn a_user_signs_in_and_out() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let ann = with_ann(&site).await;
        assert_eq!(ann.email, "ann@example.org");
        let client = site.client();
        client.get("/").await.assert_contains("\"\" false");

        let page = client.get("/accounts/login/").await;
        page.assert_contains("csrfmiddlewaretoken").assert_contains("current-password");
        assert!(page.header("cache-control").contains("no-store"), "{page:?}");

        log_in(&client, PASSWORD).await.assert_redirects("/");
        client.get("/").await.assert_contains("\"ann\" true");
        let row = User::objects().get(&site).await.unwrap();
        assert!(row.last_login.is_some());

        client.get("/accounts/logout/").await.assert_status(405);
        client.get("/").await.assert_contains("\"ann\" true");
        client.post("/accounts/logout/", &[]).await.assert_redirects("/");
        client.get("/").await.assert_contains("\"\" false");
        assert_eq!(client.cookie("sessionid"), None);
        assert_eq!(Session::objects().count(&site).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn every_refusal_reads_the_same() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        with_ann(&site).await;
        let bob = User { is_active: false, ..User::default() };
        let mut bob = User { username: "bob".into(), ..bob };
        bob.set_password(&site, PASSWORD).await.unwrap();
        bob.save(&site).await.unwrap();
        User::create_user(&site, "cleo", "", None).await.unwrap();

        for (username, password) in [
            ("ann", "wrong"),
            ("ann", " correct horse battery "),
            ("Ann", PASSWORD),
            ("nobody", PASSWORD),
            ("bob", PASSWORD),
            ("cleo", PASSWORD),
            ("cleo", "!unusable"),
            ("' OR 1=1 --", PASSWORD),
            ("ann\u{0}", PASSWORD),
        ] {
            let client = site.client();
            let form = [("username", username), ("password", password)];
            let answer = client.post("/accounts/login/", &form).await;
            answer.assert_contains(REFUSED).assert_not_contains(password);
            assert!(authenticate(&site, username, password).await.unwrap().is_none());
            client.get("/").await.assert_contains("\"\" false");
        }
        let client = site.client();
        client.post("/accounts/login/", &[]).await.assert_contains("This field is required.");
        assert!(authenticate(&site, "ａｎｎ", PASSWORD).await.unwrap().is_some(), "NFKC");
    }
}

#[tokio::test]
async fn what_was_typed_comes_back_as_text() {
    let site = TestSite::new(project()).await;
    let form = [("username", "<script>\"x"), ("password", "y"), ("next", "/\"><b>")];
    let answer = site.client().post("/accounts/login/", &form).await;
    answer.assert_contains("&lt;script&gt;").assert_not_contains("<script>");
    answer.assert_not_contains("\"><b>");
}

#[tokio::test]
async fn signing_in_changes_the_session_id_and_keeps_its_data() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let ann = with_ann(&site).await;
        let client = site.client();
        client.get("/note/").await.assert_status(200);
        let before = client.cookie("sessionid").unwrap();
        let token = client.cookie("csrftoken");
        log_in(&client, PASSWORD).await.assert_status(302);
        let after = client.cookie("sessionid").unwrap();
        assert_ne!(before, after);
        assert_ne!(client.cookie("csrftoken"), token, "a token from before is worth nothing");
        client.get("/read/").await.assert_contains("kept");

        let thief = site.client();
        thief.set_cookie("sessionid", &before);
        thief.get("/").await.assert_contains("\"\" false");

        // Somebody else at the same browser finds nothing of it.
        let eve = User::create_user(&site, "eve", "", Some(PASSWORD)).await.unwrap();
        let form = [("username", "eve"), ("password", PASSWORD)];
        client.post("/accounts/login/", &form).await.assert_status(302);
        client.get("/").await.assert_contains("\"eve\" true");
        assert_eq!(client.get("/read/").await.text(), "");
        assert_ne!(ann.id, eve.id);
    }
}

#[tokio::test]
async fn a_session_ends_with_its_password_and_its_account() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut ann = with_ann(&site).await;
        let (one, two) = (site.client(), site.client());
        one.force_login(&ann).await;
        log_in(&two, PASSWORD).await.assert_status(302);
        for client in [&one, &two] {
            client.get("/").await.assert_contains("\"ann\" true");
        }
        ann.set_password(&site, "another horse entirely").await.unwrap();
        ann.save(&site).await.unwrap();
        for client in [&one, &two] {
            client.get("/").await.assert_contains("\"\" false");
        }
        assert_eq!(Session::objects().count(&site).await.unwrap(), 0);

        one.force_login(&ann).await;
        one.get("/").await.assert_contains("\"ann\" true");
        ann.is_active = false;
        ann.save(&site).await.unwrap();
        one.get("/").await.assert_contains("\"\" false");
    }
}

#[tokio::test]
async fn an_earlier_key_counts_while_it_is_a_fallback() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    let with_keys = async |key: &str, fallbacks: &[&str]| {
        TestSite::with(project(), |settings| {
            settings.database.url = hulse::conf::Secret::new(url.clone());
            settings.secret_key = hulse::conf::Secret::new(key);
            settings.secret_key_fallbacks =
                fallbacks.iter().map(|key| hulse::conf::Secret::new(*key)).collect();
        })
        .await
    };
    let site = with_keys("old", &[]).await;
    let ann = with_ann(&site).await;
    let browser = site.client();
    browser.force_login(&ann).await;
    let cookie = browser.cookie("sessionid").unwrap();

    let site = with_keys("new", &["older", "old"]).await;
    let browser = site.client();
    browser.set_cookie("sessionid", &cookie);
    browser.get("/").await.assert_contains("\"ann\" true");
    let cookie = browser.cookie("sessionid").unwrap();

    let site = with_keys("new", &[]).await;
    let browser = site.client();
    browser.set_cookie("sessionid", &cookie);
    browser.get("/").await.assert_contains("\"ann\" true");

    let site = with_keys("newest", &[]).await;
    let browser = site.client();
    browser.set_cookie("sessionid", &cookie);
    browser.get("/").await.assert_contains("\"\" false");
}

#[tokio::test]
async fn next_leads_back_to_this_site_only() {
    let site = TestSite::new(project()).await;
    with_ann(&site).await;
    let attempts = [
        ("/diary/?page=2", "/diary/?page=2"),
        ("http://testserver/diary/", "http://testserver/diary/"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("///evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("http:///evil.example", "/"),
        ("\u{8}//evil.example", "/"),
    ];
    for (next, expected) in attempts {
        let client = site.client();
        let form = [("username", "ann"), ("password", PASSWORD), ("next", next)];
        client.post("/accounts/login/", &form).await.assert_redirects(expected);
        client.post("/accounts/logout/", &[("next", next)]).await.assert_redirects(expected);
    }
}

#[tokio::test]
async fn a_private_page_asks_to_sign_in_and_comes_back() {
    let site = TestSite::new(project()).await;
    with_ann(&site).await;
    let client = site.client();
    let away = client.get("/diary/?page=2").await;
    away.assert_redirects("/accounts/login/?next=/diary/%3Fpage%3D2");
    let umlaut = client.get("/diary/?x=%C3%A4").await;
    umlaut.assert_redirects("/accounts/login/?next=/diary/%3Fx%3D%25C3%25A4");
    let page = client.get(away.header("location")).await;
    page.assert_contains("name=\"next\" value=\"/diary/?page=2\"");
    log_in(&client, PASSWORD).await.assert_status(302);
    client.get("/diary/?page=2").await.assert_contains("Dear ann");
}

#[tokio::test]
async fn signing_in_needs_the_token() {
    let site = TestSite::new(project()).await;
    with_ann(&site).await;
    let client = site.client().enforce_csrf_checks();
    log_in(&client, PASSWORD).await.assert_status(403);
    client.post("/accounts/logout/", &[]).await.assert_status(403);
    client.get("/accounts/login/").await.assert_status(200);
    let token = client.cookie("csrftoken").unwrap();
    let form =
        [("username", "ann"), ("password", PASSWORD), ("csrfmiddlewaretoken", token.as_str())];
    client.post("/accounts/login/", &form).await.assert_redirects("/");
    client.post("/accounts/logout/", &[("csrfmiddlewaretoken", &token)]).await.assert_status(403);
}

#[tokio::test]
async fn nobody_is_asked_for_who_did_not_sign_in() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        for table in
            ["auth_user_groups", "auth_user_user_permissions", "auth_user", "sessions_session"]
        {
            site.db().execute(Sql::raw(format!("DROP TABLE {table}"))).await.unwrap();
        }
        let client = site.client();
        client.get("/plain/").await.assert_contains("plain");
        let answer = client.get("/").await;
        answer.assert_contains("\"\" false");
        assert!(answer.set_cookies().is_empty());
        client.get("/accounts/login/").await.assert_status(200);
    }
}

#[tokio::test]
async fn a_template_knows_the_user_but_not_the_hash() {
    let site = TestSite::new(project()).await;
    let ann = with_ann(&site).await;
    let client = site.client();
    client.get("/hello/").await.assert_contains("nobody");
    client.force_login(&ann).await;
    client.get("/hello/").await.assert_contains("ann@example.org").assert_not_contains("argon2");
    assert!(!format!("{ann:?}").contains("argon2"));
    assert!(!serde_json::to_string(&ann).unwrap().contains("argon2"));
}

#[tokio::test]
async fn a_socket_knows_its_user_and_its_handshake_sets_the_cookie() {
    let site = TestSite::new(project()).await;
    let ann = with_ann(&site).await;
    let client = site.client();
    let mut socket = client.socket("/ws/").await;
    assert_eq!(socket.receive().await, " false");
    assert!(socket.headers().contains_key("set-cookie"), "{:?}", socket.headers());
    assert_eq!(client.cookie("sessionid").unwrap().len(), 22);
    socket.close(1000).await;

    client.force_login(&ann).await;
    assert_eq!(client.socket("/ws/").await.receive().await, "ann true");
}

#[tokio::test]
async fn an_outdated_hash_is_made_anew_at_login() {
    let site = TestSite::new(project()).await;
    let mut ann = with_ann(&site).await;
    // "letmein" under argon2id with m=64, made by another program.
    ann.password = django_hash().to_owned();
    ann.save(&site).await.unwrap();
    let user = authenticate(&site, "ann", "l\u{e8}tmein").await.unwrap().unwrap();
    assert!(user.password.contains("m=8,t=1,p=1"), "{}", user.password);
    ann.refresh(&site).await.unwrap();
    assert_eq!(ann.password, user.password);
    assert!(ann.check_password(&site, "l\u{e8}tmein").await.unwrap());
}

#[tokio::test]
async fn a_login_under_way_undoes_no_change_of_password() {
    let said = "l\u{e8}tmein";
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut ann = with_ann(&site).await;
        ann.password = django_hash().to_owned();
        ann.save(&site).await.unwrap();
        let both = tokio::join!(authenticate(&site, "ann", said), authenticate(&site, "ann", said));
        assert!(both.0.unwrap().is_some() && both.1.unwrap().is_some(), "each makes it anew");

        ann.save(&site).await.unwrap();
        let mut changed = ann.clone();
        changed.set_password(&site, PASSWORD).await.unwrap();
        let log = site.database().record();
        let (entered, ()) = tokio::join!(authenticate(&site, "ann", said), async {
            // The former hash has been read, and is being compared.
            while log.count() == 0 {
                tokio::task::yield_now().await;
            }
            changed.save(&site).await.unwrap();
        });
        assert!(entered.unwrap().is_none());
        ann.refresh(&site).await.unwrap();
        assert!(ann.check_password(&site, PASSWORD).await.unwrap());
    }
}

fn django_hash() -> &'static str {
    "argon2$argon2id$v=19$m=102400,t=2,p=8$cjRuZDBtUzRsdE9mMjJDaGFyczAweA\
     $yUgabV3l7/FxOoIhXnCnOfUEiXyOQGwQ1AFAdex3Sws"
}

#[tokio::test]
async fn a_crowd_at_the_door_is_told_to_come_back() {
    let site = TestSite::with(project(), |settings| {
        settings.auth.hashing_threads = 1;
        settings.auth.hashing_queue = 3;
        settings.auth.argon2_memory_kib = 19_456;
    })
    .await;
    let logins = (0..20).map(|_| {
        let client = site.client();
        async move { log_in(&client, "wrong").await.status() }
    });
    let statuses = futures_util::future::join_all(logins).await;
    let busy = statuses.iter().filter(|status| **status == 503).count();
    let judged = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(busy + judged, 20, "{statuses:?}");
    assert!(busy > 0 && judged >= 4, "{statuses:?}");
    // Nothing is held back by it.
    assert_eq!(log_in(&site.client(), "wrong").await.status(), 200);
}

#[tokio::test]
async fn names_are_checked_and_unique() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        with_ann(&site).await;
        let twice = User::create_user(&site, "ann", "", None).await.unwrap_err();
        assert!(twice.is_integrity(), "{twice}");
        let long = "x".repeat(151);
        for bad in ["", "a b", "a/b", "<b>", "a\u{0}", &long] {
            let error = User::create_user(&site, bad, "", None).await.unwrap_err();
            assert!(error.is_field(), "{error}");
        }
        let root = User::create_superuser(&site, "root@x.y-z+1", "", Some("x")).await.unwrap();
        assert!(root.is_superuser && root.is_staff && root.is_active);
        assert_eq!(User::objects().count(&site).await.unwrap(), 2);
    }
}

/// Statements of the same steps in Django 6.1: 0, 4, 1, 9, 2, 5.
#[tokio::test]
async fn a_visit_takes_as_few_statements_as_it_can() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        with_ann(&site).await;
        let client = site.client();
        let asked = site.database().record();
        let mut counts = Vec::new();
        let mut count = || {
            let before: usize = counts.iter().sum();
            counts.push(asked.count() - before);
        };
        client.get("/").await.assert_contains("\"\" false");
        count();
        client.get("/note/").await.assert_status(200);
        count();
        client.get("/read/").await.assert_contains("kept");
        count();
        log_in(&client, PASSWORD).await.assert_redirects("/");
        count();
        client.get("/").await.assert_contains("\"ann\" true");
        count();
        client.post("/accounts/logout/", &[]).await.assert_redirects("/");
        count();
        assert_eq!(counts, [0, 1, 1, 5, 2, 2], "{:#?}", asked.queries());
    }
}

#[tokio::test]
async fn who_signs_in_behind_a_password_set_elsewhere_finds_nothing_of_before() {
    let site = TestSite::new(project()).await;
    let ann = User::create_user(&site, "ann", "", Some(PASSWORD)).await.unwrap();
    let client = site.client();
    client.force_login(&ann).await;
    client.get("/note/").await.assert_contains("noted");
    let before = client.cookie("sessionid");
    // In a way that nobody hears of.
    let mut other = User { password: String::new(), ..ann };
    other.set_password(&site, "of the administrator").await.unwrap();
    let rows = User::objects().filter(|u| u.id().eq(other.id));
    rows.update(&site, |u| [u.password().set(&other.password)]).await.unwrap();
    let form = [("username", "ann"), ("password", "of the administrator")];
    client.post("/accounts/login/", &form).await.assert_redirects("/");
    assert_ne!(client.cookie("sessionid"), before);
    client.get("/read/").await.assert_not_contains("kept");
    assert_eq!(client.get("/").await.text(), "\"ann\" true");
}

#[tokio::test]
async fn a_password_is_kept_as_owasp_asks_for_without_a_word() {
    let site = TestSite::with(project(), |settings| {
        settings.auth = hulse::conf::Auth::default();
    })
    .await;
    for name in ["ann", "bob"] {
        User::create_user(&site, name, "", Some(PASSWORD)).await.unwrap();
    }
    let rows = User::objects().all(&site).await.unwrap();
    let salts: Vec<&str> = rows
        .iter()
        .map(|row| {
            let rest = row.password.strip_prefix("argon2$argon2id$v=19$m=19456,t=2,p=1$");
            rest.expect(&row.password).split('$').next().unwrap()
        })
        .collect();
    // 128 bits are 22 letters of base 64.
    assert!(salts[0] != salts[1] && salts.iter().all(|salt| salt.len() == 22), "{salts:?}");
}
