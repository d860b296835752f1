//! An operation as DDL, for each dialect.
//!
//! Flow: operation + state before and after → [`steps`] → statements, run by `executor` or printed
//! by `sqlmigrate`.
//!
//! Invariants:
//! - Pure. The state alone decides what a table looks like, whichever way led there; so a new
//!   database and an old one that was migrated have the same schema.
//! - Foreign keys are checked at the commit. What happens to rows that point at a deleted one is
//!   done by `models`, so that hooks run; the database is told nothing about it.
//! - A model that is not `managed` has no DDL.

mod column;
mod convert;
mod follow;
mod index;
mod key;
mod mysql;
mod postgres;
mod sqlite;

use crate::db;
use crate::error::{Error, Kind as ErrorKind, Result};

use super::Operation;
use super::constraint::{ConstraintState, Rule};
pub(super) use column::column_type;

use super::operation::{SqlText, existing_constraint};
use super::state::{ModelKey, ModelState, ProjectState};

pub(super) use index::again_alone;
pub(super) use mysql::again;

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

impl Dialect {
    /// As files name it.
    fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// Something to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// One statement.
    Sql(String),
    /// One statement that PostgreSQL runs only outside a transaction.
    Alone(String),
    /// SQL by hand: one or more statements.
    Script(String),
    /// What must hold before the next one.
    Check(Check),
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
    (before, after): (&ProjectState, &ProjectState),
    dialect: Dialect,
) -> Result<Vec<Step>> {
    let place = Place { dialect, before, after };
    match operation {
        Operation::RunSql { forwards, .. } => place.by_hand(forwards),
        // What a function did may have left checks waiting.
        Operation::Run { .. } if dialect == Dialect::Postgres => Ok(postgres::settle()),
        Operation::Run { .. } | Operation::AlterModelOptions { .. } => Ok(Vec::new()),
        Operation::Separate { database, .. } => separate(database, app, before, dialect),
        Operation::RenameModel { .. } | Operation::AlterModelTable { .. } => place.follow_all(),
        _ => {
            let key = ModelKey::new(app, operation.model().unwrap_or_default());
            let known = after.model(&key).or_else(|| before.model(&key));
            if known.is_some_and(|model| !model.options.managed) {
                return Ok(Vec::new());
            }
            match operation {
                Operation::CreateModel(model) => place.create_table(model),
                Operation::DeleteModel { .. } => {
                    let table = place.quoted(&before.existing(&key)?.table);
                    Ok(vec![Step::Sql(format!("DROP TABLE {table}"))])
                }
                _ => place.change((before.existing(&key)?, after.existing(&key)?), operation),
            }
        }
    }
}

/// The statements of operations that change no state but their own.
fn separate(
    operations: &[Operation],
    app: &str,
    before: &ProjectState,
    dialect: Dialect,
) -> Result<Vec<Step>> {
    let mut state = before.clone();
    let mut made = Vec::new();
    for operation in operations {
        let before = state.clone();
        operation.apply(app, &mut state)?;
        made.extend(steps(operation, app, (&before, &state), dialect)?);
    }
    Ok(made)
}

impl Place<'_> {
    /// The statements of an operation on one table, before and after it.
    fn change(
        self,
        models: (&ModelState, &ModelState),
        operation: &Operation,
    ) -> Result<Vec<Step>> {
        let (old, new) = models;
        match (operation, self.dialect) {
            (Operation::AddField { field, fill, .. }, Dialect::Sqlite) => {
                sqlite::add_field(self, models, field, fill.as_ref())
            }
            (Operation::AddField { field, fill, .. }, Dialect::Postgres) => {
                postgres::add_field(self, new, field, fill.as_ref())
            }
            (Operation::AddField { field, fill, .. }, Dialect::Mysql) => {
                mysql::add_field(self, new, field, fill.as_ref())
            }
            (Operation::AlterField { field, fill, .. }, dialect) => {
                let (fields, fill) = ((old.existing_field(&field.name)?, field), fill.as_ref());
                let check = convert::check(self, old, fields)?.map(Step::Check);
                let steps = match dialect {
                    Dialect::Sqlite => sqlite::alter_field(self, models, fields, fill)?,
                    Dialect::Postgres => postgres::alter_field(self, models, fields, fill)?,
                    Dialect::Mysql => mysql::alter_field(self, models, fields, fill)?,
                };
                Ok(check.into_iter().chain(steps).collect())
            }
            (Operation::AlterPrimaryKey { fields, .. }, _) => key::alter(self, models, fields),
            (Operation::RemoveField { field, .. }, dialect) => {
                let field = old.existing_field(field)?;
                match dialect {
                    Dialect::Sqlite => sqlite::remove_field(self, models, field),
                    Dialect::Postgres => Ok(vec![postgres::drop_column(self, old, field)]),
                    Dialect::Mysql => mysql::remove_field(self, old, field),
                }
            }
            (Operation::RenameField { .. } | Operation::RenameIndex { .. }, _) => {
                self.follow(old, new)
            }
            (Operation::AddIndex { index, concurrently, .. }, _) => {
                let sql = self.index(new, index, *concurrently)?;
                Ok(vec![self.alone(sql, *concurrently)])
            }
            (Operation::AddConstraint { constraint, .. }, _) => {
                self.add_constraint(models, constraint)
            }
            (Operation::RemoveConstraint { name, .. }, _) => self.remove_constraint(models, name),
            (Operation::RemoveIndex { name, concurrently, .. }, _) => {
                if existing_constraint(old, name).is_ok() {
                    return self.remove_constraint(models, name);
                }
                Ok(vec![self.alone(self.drop_index(old, name, *concurrently), *concurrently)])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn alone(self, sql: String, concurrently: bool) -> Step {
        let is_alone = concurrently && self.dialect == Dialect::Postgres;
        if is_alone { Step::Alone(sql) } else { Step::Sql(sql) }
    }

    fn create_table(self, model: &ModelState) -> Result<Vec<Step>> {
        let mut steps = vec![Step::Sql(self.table(self.after, model, &model.table)?)];
        steps.extend(self.indexes(model)?.into_iter().map(|(_, sql)| Step::Sql(sql)));
        Ok(steps)
    }

    /// CREATE TABLE for `model` under the name `table`.
    fn table(self, state: &ProjectState, model: &ModelState, table: &str) -> Result<String> {
        let columns = model.fields.iter().map(|field| self.column(state, model, field));
        let mut lines: Vec<String> = columns.collect::<Result<_>>()?;
        lines.extend(self.checks(model).into_iter().map(|(_, sql)| sql));
        let mut options = String::new();
        if self.dialect == Dialect::Mysql {
            for field in &model.fields {
                let own = mysql::own(self, state, model, field)?;
                lines.extend(own.into_iter().map(|(_, sql)| sql));
            }
            options = mysql::table_options();
        }
        let (table, lines) = (self.quoted(table), lines.join(",\n    "));
        Ok(format!("CREATE TABLE {table} (\n    {lines}\n){options}"))
    }

    fn add_constraint(
        self,
        (old, new): (&ModelState, &ModelState),
        constraint: &ConstraintState,
    ) -> Result<Vec<Step>> {
        if let Rule::Unique { .. } = constraint.rule {
            let sql = self.unique(new, constraint)?;
            return Ok(sql.into_iter().map(Step::Sql).collect());
        }
        if self.dialect == Dialect::Sqlite {
            return Ok(vec![Step::Rebuild(sqlite::rebuild(self, (old, new), &[])?)]);
        }
        let table = self.quoted(&new.table);
        let made = self.checks(new).into_iter().filter(|(name, _)| *name == constraint.name);
        Ok(made.map(|(_, sql)| Step::Sql(format!("ALTER TABLE {table} ADD {sql}"))).collect())
    }

    fn remove_constraint(
        self,
        models: (&ModelState, &ModelState),
        name: &str,
    ) -> Result<Vec<Step>> {
        let (old, _) = models;
        match (&existing_constraint(old, name)?.rule, self.dialect) {
            (Rule::Unique { .. }, Dialect::Mysql)
                if self.unique(old, existing_constraint(old, name)?)?.is_none() =>
            {
                Ok(Vec::new())
            }
            (Rule::Unique { .. }, _) => Ok(vec![Step::Sql(self.drop_index(old, name, false))]),
            (Rule::Check(_), Dialect::Sqlite) => {
                Ok(vec![Step::Rebuild(sqlite::rebuild(self, models, &[])?)])
            }
            (Rule::Check(_), Dialect::Postgres | Dialect::Mysql) => {
                let (table, name) = (self.quoted(&old.table), self.quoted(name));
                Ok(vec![Step::Sql(format!("ALTER TABLE {table} DROP CONSTRAINT {name}"))])
            }
        }
    }

    fn by_hand(self, sql: &SqlText) -> Result<Vec<Step>> {
        let texts = match sql {
            SqlText::Same(texts) => texts,
            SqlText::Each(each) => each.get(self.dialect.word()).ok_or_else(|| {
                let word = self.dialect.word();
                let words = format!(
                    "it says nothing for {word}; add `{word} = \"\"` if there is nothing to do"
                );
                Error::of(ErrorKind::Migration, words)
            })?,
        };
        let texts = texts.iter().map(|text| text.trim().trim_end_matches(';'));
        let scripts = texts.filter(|text| !text.is_empty());
        let mut steps: Vec<Step> = scripts.map(|text| Step::Script(text.to_owned())).collect();
        if self.dialect == Dialect::Postgres && !steps.is_empty() {
            steps.extend(postgres::settle());
        }
        Ok(steps)
    }

    /// `name` as an identifier.
    fn quoted(self, name: &str) -> String {
        column::quoted(name)
    }
}
