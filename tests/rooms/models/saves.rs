//! Saving, creating, refreshing, and the hooks around it.

use std::sync::atomic::{AtomicUsize, Ordering};

use hulse::models::{Change, Hooks, Id, Model};
use hulse::{Error, Result, Site};

use super::{Author, Post, Status, Ticket, author, fixtures, open, post};

#[tokio::test]
async fn a_row_gets_its_key_and_times_at_the_first_save() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let mut one = Post { title: "one".into(), author: (&ann).into(), ..Default::default() };
        one.save(site).await.unwrap();
        assert!(one.id.is_set());
        let (created, changed) = (one.created, one.changed);
        assert_eq!(created, changed);

        one.title = "two".into();
        one.save(site).await.unwrap();
        assert_eq!(one.created, created);
        assert!(one.changed >= changed);
        assert_eq!(Post::objects().count(site).await.unwrap(), 1);

        let mut stale = Post::objects().get(site).await.unwrap();
        assert_eq!((stale.title.as_str(), stale.changed), ("two", one.changed));
        one.title = "three".into();
        one.save(site).await.unwrap();
        stale.refresh(site).await.unwrap();
        assert_eq!(stale.title, "three");
        one.delete(site).await.unwrap();
        assert!(!one.id.is_set());
        assert!(stale.refresh(site).await.unwrap_err().is_does_not_exist());
        assert!(one.delete(site).await.unwrap_err().is_field());
    }
}

#[tokio::test]
async fn a_row_with_a_chosen_key_is_updated_or_else_inserted() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut chosen = Author { id: 70.into(), name: "Ann".into(), ..Default::default() };
        chosen.save(site).await.unwrap();
        let mut same = Author { id: 70.into(), name: "Anna".into(), ..Default::default() };
        same.save(site).await.unwrap();
        let all = Author::objects().all(site).await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].name, "Anna");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_fields_name() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let error = Post::default().save(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("blog.Post.author"), "{error}");
        let unsaved = Author::default();
        let error = Post { author: (&unsaved).into(), ..Default::default() }.save(site).await;
        assert!(error.unwrap_err().to_string().contains("needs a saved blog.Author"));
        let title = "é".repeat(21);
        let mut long = Post { title, author: (&ann).into(), ..Default::default() };
        let error = long.save(site).await.unwrap_err();
        assert_eq!(error.to_string(), "blog.Post.title has 21 characters, at most 20 fit");
        long.title = "é".repeat(20);
        long.save(site).await.unwrap();
        let error = Author::create(site, Author { name: "Ann".into(), ..Default::default() }).await;
        assert!(error.unwrap_err().is_unique_violation());
        let nul = Author { name: "a\0b".into(), ..Default::default() };
        assert!(Author::create(site, nul).await.unwrap_err().is_field());
        let nowhere = hulse::models::ForeignKey::to(999);
        let error = Post { author: nowhere, ..Default::default() }.save(site).await.unwrap_err();
        assert!(error.is_integrity() && !error.is_unique_violation(), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_choice_in_the_database_is_named() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let mut one = post(site, &ann, "one").await;
        one.status = Status::Published;
        one.save(site).await.unwrap();
        site.db().script("UPDATE blog_post SET status = 'gone'").await.unwrap();
        let error = Post::objects().get(site).await.unwrap_err().to_string();
        assert!(error.contains("blog.Post.status") && error.contains("\"gone\""), "{error}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_the_list_and_nothing_after_it() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        for title in ["one", "two", "three"] {
            post(site, &ann, title).await;
        }
        site.db().script("UPDATE blog_post SET status = 'gone' WHERE title = 'two'").await.unwrap();
        let posts = || Post::objects().order_by(|p| p.id().asc());
        for _ in 0..3 {
            let error = posts().all(site).await.unwrap_err().to_string();
            assert!(error.contains("\"gone\""), "{error}");
            assert_eq!(posts().count(site).await.unwrap(), 3);
        }
        assert_eq!(posts().limit(1).all(site).await.unwrap()[0].title, "one");
    }
}

#[tokio::test]
async fn the_key_of_a_new_row_is_its_own_whatever_a_trigger_inserts() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        if site.db().dialect() == hulse::db::Dialect::Sqlite {
            let trigger = "CREATE TABLE seen (id INTEGER PRIMARY KEY); \
                           CREATE TRIGGER seeing AFTER INSERT ON blog_author \
                           BEGIN INSERT INTO seen VALUES (NEW.id + 1000); END";
            site.db().script(trigger).await.unwrap();
        }
        for name in ["Ann", "Bob"] {
            let made = author(site, name).await;
            let found = Author::objects().filter(|a| a.name().eq(name)).get(site).await.unwrap();
            assert_eq!(made.id, found.id);
        }
    }
}

#[tokio::test]
async fn get_or_create_makes_one() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = || Author { name: "Ann".into(), ..Default::default() };
        let named = || Author::objects().filter(|a| a.name().eq("Ann"));
        let (first, made) = named().get_or_create(site, ann()).await.unwrap();
        assert!(made);
        let (second, made) = named().get_or_create(site, ann()).await.unwrap();
        assert!(!made && first.id == second.id);
        // Somebody else is faster: the filter sees no row, the INSERT is refused.
        site.atomic(async |site| {
            let nobody = Author::objects().filter(|a| a.name().eq("Nobody"));
            let error = nobody.get_or_create(&site, ann()).await.unwrap_err();
            assert!(error.is_unique_violation());
            Author::create(&site, Author { name: "Bob".into(), ..Default::default() }).await
        })
        .await
        .unwrap();
        assert_eq!(Author::objects().count(site).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn many_make_one_at_once() {
    for fixture in fixtures().await {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let site = open(&fixture.settings).await;
            tasks.spawn(async move {
                let ann = Author { name: "Ann".into(), ..Default::default() };
                let named = Author::objects().filter(|a| a.name().eq("Ann"));
                named.get_or_create(&site, ann).await.unwrap().1
            });
        }
        let made = tasks.join_all().await;
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
    }
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog", hooks)]
pub(crate) struct Hooked {
    pub id: Id,
    #[field(max_length = 20)]
    pub word: String,
    #[field(max_length = 200)]
    pub log: String,
}

/// How often each test's row was committed, by its word's length: tests run side by side.
static COMMITTED: [AtomicUsize; 20] = [const { AtomicUsize::new(0) }; 20];

impl Hooks for Hooked {
    async fn before_save(&mut self, site: &Site) -> Result<()> {
        assert!(site.in_transaction());
        self.log.push_str(if self.id.is_set() { "u" } else { "c" });
        Ok(())
    }

    async fn after_save(&self, site: &Site, change: Change) -> Result<()> {
        assert!(self.id.is_set() && site.in_transaction());
        assert_eq!(change == Change::Created, self.log == "c");
        if self.word == "bad" { Err(Error::new("no such word")) } else { Ok(()) }
    }

    async fn after_commit(&self, site: &Site, change: Change) -> Result<()> {
        assert!(!site.in_transaction() && change != Change::Deleted);
        COMMITTED[self.word.len()].fetch_add(1, Ordering::SeqCst);
        if self.word == "late" { Err(Error::new("too late")) } else { Ok(()) }
    }
}

fn committed(word: &str) -> usize {
    COMMITTED[word.len()].load(Ordering::SeqCst)
}

#[tokio::test]
async fn hooks_run_around_a_save_and_after_its_commit() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let before = committed("seventh");
        let mut row = Hooked { word: "seventh".into(), ..Default::default() };
        row.save(site).await.unwrap();
        row.save(site).await.unwrap();
        assert_eq!((row.log.as_str(), committed("seventh")), ("cu", before + 2));

        site.atomic(async |site| {
            row.save(&site).await?;
            assert_eq!(committed("seventh"), before + 2, "waits for the commit");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(committed("seventh"), before + 3);

        let undone: Result<()> = site
            .atomic(async |site| {
                row.save(&site).await?;
                Err(Error::new("no"))
            })
            .await;
        assert!(undone.is_err());
        assert_eq!(committed("seventh"), before + 3, "a rolled back save tells nobody");
    }
}

#[tokio::test]
async fn a_failing_hook_undoes_the_save() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let error = Hooked::create(site, Hooked { word: "bad".into(), ..Default::default() }).await;
        assert_eq!(error.unwrap_err().to_string(), "no such word");
        assert_eq!(Hooked::objects().count(site).await.unwrap(), 0);
        let late = Hooked::create(site, Hooked { word: "late".into(), ..Default::default() }).await;
        assert!(late.unwrap_err().is_after_commit());
        assert_eq!(Hooked::objects().count(site).await.unwrap(), 1, "the row is there");
    }
}

#[tokio::test]
async fn a_model_of_nothing_but_a_key_can_be_saved_again() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut ticket = Ticket { code: "A".into(), seats: 0 };
        ticket.save(site).await.unwrap();
        ticket.save(site).await.unwrap();
        assert_eq!(Ticket::objects().count(site).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn only_the_named_fields_are_saved_or_read_again() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let mut one = post(site, &ann, "one").await;
        let changed = one.changed;
        one.title = "two".into();
        one.body = "text".into();
        one.rank = 7;
        one.save_only(site, |p| (p.title(), p.body())).await.unwrap();
        assert_eq!(one.changed, changed, "`auto_now` was not named");
        let read = Post::objects().get(site).await.unwrap();
        assert_eq!((read.title.as_str(), read.body.as_str(), read.rank), ("two", "text", -1));
        assert_eq!(read.changed, changed);
        one.save_only(site, |p| (p.author(), p.changed())).await.unwrap();
        assert!(one.changed >= changed && one.changed > one.created);

        Post::objects().update(site, |p| [p.rank().set(9), p.live().set(false)]).await.unwrap();
        one.title = "mine".into();
        one.refresh_only(site, |p| p.rank()).await.unwrap();
        assert_eq!((one.rank, one.live, one.title.as_str()), (9, true, "mine"));

        let error = one.save_only(site, |p| p.author().name()).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("another model's"), "{error}");
        let error = one.save_only(site, |p| p.id()).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("is the key"), "{error}");
        let error = one.save_only(site, |p| p.rank() + 1_i16).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("nothing computed"), "{error}");
        one.clone().delete(site).await.unwrap();
        let error = one.save_only(site, |p| p.title()).await.unwrap_err();
        assert!(error.is_does_not_exist(), "{error}");
        assert!(one.refresh_only(site, |p| p.title()).await.unwrap_err().is_does_not_exist());
        let error = Post::default().save_only(site, |p| p.title()).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("not saved"), "{error}");
    }
}

#[tokio::test]
async fn a_save_can_be_an_insert_or_an_update_and_nothing_else() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut ticket = Ticket { code: "A".into(), seats: 1 };
        let error = hulse::models::force_update(&mut ticket, site).await.unwrap_err();
        assert!(error.is_does_not_exist() && error.to_string().contains("blog.Ticket"), "{error}");
        ticket.save(site).await.unwrap();
        ticket.seats = 2;
        hulse::models::force_update(&mut ticket, site).await.unwrap();
        assert!(Ticket::create(site, ticket).await.unwrap_err().is_unique_violation());
        assert_eq!(Ticket::objects().get(site).await.unwrap().seats, 2);
        let unsaved = hulse::models::force_update(&mut Author::default(), site).await;
        assert!(unsaved.unwrap_err().is_field());
    }
}

#[tokio::test]
async fn a_row_without_its_key_is_saved_as_a_copy() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let one = post(site, &ann, "one").await;
        let mut copy = Post { id: Id::default(), title: "copy".into(), ..one.clone() };
        copy.save(site).await.unwrap();
        assert_ne!(copy.id, one.id);
        assert_eq!(Post::objects().count(site).await.unwrap(), 2);
    }
}
