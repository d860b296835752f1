//! Transactions given up wherever they wait, on every database.

use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt;
use hulse::db::{Database, Isolation, Sql};
use hulse::site::Atomic;
use hulse::{Error, Result, Site};

use super::atomic::{Fixture, add, fixtures, tally};

/// Polls `work` at most `polls` times and then drops it, whatever it is waiting for.
async fn given_up_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Every kind of thing one does in a transaction; keeps rows `from + 1` to `from + 3`.
async fn busy(site: &Site, from: i64) -> Result<()> {
    let isolation = Some(Isolation::RepeatableRead);
    let how = Atomic { isolation, retries: 1, ..Atomic::default() };
    site.atomic_with(how, async |site| {
        add(&site, from + 1).await?;
        site.atomic(async |site| add(&site, from + 2).await).await?;
        let undone: Result<()> = site
            .atomic(async |site| {
                add(&site, from + 4).await?;
                Err(Error::new("no"))
            })
            .await;
        assert!(undone.is_err());
        let refused = site.atomic(async |site| add(&site, from + 1).await).await;
        assert!(refused.unwrap_err().is_unique_violation());
        let mut rows = site.db().stream(Sql::raw("SELECT id FROM note ORDER BY id DESC"));
        while let Some(row) = rows.next().await {
            if row?.get::<i64>(0)? == from + 2 {
                break;
            }
        }
        drop(rows);
        add(&site, from + 3).await.map(drop)
    })
    .await
}

/// Whether the connections of the pool are as new.
async fn nothing_is_left(fixture: &Fixture) {
    let Fixture { site, .. } = fixture;
    let clean = async || {
        if fixture.is("postgres") {
            let ask = "SELECT current_setting('transaction_isolation'), \
                       pg_current_xact_id_if_assigned() IS NULL, \
                       (SELECT COUNT(*) FROM pg_cursors WHERE name <> '')";
            let rows = site.db().fetch(Sql::raw(ask)).await.unwrap();
            assert_eq!(rows[0].get::<String>(0).unwrap(), "read committed");
            assert!(rows[0].get::<bool>(1).unwrap(), "an open transaction");
            assert_eq!(rows[0].get::<i64>(2).unwrap(), 0, "an open cursor");
        } else {
            tally(site).await;
        }
    };
    tokio::join!(clean(), clean(), clean());
    // Begins anew: neither in a transaction, nor is a savepoint of another there.
    site.atomic(async |site| {
        assert!(site.db().script("RELEASE SAVEPOINT hulse_1").await.is_err());
        Err::<(), _>(Error::new("no"))
    })
    .await
    .unwrap_err();
}

/// As often as it waits for something, with everything a transaction can wait for.
#[tokio::test]
async fn given_up_anywhere_a_transaction_leaves_all_or_nothing() {
    const ROUNDS: i64 = 15;
    const STEPS_MAX: usize = 2_000;
    for fixture in fixtures().await {
        let (mut from, mut ended) = (0, 0);
        for _ in 0..ROUNDS {
            for steps in 1..STEPS_MAX {
                from += 10;
                let done = given_up_after(steps, busy(&fixture.site, from)).await;
                nothing_is_left(&fixture).await;
                if let Some(done) = done {
                    done.unwrap();
                    ended += 1;
                    break;
                }
            }
        }
        assert_eq!(ended, ROUNDS);
        assert!(from / 10 >= ROUNDS * 2, "given up {} times only", from / 10 - ROUNDS);
        // A commit that had begun goes on by itself: wait for all connections.
        let settings = fixture.site.settings().database.clone();
        fixture.site.database().close().await;
        let database = Database::connect(&settings, Path::new("/")).await.unwrap();
        let text = "SELECT id - id % 10, COUNT(*) FROM note GROUP BY 1 HAVING COUNT(*) <> 3";
        let halves = database.connection().fetch(Sql::raw(text)).await.unwrap();
        assert!(halves.is_empty(), "{} transactions were kept by halves", halves.len());
    }
}
