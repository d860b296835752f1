//! What the liveblog promises, line by line, in this process.

use std::time::Duration;

use hulse::contrib::auth::User;
use hulse::test::{Client, SocketClient, TestSite};
use hulse::{Error, Site};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::liveblog::{Liveblog, Post};
use crate::project;

/// Longest wait for what is seen from outside only.
const WAIT: Duration = Duration::from_secs(10);

/// A site with two blogs.
struct World {
    site: TestSite,
    moon: Liveblog,
    mars: Liveblog,
}

impl World {
    async fn new() -> Self {
        let site = TestSite::new(project()).await;
        let moon = blog(&site, "The moon", "moon").await;
        let mars = blog(&site, "Mars", "mars").await;
        Self { site, moon, mars }
    }

    /// A visitor who is signed in.
    async fn user(&self, username: &str, is_staff: bool) -> Client {
        let mut user = User::create_user(&self.site, username, "", None).await.expect("a new user");
        user.is_staff = is_staff;
        user.save(&self.site).await.expect("a saved user");
        let client = self.site.client();
        client.force_login(&user).await;
        client
    }

    async fn reader(&self, slug: &str) -> SocketClient {
        self.site.socket(&format!("/liveblog/{slug}/stream/")).await
    }
}

async fn blog(site: &Site, title: &str, slug: &str) -> Liveblog {
    let blog = Liveblog { title: title.into(), slug: slug.into(), ..Liveblog::default() };
    Liveblog::create(site, blog).await.expect("a new blog")
}

async fn post(site: &Site, blog: &Liveblog, body: &str) -> Post {
    let post = Post { liveblog: blog.into(), body: body.into(), ..Post::default() };
    Post::create(site, post).await.expect("a new post")
}

/// The next event is about this post, and its html has this text.
async fn hears(reader: &mut SocketClient, post: &Post, text: &str) {
    let event: Value = reader.receive_json().await;
    assert_eq!(event["id"], json!(post.id), "{event}");
    assert_eq!(event["created"], json!(post.created), "{event}");
    let html = event["html"].as_str().unwrap_or_default();
    assert!(html.contains(text), "{html}");
    assert!(html.contains(&format!("data-post-id=\"{}\"", post.id)), "{html}");
}

#[tokio::test]
async fn l1_the_blog_with_the_latest_post_is_listed_first() {
    let world = World::new().await;
    blog(&world.site, "A quiet one", "quiet").await;
    let client = world.site.client();
    let order = async |expected: [&str; 3]| {
        let page = client.get("/").await;
        let places = expected.map(|title| page.text().find(title).expect("it is listed"));
        assert!(places.is_sorted(), "not in the order {expected:?}");
    };
    post(&world.site, &world.mars, "Dust").await;
    order(["Mars", "A quiet one", "The moon"]).await;
    post(&world.site, &world.moon, "Touchdown").await;
    order(["The moon", "Mars", "A quiet one"]).await;
}

#[tokio::test]
async fn a_page_has_its_posts_newest_first_and_an_unknown_one_is_404() {
    let world = World::new().await;
    post(&world.site, &world.moon, "first of all").await;
    post(&world.site, &world.moon, "second then").await;
    post(&world.site, &world.mars, "elsewhere").await;
    let page = world.site.client().get("/liveblog/moon/").await;
    page.assert_status(200).assert_not_contains("elsewhere");
    assert!(page.text().find("second then") < page.text().find("first of all"));
    world.site.client().get("/liveblog/sun/").await.assert_status(404);
}

#[tokio::test]
async fn l2_a_post_that_is_saved_is_told_with_id_html_and_moment() {
    let world = World::new().await;
    let mut reader = world.reader("moon").await;
    let first = post(&world.site, &world.moon, "Engines on").await;
    hears(&mut reader, &first, "Engines on").await;
    let staff = world.user("ann", true).await;
    staff.post("/liveblog/moon/", &[("body", "Engines off")]).await.assert_status(302);
    let event: Value = reader.receive_json().await;
    assert!(event["html"].as_str().is_some_and(|html| html.contains("Engines off")), "{event}");
}

#[tokio::test]
async fn l3_an_edited_post_keeps_its_id_and_place_and_a_deleted_one_goes() {
    let world = World::new().await;
    let mut old = post(&world.site, &world.moon, "Engines on").await;
    let new = post(&world.site, &world.moon, "Lift-off").await;
    let mut reader = world.reader("moon").await;
    let staff = world.user("ann", true).await;
    let url = format!("/liveblog/moon/posts/{}/", old.id);
    staff.post(&url, &[("body", "Engines are on")]).await.assert_redirects("/liveblog/moon/");
    hears(&mut reader, &old, "Engines are on").await;
    let page = world.site.client().get("/liveblog/moon/").await;
    assert!(page.text().find("Lift-off") < page.text().find("Engines are on"), "another order");

    staff.post(&url, &[("delete", "1")]).await.assert_status(302);
    let gone = json!({ "id": old.id, "html": "", "created": old.created, "deleted": true });
    assert_eq!(reader.receive_json::<Value>().await, gone);
    assert!(old.refresh(&world.site).await.is_err());
    // A blog that goes takes its posts along, and says so.
    world.moon.clone().delete(&world.site).await.expect("it goes");
    let last: Value = reader.receive_json().await;
    assert_eq!((&last["id"], &last["deleted"]), (&json!(new.id), &json!(true)));
}

#[tokio::test]
async fn l4_a_subscriber_of_one_blog_hears_nothing_of_another() {
    let world = World::new().await;
    let mut reader = world.reader("moon").await;
    post(&world.site, &world.mars, "Dust").await;
    let mine = post(&world.site, &world.moon, "Silence").await;
    hears(&mut reader, &mine, "Silence").await;
}

#[tokio::test]
async fn l5_a_socket_that_names_an_unknown_slug_gets_one_frame_and_is_closed() {
    let world = World::new().await;
    for slug in ["sun", "no%20slug"] {
        let mut reader = world.reader(slug).await;
        assert_eq!(reader.receive_json::<Value>().await, json!({ "error": "bad_slug" }));
        assert_eq!(reader.closed().await, (4004, "bad_slug".to_owned()));
    }
}

#[tokio::test]
async fn l6_after_a_disconnect_nothing_is_left_in_the_group() {
    let world = World::new().await;
    let reader = world.reader("moon").await;
    let broken_off = world.reader("moon").await;
    assert_eq!(world.site.layer().statistics().groups, 1);
    reader.close(1000).await;
    drop(broken_off);
    let nobody = async {
        while world.site.layer().statistics().groups > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, nobody).await.expect("the group has no member");
}

#[tokio::test]
async fn l7_nobody_hears_of_a_save_that_is_rolled_back() {
    let world = World::new().await;
    let mut reader = world.reader("moon").await;
    let undone = world.site.atomic(async |site| {
        post(&site, &world.moon, "Explosion").await;
        Err::<(), _>(Error::new("it was only smoke"))
    });
    assert!(undone.await.is_err());
    let kept = post(&world.site, &world.moon, "Smoke").await;
    hears(&mut reader, &kept, "Smoke").await;
    world.site.client().get("/liveblog/moon/").await.assert_not_contains("Explosion");
}

#[tokio::test]
async fn l8_only_staff_may_post_from_the_page() {
    let world = World::new().await;
    let fields = [("body", "I was here")];
    let anonymous = world.site.client().post("/liveblog/moon/", &fields).await;
    anonymous.assert_redirects("/accounts/login/?next=/liveblog/moon/");
    let user = world.user("bob", false).await;
    user.get("/liveblog/moon/").await.assert_not_contains("composer");
    user.post("/liveblog/moon/", &fields).await.assert_status(403);
    let post = post(&world.site, &world.moon, "Engines on").await;
    let url = format!("/liveblog/moon/posts/{}/", post.id);
    user.post(&url, &[("delete", "1")]).await.assert_status(403);

    let staff = world.user("ann", true).await;
    staff.get("/liveblog/moon/").await.assert_contains("composer");
    staff.post("/liveblog/moon/", &[("body", " \n ")]).await.assert_status(400);
    staff.post("/liveblog/moon/", &fields).await.assert_redirects("/liveblog/moon/");
    // Of another blog it is not.
    staff.post(&url.replace("moon", "mars"), &[("delete", "1")]).await.assert_status(404);
    staff.enforce_csrf_checks().post("/liveblog/moon/", &fields).await.assert_status(403);
    assert_eq!(world.moon.posts().count(&world.site).await.expect("a count"), 2);
}

#[tokio::test]
async fn l8_what_was_typed_is_escaped_wherever_it_is_shown() {
    let world = World::new().await;
    let mut reader = world.reader("moon").await;
    post(&world.site, &world.moon, "<script>alert(1)</script> & more").await;
    let event: Value = reader.receive_json().await;
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more";
    assert!(event["html"].as_str().is_some_and(|html| html.contains(escaped)), "{event}");
    let page = world.site.client().get("/liveblog/moon/").await;
    page.assert_contains(escaped).assert_not_contains("<script>alert");
}

#[tokio::test]
async fn l8_the_stream_goes_on_from_the_page_and_tells_who_is_lost_the_posts_as_they_are() {
    let world = World::new().await;
    post(&world.site, &world.moon, "on the page").await;
    let page = world.site.client().get("/liveblog/moon/").await;
    let at = page.text().split("data-at=\"").nth(1).and_then(|rest| rest.split('"').next());
    let at = at.expect("the page knows its place").to_owned();
    let missed = post(&world.site, &world.moon, "missed").await;

    let mut socket = world.site.socket("/stream/").await;
    let join = json!({ "join": "liveblog/moon", "at": at });
    socket.send_json(&join).await;
    let joined: Value = socket.receive_json().await;
    assert_eq!((&joined["recovered"], &joined["snapshot"]), (&json!(true), &Value::Null));
    let next: Value = socket.receive_json().await;
    assert_eq!(next["data"]["id"], json!(missed.id), "{next}");

    let mut lost = world.site.socket("/stream/").await;
    lost.send_json(&json!({ "join": "liveblog/moon", "at": "1-1" })).await;
    let joined: Value = lost.receive_json().await;
    assert_eq!(joined["recovered"], false);
    assert_eq!(joined["snapshot"].as_array().map(Vec::len), Some(2), "{joined}");
    assert_eq!(joined["snapshot"][0]["id"], json!(missed.id), "{joined}");
    lost.send_json(&json!({ "join": "liveblog/sun" })).await;
    assert_eq!(lost.receive_json::<Value>().await["error"], "unknown");
}
