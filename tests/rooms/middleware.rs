//! The ordered stack: what a request meets before and after its view.

use http::{Method, Request as HttpRequest};
use hulse::http::{Path, Response, not_found, permission_denied};
use hulse::urls::{Urls, path};
use hulse::{Error, Project, Result};

use crate::site::Opened;

fn project() -> Project {
    let urls = Urls::new([
        path("", async || "home"),
        path("slow/<int:id>/", async |Path(id): Path<i64>| id.to_string()),
        path("own/", async || [("x-frame-options", "SAMEORIGIN")]),
        path("untyped/", async || ([("content-type", "")], "of no kind")),
        path("fail/", fail).name("fail"),
        path("panic/", panics),
        path("missing/", missing),
        path("forbidden/", forbidden),
    ]);
    Project::new("rooms", "/nowhere").urls(urls)
}

async fn fail() -> Result<Response> {
    Err("x".parse::<i32>().unwrap_err())?
}

async fn panics() -> Result<Response> {
    let empty: Vec<i32> = Vec::new();
    Ok(hulse::http::IntoResponse::into_response(empty[3].to_string()))
}

async fn missing() -> Result<Response> {
    Err(not_found("no poll <7>"))
}

async fn forbidden() -> Result<Response> {
    Err(permission_denied("only for staff"))
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let site = Opened::new(project()).await;
    let answer = site.get("/panic/").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.contains("the view panicked: index out of bounds"), "{}", answer.text);
    assert_eq!(site.get("/").await.text, "home");
}

#[tokio::test]
async fn in_debug_an_error_shows_what_helps() {
    let site = Opened::new(project()).await;
    let headers = [("cookie", "sessionid=abc123"), ("authorization", "Basic s3cret")];
    let answer = site.ask(Method::GET, "/fail/?q=1&password=hunter2", &headers, "").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.text.contains("invalid digit found in string"));
    assert!(answer.text.contains("/fail/"));
    for secret in ["abc123", "s3cret", "sqlite://", "hunter2"] {
        assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
    }
    let plain = site.ask(Method::GET, "/fail/", &[("accept", "application/json")], "").await;
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert!(plain.text.contains("invalid digit"));
}

#[tokio::test]
async fn in_debug_a_404_lists_the_urls_it_tried() {
    let site = Opened::new(project()).await;
    let answer = site.get("/nothing/%3Cscript%3E/").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("/slow/&lt;int:id&gt;/"), "{}", answer.text);
    assert!(!answer.text.contains("<script>"));
    let raised = site.get("/missing/").await;
    assert_eq!(raised.status, 404);
    assert!(raised.text.contains("no poll &lt;7&gt;"));
}

#[tokio::test]
async fn outside_debug_nothing_leaks() {
    let site = Opened::public(project()).await;
    for (target, status) in
        [("/fail/", 500), ("/panic/", 500), ("/missing/", 404), ("/forbidden/", 403), ("/no/", 404)]
    {
        let answer = site.get(target).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text.contains("<!doctype html>"), "{}", answer.text);
        for leak in ["invalid digit", "index out", "no poll", "staff", "slow", "sqlite"] {
            assert!(!answer.text.contains(leak), "{leak} in {}", answer.text);
        }
        let plain = site.ask(Method::GET, target, &[("accept", "application/json")], "").await;
        assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
        assert!(plain.text.len() < 40, "{}", plain.text);
    }
}

#[tokio::test]
async fn a_site_s_own_error_page_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    let page = "gone: {{ request.path }} {{ status }}";
    std::fs::write(folder.path().join("templates/404.html"), page).unwrap();
    std::fs::write(folder.path().join("templates/403.html"), "{{ undefined }}").unwrap();
    let urls = Urls::new([path("forbidden/", forbidden)]);
    let site = Opened::public(Project::new("rooms", folder.path()).urls(urls)).await;
    assert_eq!(site.get("/a&b/").await.text, "gone: /a&amp;b/ 404");
    // A broken page of the site gives way to the framework's.
    assert!(site.get("/forbidden/").await.text.contains("Not allowed"));
}

#[tokio::test]
async fn only_allowed_hosts_are_answered() {
    let site = Opened::with(project(), |settings| {
        settings.allowed_hosts = vec!["example.com".into(), ".friends.example".into()];
    })
    .await;
    let status = async |host: &'static str| {
        site.ask(Method::GET, "/", &[("host", host)], "").await.status.as_u16()
    };
    for host in [
        "example.com",
        "EXAMPLE.com:8060",
        "example.com.",
        "friends.example",
        "a.b.friends.example",
    ] {
        assert_eq!(status(host).await, 200, "{host}");
    }
    let bad = [
        "evil.example",
        "example.com.evil.example",
        "evilfriends.example",
        "",
        ":80",
        "example.com:",
        "example.com:8x",
        "user@example.com",
        "example.com/",
        "[::1]",
        "a.example.com",
        "exa mple.com",
        "example.com..",
    ];
    for host in bad {
        assert_eq!(status(host).await, 400, "{host}");
    }
    let none = HttpRequest::builder().uri("/").body("".into()).unwrap();
    assert_eq!(site.send(none).await.status, 400);
    let twice = [("host", "example.com"), ("host", "example.com")];
    assert_eq!(site.ask(Method::GET, "/", &twice, "").await.status, 400);
    let differs =
        site.ask(Method::GET, "http://evil.example/", &[("host", "example.com")], "").await;
    assert_eq!(differs.status, 400);
}

#[tokio::test]
async fn in_debug_this_machine_is_allowed() {
    let site = Opened::new(project()).await;
    for host in ["localhost", "localhost:8060", "a.localhost", "127.0.0.1:1", "[::1]:8060"] {
        assert_eq!(site.ask(Method::GET, "/", &[("host", host)], "").await.status, 200, "{host}");
    }
    let foreign = site.ask(Method::GET, "/", &[("host", "evil.example")], "").await;
    assert_eq!(foreign.status, 400);
    assert!(foreign.text.contains("allowed_hosts"));
}

#[tokio::test]
async fn security_headers_are_added_but_never_replaced() {
    let site = Opened::new(project()).await;
    let answer = site.get("/").await;
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
    assert_eq!(answer.header("x-request-id").len(), 16);
    assert_eq!(site.get("/own/").await.header("x-frame-options"), "SAMEORIGIN");
    let untyped = site.get("/untyped/").await;
    assert_eq!(untyped.headers.get("content-type").unwrap(), "");
    assert!(!site.get("/missing/").await.headers.contains_key("content-length"));
    let refused = site.ask(Method::GET, "/", &[("host", "evil.example")], "").await;
    assert_eq!(refused.header("x-frame-options"), "DENY");
}

#[tokio::test]
async fn a_missing_final_slash_is_added() {
    let site = Opened::public(project()).await;
    let answer = site.get("/slow/7?a=b%20c").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (301, "/slow/7/?a=b%20c"));
    assert_eq!(site.get("/slow/x").await.status, 404);
    assert_eq!(site.get("/slow").await.status, 404);
    let site = Opened::new(project()).await;
    let posted = site.post("/slow/7", &[], "a=b").await;
    assert_eq!(posted.status, 500);
    assert!(posted.text.contains("lose the form"), "{}", posted.text);
}

#[tokio::test]
async fn a_slash_redirect_cannot_lead_to_another_host() {
    let urls = Urls::new([path("<path:all>/", async || "all")]);
    let site = Opened::public(Project::new("rooms", "/nowhere").urls(urls)).await;
    assert_eq!(site.get("//evil.example/x").await.header("location"), "/%2Fevil.example/x/");
    let off = Opened::with(project(), |settings| {
        settings.debug = true;
        settings.http.append_slash = false;
    });
    assert_eq!(off.await.get("/slow/7").await.status, 404);
}

#[tokio::test]
async fn a_project_s_layers_stand_between_the_framework_and_the_views() {
    let name = |name: &'static str| {
        axum::middleware::from_fn(async move |request, next: axum::middleware::Next| {
            let mut response = next.run(request).await;
            response.headers_mut().append("x-layer", name.parse().unwrap());
            response
        })
    };
    let site = Opened::new(project().layer(name("outer")).layer(name("inner"))).await;
    let answer = site.get("/").await;
    let layers: Vec<_> = answer.headers.get_all("x-layer").iter().collect();
    assert_eq!(layers, ["inner", "outer"]);
}

#[tokio::test]
async fn an_error_knows_its_status() {
    assert_eq!(Error::new("x").status_code(), 500);
    assert_eq!(not_found("x").status_code(), 404);
    assert_eq!(permission_denied("x").status_code(), 403);
}
