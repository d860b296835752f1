//! Who knows users: the chain of backends, and what a session remembers of it.

use std::sync::{Arc, Mutex};

use hulse::contrib::auth::{
    self, AuthBackend, Credentials, EmailBackend, ModelBackend, User, UserLoggedIn, UserLoggedOut,
    UserLoginFailed, authenticate, authenticate_with, login,
};
use hulse::contrib::sessions;
use hulse::http::{Request, bad_request, permission_denied};
use hulse::test::TestSite;
use hulse::urls::{Urls, include, path};
use hulse::{App, Project, Result, Site};
use hulse_tests::databases;

use super::{PASSWORD, user};

async fn whoami(request: Request) -> Result<String> {
    let backend = request.session().get::<String>("_auth_user_backend").await?;
    Ok(format!("{} by {}", request.user().await?, backend.unwrap_or_default()))
}

/// Signs in with a token instead of a password.
async fn token(request: Request) -> Result<String> {
    let token = request.query("token").ok_or_else(|| bad_request("no token"))?;
    let said = Credentials::default().with("token", &token);
    match authenticate_with(&request, Some(&request), &said).await? {
        Some(known) => {
            login(&request, &known).await?;
            Ok(format!("hello {}", known.username))
        }
        None => Ok("nobody".to_owned()),
    }
}

fn project_with(app: impl App) -> Project {
    let urls =
        Urls::new([path("", whoami), path("token/", token), include("accounts/", auth::urls())]);
    Project::new("backends", "/nowhere").install(sessions::App).install(app).urls(urls)
}

async fn sign_in(site: &TestSite, name: &str) -> Option<String> {
    let client = site.client();
    let form = [("username", name), ("password", PASSWORD)];
    let answer = client.post("/accounts/login/", &form).await;
    if answer.status() != 302 {
        return None;
    }
    Some(client.get("/").await.text().to_owned())
}

#[tokio::test]
async fn an_email_address_signs_in_where_the_site_wants_it() {
    for database in databases().await {
        let both = auth::App.backend(ModelBackend).backend(EmailBackend);
        let site = TestSite::on(project_with(both), &database.url).await;
        user(&site, "ann").await;
        for (name, address) in [("one", "twins@example.org"), ("two", "Twins@example.org")] {
            User::create_user(&site, name, address, Some(PASSWORD)).await.unwrap();
        }
        User::create_user(&site, "empty", "", Some(PASSWORD)).await.unwrap();
        let closed = user(&site, "closed").await;
        User { is_active: false, ..closed }.save(&site).await.unwrap();

        assert_eq!(sign_in(&site, "ann").await.unwrap(), "ann by model");
        assert_eq!(sign_in(&site, "ann@example.org").await.unwrap(), "ann by email");
        assert_eq!(sign_in(&site, " ANN@Example.ORG ").await.unwrap(), "ann by email");
        assert_eq!(sign_in(&site, "one").await.unwrap(), "one by model");
        for refused in ["twins@example.org", "closed@example.org", "bob@example.org", "ann@", " "] {
            assert_eq!(sign_in(&site, refused).await, None, "{refused:?}");
        }
        // Who has closed their account keeps nobody out who has the address too.
        let shut = User::create_user(&site, "shut", "open@example.org", Some(PASSWORD)).await;
        User { is_active: false, ..shut.unwrap() }.save(&site).await.unwrap();
        User::create_user(&site, "open", "open@example.org", Some(PASSWORD)).await.unwrap();
        assert_eq!(sign_in(&site, "open@example.org").await.unwrap(), "open by email");
        // A look-alike that some databases hold for the same: only the folding tells the dotless i
        // from an i.
        let kim = User::create_user(&site, "kim", "kim@example.org", Some(PASSWORD)).await.unwrap();
        assert_eq!(sign_in(&site, "k\u{131}m@example.org").await, None);
        assert_eq!(kim.email, "kim@example.org");
    }
    let site = TestSite::new(project_with(auth::App)).await;
    user(&site, "ann").await;
    assert_eq!(sign_in(&site, "ann@example.org").await, None, "only if it is listed");
}

/// Knows one token.
struct Tokens;

impl AuthBackend for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    async fn authenticate(&self, site: &Site, said: &Credentials) -> Result<Option<User>> {
        match said.get("token") {
            Some("ann's") => {
                Ok(Some(User::objects().filter(|u| u.username().eq("ann")).get(site).await?))
            }
            Some("stolen") => Err(permission_denied("nobody with this token")),
            _ => Ok(None),
        }
    }
}

/// Knows everybody who has any token.
struct Gullible;

impl AuthBackend for Gullible {
    fn name(&self) -> &'static str {
        "gullible"
    }

    async fn authenticate(&self, site: &Site, said: &Credentials) -> Result<Option<User>> {
        if said.get("token").is_none() {
            return Ok(None);
        }
        Ok(Some(User::objects().filter(|u| u.username().eq("bob")).get(site).await?))
    }
}

#[tokio::test]
async fn the_first_backend_wins_and_one_that_denies_ends_the_chain() {
    let app = auth::App.backend(ModelBackend).backend(Tokens).backend(Gullible);
    let site = TestSite::new(project_with(app)).await;
    user(&site, "ann").await;
    user(&site, "bob").await;
    for (token, expected) in
        [("ann%27s", "ann by tokens"), ("other", "bob by gullible"), ("stolen", "anonymous by ")]
    {
        let client = site.client();
        client.get(&format!("/token/?token={token}")).await.assert_status(200);
        assert_eq!(client.get("/").await.text(), expected);
    }
}

#[tokio::test]
async fn who_is_not_active_is_nobody_whatever_a_backend_says() {
    let site = TestSite::new(project_with(auth::App.backend(Tokens))).await;
    let ann = user(&site, "ann").await;
    let client = site.client();
    client.get("/token/?token=ann%27s").await.assert_contains("hello ann");
    User { is_active: false, ..ann }.save(&site).await.unwrap();
    let client = site.client();
    client.get("/token/?token=ann%27s").await.assert_contains("nobody");
    assert_eq!(client.cookie("sessionid"), None);
}

#[test]
fn check_finds_two_backends_of_one_name() {
    let ids = |project: Project| {
        let found = project.check(&hulse::conf::Settings::default());
        found.iter().filter(|check| check.id.starts_with("auth.")).map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(project_with(auth::App.backend(Tokens).backend(Tokens))), ["auth.E102"]);
    assert!(ids(project_with(auth::App.backend(Tokens).backend(Gullible))).is_empty());
}

#[tokio::test]
async fn a_session_of_a_backend_that_is_gone_is_nobodys() {
    for database in databases().await {
        let app = auth::App.backend(ModelBackend).backend(Tokens);
        let site = TestSite::on(project_with(app), &database.url).await;
        user(&site, "ann").await;
        let client = site.client();
        client.get("/token/?token=ann%27s").await.assert_contains("hello ann");
        let cookie = client.cookie("sessionid").unwrap();
        let secret = site.settings().secret_key.clone();

        let without = TestSite::with(project_with(auth::App), |settings| {
            settings.database.url = hulse::conf::Secret::new(database.url.clone());
            settings.secret_key = secret;
        })
        .await;
        let client = without.client();
        client.set_cookie("sessionid", &cookie);
        assert_eq!(client.get("/").await.text(), "anonymous by tokens");
    }
}

#[tokio::test]
async fn receivers_hear_who_comes_goes_and_fails_but_no_password() {
    let told = Arc::new(Mutex::new(Vec::<String>::new()));
    let (entered, left, failed) = (Arc::clone(&told), Arc::clone(&told), Arc::clone(&told));
    let project = project_with(auth::App)
        .on(move |_: Site, event: Arc<UserLoggedIn>| {
            let words = format!("in {} {}", event.user, event.request.path());
            entered.lock().unwrap().push(words);
            async { Ok(()) }
        })
        .on(move |_: Site, event: Arc<UserLoggedOut>| {
            left.lock().unwrap().push(format!("out {}", event.user.as_ref().unwrap()));
            async { Ok(()) }
        })
        .on(move |_: Site, event: Arc<UserLoginFailed>| {
            let from = event.request.as_ref().map(|request| request.path().to_owned());
            failed.lock().unwrap().push(format!("failed {:?} {from:?}", event.credentials));
            async { Ok(()) }
        });
    let site = TestSite::new(project).await;
    user(&site, "ann").await;
    let client = site.client();
    let form = |password: &'static str| [("username", "ann"), ("password", password)];
    client.post("/accounts/login/", &form("guess")).await.assert_status(200);
    client.post("/accounts/login/", &form(PASSWORD)).await.assert_status(302);
    client.post("/accounts/logout/", &[]).await.assert_status(302);
    assert!(authenticate(&site, "ann", "guess").await.unwrap().is_none());
    let stars = "*".repeat(20);
    let credentials = format!("{{\"password\": \"{stars}\", \"username\": \"ann\"}}");
    let expected = [
        format!("failed {credentials} Some(\"/accounts/login/\")"),
        "in ann /accounts/login/".to_owned(),
        "out ann".to_owned(),
        format!("failed {credentials} None"),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}
