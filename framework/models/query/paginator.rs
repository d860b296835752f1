//! `Paginator`: the rows of a query, a page at a time.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::error::{Error, Kind, Result};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::site::Site;

/// The rows of a query, a page at a time (Django's `Paginator`). Without an order they come by key,
/// so that no row is on two pages.
pub struct Paginator<M, R = M> {
    rows: QuerySet<M, R>,
    per_page: u64,
    orphans: u64,
}

impl<M, R> std::fmt::Debug for Paginator<M, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Paginator of {:?}, {} a page", self.rows, self.per_page)
    }
}

impl<M: Model, R> QuerySet<M, R> {
    /// Divides the rows into pages of `per_page`, at least one.
    #[must_use]
    pub fn paginate(mut self, per_page: u64) -> Paginator<M, R> {
        self.refuse_if_sliced("paginate");
        self.plan.order_somehow();
        Paginator { rows: self, per_page: per_page.max(1), orphans: 0 }
    }
}

impl<M: Model, R: Send> Paginator<M, R> {
    /// A last page with at most so many rows is put on the one before it.
    #[must_use]
    pub fn orphans(mut self, rows: u64) -> Self {
        self.orphans = rows;
        self
    }

    /// The page of this number, from 1. The first one may be empty.
    ///
    /// # Errors
    /// There is no such page (`is_empty_page`); else as `all`.
    pub async fn page(&self, site: &Site, number: u64) -> Result<Page<R>> {
        if number < 1 {
            return Err(Error::of(Kind::EmptyPage, "that page number is less than 1"));
        }
        let count = self.rows.clone().count(site).await?;
        if number > self.pages(count) {
            return Err(Error::of(Kind::EmptyPage, "that page contains no results"));
        }
        self.read(site, number, count).await
    }

    /// The page that a text names, from a URL: `last` is the last one.
    ///
    /// # Errors
    /// The text is no number, or there is no such page (`is_empty_page`); else as `all`.
    pub async fn page_named(&self, site: &Site, name: &str) -> Result<Page<R>> {
        if name == "last" {
            let count = self.rows.clone().count(site).await?;
            return self.read(site, self.pages(count), count).await;
        }
        let number: i64 = name
            .trim()
            .parse()
            .map_err(|_| Error::of(Kind::EmptyPage, "that page number is not an integer"))?;
        self.page(site, number.try_into().unwrap_or_default()).await
    }

    /// The page that a text names, whatever it is: no number is the first page, and one that is out
    /// of range the last (Django's `get_page`).
    ///
    /// # Errors
    /// As `all`.
    pub async fn nearest_page(&self, site: &Site, name: &str) -> Result<Page<R>> {
        let count = self.rows.clone().count(site).await?;
        let last = self.pages(count);
        let number = match name.trim().parse::<i64>() {
            Err(_) => 1,
            Ok(number) => {
                u64::try_from(number).ok().filter(|n| (1..=last).contains(n)).unwrap_or(last)
            }
        };
        self.read(site, number, count).await
    }

    fn pages(&self, count: u64) -> u64 {
        count.saturating_sub(self.orphans).div_ceil(self.per_page).max(1)
    }

    async fn read(&self, site: &Site, number: u64, count: u64) -> Result<Page<R>> {
        let first = (number - 1) * self.per_page;
        let num_pages = self.pages(count);
        let length = if number == num_pages { self.per_page + self.orphans } else { self.per_page };
        let rows = self.rows.clone().offset(first).limit(length).all(site).await?;
        Ok(Page { rows, number, num_pages, count, first })
    }
}

/// One page of a [`Paginator`].
#[derive(Clone, Debug)]
pub struct Page<R> {
    /// Its rows.
    pub rows: Vec<R>,
    /// Which page it is, from 1.
    pub number: u64,
    /// How many pages there are; at least one.
    pub num_pages: u64,
    /// How many rows all pages have.
    pub count: u64,
    first: u64,
}

impl<R> Page<R> {
    /// Whether there is a page behind it.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.number < self.num_pages
    }

    /// Whether there is a page before it.
    #[must_use]
    pub fn has_previous(&self) -> bool {
        self.number > 1
    }

    /// The number of the page behind it.
    #[must_use]
    pub fn next_page_number(&self) -> Option<u64> {
        self.has_next().then_some(self.number + 1)
    }

    /// The number of the page before it.
    #[must_use]
    pub fn previous_page_number(&self) -> Option<u64> {
        self.has_previous().then(|| self.number - 1)
    }

    /// Where its first row stands among all, from 1; 0 if there is none.
    #[must_use]
    pub fn start_index(&self) -> u64 {
        if self.count == 0 { 0 } else { self.first + 1 }
    }

    /// Where its last row stands among all, from 1.
    #[must_use]
    pub fn end_index(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// The numbers of all pages.
    #[must_use]
    pub fn page_range(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.num_pages
    }
}

/// For templates: its rows as `rows`, and all the questions above by their names.
impl<R: Serialize> Serialize for Page<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut page = serializer.serialize_struct("Page", 10)?;
        page.serialize_field("rows", &self.rows)?;
        page.serialize_field("number", &self.number)?;
        page.serialize_field("num_pages", &self.num_pages)?;
        page.serialize_field("count", &self.count)?;
        page.serialize_field("has_next", &self.has_next())?;
        page.serialize_field("has_previous", &self.has_previous())?;
        page.serialize_field("next_page_number", &self.next_page_number())?;
        page.serialize_field("previous_page_number", &self.previous_page_number())?;
        page.serialize_field("start_index", &self.start_index())?;
        page.serialize_field("end_index", &self.end_index())?;
        page.end()
    }
}
