//! What an attacker sends to bend an answer: where it leads, which headers it has.

use std::path::Path;

use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::{HeaderName, HeaderValue, IntoResponse, Request, Response};
use hulse::test::TestSite;
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};

use crate::site::Opened;

const PASSWORD: &str = "correct horse battery";

/// Ways to say another site, or something that is no page of this one.
const ELSEWHERE: [&str; 24] = [
    "https://evil.example/",
    "HTTPS://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "////evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "\\/evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "\u{8}//evil.example/",
    " //evil.example/",
    "http:///evil.example/",
    "https:evil.example",
    "http:\\\\evil.example/",
    "http://testserver@evil.example/",
    "http://testserver:pw@evil.example/",
    "http://testserver.evil.example/",
    "http://evil.example\\@testserver/",
    "http://testserver:8061/",
    "ftp://testserver/",
    "javascript:alert(1)",
    "data:text/html,x",
    "//",
];

async fn echo(request: Request) -> Result<Response> {
    let value = request.query("value").unwrap_or_default();
    let mut response = "said".into_response();
    let name = HeaderName::from_static("x-echo");
    response.headers_mut().insert(name, HeaderValue::try_from(value)?);
    Ok(response)
}

fn project() -> Project {
    let urls = Urls::new([path("echo/", echo), include("accounts/", auth::urls())]);
    Project::new("hostile", "/nowhere").install(sessions::App).install(auth::App).urls(urls)
}

#[tokio::test]
async fn no_next_leads_to_another_site() {
    let site = TestSite::new(project()).await;
    User::create_user(&site, "ann", "", Some(PASSWORD)).await.unwrap();
    let client = site.client();
    for next in ELSEWHERE {
        let form = [("username", "ann"), ("password", PASSWORD), ("next", next)];
        client.post("/accounts/login/", &form).await.assert_redirects("/");
        client.post("/accounts/logout/", &[("next", next)]).await.assert_redirects("/");
    }
    let long = format!("/{}", "x".repeat(2048));
    let form = [("username", "ann"), ("password", PASSWORD), ("next", long.as_str())];
    client.post("/accounts/login/", &form).await.assert_redirects("/");
}

#[tokio::test]
async fn a_next_in_the_query_is_no_safer_than_one_in_the_form() {
    let site = TestSite::new(project()).await;
    User::create_user(&site, "ann", "", Some(PASSWORD)).await.unwrap();
    let form = [("username", "ann"), ("password", PASSWORD)];
    let (away, home) = ("?next=%2F%2Fevil.example%2F", "?next=%2Fecho%2F");
    let client = site.client();
    client.post(&format!("/accounts/login/{away}"), &form).await.assert_redirects("/");
    client.post(&format!("/accounts/login/{home}"), &form).await.assert_redirects("/echo/");
}

#[tokio::test]
async fn a_line_break_gets_into_no_header() {
    let site = Opened::new(project()).await;
    assert_eq!(site.get("/echo/?value=plain").await.header("x-echo"), "plain");
    for value in ["a%0D%0ASet-Cookie:%20a=b", "a%0Ab", "a%0Db", "a%00b", "%0D%0A%0D%0A%3Cb%3E"] {
        let answer = site.get(&format!("/echo/?value={value}")).await;
        assert_eq!(answer.status, 500, "{value}");
        assert_eq!((answer.header("x-echo"), answer.header("set-cookie")), ("", ""), "{value}");
    }
}

/// The text of all sources below `folder`.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_attacker_s_page_names_tests_that_exist() {
    let page = include_str!("../../ARCHITECTURE.md");
    let (_, rest) = page.split_once("## What an attacker finds").unwrap();
    let rows = rest
        .lines()
        .skip_while(|line| !line.starts_with("| a "))
        .take_while(|line| line.starts_with('|'));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = String::new();
    sources(&root.join("framework"), &mut all);
    sources(&root.join("tests/rooms"), &mut all);
    sources(&root.join("tests/processes"), &mut all);
    let mut count = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(all.contains(&format!("fn {test}()")), "no test is called {test}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
