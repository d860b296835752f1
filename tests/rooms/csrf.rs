//! Cross-site request forgery: what may post and what may not.

use axum::body::Body;
use futures_util::stream;
use http::Method;
use hulse::conf::Settings;
use hulse::http::{Form, Request, Response};
use hulse::urls::{Urls, path};
use hulse::{Project, Result, context};

use crate::site::{Answer, Opened};

const PAGE: &str = "{{ csrf_token }} {{ csrf_input }}";

#[derive(serde::Deserialize)]
struct Vote {
    choice: String,
}

async fn vote(Form(form): Form<Vote>) -> String {
    form.choice
}

async fn whole(body: axum::body::Bytes) -> String {
    body.len().to_string()
}

async fn page(request: Request) -> Result<Response> {
    hulse::http::render(&request, "page.html", context! {}).await
}

async fn plain(request: Request) -> Result<Response> {
    hulse::http::render(&request, "plain.html", context! {}).await
}

async fn sign_in(request: Request) -> &'static str {
    request.rotate_csrf_token();
    "in"
}

/// The site and the folder of its templates.
async fn opened() -> (Opened, tempfile::TempDir) {
    opened_with(|_| ()).await
}

async fn opened_with(change: impl FnOnce(&mut Settings)) -> (Opened, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("templates/page.html"), PAGE).unwrap();
    std::fs::write(folder.path().join("templates/plain.html"), "csrf_token").unwrap();
    let urls = Urls::new([
        path("page/", page),
        path("plain/", plain),
        path("vote/", vote),
        path("whole/", whole),
        path("open/", vote).csrf_exempt(),
        path("in/", sign_in).csrf_exempt(),
    ]);
    let site = Opened::with(Project::new("rooms", folder.path()).urls(urls), |settings| {
        settings.debug = true;
        settings.csrf.trusted_origins = vec!["https://*.friends.example".into()];
        change(settings);
    })
    .await;
    (site, folder)
}

fn secret(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").strip_prefix("csrftoken=").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// The cookie header and a masked token of one visit.
async fn visit(site: &Opened) -> (String, String) {
    let answer = site.get("/page/").await;
    let token = answer.text.split(' ').next().unwrap().to_owned();
    (format!("csrftoken={}", secret(&answer)), token)
}

#[tokio::test]
async fn a_form_with_its_token_is_taken() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let form = format!("choice=a+b&csrfmiddlewaretoken={token}");
    let answer = site.post("/vote/", &[("cookie", &cookie)], &form).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "a b"));
    let headers = [("cookie", cookie.as_str()), ("x-csrftoken", token.as_str())];
    assert_eq!(site.post("/vote/", &headers, "choice=c").await.text, "c");
    // A script may send the cookie's own value.
    let raw = cookie.strip_prefix("csrftoken=").unwrap();
    let headers = [("cookie", cookie.as_str()), ("x-csrftoken", raw)];
    assert_eq!(site.post("/vote/", &headers, "choice=d").await.text, "d");
    // The form's token counts more than a header that does not fit.
    let headers = [("cookie", cookie.as_str()), ("x-csrftoken", "old")];
    assert_eq!(site.post("/vote/", &headers, &form).await.text, "a b");
}

#[tokio::test]
async fn every_answer_masks_the_secret_anew() {
    let (site, _folder) = opened().await;
    let first = site.get("/page/").await;
    let cookie = format!("csrftoken={}", secret(&first));
    let second = site.ask(Method::GET, "/page/", &[("cookie", &cookie)], "").await;
    assert_eq!(secret(&first), secret(&second));
    assert_ne!(first.text, second.text);
    assert_eq!(first.text.split(' ').next().unwrap().len(), 64);
    assert!(first.text.contains("<input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\""));
    assert!(first.header("set-cookie").contains("; Path=/; SameSite=Lax; Max-Age=31449600"));
    assert!(!first.header("set-cookie").contains("HttpOnly"));
    assert_eq!(first.header("vary"), "Cookie");
}

#[tokio::test]
async fn an_answer_without_a_token_sets_nothing() {
    let (site, _folder) = opened().await;
    let answer = site.ask(Method::GET, "/plain/", &[("cookie", "csrftoken=x")], "").await;
    assert_eq!((answer.header("set-cookie"), answer.header("vary")), ("", ""));
}

#[tokio::test]
async fn what_brings_no_token_is_refused_and_told_why() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let why = async |headers: &[(&str, &str)], form: &str| {
        let answer = site.post("/vote/", headers, form).await;
        assert_eq!(answer.status, 403, "{form}");
        let failed = answer.text.split("CSRF verification failed: ").nth(1).unwrap();
        failed.split("</h1>").next().unwrap().to_owned()
    };
    let field = format!("choice=a&csrfmiddlewaretoken={token}");
    assert_eq!(why(&[], &field).await, "CSRF cookie not set.");
    assert_eq!(why(&[("cookie", "csrftoken=short")], &field).await, "CSRF cookie not set.");
    let cookies = [("cookie", cookie.as_str())];
    assert_eq!(why(&cookies, "choice=a").await, "CSRF token missing.");
    let wrong = "choice=a&csrfmiddlewaretoken=";
    assert_eq!(
        why(&cookies, &format!("{wrong}abc")).await,
        "CSRF token from POST has incorrect length."
    );
    assert_eq!(
        why(&cookies, &format!("{wrong}{}", "%C3%A4".repeat(16))).await,
        "CSRF token from POST has invalid characters."
    );
    assert_eq!(
        why(&cookies, &format!("{wrong}{}", "a".repeat(64))).await,
        "CSRF token from POST incorrect."
    );
    let header = [("cookie", cookie.as_str()), ("x-csrftoken", "abc")];
    assert_eq!(
        why(&header, "choice=a").await,
        "CSRF token from the &#x27;X-CSRFToken&#x27; HTTP header has incorrect length."
    );
    let other = visit(&site).await.0;
    assert_eq!(why(&[("cookie", &other)], &field).await, "CSRF token from POST incorrect.");
}

#[tokio::test]
async fn a_foreign_page_is_refused_whatever_it_knows() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let form = format!("choice=a&csrfmiddlewaretoken={token}");
    let status = async |origin: &str| {
        let headers = [("cookie", cookie.as_str()), ("origin", origin)];
        site.post("/vote/", &headers, &form).await.status.as_u16()
    };
    assert_eq!(status("http://localhost").await, 200);
    assert_eq!(status("https://a.friends.example").await, 200);
    for origin in [
        "http://evil.example",
        "null",
        "https://localhost",
        "http://localhost:81",
        "http://a.friends.example",
    ] {
        assert_eq!(status(origin).await, 403, "{origin}");
    }
}

#[tokio::test]
async fn over_https_the_referer_stands_in_for_the_origin() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let ask = async |referer: Option<&str>| {
        let mut request = http::Request::post("/vote/")
            .header("host", "localhost")
            .header("cookie", &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .extension(hulse::http::Secure);
        if let Some(referer) = referer {
            request = request.header("referer", referer);
        }
        let form = format!("choice=a&csrfmiddlewaretoken={token}");
        site.send(request.body(form.into()).unwrap()).await.status.as_u16()
    };
    assert_eq!(ask(Some("https://localhost/page/")).await, 200);
    assert_eq!(ask(Some("https://a.friends.example/x")).await, 200);
    assert_eq!(ask(None).await, 403);
    assert_eq!(ask(Some("http://localhost/page/")).await, 403);
    assert_eq!(ask(Some("https://evil.example/localhost/")).await, 403);
    assert_eq!(ask(Some("https://localhost@evil.example/")).await, 403);
    assert_eq!(ask(Some("nonsense")).await, 403);
}

#[tokio::test]
async fn an_exempt_route_needs_no_token_and_a_login_changes_the_secret() {
    let (site, _folder) = opened().await;
    assert_eq!(site.post("/open/", &[], "choice=x").await.text, "x");
    assert_eq!(site.post("/missing/", &[], "choice=x").await.status, 404);
    let (cookie, token) = visit(&site).await;
    let answer = site.post("/in/", &[("cookie", &cookie)], "").await;
    let fresh = format!("csrftoken={}", secret(&answer));
    assert_ne!(fresh, cookie);
    let form = format!("choice=a&csrfmiddlewaretoken={token}");
    assert_eq!(site.post("/vote/", &[("cookie", &fresh)], &form).await.status, 403);
}

#[tokio::test]
async fn a_multipart_form_brings_its_token_first_and_arrives_whole() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let kind = "multipart/form-data; boundary=\"b-1\"";
    let body = format!(
        "--b-1\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n{token}\r\n\
         --b-1\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n{}\r\n\
         --b-1--\r\n",
        "x".repeat(200_000)
    );
    let headers = [("cookie", cookie.as_str()), ("content-type", kind)];
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body.as_bytes().chunks(777).map(|piece| Ok(piece.to_vec())).collect();
    let streamed = Body::from_stream(stream::iter(pieces));
    let answer = site.ask(Method::POST, "/whole/", &headers, streamed).await;
    assert_eq!((answer.status.as_u16(), answer.text), (200, body.len().to_string()));
    let late = body.replace("name=\"csrfmiddlewaretoken\"", "name=\"other\"");
    assert_eq!(site.ask(Method::POST, "/whole/", &headers, late).await.status, 403);
}

#[tokio::test]
async fn a_form_has_limits() {
    let (site, _folder) = opened().await;
    let (cookie, token) = visit(&site).await;
    let cookies = [("cookie", cookie.as_str())];
    let post = async |form: String| site.post("/vote/", &cookies, &form).await.status.as_u16();
    let field = format!("csrfmiddlewaretoken={token}&choice=a");
    assert_eq!(post(format!("{field}{}", "&a=1".repeat(998))).await, 200);
    assert_eq!(post(format!("{field}{}", "&a=1".repeat(999))).await, 400);
    assert_eq!(post(format!("{field}&a={}", "x".repeat(2_621_440))).await, 413);
    // With the token in a header the view's own reading has the same limits.
    let headers = [("cookie", cookie.as_str()), ("x-csrftoken", token.as_str())];
    let form = format!("choice=a{}", "&a=1".repeat(1000));
    assert_eq!(site.post("/vote/", &headers, &form).await.status, 400);
    let form = format!("choice={}", "x".repeat(2_621_440));
    assert_eq!(site.post("/vote/", &headers, &form).await.status, 413);
    assert_eq!(site.post("/vote/", &headers, "other=1").await.status, 400);
    // What is announced is refused before it is read.
    let lied = [("cookie", cookie.as_str()), ("content-length", "99999999")];
    assert_eq!(site.post("/vote/", &lied, &field).await.status, 413);
}

#[tokio::test]
async fn the_settings_shape_cookie_and_header() {
    let (site, _folder) = opened_with(|settings| {
        settings.csrf.cookie_domain = ".localhost".into();
        settings.csrf.cookie_path = "/vote/".into();
        settings.csrf.cookie_httponly = true;
        settings.csrf.header_name = "X-My-Token".into();
    })
    .await;
    let answer = site.get("/page/").await;
    let line = answer.header("set-cookie").to_owned();
    for word in ["; Domain=.localhost", "; Path=/vote/", "; HttpOnly"] {
        assert!(line.contains(word), "{line}");
    }
    let (cookie, token) = visit(&site).await;
    let named = async |name: &str| {
        let headers = [("cookie", cookie.as_str()), (name, token.as_str())];
        site.post("/vote/", &headers, "choice=c").await
    };
    assert_eq!(named("x-my-token").await.text, "c");
    assert_eq!(named("x-csrftoken").await.status, 403);
    // Over https a page of the cookie's hosts may post.
    let from = async |referer: &str| {
        let request = http::Request::post("/vote/")
            .header("host", "localhost")
            .header("cookie", &cookie)
            .header("referer", referer)
            .header("content-type", "application/x-www-form-urlencoded")
            .extension(hulse::http::Secure);
        let form = format!("choice=a&csrfmiddlewaretoken={token}");
        site.send(request.body(form.into()).unwrap()).await.status.as_u16()
    };
    for (referer, status) in [
        ("https://shop.localhost/x", 200),
        ("https://localhost/", 200),
        ("https://shop.localhost:444/", 403),
        ("https://evillocalhost/", 403),
        ("http://shop.localhost/", 403),
    ] {
        assert_eq!(from(referer).await, status, "{referer}");
    }
    let (bad, _folder) = opened_with(|settings| settings.csrf.cookie_path = "/;x=y".into()).await;
    assert_eq!(bad.get("/page/").await.status, 500);
}
