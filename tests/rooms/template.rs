//! Templates of a site: where they come from, what they may call and use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hulse::apps::App;
use hulse::http::{Processor, Request, Response, render};
use hulse::template::Value;
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result, context};

use crate::site::Opened;

/// Counts how often its value was computed.
struct Counting(Arc<AtomicU32>);

impl App for Counting {
    fn label(&self) -> &'static str {
        "counting"
    }

    fn context(&self) -> Vec<Processor> {
        let count = Arc::clone(&self.0);
        vec![Processor::new("visits", move |_| {
            let visits = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok(Value::from(visits)) }
        })]
    }
}

async fn show(request: Request) -> Result<Response> {
    let name = request.query("name").unwrap_or_default();
    render(&request, &name, context! { title: "<T>" }).await
}

async fn opened(files: &[(&str, &str)]) -> (Opened, Arc<AtomicU32>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join("templates").join(name), text).unwrap();
    }
    let shop = Urls::new([path("<int:id>/<slug:slug>/", show).name("item")]).app_name("shop");
    let urls = Urls::new([path("show/", show).name("show"), include("shop/", shop)]);
    let count = Arc::new(AtomicU32::new(0));
    let project = Project::new("rooms", folder.path()).install(Counting(Arc::clone(&count)));
    (Opened::new(project.urls(urls)).await, count, folder)
}

#[tokio::test]
async fn a_template_builds_urls() {
    let (site, _, _folder) = opened(&[
        ("named.html", "{{ url(name='shop:item', slug='a-b', id=7) }}"),
        ("ordered.html", "{{ url(name='shop:item', args=[7, 'a']) }} {{ url(name='show') }}"),
        ("static.html", "{{ static(path='chat/a b.css') }}"),
        ("unknown.html", "\n{{ url(name='shop:itm') }}"),
    ])
    .await;
    let text = async |name: &str| site.get(&format!("/show/?name={name}")).await.text;
    assert_eq!(text("named.html").await, "/shop/7/a-b/");
    assert_eq!(text("ordered.html").await, "/shop/7/a/ /show/");
    assert_eq!(text("static.html").await, "/static/chat/a%20b.css");
    let unknown = text("unknown.html").await;
    for words in ["unknown.html", "line 2", "did you mean", "shop:item"] {
        assert!(unknown.contains(words), "{words} in {unknown}");
    }
    assert!(text("nowhere.html").await.contains("there is no template"));
}

#[tokio::test]
async fn an_app_s_value_is_computed_only_if_a_template_uses_it() {
    let (site, count, _folder) = opened(&[
        ("without.html", "visits {{ title }}"),
        ("with.html", "{{ visits }} {{ title }}"),
        ("below.html", "{% extends 'with.html' %}"),
    ])
    .await;
    assert_eq!(site.get("/show/?name=without.html").await.text, "visits &lt;T&gt;");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(site.get("/show/?name=with.html").await.text, "1 &lt;T&gt;");
    assert_eq!(site.get("/show/?name=below.html").await.text, "2 &lt;T&gt;");
}

#[tokio::test]
async fn the_request_is_there_for_templates() {
    let page = "{{ request.path }} {{ request.query.name }} {{ request.method }}";
    let (site, _, _folder) = opened(&[("r.html", page)]).await;
    assert_eq!(site.get("/show/?name=r.html").await.text, "/show/ r.html GET");
}

#[tokio::test]
async fn the_framework_s_templates_lie_below_the_site_s() {
    let (site, _, _folder) = opened(&[("mine.html", "mine")]).await;
    assert!(site.site.templates().has("errors/404.html"));
    assert!(site.site.templates().has("mine.html"));
    assert!(!site.site.templates().has("yours.html"));
}
