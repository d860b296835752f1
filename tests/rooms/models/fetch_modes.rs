//! What a loop over rows costs that reads a relation of each, and who says so.

use std::io::{Result as IoResult, Write};
use std::sync::{Arc, Mutex};

use hulse::Site;
use hulse::models::{FetchMode, QuerySet};
use hulse::test::assert_queries;

use super::relations::{Post, newsrooms, newsrooms_with, post, tag, writer};

const POSTS: usize = 100;

/// A hundred posts of ten writers, with one tag each.
async fn blog(site: &Site) {
    let rust = tag(site, "rust").await;
    for number in 0..10 {
        let author = writer(site, &format!("w{number}")).await;
        for number in 0..POSTS / 10 {
            let made = post(site, &author, &format!("p{number}")).await;
            made.tags().add(site, [&rust]).await.unwrap();
        }
    }
}

async fn authors(site: &Site, posts: QuerySet<Post>) -> hulse::Result<usize> {
    let mut letters = 0;
    for post in posts.all(site).await? {
        letters += post.author.get(site).await?.name.len();
    }
    Ok(letters)
}

#[tokio::test]
async fn a_loop_costs_what_its_mode_says() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let mode = |mode| Post::objects().fetch_mode(mode);
        let one = async || authors(site, mode(FetchMode::One)).await;
        assert_eq!(assert_queries(site, POSTS + 1, one).await.unwrap(), 200);
        let peers = async || authors(site, mode(FetchMode::Peers)).await;
        assert_eq!(assert_queries(site, 2, peers).await.unwrap(), 200);
        let raise = async || authors(site, mode(FetchMode::Raise)).await;
        let refused = assert_queries(site, 1, raise).await.unwrap_err();
        assert!(refused.is_field());
        assert_eq!(
            refused.to_string(),
            "press.Post.author is not loaded, and the fetch mode is `raise`: add \
             `select_related(|p| p.author())` to the query"
        );
        let heeded = mode(FetchMode::Raise).select_related(|p| p.author());
        assert_queries(site, 1, async || authors(site, heeded).await).await.unwrap();
    }
}

#[tokio::test]
async fn relations_to_many_rows_go_by_the_mode_too() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let tags = async |mode| {
            let mut count = 0;
            for post in Post::objects().fetch_mode(mode).all(site).await? {
                count += post.tags().all(site).await?.len();
            }
            Ok::<_, hulse::Error>(count)
        };
        let peers = async || tags(FetchMode::Peers).await;
        assert_eq!(assert_queries(site, 2, peers).await.unwrap(), POSTS);
        let refused = tags(FetchMode::Raise).await.unwrap_err();
        assert!(refused.to_string().contains("add `prefetch_related(|p| p.tags())`"), "{refused}");
        let changed = Post::objects().fetch_mode(FetchMode::Peers).limit(2).all(site).await;
        let changed = changed.unwrap();
        assert_eq!(changed[0].tags().all(site).await.unwrap().len(), 1);
        changed[0].tags().clear(site).await.unwrap();
        assert!(changed[0].tags().all(site).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn peers_are_found_behind_relations_as_well() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let work = async || {
            let posts = Post::objects().fetch_mode(FetchMode::Peers).select_related(|p| p.author());
            for post in posts.all(site).await.unwrap() {
                let author = post.author.get(site).await.unwrap();
                author.posts().all(site).await.unwrap();
            }
        };
        assert_queries(site, 2, work).await;
        let work = async || {
            for post in Post::objects().fetch_mode(FetchMode::Peers).all(site).await.unwrap() {
                let author = post.author.get(site).await.unwrap();
                author.posts().all(site).await.unwrap();
            }
        };
        assert_queries(site, 3, work).await;
    }
}

#[tokio::test]
async fn the_setting_counts_for_queries_that_say_nothing() {
    let raise = |settings: &mut hulse::conf::Settings| {
        settings.database.fetch_mode = Some(FetchMode::Raise);
    };
    for newsroom in newsrooms_with(raise).await {
        let site = &newsroom.site;
        blog(site).await;
        assert!(authors(site, Post::objects()).await.unwrap_err().is_field());
        let own = Post::objects().fetch_mode(FetchMode::Peers);
        assert_queries(site, 2, async || authors(site, own).await).await.unwrap();
    }
}

#[test]
fn the_setting_is_a_word_of_four() {
    let read = toml::from_str::<hulse::conf::Databases>;
    assert_eq!(read("fetch_mode = \"peers\"").unwrap().fetch_mode, Some(FetchMode::Peers));
    assert_eq!(read("").unwrap().fetch_mode, None);
    let refused = read("fetch_mode = \"lazy\"").unwrap_err().to_string();
    assert!(refused.contains("expected one of `one`, `log`, `peers`, `raise`"), "{refused}");
    let mut settings = hulse::conf::Settings::default();
    settings.debug = false;
    assert_eq!(settings.fetch_mode(), FetchMode::One);
    settings.debug = true;
    assert_eq!(settings.fetch_mode(), FetchMode::Log);
}

/// What was logged in this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn in_debug_a_loop_is_told_of_once() {
    let debug = |settings: &mut hulse::conf::Settings| settings.debug = true;
    for newsroom in newsrooms_with(debug).await {
        let site = &newsroom.site;
        blog(site).await;
        let logged = Logged::default();
        let writer = logged.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let first = Post::objects().all(site).await.unwrap();
        first[0].author.get(site).await.unwrap();
        assert!(logged.0.lock().unwrap().is_empty(), "one row alone is no loop");
        authors(site, Post::objects()).await.unwrap();
        authors(site, Post::objects()).await.unwrap();
        drop(guard);
        let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let words = "press.Post.author is read row by row, a query each: add \
                     `select_related(|p| p.author())` to the query";
        assert!(text.contains("WARN") && text.contains(words), "{text}");
    }
}
