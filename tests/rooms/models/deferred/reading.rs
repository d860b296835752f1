//! What is read of a row with deferred fields, when, and by how many queries.

use futures_util::TryStreamExt;
use hulse::models::{Decimal, FetchMode, JsonValue, Projection, QuerySet};

use super::*;

#[tokio::test]
async fn a_value_is_read_when_it_is_asked_for_and_kept() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 2).await;
        let mut read = None;
        let said = statements(site, async || read = Some(first(site).await)).await;
        reads_none(&said);
        assert!(said[0].contains("SELECT NULL AS \"body\", "), "{}", said[0]);
        let paper = read.unwrap();
        assert_eq!((paper.title.as_str(), paper.pages, paper.remarks.copies), ("t1", 0, 1));
        assert_eq!(format!("{:?} {:?}", paper.body, paper.price), "deferred deferred");
        let said = statements(site, async || {
            assert_eq!(paper.body.get(site).await.unwrap(), "body 1");
            assert_eq!(paper.body.get(site).await.unwrap(), "body 1");
            assert_eq!(paper.clone().body.get(site).await.unwrap(), "body 1");
        })
        .await;
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("SELECT \"id\", \"body\" FROM \"archive_paper\" WHERE "));
        assert_eq!(format!("{:?}", paper.body), "\"body 1\"");
        // Every type comes back as it would with its row.
        assert_eq!(paper.price.get(site).await.unwrap().to_string(), "10.00");
        assert_eq!(paper.table.get(site).await.unwrap(), &Some(json!({ "rows": 1 })));
        assert_eq!(paper.script.get(site).await.unwrap(), &Script::Greek);
        assert_eq!(paper.scan.get(site).await.unwrap(), &[0, 255]);
        assert_eq!(paper.remarks.remark.get(site).await.unwrap(), "");
        assert_eq!(paper.scan.into_inner(), Some(vec![0, 255]));
    }
}

#[tokio::test]
async fn no_way_of_reading_rows_reads_it() {
    for archive in archives().await {
        let site = &archive.site;
        let ann = papers(site, 3).await;
        let said = statements(site, async || {
            let rows = Paper::objects;
            assert_eq!(rows().all(site).await.unwrap().len(), 3);
            let with = rows().select_related(|p| p.writer()).first(site).await.unwrap().unwrap();
            assert!(with.writer.loaded().unwrap().life.loaded().is_none());
            let both = Writer::objects().prefetch_related(|w| w.papers()).get(site).await.unwrap();
            assert_eq!(both.papers.loaded().unwrap()[2].title, "t3");
            let few = Paper::objects().limit(2);
            let few = Writer::objects().prefetch_related(|w| w.papers().with(few));
            assert_eq!(few.get(site).await.unwrap().papers.loaded().unwrap().len(), 2);
            let one = rows().filter(|p| p.title().eq("t1"));
            let two = one.clone().union(rows().filter(|p| p.title().eq("t2")));
            assert_eq!(two.order_by(|p| p.title().asc()).all(site).await.unwrap()[1].title, "t2");
            let key = one.get(site).await.unwrap().id.get().unwrap();
            assert_eq!(rows().in_bulk(site, [key]).await.unwrap()[&key].pages, 0);
            let sql = "SELECT * FROM archive_paper WHERE title = {}";
            let raw = QuerySet::<Paper>::raw(site, sql, vec!["t3".into()]).await.unwrap();
            assert!(raw[0].body.loaded().is_none() && raw[0].title == "t3");
            let stream = rows().iterator(site).unwrap();
            assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().len(), 3);
            let inside =
                site.atomic(async |site| rows().iterator(&site)?.try_collect::<Vec<_>>().await);
            assert_eq!(inside.await.unwrap()[2].title, "t3");
            let mut again = with.writer.get(site).await.unwrap().clone();
            again.refresh(site).await.unwrap();
            assert!(again.life.loaded().is_none());
            assert_eq!(Paper::of(&ann).annotate(|p| p.title()).all(site).await.unwrap().len(), 3);
            let order = rows().distinct().order_by(|p| p.body().desc());
            assert_eq!(order.first(site).await.unwrap().unwrap().title, "t3");
        })
        .await;
        let (ordered, plain) = said.split_last().unwrap();
        reads_none(plain);
        assert!(ordered.contains(".\"body\" AS \"_order0\""), "a DISTINCT is ordered by columns");
        let one = Paper::objects().filter(|p| p.pages().eq(0));
        let wrong = one.clone().union(one).order_by(|p| p.body().asc());
        let wrong = wrong.all(site).await.unwrap_err();
        assert!(wrong.to_string().contains("ordered by what they select"), "{wrong}");
    }
}

#[tokio::test]
async fn a_query_may_read_it_with_the_rows() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 2).await;
        let nobody = writer(site, "Nobody", None).await;
        Paper::create(site, Paper { table: None.into(), ..paper(&nobody, 3) }).await.unwrap();
        let work = async || {
            let rows = Paper::objects()
                .with_deferred(|p| (p.body(), p.writer().life(), p.table(), p.remarks().remark()))
                .select_related(|p| p.writer())
                .with_deferred(|p| p.body())
                .all(site)
                .await
                .unwrap();
            let [one, .., last] = rows.as_slice() else { panic!("three papers") };
            assert_eq!(one.body.loaded().unwrap(), "body 1");
            assert_eq!(one.remarks.remark.loaded().unwrap(), "");
            assert!(one.price.loaded().is_none());
            assert_eq!(
                one.writer.loaded().unwrap().life.loaded().unwrap().as_deref(),
                Some("long")
            );
            // NULL is a value, too.
            assert_eq!(last.table.get(site).await.unwrap(), &None);
            assert_eq!(last.writer.loaded().unwrap().life.loaded(), Some(&None));
        };
        assert_queries(site, 1, work).await;
        let both = Paper::objects().with_deferred(|p| p.body());
        let both = both.clone().filter(|p| p.title().eq("t1")).union(both);
        let rows = both.order_by(|p| p.body().desc()).all(site).await.unwrap();
        assert_eq!(rows[0].body.loaded().unwrap(), "body 3");
        let refused = async |rows: QuerySet<Paper>, why: &str| {
            let error = rows.all(site).await.unwrap_err();
            assert!(error.is_field() && error.to_string().contains(why), "{error}");
        };
        let rows = Paper::objects;
        refused(rows().with_deferred(|p| p.title()), "others are read anyway").await;
        refused(rows().with_deferred(|p| p.body().lower()), "names deferred fields").await;
        let far = rows().with_deferred(|p| p.writer().life());
        refused(far, "`writer__life` needs select_related of `writer`").await;
        refused(rows().union(rows().with_deferred(|p| p.body())), "the same columns").await;
        refused(rows().union(rows()).with_deferred(|p| p.body()), "before queries").await;
    }
}

#[derive(Projection, Debug, PartialEq)]
#[projection(of = Paper)]
struct Card {
    body: String,
    #[projection(|p| p.writer().life())]
    life: Option<String>,
}

#[tokio::test]
async fn in_queries_it_is_a_field_like_any_other() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 3).await;
        let rows = Paper::objects;
        let found = rows().filter(|p| p.body().icontains("Y 2") & p.table().isnull(false));
        assert_eq!(found.get(site).await.unwrap().title, "t2");
        let bodies = rows().order_by(|p| p.body().desc()).values(|p| (p.body(), p.price()));
        assert_eq!(bodies.first(site).await.unwrap().unwrap().0, "body 3");
        let dearest = rows().aggregate(site, |p| p.price().max()).await.unwrap();
        assert_eq!(dearest, Some(Decimal::from(10)));
        let three = rows().filter(|p| p.title().eq("t3"));
        three.clone().update(site, |p| p.body().set(p.title())).await.unwrap();
        let card = Card { body: "t3".into(), life: Some("long".into()) };
        assert_eq!(three.project::<Card>().get(site).await.unwrap(), card);
        assert_eq!(rows().filter_by("body", "t3").count(site).await.unwrap(), 1);
        let code = Some("x1".to_owned()).into();
        Page::create(site, Page { slug: "one".into(), code, ..Default::default() }).await.unwrap();
        let codes = ["x1", "x2"].map(str::to_owned);
        let pages = Page::objects().in_bulk_by(site, |p| p.code(), codes).await.unwrap();
        assert_eq!(pages["x1"].slug, "one");
    }
}

#[tokio::test]
async fn a_loop_goes_by_its_fetch_mode() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 20).await;
        let bodies = async |rows: QuerySet<Paper>| {
            let mut letters = 0;
            for paper in rows.all(site).await? {
                letters += paper.body.get(site).await?.len();
            }
            Ok::<_, hulse::Error>(letters)
        };
        let mode = |mode| Paper::objects().fetch_mode(mode);
        let all = 20 * "body 1".len() + 11;
        let one = async || bodies(mode(FetchMode::One)).await;
        assert_eq!(assert_queries(site, 21, one).await.unwrap(), all);
        let peers = async || bodies(mode(FetchMode::Peers)).await;
        assert_eq!(assert_queries(site, 2, peers).await.unwrap(), all);
        let raise = async || bodies(mode(FetchMode::Raise)).await;
        let refused = assert_queries(site, 1, raise).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "archive.Paper.body is not loaded, and the fetch mode is `raise`: add \
             `with_deferred(|p| p.body())` to the query"
        );
        let heeded = mode(FetchMode::Raise).with_deferred(|p| p.body());
        let heeded = async || bodies(heeded).await;
        assert_eq!(assert_queries(site, 1, heeded).await.unwrap(), all);
        // One that is gone meanwhile is asked for alone, and told of.
        let rows = mode(FetchMode::Peers).all(site).await.unwrap();
        rows[3].clone().delete(site).await.unwrap();
        assert_eq!(rows[0].body.get(site).await.unwrap(), "body 1");
        assert!(rows[3].body.get(site).await.unwrap_err().is_does_not_exist());
        // Behind relations as well.
        let work = async || {
            let rows = mode(FetchMode::Peers).select_related(|p| p.writer());
            for paper in rows.all(site).await.unwrap() {
                let writer = paper.writer.get(site).await.unwrap();
                assert_eq!(writer.life.get(site).await.unwrap().as_deref(), Some("long"));
            }
        };
        assert_queries(site, 2, work).await;
    }
}

#[tokio::test]
async fn refreshing_reads_what_is_loaded_again() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 1).await;
        let mut paper = first(site).await;
        paper.body = "unsaved".into();
        paper.table.get(site).await.unwrap();
        Paper::objects().update(site, |p| p.table().set(None::<JsonValue>)).await.unwrap();
        assert_queries(site, 1, async || paper.refresh(site).await.unwrap()).await;
        assert_eq!(paper.body.loaded().unwrap(), "body 1");
        assert_eq!(paper.table.loaded(), Some(&None));
        assert!(paper.scan.loaded().is_none());
        paper.refresh_only(site, |p| (p.title(), p.scan())).await.unwrap();
        assert_eq!(paper.scan.loaded().unwrap(), &[0, 255]);
        assert!(paper.script.loaded().is_none() && paper.table.loaded() == Some(&None));
        assert_eq!(paper.script.get(site).await.unwrap(), &Script::Greek);
    }
}
