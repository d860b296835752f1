//! `site.atomic` and `site.on_commit`, on both databases.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::db::{Dialect, Isolation, Sql};
use hulse::site::Atomic;
use hulse::{Error, Project, Result, Site};
use hulse_tests::{TestDatabase, databases};
use tokio::sync::{Barrier, Notify};

pub(crate) struct Fixture {
    pub(crate) site: Site,
    effects: Effects,
    _database: TestDatabase,
}

impl Fixture {
    pub(crate) fn is(&self, scheme: &str) -> bool {
        self._database.url.starts_with(scheme)
    }
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

pub(crate) async fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.database.url = Secret::new(&database.url);
        settings.database.connections_max = 3;
        let layer = Layer::memory(&settings.channels);
        let project = Project::new("atomic", env!("CARGO_MANIFEST_DIR"));
        let site = project.open(settings, layer).await.unwrap();
        site.db().script("CREATE TABLE note (id BIGINT PRIMARY KEY)").await.unwrap();
        fixtures.push(Fixture { site, effects: Effects::default(), _database: database });
    }
    fixtures
}

pub(crate) async fn add(site: &Site, id: i64) -> Result<u64> {
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

/// The server ends all other sessions, as it does when it restarts.
async fn end_sessions(site: &Site) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    if site.db().dialect() == Dialect::Postgres {
        site.db().fetch(Sql::raw(end)).await.unwrap();
        return;
    }
    let others = "SELECT id FROM information_schema.processlist \
                  WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    for row in site.db().fetch(Sql::raw(others)).await.unwrap() {
        let id: i64 = row.get(0).unwrap();
        // It may be gone already.
        drop(site.db().script(&format!("KILL {id}")).await);
    }
}

#[tokio::test]
async fn a_restarted_server_is_not_noticed() {
    for Fixture { site, _database, .. } in fixtures().await {
        if _database.url.starts_with("sqlite") {
            continue;
        }
        if site.db().dialect() == Dialect::Mysql {
            // It ends them without a word, so a writing statement may have run: not repeated.
            for id in 0..3 {
                site.atomic(async |site| add(&site, id).await).await.unwrap();
                end_sessions(&site).await;
                assert_eq!(ids(&site).await.len(), usize::try_from(id + 1).unwrap());
            }
            continue;
        }
        for id in 0..3 {
            // Several connections in the pool.
            let (one, two) = tokio::join!(add(&site, id * 2), add(&site, id * 2 + 1));
            one.unwrap();
            two.unwrap();
            end_sessions(&site).await;
            assert_eq!(ids(&site).await.len(), usize::try_from(id * 2 + 2).unwrap());
            site.atomic(async |site| add(&site, 100 + id).await).await.unwrap();
            let gone = format!("DELETE FROM note WHERE id = {}", 100 + id);
            site.db().execute(Sql::raw(gone)).await.unwrap();
        }
    }
}

pub(crate) async fn tally(site: &Site) -> i64 {
    let rows = site.db().fetch(Sql::raw("SELECT COUNT(*) FROM note")).await.unwrap();
    rows[0].get(0).unwrap()
}

/// Its key becomes `to`.
async fn rename(site: &Site, id: i64, to: i64) -> Result<u64> {
    site.db().execute(Sql::raw(format!("UPDATE note SET id = {to} WHERE id = {id}"))).await
}

#[tokio::test]
async fn a_durable_block_is_the_outermost() {
    for Fixture { site, _database, .. } in fixtures().await {
        let durable = Atomic { durable: true, ..Atomic::default() };
        site.atomic_with(durable, async |site| add(&site, 1).await).await.unwrap();
        let level = Atomic { isolation: Some(Isolation::Serializable), ..Atomic::default() };
        for how in [durable, level] {
            let nested: Result<u64> = site
                .atomic(async |site| {
                    let refused = site.atomic_with(how, async |site| add(&site, 2).await).await;
                    let refused = refused.unwrap_err();
                    assert!(refused.is_nested_transaction(), "{refused:?}");
                    assert!(refused.to_string().contains("nested within another"), "{refused}");
                    add(&site, 3).await
                })
                .await;
            nested.unwrap();
            site.db().execute(Sql::raw("DELETE FROM note WHERE id = 3")).await.unwrap();
        }
        assert_eq!(ids(&site).await, [1]);
    }
}

#[tokio::test]
async fn an_isolation_level_says_what_is_seen_and_ends_with_its_block() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let levels = [
            (Isolation::ReadCommitted, 1),
            (Isolation::RepeatableRead, 0),
            (Isolation::Serializable, 0),
        ];
        for (level, seen) in levels {
            let how = Atomic { isolation: Some(level), ..Atomic::default() };
            let done = site.atomic_with(how, async |inside| {
                assert_eq!(tally(&inside).await, 0);
                if fixture.is("postgres") {
                    // On SQLite it would wait for this block, on MariaDB in the strictest.
                    add(site, 1).await?;
                    assert_eq!(tally(&inside).await, seen, "{level:?}");
                }
                Ok(())
            });
            done.await.unwrap();
            site.db().execute(Sql::raw("DELETE FROM note")).await.unwrap();
        }
        if fixture.is("postgres") {
            let rows = site.db().fetch(Sql::raw("SHOW transaction_isolation")).await.unwrap();
            assert_eq!(rows[0].get::<String>(0).unwrap(), "read committed");
        }
    }
}

#[tokio::test]
async fn a_serialisation_failure_is_tried_again_as_often_as_asked() {
    for fixture in fixtures().await {
        // The others lock first: nothing fails that would have to be tried again.
        if !fixture.is("postgres") {
            continue;
        }
        let Fixture { site, effects, .. } = &fixture;
        for id in 1..=6 {
            add(site, id).await.unwrap();
        }
        // In the first `bad` tries another changes the row between reading and writing.
        let attempt = async |retries: u32, bad: u32, id: i64| {
            let tries = AtomicU32::new(0);
            let isolation = Some(Isolation::RepeatableRead);
            let how = Atomic { isolation, retries, ..Atomic::default() };
            let done = site.atomic_with(how, async |inside| {
                effects.ask(&inside, "asked").await;
                let again = tries.fetch_add(1, Ordering::Relaxed) < bad;
                tally(&inside).await;
                if again {
                    rename(site, id, id + 100).await?;
                    rename(site, id + 100, id).await?;
                }
                rename(&inside, id, id + 1000).await
            });
            (done.await, tries.into_inner())
        };
        let (done, tries) = attempt(0, 1, 1).await;
        assert!(done.unwrap_err().is_serialization_failure() && tries == 1);
        let (done, tries) = attempt(2, 2, 2).await;
        assert_eq!((done.unwrap(), tries), (1, 3));
        assert_eq!(effects.take(), ["asked"], "only of the try that lasts");
        let (done, tries) = attempt(2, 3, 3).await;
        assert!(done.unwrap_err().is_serialization_failure() && tries == 3);
        assert_eq!(ids(site).await, [1, 3, 4, 5, 6, 1002]);
        assert!(effects.take().is_empty());
        let other = site.atomic_with(Atomic { retries: 5, ..Atomic::default() }, async |site| {
            effects.ask(&site, "never").await;
            add(&site, 4).await
        });
        assert!(other.await.unwrap_err().is_unique_violation(), "other errors are not tried again");
    }
}

#[tokio::test]
async fn of_two_in_a_deadlock_both_get_through_with_retries() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        add(site, 1).await.unwrap();
        add(site, 2).await.unwrap();
        // SQLite lets only one begin, so there they cannot meet.
        let meet = Barrier::new(if fixture.is("sqlite") { 1 } else { 2 });
        let tries = AtomicU32::new(0);
        let both = async |first: i64, second: i64| {
            let own = AtomicU32::new(0);
            let how = Atomic { retries: 5, ..Atomic::default() };
            site.atomic_with(how, async |site| {
                tries.fetch_add(1, Ordering::Relaxed);
                rename(&site, first, first).await?;
                if own.fetch_add(1, Ordering::Relaxed) == 0 {
                    meet.wait().await;
                }
                rename(&site, second, second).await
            })
            .await
        };
        let (one, two) = tokio::join!(both(1, 2), both(2, 1));
        assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
        assert!(tries.into_inner() <= 4);
    }
}

#[tokio::test]
async fn blocks_with_options_run_in_spawned_tasks() {
    for Fixture { site, _database, .. } in fixtures().await {
        let inner = site.clone();
        let task = tokio::spawn(async move {
            let name = String::from("owned by the task");
            let how = Atomic { durable: true, retries: 1, ..Atomic::default() };
            inner.atomic_with(how, async |site| add(&site, name.len() as i64).await).await
        });
        task.await.unwrap().unwrap();
        assert_eq!(ids(&site).await, [17]);
    }
}

#[tokio::test]
async fn a_robust_effect_fails_alone() {
    for Fixture { site, effects, _database } in fixtures().await {
        site.atomic(async |site| {
            add(&site, 1).await?;
            site.on_commit_robust(|_| async { Err(Error::new("nobody hears")) }).await?;
            effects.ask(&site, "still").await;
            let undone: Result<()> = site
                .atomic(async |site| {
                    site.on_commit_robust(|_| async { unreachable!("rolled back") }).await?;
                    Err(Error::new("no"))
                })
                .await;
            assert!(undone.is_err());
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(effects.take(), ["still"]);
        site.on_commit_robust(|_| async { Err(Error::new("nor outside")) }).await.unwrap();
        let plain = site.on_commit(|_| async { Err(Error::new("this one does")) }).await;
        assert_eq!(plain.unwrap_err().to_string(), "this one does");
        let leaked = site.atomic(async |site| Ok(site)).await.unwrap();
        let late = leaked.on_commit_robust(|_| async { Ok(()) }).await;
        assert!(late.unwrap_err().is_transaction_closed());
    }
}

#[tokio::test]
async fn a_block_may_ask_to_be_rolled_back() {
    for Fixture { site, effects, _database } in fixtures().await {
        assert!(site.set_rollback().unwrap_err().is_transaction_closed());
        let seen = site
            .atomic(async |site| {
                add(&site, 1).await?;
                let inner = site
                    .atomic(async |site| {
                        add(&site, 2).await?;
                        effects.ask(&site, "never").await;
                        site.set_rollback()?;
                        Ok(ids(&site).await)
                    })
                    .await?;
                effects.ask(&site, "outer").await;
                Ok(inner)
            })
            .await
            .unwrap();
        assert_eq!((seen, ids(&site).await), (vec![1, 2], vec![1]));
        assert_eq!(effects.take(), ["outer"]);
        let dry = site.atomic(async |site| {
            add(&site, 3).await?;
            effects.ask(&site, "never").await;
            site.set_rollback()
        });
        dry.await.unwrap();
        assert_eq!(ids(&site).await, [1]);
        assert!(effects.take().is_empty());
    }
}
