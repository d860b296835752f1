//! How many queries a piece of work may make.

use std::fmt::Write as _;
use std::panic::Location;

use crate::db::Query;
use crate::site::Site;

/// Runs `work` and fails the test unless it made exactly `expected` queries on the site's database;
/// the message lists them. BEGIN, SAVEPOINT and their ends are not counted.
///
/// ```
/// # use hulse::{Project, test::{TestSite, assert_queries}, db::Sql};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let site = TestSite::new(Project::new("shop", env!("CARGO_MANIFEST_DIR"))).await;
/// let rows = assert_queries(&site, 1, async || {
///     site.db().fetch(Sql::raw("SELECT 1")).await.expect("one row")
/// })
/// .await;
/// # assert_eq!(rows.len(), 1);
/// # }
/// ```
///
/// # Panics
/// It made more or fewer.
#[track_caller]
pub fn assert_queries<T>(
    site: &Site,
    expected: usize,
    work: impl AsyncFnOnce() -> T,
) -> impl Future<Output = T> {
    let place = Location::caller();
    async move {
        let log = site.database().record();
        let value = work().await;
        let count = log.count();
        if count != expected {
            super::answer::fail(&words(place, expected, count, &log.queries()));
        }
        value
    }
}

fn words(place: &Location<'_>, expected: usize, count: usize, queries: &[Query]) -> String {
    let mut words = format!("{place}: {expected} queries were expected, {count} made:");
    for (at, query) in queries.iter().enumerate() {
        let _ = write!(words, "\n{:>4}. {}", at + 1, query.sql);
    }
    words
}
