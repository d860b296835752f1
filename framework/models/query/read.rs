//! Asking a query for its rows.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};

use crate::conf::FetchMode;
use crate::db::Row;
use crate::error::{Error, Result};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::sql::Target;
use crate::models::{fetch_mode, prefetch};
use crate::site::Site;

/// How many rows `get` reads at most, to say how many there are (Django's `MAX_GET_RESULTS`).
const GET_ROWS_MAX: u64 = 21;

/// For how many rows `iterator` prefetches at a time (as Django's).
const PREFETCH_ROWS: usize = 2_000;

impl<M: Model, R: Send> QuerySet<M, R> {
    /// The rows.
    ///
    /// # Errors
    /// The query was built wrong, the database refuses it or cannot be reached.
    pub async fn all(self, site: &Site) -> Result<Vec<R>> {
        self.checked()?;
        self.may_lock(site)?;
        if self.plan.is_never() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        self.read(&mut rows, site).await?;
        if prefetch::is_wanted(&self.plan, site) {
            let models = rows.iter_mut().filter_map(self.row).collect();
            prefetch::after(&self.plan, models, site).await?;
        }
        Ok(rows)
    }

    /// Reads each row while it is there, instead of keeping the database's.
    async fn read(&self, rows: &mut Vec<R>, site: &Site) -> Result<()> {
        let Self { plan, reader, .. } = self;
        let sql = plan.select(Target::of(site))?;
        let mut each = |row: &Row| {
            rows.push(reader(plan, row)?);
            Ok(())
        };
        // Whatever it asks for, a second row is not sent.
        let is_first = plan.limit == Some(1) && plan.lock.is_none();
        if is_first || plan.is_one() {
            return site.db().fetch_one(&sql, &mut each).await;
        }
        site.db().fetch_each(&sql, &mut each).await
    }

    /// The rows one after the other, as they are taken: in constant memory, however many there are.
    /// Nothing is asked before the first is. Relations are prefetched for 2,000 rows at a time, on
    /// another connection unless this is a transaction.
    ///
    /// # Errors
    /// The query was built wrong; the stream's are those of [`all`](Self::all).
    pub fn iterator(self, site: &Site) -> Result<impl Stream<Item = Result<R>> + Send + use<M, R>> {
        self.checked()?;
        self.may_lock(site)?;
        if self.plan.is_never() {
            return Ok(stream::empty().left_stream());
        }
        let rows = site.db().stream(self.plan.select(Target::of(site))?);
        let Self { plan, reader, row: model, .. } = self;
        let plan = Arc::new(plan);
        let of_row = Arc::clone(&plan);
        let rows = rows.map(move |row| reader(&of_row, &row?));
        let mode = fetch_mode::of(&plan, site);
        if plan.prefetches.is_empty() && mode != FetchMode::Peers && mode != FetchMode::Raise {
            return Ok(rows.left_stream().right_stream());
        }
        let site = site.clone();
        let chunks = rows.chunks(PREFETCH_ROWS).then(move |rows| {
            let (site, plan) = (site.clone(), Arc::clone(&plan));
            async move {
                let mut rows = rows.into_iter().collect::<Result<Vec<R>>>()?;
                let models = rows.iter_mut().filter_map(model).collect();
                prefetch::after(&plan, models, &site).await?;
                Ok(rows)
            }
        });
        let each = |rows: Result<Vec<R>>| match rows {
            Ok(rows) => stream::iter(rows).map(Ok).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        };
        Ok(chunks.flat_map(each).right_stream().right_stream())
    }

    /// The one row there is.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`) or more than one (`is_multiple_objects`); else as
    /// [`all`](Self::all).
    pub async fn get(mut self, site: &Site) -> Result<R> {
        let meta = self.plan.meta;
        if !self.plan.is_sliced() && self.plan.combined.is_none() {
            if !self.plan.is_distinct() {
                self.plan.order = Some(Vec::new());
            }
            if !self.plan.is_one() {
                self.plan.limit = Some(GET_ROWS_MAX);
            }
        }
        let mut rows = self.all(site).await?;
        match (rows.pop(), rows.len()) {
            (None, _) => Err(Error::does_not_exist(meta)),
            (Some(row), 0) => Ok(row),
            (Some(_), more) => Err(Error::multiple_objects(meta, more + 1, GET_ROWS_MAX)),
        }
    }

    /// The first row; by key if there is no order.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn first(mut self, site: &Site) -> Result<Option<R>> {
        self.plan.order_somehow();
        Ok(self.limit(1).all(site).await?.into_iter().next())
    }

    /// The last row; by key if there is no order.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn last(mut self, site: &Site) -> Result<Option<R>> {
        self.refuse_if_sliced("take the last");
        self.plan.order_somehow();
        Ok(self.reverse().limit(1).all(site).await?.into_iter().next())
    }

    /// How many rows there are, as many as [`all`](Self::all) gives; none of them is read.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn count(self, site: &Site) -> Result<u64> {
        self.checked()?;
        if self.plan.is_never() {
            return Ok(0);
        }
        let (sql, mut count) = (self.plan.count(Target::of(site))?, 0_i64);
        let mut each = |row: &Row| {
            count = row.get(0)?;
            Ok(())
        };
        site.db().fetch_one(&sql, &mut each).await?;
        Ok(count.unsigned_abs())
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn exists(self, site: &Site) -> Result<bool> {
        let one = self.limit(1);
        one.checked()?;
        if one.plan.is_never() {
            return Ok(false);
        }
        let (sql, mut found) = (one.plan.select_one(Target::of(site))?, false);
        let mut each = |_: &Row| {
            found = true;
            Ok(())
        };
        site.db().fetch_one(&sql, &mut each).await?;
        Ok(found)
    }
}

/// Reads `row` again; of its deferred fields those that are loaded, as Django does.
///
/// # Errors
/// It has no key or is gone (`is_does_not_exist`); else as [`QuerySet::all`].
pub async fn refresh<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    let key = row.key().ok_or_else(|| Error::does_not_exist(M::meta()))?;
    let mut rows = QuerySet::with_key(key);
    rows.read_what_is_loaded(row);
    *row = rows.get(site).await?;
    Ok(())
}
