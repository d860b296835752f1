//! MariaDB's catalogue (`information_schema`): the tables of the session's database.
//!
//! Its own words are told, with these exceptions: `json` is what it made of a `json` column, a
//! `longtext` with a check; and `NULL` is no default.

use std::collections::BTreeMap;

use crate::db::{Connection, Row, Sql};
use crate::error::Result;

use super::{Action, Check, Checked, Column, Counted, ForeignKey, Index, IndexPart, Table};

/// Ordinary tables, those that keep their history too.
const TABLES: &str = "'BASE TABLE', 'SYSTEM VERSIONED'";

/// Views.
const VIEWS: &str = "'VIEW'";

/// The index of a primary key.
const PRIMARY: &str = "PRIMARY";

type Tables = BTreeMap<String, Table>;

pub(super) async fn tables(connection: &Connection) -> Result<Vec<Table>> {
    let mut tables = columns(connection, TABLES).await?;
    checks(connection, &mut tables).await?;
    foreign_keys(connection, &mut tables).await?;
    indexes(connection, &mut tables).await?;
    Ok(tables.into_values().collect())
}

pub(super) async fn views(connection: &Connection) -> Result<Vec<Table>> {
    Ok(columns(connection, VIEWS).await?.into_values().collect())
}

/// All tables of these kinds with their columns.
async fn columns(connection: &Connection, kinds: &str) -> Result<Tables> {
    let sql = format!(
        "SELECT t.table_name, c.column_name, c.column_type, c.is_nullable = 'YES', \
             c.column_default, c.extra, c.is_generated = 'ALWAYS' \
         FROM information_schema.tables t JOIN information_schema.columns c \
             ON c.table_schema = t.table_schema AND c.table_name = t.table_name \
         WHERE t.table_schema = DATABASE() AND t.table_type IN ({kinds}) \
         ORDER BY t.table_name, c.ordinal_position"
    );
    let mut tables = Tables::new();
    for row in connection.fetch(Sql::raw(sql)).await? {
        let name: String = row.get(0)?;
        let table =
            tables.entry(name.clone()).or_insert_with(|| Table { name, ..Table::default() });
        table.columns.push(column(&row)?);
    }
    Ok(tables)
}

fn column(row: &Row) -> Result<Column> {
    let default: Option<String> = row.get(4)?;
    let is_counted = row.get::<String>(5)?.contains("auto_increment");
    Ok(Column {
        name: row.get(1)?,
        kind: row.get(2)?,
        null: row.get(3)?,
        default: default.filter(|sql| sql != "NULL"),
        counted: if is_counted { Counted::Autoincrement } else { Counted::No },
        generated: row.get(6)?,
    })
}

async fn checks(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let sql = "SELECT table_name, constraint_name, level = 'Column', check_clause \
               FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()";
    for row in connection.fetch(Sql::raw(sql)).await? {
        let Some(table) = tables.get_mut(&row.get::<String>(0)?) else { continue };
        let (name, of_column, sql): (String, bool, String) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        // A column that got another name may keep the former as that of its check.
        let is_json = |column: &&mut Column| {
            of_column && sql == format!("json_valid(\"{}\")", column.name.replace('"', "\"\""))
        };
        if let Some(column) = table.columns.iter_mut().find(is_json) {
            column.kind = "json".to_owned();
            continue;
        }
        // That of a column bears the column's name.
        table.checks.push(Check { name: (!of_column).then_some(name), sql });
    }
    Ok(())
}

async fn foreign_keys(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let sql = "SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_name, \
                   k.referenced_column_name, r.delete_rule \
               FROM information_schema.key_column_usage k \
               JOIN information_schema.referential_constraints r \
                   ON r.constraint_schema = k.constraint_schema \
                   AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
               WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL \
               ORDER BY k.table_name, k.constraint_name, k.ordinal_position";
    for row in connection.fetch(Sql::raw(sql)).await? {
        let Some(table) = tables.get_mut(&row.get::<String>(0)?) else { continue };
        let name: Option<String> = row.get(1)?;
        if table.foreign_keys.last().is_none_or(|last| last.name != name) {
            table.foreign_keys.push(ForeignKey {
                columns: Vec::new(),
                name,
                table: row.get(3)?,
                to: Vec::new(),
                checked: Checked::AtOnce,
                on_delete: action(&row.get::<String>(5)?),
            });
        }
        if let Some(key) = table.foreign_keys.last_mut() {
            key.columns.push(row.get(2)?);
            key.to.push(row.get(4)?);
        }
    }
    Ok(())
}

fn action(rule: &str) -> Action {
    match rule {
        "CASCADE" => Action::Cascade,
        "SET NULL" => Action::SetNull,
        "SET DEFAULT" => Action::SetDefault,
        // To MariaDB NO ACTION is the same, and what it says if nothing was said.
        _ => Action::Restrict,
    }
}

async fn indexes(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let sql = "SELECT table_name, index_name, non_unique = 0, LOWER(index_type), column_name, \
                   COALESCE(collation, 'A') = 'D', sub_part \
               FROM information_schema.statistics WHERE table_schema = DATABASE() \
               ORDER BY table_name, index_name, seq_in_index";
    for row in connection.fetch(Sql::raw(sql)).await? {
        let Some(table) = tables.get_mut(&row.get::<String>(0)?) else { continue };
        let (index, column): (String, String) = (row.get(1)?, row.get(4)?);
        if index == PRIMARY {
            table.primary_key.push(column);
            continue;
        }
        let name = Some(index);
        if table.indexes.last().is_none_or(|last| last.name != name) {
            table.indexes.push(Index {
                name,
                parts: Vec::new(),
                unique: row.get(2)?,
                nulls_equal: false,
                condition: None,
                method: row.get(3)?,
            });
        }
        let prefix: Option<i64> = row.get(6)?;
        let part = IndexPart {
            sql: column,
            is_expression: false,
            descending: row.get(5)?,
            class: prefix.map(|characters| format!("({characters})")),
        };
        if let Some(index) = table.indexes.last_mut() {
            index.parts.push(part);
        }
    }
    Ok(())
}
