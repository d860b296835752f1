//! Rows as sets, rows that are locked, pages, and the other questions to a query.

use hulse::Site;
use hulse::db::Dialect;
use hulse::models::{Explain, Lock, QuerySet};
use hulse::test::assert_queries;

use super::{Author, Comment, Post, author, fixtures, post};

async fn abc(site: &Site) -> Author {
    let ann = author(site, "Ann").await;
    for title in ["a", "b", "c"] {
        post(site, &ann, title).await;
    }
    ann
}

fn titled(titles: &[&str]) -> QuerySet<Post> {
    let titles = titles.to_vec();
    Post::objects().filter(|p| p.title().in_(titles))
}

async fn titles(site: &Site, posts: QuerySet<Post>) -> Vec<String> {
    let posts = posts.order_by(|p| p.title().asc()).all(site).await.unwrap();
    posts.into_iter().map(|post| post.title).collect()
}

#[tokio::test]
async fn queries_are_put_together() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let (ab, bc) = (titled(&["a", "b"]), titled(&["b", "c"]));
        assert_eq!(titles(site, ab.clone().union(bc.clone())).await, ["a", "b", "c"]);
        assert_eq!(titles(site, ab.clone().union_all(bc.clone())).await, ["a", "b", "b", "c"]);
        assert_eq!(titles(site, ab.clone().intersection(bc.clone())).await, ["b"]);
        assert_eq!(titles(site, ab.clone().difference(bc.clone())).await, ["a"]);
        let both = ab.clone().union(bc.clone());
        assert_eq!(both.clone().count(site).await.unwrap(), 3);
        assert!(both.clone().exists(site).await.unwrap());
        let second = both.clone().order_by(|p| p.title().desc()).offset(1).limit(1);
        assert_eq!(second.all(site).await.unwrap()[0].title, "b");
        let sliced = ab.clone().order_by(|p| p.title().asc()).limit(1).union(bc.clone().none());
        assert_eq!(titles(site, sliced).await, ["a"]);
        let names = Author::objects().values(|a| a.name());
        let mixed = ab.values(|p| p.title()).union(names);
        let mut mixed = mixed.all(site).await.unwrap();
        mixed.sort_unstable();
        assert_eq!(mixed, ["Ann", "a", "b"]);
        let error = both.filter(|p| p.live().eq(true)).all(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("after union"), "{error}");
    }
}

#[tokio::test]
async fn rows_come_once() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let by = Author::objects().filter(|a| a.reverse::<Post>(|p| p.author()).live().eq(true));
        assert_eq!(by.clone().count(site).await.unwrap(), 3);
        assert_eq!(by.clone().distinct().count(site).await.unwrap(), 1);
        assert_eq!(by.clone().distinct().all(site).await.unwrap().len(), 1);
        let ordered = by.distinct().order_by(|a| a.reverse::<Post>(|p| p.author()).title().asc());
        assert_eq!(ordered.all(site).await.unwrap().len(), 3, "the title makes rows differ");
        let names = Post::objects().values(|p| p.author().name()).distinct();
        let names = names.order_by(|p| p.author().name().asc());
        assert_eq!(names.all(site).await.unwrap(), ["Ann"]);
        let first = Post::objects()
            .order_by(|p| [p.author().key().asc(), p.title().desc()])
            .distinct_on(|p| p.author().key());
        if site.db().dialect() == Dialect::Postgres {
            assert_eq!(first.all(site).await.unwrap()[0].title, "c");
        } else {
            let error = first.all(site).await.unwrap_err();
            assert!(error.to_string().contains("only PostgreSQL"), "{error}");
        }
    }
}

#[tokio::test]
async fn rows_are_locked_inside_a_transaction_only() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let locked = Post::objects().select_for_update(Lock::new().nowait());
        if site.db().dialect() == Dialect::Sqlite {
            assert_eq!(locked.clone().all(site).await.unwrap().len(), 3);
        } else {
            let error = locked.clone().all(site).await.unwrap_err();
            assert!(error.to_string().contains("inside `site.atomic`"), "{error}");
        }
        site.atomic(async |site| {
            assert_eq!(locked.clone().all(&site).await?.len(), 3);
            if site.db().dialect() == Dialect::Postgres {
                let own = Lock::new().skip_locked().no_key().of(&["self"]);
                let own = Post::objects().select_related(|p| p.author()).select_for_update(own);
                let sql = own.sql(&site)?.text;
                let end = "FOR NO KEY UPDATE OF \"blog_post\" SKIP LOCKED";
                assert!(sql.ends_with(end), "{sql}");
                assert_eq!(own.all(&site).await?.len(), 3);
                let odd = Post::objects().select_for_update(Lock::new().of(&["author"]));
                let error = odd.sql(&site).unwrap_err();
                assert!(error.to_string().contains("choices are self"), "{error}");
            }
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn pages_divide_rows() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let pages = Post::objects().order_by(|p| p.title().asc()).paginate(2);
        let first = pages.page(site, 1).await.unwrap();
        assert_eq!((first.rows.len(), first.count, first.num_pages), (2, 3, 2));
        assert!(first.has_next() && !first.has_previous());
        assert_eq!((first.next_page_number(), first.previous_page_number()), (Some(2), None));
        let last = pages.page_named(site, "last").await.unwrap();
        assert_eq!(
            (last.rows[0].title.as_str(), last.start_index(), last.end_index()),
            ("c", 3, 3)
        );
        assert_eq!(last.page_range(), 1..=2);
        for (number, words) in [
            ("0", "that page number is less than 1"),
            ("-1", "that page number is less than 1"),
            ("3", "that page contains no results"),
            ("x", "that page number is not an integer"),
        ] {
            let error = pages.page_named(site, number).await.unwrap_err();
            assert!(error.is_empty_page() && error.to_string() == words, "{number}: {error}");
        }
        for (number, nearest) in [("0", 2), ("9", 2), ("x", 1), ("2", 2)] {
            assert_eq!(pages.nearest_page(site, number).await.unwrap().number, nearest);
        }
        let together = Post::objects().paginate(2).orphans(1).page(site, 1).await.unwrap();
        assert_eq!((together.rows.len(), together.num_pages), (3, 1));
        let none = Post::objects().none().paginate(2).page(site, 1).await.unwrap();
        assert_eq!((none.rows.len(), none.num_pages, none.start_index()), (0, 1, 0));
        let shown = serde_json::to_value(&first).unwrap();
        assert_eq!((&shown["has_next"], &shown["rows"][1]["title"]), (&true.into(), &"b".into()));
    }
}

#[tokio::test]
async fn rows_are_found_by_key_place_and_time() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = abc(site).await;
        let all = Post::objects().order_by(|p| p.title().asc()).all(site).await.unwrap();
        let keys = [all[0].id.get().unwrap(), all[2].id.get().unwrap(), -1];
        let found =
            assert_queries(site, 1, async || Post::objects().in_bulk(site, keys).await.unwrap())
                .await;
        assert_eq!((found.len(), found[&keys[1]].title.as_str()), (2, "c"));
        let none =
            assert_queries(site, 0, async || Post::objects().in_bulk(site, []).await.unwrap());
        assert!(none.await.is_empty());
        let ab = titled(&["a", "b"]);
        assert!(ab.clone().contains(site, &all[0]).await.unwrap());
        assert!(!ab.contains(site, &all[2]).await.unwrap());
        assert!(Post::objects().contains(site, &Post::default()).await.unwrap_err().is_field());
        let last = Post::objects().latest_by(site, |p| p.title().asc()).await.unwrap();
        assert_eq!(last.title, "c");
        let error = Post::objects().latest(site).await.unwrap_err();
        assert!(error.to_string().contains("get_latest_by"), "{error}");
        let error = Comment::objects().latest_by(site, |c| c.text().asc()).await.unwrap_err();
        assert!(error.is_does_not_exist(), "{error}");
        let last = Post::objects().order_by(|p| p.title().asc()).last(site).await.unwrap();
        assert_eq!(last.unwrap().title, "c");
        let last = Comment::objects().last(site).await.unwrap();
        assert!(last.is_none());
        assert_eq!(Author::objects().last(site).await.unwrap().unwrap().name, ann.name);
        let plan = Post::objects().filter(|p| p.id().eq(1)).explain(site).await.unwrap();
        assert!(plan.to_lowercase().contains("blog_post"), "{plan}");
    }
}

#[tokio::test]
async fn a_column_may_stand_twice_among_what_is_selected() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let twice = || Post::objects().values(|p| (p.title(), p.title(), p.author().name()));
        let distinct = twice().distinct();
        assert_eq!(distinct.count(site).await.unwrap(), 3);
        let both = twice().union(twice().filter(|p| p.title().eq("a")));
        assert_eq!(both.clone().count(site).await.unwrap(), 3);
        let first = both.order_by(|p| p.title().desc()).limit(1).get(site).await.unwrap();
        assert_eq!(first, ("c".into(), "c".into(), "Ann".into()));
        let along = || titled(&["a", "b"]).select_related(|p| p.author());
        let both = along().union(along()).all(site).await.unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].author.loaded().unwrap().name, "Ann");
    }
}

#[tokio::test]
async fn rows_are_found_by_any_unique_column() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
        let names = ["Bob", "Ann", "Bob", "Eve"].map(String::from);
        let found = Author::objects().in_bulk_by(site, |a| a.name(), names);
        let found = assert_queries(site, 1, async || found.await.unwrap()).await;
        assert_eq!((found.len(), found["Ann"].id, found["Bob"].id), (2, ann.id, bob.id));
        let odd = Author::objects().in_bulk_by(site, |a| a.nick(), ["x".to_owned()]).await;
        assert!(odd.unwrap_err().to_string().contains("takes a unique column"));
        let first = Author::objects().earliest_by(site, |a| a.name().desc()).await.unwrap();
        assert_eq!(first.name, "Bob");
        let none = Author::objects().filter(|a| a.name().eq("Eve"));
        let none = none.earliest_by(site, |a| a.name().asc()).await.unwrap_err();
        assert!(none.is_does_not_exist());
    }
}

#[tokio::test]
async fn the_database_says_how_it_runs_a_query_as_far_as_it_can() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let rows = || Post::objects().filter(|p| p.title().eq("a"));
        let kinds = [Explain::new().analyze(), Explain::new().json()];
        for kind in [kinds[0], kinds[1], kinds[0].json()] {
            let words = rows().explain_with(site, kind).await;
            if site.db().dialect() == Dialect::Sqlite {
                let error = words.unwrap_err();
                assert!(error.is_field() && error.to_string().contains("query plan"), "{error}");
                continue;
            }
            let words = words.unwrap();
            assert!(words.contains("blog_post"), "{words}");
            // MariaDB has no other form than JSON.
            let is_json = kind != kinds[0] || site.db().dialect() == Dialect::Mysql;
            assert_eq!(words.starts_with(['[', '{']), is_json, "{words}");
            let was_run = words.contains("ctual") || words.contains("r_total_time_ms");
            assert_eq!(was_run, kind != kinds[1], "{words}");
        }
    }
}

#[tokio::test]
async fn rows_of_a_select_of_ones_own() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        abc(site).await;
        let select = "SELECT 1 AS more, p.* FROM blog_post p WHERE title = {} OR title = {}";
        let values = || vec!["a".into(), "x' OR 1=1 --".into()];
        let found = QuerySet::<Post>::raw(site, select, values()).await.unwrap();
        assert_eq!((found.len(), found[0].title.as_str()), (1, "a"));
        let error = QuerySet::<Post>::raw(site, "SELECT 1", values()).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("but 2 values"), "{error}");
        let some = "SELECT id, title FROM blog_post";
        let error = QuerySet::<Post>::raw(site, some, Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("needs all its columns"), "{error}");
    }
}

#[tokio::test]
async fn a_row_is_changed_or_made() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let find = || Author::objects().filter(|a| a.name().eq("Ann"));
        let new = || Author { name: "Ann".into(), nick: Some("new".into()), ..Default::default() };
        let change = |a: &mut Author| a.nick = Some("changed".into());
        let (ann, is_new) = find().update_or_create(site, change, new()).await.unwrap();
        assert_eq!((ann.nick.as_deref(), is_new), (Some("new"), true));
        let (ann, is_new) = find().update_or_create(site, change, new()).await.unwrap();
        assert_eq!((ann.nick.as_deref(), is_new), (Some("changed"), false));
        assert_eq!(find().get(site).await.unwrap().nick.as_deref(), Some("changed"));
    }
}

#[tokio::test]
async fn get_says_how_many_there_are() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = abc(site).await;
        let error = Post::objects().get(site).await.unwrap_err();
        assert_eq!(error.to_string(), "more than one blog.Post matches the query: 3");
        for _ in 0..20 {
            post(site, &ann, "d").await;
        }
        let error = Post::objects().get(site).await.unwrap_err();
        assert_eq!(error.to_string(), "more than one blog.Post matches the query: more than 20");
    }
}
