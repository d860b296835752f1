//! Other questions to a query: the latest row, rows by key, days with rows, SQL of your own.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, NaiveDate, Utc};
use sea_query::Value;

use crate::db::{Dialect, Sql};
use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q};
use crate::models::expression::{Expression, Function, Node, Order, Output, Part};
use crate::models::field::{FieldType, Plain};
use crate::models::fields::Fields;
use crate::models::meta::{Field, FieldKind};
use crate::models::model::Model;
use crate::models::query::{OneOrMore, QuerySet, names};
use crate::models::trail::FieldPath;
use crate::site::Site;

impl<M: Model> QuerySet<M> {
    /// The row with the greatest of what `order` orders by.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`); else as [`all`](Self::all).
    pub async fn latest_by<O: OneOrMore<Order>>(
        self,
        site: &Site,
        order: impl FnOnce(&M::Columns) -> O,
    ) -> Result<M> {
        let rows = self.order_by(order).reverse();
        rows.first(site).await?.ok_or_else(|| Error::does_not_exist(M::meta()))
    }

    /// The row with the least of what `order` orders by.
    ///
    /// # Errors
    /// As [`latest_by`](Self::latest_by).
    pub async fn earliest_by<O: OneOrMore<Order>>(
        mut self,
        site: &Site,
        order: impl FnOnce(&M::Columns) -> O,
    ) -> Result<M> {
        self.refuse_if_sliced("take the earliest");
        let rows = self.order_by(order);
        rows.first(site).await?.ok_or_else(|| Error::does_not_exist(M::meta()))
    }

    /// The row with the greatest of the model's `get_latest_by`.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`), or the model does not say by what; else as
    /// [`all`](Self::all).
    pub async fn latest(self, site: &Site) -> Result<M> {
        let rows = self.by_latest()?.reverse();
        rows.first(site).await?.ok_or_else(|| Error::does_not_exist(M::meta()))
    }

    /// The row with the least of the model's `get_latest_by`.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub async fn earliest(self, site: &Site) -> Result<M> {
        let rows = self.by_latest()?;
        rows.first(site).await?.ok_or_else(|| Error::does_not_exist(M::meta()))
    }

    fn by_latest(mut self) -> Result<Self> {
        self.refuse_if_sliced("take the latest");
        let meta = M::meta();
        if meta.get_latest_by.is_empty() {
            let words = format!(
                "latest and earliest of {}: say by what with `get_latest_by` on the model, or use \
                 `latest_by`",
                meta.label()
            );
            return Err(Error::of(Kind::Field, words));
        }
        self.plan.order = Some(names::own_orders(meta, meta.get_latest_by));
        self.plan.is_reversed = false;
        Ok(self)
    }

    /// The rows with these keys, by key; keys without a row are left out.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn in_bulk(
        self,
        site: &Site,
        keys: impl IntoIterator<Item = M::Key>,
    ) -> Result<HashMap<M::Key, M>>
    where
        M::Key: Eq + Hash,
    {
        let keys = keys.into_iter().filter_map(|key| key.value());
        let rows = self.in_chunks(site, M::meta().primary_key(), keys.collect()).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.own_key()?, row))).collect())
    }

    /// The rows with these values in a unique column, by value; values without a row are left out.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # #[derive(Model, Clone)]
    /// # struct Post { id: Id, #[field(max_length = 60, unique)] slug: String }
    /// # async fn posts(site: &Site) -> Result<()> {
    /// let slugs = ["hello", "bye"].map(String::from);
    /// let posts = Post::objects().in_bulk_by(site, |p| p.slug(), slugs).await?;
    /// println!("{:?}", posts["hello"].id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The column is not unique or another model's; else as [`all`](Self::all).
    pub async fn in_bulk_by<T: Plain + Eq + Hash, Out: Output>(
        mut self,
        site: &Site,
        column: impl FnOnce(&M::Columns) -> Expression<T, Out>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<HashMap<T, M>> {
        let meta = M::meta();
        let field = match Fields::<M>::new(column).own()?.as_slice() {
            [field] if field.unique || field.primary_key => *field,
            _ => {
                let words = format!("in_bulk_by of {}: takes a unique column", meta.label());
                return Err(Error::of(Kind::Field, words));
            }
        };
        let at = meta.fields.iter().position(|one| std::ptr::eq(one, field)).unwrap_or_default();
        let values = values.into_iter().filter_map(|value| value.value());
        self.read_deferred(field);
        let rows = self.in_chunks(site, field, values.collect()).await?;
        let with_value = |row: M| {
            let value = row.values().into_iter().nth(at)??;
            Some((T::from_stored(value)?, row))
        };
        Ok(rows.into_iter().filter_map(with_value).collect())
    }

    /// The rows with these keys, in no order.
    pub(crate) async fn with_keys(self, site: &Site, keys: Vec<Value>) -> Result<Vec<M>> {
        self.in_chunks(site, M::meta().primary_key(), keys).await
    }

    /// The rows with these values in a field, asked for in statements that are not too long.
    async fn in_chunks(
        mut self,
        site: &Site,
        field: &'static Field,
        values: Vec<Value>,
    ) -> Result<Vec<M>> {
        self.refuse_if_sliced("use in_bulk");
        self.plan.order = Some(Vec::new());
        self.checked()?;
        let mut rows = Vec::with_capacity(values.len());
        for some in values.chunks(KEYS_MAX) {
            let mut these = self.clone();
            let column = Node::Column(FieldPath::own(M::meta(), field));
            let some = some.iter().cloned().map(Node::Value).collect();
            these.plan.filter(Q::test(column, Lookup::In(some)));
            rows.extend(these.all(site).await?);
        }
        Ok(rows)
    }

    /// Whether `row` is among the rows; nothing is read.
    ///
    /// # Errors
    /// The row has no key; else as [`all`](Self::all).
    pub async fn contains(mut self, site: &Site, row: &M) -> Result<bool> {
        let meta = M::meta();
        let Some(key) = row.key() else {
            let words = format!("contains: this {} is not saved", meta.label());
            return Err(Error::of(Kind::Field, words));
        };
        self.refuse_if_sliced("use contains");
        self.plan.filter(super::equal(FieldPath::own(meta, meta.primary_key()), key));
        self.exists(site).await
    }

    /// Each day, or first day of a year, month or week, that rows have in a column; in order.
    #[must_use]
    pub fn dates<Out: Output>(
        self,
        of: impl FnOnce(&M::Columns) -> Expression<NaiveDate, Out>,
        every: Every,
    ) -> QuerySet<M, NaiveDate> {
        let node = of(&Self::columns()).into_node();
        self.begins(Expression::from_node(begin(node, every, FieldKind::Date)))
    }

    /// Each beginning of a year, month, .. second that rows have in a column; in order.
    #[must_use]
    pub fn datetimes<Out: Output>(
        self,
        of: impl FnOnce(&M::Columns) -> Expression<DateTime<Utc>, Out>,
        every: Every,
    ) -> QuerySet<M, DateTime<Utc>> {
        let node = of(&Self::columns()).into_node();
        self.begins(Expression::from_node(begin(node, every, FieldKind::DateTime)))
    }

    fn begins<T: Plain>(self, begin: Expression<T>) -> QuerySet<M, T> {
        let rows = self.filter(|_| begin.clone().isnull(false)).values(|_| begin.clone());
        rows.distinct().order_by(|_| begin.asc())
    }
}

fn begin(node: Node, every: Every, kind: FieldKind) -> Node {
    let part = match every {
        Every::Year => Part::Year,
        Every::Quarter => Part::Quarter,
        Every::Month => Part::Month,
        Every::Week => Part::Week,
        Every::Day => Part::Day,
        Every::Hour => Part::Hour,
        Every::Minute => Part::Minute,
        Every::Second => Part::Second,
    };
    Node::call(Function::Trunc(part, kind), vec![node])
}

/// How far apart the moments of `dates` and `datetimes` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// Years.
    Year,
    /// Quarters of a year.
    Quarter,
    /// Months.
    Month,
    /// Weeks, from Monday.
    Week,
    /// Days.
    Day,
    /// Hours.
    Hour,
    /// Minutes.
    Minute,
    /// Seconds.
    Second,
}

/// Most keys in one statement; SQLite takes 32,766 values, PostgreSQL 65,535.
const KEYS_MAX: usize = 10_000;

impl<M: Model> QuerySet<M> {
    /// The rows of a SELECT of your own. Each `{}` in it stands for one of `values`, which are
    /// bound; its columns are found by their names, others and deferred fields are left out.
    ///
    /// # Errors
    /// A column of the model is not among its columns, there are more or fewer `{}` than values;
    /// else as [`all`](Self::all).
    pub async fn raw(site: &Site, select: &str, values: Vec<Value>) -> Result<Vec<M>> {
        use std::fmt::Write as _;

        let (meta, dialect) = (M::meta(), site.db().dialect());
        let pieces: Vec<&str> = select.split("{}").collect();
        if pieces.len() != values.len() + 1 {
            let (marks, count) = (pieces.len() - 1, values.len());
            let words = format!("raw of {}: {marks} `{{}}` but {count} values", meta.label());
            return Err(Error::of(Kind::Field, words));
        }
        let mut text = String::from("SELECT ");
        for (at, field) in meta.fields.iter().enumerate() {
            let from = if field.deferred { "NULL AS " } else { "\"raw\"." };
            let comma = if at > 0 { ", " } else { "" };
            let column = field.column.replace('"', "\"\"");
            let _ = write!(text, "{comma}{from}\"{column}\"");
        }
        text.push_str(" FROM (");
        for (at, piece) in pieces.into_iter().enumerate() {
            if at > 0 {
                match dialect {
                    #[cfg(feature = "postgres")]
                    Dialect::Postgres => {
                        let _ = write!(text, "${at}");
                    }
                    #[cfg(any(feature = "sqlite", feature = "mysql"))]
                    _ => text.push('?'),
                }
            }
            text.push_str(piece);
        }
        text.push_str(") AS \"raw\"");
        let rows = site.db().fetch(Sql { text, values: sea_query::Values(values) }).await;
        let rows = rows.map_err(|error| {
            error.context(format!("raw of {} (it needs all its columns)", meta.label()))
        })?;
        rows.iter().map(|row| M::from_row(row, 0)).collect()
    }
}
