//! Aggregates: of a relation, of all rows, of groups; and subqueries.

use hulse::Site;
use hulse::models::{Q, QuerySet, RelatedMany};
use hulse::test::assert_queries;

use super::{Author, AuthorColumns, Comment, Fixture, Post, author, fixtures, post};

/// Ann wrote `a1` (5 stars, live, two comments) and `a2` (1 star); Bob `b1` (no stars); Cid
/// nothing.
async fn blog(fixture: &Fixture) {
    let site = &fixture.site;
    let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
    author(site, "Cid").await;
    for (by, title, live, stars) in
        [(&ann, "a1", true, Some(5)), (&ann, "a2", false, Some(1)), (&bob, "b1", true, None)]
    {
        let mut post = post(site, by, title).await;
        (post.live, post.stars) = (live, stars);
        post.save(site).await.unwrap();
        for text in ["x", "y"].iter().filter(|_| title == "a1") {
            let comment =
                Comment { post: (&post).into(), text: (*text).into(), ..Default::default() };
            Comment::create(site, comment).await.unwrap();
        }
    }
}

fn posts(a: &AuthorColumns) -> RelatedMany<Post> {
    a.reverse::<Post>(|p| p.author())
}

fn comments(a: &AuthorColumns) -> RelatedMany<Comment> {
    posts(a).reverse::<Comment>(|c| c.post())
}

async fn names(site: &Site, authors: QuerySet<Author>) -> Vec<String> {
    authors.order_by(|a| a.name().asc()).values(|a| a.name()).all(site).await.unwrap()
}

#[tokio::test]
async fn annotations_of_two_relations_do_not_multiply() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let rows = Author::objects().order_by(|a| a.name().asc()).annotate(|a| {
            (posts(a).count(), comments(a).count(), posts(a).stars().sum(), posts(a).stars().avg())
        });
        let rows = assert_queries(site, 1, async || rows.all(site).await.unwrap()).await;
        let rows: Vec<_> = rows.into_iter().map(|(a, counts)| (a.name, counts)).collect();
        let expected = [
            ("Ann".to_owned(), (2, 2, Some(6), Some(3.0))),
            ("Bob".to_owned(), (1, 0, None, None)),
            ("Cid".to_owned(), (0, 0, None, None)),
        ];
        assert_eq!(rows, expected);
        let more = Author::objects().order_by(|a| a.name().asc()).annotate(|a| {
            (
                posts(a).count().filter(posts(a).live().eq(true)),
                posts(a).stars().max(),
                posts(a).stars().min().default(0),
                comments(a).post().author().count().distinct(),
            )
        });
        let more = more.all(site).await.unwrap();
        let more: Vec<_> = more.into_iter().map(|(_, counts)| counts).collect();
        assert_eq!(more, [(1, Some(5), 1, 1), (1, None, 0, 0), (0, None, 0, 0)]);
    }
}

#[tokio::test]
async fn rows_are_filtered_and_ordered_by_aggregates() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let busy = Author::objects().filter(|a| posts(a).count().gte(1));
        assert_eq!(names(site, busy).await, ["Ann", "Bob"]);
        let lazy = Author::objects().exclude(|a| posts(a).count().gte(2));
        assert_eq!(names(site, lazy).await, ["Bob", "Cid"]);
        let by_count = Author::objects().order_by(|a| [posts(a).count().desc(), a.name().asc()]);
        let by_count = by_count.values(|a| a.name()).limit(2).all(site).await.unwrap();
        assert_eq!(by_count, ["Ann", "Bob"]);
        let total = Author::objects().filter(|a| posts(a).stars().sum().gt(5)).count(site).await;
        assert_eq!(total.unwrap(), 1);
    }
}

#[tokio::test]
async fn all_rows_are_aggregated() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let all = |p: &super::PostColumns| {
            (p.id().count(), p.stars().sum(), p.stars().avg(), p.stars().max(), p.weight().sum())
        };
        let found = Post::objects().aggregate(site, all).await.unwrap();
        assert_eq!(found, (3, Some(6), Some(3.0), Some(5), Some(0.0)));
        let live = Post::objects().filter(|p| p.live().eq(true));
        let found = live.clone().aggregate(site, |p| p.stars().count()).await.unwrap();
        assert_eq!(found, 1);
        let two = Post::objects().order_by(|p| p.title().asc()).limit(2);
        assert_eq!(two.aggregate(site, |p| p.stars().sum()).await.unwrap(), Some(6));
        let average = Author::objects().aggregate(site, |a| posts(a).count().avg()).await.unwrap();
        assert_eq!(average, Some(1.0));
        let filtered = Post::objects()
            .aggregate(site, |p| p.id().count().filter(p.author().name().eq("Ann")))
            .await;
        assert_eq!(filtered.unwrap(), 2);
        let error = Post::objects().aggregate(site, |p| p.stars()).await.unwrap_err();
        assert!(error.to_string().contains("aggregates only"), "{error}");
        let none = live.none();
        let select = |p: &super::PostColumns| {
            (p.id().count(), p.stars().sum(), p.stars().sum().default(0), p.weight().max())
        };
        let found = assert_queries(site, 0, async || none.aggregate(site, select).await.unwrap());
        assert_eq!(found.await, (0, None, 0, None));
    }
}

#[tokio::test]
async fn groups_are_counted_and_kept_by_their_counts() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let groups = Post::objects().values(|p| (p.author().name(), p.id().count()));
        let by_name = groups.clone().order_by(|p| p.author().name().asc());
        let expected = [("Ann".to_owned(), 2), ("Bob".to_owned(), 1)];
        assert_eq!(by_name.all(site).await.unwrap(), expected);
        let by_count = groups.clone().order_by(|p| p.id().count().asc());
        assert_eq!(by_count.first(site).await.unwrap().unwrap().0, "Bob");
        assert_eq!(groups.clone().count(site).await.unwrap(), 2);
        let many = groups.clone().filter(|p| p.id().count().gt(1));
        assert_eq!(many.all(site).await.unwrap(), [("Ann".to_owned(), 2)]);
        let both = groups.filter(|p| p.id().count().gte(1) & p.live().eq(true));
        let both = both.order_by(|p| p.author().name().asc()).all(site).await.unwrap();
        assert_eq!(both, [("Ann".to_owned(), 1), ("Bob".to_owned(), 1)]);
        let lengths = Author::objects()
            .values(|a| (a.name().length(), posts(a).count()))
            .all(site)
            .await
            .unwrap();
        assert_eq!(lengths, [(3, 3)]);
    }
}

#[tokio::test]
async fn subqueries_look_at_the_row_around_them() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let best = Author::objects().order_by(|a| a.name().asc()).annotate(|a| {
            Post::objects()
                .filter(|p| p.author().eq(a.id().outer_ref()))
                .order_by(|p| p.stars().desc().nulls_last())
                .subquery(|p| p.title())
        });
        let best = best.all(site).await.unwrap();
        let best: Vec<_> = best.into_iter().map(|(_, title)| title).collect();
        assert_eq!(best, [Some("a1".to_owned()), Some("b1".to_owned()), None]);
        let commented = |a: &AuthorColumns| {
            Q::exists(Comment::objects().filter(|c| c.post().author().eq(a.id().outer_ref())))
        };
        assert_eq!(names(site, Author::objects().filter(commented)).await, ["Ann"]);
        assert_eq!(names(site, Author::objects().exclude(commented)).await, ["Bob", "Cid"]);
        let starred = Post::objects().filter(|p| p.stars().gte(1));
        let by = Author::objects().filter(|a| posts(a).in_query(starred.clone()));
        assert_eq!(names(site, by.distinct()).await, ["Ann"]);
        let authors = starred.clone().values(|p| p.author().key());
        let by = Author::objects().filter(|a| a.id().in_query(authors.clone()));
        assert_eq!(names(site, by).await, ["Ann"]);
        let not_by = Author::objects().exclude(|a| a.id().in_query(authors));
        assert_eq!(names(site, not_by).await, ["Bob", "Cid"]);
        let nobody = Author::objects()
            .filter(|a| a.id().in_query(Post::objects().none().values(|p| p.id())));
        assert_eq!(names(site, nobody).await, [] as [&str; 0]);
        let changed = Author::objects().update(site, |a| {
            let first = Post::objects().filter(|p| p.author().eq(a.id().outer_ref()));
            a.nick().set(first.order_by(|p| p.title().asc()).subquery(|p| p.title()))
        });
        assert_eq!(changed.await.unwrap(), 3);
        let nicks = Author::objects().order_by(|a| a.name().asc()).values(|a| a.nick());
        let nicks = nicks.all(site).await.unwrap();
        assert_eq!(nicks, [Some("a1".to_owned()), Some("b1".to_owned()), None]);
    }
}
