//! Renames: of a table, its columns, and all that is called after them.
//!
//! Flow: the tables before and after, which differ in nothing but names → statements. Whichever
//! operation it was, afterwards each name is what a new database would have.

use crate::error::Result;
use crate::migrations::names;
use crate::migrations::state::{FieldState, Kind, ModelState};

use super::{Dialect, Place, Step, mysql, sqlite};

impl Place<'_> {
    /// Renames whatever has another name afterwards, in any table.
    pub(super) fn follow_all(self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for (old, new) in self.before.models().iter().zip(self.after.models()) {
            if new.options.managed {
                steps.extend(self.follow(old, new)?);
            }
        }
        Ok(steps)
    }

    /// Renames whatever has another name in one table.
    pub(super) fn follow(self, old: &ModelState, new: &ModelState) -> Result<Vec<Step>> {
        let mut statements = self.rename_table(&old.table, &new.table);
        let (drops, adds) = match self.dialect {
            Dialect::Mysql => mysql::rename_constraints(self, old, new)?,
            Dialect::Sqlite | Dialect::Postgres => Default::default(),
        };
        statements.extend(drops);
        for (from, to) in old.fields.iter().zip(&new.fields) {
            if from.column != to.column {
                statements.push(self.rename(new, "COLUMN", (&from.column, &to.column)));
            }
        }
        statements.extend(self.rename_indexes(new, &self.indexes(old)?, &self.indexes(new)?));
        let (were, are) = (self.checks(old), self.checks(new));
        let checks = || were.iter().zip(&are).filter(|((from, _), (to, _))| from != to);
        if self.dialect == Dialect::Postgres {
            statements.extend(self.rename_key(old, new));
            for fields in old.fields.iter().zip(&new.fields) {
                statements.extend(self.rename_own(old, new, fields));
            }
            let rename = |((from, _), (to, _)): (&(String, String), &(String, String))| {
                self.rename(new, "CONSTRAINT", (from, to))
            };
            statements.extend(checks().map(rename));
        }
        statements.extend(adds);
        let mut steps: Vec<Step> = statements.into_iter().map(Step::Sql).collect();
        if self.dialect == Dialect::Sqlite && checks().next().is_some() {
            // The name stands in the table's own text.
            steps.push(Step::Rebuild(sqlite::rebuild(self, (new, new), &[])?));
        }
        Ok(steps)
    }

    fn rename_table(self, old: &str, new: &str) -> Vec<String> {
        let rename = |old: &str, new: &str| {
            format!("ALTER TABLE {} RENAME TO {}", self.quoted(old), self.quoted(new))
        };
        if old == new {
            return Vec::new();
        }
        if self.dialect == Dialect::Sqlite && old.eq_ignore_ascii_case(new) {
            // To SQLite both are one name, and taken.
            let between = names::temporary(new);
            return vec![rename(old, &between), rename(&between, new)];
        }
        vec![rename(old, new)]
    }

    fn rename(self, model: &ModelState, what: &str, (from, to): (&str, &str)) -> String {
        let (table, from, to) = (self.quoted(&model.table), self.quoted(from), self.quoted(to));
        format!("ALTER TABLE {table} RENAME {what} {from} TO {to}")
    }

    /// PostgreSQL names a primary key after its table. Databases that were migrated before this was
    /// done may have another name.
    fn rename_key(self, old: &ModelState, new: &ModelState) -> Option<String> {
        let name = |table: &str| names::postgres(table, None, "pkey");
        let (from, to) = (name(&old.table), name(&new.table));
        let rename = || {
            let (from, to) = (self.quoted(&from), self.quoted(&to));
            format!("ALTER INDEX IF EXISTS {from} RENAME TO {to}")
        };
        (from != to).then(rename)
    }

    /// What PostgreSQL knows by name of one column, but for its index: foreign key and sequence.
    pub(super) fn rename_own(
        self,
        old: &ModelState,
        new: &ModelState,
        (from, to): (&FieldState, &FieldState),
    ) -> Vec<String> {
        let mut statements = Vec::new();
        if from.target().is_some() && to.target().is_some() {
            let was = names::foreign_key(&old.table, &from.column);
            let is = names::foreign_key(&new.table, &to.column);
            if was != is {
                statements.push(self.rename(new, "CONSTRAINT", (&was, &is)));
            }
        }
        if from.kind.is_unsigned() && to.kind.is_unsigned() {
            let was = names::unsigned(&old.table, &from.column);
            let is = names::unsigned(&new.table, &to.column);
            if was != is {
                statements.push(self.rename(new, "CONSTRAINT", (&was, &is)));
            }
        }
        if from.kind == Kind::BigAuto && to.kind == Kind::BigAuto {
            let was = names::postgres(&old.table, Some(&from.column), "seq");
            let is = names::postgres(&new.table, Some(&to.column), "seq");
            if was != is {
                let (was, is) = (self.quoted(&was), self.quoted(&is));
                statements.push(format!("ALTER SEQUENCE IF EXISTS {was} RENAME TO {is}"));
            }
        }
        statements
    }
}
