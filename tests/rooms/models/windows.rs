//! Windows: a row's place among its like, its neighbours, sums that run along.

use hulse::Site;
use hulse::models::Over;
use hulse::models::functions::{dense_rank, rank, row_number};

use super::{Post, author, fixtures, post};

/// Two writers' posts with their stars.
async fn stars(site: &Site) {
    for (name, stars) in [("Ann", vec![3, 1, 3, 2]), ("Bob", vec![5, 4])] {
        let writer = author(site, name).await;
        for (at, stars) in stars.into_iter().enumerate() {
            let mut made = post(site, &writer, &format!("{name}{at}")).await;
            made.stars = Some(stars);
            made.save(site).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_row_has_a_place_among_its_like() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        stars(site).await;
        let places = Post::objects().order_by(|p| p.title().asc()).values(|p| {
            let of_writer = || Over::new().partition_by(p.author().name());
            let best = || of_writer().order_by(p.stars().desc());
            let exact = of_writer().order_by([p.stars().desc(), p.id().asc()]);
            let places = (row_number().over(exact), rank().over(best()), dense_rank().over(best()));
            (p.title(), places)
        });
        let expected = [
            ("Ann0", (1, 1, 1)),
            ("Ann1", (4, 4, 3)),
            ("Ann2", (2, 1, 1)),
            ("Ann3", (3, 3, 2)),
            ("Bob0", (1, 1, 1)),
            ("Bob1", (2, 2, 2)),
        ];
        let expected = expected.map(|(title, places)| (title.to_owned(), places));
        assert_eq!(places.clone().all(site).await.unwrap(), expected);
        assert_eq!(places.count(site).await.unwrap(), 6);
        let by_place = Post::objects().filter(|p| p.author().name().eq("Ann")).order_by(|p| {
            [rank().over(Over::new().order_by(p.stars().asc())).desc(), p.id().asc()]
        });
        let by_place = by_place.values(|p| p.title()).all(site).await.unwrap();
        assert_eq!(by_place, ["Ann0", "Ann2", "Ann3", "Ann1"]);
    }
}

#[tokio::test]
async fn a_row_sees_its_neighbours_and_what_has_been_summed_up() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        stars(site).await;
        let rows = Post::objects().filter(|p| p.author().name().eq("Ann"));
        let rows = rows.order_by(|p| p.id().asc()).annotate(|p| {
            let along = || Over::new().partition_by(p.author().id()).order_by(p.id().asc());
            let many = p.stars().count().filter(p.stars().gte(2));
            (
                (p.stars().lag(1).over(along()), p.stars().lead(2).over(along())),
                (p.stars().sum().over(along()), p.stars().avg().over(Over::new())),
                many.over(Over::new()),
            )
        });
        let found = rows.all(site).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|(_, beside)| beside).collect();
        let average = Some(2.25);
        let expected = [
            ((None, Some(3)), (Some(3), average), 3),
            ((Some(3), Some(2)), (Some(4), average), 3),
            ((Some(1), None), (Some(7), average), 3),
            ((Some(3), None), (Some(9), average), 3),
        ];
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_window_belongs_neither_into_a_filter_nor_behind_a_column() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let by = |p: &super::PostColumns| row_number().over(Over::new().order_by(p.id().asc()));
        let error = Post::objects().filter(|p| by(p).lte(3)).all(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("before there are windows"));
        let error = Post::objects().values(|p| p.stars().over(Over::new())).all(site).await;
        assert!(error.unwrap_err().to_string().contains("belongs behind an aggregate"));
    }
}
