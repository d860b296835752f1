//! Adding, removing and setting the rows of a relation.

use std::sync::{Arc, Mutex};

use hulse::models::{ForeignKey, M2mAction, M2mChanged, PostDelete};
use hulse::test::assert_queries;
use hulse::{Error, Site};

use super::relations::{
    Club, Membership, Post, Tag, Writer, newsrooms, newsrooms_of, post, tag, writer,
};

/// The rows between, in the database's words.
async fn pairs(site: &Site, sql: &str) -> Vec<String> {
    let rows = site.db().fetch(hulse::db::Sql::raw(sql)).await.unwrap();
    rows.iter().map(|row| row.get::<String>(0).unwrap()).collect()
}

async fn tags_of(site: &Site, post: &Post) -> Vec<String> {
    let id = post.id;
    let sql = format!(
        "SELECT t.name FROM press_tag t JOIN press_post_tags b ON b.tag_id = t.id \
         WHERE b.post_id = {id} ORDER BY t.name"
    );
    pairs(site, &sql).await
}

#[tokio::test]
async fn rows_are_added_removed_set_and_cleared() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let ann = writer(site, "Ann").await;
        let (one, other) = (post(site, &ann, "One").await, post(site, &ann, "Other").await);
        let (rust, web, sql) =
            (tag(site, "rust").await, tag(site, "web").await, tag(site, "sql").await);
        assert_queries(site, 1, async || one.tags().add(site, [&rust, &web, &rust]).await)
            .await
            .unwrap();
        other.tags().add(site, &vec![rust.clone()]).await.unwrap();
        assert_queries(site, 1, async || one.tags().add(site, [&rust, &sql]).await).await.unwrap();
        assert_eq!(tags_of(site, &one).await, ["rust", "sql", "web"]);
        assert_queries(site, 1, async || one.tags().remove(site, [&web, &rust]).await)
            .await
            .unwrap();
        assert_eq!(tags_of(site, &one).await, ["sql"]);
        let set = async || one.tags().set(site, [&rust, &web]).await;
        assert_queries(site, 3, set).await.unwrap();
        assert_eq!(tags_of(site, &one).await, ["rust", "web"]);
        let same = async || one.tags().set(site, [&web, &rust]).await;
        assert_queries(site, 1, same).await.unwrap();
        assert_queries(site, 1, async || one.tags().clear(site).await).await.unwrap();
        assert!(tags_of(site, &one).await.is_empty());
        assert_eq!(tags_of(site, &other).await, ["rust"], "the other post keeps its own");
        let none: [&Tag; 0] = [];
        assert_queries(site, 0, async || one.tags().add(site, none).await).await.unwrap();
        let new = Tag { name: "new".into(), ..Default::default() };
        assert!(one.tags().create(site, new).await.unwrap().id.is_set());
        assert_eq!(tags_of(site, &one).await, ["new"]);
        let keys = [rust.id.get(), sql.id.get()].into_iter().flatten().map(ForeignKey::to);
        one.tags().set(site, keys).await.unwrap();
        assert_eq!(tags_of(site, &one).await, ["rust", "sql"]);
    }
}

#[tokio::test]
async fn a_thousand_rows_are_added_in_one_statement() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let ann = writer(site, "Ann").await;
        let post = post(site, &ann, "One").await;
        let mut tags = Vec::new();
        for number in 0..1000 {
            tags.push(tag(site, &format!("t{number}")).await);
        }
        assert_queries(site, 1, async || post.tags().add(site, &tags).await).await.unwrap();
        assert_eq!(tags_of(site, &post).await.len(), 1000);
        assert_queries(site, 2, async || post.tags().set(site, &tags[..10]).await).await.unwrap();
        assert_eq!(tags_of(site, &post).await.len(), 10);
    }
}

#[tokio::test]
async fn friendship_goes_both_ways_and_following_does_not() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, bob) = (writer(site, "Ann").await, writer(site, "Bob").await);
        let text = |table: &str| {
            format!(
                "SELECT a.name || b.name FROM {table} f JOIN press_writer a \
                 ON a.id = f.from_writer_id JOIN press_writer b ON b.id = f.to_writer_id ORDER BY 1"
            )
        };
        let friends = text("press_writer_friends");
        let follows = text("press_writer_follows");
        ann.friends().add(site, [&bob]).await.unwrap();
        ann.follows().add(site, [&bob]).await.unwrap();
        assert_eq!(pairs(site, &friends).await, ["AnnBob", "BobAnn"]);
        assert_eq!(pairs(site, &follows).await, ["AnnBob"]);
        bob.friends().remove(site, [&ann]).await.unwrap();
        bob.follows().remove(site, [&ann]).await.unwrap();
        assert!(pairs(site, &friends).await.is_empty());
        assert_eq!(pairs(site, &follows).await, ["AnnBob"]);
        ann.friends().add(site, [&bob, &ann]).await.unwrap();
        assert_eq!(pairs(site, &friends).await, ["AnnAnn", "AnnBob", "BobAnn"]);
        bob.friends().clear(site).await.unwrap();
        assert_eq!(pairs(site, &friends).await, ["AnnAnn"]);
    }
}

#[tokio::test]
async fn a_model_between_of_its_own_wants_its_fields() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, bob) = (writer(site, "Ann").await, writer(site, "Bob").await);
        let club = Club { name: "chess".into(), ..Default::default() };
        let club = Club::create(site, club).await.unwrap();
        let refused = club.members().add(site, [&ann]).await.unwrap_err();
        assert!(refused.is_field());
        assert_eq!(
            refused.to_string(),
            "press.Club.members goes over press.Membership, which has fields of its own: use \
             `add_with(site, rows, Membership { .. })`, or write and delete rows of that model"
        );
        let guest = Membership { role: "guest".into(), ..Default::default() };
        let add = async || club.members().add_with(site, [&ann, &bob], guest.clone()).await;
        assert_queries(site, 2, add).await.unwrap();
        club.members().add_with(site, [&ann], Membership::default()).await.unwrap();
        let sql = "SELECT w.name || m.role FROM press_membership m \
                   JOIN press_writer w ON w.id = m.person_id ORDER BY 1";
        assert_eq!(pairs(site, sql).await, ["Annguest", "Bobguest"]);
        club.members().remove(site, [&ann]).await.unwrap();
        assert_eq!(pairs(site, sql).await, ["Bobguest"]);
        let other = club.members().add_with(site, [&ann], ann.clone()).await.unwrap_err();
        assert_eq!(other.to_string(), "press.Club.members does not go over press.Writer");
    }
}

#[tokio::test]
async fn rows_that_are_not_saved_are_refused() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let rust = tag(site, "rust").await;
        let refused = Post::default().tags().add(site, [&rust]).await.unwrap_err();
        assert!(refused.is_field());
        assert_eq!(
            refused.to_string(),
            "press.Post.tags cannot be used: this press.Post is not saved, save it first"
        );
        let ann = writer(site, "Ann").await;
        let post = post(site, &ann, "One").await;
        let refused = post.tags().add(site, [&Tag::default()]).await.unwrap_err();
        assert_eq!(refused.to_string(), "press.Post.tags takes a saved press.Tag");
    }
}

#[tokio::test]
async fn the_other_side_of_a_foreign_key_is_changed_by_updates() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, bob) = (writer(site, "Ann").await, writer(site, "Bob").await);
        let (one, two) = (post(site, &ann, "1").await, post(site, &ann, "2").await);
        assert_queries(site, 1, async || bob.edited().add(site, [&one, &two]).await).await.unwrap();
        let edited = "SELECT p.title || w.name FROM press_post p \
                      LEFT JOIN press_writer w ON w.id = p.editor_id ORDER BY 1";
        assert_eq!(pairs(site, edited).await, ["1Bob", "2Bob"]);
        let made = Post { title: "3".into(), author: (&ann).into(), ..Default::default() };
        let made = bob.edited().create(site, made).await.unwrap();
        assert_eq!(made.editor.as_ref().and_then(ForeignKey::id), bob.id.get());
        bob.edited().set(site, [&two]).await.unwrap();
        let edited = "SELECT title FROM press_post WHERE editor_id IS NOT NULL";
        assert_eq!(pairs(site, edited).await, ["2"]);
        bob.edited().clear(site).await.unwrap();
        assert!(pairs(site, edited).await.is_empty());
        let refused = ann.posts().remove(site, [&one]).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "press.Writer.posts cannot let go of rows: press.Post.author cannot be NULL, so \
             delete them or give them another"
        );
        bob.posts().add(site, [&one]).await.unwrap();
        let own = Post { title: "4".into(), ..Default::default() };
        assert_eq!(bob.posts().create(site, own).await.unwrap().author.id(), bob.id.get());
    }
}

#[tokio::test]
async fn receivers_hear_what_comes_and_goes() {
    type Heard = Arc<Mutex<Vec<(M2mAction, &'static str, usize)>>>;
    let heard = Heard::default();
    let ears = Arc::clone(&heard);
    let rooms = newsrooms_of(|project| {
        let ears = Arc::clone(&ears);
        project.on(move |_: Site, change: Arc<M2mChanged>| {
            ears.lock().unwrap().push((change.action, change.field, change.keys.len()));
            let refused = change.action == M2mAction::PostClear;
            async move { if refused { Err(Error::new("not this")) } else { Ok(()) } }
        })
    });
    for newsroom in rooms.await {
        let site = &newsroom.site;
        heard.lock().unwrap().clear();
        let ann = writer(site, "Ann").await;
        let post = post(site, &ann, "One").await;
        let (rust, web) = (tag(site, "rust").await, tag(site, "web").await);
        post.tags().add(site, [&rust]).await.unwrap();
        post.tags().add(site, [&rust, &web]).await.unwrap();
        post.tags().add(site, [&rust, &web]).await.unwrap();
        post.tags().set(site, [&rust]).await.unwrap();
        let refused = post.tags().clear(site).await.unwrap_err();
        assert_eq!(refused.to_string(), "not this");
        assert_eq!(tags_of(site, &post).await, ["rust"], "the error has undone it");
        let expected = [
            (M2mAction::PreAdd, "tags", 1),
            (M2mAction::PostAdd, "tags", 1),
            (M2mAction::PreAdd, "tags", 1),
            (M2mAction::PostAdd, "tags", 1),
            (M2mAction::PreRemove, "tags", 1),
            (M2mAction::PostRemove, "tags", 1),
            (M2mAction::PreClear, "tags", 0),
            (M2mAction::PostClear, "tags", 0),
        ];
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn pairs_go_with_either_side() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let mut ann = writer(site, "Ann").await;
        let (one, two) = (post(site, &ann, "1").await, post(site, &ann, "2").await);
        let (mut rust, web) = (tag(site, "rust").await, tag(site, "web").await);
        one.tags().set(site, [&rust, &web]).await.unwrap();
        two.tags().set(site, [&rust, &web]).await.unwrap();
        rust.delete(site).await.unwrap();
        assert_eq!(tags_of(site, &one).await, ["web"]);
        let mut two = two;
        two.delete(site).await.unwrap();
        let left = "SELECT 'pair' FROM press_post_tags";
        assert_eq!(pairs(site, left).await.len(), 1);
        ann.delete(site).await.unwrap();
        assert!(pairs(site, left).await.is_empty());
        assert_eq!(Tag::objects().count(site).await.unwrap(), 1);
        assert_eq!(Writer::objects().count(site).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn rows_of_a_model_between_go_as_any_other_rows_do() {
    let gone = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&gone);
    let rooms = newsrooms_of(|project| {
        let ears = Arc::clone(&ears);
        project.on(move |_: Site, event: Arc<PostDelete<Membership>>| {
            ears.lock().unwrap().push(event.row.role.clone());
            async { Ok(()) }
        })
    });
    for newsroom in rooms.await {
        let site = &newsroom.site;
        gone.lock().unwrap().clear();
        let (ann, bob) = (writer(site, "Ann").await, writer(site, "Bob").await);
        let club = Club { name: "chess".into(), ..Default::default() };
        let club = Club::create(site, club).await.unwrap();
        for (person, role) in [(&ann, "king"), (&bob, "pawn")] {
            let role = Membership { role: role.into(), ..Default::default() };
            club.members().add_with(site, [person], role).await.unwrap();
        }
        club.members().remove(site, [&bob]).await.unwrap();
        assert_eq!(*gone.lock().unwrap(), ["pawn"]);
        club.members().clear(site).await.unwrap();
        assert_eq!(*gone.lock().unwrap(), ["pawn", "king"]);
        assert_eq!(Membership::objects().count(site).await.unwrap(), 0);
    }
}
