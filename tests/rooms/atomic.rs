//! `site.atomic` and `site.on_commit`, on both databases.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::db::Sql;
use hulse::{Error, Project, Result, Site};
use hulse_tests::{TestDatabase, databases};
use tokio::sync::Notify;

struct Fixture {
    site: Site,
    effects: Effects,
    _database: TestDatabase,
}

/// What ran after a commit, in order.
#[derive(Clone, Default)]
struct Effects(Arc<Mutex<Vec<&'static str>>>);

impl Effects {
    async fn ask(&self, site: &Site, word: &'static str) {
        let list = Arc::clone(&self.0);
        let effect = move |site: Site| async move {
            assert!(!site.in_transaction());
            list.lock().unwrap().push(word);
            Ok(())
        };
        site.on_commit(effect).await.unwrap();
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.database.url = Secret::new(&database.url);
        let layer = Layer::memory(&settings.channels);
        let project = Project::new("atomic", env!("CARGO_MANIFEST_DIR"));
        let site = project.open(settings, layer).await.unwrap();
        site.db().script("CREATE TABLE note (id BIGINT PRIMARY KEY)").await.unwrap();
        fixtures.push(Fixture { site, effects: Effects::default(), _database: database });
    }
    fixtures
}

async fn add(site: &Site, id: i64) -> Result<u64> {
    site.db().execute(Sql::raw(format!("INSERT INTO note VALUES ({id})"))).await
}

async fn ids(site: &Site) -> Vec<i64> {
    let rows = site.db().fetch(Sql::raw("SELECT id FROM note ORDER BY id")).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn blocks_nest_and_their_effects_follow_the_outermost_commit() {
    for Fixture { site, effects, _database } in fixtures().await {
        effects.ask(&site, "at once").await;
        assert_eq!(effects.take(), ["at once"]);
        let value = site
            .atomic(async |site| {
                add(&site, 1).await?;
                effects.ask(&site, "first").await;
                let undone: Result<()> = site
                    .atomic(async |site| {
                        add(&site, 2).await?;
                        effects.ask(&site, "never").await;
                        site.atomic(async |site| {
                            effects.ask(&site, "never either").await;
                            add(&site, 3).await
                        })
                        .await?;
                        Err(Error::new("no"))
                    })
                    .await;
                assert_eq!(undone.unwrap_err().to_string(), "no");
                site.atomic(async |site| {
                    effects.ask(&site, "second").await;
                    add(&site, 4).await
                })
                .await?;
                effects.ask(&site, "third").await;
                assert!(effects.take().is_empty(), "not before the commit");
                Ok(7)
            })
            .await
            .unwrap();
        assert_eq!(value, 7);
        assert_eq!(effects.take(), ["first", "second", "third"]);
        assert_eq!(ids(&site).await, [1, 4]);
    }
}

#[tokio::test]
async fn an_error_undoes_everything_and_tells_nobody() {
    for Fixture { site, effects, _database } in fixtures().await {
        let undone: Result<()> = site
            .atomic(async |site| {
                effects.ask(&site, "never").await;
                site.atomic(async |site| add(&site, 1).await).await?;
                Err(Error::new("no"))
            })
            .await;
        assert!(undone.is_err());
        assert!(ids(&site).await.is_empty() && effects.take().is_empty());
    }
}

#[tokio::test]
async fn a_panic_undoes_everything() {
    for Fixture { site, effects, _database } in fixtures().await {
        let (inner, asked) = (site.clone(), effects.clone());
        let task = tokio::spawn(async move {
            inner
                .atomic(async |site| -> Result<()> {
                    add(&site, 1).await?;
                    asked.ask(&site, "never").await;
                    panic!("on purpose");
                })
                .await
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(ids(&site).await.is_empty() && effects.take().is_empty());
        add(&site, 2).await.unwrap();
    }
}

#[tokio::test]
async fn dropping_the_future_undoes_everything() {
    for Fixture { site, effects, _database } in fixtures().await {
        let reached = Notify::new();
        let block = site.atomic(async |site| -> Result<()> {
            add(&site, 1).await?;
            effects.ask(&site, "never").await;
            reached.notify_one();
            std::future::pending().await
        });
        tokio::select! {
            _ = block => unreachable!("it never ends"),
            () = reached.notified() => {}
        }
        assert!(ids(&site).await.is_empty() && effects.take().is_empty());
        add(&site, 2).await.unwrap();
    }
}

#[tokio::test]
async fn an_inner_block_can_be_given_up() {
    for Fixture { site, effects, _database } in fixtures().await {
        site.atomic(async |site| {
            let reached = Notify::new();
            let block = site.atomic(async |site| -> Result<()> {
                add(&site, 1).await?;
                effects.ask(&site, "never").await;
                reached.notify_one();
                std::future::pending().await
            });
            tokio::select! {
                _ = block => unreachable!("it never ends"),
                () = reached.notified() => {}
            }
            effects.ask(&site, "kept").await;
            add(&site, 2).await
        })
        .await
        .unwrap();
        assert_eq!(ids(&site).await, [2]);
        assert_eq!(effects.take(), ["kept"]);
    }
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_has_its_effects() {
    for Fixture { site, effects, _database } in fixtures().await {
        let (begun, go, done) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let block = site.atomic(async |site| {
            let (begun, go, done) = (begun.clone(), go.clone(), done.clone());
            add(&site, 1).await?;
            site.on_commit(move |_| async move {
                begun.notify_one();
                go.notified().await;
                Ok(())
            })
            .await?;
            effects.ask(&site, "second").await;
            site.on_commit(move |_| async move {
                done.notify_one();
                Ok(())
            })
            .await
        });
        tokio::select! {
            _ = block => unreachable!("its first effect waits"),
            () = begun.notified() => {}
        }
        go.notify_one();
        tokio::time::timeout(Duration::from_secs(10), done.notified()).await.unwrap();
        assert_eq!(effects.take(), ["second"]);
        assert_eq!(ids(&site).await, [1]);
    }
}

#[tokio::test]
async fn a_failing_effect_stops_no_other() {
    for Fixture { site, effects, _database } in fixtures().await {
        let error = site
            .atomic(async |site| {
                add(&site, 1).await?;
                site.on_commit(|_| async { Err(Error::new("lost")) }).await?;
                effects.ask(&site, "still").await;
                Ok(())
            })
            .await
            .unwrap_err();
        assert!(error.is_after_commit() && error.to_string().contains("lost"), "{error}");
        assert_eq!(effects.take(), ["still"]);
        assert_eq!(ids(&site).await, [1]);
    }
}

#[tokio::test]
async fn a_site_outliving_its_block_is_told_so() {
    for Fixture { site, _database, .. } in fixtures().await {
        let leaked = site.atomic(async |site| Ok(site)).await.unwrap();
        assert!(add(&leaked, 1).await.unwrap_err().is_transaction_closed());
        let late = leaked.on_commit(|_| async { Ok(()) }).await;
        assert!(late.unwrap_err().is_transaction_closed());
        assert!(leaked.atomic(async |_| Ok(())).await.unwrap_err().is_transaction_closed());
    }
}

#[tokio::test]
async fn a_refused_row_may_be_caught_in_an_inner_block() {
    for Fixture { site, _database, .. } in fixtures().await {
        site.atomic(async |site| {
            add(&site, 1).await?;
            let twice = site.atomic(async |site| add(&site, 1).await).await.unwrap_err();
            assert!(twice.is_unique_violation());
            add(&site, 2).await
        })
        .await
        .unwrap();
        let spoilt: Result<()> = site
            .atomic(async |site| {
                add(&site, 3).await?;
                add(&site, 1).await.unwrap_err();
                Ok(())
            })
            .await;
        assert!(spoilt.unwrap_err().is_transaction_closed());
        assert_eq!(ids(&site).await, [1, 2]);
    }
}

/// On PostgreSQL the server ends all sessions, as it does when it restarts.
#[tokio::test]
async fn a_restarted_server_is_not_noticed() {
    for Fixture { site, _database, .. } in fixtures().await {
        if _database.url.starts_with("sqlite") {
            continue;
        }
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for id in 0..3 {
            // Several connections in the pool.
            let (one, two) = tokio::join!(add(&site, id * 2), add(&site, id * 2 + 1));
            one.unwrap();
            two.unwrap();
            site.db().fetch(Sql::raw(end)).await.unwrap();
            assert_eq!(ids(&site).await.len(), usize::try_from(id * 2 + 2).unwrap());
            site.atomic(async |site| add(&site, 100 + id).await).await.unwrap();
            let gone = format!("DELETE FROM note WHERE id = {}", 100 + id);
            site.db().execute(Sql::raw(gone)).await.unwrap();
        }
    }
}
