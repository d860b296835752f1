//! How sea-query's statements are written for MariaDB.
//!
//! sea-query's own builder for MySQL leaves RETURNING out and escapes with backslashes; ours fits
//! the sessions of this room, in which names and texts are quoted as in standard SQL.
//!
//! What no builder can write is the business of who makes the statement: there is no NULLS FIRST or
//! LAST, no FILTER of an aggregate, no OFFSET without LIMIT, no target of a conflict.

use std::cell::RefCell;
use std::fmt::Write;

use sea_query::{
    BinOper, ConditionHolder, DynIden, EscapeBuilder, ExplainStatement, Expr, LockType,
    MysqlQueryBuilder, OnConflictAction, OnConflictIdentifier, OnConflictTarget, Oper,
    OperLeftAssocDecider, PrecedenceDecider, QueryBuilder, Quote, QuotedBuilder, SelectInto,
    SqlWriter, SubQueryStatement, TableRefBuilder, Value,
};

/// Writes MariaDB's SQL, one statement.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// The columns of the conflict that is being written.
    conflict: RefCell<Vec<DynIden>>,
}

const INFALLIBLE: &str = "writing to a string cannot fail";

impl QuotedBuilder for Builder {
    fn quote(&self) -> Quote {
        Quote::new(b'"')
    }
}

impl EscapeBuilder for Builder {
    fn write_escaped(&self, buffer: &mut impl Write, string: &str) {
        buffer.write_str(&string.replace('\'', "''")).expect(INFALLIBLE);
    }

    fn unescape_string(&self, string: &str) -> String {
        string.replace("''", "'")
    }
}

impl TableRefBuilder for Builder {}

impl PrecedenceDecider for Builder {
    fn inner_expr_well_known_greater_precedence(&self, inner: &Expr, outer: &Oper) -> bool {
        MysqlQueryBuilder.inner_expr_well_known_greater_precedence(inner, outer)
    }
}

impl OperLeftAssocDecider for Builder {
    fn well_known_left_associative(&self, operator: &BinOper) -> bool {
        MysqlQueryBuilder.well_known_left_associative(operator)
    }
}

impl QueryBuilder for Builder {
    fn prepare_query_statement(&self, query: &SubQueryStatement, sql: &mut impl SqlWriter) {
        match query {
            SubQueryStatement::SelectStatement(query) => self.prepare_select_statement(query, sql),
            SubQueryStatement::InsertStatement(query) => self.prepare_insert_statement(query, sql),
            SubQueryStatement::UpdateStatement(query) => self.prepare_update_statement(query, sql),
            SubQueryStatement::DeleteStatement(query) => self.prepare_delete_statement(query, sql),
            SubQueryStatement::WithStatement(query) => self.prepare_with_query(query, sql),
        }
    }

    fn prepare_select_into(&self, _: &SelectInto, _: &mut impl SqlWriter) {}

    fn prepare_explain_statement(&self, explain: &ExplainStatement, sql: &mut impl SqlWriter) {
        MysqlQueryBuilder.prepare_explain_statement(explain, sql);
    }

    fn prepare_value(&self, value: Value, sql: &mut impl SqlWriter) {
        sql.push_param(value, self);
    }

    fn prepare_on_conflict_keywords(&self, sql: &mut impl SqlWriter) {
        sql.write_str(" ON DUPLICATE KEY").expect(INFALLIBLE);
    }

    /// Any unique key counts; it cannot be named.
    fn prepare_on_conflict_target(&self, target: &OnConflictTarget, _: &mut impl SqlWriter) {
        let OnConflictTarget::Identifiers(columns) = target else { return };
        let columns = columns.iter().filter_map(|column| match column {
            OnConflictIdentifier::Column(column) => Some(column.clone()),
            OnConflictIdentifier::Expr(_) => None,
        });
        *self.conflict.borrow_mut() = columns.collect();
    }

    fn prepare_on_conflict_condition(&self, _: &ConditionHolder, _: &mut impl SqlWriter) {}

    /// To do nothing is to set the columns of the conflict to themselves: unlike INSERT IGNORE it
    /// lets no other error pass.
    fn prepare_on_conflict_action(
        &self,
        action: &Option<OnConflictAction>,
        sql: &mut impl SqlWriter,
    ) {
        let Some(OnConflictAction::DoNothing(keys)) = action else {
            return self.prepare_on_conflict_action_common(action, sql);
        };
        let conflict = self.conflict.borrow();
        let keys = if keys.is_empty() { &conflict } else { keys };
        for (at, key) in keys.iter().enumerate() {
            sql.write_str(if at == 0 { " UPDATE " } else { ", " }).expect(INFALLIBLE);
            self.prepare_iden(key, sql);
            sql.write_str(" = ").expect(INFALLIBLE);
            self.prepare_iden(key, sql);
        }
    }

    fn prepare_on_conflict_do_update_keywords(&self, sql: &mut impl SqlWriter) {
        sql.write_str(" UPDATE ").expect(INFALLIBLE);
    }

    fn prepare_on_conflict_excluded_table(&self, column: &DynIden, sql: &mut impl SqlWriter) {
        sql.write_str("VALUES(").expect(INFALLIBLE);
        self.prepare_iden(column, sql);
        sql.write_str(")").expect(INFALLIBLE);
    }

    fn random_function(&self) -> &'static str {
        "RAND"
    }

    fn lock_phrase(&self, lock: LockType) -> &'static str {
        match lock {
            LockType::Update | LockType::NoKeyUpdate => "FOR UPDATE",
            LockType::Share | LockType::KeyShare => "LOCK IN SHARE MODE",
            // sea-query has only these four, and says it may have more.
            _ => "FOR UPDATE",
        }
    }

    fn insert_default_keyword(&self) -> &'static str {
        "()"
    }
}
