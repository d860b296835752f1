//! Filters, order, slices and relations.

use chrono::{DateTime, Utc};
use hulse::Site;
use hulse::models::{Q, QuerySet};

use super::{Author, Comment, Post, PostColumns, Seat, Status, Ticket, author, fixtures, post};

async fn titles(site: &Site, posts: QuerySet<Post>) -> Vec<String> {
    let posts = posts.order_by(|p| p.title().asc()).all(site).await.unwrap();
    posts.into_iter().map(|post| post.title).collect()
}

/// Ann's `alpha`, `Beta` and `gamma` (stars 1, 2, none), Bob's `100%`, edited by Ann.
async fn blog(site: &Site) -> (Author, Author) {
    let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
    for (title, stars) in [("alpha", Some(1)), ("Beta", Some(2)), ("gamma", None)] {
        let mut one = post(site, &ann, title).await;
        one.stars = stars;
        one.save(site).await.unwrap();
    }
    let mut edited = post(site, &bob, "100%").await;
    edited.editor = Some((&ann).into());
    edited.status = Status::Published;
    edited.save(site).await.unwrap();
    (ann, bob)
}

async fn check(site: &Site, condition: impl FnOnce(&PostColumns) -> Q, expected: &[&str]) {
    let mut found = titles(site, Post::objects().filter(condition)).await;
    let mut expected = expected.to_vec();
    // Databases order upper and lower case differently.
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn lookups_compare() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(site).await;
        check(site, |p| p.title().eq("alpha"), &["alpha"]).await;
        check(site, |p| p.title().eq(String::from("ALPHA")), &[]).await;
        check(site, |p| p.title().iexact("ALPHA"), &["alpha"]).await;
        check(site, |p| p.title().iexact("a%"), &[]).await;
        check(site, |p| p.title().ne("alpha"), &["Beta", "gamma", "100%"]).await;
        check(site, |p| p.title().contains("et"), &["Beta"]).await;
        check(site, |p| p.title().contains("A"), &[]).await;
        check(site, |p| p.title().icontains("A"), &["alpha", "Beta", "gamma"]).await;
        check(site, |p| p.title().startswith("B"), &["Beta"]).await;
        check(site, |p| p.title().startswith("b"), &[]).await;
        check(site, |p| p.title().istartswith("b"), &["Beta"]).await;
        check(site, |p| p.title().endswith("ta"), &["Beta"]).await;
        check(site, |p| p.title().iendswith("TA"), &["Beta"]).await;
        check(site, |p| p.title().contains("%"), &["100%"]).await;
        check(site, |p| p.title().in_(["alpha", "Beta", "x"]), &["alpha", "Beta"]).await;
        check(site, |p| p.stars().gt(1), &["Beta"]).await;
        check(site, |p| p.stars().gte(1), &["alpha", "Beta"]).await;
        check(site, |p| p.stars().lt(2), &["alpha"]).await;
        check(site, |p| p.stars().lte(2), &["alpha", "Beta"]).await;
        check(site, |p| p.stars().range(2, 9), &["Beta"]).await;
        check(site, |p| p.stars().isnull(true), &["gamma", "100%"]).await;
        check(site, |p| p.stars().isnull(false), &["alpha", "Beta"]).await;
        check(site, |p| p.stars().eq(None), &["gamma", "100%"]).await;
        check(site, |p| p.stars().eq(Some(2)), &["Beta"]).await;
        check(site, |p| p.live().eq(false), &[]).await;
        check(site, |p| p.status().eq(Status::Published), &["100%"]).await;
        check(site, |p| p.rank().eq(-1) & p.weight().lte(0.0), &["alpha", "Beta", "gamma", "100%"])
            .await;
    }
}

#[tokio::test]
async fn wildcards_in_a_text_stand_for_themselves() {
    let odd = ["50%", "a_b", "c\\d", "e*f", "g?h", "i[j]k"];
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        for title in odd {
            post(site, &ann, title).await;
        }
        for title in odd {
            let mark = &title[1..2];
            let mark = if title == "50%" { "%" } else { mark };
            check(site, |p| p.title().contains(mark), &[title]).await;
            check(site, |p| p.title().icontains(mark), &[title]).await;
            check(site, |p| p.title().iexact(title.to_uppercase()), &[title]).await;
            check(site, |p| p.title().startswith(&title[..2]), &[title]).await;
        }
    }
}

#[tokio::test]
async fn conditions_combine() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(site).await;
        check(site, |p| p.stars().eq(1) | p.title().eq("gamma"), &["alpha", "gamma"]).await;
        check(site, |p| p.live().eq(true) & !p.title().icontains("a"), &["100%"]).await;
        check(site, |p| !(p.stars().eq(1) | p.stars().eq(2)), &["gamma", "100%"]).await;
        check(site, |p| !!p.title().eq("alpha"), &["alpha"]).await;
        let twice = Post::objects().filter(|p| p.stars().gte(1)).filter(|p| p.stars().lt(2));
        assert_eq!(titles(site, twice).await, ["alpha"]);
    }
}

#[tokio::test]
async fn excluding_a_value_keeps_rows_without_one() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(site).await;
        let mut kept = titles(site, Post::objects().exclude(|p| p.stars().eq(1))).await;
        kept.sort_unstable();
        assert_eq!(kept, ["100%", "Beta", "gamma"]);
        check(site, |p| p.stars().ne(1), &["100%", "Beta", "gamma"]).await;
        check(site, |p| !p.stars().gt(1), &["100%", "alpha", "gamma"]).await;
        check(site, |p| !p.editor().name().eq("Ann"), &["alpha", "Beta", "gamma"]).await;
        check(site, |p| !!!p.stars().in_([1, 2]), &["100%", "gamma"]).await;
    }
}

#[tokio::test]
async fn filters_step_over_foreign_keys() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, bob) = blog(site).await;
        check(site, |p| p.author().name().eq("Bob"), &["100%"]).await;
        check(site, |p| p.author().eq(&bob), &["100%"]).await;
        check(site, |p| p.author().id().eq(bob.id), &["100%"]).await;
        check(site, |p| p.author().ne(&ann), &["100%"]).await;
        check(site, |p| p.author().in_([&ann, &bob]), &["alpha", "Beta", "gamma", "100%"]).await;
        check(site, |p| p.editor().name().icontains("AN"), &["100%"]).await;
        check(site, |p| p.editor().isnull(true), &["alpha", "Beta", "gamma"]).await;
        check(
            site,
            |p| p.author().name().eq("Ann") | p.editor().name().eq("Ann"),
            &["alpha", "Beta", "gamma", "100%"],
        )
        .await;
        let error = Post::of(&bob).all(site).await.unwrap_err();
        assert!(error.to_string().contains("2 foreign keys to blog.Author"), "{error}");
    }
}

#[tokio::test]
async fn the_other_side_needs_one_foreign_key() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, _) = blog(site).await;
        let posts = Post::objects().all(site).await.unwrap();
        let text = || "hi".to_owned();
        Comment::create(
            site,
            Comment { post: (&posts[0]).into(), text: text(), ..Default::default() },
        )
        .await
        .unwrap();
        assert_eq!(Comment::of(&posts[0]).count(site).await.unwrap(), 1);
        assert_eq!(Comment::of(&posts[1]).count(site).await.unwrap(), 0);
        let error = Comment::of(&ann).count(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("0 foreign keys"), "{error}");
    }
}

#[tokio::test]
async fn a_related_row_is_read_along_or_on_demand() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, bob) = blog(site).await;
        let posts = Post::objects().select_related(|p| p.author()).select_related(|p| p.editor());
        let edited = posts.clone().get_title("100%").get(site).await.unwrap();
        assert_eq!(edited.author.loaded().unwrap().name, "Bob");
        assert_eq!(edited.editor.unwrap().loaded().unwrap().name, "Ann");
        let alpha = posts.get_title("alpha").get(site).await.unwrap();
        assert!(alpha.editor.is_none());
        assert_eq!(alpha.author.id(), ann.id.get());

        let plain = Post::objects().get_title("100%").get(site).await.unwrap();
        assert!(plain.author.loaded().is_none());
        assert_eq!(plain.author.get(site).await.unwrap().name, bob.name);
        assert!(plain.author.loaded().is_some(), "kept for the next time");
        let shown = serde_json::to_value(&plain).unwrap();
        assert_eq!(shown["author"]["name"], "Bob");
        assert_eq!(shown["editor"], ann.id.get().unwrap());
        assert_eq!(shown["status"], "live");
    }
}

trait Titled {
    fn get_title(self, title: &str) -> Self;
}

impl Titled for QuerySet<Post> {
    fn get_title(self, title: &str) -> Self {
        self.filter(|p| p.title().eq(title))
    }
}

#[tokio::test]
async fn rows_come_in_order_and_slices() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        for title in ["a", "b", "c", "d"] {
            post(site, &ann, title).await;
        }
        let newest: Vec<_> = Post::objects().all(site).await.unwrap();
        let newest: Vec<_> = newest.iter().map(|post| post.title.as_str()).collect();
        assert_eq!(newest, ["d", "c", "b", "a"], "the model's ordering");
        let by = Post::objects().order_by(|p| [p.author().name().asc(), p.title().desc()]);
        let two: Vec<_> = by.clone().offset(1).limit(2).all(site).await.unwrap();
        assert_eq!(two.iter().map(|post| post.title.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(by.clone().offset(3).all(site).await.unwrap().len(), 1);
        assert_eq!(by.clone().offset(3).count(site).await.unwrap(), 1);
        assert_eq!(by.clone().limit(2).count(site).await.unwrap(), 2);
        assert!(!by.clone().offset(4).exists(site).await.unwrap());
        assert_eq!(by.first(site).await.unwrap().unwrap().title, "d");
        let first = Author::objects().first(site).await.unwrap().unwrap();
        assert_eq!(first.id, ann.id);
        assert!(Comment::objects().first(site).await.unwrap().is_none());

        let error = Post::objects().limit(1).filter(|p| p.live().eq(true)).all(site).await;
        assert!(error.unwrap_err().to_string().contains("after limit"), "filter after slice");
        let error = Post::objects().limit(1).delete(site).await.unwrap_err();
        assert!(error.is_field(), "{error}");
    }
}

#[tokio::test]
async fn get_wants_exactly_one() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, _) = blog(site).await;
        let found = Author::objects().filter(|a| a.id().eq(ann.id)).get(site).await.unwrap();
        assert_eq!(found.name, "Ann");
        let error = Post::objects().filter(|p| p.title().eq("x")).get(site).await.unwrap_err();
        assert!(error.is_does_not_exist() && error.to_string().contains("blog.Post"), "{error}");
        let error = Post::objects().get(site).await.unwrap_err();
        assert!(error.is_multiple_objects() && error.to_string().contains("blog.Post"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_asked_for_no_row() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let none =
            Post::objects().filter(|p| p.title().in_(Vec::<String>::new()) & p.live().eq(true));
        // A closed database answers nothing, so an answer was not asked for.
        site.database().close().await;
        assert!(none.clone().all(site).await.unwrap().is_empty());
        assert_eq!(none.clone().count(site).await.unwrap(), 0);
        assert!(!none.clone().exists(site).await.unwrap());
        assert!(none.clone().first(site).await.unwrap().is_none());
        assert!(none.clone().get(site).await.unwrap_err().is_does_not_exist());
        assert_eq!(none.clone().update(site, |p| p.live().set(false)).await.unwrap(), 0);
        assert_eq!(none.delete(site).await.unwrap().total, 0);
        let all = Post::objects().filter(|p| !p.title().in_(Vec::<&str>::new()));
        assert!(all.all(site).await.unwrap_err().is_database_unavailable());
    }
}

#[tokio::test]
async fn an_update_sets_columns_of_many_rows() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (_, bob) = blog(site).await;
        let by_ann = Post::objects().filter(|p| p.author().name().eq("Ann"));
        let count = by_ann
            .clone()
            .update(site, |p| [p.live().set(false), p.stars().set(None), p.author().set(&bob)])
            .await
            .unwrap();
        assert_eq!(count, 3);
        assert_eq!(by_ann.count(site).await.unwrap(), 0);
        assert_eq!(Post::objects().filter(|p| p.live().eq(false)).count(site).await.unwrap(), 3);
        let long = "x".repeat(21);
        let error = Post::objects().update(site, |p| p.title().set(&long)).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("blog.Post.title"), "{error}");
    }
}

#[tokio::test]
async fn instants_keep_microseconds_and_their_order() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let instants = [
            "2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00.000001Z",
            "2024-01-01T00:00:00.1Z",
            "2024-01-01T00:00:00.123456Z",
            "2024-01-01T00:00:01Z",
        ];
        let instants = instants.map(|text| text.parse::<DateTime<Utc>>().unwrap());
        for instant in instants {
            let one = post(site, &ann, "t").await;
            let this = Post::objects().filter(|p| p.id().eq(one.id));
            this.update(site, |p| p.created().set(instant)).await.unwrap();
        }
        let stored = Post::objects().order_by(|p| p.created().asc()).all(site).await.unwrap();
        assert_eq!(stored.iter().map(|post| post.created).collect::<Vec<_>>(), instants);
        let finer = instants[3] + chrono::Duration::nanoseconds(400);
        check(site, |p| p.created().eq(finer), &["t"]).await;
        check(site, |p| p.created().gt(instants[3]), &["t"]).await;
        let kept = post(site, &ann, "kept").await;
        let read = Post::objects().filter(|p| p.title().eq("kept")).get(site).await.unwrap();
        assert_eq!((read.created, read.changed), (kept.created, kept.changed));
    }
}

#[tokio::test]
async fn a_text_may_be_the_key() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut ticket = Ticket { code: "A-1".into(), seats: 2 };
        ticket.save(site).await.unwrap();
        ticket.seats = 3;
        ticket.save(site).await.unwrap();
        assert_eq!(Ticket::objects().all(site).await.unwrap(), [ticket.clone()]);
        let seat = Seat { ticket: (&ticket).into(), ..Default::default() };
        let seat = Seat::create(site, seat).await.unwrap();
        assert_eq!(seat.ticket.id().as_deref(), Some("A-1"));
        assert_eq!(seat.ticket.get(site).await.unwrap(), &ticket);
        let found =
            Seat::objects().filter(|s| s.ticket().code().eq("A-1") & s.ticket().seats().eq(3));
        assert_eq!(found.count(site).await.unwrap(), 1);
        let twice = Ticket::create(site, ticket).await.unwrap_err();
        assert!(twice.is_unique_violation(), "{twice}");
    }
}
