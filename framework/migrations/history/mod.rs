//! Rows as the models were at one point of history, for data migrations.
//!
//! Flow: `executor` → [`History`] → [`HistoricModel`] (filter, update, insert, delete) →
//! [`Batches`] → [`HistoricRow`].
//!
//! Invariants:
//! - Knows the state only, never today's structs: a data migration means the same in ten years.
//! - Runs on the migration's own connection, in its transaction. Every value is bound.
//! - No hooks, no signals, no cascade: what must go first is deleted first.

mod row;
mod value;

use std::fmt;
use std::sync::Arc;

use sea_query::{Alias, Condition, Expr, ExprTrait, Order, Query, SimpleExpr, Value};

use crate::db::Connection;
use crate::error::{Error, Kind as ErrorKind, Result};

use super::state::{FieldState, Kind, ModelKey, ModelState, ProjectState};

pub use row::HistoricRow;

/// The models at one point of history, with the migration's connection. A cheap clone.
#[derive(Clone)]
pub struct History {
    state: Arc<ProjectState>,
    connection: Connection,
}

/// The rows of one model, all or some of them. A cheap clone; nothing is read before it is asked.
#[derive(Clone)]
pub struct HistoricModel {
    state: Arc<ProjectState>,
    connection: Connection,
    model: Arc<ModelState>,
    conditions: Vec<SimpleExpr>,
}

impl History {
    pub(super) fn new(state: Arc<ProjectState>, connection: Connection) -> Self {
        Self { state, connection }
    }

    /// The rows of `model` of `app`.
    ///
    /// # Errors
    /// There was no such model.
    pub fn model(&self, app: &str, model: &str) -> Result<HistoricModel> {
        let model = self.state.existing(&ModelKey::new(app, model))?.clone();
        Ok(HistoricModel {
            state: Arc::clone(&self.state),
            connection: self.connection.clone(),
            model: Arc::new(model),
            conditions: Vec::new(),
        })
    }

    /// All models.
    #[must_use]
    pub fn state(&self) -> &ProjectState {
        &self.state
    }
}

impl HistoricModel {
    /// Of these rows those whose `field` is `value`; NULL finds those that have none.
    ///
    /// # Errors
    /// There is no such field, or it cannot hold such a value.
    pub fn filter(mut self, field: &str, value: impl Into<Value>) -> Result<Self> {
        let (column, value) = self.bound(field, value.into())?;
        let column = Expr::col(column);
        self.conditions.push(if value::is_null(&value) {
            column.is_null()
        } else {
            column.eq(value)
        });
        Ok(self)
    }

    /// Of these rows those whose `field` is one of `values`; at most 900 of them.
    ///
    /// # Errors
    /// As [`filter`](Self::filter), or there are more.
    pub fn filter_in<V: Into<Value>>(
        mut self,
        field: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Self> {
        let values = values.into_iter().map(|value| Ok(self.bound(field, value.into())?.1));
        let values: Vec<Value> = values.collect::<Result<_>>()?;
        if values.len() > value::IN_MAX {
            let words = format!("{} values for {field}: at most {}", values.len(), value::IN_MAX);
            return Err(wrong(words));
        }
        let column = Alias::new(&self.model.existing_field(field)?.column);
        self.conditions.push(Expr::col(column).is_in(values));
        Ok(self)
    }

    /// How many rows these are.
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn count(&self) -> Result<u64> {
        let mut select = Query::select();
        select.expr(Expr::col(sea_query::Asterisk).count()).from(self.table());
        select.cond_where(self.matching());
        let rows = self.connection.fetch(self.connection.dialect().build(&select)).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Reads these rows in the order of their keys, `size` at a time. Each batch begins after the
    /// last key of the one before, so rows may be changed and deleted on the way.
    #[must_use]
    pub fn batches(&self, size: u64) -> Batches {
        Batches { model: self.clone(), size: Ord::max(size, 1), after: None, ended: false }
    }

    /// The row with the lowest key, if there is one.
    ///
    /// # Errors
    /// The database refuses it, or a column holds something else.
    pub async fn first(&self) -> Result<Option<HistoricRow>> {
        let mut batches = self.batches(1);
        Ok(batches.next().await?.and_then(|rows| rows.into_iter().next()))
    }

    /// Sets fields of all these rows; returns how many they were.
    ///
    /// # Errors
    /// There is no such field, it cannot hold such a value, or the database refuses it.
    pub async fn update<'f>(
        &self,
        values: impl IntoIterator<Item = (&'f str, Value)>,
    ) -> Result<u64> {
        let mut update = Query::update();
        update.table(self.table());
        let mut is_empty = true;
        for (field, value) in values {
            let (column, value) = self.bound(field, value)?;
            update.value(column, value);
            is_empty = false;
        }
        if is_empty {
            return Ok(0);
        }
        update.cond_where(self.matching());
        self.connection.execute(self.connection.dialect().build(&update)).await
    }

    /// Deletes these rows; returns how many they were. Rows that point to them are not touched, so
    /// they must go first.
    ///
    /// # Errors
    /// The database refuses it; a row that still points here is noticed at the commit.
    pub async fn delete(&self) -> Result<u64> {
        let mut delete = Query::delete();
        delete.from_table(self.table());
        delete.cond_where(self.matching());
        self.connection.execute(self.connection.dialect().build(&delete)).await
    }

    /// Adds a row and returns its key. Fields that are not given get their default in the database,
    /// now, or NULL.
    ///
    /// # Errors
    /// A field is unknown, cannot hold its value or has none; or the database refuses it.
    pub async fn insert<'f>(
        &self,
        values: impl IntoIterator<Item = (&'f str, Value)>,
    ) -> Result<Value> {
        let mut given: Vec<(&str, Value)> = Vec::new();
        for (field, value) in values {
            self.model.existing_field(field)?;
            given.push((field, value));
        }
        let (mut columns, mut row) = (Vec::new(), Vec::new());
        for field in &self.model.fields {
            let value = given.iter().find(|(name, _)| *name == field.name);
            let value = match value {
                Some((_, value)) => self.fit(field, value.clone())?,
                None if field.is_automatic() => value::now(self.kind(field)?),
                None if field.null || field.default.is_some() || field.kind == Kind::BigAuto => {
                    continue;
                }
                None => {
                    let words = format!("a row of {} needs a `{}`", self.model.key, field.name);
                    return Err(wrong(words));
                }
            };
            columns.push(Alias::new(&field.column));
            row.push(Expr::val(value));
        }
        let key = self.model.primary_key()?;
        let mut insert = Query::insert();
        insert.into_table(self.table());
        if columns.is_empty() {
            insert.or_default_values();
        } else {
            insert.columns(columns).values_panic(row);
        }
        insert.returning_col(Alias::new(&key.column));
        let rows = self.connection.fetch_writing(self.connection.dialect().build(&insert)).await?;
        let row = rows.first().ok_or_else(|| wrong("the database told no new key".to_owned()))?;
        self.kind(key)?.read(row, 0)
    }

    /// What the model was like.
    #[must_use]
    pub fn model(&self) -> &ModelState {
        &self.model
    }

    fn matching(&self) -> Condition {
        self.conditions.iter().cloned().fold(Condition::all(), Condition::add)
    }

    fn table(&self) -> Alias {
        Alias::new(&self.model.table)
    }

    /// What the column of `field` holds, through foreign keys.
    fn kind(&self, field: &FieldState) -> Result<crate::models::FieldKind> {
        value::kind(&self.state.column_kind(field)?.kind)
    }

    fn fit(&self, field: &FieldState, given: Value) -> Result<Value> {
        let fits = value::fit(self.kind(field)?, field.null, given);
        fits.map_err(|error| error.context(format!("{}.{}", self.model.key, field.name)))
    }

    /// The column of `field` and `value` as it holds it.
    fn bound(&self, field: &str, given: Value) -> Result<(Alias, Value)> {
        let field = self.model.existing_field(field)?;
        // A filter may ask for NULL where there is none.
        let value = if value::is_null(&given) && !field.null {
            self.kind(field)?.null()
        } else {
            self.fit(field, given)?
        };
        Ok((Alias::new(&field.column), value))
    }
}

/// Rows, some at a time.
#[derive(Debug)]
pub struct Batches {
    model: HistoricModel,
    size: u64,
    after: Option<Value>,
    ended: bool,
}

impl Batches {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// The database refuses it, or a column holds something else.
    pub async fn next(&mut self) -> Result<Option<Vec<HistoricRow>>> {
        if self.ended {
            return Ok(None);
        }
        let HistoricModel { model, connection, .. } = &self.model;
        let key = model.primary_key()?;
        let mut select = Query::select();
        select
            .columns(model.fields.iter().map(|field| Alias::new(&field.column)))
            .from(self.model.table())
            .order_by(Alias::new(&key.column), Order::Asc)
            .limit(self.size);
        select.cond_where(self.model.matching());
        if let Some(last) = &self.after {
            select.and_where(Expr::col(Alias::new(&key.column)).gt(last.clone()));
        }
        let found = connection.fetch(connection.dialect().build(&select)).await?;
        self.ended = (found.len() as u64) < self.size;
        let rows = found.iter().map(|row| HistoricRow::read(&self.model, row));
        let rows: Vec<HistoricRow> = rows.collect::<Result<_>>()?;
        self.after = rows.last().map(|row| row.key().clone());
        Ok((!rows.is_empty()).then_some(rows))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("models", &self.state.models().len()).finish()
    }
}

impl fmt::Debug for HistoricModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoricModel({})", self.model.key)
    }
}

fn wrong(words: String) -> Error {
    Error::of(ErrorKind::Migration, words)
}
