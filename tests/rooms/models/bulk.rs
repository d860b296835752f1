//! Many rows at once.

use std::time::Instant;

use hulse::models::{Bulk, Conflicts, Id, Meta, Model, PostSave};
use hulse::{App, Project, Result, Site};

use super::saves::Hooked;
use super::tables::{Migrated, migrated, open};
use super::{Author, Post, Ticket, author, fixtures};

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "stock", unique(shop, code))]
struct Item {
    id: Id,
    shop: i32,
    #[field(max_length = 12)]
    code: String,
    #[field(default = 1)]
    seats: i16,
    note: Option<i64>,
}

struct Stock;

impl App for Stock {
    fn label(&self) -> &'static str {
        "stock"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Item::meta()]
    }
}

fn project() -> Project {
    Project::new("stock", env!("CARGO_MANIFEST_DIR")).install(Stock)
}

fn item(shop: i32, code: &str, seats: i16) -> Item {
    Item { shop, code: code.into(), seats, ..Default::default() }
}

async fn bulk(site: &Site, rows: Vec<Item>, conflicts: Conflicts<Item>) -> Result<Vec<Item>> {
    Item::objects().bulk_create(site, rows, Bulk { conflicts, ..Bulk::default() }).await
}

#[tokio::test]
async fn many_rows_get_their_keys_in_order_and_their_times() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let row =
            |n: usize| Post { title: n.to_string(), author: (&ann).into(), ..Default::default() };
        let mut rows: Vec<_> = (0..2500).map(row).collect();
        rows[7].id = 90_000.into();
        let log = site.database().record();
        let written = Post::objects().bulk_create(site, rows, Bulk::default()).await.unwrap();
        assert_eq!(log.queries().len(), 4, "one row has a key, the others go in three");
        drop(log);
        assert!(written[0].created == written[2499].changed && written[0].created.timestamp() > 0);
        let read = Post::objects().order_by(|p| p.id().asc()).all(site).await.unwrap();
        assert_eq!(read.len(), 2500);
        for post in read {
            let number: usize = post.title.parse().unwrap();
            assert_eq!(written[number].id, post.id);
        }
    }
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named_and_nothing_is_written() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let name = |name: String| Author { name, ..Default::default() };
        let mut rows: Vec<_> = (0..1500).map(|n| name(n.to_string())).collect();
        rows[1400].name = "x".repeat(61);
        let error = Author::objects().bulk_create(site, rows.clone(), Bulk::default()).await;
        let words = error.unwrap_err().to_string();
        assert_eq!(words, "row 1400: blog.Author.name has 61 characters, at most 60 fit");
        rows[1400].name = "7".into();
        let error = Author::objects().bulk_create(site, rows, Bulk::default()).await.unwrap_err();
        assert!(error.is_unique_violation(), "{error}");
        assert_eq!(Author::objects().count(site).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn conflicts_are_refused_ignored_or_update_what_is_there() {
    for Migrated { site, .. } in &migrated(project).await {
        let first = vec![item(1, "a", 1), item(1, "b", 2)];
        let first = bulk(site, first, Conflicts::Refuse).await.unwrap();
        let more = || vec![item(1, "b", 20), item(1, "c", 30), item(2, "b", 40)];
        assert!(bulk(site, more(), Conflicts::Refuse).await.unwrap_err().is_unique_violation());

        let ignored = bulk(site, more(), Conflicts::Ignore).await.unwrap();
        assert!(ignored.iter().all(|item| !item.id.is_set()), "nobody knows which were written");
        assert_eq!(Item::objects().count(site).await.unwrap(), 4);

        let mut rows = more();
        rows[0].note = Some(5);
        let conflicts = Conflicts::<Item>::update(|i| (i.shop(), i.code()), |i| i.seats());
        let updated = bulk(site, rows, conflicts).await.unwrap();
        assert_eq!(updated[0].id, first[1].id);
        let there = Item::objects().filter(|i| i.id().eq(first[1].id)).get(site).await.unwrap();
        assert_eq!((there.seats, there.note), (20, None), "only what was named");
        assert_eq!(Item::objects().count(site).await.unwrap(), 4);

        let conflicts = Conflicts::<Item>::update(|i| i.code(), |i| i.id());
        let error = bulk(site, more(), conflicts).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("stock.Item.id"), "{error}");
    }
}

#[tokio::test]
async fn a_key_of_ones_own_can_conflict_too() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ticket = |code: &str, seats| Ticket { code: code.into(), seats };
        let rows = vec![ticket("a", 1), ticket("b", 2)];
        Ticket::objects().bulk_create(site, rows, Bulk::default()).await.unwrap();
        let conflicts = Conflicts::<Ticket>::update(|t| t.code(), |t| t.seats());
        let rows = vec![ticket("b", 3), ticket("c", 4)];
        let bulk = Bulk { conflicts, batch_size: 1 };
        Ticket::objects().bulk_create(site, rows, bulk).await.unwrap();
        let all = Ticket::objects().order_by(|t| t.code().asc()).all(site).await.unwrap();
        assert_eq!(all, [ticket("a", 1), ticket("b", 3), ticket("c", 4)]);
    }
}

#[tokio::test]
async fn named_fields_of_many_rows_are_updated() {
    for Migrated { site, .. } in &migrated(project).await {
        let rows = (0..2100).map(|n| item(n, "x", 1)).collect();
        let mut rows = bulk(site, rows, Conflicts::Refuse).await.unwrap();
        for (number, row) in rows.iter_mut().enumerate() {
            row.seats = i16::try_from(number).unwrap();
            row.note = (number % 2 == 0).then_some(number as i64 * 5_000_000_000);
            row.code = "not asked for".into();
        }
        let touched = Item::objects().bulk_update(site, &rows, |i| (i.seats(), i.note())).await;
        assert_eq!(touched.unwrap(), 2100);
        let read = Item::objects().order_by(|i| i.id().asc()).all(site).await.unwrap();
        for (read, row) in read.iter().zip(&rows) {
            assert_eq!((read.seats, read.note, read.code.as_str()), (row.seats, row.note, "x"));
        }
        rows[2].id = Id::default();
        let error = Item::objects().bulk_update(site, &rows, |i| i.seats()).await.unwrap_err();
        assert!(error.is_field() && error.to_string().starts_with("row 2: "), "{error}");
        rows[2].id = 999_999.into();
        let touched = Item::objects().bulk_update(site, &rows[..3], |i| i.seats()).await.unwrap();
        assert_eq!(touched, 2, "one of three is not there");
        let none = Item::objects().bulk_update(site, &[], |i| i.seats()).await.unwrap();
        assert_eq!(none, 0);
    }
}

#[tokio::test]
async fn nobody_is_called_for_rows_in_bulk() {
    for fixture in fixtures().await {
        let project = Project::new("blog", env!("CARGO_MANIFEST_DIR")).install(super::Blog);
        let project = project.on(|_, _: std::sync::Arc<PostSave<Hooked>>| async {
            Err(hulse::Error::new("a bulk operation sends no signal"))
        });
        let site = &open(&project, &fixture.settings).await;
        let rows = vec![Hooked { word: "bad".into(), ..Default::default() }];
        let rows = Hooked::objects().bulk_create(site, rows, Bulk::default()).await.unwrap();
        Hooked::objects().bulk_update(site, &rows, |h| h.word()).await.unwrap();
        assert_eq!(Hooked::objects().get(site).await.unwrap().log, "");
    }
}

/// A view may await it.
#[tokio::test]
async fn bulk_work_may_move_between_threads() {
    for Migrated { site, .. } in migrated(project).await {
        let rows = vec![item(1, "a", 1)];
        let work = async move {
            let rows = bulk(&site, rows, Conflicts::Refuse).await.unwrap();
            Item::objects().bulk_update(&site, &rows, |i| i.seats()).await.unwrap()
        };
        assert_eq!(tokio::spawn(work).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_hundred_thousand_rows_take_seconds() {
    let rows = if std::env::var("HULSE_TEST_LONG").is_ok() { 100_000 } else { 5_000 };
    for Migrated { site, .. } in &migrated(project).await {
        let begun = Instant::now();
        let new = (0..rows).map(|n| item(n, "code", 1)).collect();
        let mut all = bulk(site, new, Conflicts::Refuse).await.unwrap();
        let created = begun.elapsed();
        all.iter_mut().for_each(|item| item.seats = 2);
        let begun = Instant::now();
        let fields = Item::objects().bulk_update(site, &all, |i| (i.seats(), i.code())).await;
        assert_eq!(fields.unwrap(), all.len() as u64);
        println!(
            "{:?}: {rows} created {created:?}, updated {:?}",
            site.db().dialect(),
            begun.elapsed()
        );
        let begun = Instant::now();
        assert_eq!(Item::objects().delete(site).await.unwrap().total, all.len() as u64);
        println!("deleted in {:?}", begun.elapsed());
    }
}
