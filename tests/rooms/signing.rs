//! What leaves signed comes back believed, and nothing else does.

use std::time::Duration;

use hulse::conf::Secret;
use hulse::http::{HeaderValue, IntoResponse, Path, Request, Response, SetCookie, header};
use hulse::signing::{Signer, TimestampSigner, sign_cookie};
use hulse::test::{Client, TestSite};
use hulse::urls::{Urls, path};
use hulse::{Project, Result};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A link with what was signed for it.
async fn link(request: Request, Path(email): Path<String>) -> String {
    Signer::new(request.settings(), "newsletter.leave").sign(&email)
}

async fn leave(request: Request) -> Result<String> {
    let signed = request.query("who").unwrap_or_default();
    Signer::new(request.settings(), "newsletter.leave").unsign(&signed)
}

async fn invite(request: Request) -> Result<String> {
    TimestampSigner::new(request.settings(), "invite").sign_object(&("ann", [1, 2]))
}

async fn accept(request: Request, Path(age): Path<u64>) -> Result<String> {
    let signed = request.query("signed").unwrap_or_default();
    let signer = TimestampSigner::new(request.settings(), "invite");
    let (who, rooms): (String, Vec<i64>) =
        signer.unsign_object(&signed, Some(Duration::from_secs(age)))?;
    Ok(format!("{who} {rooms:?}"))
}

async fn remember(request: Request, Path(theme): Path<String>) -> Result<Response> {
    let cookie = SetCookie {
        name: "theme",
        value: &sign_cookie(request.settings(), "theme", &theme, "visitor"),
        max_age: None,
        secure: false,
        http_only: true,
    };
    let headers: [(_, HeaderValue); 1] = [(header::SET_COOKIE, cookie.header()?)];
    Ok((headers, "remembered").into_response())
}

async fn theme(request: Request) -> String {
    let known = request.signed_cookie("theme", "visitor", Some(WEEK));
    let other = request.signed_cookie("theme", "another", None);
    let moved = request.signed_cookie("heme", "visitort", None);
    format!("{known:?} {other:?} {moved:?}")
}

async fn site(keys: &[&str]) -> TestSite {
    let urls = Urls::new([
        path("link/<str:email>/", link),
        path("leave/", leave),
        path("invite/", invite),
        path("accept/<int:age>/", accept),
        path("remember/<slug:theme>/", remember),
        path("theme/", theme),
    ]);
    TestSite::with(Project::new("signing", "/nowhere").urls(urls), |settings| {
        let mut keys = keys.iter().map(|key| Secret::new(*key));
        settings.secret_key = keys.next().unwrap();
        settings.secret_key_fallbacks = keys.collect();
    })
    .await
}

/// A browser that has this cookie.
fn with_theme(site: &TestSite, value: &str) -> Client {
    let client = site.client();
    client.set_cookie("theme", value);
    client
}

#[tokio::test]
async fn a_signed_text_is_believed_by_the_keys_of_today_and_of_before() {
    let before = site(&["first key"]).await;
    let signed = before.client().get("/link/ann@example.com/").await.text().to_owned();
    assert!(signed.starts_with("ann@example.com:"), "{signed}");
    let url = format!("/leave/?who={signed}");
    for (keys, status) in [
        (["first key"].as_slice(), 200),
        (&["second key", "first key"], 200),
        (&["third key", "second key", "first key"], 200),
        (&["second key"], 400),
    ] {
        let now = site(keys).await;
        let answer = now.client().get(&url).await;
        answer.assert_status(status);
        if status == 200 {
            assert_eq!(answer.text(), "ann@example.com");
            // With whichever is the first it is signed now.
            let again = now.client().get("/link/ann@example.com/").await;
            assert_eq!(again.text() == signed, keys.len() == 1);
        }
    }
    let client = before.client();
    for forged in [
        signed.replacen("ann", "bob", 1),
        signed[..signed.len() - 1].to_owned(),
        "ann@example.com".into(),
        String::new(),
        client.get("/invite/").await.text().to_owned(),
    ] {
        client.get(&format!("/leave/?who={forged}")).await.assert_status(400);
    }
}

#[tokio::test]
async fn what_is_signed_with_the_time_is_good_for_a_while() {
    let site = site(&["first key"]).await;
    let client = site.client();
    let signed = client.get("/invite/").await.text().to_owned();
    let accepted = client.get(&format!("/accept/60/?signed={signed}")).await;
    assert_eq!(accepted.text(), "ann [1, 2]");
    // Made by this site in 2023.
    let signer = Signer::new(site.settings(), "invite");
    let old = signer.sign("WyJhbm4iLFsxLDJdXQ:1r31eq");
    let url = |age: u64| format!("/accept/{age}/?signed={old}");
    client.get(&url(60)).await.assert_status(400);
    assert_eq!(client.get(&url(10_000_000_000)).await.text(), "ann [1, 2]");
    let later = old.replacen("1r31eq", "2r31eq", 1);
    client.get(&format!("/accept/60/?signed={later}")).await.assert_status(400);
}

#[tokio::test]
async fn a_signed_cookie_is_nobody_else_s_and_of_no_other_name_or_use() {
    let before = site(&["first key"]).await;
    let client = before.client();
    client.get("/remember/dark/").await.assert_contains("remembered");
    let signed = client.cookie("theme").unwrap();
    assert!(signed.starts_with("dark:"), "{signed}");
    assert_eq!(client.get("/theme/").await.text(), "Some(\"dark\") None None");
    let rotated = site(&["second key", "first key"]).await;
    let kept = with_theme(&rotated, &signed).get("/theme/").await;
    assert_eq!(kept.text(), "Some(\"dark\") None None");
    let other = site(&["second key"]).await;
    let lost = with_theme(&other, &signed).get("/theme/").await;
    assert_eq!(lost.text(), "None None None");
    for forged in ["light", "dark", &signed.replacen("dark", "light", 1), &signed[..30]] {
        let answer = with_theme(&before, forged).get("/theme/").await;
        assert_eq!(answer.text(), "None None None", "{forged}");
    }
    // A name with a part of the salt is another name.
    let moved = before.client();
    moved.set_cookie("heme", &signed);
    assert_eq!(moved.get("/theme/").await.text(), "None None None");
}
