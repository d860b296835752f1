//! `Content-Security-Policy`: what answers say a page may load and run.

use std::path::Path;

use hulse::conf::csp::{NONCE, NONE, SELF};
use hulse::conf::{ContentPolicy, Settings};
use hulse::http::{Request, Response, render};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result, context};

use crate::site::{Answer, Opened};

const CSP: &str = "content-security-policy";
const REPORTED: &str = "content-security-policy-report-only";
const STRICT: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data:; object-src 'none'; base-uri 'self'; form-action 'self'";

async fn page(request: Request) -> Result<Response> {
    render(&request, "page.html", context! {}).await
}

async fn fails() -> Result<Response> {
    Err("x".parse::<i32>().unwrap_err())?
}

fn project(folder: &Path) -> Project {
    let templates = folder.join("templates");
    std::fs::create_dir_all(&templates).unwrap();
    let text = "<script nonce=\"{{ csp_nonce }}\"></script><style nonce=\"{{ csp_nonce }}\">";
    std::fs::write(templates.join("page.html"), text).unwrap();
    let open = Urls::new([
        path("any/", async || "any"),
        path("own/", page).csp_override(ContentPolicy::none().directive("script-src", [NONCE])),
    ]);
    let maps = ContentPolicy::strict().directive("img-src", [SELF, "https://tiles.example"]);
    let reported = ContentPolicy::none().directive("script-src", [NONE]);
    let urls = Urls::new([
        path("", async || "home"),
        path("page/", page),
        path("fails/", fails),
        path("view/", async || [(CSP, "sandbox")]),
        path("map/", async || "map").csp_override(maps),
        path("tried/", async || "tried").csp_report_only_override(reported),
        include("open/", open).csp_override(ContentPolicy::none()),
    ]);
    Project::new("rooms", folder).urls(urls)
}

async fn opened(set: impl FnOnce(&mut Settings)) -> (Opened, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let change = |settings: &mut Settings| {
        settings.allowed_hosts = vec!["example.com".into()];
        set(settings);
    };
    (Opened::with(project(folder.path()), change).await, folder)
}

/// The nonce of the page, once it is sure that its header has the same.
fn nonce(answer: &Answer) -> String {
    let (_, rest) = answer.text.split_once("nonce=\"").expect("a nonce in the page");
    let nonce = rest.split('"').next().unwrap();
    assert_eq!(nonce.len(), 32);
    let source = format!("'nonce-{nonce}'");
    assert_eq!(answer.header(CSP).matches("'nonce-").count(), 2, "{answer:?}");
    assert_eq!(answer.header(CSP).matches(&source).count(), 2, "{answer:?}");
    assert_eq!(answer.text.matches(nonce).count(), answer.text.matches("nonce=").count());
    nonce.to_owned()
}

#[tokio::test]
async fn every_answer_has_the_strict_policy() {
    let (site, _folder) = opened(|_| {}).await;
    let answer = site.get("/").await;
    assert_eq!((answer.header(CSP), answer.header(REPORTED)), (STRICT, ""));
}

#[tokio::test]
async fn a_page_that_asks_for_a_nonce_gets_a_new_one_each_time() {
    let (site, _folder) = opened(|_| {}).await;
    let (first, second) = (nonce(&site.get("/page/").await), nonce(&site.get("/page/").await));
    assert_ne!(first, second);
}

#[tokio::test]
async fn error_pages_work_under_the_policy() {
    let (site, _folder) = opened(|_| {}).await;
    for target in ["/missing/", "/fails/"] {
        let answer = site.get(target).await;
        assert!(answer.text.contains("<style nonce="), "{target}: {}", answer.text);
        nonce(&answer);
    }
    let (site, _folder) = opened(|settings| settings.debug = true).await;
    let answer = site.get("/fails/").await;
    assert!(answer.text.contains("invalid digit"), "{}", answer.text);
    nonce(&answer);
}

#[tokio::test]
async fn a_view_s_own_policy_stays() {
    let (site, _folder) = opened(|_| {}).await;
    assert_eq!(site.get("/view/").await.header(CSP), "sandbox");
}

#[tokio::test]
async fn a_line_has_its_own_policy_or_none() {
    let (site, _folder) = opened(|_| {}).await;
    let expected = STRICT.replace("'self' data:", "'self' https://tiles.example");
    assert_eq!(site.get("/map/").await.header(CSP), expected);
    assert_eq!(site.get("/open/any/").await.header(CSP), "");
    let own = site.get("/open/own/").await;
    assert!(own.header(CSP).starts_with("script-src 'nonce-"), "{own:?}");
    let tried = site.get("/tried/").await;
    assert_eq!((tried.header(CSP), tried.header(REPORTED)), (STRICT, "script-src 'none'"));
}

#[tokio::test]
async fn the_settings_replace_the_policy_or_turn_it_off() {
    let (site, _folder) = opened(|settings| {
        settings.security.csp = ContentPolicy::none();
        settings.security.csp_report_only =
            ContentPolicy::none().directive("script-src", [NONCE]).directive("report-uri", ["/r/"]);
    })
    .await;
    let answer = site.get("/").await;
    // A nonce that is in no page allows nothing.
    let expected = "script-src 'none'; report-uri /r/";
    assert_eq!((answer.header(CSP), answer.header(REPORTED)), ("", expected));
}

#[test]
#[should_panic(expected = "is no source of img-src")]
fn a_policy_cannot_be_broken_out_of() {
    drop(ContentPolicy::none().directive("img-src", ["'self'; script-src *"]));
}
