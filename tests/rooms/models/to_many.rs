//! Rows that come several times, once for each row of a relation to many: how often they are read,
//! counted, found by their key and aggregated.

use futures_util::TryStreamExt;
use hulse::Site;
use hulse::db::Dialect;
use hulse::models::functions::{case, row_number};
use hulse::models::{Expression, Over, QuerySet, RelatedMany};

use super::{Author, AuthorColumns, Fixture, Post, author, fixtures, post};

fn posts(a: &AuthorColumns) -> RelatedMany<Post> {
    a.reverse::<Post>(|p| p.author())
}

fn title(a: &AuthorColumns) -> Expression<String, Option<String>> {
    posts(a).title().nullable()
}

/// Ann wrote `x`, `x` and `y`, Bob `z`, Cid nothing.
async fn blog(fixture: &Fixture) -> [Author; 3] {
    let site = &fixture.site;
    let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
    for (by, title) in [(&ann, "x"), (&ann, "x"), (&ann, "y"), (&bob, "z")] {
        post(site, by, title).await;
    }
    let cid = author(site, "Cid").await;
    [ann, bob, cid]
}

/// So many rows come, by each way to them.
async fn come<R: Send>(site: &Site, what: &str, rows: QuerySet<Author, R>, expected: usize) {
    let what = format!("{what} on {:?}", site.db().dialect());
    let sql = rows.sql(site).unwrap().text;
    let all = rows.clone().all(site).await.unwrap();
    assert_eq!(all.len(), expected, "all: {what}: {sql}");
    let streamed: Vec<_> = rows.clone().iterator(site).unwrap().try_collect().await.unwrap();
    assert_eq!(streamed.len(), expected, "iterator: {what}: {sql}");
    let counted = rows.clone().count(site).await.unwrap();
    assert_eq!(counted as usize, expected, "count: {what}: {sql}");
    assert_eq!(rows.exists(site).await.unwrap(), expected > 0, "exists: {what}: {sql}");
}

#[tokio::test]
async fn a_row_found_by_its_key_comes_as_often_as_it_is_joined() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let [ann, ..] = blog(&fixture).await;
        let by_key = Author::objects().filter(|a| a.id().eq(ann.id));
        let by_name = Author::objects().filter(|a| a.name().eq("Ann"));
        for one in [by_key, by_name] {
            let titles = one.clone().annotate(title);
            let mut read: Vec<_> =
                titles.clone().all(site).await.unwrap().into_iter().map(|row| row.1).collect();
            read.sort_unstable();
            assert_eq!(read, ["x", "x", "y"].map(|title| Some(title.to_owned())));
            let error = titles.get(site).await.unwrap_err();
            assert!(error.is_multiple_objects() && error.to_string().ends_with(": 3"), "{error}");
            let ordered = one.clone().order_by(|a| posts(a).title().asc());
            come(site, "by one, ordered", ordered.clone(), 3).await;
            assert_eq!(ordered.get(site).await.unwrap().name, "Ann", "`get` needs no order");
            let ranked = one
                .clone()
                .annotate(|a| row_number().over(Over::new().order_by(posts(a).title().asc())));
            come(site, "by one, numbered", ranked, 3).await;
            let counted = one.annotate(|a| posts(a).id().count());
            assert_eq!(counted.get(site).await.unwrap().1, 3);
        }
    }
}

#[tokio::test]
async fn as_many_rows_are_counted_as_come() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let all = || Author::objects();
        let written = || all().filter(|a| posts(a).title().in_(["x", "z"]));
        let titles = |rows: QuerySet<Author>| rows.values(title);
        come(site, "values", titles(all()), 5).await;
        come(site, "values of what is filtered", titles(written()), 3).await;
        come(site, "distinct values", titles(all()).distinct(), 4).await;
        come(site, "values, sliced", titles(all().order_by(|a| a.id().asc())).limit(4), 4).await;
        come(site, "values, cut", titles(all().order_by(|a| a.id().asc())).offset(4), 1).await;
        let annotated = || all().annotate(title);
        come(site, "annotated", annotated(), 5).await;
        come(site, "annotated, distinct", annotated().distinct(), 4).await;
        come(site, "annotated, sliced", annotated().order_by(|a| a.id().asc()).limit(4), 4).await;
        let twice = written().annotate(|a| (title(a), posts(a).id()));
        come(site, "annotated with what is filtered", twice, 3).await;
        let beside = all().annotate(|a| (title(a), posts(a).id().count()));
        come(site, "annotated with a count too", beside, 5).await;
        let cased = all().annotate(|a| case().when(posts(a).title().eq("x"), 1).otherwise(0));
        come(site, "annotated with a case", cased, 5).await;
        let ordered = || all().order_by(|a| posts(a).title().asc());
        come(site, "ordered", ordered(), 5).await;
        come(site, "ordered the other way round", ordered().reverse(), 5).await;
        come(site, "ordered, sliced", ordered().limit(4), 4).await;
        come(site, "ordered, cut", ordered().offset(1), 4).await;
        come(site, "ordered, distinct", ordered().distinct(), 4).await;
        come(site, "ordered, distinct, sliced", ordered().distinct().limit(3), 3).await;
        let names = ordered().values(|a| a.name());
        come(site, "values, ordered", names.clone(), 5).await;
        come(site, "distinct values, ordered", names.distinct(), 4).await;
        let first = ordered().order_by(|a| a.name().asc());
        come(site, "ordered anew", first, 3).await;
        let once = written().distinct();
        come(site, "distinct, cut", once.clone().order_by(|a| a.id().asc()).offset(1), 1).await;
        come(site, "distinct, all cut off", once.order_by(|a| a.id().asc()).offset(2), 0).await;
        let groups = || all().values(|a| (a.name(), posts(a).id().count()));
        come(site, "groups", groups(), 3).await;
        come(site, "groups, ordered", groups().order_by(|a| posts(a).title().asc()), 4).await;
        let nobody = all().filter(|a| a.name().eq("Dan")).values(title);
        come(site, "nobody", nobody, 0).await;
    }
}

#[tokio::test]
async fn pages_have_all_rows() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let titles = Author::objects()
            .order_by(|a| [a.name().asc(), posts(a).id().asc()])
            .values(|a| (a.name(), title(a)));
        let pages = titles.clone().paginate(2);
        let mut rows = Vec::new();
        for number in 1..=3 {
            let page = pages.page(site, number).await.unwrap();
            assert_eq!((page.count, page.num_pages), (5, 3));
            rows.extend(page.rows);
        }
        assert_eq!(rows, titles.all(site).await.unwrap());
    }
}

/// What all rows have of a rank, and how many rows there are.
async fn ranks(site: &Site, rows: QuerySet<Post>) -> (i64, Option<i64>) {
    let counted = rows.clone().count(site).await.unwrap();
    let read = rows.clone().all(site).await.unwrap();
    assert_eq!(read.len() as u64, counted);
    let (count, sum) = rows.aggregate(site, |p| (p.id().count(), p.rank().sum())).await.unwrap();
    assert_eq!(count as u64, counted, "on {:?}", site.db().dialect());
    assert_eq!(sum.unwrap_or_default(), read.iter().map(|post| i64::from(post.rank)).sum::<i64>());
    (count, sum)
}

#[tokio::test]
async fn aggregates_are_of_the_rows_that_come() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        blog(&fixture).await;
        let rank = async |title: &str, rank: i16| {
            let rows = Post::objects().filter(|p| p.title().eq(title));
            rows.update(site, |p| p.rank().set(rank)).await.unwrap();
        };
        rank("x", 1).await;
        rank("y", 10).await;
        rank("z", 100).await;
        let titled =
            |titles: [&'static str; 2]| Post::objects().filter(move |p| p.title().in_(titles));
        let both = || titled(["x", "y"]).union_all(titled(["y", "z"]));
        assert_eq!(ranks(site, both()).await, (5, Some(122)));
        let most = both().order_by(|p| p.rank().desc()).limit(3);
        assert_eq!(ranks(site, most).await, (3, Some(120)));
        let each = titled(["x", "y"]).union(titled(["y", "z"]));
        assert_eq!(ranks(site, each.clone()).await, (4, Some(112)));
        assert_eq!(ranks(site, each.order_by(|p| p.rank().asc())).await, (4, Some(112)));
        let common = titled(["x", "y"]).intersection(titled(["y", "z"]));
        assert_eq!(ranks(site, common).await, (1, Some(10)));
        assert_eq!(ranks(site, titled(["x", "y"]).limit(0).union(titled(["z", "z"]))).await.0, 1);

        // Each post comes once for each post of its author.
        let fellows = || Post::objects().filter(|p| posts(&p.author()).rank().gte(1));
        assert_eq!(ranks(site, fellows()).await, (10, Some(136)));
        let by_rank = || fellows().order_by(|p| [p.rank().asc(), p.id().asc()]);
        assert_eq!(ranks(site, by_rank().limit(5)).await, (5, Some(5)));
        assert_eq!(ranks(site, by_rank().offset(5)).await, (5, Some(131)));
        assert_eq!(ranks(site, by_rank().distinct()).await, (4, Some(112)));
        assert_eq!(ranks(site, by_rank().distinct().limit(3)).await, (3, Some(12)));
        let ordered = || Post::objects().order_by(|p| posts(&p.author()).rank().desc());
        assert_eq!(ranks(site, ordered()).await, (10, Some(136)));
        assert_eq!(ranks(site, ordered().limit(1)).await, (1, Some(100)));
        assert_eq!(ranks(site, ordered().distinct()).await, (7, Some(124)));
        let first = Post::objects()
            .order_by(|p| [p.author().key().asc(), p.rank().desc()])
            .distinct_on(|p| p.author().key());
        if site.db().dialect() == Dialect::Postgres {
            assert_eq!(ranks(site, first).await, (2, Some(110)));
        }
        // Two posts of Ann and all posts of Ann: none is lost or multiplied beside the others.
        let two = fellows().order_by(|p| p.id().asc()).limit(2);
        let titles = two.aggregate(site, |p| posts(&p.author()).id().count()).await.unwrap();
        assert_eq!(titles, 6);
    }
}

#[tokio::test]
async fn slices_are_said_as_in_sql() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        for number in 0..9 {
            post(site, &ann, &number.to_string()).await;
        }
        let titles = async |rows: QuerySet<Post>| {
            rows.values(|p| p.title()).all(site).await.unwrap().concat()
        };
        let rows = || Post::objects().order_by(|p| p.title().asc());
        assert_eq!(titles(rows().limit(2).offset(3)).await, "34");
        assert_eq!(titles(rows().offset(3).limit(2)).await, "34");
        assert_eq!(titles(rows().offset(3).offset(4).limit(2)).await, "45", "the last one counts");
        assert_eq!(titles(rows().limit(2).limit(5)).await, "01", "the least one counts");
        assert_eq!(titles(rows().offset(3).offset(0)).await, "012345678");
    }
}
