//! Indexes and constraints of a table.
//!
//! Invariants:
//! - Unique is a unique index: it can be dropped without knowing more than its name (and, on
//!   MariaDB, its table's).
//! - MariaDB has no index over part of the rows and none in which NULLs are equal: it has no unique
//!   constraint that says so, and its other indexes are over all rows.
//! - SQLite has no `NULLS NOT DISTINCT`; there a column that may be NULL counts as two, whether it
//!   is NULL and what it holds else, which comes to the same.

use crate::error::Result;
use crate::migrations::constraint::{ConstraintState, IndexState, Rule};
use crate::migrations::state::{FieldState, ModelState};
use crate::migrations::{condition, names};

use super::mysql::split_name;
use super::{Dialect, Place, mysql};

/// An index: its name and what makes it.
pub(super) type Named = (String, String);

impl Place<'_> {
    /// All indexes of a table, those of single columns first.
    pub(super) fn indexes(self, model: &ModelState) -> Result<Vec<Named>> {
        let mut indexes = Vec::new();
        for field in &model.fields {
            indexes.extend(self.own_index(model, field)?);
        }
        indexes.extend(self.named_indexes(model)?);
        Ok(indexes)
    }

    /// The indexes that stand in the description, and the unique constraints.
    pub(super) fn named_indexes(self, model: &ModelState) -> Result<Vec<Named>> {
        let mut indexes = Vec::new();
        for index in &model.indexes {
            indexes.push((index.name.clone(), self.index(model, index, false)?));
        }
        for constraint in &model.constraints {
            if let Some(sql) = self.unique(model, constraint)? {
                indexes.push((constraint.name.clone(), sql));
            }
        }
        Ok(indexes)
    }

    /// The index of one column.
    pub(super) fn own_index(self, model: &ModelState, field: &FieldState) -> Result<Option<Named>> {
        if field.primary_key || !(field.unique || field.index) {
            return Ok(None);
        }
        let name = names::single(&model.table, &field.column, field.unique);
        let kind = if field.unique { "UNIQUE INDEX" } else { "INDEX" };
        let column = self.part(field, field.unique)?;
        let sql = self.index_sql(model, (kind, &name), &column, None);
        Ok(Some((name, sql)))
    }

    pub(super) fn index(
        self,
        model: &ModelState,
        index: &IndexState,
        concurrently: bool,
    ) -> Result<String> {
        let column = |name: &String| {
            let (name, direction) = name.strip_prefix('-').map_or((&**name, ""), |n| (n, " DESC"));
            Ok(format!("{}{direction}", self.part(model.existing_field(name)?, false)?))
        };
        let columns: Vec<String> = index.fields.iter().map(column).collect::<Result<_>>()?;
        let is_concurrent = concurrently && self.dialect == Dialect::Postgres;
        let kind = if is_concurrent { "INDEX CONCURRENTLY" } else { "INDEX" };
        let condition = index.condition.as_deref();
        Ok(self.index_sql(model, (kind, &index.name), &columns.join(", "), condition))
    }

    /// The unique index of a constraint, if it is one.
    pub(super) fn unique(
        self,
        model: &ModelState,
        constraint: &ConstraintState,
    ) -> Result<Option<String>> {
        let Rule::Unique { fields, condition, nulls_distinct } = &constraint.rule else {
            return Ok(None);
        };
        let is_lacking = condition.is_some() || !nulls_distinct;
        if self.dialect == Dialect::Mysql && is_lacking {
            // `manage check` says so.
            return Ok(None);
        }
        let mut columns = Vec::new();
        for name in fields {
            let (name, direction) = name.strip_prefix('-').map_or((&**name, ""), |n| (n, " DESC"));
            let field = model.existing_field(name)?;
            let column = format!("{}{direction}", self.quoted(&field.column));
            if !nulls_distinct && field.null && self.dialect == Dialect::Sqlite {
                let bare = self.quoted(&field.column);
                columns.push(format!("{bare} IS NULL, ifnull({bare}, 0){direction}"));
            } else {
                columns.push(column);
            }
        }
        let mut columns = columns.join(", ");
        if !nulls_distinct && self.dialect == Dialect::Postgres {
            // `index_sql` closes the bracket.
            columns.push_str(") NULLS NOT DISTINCT");
            let sql = self.index_sql(model, ("UNIQUE INDEX", &constraint.name), &columns, None);
            let mut sql = sql.trim_end_matches(')').to_owned();
            sql.push_str(&self.where_sql(condition.as_deref()));
            return Ok(Some(sql));
        }
        let kind = ("UNIQUE INDEX", constraint.name.as_str());
        Ok(Some(self.index_sql(model, kind, &columns, condition.as_deref())))
    }

    fn index_sql(
        self,
        model: &ModelState,
        (kind, name): (&str, &str),
        columns: &str,
        condition: Option<&str>,
    ) -> String {
        let (name, table) = (self.quoted(name), self.quoted(&model.table));
        format!("CREATE {kind} {name} ON {table} ({columns}){}", self.where_sql(condition))
    }

    /// A column in an index; on MariaDB only the beginning of a long text.
    fn part(self, field: &FieldState, unique: bool) -> Result<String> {
        let column = self.quoted(&field.column);
        if self.dialect != Dialect::Mysql || unique {
            return Ok(column);
        }
        Ok(format!("{column}{}", mysql::prefix(self, field)?))
    }

    /// MariaDB's indexes are over all rows: there it is larger, and serves as well.
    fn where_sql(self, condition: Option<&str>) -> String {
        let condition = condition.filter(|_| self.dialect != Dialect::Mysql);
        condition.map_or(String::new(), |text| format!(" WHERE {}", self.condition(text)))
    }

    /// A neutral condition in this dialect's quotes.
    fn condition(self, text: &str) -> String {
        condition::mapped(text, &mut |name| self.quoted(name))
    }

    /// `CONSTRAINT name CHECK (..)` for each check of the table.
    pub(super) fn checks(self, model: &ModelState) -> Vec<Named> {
        let checks = model.constraints.iter().filter_map(|constraint| match &constraint.rule {
            Rule::Check(text) => Some((constraint.name.clone(), text)),
            Rule::Unique { .. } => None,
        });
        let sql = |name: &str, text: &str| {
            format!("CONSTRAINT {} CHECK ({})", self.quoted(name), self.condition(text))
        };
        checks.map(|(name, text)| (name.clone(), sql(&name, text))).collect()
    }

    pub(super) fn drop_index(self, model: &ModelState, name: &str, concurrently: bool) -> String {
        if self.dialect == Dialect::Mysql {
            return format!("DROP INDEX {} ON {}", self.quoted(name), self.quoted(&model.table));
        }
        let is_concurrent = concurrently && self.dialect == Dialect::Postgres;
        let kind = if is_concurrent { "INDEX CONCURRENTLY" } else { "INDEX" };
        format!("DROP {kind} {}", self.quoted(name))
    }

    /// Gives indexes that are the same but for their names the new ones.
    pub(super) fn rename_indexes(
        self,
        model: &ModelState,
        old: &[Named],
        new: &[Named],
    ) -> Vec<String> {
        let pairs = old.iter().zip(new).filter(|((from, _), (to, _))| from != to);
        let rename = |((from, _), (to, create)): (&Named, &Named)| match self.dialect {
            Dialect::Sqlite => vec![self.drop_index(model, from, false), create.clone()],
            Dialect::Postgres => {
                vec![format!("ALTER INDEX {} RENAME TO {}", self.quoted(from), self.quoted(to))]
            }
            Dialect::Mysql => {
                let (table, from, to) =
                    (self.quoted(&model.table), self.quoted(from), self.quoted(to));
                vec![format!("ALTER TABLE {table} RENAME INDEX {from} TO {to}")]
            }
        };
        pairs.flat_map(rename).collect()
    }
}

/// A statement that stands alone such that it may have run before, or been cut short: that leaves
/// an index that is not valid (PostgreSQL's manual on CREATE INDEX CONCURRENTLY).
pub(in crate::migrations) fn again_alone(sql: &str) -> Vec<String> {
    let Some((start, rest)) = sql.split_once("INDEX CONCURRENTLY ") else {
        return vec![sql.to_owned()];
    };
    let name = if start == "DROP " { Some(rest) } else { split_name(rest).map(|(name, _)| name) };
    let dropped = name.map(|name| format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"));
    dropped.into_iter().chain((start != "DROP ").then(|| sql.to_owned())).collect()
}
