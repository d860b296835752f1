//! From plans to SQL, for each dialect.
//!
//! Flow: `QuerySet` → [`Plan`] → `Compiler`: conditions first, because they decide the joins, then
//! columns and order; the text is put together at the end → [`Sql`].
//!
//! Invariants:
//! - Values are bound; identifiers come from descriptions only, and are quoted.
//! - What a database cannot do is an error that names it, never another question.

mod aggregate;
mod condition;
mod function;
mod json;
mod moment;
mod node;
mod plan;
mod scope;
mod select;
mod text;
mod whole;
mod window;
mod writer;
mod zone;

use chrono_tz::Tz;
use sea_query::Expr;

use crate::db::{Dialect, Sql};
use crate::error::{Error, Kind, Result};
use crate::models::expression::Node;
use crate::models::meta::Field;
use crate::site::Site;

pub(super) use plan::{Along, Combination, Combined, Distinct, Plan, Selected, Undeferred};
pub(crate) use whole::Meeting;
pub(super) use whole::{Insert, update_row};
pub(super) use zone::moment as moment_of;

use scope::{Joins, Scope};
use writer::Writer;

/// What statements are written for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    dialect: Dialect,
    /// Whose clocks and calendar parts of moments are read from.
    zone: Tz,
}

impl Target {
    pub(super) fn of(site: &Site) -> Self {
        Self { dialect: site.db().dialect(), zone: site.settings().time_zone }
    }
}

/// Writes one statement.
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
struct Compiler {
    dialect: Dialect,
    zone: Tz,
    out: Writer,
    /// The SELECTs being written, each inside the one before it or beside its like.
    scopes: Vec<Scope>,
    /// The one being written.
    at: usize,
    /// How many there have been.
    scopes_opened: usize,
    /// Whether joins to many rows are shared with any filter.
    shares_all: bool,
    /// Whether an aggregate is over the rows of this SELECT.
    is_grouped: bool,
    /// Whether conditions demand no rows.
    is_settled: bool,
    /// Joins of this scope that were needed since this was last emptied.
    touched: Joins,
    /// Whether what was written since this was last unset may be NULL.
    may_be_null: bool,
    /// The first thing that cannot be.
    mistake: Option<String>,
    /// How many columns were given names, while they are.
    named: Option<usize>,
    /// The next SELECT stands for a table, whose columns have different names.
    is_table: bool,
    /// The window of the next aggregate.
    over: Option<Writer>,
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

/// The dialects, those that are not built in too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    Sqlite,
    Postgres,
    Mysql,
}

impl Plan {
    /// All it asks for.
    pub(super) fn select(&self, target: Target) -> Result<Sql> {
        self.compile(target, |compiler| compiler.select(self, Wanted::Rows))
    }

    /// The keys only, unordered unless that decides which.
    pub(super) fn select_keys(&self, target: Target) -> Result<Sql> {
        self.compile(target, |compiler| compiler.select(self, Wanted::Keys))
    }

    /// Whether there is a row: one or none.
    pub(super) fn select_one(&self, target: Target) -> Result<Sql> {
        // Those that are skipped are to be as many as are read.
        if self.is_grouped() || self.offset > 0 {
            let plan = Self { lock: None, ..self.clone() };
            return self.compile(target, |compiler| compiler.select(&plan, Wanted::Rows));
        }
        self.compile(target, |compiler| compiler.select(self, Wanted::One))
    }

    /// How many rows there are.
    pub(super) fn count(&self, target: Target) -> Result<Sql> {
        self.compile(target, |compiler| {
            let is_whole = self.is_sliced() || self.is_distinct() || self.is_grouped();
            if self.combined.is_some() || !is_whole {
                return compiler.select(self, Wanted::Count);
            }
            let (plan, has_keys) = self.counted();
            compiler.out.push("SELECT COUNT(*) FROM (");
            compiler.is_table = true;
            compiler.select(&plan, if has_keys { Wanted::Keys } else { Wanted::Rows });
            compiler.out.push(") AS \"counted\"");
        })
    }

    /// The condition on its rows, for a statement that does not join; with `own` only if it looks
    /// at nothing but their own columns, so that deleting other rows does not change it.
    pub(super) fn condition(&self, target: Target, own: bool) -> Result<Option<Expr>> {
        let mut is_own = true;
        let sql = self.compile(target, |compiler| {
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
    pub(super) fn update(&self, target: Target, set: &[(&Field, Node)]) -> Result<Sql> {
        self.compile(target, |compiler| {
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

    fn compile(&self, target: Target, write: impl FnOnce(&mut Compiler)) -> Result<Sql> {
        let Target { dialect, zone } = target;
        let mut compiler = Compiler {
            dialect,
            zone,
            out: Writer::default(),
            scopes: Vec::with_capacity(1),
            at: 0,
            scopes_opened: 0,
            shares_all: true,
            is_grouped: false,
            is_settled: false,
            touched: 0,
            may_be_null: false,
            mistake: None,
            named: None,
            is_table: false,
            over: None,
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

    fn flavour(&self) -> Flavour {
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => Flavour::Sqlite,
            #[cfg(feature = "postgres")]
            Dialect::Postgres => Flavour::Postgres,
            #[cfg(feature = "mysql")]
            Dialect::Mysql => Flavour::Mysql,
        }
    }

    /// What `write` writes, for itself.
    fn piece(&mut self, write: impl FnOnce(&mut Self)) -> Writer {
        let around = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, around)
    }

    /// The conditions of an UPDATE or DELETE, which cannot join.
    fn only(&mut self, plan: &Plan, before: &str) {
        let around = std::mem::take(&mut self.out);
        self.filters(plan);
        let conditions = std::mem::replace(&mut self.out, around);
        if self.has_joins() || plan.combined.is_some() || plan.is_sliced() {
            self.out.push(before);
            self.first_column(plan.meta.primary_key().column);
            let wraps = plan.is_sliced() && self.flavour() == Flavour::Mysql;
            self.out.push(if wraps { " IN (SELECT * FROM (" } else { " IN (" });
            self.select(plan, Wanted::Keys);
            self.out.push(if wraps { ") AS \"some\")" } else { ")" });
        } else if !conditions.is_empty() {
            self.out.push(before);
            self.out.append(conditions);
        }
    }
}
