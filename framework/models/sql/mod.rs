//! From plans to SQL, for either dialect.
//!
//! Flow: `QuerySet` → [`Plan`] → `Compiler`: conditions first, because they decide the joins, then
//! columns and order; the text is put together at the end → [`Sql`].
//!
//! Invariants:
//! - Values are bound; identifiers come from descriptions only, and are quoted.
//! - What a database cannot do is an error that names it, never another question.

mod condition;
mod node;
mod plan;
mod scope;
mod text;
mod writer;

use sea_query::Expr;

use crate::db::{Dialect, Sql};
use crate::error::{Error, Kind, Result};
use crate::models::expression::{Node, Nulls, Order};
use crate::models::meta::Field;

pub(super) use plan::{Along, Plan, Selected};

use scope::{Joins, Scope};
use writer::Writer;

/// Writes one statement.
struct Compiler {
    dialect: Dialect,
    out: Writer,
    /// The SELECTs being written, each inside the one before it or beside its like.
    scopes: Vec<Scope>,
    /// The one being written.
    at: usize,
    /// How many there have been.
    scopes_opened: usize,
    /// Whether joins to many rows are shared with any filter.
    shares_all: bool,
    /// Joins of this scope that were needed since this was last emptied.
    touched: Joins,
    /// Whether what was written since this was last unset may be NULL.
    may_be_null: bool,
    /// The first thing that cannot be.
    mistake: Option<String>,
    /// How many columns were given names, while they are.
    named: Option<usize>,
}

/// What is wanted of a plan's rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Rows,
    /// The keys only, unordered unless that decides which.
    Keys,
    /// Whether there is one.
    One,
    Count,
}

/// The pieces of a SELECT.
struct Parts {
    columns: Writer,
    conditions: Writer,
    order: Writer,
}

impl Plan {
    /// All it asks for.
    pub(super) fn select(&self, dialect: Dialect) -> Result<Sql> {
        self.compile(dialect, |compiler| compiler.select(self, Wanted::Rows))
    }

    /// The keys only, unordered unless that decides which.
    pub(super) fn select_keys(&self, dialect: Dialect) -> Result<Sql> {
        self.compile(dialect, |compiler| compiler.select(self, Wanted::Keys))
    }

    /// Whether there is a row: one or none.
    pub(super) fn select_one(&self, dialect: Dialect) -> Result<Sql> {
        self.compile(dialect, |compiler| compiler.select(self, Wanted::One))
    }

    /// How many rows there are.
    pub(super) fn count(&self, dialect: Dialect) -> Result<Sql> {
        self.compile(dialect, |compiler| {
            if !self.is_sliced() {
                compiler.select(self, Wanted::Count);
                return;
            }
            compiler.out.push("SELECT COUNT(*) FROM (");
            compiler.select(self, Wanted::Keys);
            compiler.out.push(") AS \"rows\"");
        })
    }

    /// The condition on its rows, for a statement that does not join; with `own` only if it looks
    /// at nothing but their own columns, so that deleting other rows does not change it.
    pub(super) fn condition(&self, dialect: Dialect, own: bool) -> Result<Option<Expr>> {
        let mut is_own = true;
        let sql = self.compile(dialect, |compiler| {
            let back = compiler.enter(self.meta, None);
            compiler.only(self, "");
            is_own = compiler.scopes_opened == 1 && !compiler.has_joins();
            compiler.leave(back);
        })?;
        if own && !is_own {
            return Ok(None);
        }
        let Sql { text, values } = sql;
        let text = if text.is_empty() { "1 = 1".to_owned() } else { text };
        Ok(Some(Expr::cust_with_values(text, values.0)))
    }

    /// An UPDATE of its rows.
    pub(super) fn update(&self, dialect: Dialect, set: &[(&Field, Node)]) -> Result<Sql> {
        self.compile(dialect, |compiler| {
            let back = compiler.enter(self.meta, None);
            compiler.out.push("UPDATE ");
            compiler.out.name(self.meta.table);
            for (at, (field, value)) in set.iter().enumerate() {
                compiler.out.push(if at == 0 { " SET " } else { ", " });
                compiler.out.name(field.column);
                compiler.out.push(" = ");
                compiler.node(value);
            }
            if compiler.has_joins() {
                compiler.mistake("update sets columns from the row's own ones; use a subquery");
            }
            compiler.only(self, " WHERE ");
            compiler.leave(back);
        })
    }

    fn compile(&self, dialect: Dialect, write: impl FnOnce(&mut Compiler)) -> Result<Sql> {
        let mut compiler = Compiler {
            dialect,
            out: Writer::default(),
            scopes: Vec::with_capacity(1),
            at: 0,
            scopes_opened: 0,
            shares_all: true,
            touched: 0,
            may_be_null: false,
            mistake: None,
            named: None,
        };
        write(&mut compiler);
        match compiler.mistake {
            None => Ok(compiler.out.finish(dialect)),
            Some(words) => {
                let words = format!("a query of {}: {words}", self.meta.label());
                Err(Error::of(Kind::Field, words))
            }
        }
    }
}

impl Compiler {
    fn mistake(&mut self, words: impl Into<String>) {
        self.mistake.get_or_insert_with(|| words.into());
    }

    /// Writes a SELECT.
    fn select(&mut self, plan: &Plan, wanted: Wanted) {
        let around = std::mem::take(&mut self.out);
        let shares_all = std::mem::replace(&mut self.shares_all, true);
        let back = self.enter(plan.meta, None);
        self.filters(plan);
        let conditions = std::mem::take(&mut self.out);
        let named = std::mem::replace(&mut self.named, plan.per.as_ref().map(|_| 0));
        self.columns(plan, wanted);
        self.named = named;
        let columns = std::mem::take(&mut self.out);
        if wanted == Wanted::Rows || (plan.is_sliced() && wanted != Wanted::Count) {
            self.order(plan);
        }
        let order = std::mem::replace(&mut self.out, around);
        let parts = Parts { columns, conditions, order };
        match &plan.per {
            Some(per) => self.slice_each(plan, per, parts),
            None => {
                self.put_together(parts);
                if wanted != Wanted::Count {
                    self.slice(plan);
                }
            }
        }
        self.leave(back);
        self.shares_all = shares_all;
    }

    fn put_together(&mut self, parts: Parts) {
        self.out.push("SELECT ");
        self.out.append(parts.columns);
        self.out.push(" FROM ");
        self.tables();
        if !parts.conditions.is_empty() {
            self.out.push(" WHERE ");
            self.out.append(parts.conditions);
        }
        self.out.append(parts.order);
    }

    /// A SELECT whose slice counts anew for each value of `per`: its rows are numbered, and the
    /// number stands behind their columns.
    fn slice_each(&mut self, plan: &Plan, per: &Node, mut parts: Parts) {
        let around = std::mem::take(&mut self.out);
        self.out.append(parts.columns);
        self.out.push(", ROW_NUMBER() OVER (PARTITION BY ");
        self.node(per);
        self.out.append(std::mem::take(&mut parts.order));
        self.out.push(") AS \"_number\"");
        parts.columns = std::mem::replace(&mut self.out, around);
        self.out.push("SELECT * FROM (");
        self.put_together(parts);
        self.out.push(") AS \"_rows\" WHERE \"_number\" > ");
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
        self.out.value(number(plan.offset));
        if let Some(limit) = plan.limit {
            self.out.push(" AND \"_number\" <= ");
            self.out.value(number(plan.offset.saturating_add(limit)));
        }
        self.out.push(" ORDER BY \"_number\"");
    }

    /// Names the column just written, if those of two tables may have one name.
    fn named(&mut self) {
        if let Some(number) = &mut self.named {
            let name = format!(" AS \"_c{number}\"");
            *number += 1;
            self.out.push(&name);
        }
    }

    fn filters(&mut self, plan: &Plan) {
        for (at, condition) in plan.filters.iter().enumerate() {
            if at > 0 {
                self.out.push(" AND ");
            }
            self.filter(condition);
        }
    }

    /// The conditions of an UPDATE or DELETE, which cannot join.
    fn only(&mut self, plan: &Plan, before: &str) {
        let around = std::mem::take(&mut self.out);
        self.filters(plan);
        let conditions = std::mem::replace(&mut self.out, around);
        if self.has_joins() {
            self.out.push(before);
            self.first_column(plan.meta.primary_key().column);
            self.out.push(" IN (");
            self.select(plan, Wanted::Keys);
            self.out.push(")");
        } else if !conditions.is_empty() {
            self.out.push(before);
            self.out.append(conditions);
        }
    }

    fn columns(&mut self, plan: &Plan, wanted: Wanted) {
        match wanted {
            Wanted::Keys => self.first_column(plan.meta.primary_key().column),
            Wanted::One => self.out.push("1"),
            Wanted::Count => self.out.push("COUNT(*)"),
            Wanted::Rows => match &plan.columns {
                Selected::Values(nodes) => self.nodes(nodes),
                Selected::Model(more) => {
                    self.model_columns(0, &plan.meta.fields);
                    for along in &plan.related {
                        let table = self.join(self.at, &along.trail.steps);
                        let Some(step) = along.trail.steps.last() else { continue };
                        self.out.push(", ");
                        self.model_columns(table, &step.target().fields);
                    }
                    if !more.is_empty() {
                        self.out.push(", ");
                        self.nodes(more);
                    }
                }
            },
        }
    }

    fn model_columns(&mut self, table: usize, fields: &[Field]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.out.push(", ");
            }
            self.table(self.at, table);
            self.out.push(".");
            self.out.name(field.column);
            self.named();
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for (at, node) in nodes.iter().enumerate() {
            if at > 0 {
                self.out.push(", ");
            }
            let named = self.named.take();
            self.node(node);
            self.named = named;
            self.named();
        }
    }

    fn order(&mut self, plan: &Plan) {
        for (at, Order { node, descending, nulls }) in plan.orders().iter().enumerate() {
            self.out.push(if at == 0 { " ORDER BY " } else { ", " });
            self.node(node);
            self.out.push(if *descending { " DESC" } else { " ASC" });
            self.out.push(match nulls {
                None => "",
                Some(Nulls::First) => " NULLS FIRST",
                Some(Nulls::Last) => " NULLS LAST",
            });
        }
    }

    fn slice(&mut self, plan: &Plan) {
        if plan.is_sliced() {
            self.out.push(" LIMIT ");
            // SQLite knows no OFFSET without a LIMIT.
            let limit = plan.limit.unwrap_or(i64::MAX.unsigned_abs());
            self.out.value(i64::try_from(limit).unwrap_or(i64::MAX).into());
        }
        if plan.offset > 0 {
            self.out.push(" OFFSET ");
            self.out.value(i64::try_from(plan.offset).unwrap_or(i64::MAX).into());
        }
    }
}
