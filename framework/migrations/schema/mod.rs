//! An operation as DDL, for each dialect.
//!
//! Flow: operation + state before and after → [`steps`] → statements, run by `executor` or printed
//! by `sqlmigrate`.
//!
//! Invariants:
//! - Pure. The state alone decides what a table looks like, whichever way led there; so a new
//!   database and an old one that was migrated have the same schema.
//! - Unique is a unique index on both databases: it can be dropped without knowing more than its
//!   name.
//! - Foreign keys are checked at the commit. What happens to rows that point at a deleted one is
//!   done by `models`, so that hooks run; the database is told nothing about it.

mod column;
mod postgres;
mod sqlite;

use crate::db;
use crate::error::Result;

use super::state::{FieldState, IndexState, ModelKey, ModelState, ProjectState};
use super::{Operation, names};

use column::quoted;

/// Which DDL to write: both can be written whatever databases are compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

impl From<db::Dialect> for Dialect {
    fn from(dialect: db::Dialect) -> Self {
        match dialect {
            #[cfg(feature = "sqlite")]
            db::Dialect::Sqlite => Self::Sqlite,
            #[cfg(feature = "postgres")]
            db::Dialect::Postgres => Self::Postgres,
            #[cfg(feature = "mysql")]
            db::Dialect::Mysql => Self::Mysql,
        }
    }
}

/// Something to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// One statement.
    Sql(String),
    /// SQL by hand: one or more statements.
    Script(String),
    /// A SQLite table made anew, because ALTER TABLE cannot.
    Rebuild(Rebuild),
}

/// Statements that put a new table in the place of an old one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rebuild {
    /// The table.
    pub(super) table: String,
    /// Indexes the statements make. Others on the table, and its triggers, are kept by the
    /// executor.
    pub(super) indexes: Vec<String>,
    /// The statements.
    pub(super) statements: Vec<String>,
    /// What must hold for the rows afterwards.
    pub(super) checks: Vec<Check>,
}

/// A query that finds rows only if something is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    /// The query.
    pub(super) sql: String,
    /// What is wrong then.
    pub(super) complaint: String,
}

/// What an operation is told about its surroundings.
#[derive(Clone, Copy)]
struct Place<'a> {
    dialect: Dialect,
    before: &'a ProjectState,
    after: &'a ProjectState,
}

/// The statements of `operation`, which leads from `before` to `after` in a migration of `app`.
pub(super) fn steps(
    operation: &Operation,
    app: &str,
    states: (&ProjectState, &ProjectState),
    dialect: Dialect,
) -> Result<Vec<Step>> {
    let (before, after) = states;
    if dialect == Dialect::Mysql {
        let words = "migrations cannot be run on MariaDB";
        return Err(crate::error::Error::of(crate::error::Kind::Migration, words));
    }
    let place = Place { dialect, before, after };
    let old = |model: &str| before.existing(&ModelKey::new(app, model));
    let new = |model: &str| after.existing(&ModelKey::new(app, model));
    match operation {
        Operation::CreateModel(model) => place.create_table(model),
        Operation::DeleteModel { model } => {
            Ok(vec![Step::Sql(format!("DROP TABLE {}", quoted(&old(model)?.table)))])
        }
        Operation::AddField { model, field, fill } => {
            let (old, new) = (old(model)?, new(model)?);
            match dialect {
                Dialect::Sqlite => sqlite::add_field(place, (old, new), field, fill.as_ref()),
                Dialect::Postgres | Dialect::Mysql => {
                    postgres::add_field(place, new, field, fill.as_ref())
                }
            }
        }
        Operation::AlterField { model, field, fill } => {
            let (old, new) = (old(model)?, new(model)?);
            let fields = (old.existing_field(&field.name)?, field);
            match dialect {
                Dialect::Sqlite => sqlite::alter_field(place, (old, new), fields, fill.as_ref()),
                Dialect::Postgres | Dialect::Mysql => {
                    postgres::alter_field(place, new, fields, fill.as_ref())
                }
            }
        }
        Operation::RemoveField { model, field } => {
            let (old, new) = (old(model)?, new(model)?);
            let field = old.existing_field(field)?;
            match dialect {
                Dialect::Sqlite => sqlite::remove_field(place, (old, new), field),
                Dialect::Postgres | Dialect::Mysql => {
                    Ok(vec![Step::Sql(postgres::drop_column(old, field))])
                }
            }
        }
        Operation::RenameField { model, from, to } => {
            let (old, new) = (old(model)?, new(model)?);
            place.rename_field(old, (old.existing_field(from)?, new.existing_field(to)?))
        }
        Operation::AlterModelTable { model, .. } => {
            Ok(place.rename_table(old(model)?, new(model)?))
        }
        Operation::AddIndex { model, index } => {
            Ok(vec![Step::Sql(create_index(new(model)?, index)?)])
        }
        Operation::RemoveIndex { name, .. } => Ok(vec![Step::Sql(drop_index(name))]),
        Operation::Run { .. } => Ok(Vec::new()),
        Operation::RunSql { forwards, .. } => Ok(place.by_hand(forwards)),
    }
}

impl Place<'_> {
    fn create_table(self, model: &ModelState) -> Result<Vec<Step>> {
        let mut steps = vec![Step::Sql(self.table(self.after, model, &model.table)?)];
        steps.extend(indexes(model)?.into_iter().map(|(_, sql)| Step::Sql(sql)));
        Ok(steps)
    }

    /// CREATE TABLE for `model` under the name `table`.
    fn table(self, state: &ProjectState, model: &ModelState, table: &str) -> Result<String> {
        let columns = model.fields.iter().map(|field| self.column(state, model, field));
        let columns: Vec<String> = columns.collect::<Result<_>>()?;
        Ok(format!("CREATE TABLE {} (\n    {}\n)", quoted(table), columns.join(",\n    ")))
    }

    fn rename_field(
        self,
        model: &ModelState,
        (from, to): (&FieldState, &FieldState),
    ) -> Result<Vec<Step>> {
        if from.column == to.column {
            return Ok(Vec::new());
        }
        let table = quoted(&model.table);
        let rename = |what: &str, old: &str, new: &str| {
            format!("ALTER TABLE {table} RENAME {what} {} TO {}", quoted(old), quoted(new))
        };
        let mut statements = vec![rename("COLUMN", &from.column, &to.column)];
        if let (Some((old, _)), Some((new, create))) =
            (own_index(model, from), own_index(model, to))
        {
            match self.dialect {
                Dialect::Sqlite => statements.extend([drop_index(&old), create]),
                Dialect::Postgres | Dialect::Mysql => statements.push(format!(
                    "ALTER INDEX {} RENAME TO {}",
                    quoted(&old),
                    quoted(&new)
                )),
            }
        }
        if self.dialect == Dialect::Postgres && from.target().is_some() {
            let name = |column: &str| names::foreign_key(&model.table, column);
            statements.push(rename("CONSTRAINT", &name(&from.column), &name(&to.column)));
        }
        if self.dialect == Dialect::Postgres && from.kind.is_unsigned() {
            let name = |column: &str| names::unsigned(&model.table, column);
            statements.push(rename("CONSTRAINT", &name(&from.column), &name(&to.column)));
        }
        Ok(statements.into_iter().map(Step::Sql).collect())
    }

    /// Gives a table another name, and to its indexes and keys those that follow from it.
    fn rename_table(self, old: &ModelState, new: &ModelState) -> Vec<Step> {
        if old.table == new.table {
            return Vec::new();
        }
        let table = quoted(&new.table);
        let mut statements = vec![format!("ALTER TABLE {} RENAME TO {table}", quoted(&old.table))];
        for (before, after) in old.fields.iter().zip(&new.fields) {
            if let (Some((name, _)), Some((to, create))) =
                (own_index(old, before), own_index(new, after))
            {
                match self.dialect {
                    Dialect::Sqlite => statements.extend([drop_index(&name), create]),
                    Dialect::Postgres | Dialect::Mysql => statements.push(format!(
                        "ALTER INDEX {} RENAME TO {}",
                        quoted(&name),
                        quoted(&to)
                    )),
                }
            }
            let constraint: fn(&str, &str) -> String = match &after.kind {
                kind if self.dialect == Dialect::Sqlite || !kind.has_constraint() => continue,
                kind if kind.is_unsigned() => names::unsigned,
                _ => names::foreign_key,
            };
            let name = |table: &str| quoted(&constraint(table, &after.column));
            statements.push(format!(
                "ALTER TABLE {table} RENAME CONSTRAINT {} TO {}",
                name(&old.table),
                name(&new.table)
            ));
        }
        statements.into_iter().map(Step::Sql).collect()
    }

    fn by_hand(self, sql: &str) -> Vec<Step> {
        if sql.trim().is_empty() {
            return Vec::new();
        }
        let script = Step::Script(sql.trim().trim_end_matches(';').to_owned());
        match self.dialect {
            Dialect::Sqlite => vec![script],
            Dialect::Postgres | Dialect::Mysql => [vec![script], postgres::settle()].concat(),
        }
    }
}

/// The indexes of a table: name and CREATE INDEX.
fn indexes(model: &ModelState) -> Result<Vec<(String, String)>> {
    let mut indexes: Vec<_> =
        model.fields.iter().filter_map(|field| own_index(model, field)).collect();
    for index in &model.indexes {
        indexes.push((index.name.clone(), create_index(model, index)?));
    }
    Ok(indexes)
}

/// The index of one column: name and CREATE INDEX.
fn own_index(model: &ModelState, field: &FieldState) -> Option<(String, String)> {
    if field.primary_key || !(field.unique || field.index) {
        return None;
    }
    let name = names::single(&model.table, &field.column, field.unique);
    let sql = index_sql(model, &name, field.unique, &quoted(&field.column));
    Some((name, sql))
}

fn create_index(model: &ModelState, index: &IndexState) -> Result<String> {
    let column = |name: &String| {
        let (name, direction) = name.strip_prefix('-').map_or((&**name, ""), |n| (n, " DESC"));
        Ok(format!("{}{direction}", quoted(&model.existing_field(name)?.column)))
    };
    let columns: Vec<String> = index.fields.iter().map(column).collect::<Result<_>>()?;
    Ok(index_sql(model, &index.name, index.unique, &columns.join(", ")))
}

fn index_sql(model: &ModelState, name: &str, unique: bool, columns: &str) -> String {
    let unique = if unique { "UNIQUE " } else { "" };
    format!("CREATE {unique}INDEX {} ON {} ({columns})", quoted(name), quoted(&model.table))
}

fn drop_index(name: &str) -> String {
    format!("DROP INDEX {}", quoted(name))
}
