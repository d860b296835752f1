//! `QuerySet`: a question about a model's rows, asked only when it is awaited.

use std::fmt;
use std::marker::PhantomData;

use sea_query::{Query, Value};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::column::{Assignment, Columns, FieldPath, OneOrMore, Order, Related, Trail};
use crate::models::delete::Deleted;
use crate::models::lookup::{Q, Test};
use crate::models::meta::Meta;
use crate::models::model::Model;
use crate::models::registry::points_to;
use crate::models::sql::Plan;
use crate::models::{delete, save};
use crate::site::Site;

/// Rows of `M` to be: narrowed by `filter` and `exclude`, ordered, cut; nothing is asked until one
/// of the methods that take a [`Site`] is awaited.
pub struct QuerySet<M> {
    plan: Plan,
    /// What is wrong with it, told when it is asked.
    mistake: Option<String>,
    of: PhantomData<fn() -> M>,
}

impl<M> Clone for QuerySet<M> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone(), mistake: self.mistake.clone(), of: PhantomData }
    }
}

impl<M> fmt::Debug for QuerySet<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuerySet of {}", self.plan.meta.label())
    }
}

impl<M: Model> QuerySet<M> {
    /// All rows, in the model's default order.
    #[must_use]
    pub fn new() -> Self {
        let meta = M::meta();
        let order = meta.ordering.iter().filter_map(|name| default_order(meta, name)).collect();
        let plan =
            Plan { meta, condition: Q::ALWAYS, order, limit: None, offset: 0, related: Vec::new() };
        Self { plan, mistake: None, of: PhantomData }
    }

    /// The rows that point to `row`: the other side of the one foreign key from `M` to `T`.
    #[must_use]
    pub fn of<T: Model>(row: &T) -> Self {
        let mut rows = Self::new();
        let fields = rows.plan.meta.fields.iter().filter(|field| points_to(field, T::meta()));
        let fields: Vec<_> = fields.collect();
        let [field] = fields.as_slice() else {
            let (from, to) = (M::meta().label(), T::meta().label());
            let count = fields.len();
            rows.mistake = Some(format!("{from} has {count} foreign keys to {to}: use `filter`"));
            return rows;
        };
        let path = FieldPath { trail: Trail::default(), field };
        rows.plan.condition = row.key().map_or(Q::NEVER, |key| Q::test(path, Test::Equal(key)));
        rows
    }

    pub(super) fn with_key(key: Value) -> Self {
        let mut rows = Self::new();
        let path = FieldPath { trail: Trail::default(), field: M::meta().primary_key() };
        rows.plan.condition = Q::test(path, Test::Equal(key));
        rows
    }

    fn columns() -> M::Columns {
        M::Columns::along(Trail::default())
    }

    /// Only rows for which `condition` holds.
    #[must_use]
    pub fn filter(mut self, condition: impl FnOnce(&M::Columns) -> Q) -> Self {
        self.refuse_if_sliced("filter");
        self.plan.condition = self.plan.condition & condition(&Self::columns());
        self
    }

    /// Only rows for which `condition` does not hold; one whose column is NULL stays.
    #[must_use]
    pub fn exclude(self, condition: impl FnOnce(&M::Columns) -> Q) -> Self {
        self.filter(|columns| !condition(columns))
    }

    /// Reads the row behind a foreign key along, in the same query. May be called again for
    /// another.
    #[must_use]
    pub fn select_related<T: Model>(
        mut self,
        relation: impl FnOnce(&M::Columns) -> Related<T>,
    ) -> Self {
        let path = relation(&Self::columns()).into_path();
        if !path.trail.0.is_empty() {
            self.mistake = Some("select_related goes one foreign key far".to_owned());
        } else if !self.plan.related.iter().any(|field| field.name == path.field.name) {
            self.plan.related.push(path.field);
        }
        self
    }

    /// Orders by one column or several, instead of the model's order.
    #[must_use]
    pub fn order_by<O: OneOrMore<Order>>(mut self, order: impl FnOnce(&M::Columns) -> O) -> Self {
        self.refuse_if_sliced("order_by");
        self.plan.order = order(&Self::columns()).into_all();
        self
    }

    /// At most `rows`.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.plan.limit = Some(self.plan.limit.map_or(rows, |limit| limit.min(rows)));
        self
    }

    /// Without the first `rows`.
    #[must_use]
    pub fn offset(mut self, rows: u64) -> Self {
        self.plan.offset = rows;
        self
    }

    fn refuse_if_sliced(&mut self, what: &str) {
        if self.plan.is_sliced() {
            self.mistake = Some(format!("cannot {what} after limit or offset"));
        }
    }

    /// What was built wrong, if something was.
    fn checked(&self) -> Result<()> {
        match &self.mistake {
            None => Ok(()),
            Some(words) => {
                let words = format!("a query of {}: {words}", self.plan.meta.label());
                Err(Error::of(Kind::Field, words))
            }
        }
    }

    /// The rows.
    ///
    /// # Errors
    /// The query was built wrong, the database refuses it or cannot be reached.
    pub async fn all(self, site: &Site) -> Result<Vec<M>> {
        self.checked()?;
        if self.plan.is_never() {
            return Ok(Vec::new());
        }
        let db = site.db();
        let rows = db.fetch(db.dialect().build(&self.plan.select(db.dialect()))).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &Row) -> Result<M> {
        let mut model = M::from_row(row, 0).map_err(|error| self.misfit(&error))?;
        let mut index = self.plan.meta.fields.len();
        for field in &self.plan.related {
            if let Some(slot) = model.slot(field.name) {
                slot.attach(row, index).map_err(|error| self.misfit(&error))?;
            }
            index += field.relation.map_or(0, |relation| (relation.to)().fields.len());
        }
        Ok(model)
    }

    fn misfit(&self, error: &Error) -> Error {
        let words = format!("reading a {}: {error}", self.plan.meta.label());
        Error::of(error.kind(), words)
    }

    /// The one row there is.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`) or more than one (`is_multiple_objects`); else as
    /// [`all`](Self::all).
    pub async fn get(mut self, site: &Site) -> Result<M> {
        let meta = self.plan.meta;
        if !self.plan.is_sliced() {
            self.plan.order.clear();
            self.plan.limit = Some(2);
        }
        let mut rows = self.all(site).await?.into_iter();
        match (rows.next(), rows.next()) {
            (Some(row), None) => Ok(row),
            (None, _) => Err(Error::does_not_exist(meta)),
            (Some(_), Some(_)) => Err(Error::multiple_objects(meta)),
        }
    }

    /// The first row; by key if the model has no order.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn first(mut self, site: &Site) -> Result<Option<M>> {
        if self.plan.order.is_empty() {
            self.plan.order = default_order(self.plan.meta, self.plan.meta.primary_key().name)
                .into_iter()
                .collect();
        }
        Ok(self.limit(1).all(site).await?.into_iter().next())
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn count(self, site: &Site) -> Result<u64> {
        self.checked()?;
        if self.plan.is_never() {
            return Ok(0);
        }
        let db = site.db();
        let rows = db.fetch(db.dialect().build(&self.plan.count(db.dialect()))).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
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
        let db = site.db();
        let rows = db.fetch(db.dialect().build(&one.plan.select_keys(db.dialect()))).await?;
        Ok(!rows.is_empty())
    }

    /// Sets columns of all rows in one statement, and returns how many rows there were. Calls no
    /// hook and sets no `auto_now`.
    ///
    /// # Errors
    /// A value does not fit; else as [`all`](Self::all).
    pub async fn update<A: OneOrMore<Assignment>>(
        mut self,
        site: &Site,
        set: impl FnOnce(&M::Columns) -> A,
    ) -> Result<u64> {
        let assignments = set(&Self::columns()).into_all();
        self.refuse_if_sliced("update");
        self.checked()?;
        if self.plan.is_never() || assignments.is_empty() {
            return Ok(0);
        }
        let (db, meta) = (site.db(), self.plan.meta);
        let mut statement = Query::update();
        statement.table(meta.table);
        for Assignment { path, value } in assignments {
            if !path.trail.0.is_empty() {
                return Err(Error::field(meta, path.field, "is another model's: update that one"));
            }
            let value = save::check(meta, path.field, Some(value))?;
            statement.value(path.field.column, value);
        }
        statement.and_where(self.plan.filter(db.dialect()));
        db.execute(db.dialect().build(&statement)).await
    }

    /// Deletes the rows, with their hooks and what hangs on them, and says how many of each model
    /// went.
    ///
    /// # Errors
    /// A row is protected or restricted (`is_protected`, `is_restricted`), a hook fails; else as
    /// [`all`](Self::all).
    pub async fn delete(mut self, site: &Site) -> Result<Deleted> {
        self.refuse_if_sliced("delete");
        self.checked()?;
        if self.plan.is_never() {
            return Ok(Deleted::default());
        }
        delete::matching(&self.plan, site).await
    }

    /// Writes `row` as a new one.
    ///
    /// # Errors
    /// As `save`.
    pub async fn create(self, site: &Site, row: M) -> Result<M> {
        save::create(site, row).await
    }

    /// The one row there is or else `new`, written; and whether it was. If somebody else writes it
    /// at the same moment, theirs.
    ///
    /// # Errors
    /// As [`get`](Self::get) and `save`.
    pub async fn get_or_create(self, site: &Site, new: M) -> Result<(M, bool)> {
        match self.clone().get(site).await {
            Err(error) if error.is_does_not_exist() => {}
            found => return found.map(|row| (row, false)),
        }
        // In a savepoint: a refused INSERT would spoil a transaction around it.
        let made = site.atomic(async |site| save::create(&site, new).await).await;
        match made {
            Err(refused) if refused.is_integrity() => match self.get(site).await {
                Err(error) if error.is_does_not_exist() => Err(refused),
                found => found.map(|row| (row, false)),
            },
            made => made.map(|row| (row, true)),
        }
    }
}

impl<M: Model> Default for QuerySet<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// `-created` as an order; the derive has checked the names.
fn default_order(meta: &'static Meta, name: &str) -> Option<Order> {
    let (name, descending) = match name.strip_prefix('-') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let field = meta.field(name)?;
    Some(Order { path: FieldPath { trail: Trail::default(), field }, descending })
}

/// Reads `row` again.
///
/// # Errors
/// It has no key or is gone (`is_does_not_exist`); else as [`QuerySet::all`].
pub async fn refresh<M: Model>(row: &mut M, site: &Site) -> Result<()> {
    let key = row.key().ok_or_else(|| Error::does_not_exist(M::meta()))?;
    *row = QuerySet::with_key(key).get(site).await?;
    Ok(())
}
