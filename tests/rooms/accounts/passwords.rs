//! Passwords: changed, reset by mail, taken over from Django.

use std::time::Instant;

use hulse::conf::Secret;
use hulse::contrib::auth::{self, User, authenticate};
use hulse::contrib::sessions;
use hulse::contrib::sessions::models::Session;
use hulse::http::Request;
use hulse::test::{Client, TestSite, assert_queries};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};
use hulse_tests::databases;

use super::{PASSWORD, user};

const NEW: &str = "tumbling gneiss weirs";

async fn whoami(request: Request) -> Result<String> {
    Ok(request.user().await?.to_string())
}

fn project_at(accounts: hulse::urls::Route) -> Project {
    Project::new("passwords", "/nowhere")
        .install(sessions::App)
        .install(auth::App)
        .urls(Urls::new([path("", whoami), accounts]))
}

fn project() -> Project {
    project_at(include("accounts/", auth::urls()))
}

async fn ask(client: &Client, email: &str) {
    let answer = client.post("/accounts/password_reset/", &[("email", email)]).await;
    answer.assert_redirects("/accounts/password_reset/done/");
}

/// The path of the link in the mail at `place`, without the host.
fn link(site: &TestSite, place: usize) -> String {
    let mail = &site.outbox()[place];
    let start = mail.text.find("http://testserver/").expect("a link in the mail");
    let url = mail.text[start..].split_whitespace().next().unwrap();
    url["http://testserver".len()..].to_owned()
}

async fn set(client: &Client, page: &str, first: &str, second: &str) -> hulse::test::Answer {
    client.post(page, &[("new_password1", first), ("new_password2", second)]).await
}

#[tokio::test]
async fn a_forgotten_password_is_reset_by_mail_once() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let ann = user(&site, "ann").await;
        let thief = site.client();
        thief.force_login(&ann).await;
        let client = site.client();
        client.get("/accounts/login/").await.assert_contains("/accounts/password_reset/");
        client.get("/accounts/password_reset/").await.assert_contains("name=\"email\"");
        ask(&client, " ANN@example.org ").await;
        client.get("/accounts/password_reset/done/").await.assert_contains("Look into your mail");
        let mails = site.outbox();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, ["ann@example.org"], "the address in the database");
        assert_eq!(mails[0].subject, "Password reset on testserver");
        assert!(mails[0].text.contains("in case you have forgotten it: ann"), "{mails:?}");

        let link = link(&site, 0);
        let away = client.get(&link).await;
        let page = away.header("location").to_owned();
        assert!(page.ends_with("/set-password/") && !page.contains(&link[20..]), "{page}");
        let shown = client.get(&page).await;
        shown.assert_contains("new_password1").assert_contains("at least 8 characters");
        assert!(shown.header("cache-control").contains("no-store"), "{shown:?}");
        // Another browser has the page's URL, but not the token.
        site.client().get(&page).await.assert_contains("no longer good");
        set(&site.client(), &page, NEW, NEW).await.assert_contains("no longer good");

        set(&client, &page, NEW, "other").await.assert_contains("didn’t match");
        let weak = set(&client, &page, "ann12", "ann12").await;
        weak.assert_contains("too short").assert_not_contains("ann12");
        set(&client, &page, "", "").await.assert_contains("This field is required.");
        assert!(authenticate(&site, "ann", PASSWORD).await.unwrap().is_some());
        set(&client, &page, NEW, NEW).await.assert_redirects("/accounts/reset/done/");
        client.get("/accounts/reset/done/").await.assert_contains("/accounts/login/");
        assert!(authenticate(&site, "ann", PASSWORD).await.unwrap().is_none());
        assert!(authenticate(&site, "ann", NEW).await.unwrap().is_some());
        assert_eq!(thief.get("/").await.text(), "anonymous", "every session has ended");
        assert_eq!(client.get("/").await.text(), "anonymous", "who resets it signs in");

        // Once.
        site.client().get(&link).await.assert_contains("no longer good");
        set(&client, &page, "and yet another one", "and yet another one")
            .await
            .assert_contains("no longer good");
        assert!(authenticate(&site, "ann", NEW).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn only_who_can_sign_in_with_a_password_gets_a_letter() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let closed = user(&site, "closed").await;
        User { is_active: false, ..closed }.save(&site).await.unwrap();
        User::create_user(&site, "foreign", "foreign@example.org", None).await.unwrap();
        User::create_user(&site, "empty", "", Some(PASSWORD)).await.unwrap();
        for (name, email) in [("one", "twins@example.org"), ("two", "Twins@example.org")] {
            User::create_user(&site, name, email, Some(PASSWORD)).await.unwrap();
        }
        let client = site.client();
        for email in ["closed@example.org", "foreign@example.org", "nobody@example.org"] {
            ask(&client, email).await;
        }
        assert_eq!(site.outbox().len(), 0);
        for bad in ["", "nonsense", "a@b\r\nBcc: c@example.org"] {
            let answer = client.post("/accounts/password_reset/", &[("email", bad)]).await;
            answer.assert_status(200).assert_contains("class=\"fault\"");
        }
        ask(&client, "twins@EXAMPLE.org").await;
        let to: Vec<_> = site.outbox().into_iter().flat_map(|mail| mail.to).collect();
        assert_eq!(to.len(), 2, "each account of the address has a link of its own: {to:?}");
    }
}

#[tokio::test]
async fn a_link_that_was_not_made_for_this_is_no_good() {
    let site = TestSite::new(project()).await;
    let ann = user(&site, "ann").await;
    user(&site, "eve").await;
    let client = site.client();
    ask(&client, "ann@example.org").await;
    ask(&client, "eve@example.org").await;
    let (anns, eves) = (link(&site, 0), link(&site, 1));
    let parts = |link: &str| {
        let parts: Vec<_> = link.split('/').map(str::to_owned).collect();
        (parts[3].clone(), parts[4].clone())
    };
    let ((ann_id, ann_token), (_, eve_token)) = (parts(&anns), parts(&eves));
    for (id, token) in [
        (ann_id.as_str(), eve_token.as_str()),
        (ann_id.as_str(), "set-password"),
        (ann_id.as_str(), "x"),
        ("OTk5", ann_token.as_str()),
        ("!!!", ann_token.as_str()),
        ("YQ", ann_token.as_str()),
    ] {
        let answer = site.client().get(&format!("/accounts/reset/{id}/{token}/")).await;
        answer.assert_status(200).assert_contains("no longer good");
    }
    // Eve has opened her own link, and asks for Ann's page with it.
    client.get(&eves).await.assert_status(302);
    let stolen = format!("/accounts/reset/{ann_id}/set-password/");
    client.get(&stolen).await.assert_contains("no longer good");
    set(&client, &stolen, NEW, NEW).await.assert_contains("no longer good");

    User { email: "new@example.org".into(), ..ann }.save(&site).await.unwrap();
    site.client().get(&anns).await.assert_contains("no longer good");
}

/// As CVE-2019-19844: whoever has an address that some databases, or folding of case, hold for
/// another's.
#[tokio::test]
async fn a_look_alike_of_an_address_gets_nobody_else_s_letter() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        for (name, email) in [
            ("mike", "mike@github.example"),
            // With a dotless i.
            ("eve", "mike@g\u{131}thub.example"),
            ("kate", "kate@kelvin.example"),
        ] {
            User::create_user(&site, name, email, Some(PASSWORD)).await.unwrap();
        }
        let client = site.client();
        let mut links = Vec::new();
        for (typed, to) in [
            ("mike@g\u{131}thub.example", "mike@g\u{131}thub.example"),
            ("mike@github.example", "mike@github.example"),
            ("MIKE@GITHUB.EXAMPLE", "mike@github.example"),
        ] {
            let before = site.outbox().len();
            ask(&client, typed).await;
            let letters = &site.outbox()[before..];
            assert_eq!(letters.len(), 1, "{typed}");
            assert_eq!(letters[0].to, [to], "{typed}");
            links.push(link(&site, before));
        }
        // None of these is anybody's: no letter, or one to the address as it is stored.
        for typed in [
            "mike@g\u{130}thub.example",
            "mike@g\u{ed}thub.example",
            "kate@\u{212a}elvin.example",
            "kate@\u{ff4b}elvin.example",
        ] {
            let before = site.outbox().len();
            ask(&client, typed).await;
            for letter in &site.outbox()[before..] {
                assert_eq!(letter.to, ["kate@kelvin.example"], "{typed}");
                assert!(typed.starts_with("kate"), "{typed}");
            }
        }
        let before = site.outbox().len();
        for typed in ["m\u{131}ke@github.example", "\u{ff4d}ike@github.example"] {
            let form = [("email", typed)];
            let answer = client.post("/accounts/password_reset/", &form).await;
            answer.assert_status(200).assert_contains("class=\"fault\"");
        }
        assert_eq!(site.outbox().len(), before);
        // The link in Eve's letter is good for her account, and her token for no other.
        let part = |link: &str, place: usize| link.split('/').nth(place).unwrap().to_owned();
        let crossed = format!("/accounts/reset/{}/{}/", part(&links[1], 3), part(&links[0], 4));
        client.get(&crossed).await.assert_contains("no longer good");
        let page = client.get(&links[0]).await.header("location").to_owned();
        set(&client, &page, NEW, NEW).await.assert_redirects("/accounts/reset/done/");
        for (name, password) in [("eve", NEW), ("mike", PASSWORD), ("kate", PASSWORD)] {
            assert!(authenticate(&site, name, password).await.unwrap().is_some(), "{name}");
        }
        assert!(authenticate(&site, "mike", NEW).await.unwrap().is_none());
        site.client().get(&links[1]).follow().await.assert_contains("new_password1");
    }
}

#[tokio::test]
async fn the_link_names_the_host_that_was_asked_for_and_allowed() {
    let site = TestSite::with(project(), |settings| {
        settings.allowed_hosts.push("other.example".into());
    })
    .await;
    user(&site, "ann").await;
    let client = site.client();
    let post = |host: &str| {
        let form = [("email", "ann@example.org")];
        client.post("/accounts/password_reset/", &form).header("host", host)
    };
    post("evil.example").await.assert_status(400);
    post("testserver:80@evil.example").await.assert_status(400);
    let forwarded = post("other.example").header("x-forwarded-host", "evil.example").await;
    forwarded.assert_status(302);
    let mails = site.outbox();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text.contains("http://other.example/accounts/reset/"), "{mails:?}");
    assert!(!mails[0].text.contains("evil"), "{mails:?}");
}

#[tokio::test]
async fn a_letter_that_cannot_leave_is_not_the_visitors_business() {
    let site = TestSite::with(project(), |settings| {
        settings.mail.backend = Some(hulse::conf::MailBackend::File);
        settings.mail.folder = "/proc/nowhere".into();
    })
    .await;
    user(&site, "ann").await;
    ask(&site.client(), "ann@example.org").await;
}

#[tokio::test]
async fn a_token_of_an_earlier_key_counts_while_it_is_a_fallback() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    let with_keys = async |key: &str, fallbacks: &[&str]| {
        TestSite::with(project(), |settings| {
            settings.database.url = Secret::new(url.clone());
            settings.secret_key = Secret::new(key);
            settings.secret_key_fallbacks = fallbacks.iter().map(|key| Secret::new(*key)).collect();
        })
        .await
    };
    let site = with_keys("old", &[]).await;
    user(&site, "ann").await;
    ask(&site.client(), "ann@example.org").await;
    let link = link(&site, 0);
    let without = with_keys("new", &[]).await;
    without.client().get(&link).await.assert_contains("no longer good");
    let with = with_keys("new", &["older", "old"]).await;
    with.client().get(&link).follow().await.assert_contains("new_password1");
}

#[tokio::test]
async fn a_known_and_an_unknown_address_take_the_same_time() {
    let site = TestSite::with(project(), |settings| settings.auth.password_reset_mails = 0).await;
    user(&site, "ann").await;
    let client = site.client();
    // The shortest of many: what others on this machine hold up tells nothing.
    let (mut known, mut unknown) = (f64::MAX, f64::MAX);
    for round in 0..400 {
        for (email, time) in [("ann@example.org", &mut known), ("bob@example.org", &mut unknown)] {
            let begun = Instant::now();
            ask(&client, email).await;
            *time = time.min(begun.elapsed().as_secs_f64());
        }
        if round > 40 && (1.0 / 1.7..1.7).contains(&(known / unknown)) {
            return;
        }
    }
    panic!("{known} s for one who is known, {unknown} s for one who is not");
}

#[tokio::test]
async fn nobody_s_letter_box_is_filled_and_nobody_hears_of_it() {
    let site = TestSite::new(project()).await;
    user(&site, "ann").await;
    user(&site, "bob").await;
    let at = |address: &str| site.client().at_address(address.parse().unwrap());
    // However it is written, from wherever.
    for number in 0..8 {
        let email = ["ann@example.org", "ANN@example.org", " Ann@EXAMPLE.org"][number % 3];
        ask(&at(&format!("203.0.113.{number}")), email).await;
    }
    assert_eq!(site.outbox().len(), 3);
    ask(&at("203.0.113.1"), "bob@example.org").await;
    assert_eq!(site.outbox().len(), 4, "another letter box");
    // Who asks for many is heard no more, the others are.
    let crowd = at("198.51.100.7");
    for number in 0..30 {
        ask(&crowd, &format!("nobody{number}@example.org")).await;
    }
    ask(&crowd, "bob@example.org").await;
    assert_eq!(site.outbox().len(), 4);
    ask(&at("198.51.100.8"), "bob@example.org").await;
    assert_eq!(site.outbox().len(), 5);
    // A neighbour may be a proxy nobody told us of, and all visitors.
    user(&site, "cleo").await;
    for number in 0..30 {
        ask(&at("10.0.0.7"), &format!("nobody{number}@example.com")).await;
    }
    ask(&at("10.0.0.7"), "cleo@example.org").await;
    assert_eq!(site.outbox().len(), 6);
}

#[tokio::test]
async fn who_changes_a_password_stays_signed_in_here_only() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let ann = user(&site, "ann").await;
        let (here, there) = (site.client(), site.client());
        let page = "/accounts/password_change/";
        let sent = here.get(page).await;
        sent.assert_redirects(&format!("/accounts/login/?next={page}"));
        here.force_login(&ann).await;
        there.force_login(&ann).await;
        here.get(page).await.assert_contains("old_password").assert_contains("entirely numeric");
        let change = async |old: &str, first: &str, second: &str| {
            let form = [("old_password", old), ("new_password1", first), ("new_password2", second)];
            here.post(page, &form).await
        };
        let wrong = change("wrong", NEW, NEW).await;
        wrong.assert_contains("entered incorrectly").assert_not_contains(NEW);
        change(PASSWORD, NEW, "x").await.assert_contains("didn’t match");
        change(PASSWORD, "ann@example", "ann@example").await.assert_contains("too similar");
        change(PASSWORD, "password123", "password123").await.assert_contains("too common");
        change(PASSWORD, "1234567890123", "1234567890123").await.assert_contains("numeric");
        let long = "x".repeat(4097);
        change(PASSWORD, &long, &long).await.assert_contains("at most 4096");
        change("", "", "").await.assert_contains("This field is required.");
        let before = here.cookie("sessionid");
        change(PASSWORD, NEW, NEW).await.assert_redirects("/accounts/password_change/done/");
        here.get("/accounts/password_change/done/").await.assert_contains("still signed in here");
        assert_ne!(here.cookie("sessionid"), before, "a new id");
        assert_eq!(here.get("/").await.text(), "ann");
        assert_eq!(there.get("/").await.text(), "anonymous");
        assert!(authenticate(&site, "ann", NEW).await.unwrap().is_some());
        assert_eq!(Session::objects().count(&site).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_pages_work_under_a_name_of_their_own() {
    let project = project_at(include("members/", auth::urls()).name("members"));
    let site = TestSite::new(project).await;
    user(&site, "ann").await;
    let client = site.client();
    client.get("/members/login/").await.assert_contains("/members/password_reset/");
    let form = [("email", "ann@example.org")];
    let answer = client.post("/members/password_reset/", &form).await;
    answer.assert_redirects("/members/password_reset/done/");
    client.get(&link(&site, 0)).follow().await.assert_contains("new_password1");
}

#[tokio::test]
async fn a_hash_of_django_signs_in_once_and_is_ours_then() {
    let hashes = [
        "pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A=",
        "pbkdf2_sha1$1000$seasalt$ljleU4wBmTtz/MoG5YTwxpM0d7I=",
        "scrypt$1024$seasalt$8$5$ozpUt/qDR/QLBzi9csaWJofO252yHC+Oxl5cycNUQkna\
         /BBjumDq5KMXPAq1Xi3sxxGWxqtAlQmEE+DSWNl+FQ==",
        "bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC./mc37Kdhrv0B3/.B13E.XXGgHg1yCoy",
        "bcrypt_sha256$$2b$05$CCCCCCCCCCCCCCCCCCCCC.bdNwF18LmuBgx.3vdUAHc5aN/.UHaVC",
    ];
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut ann = user(&site, "ann").await;
        for stored in hashes {
            ann.password = stored.to_owned();
            ann.save(&site).await.unwrap();
            let client = site.client();
            let form = |password| [("username", "ann"), ("password", password)];
            client.post("/accounts/login/", &form("letmein")).await.assert_status(200);
            client.post("/accounts/login/", &form("l\u{e8}tmein")).await.assert_redirects("/");
            ann.refresh(&site).await.unwrap();
            assert!(ann.password.starts_with("argon2$argon2id$"), "{stored}");
            assert_eq!(client.get("/").await.text(), "ann");
        }
    }
}

#[tokio::test]
async fn a_reset_takes_few_statements() {
    let site = TestSite::new(project()).await;
    user(&site, "ann").await;
    let client = site.client();
    assert_queries(&site, 1, async || ask(&client, "ann@example.org").await).await;
    assert_queries(&site, 1, async || ask(&client, "bob@example.org").await).await;
    let link = link(&site, 0);
    // The user, and the session that is begun.
    let away = assert_queries(&site, 2, async || client.get(&link).await).await;
    assert_queries(&site, 2, async || client.get(away.header("location")).await).await;
}
