//! URLs: which view answers, with which values.

use http::Method;
use hulse::http::{Path, Request, get, redirect};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result, url};

use crate::site::Opened;

fn project(urls: Urls) -> Project {
    Project::new("rooms", "/nowhere").urls(urls)
}

async fn index() -> &'static str {
    "index"
}

async fn detail(Path(id): Path<i64>) -> String {
    format!("detail {id}")
}

async fn archive(Path((year, slug)): Path<(u16, String)>) -> String {
    format!("archive {year} {slug}")
}

async fn leave(request: Request) -> Result<hulse::http::Response> {
    redirect(&request, &url!(request, "polls:detail", 7)?)
}

fn polls() -> Urls {
    Urls::new([
        path("", index).name("index"),
        path("<int:id>/", detail).name("detail"),
        path("<int:year>/<slug:slug>/", archive).name("archive"),
        path("leave/", leave),
        path("home/", async |request: Request| redirect(&request, "polls:index")),
    ])
    .app_name("polls")
}

#[tokio::test]
async fn the_first_route_that_fits_answers() {
    let early = path("polls/1/", async || "early");
    let site = Opened::new(project(Urls::new([early, include("polls/", polls())]))).await;
    assert_eq!(site.get("/polls/1/").await.text, "early");
    assert_eq!(site.get("/polls/2/").await.text, "detail 2");
    assert_eq!(site.get("/polls/2024/caf-1/").await.text, "archive 2024 caf-1");
    assert_eq!(site.get("/polls/99999999999999999999/").await.status, 404);
    // It fits the converter, but not the view's type.
    assert_eq!(site.get("/polls/99999/x/").await.status, 404);
    assert_eq!(site.get("/polls/%FF/").await.status, 404);
}

#[tokio::test]
async fn a_name_leads_to_its_url() {
    let site = Opened::new(project(Urls::new([include("polls/", polls())]))).await;
    let left = site.get("/polls/leave/").await;
    assert_eq!((left.status.as_u16(), left.header("location")), (302, "/polls/7/"));
    assert_eq!(site.get("/polls/home/").await.header("location"), "/polls/");
}

#[tokio::test]
async fn a_method_router_refuses_other_methods() {
    let site = Opened::new(project(Urls::new([path("x/", get(index)).csrf_exempt()]))).await;
    assert_eq!(site.get("/x/").await.text, "index");
    let refused = site.ask(Method::DELETE, "/x/", &[], "").await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET,HEAD"));
    assert!(refused.text.contains("does not answer DELETE"), "{}", refused.text);
}

#[tokio::test]
async fn lines_carry_what_is_attached_to_them() {
    #[derive(Debug, PartialEq)]
    struct Note(u8);
    let inner = Urls::new([path("a/", index).attach(Note(1)), path("b/", index)]);
    let project = project(Urls::new([include("x/", inner), path("y/", index).attach(Note(2))]));
    let notes: Vec<_> = project.resolver().attached::<Note>().collect();
    assert_eq!(notes, [&Note(1), &Note(2)]);
}
