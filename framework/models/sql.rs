//! From conditions and plans to sea-query statements, for either dialect.
//!
//! Invariants:
//! - Values are bound; identifiers come from descriptions only.
//! - A test that NULL would leave undecided counts as "no" once it is negated.

use sea_query::{
    Alias, Expr, ExprTrait, Func, IntoColumnRef, JoinType, LikeExpr, Query, SelectStatement,
};

use crate::db::Dialect;
use crate::models::column::{FieldPath, Order};
use crate::models::lookup::{Node, Q, Test, TextAt};
use crate::models::meta::{Field, Meta};

/// What a query asks, whatever the model's type.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) meta: &'static Meta,
    pub(super) condition: Q,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<u64>,
    pub(super) offset: u64,
    /// Foreign keys whose rows are read along.
    pub(super) related: Vec<&'static Field>,
}

impl Plan {
    pub(super) fn is_never(&self) -> bool {
        matches!(self.condition.0, Node::Never) || self.limit == Some(0)
    }

    pub(super) fn is_sliced(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }

    /// All columns, those of related rows behind them.
    pub(super) fn select(&self, dialect: Dialect) -> SelectStatement {
        let mut query = Select::new(self.meta, dialect);
        for field in &self.meta.fields {
            query.statement.column((self.meta.table, field.column));
        }
        for step in &self.related {
            let Some(relation) = step.relation else { continue };
            let table = query.join(&[step]);
            for field in &(relation.to)().fields {
                query.statement.column((Alias::new(&table), field.column));
            }
        }
        self.restrict(&mut query);
        self.sort(&mut query);
        query.statement
    }

    /// The keys only, unordered unless that decides which.
    pub(super) fn select_keys(&self, dialect: Dialect) -> SelectStatement {
        let mut query = Select::new(self.meta, dialect);
        query.statement.column((self.meta.table, self.meta.primary_key().column));
        self.restrict(&mut query);
        if self.is_sliced() {
            self.sort(&mut query);
        }
        query.statement
    }

    pub(super) fn count(&self, dialect: Dialect) -> SelectStatement {
        if self.is_sliced() {
            let rows = self.select_keys(dialect);
            let mut outer = Query::select();
            outer.expr(Expr::cust("COUNT(*)")).from_subquery(rows, "rows");
            return outer;
        }
        let mut query = Select::new(self.meta, dialect);
        query.statement.expr(Expr::cust("COUNT(*)"));
        self.restrict(&mut query);
        query.statement
    }

    /// The rows' condition for an UPDATE or DELETE, which cannot join.
    pub(super) fn filter(&self, dialect: Dialect) -> Expr {
        let mut query = Select::new(self.meta, dialect);
        let condition = query.condition(&self.condition, false);
        if query.joined.is_empty() {
            return condition;
        }
        let key = self.meta.primary_key().column;
        Expr::col((self.meta.table, key)).in_subquery(self.select_keys(dialect))
    }

    /// The rows' condition if it looks at their own columns only, so that deleting other models'
    /// rows does not change it.
    pub(super) fn own_filter(&self, dialect: Dialect) -> Option<Expr> {
        let mut query = Select::new(self.meta, dialect);
        let condition = query.condition(&self.condition, false);
        query.joined.is_empty().then_some(condition)
    }

    fn restrict(&self, query: &mut Select) {
        if !matches!(self.condition.0, Node::Always) {
            let condition = query.condition(&self.condition, false);
            query.statement.and_where(condition);
        }
        if self.is_sliced() {
            // SQLite knows no OFFSET without a LIMIT.
            query.statement.limit(self.limit.unwrap_or(i64::MAX as u64));
        }
        if self.offset > 0 {
            query.statement.offset(self.offset);
        }
    }

    fn sort(&self, query: &mut Select) {
        for order in &self.order {
            let column = query.column(&order.path);
            let direction =
                if order.descending { sea_query::Order::Desc } else { sea_query::Order::Asc };
            query.statement.order_by_expr(column, direction);
        }
    }
}

/// A SELECT in the making, and which related tables it has joined.
struct Select {
    statement: SelectStatement,
    meta: &'static Meta,
    dialect: Dialect,
    /// Names of joined tables: `_author`, `_author__profile`.
    joined: Vec<String>,
}

impl Select {
    fn new(meta: &'static Meta, dialect: Dialect) -> Self {
        let mut statement = Query::select();
        statement.from(meta.table);
        Self { statement, meta, dialect, joined: Vec::new() }
    }

    /// Joins the tables along `trail` if they are not, and returns the last one's name.
    fn join(&mut self, trail: &[&'static Field]) -> String {
        let mut table = self.meta.table.to_owned();
        let mut name = String::new();
        let mut nullable = false;
        for step in trail {
            let Some(relation) = step.relation else { break };
            name = format!("{name}_{}", step.name);
            nullable |= step.null;
            if !self.joined.contains(&name) {
                let to = (relation.to)();
                let kind = if nullable { JoinType::LeftJoin } else { JoinType::InnerJoin };
                let here = Expr::col((Alias::new(&table), step.column));
                let there = (Alias::new(&name), to.primary_key().column).into_column_ref();
                self.statement.join_as(kind, to.table, Alias::new(&name), here.equals(there));
                self.joined.push(name.clone());
            }
            table.clone_from(&name);
            name.push('_');
        }
        table
    }

    fn column(&mut self, path: &FieldPath) -> Expr {
        // The other row's key is this row's foreign key: no join for that.
        if let Some((last, before)) = path.trail.0.split_last()
            && path.field.primary_key
        {
            let table = self.join(before);
            return Expr::col((Alias::new(table), last.column));
        }
        let table = self.join(&path.trail.0);
        Expr::col((Alias::new(table), path.field.column))
    }

    fn condition(&mut self, condition: &Q, negated: bool) -> Expr {
        match &condition.0 {
            Node::Always => Expr::cust("1 = 1"),
            Node::Never => Expr::cust("1 = 0"),
            Node::Not(inner) => self.condition(inner, true).not(),
            Node::All(all) => self.many(all, negated, Expr::and),
            Node::Any(any) => self.many(any, negated, Expr::or),
            Node::Test(path, test) => {
                let column = self.column(path);
                let decided = matches!(test, Test::IsNull(_));
                let answer = self.test(column.clone(), test);
                if negated && !decided && path.may_be_null() {
                    return answer.and(column.is_not_null());
                }
                answer
            }
        }
    }

    fn many(&mut self, all: &[Q], negated: bool, put: fn(Expr, Expr) -> Expr) -> Expr {
        let mut parts = all.iter().map(|part| self.condition(part, negated)).collect::<Vec<_>>();
        let first = parts.remove(0);
        parts.into_iter().fold(first, put)
    }

    fn test(&self, column: Expr, test: &Test) -> Expr {
        match test.clone() {
            Test::Equal(value) => column.eq(value),
            Test::Greater(value) => column.gt(value),
            Test::GreaterOrEqual(value) => column.gte(value),
            Test::Less(value) => column.lt(value),
            Test::LessOrEqual(value) => column.lte(value),
            Test::Range(first, last) => column.between(first, last),
            Test::In(values) => column.is_in(values),
            Test::IsNull(true) => column.is_null(),
            Test::IsNull(false) => column.is_not_null(),
            Test::Text { text, at, ignore_case } => {
                text_test(self.dialect, column, &text, at, ignore_case)
            }
        }
    }
}

fn text_test(dialect: Dialect, column: Expr, text: &str, at: TextAt, ignore_case: bool) -> Expr {
    match dialect {
        // SQLite's LIKE ignores the case of ASCII letters; GLOB minds it.
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite if ignore_case => column.like(like(text, at)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            let pattern = around(&escaped_for_glob(text), at, '*');
            sea_query::extension::sqlite::SqliteExpr::glob(column, pattern)
        }
        #[cfg(any(feature = "postgres", feature = "mysql"))]
        _ if ignore_case => {
            let pattern = around(&escaped_for_like(text), at, '%');
            // Both sides by the database's rules: Rust's upper case of `ß` is another.
            Expr::cust_with_exprs(
                "$1 LIKE $2 ESCAPE '\\'",
                [Func::upper(column).into(), Func::upper(Expr::val(pattern)).into()],
            )
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => column.like(like(text, at)),
        // The columns' collation minds the case.
        #[cfg(feature = "mysql")]
        Dialect::Mysql => column.like(like(text, at)),
    }
}

fn like(text: &str, at: TextAt) -> LikeExpr {
    LikeExpr::new(around(&escaped_for_like(text), at, '%')).escape('\\')
}

fn around(text: &str, at: TextAt, any: char) -> String {
    match at {
        TextAt::Whole => text.to_owned(),
        TextAt::Anywhere => format!("{any}{text}{any}"),
        TextAt::Start => format!("{text}{any}"),
        TextAt::End => format!("{any}{text}"),
    }
}

fn escaped_for_like(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(feature = "sqlite")]
fn escaped_for_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[') {
            escaped.extend(['[', letter, ']']);
        } else {
            escaped.push(letter);
        }
    }
    escaped
}
