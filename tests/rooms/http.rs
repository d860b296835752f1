//! Requests and answers as views see and make them.

use http::Method;
use hulse::http::{Request, Response, StatusCode, redirect};
use hulse::urls::{Urls, path};
use hulse::{Project, Result};

use crate::site::Opened;

async fn lead(request: Request) -> Result<Response> {
    redirect(&request, &request.query("to").unwrap_or_default())
}

async fn describe(request: Request) -> String {
    format!(
        "{} {} {} {} {:?} {:?}",
        request.method(),
        request.full_path(),
        request.host(),
        request.scheme(),
        request.query("q"),
        request.cookie("a"),
    )
}

async fn opened() -> Opened {
    let urls = Urls::new([path("lead/", lead).name("lead"), path("about/", describe)]);
    Opened::new(Project::new("rooms", "/nowhere").urls(urls)).await
}

#[tokio::test]
async fn a_redirect_leads_to_a_name_or_a_safe_url() {
    let site = opened().await;
    let led = async |to: &str| {
        let answer = site.get(&format!("/lead/?to={to}")).await;
        (answer.status.as_u16(), answer.header("location").to_owned())
    };
    assert_eq!(led("lead").await, (302, "/lead/".into()));
    assert_eq!(led("/x/?a=1%26b=2").await, (302, "/x/?a=1&b=2".into()));
    assert_eq!(led("https://example.com/").await, (302, "https://example.com/".into()));
    assert_eq!(led("/k%C3%A4se/").await, (302, "/k%C3%A4se/".into()));
    assert_eq!(led("javascript:alert(1)/").await.0, 400);
    assert_eq!(led("data:text/html,x").await.0, 400);
    assert_eq!(led(&format!("/{}", "x".repeat(16_384))).await.0, 400);
    assert_eq!(led("/x%0D%0ASet-Cookie:%20a=b").await, (500, String::new()));
    assert_eq!(led("nothing").await.0, 500);
}

#[tokio::test]
async fn a_request_tells_what_was_asked() {
    let site = opened().await;
    let headers = [("cookie", "b=2; a=1")];
    let answer = site.ask(Method::GET, "/about/?q=a+b%26&q=c", &headers, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = r#"GET /about/?q=a+b%26&q=c localhost http Some("a b&") Some("1")"#;
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn an_event_reaches_the_project_s_receivers() {
    struct Voted(&'static str);
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = heard.clone();
    let project = Project::new("rooms", "/nowhere").on(move |_, event: std::sync::Arc<Voted>| {
        listener.lock().unwrap().push(event.0);
        async { Ok(()) }
    });
    let site = Opened::new(project).await;
    site.site.send_signal(Voted("yes")).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["yes"]);
}
