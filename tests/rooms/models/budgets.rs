//! How many statements each thing takes: never more than Django's.

use hulse::db::Dialect;
use hulse::models::{Bulk, prefetch};
use hulse::test::assert_queries;

use super::relations::{Post, Tag, Writer, newsrooms, post, tag, writer};

/// Runs the closure, which may make so many statements.
macro_rules! takes {
    ($site:expr, $count:literal, $work:expr) => {
        assert_queries($site, $count, async || $work.await.unwrap()).await
    };
}

#[tokio::test]
async fn writing_takes_as_few_statements_as_it_can() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let ann = writer(site, "Ann").await;
        let mut one = Post { title: "one".into(), author: (&ann).into(), ..Default::default() };
        takes!(site, 1, one.save(site));
        takes!(site, 1, one.save(site));
        takes!(site, 1, one.save_only(site, |p| p.title()));
        takes!(site, 1, one.refresh(site));
        let named = |name: &str| {
            let name = name.to_owned();
            Writer::objects().filter(|w| w.name().eq(name))
        };
        let new = |name: &str| Writer { name: name.into(), ..Default::default() };
        takes!(site, 1, named("Ann").get_or_create(site, new("Ann")));
        takes!(site, 2, named("Bob").get_or_create(site, new("Bob")));
        takes!(site, 2, named("Bob").update_or_create(site, |w| w.name.push('!'), new("Bob")));
        takes!(site, 2, named("Cid").update_or_create(site, |w| w.name.push('!'), new("Cid")));
        let many = |from: usize| -> Vec<Writer> {
            (from..from + 50).map(|number| new(&format!("w{number}"))).collect()
        };
        let made = takes!(site, 1, Writer::objects().bulk_create(site, many(0), Bulk::default()));
        takes!(site, 0, Writer::objects().bulk_create(site, Vec::new(), Bulk::default()));
        takes!(site, 1, Writer::objects().bulk_update(site, &made, |w| w.name()));
        takes!(site, 1, named("Ann").update(site, |w| w.name().set("Eve")));

        let (rust, web) = (tag(site, "rust").await, tag(site, "web").await);
        takes!(site, 1, one.tags().add(site, [&rust, &web]));
        takes!(site, 0, one.tags().add(site, [] as [&Tag; 0]));
        takes!(site, 1, one.tags().remove(site, [&web]));
        takes!(site, 2, one.tags().set(site, [&rust, &web]));
        takes!(site, 1, one.tags().set(site, [&rust, &web]));
        takes!(site, 1, one.tags().clear(site));
    }
}

#[tokio::test]
async fn reading_takes_as_few_statements_as_it_can() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let ann = writer(site, "Ann").await;
        let rust = tag(site, "rust").await;
        for title in ["one", "two"] {
            post(site, &ann, title).await.tags().add(site, [&rust]).await.unwrap();
        }
        let all = Post::objects;
        takes!(site, 1, all().all(site));
        takes!(site, 1, all().count(site));
        takes!(site, 1, all().exists(site));
        takes!(site, 1, all().first(site));
        takes!(site, 1, all().filter(|p| p.title().eq("one")).get(site));
        takes!(site, 1, all().aggregate(site, |p| (p.id().count(), p.id().max())));
        takes!(site, 1, all().select_related(|p| p.author().company()).all(site));
        takes!(site, 2, all().prefetch_related(|p| p.tags()).all(site));
        takes!(site, 1, all().annotate(|p| (p.tags().count(), p.comments().count())).all(site));
        takes!(site, 1, all().filter(|p| p.author().in_query(Writer::objects())).all(site));
        takes!(site, 0, all().none().all(site));
        takes!(site, 0, all().none().count(site));
        takes!(site, 0, all().none().update(site, |p| p.title().set("x")));
        takes!(site, 0, all().none().delete(site));
        takes!(site, 0, all().filter(|p| p.id().in_([0_i64; 0])).exists(site));
        let none = takes!(
            site,
            0,
            all()
                .none()
                .aggregate(site, |p| { (p.id().count(), p.id().sum().default(0), p.id().max()) })
        );
        assert_eq!(none, (0, 0, None));
        takes!(site, 2, all().paginate(1).page(site, 2));
        let mut posts = all().all(site).await.unwrap();
        takes!(site, 1, prefetch(site, &mut posts, |p| p.author()));
        takes!(site, 0, posts[0].author.get(site));
        takes!(site, 0, prefetch(site, &mut posts, |p| p.author()));
    }
}

#[tokio::test]
async fn sqlite_is_not_made_to_plan_a_limited_statement_each_time() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let log = site.database().record();
        Writer::objects().limit(7).offset(2).all(site).await.unwrap();
        let text = log.queries()[0].sql.clone();
        // A bound limit would be looked at when planning, and so be planned for at each execution.
        let is_sqlite = site.db().dialect() == Dialect::Sqlite;
        assert_eq!(text.contains("LIMIT 7 OFFSET ?"), is_sqlite, "{text}");
    }
}
