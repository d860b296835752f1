//! What browsers are told to be careful about, and the way from http to https.

use http::{Method, Request as HttpRequest};
use hulse::Project;
use hulse::conf::{Security, Settings};
use hulse::http::Secure;
use hulse::urls::{Urls, include, path};

use crate::site::{Answer, Opened};

fn project() -> Project {
    let frames = Urls::new([
        path("any/", async || "any"),
        path("own/", async || "own").xframe_options_sameorigin(),
        path("view/", async || [("x-frame-options", "DENY")]),
    ]);
    let urls = Urls::new([
        path("", async || "home"),
        path("hsts/", async || [("strict-transport-security", "max-age=1")]),
        include("frames/", frames).xframe_options_exempt(),
        path("<path:all>/", async || "all"),
    ]);
    Project::new("rooms", "/nowhere").urls(urls)
}

async fn opened(set: impl FnOnce(&mut Security)) -> Opened {
    let change = |settings: &mut Settings| {
        settings.allowed_hosts = vec!["example.com".into()];
        set(&mut settings.security);
    };
    Opened::with(project(), change).await
}

/// The answer over https.
async fn secure(site: &Opened, target: &str) -> Answer {
    let request = HttpRequest::builder().uri(target).header("host", "example.com");
    site.send(request.extension(Secure).body("".into()).unwrap()).await
}

#[tokio::test]
async fn http_is_led_to_https_with_path_and_query() {
    let site = opened(|security| security.ssl_redirect = true).await;
    let to = async |target: &str| {
        let answer = site.get(target).await;
        assert_eq!(answer.status, 301, "{target}");
        answer.header("location").to_owned()
    };
    assert_eq!(to("/").await, "https://example.com/");
    assert_eq!(to("/a%20b/?c=%26&d").await, "https://example.com/a%20b/?c=%26&d");
    assert_eq!(to("//evil.example/x").await, "https://example.com//evil.example/x");
    assert_eq!(to("/\\evil.example/").await, "https://example.com/\\evil.example/");
    let posted = site.post("/", &[("host", "example.com:8060")], "a=b").await;
    assert_eq!(posted.header("location"), "https://example.com:8060/");
    assert_eq!(secure(&site, "/").await.text, "home");
}

#[tokio::test]
async fn the_way_to_https_is_not_for_hosts_that_are_not_allowed() {
    let site = opened(|security| security.ssl_redirect = true).await;
    let answer = site.ask(Method::GET, "/", &[("host", "evil.example")], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""));
}

#[tokio::test]
async fn the_way_to_https_may_lead_to_another_host_and_spare_paths() {
    let site = opened(|security| {
        security.ssl_redirect = true;
        security.ssl_host = "secure.example.com".into();
        security.redirect_exempt = vec!["^health/$".into(), "\\.well-known/".into()];
    })
    .await;
    assert_eq!(site.get("/x/").await.header("location"), "https://secure.example.com/x/");
    for exempt in ["/health/", "/%68ealth/", "/.well-known/a/", "/deep/.well-known/a/"] {
        assert_eq!(site.get(exempt).await.status, 200, "{exempt}");
    }
    assert_eq!(site.get("/health/more/").await.status, 301);
}

#[tokio::test]
async fn only_https_says_to_stay_with_https() {
    let site = opened(|security| security.hsts_seconds = 3600).await;
    let hsts = "strict-transport-security";
    assert_eq!(site.get("/").await.header(hsts), "");
    assert_eq!(secure(&site, "/").await.header(hsts), "max-age=3600");
    assert_eq!(secure(&site, "/hsts/").await.header(hsts), "max-age=1");
    let site = opened(|security| {
        security.hsts_seconds = 60;
        security.hsts_include_subdomains = true;
        security.hsts_preload = true;
    })
    .await;
    assert_eq!(secure(&site, "/").await.header(hsts), "max-age=60; includeSubDomains; preload");
    let site = opened(|_| {}).await;
    assert_eq!(secure(&site, "/").await.header(hsts), "");
}

#[tokio::test]
async fn a_line_says_who_may_put_its_page_in_a_frame() {
    let site = opened(|_| {}).await;
    let framing = async |target| site.get(target).await.header("x-frame-options").to_owned();
    assert_eq!(framing("/").await, "DENY");
    assert_eq!(framing("/frames/any/").await, "");
    assert_eq!(framing("/frames/own/").await, "SAMEORIGIN");
    assert_eq!(framing("/frames/view/").await, "DENY");
    assert_eq!(framing("/frames/missing").await, "DENY");
}
