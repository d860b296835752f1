//! Joins: to one row, to many, under OR and NOT, as Django has them.

use hulse::Site;
use hulse::models::{Q, QuerySet};

use super::{Author, AuthorColumns, Comment, Fixture, Post, PostColumns, author, fixtures, post};

async fn names(site: &Site, authors: QuerySet<Author>) -> Vec<String> {
    let names = authors.order_by(|a| a.name().asc()).values(|a| a.name());
    names.all(site).await.unwrap()
}

/// Ann wrote `a1` (live, 5 stars) and `a2` (not live, 1 star); Bob wrote `b1` (live, 1 star),
/// edited by Ann; Cid wrote nothing.
async fn blog(fixture: &Fixture) {
    let site = &fixture.site;
    let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
    author(site, "Cid").await;
    for (by, title, live, stars) in
        [(&ann, "a1", true, 5), (&ann, "a2", false, 1), (&bob, "b1", true, 1)]
    {
        let mut post = post(site, by, title).await;
        (post.live, post.stars) = (live, Some(stars));
        if title == "b1" {
            post.editor = Some((&ann).into());
        }
        post.save(site).await.unwrap();
    }
}

async fn comment(site: &Site, title: &str, text: &str) {
    let post = Post::objects().filter(|p| p.title().eq(title)).get(site).await.unwrap();
    let comment = Comment { post: (&post).into(), text: text.into(), ..Default::default() };
    Comment::create(site, comment).await.unwrap();
}

async fn check(site: &Site, condition: impl FnOnce(&AuthorColumns) -> Q, expected: &[&str]) {
    assert_eq!(names(site, Author::objects().filter(condition)).await, expected);
}

async fn check_posts(site: &Site, condition: impl FnOnce(&PostColumns) -> Q, expected: &[&str]) {
    let posts = Post::objects().filter(condition).order_by(|p| p.title().asc());
    assert_eq!(posts.values(|p| p.title()).all(site).await.unwrap(), expected);
}

fn posts(a: &AuthorColumns) -> hulse::models::RelatedMany<Post> {
    a.reverse::<Post>(|p| p.author())
}

#[tokio::test]
async fn one_filter_asks_of_one_row_and_another_of_another() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let both = |a: &AuthorColumns| posts(a).live().eq(true) & posts(a).stars().eq(1);
        check(site, both, &["Bob"]).await;
        let chained = Author::objects()
            .filter(|a| posts(a).live().eq(true))
            .filter(|a| posts(a).stars().eq(1));
        assert_eq!(names(site, chained).await, ["Ann", "Bob"]);
    }
}

#[tokio::test]
async fn rows_repeat_for_each_row_that_fits() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        check(site, |a| posts(a).stars().gte(1), &["Ann", "Ann", "Bob"]).await;
        check(site, |a| posts(a).isnull(false), &["Ann", "Ann", "Bob"]).await;
        check(site, |a| posts(a).isnull(true), &["Cid"]).await;
        let counted = Author::objects().filter(|a| posts(a).isnull(false));
        assert_eq!(counted.count(site).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn an_alternative_keeps_rows_without_relation() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        check(site, |a| posts(a).title().eq("b1") | a.name().eq("Cid"), &["Bob", "Cid"]).await;
        check(site, |a| a.name().eq("Cid") | posts(a).title().eq("b1"), &["Bob", "Cid"]).await;
        check_posts(site, |p| p.editor().name().eq("Ann") | p.title().eq("a1"), &["a1", "b1"])
            .await;
        let either = |a: &AuthorColumns| posts(a).title().eq("a1") | posts(a).title().eq("b1");
        check(site, either, &["Ann", "Bob"]).await;
        let then = Author::objects()
            .filter(|a| posts(a).title().eq("a1") | a.name().eq("Cid"))
            .filter(|a| a.name().ne("Ann"));
        assert_eq!(names(site, then).await, ["Cid"]);
    }
}

#[tokio::test]
async fn excluding_over_many_rows_drops_who_has_any_such() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        check(site, |a| !posts(a).live().eq(false), &["Bob", "Cid"]).await;
        check(site, |a| !posts(a).stars().eq(1), &["Cid"]).await;
        check(site, |a| !posts(a).stars().gt(1), &["Bob", "Cid"]).await;
        check(site, |a| !posts(a).isnull(true), &["Ann", "Bob"]).await;
        check(site, |a| !posts(a).isnull(false), &["Cid"]).await;
        check(site, |a| !!posts(a).stars().eq(5), &["Ann"]).await;
        // One row may fail the one, another row the other.
        let both = |a: &AuthorColumns| posts(a).live().eq(true) & posts(a).stars().eq(1);
        check(site, |a| !both(a), &["Cid"]).await;
        let excluded = Author::objects().exclude(both);
        assert_eq!(names(site, excluded).await, ["Cid"]);
    }
}

#[tokio::test]
async fn a_condition_reaches_over_several_relations() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        comment(site, "a1", "nice").await;
        comment(site, "a1", "bad").await;
        comment(site, "b1", "nice").await;
        let text = |a: &AuthorColumns| posts(a).reverse::<Comment>(|c| c.post()).text();
        check(site, |a| text(a).eq("bad"), &["Ann"]).await;
        check(site, |a| !text(a).eq("bad"), &["Bob", "Cid"]).await;
        check(site, |a| text(a).eq("nice"), &["Ann", "Bob"]).await;
        check_posts(site, |p| p.editor().reverse::<Post>(|o| o.author()).stars().eq(5), &["b1"])
            .await;
        check_posts(
            site,
            |p| !p.editor().reverse::<Post>(|o| o.author()).stars().eq(5),
            &["a1", "a2"],
        )
        .await;
        let hers = Comment::objects().filter(|c| c.post().author().name().eq("Ann"));
        assert_eq!(hers.count(site).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn two_columns_are_compared() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        check_posts(site, |p| p.author().eq(p.editor()), &[]).await;
        check_posts(site, |p| !p.author().eq(p.editor()), &["a1", "a2", "b1"]).await;
        check_posts(site, |p| p.editor().name().lt(p.author().name()), &["b1"]).await;
        check_posts(site, |p| p.title().startswith(p.author().name()), &[]).await;
        check_posts(site, |p| p.title().istartswith("A"), &["a1", "a2"]).await;
        check(site, |a| posts(a).title().istartswith(a.name()), &[]).await;
        check(site, |a| a.name().istartswith(posts(a).title()), &[]).await;
    }
}

#[tokio::test]
async fn an_order_takes_the_rows_a_filter_has_joined() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let rows = Author::objects()
            .filter(|a| posts(a).stars().gte(1))
            .order_by(|a| posts(a).title().desc())
            .values(|a| (a.name(), posts(a).title()));
        let expected = [("Bob", "b1"), ("Ann", "a2"), ("Ann", "a1")];
        let expected = expected.map(|(name, title)| (name.to_owned(), title.to_owned()));
        assert_eq!(rows.all(site).await.unwrap(), expected);
        let all = Author::objects()
            .order_by(|a| [a.name().asc(), posts(a).title().asc()])
            .values(|a| (a.name(), posts(a).title().nullable()));
        assert_eq!(all.all(site).await.unwrap()[3], ("Cid".to_owned(), None));
        let error = Author::objects().values(|a| posts(a).title()).all(site).await.unwrap_err();
        assert!(error.to_string().contains("nullable()"), "{error}");
    }
}

#[tokio::test]
async fn rows_that_joins_find_are_updated_and_deleted() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let busy = Author::objects().filter(|a| posts(a).stars().eq(1));
        assert_eq!(busy.update(site, |a| a.nick().set("busy")).await.unwrap(), 2);
        let raised = Post::objects()
            .filter(|p| p.author().name().eq("Ann"))
            .update(site, |p| p.stars().set(p.stars() * 2 + 1));
        assert_eq!(raised.await.unwrap(), 2);
        let stars = Post::objects().order_by(|p| p.title().asc()).values(|p| p.stars());
        assert_eq!(stars.all(site).await.unwrap(), [Some(11), Some(3), Some(1)]);
        let error = Post::objects().update(site, |p| p.title().set(p.author().name())).await;
        assert!(error.unwrap_err().to_string().contains("subquery"));
        let lonely = Author::objects().filter(|a| posts(a).isnull(true));
        assert_eq!(lonely.delete(site).await.unwrap().of("blog.Author"), 1);
        check(site, |a| a.name().gte(""), &["Ann", "Bob"]).await;
    }
}

#[tokio::test]
async fn a_column_of_another_model_is_a_mistake() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut smuggled = None;
        let _ = Post::objects().filter(|p| {
            smuggled = Some(p.title());
            p.live().eq(true)
        });
        let error = Author::objects().filter(|_| smuggled.unwrap().eq("x")).all(site).await;
        let words = error.unwrap_err().to_string();
        assert!(words.contains("title of blog.Post") && words.contains("outer_ref"), "{words}");
    }
}

#[tokio::test]
async fn an_operand_that_stands_in_for_null_keeps_the_row() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        check_posts(site, |p| p.title().eq(p.editor().name().coalesce("a1")), &["a1"]).await;
        check_posts(site, |p| p.title().in_([p.editor().name(), p.title()]), &["a1", "a2", "b1"])
            .await;
        check_posts(site, |p| p.editor().name().coalesce("none").eq("none"), &["a1", "a2"]).await;
        let wrong = Post::objects().limit(1).filter(|p| p.live().eq(true)).values(|p| p.id());
        let error = Post::objects().filter(|p| p.id().in_query(wrong)).all(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("after limit"), "{error}");
    }
}
