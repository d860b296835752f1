//! Rows without a key in queries and updates: refused, not taken for NULL or for nobody.

use hulse::models::{ForeignKey, Model, Q};
use hulse::{Result, Site};

use super::relations::{
    Comment, Post, PostColumns, Profile, Tag, Writer, newsrooms, post, tag, writer,
};

fn refused<T>(outcome: Result<T>, what: &str) {
    assert!(outcome.is_err(), "{what} went through");
    let Err(error) = outcome else { return };
    let words = error.to_string();
    assert!(error.is_field() && words.contains("has no key yet: save"), "{what}: {words}");
}

/// A post with an editor.
async fn edited(site: &Site) -> (Writer, Post) {
    let ann = writer(site, "Ann").await;
    let mut one = post(site, &ann, "One").await;
    one.editor = Some((&ann).into());
    one.save(site).await.unwrap();
    (ann, one)
}

#[tokio::test]
async fn an_update_to_an_unsaved_row_changes_nothing() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, _) = edited(site).await;
        let new = Writer { name: "New".into(), ..Default::default() };
        let all = Post::objects;
        refused(all().update(site, |p| p.editor().set(&new)).await, "a row");
        refused(all().update(site, |p| p.author().set(&new)).await, "a row for no NULL");
        let key = ForeignKey::from(&new);
        refused(all().update(site, |p| p.editor().set(&key)).await, "a foreign key");
        refused(all().update(site, |p| p.editor().set(Some(key.clone()))).await, "an option");
        refused(all().none().update(site, |p| p.editor().set(&new)).await, "of no rows");
        let read = all().get(site).await.unwrap();
        assert_eq!(read.editor.and_then(|editor| editor.id()), ann.id.get());
        assert_eq!(read.author.id(), ann.id.get());
    }
}

#[tokio::test]
async fn none_is_null_in_updates_and_queries_of_a_foreign_key() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, mut one) = edited(site).await;
        let all = Post::objects;
        assert_eq!(all().filter(|p| p.editor().eq(&one.editor)).count(site).await.unwrap(), 1);
        assert_eq!(all().filter(|p| p.editor().eq(None)).count(site).await.unwrap(), 0);
        assert_eq!(all().update(site, |p| p.editor().set(None)).await.unwrap(), 1);
        assert_eq!(all().filter(|p| p.editor().eq(None)).count(site).await.unwrap(), 1);
        assert_eq!(all().filter(|p| p.editor().ne(None)).count(site).await.unwrap(), 0);
        let some = [None, Some(ForeignKey::from(&ann))];
        assert_eq!(all().filter(|p| p.editor().in_(&some)).count(site).await.unwrap(), 0);
        one = all().get(site).await.unwrap();
        assert!(one.editor.is_none());
        assert!(all().update(site, |p| p.author().set(None)).await.is_err());
        assert_eq!(all().get(site).await.unwrap().author.id(), ann.id.get());
    }
}

fn conditions(p: &PostColumns, known: &Writer) -> Vec<Q> {
    let (new, nothing) = (Writer::default(), || p.id().in_([0_i64; 0]));
    vec![
        p.author().eq(&new),
        p.author().ne(&new),
        p.author().in_([&new]),
        p.author().in_([known, &new]),
        p.editor().eq(ForeignKey::from(&new)),
        p.editor().ne(Some(ForeignKey::from(&new))),
        p.author().friends().eq(&new),
        p.author().friends().ne(&new),
        p.author().friends().in_([known, &new]),
        p.tags().eq(&Tag::default()),
        p.author().profile().eq(&Profile::default()),
        p.author().eq(known) | p.author().eq(&new),
        nothing() & p.author().eq(&new),
        p.author().ne(&new) | !nothing(),
        Q::exists(Comment::of(&Post::default())),
        p.author().in_query(Writer::objects().filter(|w| w.friends().ne(&new))),
    ]
}

#[tokio::test]
async fn an_unsaved_row_in_a_condition_is_an_error_when_the_query_runs() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, one) = edited(site).await;
        one.tags().add(site, [&tag(site, "rust").await]).await.unwrap();
        let columns = hulse::models::Columns::along(hulse::models::Trail::of(Post::meta()));
        for at in 0..conditions(&columns, &ann).len() {
            let condition = |p: &PostColumns| conditions(p, &ann).swap_remove(at);
            let what = |how: &str| format!("{at} {how}");
            refused(Post::objects().filter(condition).all(site).await, &what("filter"));
            refused(Post::objects().exclude(condition).all(site).await, &what("exclude"));
            refused(Post::objects().exclude(condition).count(site).await, &what("count"));
            refused(Post::objects().filter(condition).exists(site).await, &what("exists"));
            refused(Post::objects().filter(condition).delete(site).await, &what("delete"));
            refused(Post::objects().exclude(condition).delete(site).await, &what("delete others"));
            let titled = Post::objects().exclude(condition);
            let titled = titled.update(site, |p| p.title().set("x")).await;
            refused(titled, &what("update"));
            let none = Post::objects().none().filter(condition).all(site).await;
            refused(none, &what("none"));
            let both = Post::objects().none().intersection(Post::objects().filter(condition));
            refused(both.all(site).await, &what("intersection"));
        }
        assert_eq!(Post::objects().filter(|p| p.title().eq("One")).count(site).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_rows_that_point_to_an_unsaved_row_are_an_error() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        edited(site).await;
        let new = Post::default();
        refused(Comment::of(&new).all(site).await, "of");
        refused(Comment::of(&new).delete(site).await, "delete");
        refused(Comment::of(&new).count(site).await, "count");
    }
}
