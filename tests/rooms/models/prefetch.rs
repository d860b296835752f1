//! Reading related rows along, in one query or in one more.

use std::slice::from_ref;

use futures_util::StreamExt;
use hulse::Site;
use hulse::models::{Bulk, FetchMode, ForeignKey, Uuid, prefetch};
use hulse::test::assert_queries;
use serde_json::json;

use super::relations::{
    Club, Comment, Company, Membership, Page, Post, Profile, Tag, Writer, newsrooms, post, tag,
    writer,
};

/// Three posts of two writers of one company, with tags and comments.
async fn blog(site: &Site) {
    let acme = Company { name: "Acme".into(), ..Default::default() };
    let acme = Company::create(site, acme).await.unwrap();
    let mut ann = writer(site, "Ann").await;
    ann.company = Some((&acme).into());
    ann.save(site).await.unwrap();
    let bob = writer(site, "Bob").await;
    let profile = Profile { writer: (&ann).into(), bio: "writes".into() };
    Profile::create(site, profile).await.unwrap();
    let (rust, web) = (tag(site, "rust").await, tag(site, "web").await);
    for (author, title, tags) in
        [(&ann, "one", vec![&rust, &web]), (&bob, "two", vec![&rust]), (&ann, "three", vec![])]
    {
        let mut made = post(site, author, title).await;
        made.tags().add(site, tags).await.unwrap();
        if title != "one" {
            made.editor = Some((&ann).into());
            made.save(site).await.unwrap();
        }
        for text in ["first", "second"] {
            let text = format!("{text} of {title}");
            Comment::create(site, Comment { post: (&made).into(), text, ..Default::default() })
                .await
                .unwrap();
        }
    }
}

fn names(tags: Option<&[Tag]>) -> Vec<&str> {
    tags.expect("loaded").iter().map(|tag| tag.name.as_str()).collect()
}

#[tokio::test]
async fn related_rows_are_read_along_at_any_depth_in_one_query() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let posts = Post::objects()
            .select_related(|p| p.author().company())
            .select_related(|p| p.author().profile())
            .select_related(|p| p.editor().company());
        let posts = assert_queries(site, 1, async || posts.all(site).await).await.unwrap();
        let [one, two, _] = posts.as_slice() else { panic!("three posts") };
        let ann = one.author.loaded().unwrap();
        assert_eq!(ann.name, "Ann");
        let company = ann.company.as_ref().and_then(ForeignKey::loaded).unwrap();
        assert_eq!(company.name, "Acme");
        assert_eq!(ann.profile.loaded().unwrap().bio, "writes");
        assert!(one.editor.is_none());
        let bob = two.author.loaded().unwrap();
        assert!(bob.company.is_none());
        assert!(bob.profile.is_loaded() && bob.profile.loaded().is_none());
        let none = assert_queries(site, 0, async || bob.profile().first(site).await).await;
        assert!(none.unwrap().is_none());
        let missing = bob.profile().get(site).await.unwrap_err();
        assert!(missing.is_does_not_exist());
        let editor = two.editor.as_ref().and_then(ForeignKey::loaded).unwrap();
        assert!(editor.company.as_ref().unwrap().loaded().is_some());
    }
}

#[tokio::test]
async fn reading_a_list_with_its_authors_takes_as_many_queries_as_in_the_books() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let one_by_one = async || {
            for post in Post::objects().all(site).await.unwrap() {
                post.author.get(site).await.unwrap();
            }
        };
        assert_queries(site, 4, one_by_one).await;
        let along = async || {
            for post in Post::objects().select_related(|p| p.author()).all(site).await.unwrap() {
                post.author.get(site).await.unwrap();
            }
        };
        assert_queries(site, 1, along).await;
        let before = async || {
            for post in Post::objects().prefetch_related(|p| p.author()).all(site).await.unwrap() {
                post.author.get(site).await.unwrap();
            }
        };
        assert_queries(site, 2, before).await;
    }
}

#[tokio::test]
async fn rows_over_a_table_between_come_in_one_query_more() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let posts = Post::objects().prefetch_related(|p| p.tags());
        let posts = assert_queries(site, 2, async || posts.all(site).await).await.unwrap();
        let [one, two, three] = posts.as_slice() else { panic!("three posts") };
        assert_eq!(names(one.tags.loaded()), ["rust", "web"]);
        assert_eq!(names(two.tags.loaded()), ["rust"]);
        assert!(names(three.tags.loaded()).is_empty());
        let all = assert_queries(site, 0, async || one.tags().all(site).await).await.unwrap();
        assert_eq!(all.len(), 2);
        assert_queries(site, 0, async || one.tags().count(site).await).await.unwrap();
        let filtered = one.tags().filter(|t| t.name().eq("web"));
        let filtered = assert_queries(site, 1, async || filtered.all(site).await).await.unwrap();
        assert_eq!(filtered.len(), 1);
        one.tags().clear(site).await.unwrap();
        assert!(one.tags.loaded().is_none(), "what is loaded is no longer true");
        assert!(one.tags().all(site).await.unwrap().is_empty());
        let shown = serde_json::to_value(two).unwrap();
        let tags = two.tags.loaded().unwrap();
        assert_eq!(shown["tags"], json!([{ "id": tags[0].id, "name": "rust" }]));
    }
}

#[tokio::test]
async fn relations_behind_relations_are_loaded_too() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let posts = Post::objects()
            .prefetch_related(|p| p.author().posts().tags())
            .prefetch_related(|p| p.author().company())
            .prefetch_related(|p| p.comments());
        let posts = assert_queries(site, 6, async || posts.all(site).await).await.unwrap();
        let ann = posts[0].author.loaded().unwrap();
        assert_eq!(ann.company.as_ref().unwrap().loaded().unwrap().name, "Acme");
        let titles: Vec<_> = ann.posts.loaded().unwrap().iter().map(|post| &post.title).collect();
        assert_eq!(titles, ["one", "three"]);
        assert_eq!(names(ann.posts.loaded().unwrap()[0].tags.loaded()), ["rust", "web"]);
        assert_eq!(posts[2].comments.loaded().unwrap().len(), 2);
        let selected = Post::objects()
            .select_related(|p| p.author())
            .prefetch_related(|p| p.author().profile());
        let posts = assert_queries(site, 2, async || selected.all(site).await).await.unwrap();
        assert_eq!(posts[0].author.loaded().unwrap().profile.loaded().unwrap().bio, "writes");
        assert!(posts[1].author.loaded().unwrap().profile.loaded().is_none());
    }
}

#[tokio::test]
async fn a_prefetch_may_have_a_query_of_its_own() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let newest = Comment::objects().order_by(|c| c.id().desc()).limit(1);
        let posts = Post::objects()
            .prefetch_related(|p| p.comments().with(newest))
            .prefetch_related(|p| p.tags().with(Tag::objects().filter(|t| t.name().ne("rust"))));
        let posts = assert_queries(site, 3, async || posts.all(site).await).await.unwrap();
        for post in &posts {
            let comments = post.comments.loaded().unwrap();
            assert_eq!(comments.len(), 1);
            assert_eq!(comments[0].text, format!("second of {}", post.title));
        }
        assert_eq!(names(posts[0].tags.loaded()), ["web"]);
        assert!(names(posts[1].tags.loaded()).is_empty());
        let second = Tag::objects().order_by(|t| t.name().asc()).offset(1).limit(5);
        let posts = Post::objects().prefetch_related(|p| p.tags().with(second));
        let posts = posts.all(site).await.unwrap();
        assert_eq!(names(posts[0].tags.loaded()), ["web"]);
        assert!(names(posts[1].tags.loaded()).is_empty());
        let with_author = Post::objects().select_related(|p| p.author()).limit(2);
        let tags = Writer::objects().prefetch_related(|w| w.edited().with(with_author));
        let writers = assert_queries(site, 2, async || tags.all(site).await).await.unwrap();
        let edited = writers[0].edited.loaded().unwrap();
        assert_eq!(edited[0].author.loaded().unwrap().name, "Bob");
        let twice = Post::objects()
            .prefetch_related(|p| p.tags().with(Tag::objects()))
            .prefetch_related(|p| p.tags().with(Tag::objects()));
        let refused = twice.all(site).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a query of press.Post: tags is prefetched with two queries"
        );
    }
}

#[tokio::test]
async fn rows_that_were_prefetched_know_whom_they_belong_to() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let writers = Writer::objects()
            .prefetch_related(|w| w.posts().comments())
            .prefetch_related(|w| w.profile())
            .fetch_mode(FetchMode::Raise);
        let writers = assert_queries(site, 4, async || writers.all(site).await).await.unwrap();
        let back = async || {
            for writer in &writers {
                for post in writer.posts.loaded().unwrap() {
                    assert!(post.author.loaded().is_none(), "nothing is shown twice");
                    assert_eq!(post.author.get(site).await.unwrap().name, writer.name);
                    for comment in post.comments.loaded().unwrap() {
                        assert_eq!(comment.post.get(site).await.unwrap().title, post.title);
                    }
                }
            }
            let profile = writers[0].profile.loaded().unwrap();
            assert_eq!(profile.writer.get(site).await.unwrap().name, "Ann");
        };
        assert_queries(site, 0, back).await;
    }
}

#[tokio::test]
async fn a_stream_prefetches_for_some_thousand_rows_at_a_time() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let ann = Writer::objects().filter(|w| w.name().eq("Ann")).get(site).await.unwrap();
        let more = (0..2_000).map(|number| Post {
            title: format!("{number}"),
            author: (&ann).into(),
            ..Default::default()
        });
        let more = Post::objects().bulk_create(site, more.collect(), Bulk::default());
        more.await.unwrap();
        let posts = || Post::objects().prefetch_related(|p| p.tags()).order_by(|p| p.id().asc());
        let read = async |site: &Site| {
            let mut posts = std::pin::pin!(posts().iterator(site).unwrap());
            let (mut rows, mut tags) = (0, Vec::new());
            while let Some(post) = posts.next().await {
                rows += 1;
                tags.extend(names(post.unwrap().tags.loaded()).into_iter().map(String::from));
            }
            assert_eq!((rows, tags), (2_003, ["rust", "web", "rust"].map(String::from).to_vec()));
        };
        assert_queries(site, 3, async || read(site).await).await;
        site.atomic(async |site| {
            read(&site).await;
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn rows_at_hand_can_be_loaded_into() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let mut posts = Post::objects().all(site).await.unwrap();
        let load = async || prefetch(site, &mut posts, |p| p.tags()).await;
        assert_queries(site, 1, load).await.unwrap();
        assert_eq!(names(posts[0].tags.loaded()), ["rust", "web"]);
        let again = async || prefetch(site, &mut posts, |p| p.tags()).await;
        assert_queries(site, 0, again).await.unwrap();
        let anew = async || prefetch(site, &mut posts, |p| p.tags().with(Tag::objects())).await;
        assert_queries(site, 1, anew).await.unwrap();
        let nobody: &mut [Post] = &mut [];
        let none = async || prefetch(site, nobody, |p| p.tags()).await;
        assert_queries(site, 0, none).await.unwrap();
    }
}

#[tokio::test]
async fn more_rows_than_a_statement_takes_values_come_in_pieces() {
    const ROWS: usize = 30_010;
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let rust = tag(site, "rust").await;
        let ann = writer(site, "Ann").await;
        let one = post(site, &ann, "one").await;
        one.tags().add(site, [&rust]).await.unwrap();
        let mut posts = vec![one; ROWS];
        for (number, post) in posts.iter_mut().enumerate().skip(1) {
            post.id = (i64::try_from(number).unwrap() + 1_000_000).into();
        }
        let load = async || prefetch(site, &mut posts, |p| p.tags()).await;
        assert_queries(site, 2, load).await.unwrap();
        assert_eq!(names(posts[0].tags.loaded()), ["rust"]);
        assert!(names(posts[ROWS - 1].tags.loaded()).is_empty());
    }
}

#[tokio::test]
async fn queries_cross_relations_to_many() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let rust = Tag::objects().filter(|t| t.name().eq("rust")).get(site).await.unwrap();
        let check = async |found: hulse::models::QuerySet<Post>, expected: &[&str]| {
            let found = found.all(site).await.unwrap();
            let titles: Vec<_> = found.iter().map(|post| post.title.as_str()).collect();
            assert_eq!(titles, expected);
        };
        check(Post::objects().filter(|p| p.tags().eq(&rust)), &["one", "two"]).await;
        check(Post::objects().filter(|p| p.tags().name().eq("web")), &["one"]).await;
        check(Post::objects().exclude(|p| p.tags().name().eq("web")), &["two", "three"]).await;
        check(Post::objects().filter(|p| p.tags().isnull(true)), &["three"]).await;
        let tags = Tag::objects().filter(|t| t.name().startswith("w"));
        check(Post::objects().filter(|p| p.tags().in_query(tags)), &["one"]).await;
        check(Post::objects().filter(|p| p.tags().in_([&rust])), &["one", "two"]).await;
        let both = Post::objects()
            .filter(|p| p.tags().name().eq("rust"))
            .filter(|p| p.tags().name().eq("web"));
        check(both, &["one"]).await;
        let one_of_both = |p: &super::relations::PostColumns| {
            p.tags().name().eq("rust") & p.tags().name().eq("web")
        };
        check(Post::objects().filter(one_of_both), &[]).await;
        // As in SQL and Django: once for each comment.
        let twice = Post::objects().filter(|p| p.comments().text().endswith("two"));
        check(twice, &["two", "two"]).await;
        check(
            Post::objects().filter(|p| p.author().profile().bio().eq("writes")),
            &["one", "three"],
        )
        .await;
        let writers = Writer::objects().filter(|w| w.posts().tags().name().eq("web"));
        assert_eq!(writers.get(site).await.unwrap().name, "Ann");
        let writers = Writer::objects().filter(|w| w.profile().isnull(true));
        assert_eq!(writers.get(site).await.unwrap().name, "Bob");
        let staff = Company::objects().filter(|c| c.staff().edited().title().eq("two"));
        assert_eq!(staff.get(site).await.unwrap().name, "Acme");
    }
}

#[tokio::test]
async fn the_other_side_of_a_many_to_many_reads_and_changes_it() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let tags = Tag::objects().prefetch_related(|t| t.posts().author());
        let tags = assert_queries(site, 3, async || tags.all(site).await).await.unwrap();
        let [rust, web] = tags.as_slice() else { panic!("two tags") };
        let posts = rust.posts.loaded().unwrap();
        assert_eq!(posts.len(), 2);
        assert_eq!(posts[1].author.loaded().unwrap().name, "Bob");
        let three = Post::objects().filter(|p| p.title().eq("three")).get(site).await.unwrap();
        web.posts().set(site, [&three]).await.unwrap();
        assert_eq!(web.posts().all(site).await.unwrap()[0].title, "three");
        assert_eq!(three.tags().all(site).await.unwrap()[0].name, "web");
        let found = Tag::objects().filter(|t| t.posts().author().name().eq("Bob"));
        assert_eq!(found.get(site).await.unwrap().name, "rust");
    }
}

#[tokio::test]
async fn the_other_side_and_models_between_are_crossed_as_well() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (ann, bob) = (writer(site, "Ann").await, writer(site, "Bob").await);
        let club = Club { name: "chess".into(), ..Default::default() };
        let club = Club::create(site, club).await.unwrap();
        let member = Membership {
            person: (&ann).into(),
            club: (&club).into(),
            invited_by: Some((&bob).into()),
            ..Default::default()
        };
        Membership::create(site, member).await.unwrap();
        let members = club.members().all(site).await.unwrap();
        assert_eq!(members, from_ref(&ann));
        let clubs = Club::objects().filter(|c| c.members().eq(&ann));
        assert_eq!(clubs.count(site).await.unwrap(), 1);
        let clubs = Club::objects().prefetch_related(|c| c.members()).all(site).await.unwrap();
        assert_eq!(clubs[0].members.loaded().unwrap(), from_ref(&ann));
        ann.friends().add(site, [&bob]).await.unwrap();
        ann.follows().add(site, [&bob]).await.unwrap();
        assert_eq!(bob.friends().all(site).await.unwrap(), from_ref(&ann));
        assert!(bob.follows().all(site).await.unwrap().is_empty());
        let followers = Writer::objects().filter(|w| w.follows().eq(&bob));
        assert_eq!(followers.all(site).await.unwrap(), from_ref(&ann));
        let writers = Writer::objects().prefetch_related(|w| w.friends()).all(site).await.unwrap();
        assert_eq!(writers[0].friends.loaded().unwrap(), from_ref(&bob));
        assert_eq!(writers[1].friends.loaded().unwrap(), [ann]);
    }
}

#[tokio::test]
async fn what_points_nowhere_is_not_asked_for() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let posts = || Post::objects().prefetch_related(|p| p.editor());
        let found = assert_queries(site, 2, async || posts().all(site).await).await.unwrap();
        assert!(found[0].editor.is_none());
        assert_eq!(found[1].editor.as_ref().unwrap().loaded().unwrap().name, "Ann");
        let one = posts().filter(|p| p.title().eq("one"));
        assert_queries(site, 1, async || one.get(site).await).await.unwrap();
        let none = posts().filter(|p| p.title().eq("none"));
        assert_queries(site, 1, async || none.all(site).await).await.unwrap();
        let never = posts().none();
        assert_queries(site, 0, async || never.all(site).await).await.unwrap();
    }
}

#[tokio::test]
async fn rows_with_what_is_computed_beside_them_are_loaded_into_as_well() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        blog(site).await;
        let posts = Post::objects().select_related(|p| p.author()).prefetch_related(|p| p.tags());
        let posts = posts.annotate(|p| p.id() + 1);
        let posts = assert_queries(site, 2, async || posts.all(site).await).await.unwrap();
        let (one, next) = &posts[0];
        assert_eq!(Some(*next), one.id.get().map(|id| id + 1));
        assert_eq!(names(one.tags.loaded()), ["rust", "web"]);
        assert_eq!(one.author.loaded().unwrap().name, "Ann");
    }
}

#[tokio::test]
async fn keys_that_are_no_numbers_lead_to_rows_too() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let (rust, web) = (tag(site, "rust").await, tag(site, "web").await);
        for tags in [vec![&rust], vec![&rust, &web], vec![]] {
            let page = Page { code: Uuid::new_v4(), ..Default::default() };
            Page::create(site, page).await.unwrap().tags().add(site, tags).await.unwrap();
        }
        let pages = Page::objects().prefetch_related(|p| p.tags()).all(site).await.unwrap();
        let mut counts: Vec<_> = pages.iter().map(|p| p.tags.loaded().unwrap().len()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [0, 1, 2]);
        let page = pages.iter().find(|page| page.tags.loaded().unwrap().len() == 2).unwrap();
        page.tags().set(site, [&web]).await.unwrap();
        assert_eq!(page.tags().all(site).await.unwrap()[0].name, "web");
    }
}

#[tokio::test]
async fn a_relation_that_no_field_holds_is_named() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let held = Tag::objects().prefetch_related(|t| t.posts().with(Post::objects()));
        held.all(site).await.unwrap();
        let not =
            Writer::objects().prefetch_related(|w| w.reverse::<Membership>(|m| m.person()).club());
        assert_eq!(
            not.all(site).await.unwrap_err().to_string(),
            "a query of press.Writer: nothing on press.Writer holds its rows of press.Membership: \
             give it a field `HasMany<Membership>`"
        );
        let many = Post::objects().select_related(|p| p.comments().post());
        assert_eq!(
            many.all(site).await.unwrap_err().to_string(),
            "a query of press.Post: select_related leads to one row; for many, use \
             prefetch_related"
        );
    }
}
