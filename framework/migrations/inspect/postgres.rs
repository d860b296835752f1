//! PostgreSQL's catalogue (PostgreSQL 18 manual, chapter 52): the current schema's tables.

use std::collections::BTreeMap;

use crate::db::{Connection, Row, Sql};
use crate::error::{Error, Kind, Result};

use super::{Action, Check, Checked, Column, Counted, ForeignKey, Index, IndexPart, Table};

/// Ordinary and partitioned tables.
const TABLES: &str = "'r', 'p'";

/// Views, materialised ones too, and tables of other servers.
const VIEWS: &str = "'v', 'm', 'f'";

/// What stands between the name of a table and its namespace's.
const HERE: &str = "JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema()";

type Tables = BTreeMap<String, Table>;

pub(super) async fn tables(connection: &Connection) -> Result<Vec<Table>> {
    let mut tables = columns(connection, TABLES).await?;
    constraints(connection, &mut tables).await?;
    indexes(connection, &mut tables).await?;
    Ok(tables.into_values().collect())
}

pub(super) async fn views(connection: &Connection) -> Result<Vec<Table>> {
    Ok(columns(connection, VIEWS).await?.into_values().collect())
}

/// All tables of these kinds with their columns.
async fn columns(connection: &Connection, kinds: &str) -> Result<Tables> {
    let sql = format!(
        "SELECT t.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), \
             a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, \
             a.attgenerated::text, \
             pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(t.relname), \
                 a.attname) IS NOT NULL \
         FROM pg_class t {HERE} \
         LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
         LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum \
         WHERE t.relkind IN ({kinds}) AND NOT t.relispartition ORDER BY t.relname, a.attnum"
    );
    let mut tables = Tables::new();
    for row in connection.fetch(Sql::raw(sql)).await? {
        let name: String = row.get(0)?;
        let table =
            tables.entry(name.clone()).or_insert_with(|| Table { name, ..Table::default() });
        // A table without columns is possible.
        if !row.is_null(1) {
            table.columns.push(column(&row)?);
        }
    }
    Ok(tables)
}

fn column(row: &Row) -> Result<Column> {
    let default: Option<String> = row.get(4)?;
    let is_next = |sql: &str| sql.starts_with("nextval(");
    let counted = match row.get::<String>(5)?.as_str() {
        "a" => Counted::IdentityAlways,
        "d" => Counted::Identity,
        _ if row.get(7)? && default.as_deref().is_some_and(is_next) => Counted::Serial,
        _ => Counted::No,
    };
    Ok(Column {
        name: row.get(1)?,
        kind: row.get(2)?,
        null: !row.get::<bool>(3)?,
        default: default.filter(|_| counted != Counted::Serial),
        counted,
        generated: !row.get::<String>(6)?.is_empty(),
    })
}

async fn constraints(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let names = |keys: &str, table: &str| {
        format!(
            "(SELECT json_agg(a.attname::text ORDER BY k.place)::text \
             FROM unnest({keys}) WITH ORDINALITY k(number, place) \
             JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number)"
        )
    };
    let (own, other) = (names("c.conkey", "c.conrelid"), names("c.confkey", "c.confrelid"));
    let sql = format!(
        "SELECT t.relname::text, c.conname::text, c.contype::text, {own}, \
             pg_get_expr(c.conbin, c.conrelid, true), o.relname::text, {other}, \
             c.condeferrable, c.condeferred, c.confdeltype::text \
         FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid {HERE} \
         LEFT JOIN pg_class o ON o.oid = c.confrelid \
         WHERE c.contype IN ('p', 'c', 'f') AND t.relkind IN ({TABLES}) AND NOT t.relispartition"
    );
    for row in connection.fetch(Sql::raw(sql)).await? {
        let Some(table) = tables.get_mut(&row.get::<String>(0)?) else { continue };
        let name = Some(row.get(1)?);
        match row.get::<String>(2)?.as_str() {
            "p" => table.primary_key = list(&row, 3)?,
            "c" => table.checks.push(Check { name, sql: row.get(4)? }),
            _ => table.foreign_keys.push(ForeignKey {
                columns: list(&row, 3)?,
                name,
                table: row.get(5)?,
                to: list(&row, 6)?,
                checked: Checked::of(row.get(7)?, row.get(8)?),
                on_delete: action(&row.get::<String>(9)?),
            }),
        }
    }
    Ok(())
}

fn action(letter: &str) -> Action {
    match letter {
        "r" => Action::Restrict,
        "c" => Action::Cascade,
        "n" => Action::SetNull,
        "d" => Action::SetDefault,
        _ => Action::NoAction,
    }
}

/// A list of names that came as JSON.
fn list(row: &Row, index: usize) -> Result<Vec<String>> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| Error::because(Kind::Database, "reading a list of columns", error))
}

async fn indexes(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let sql = format!(
        "SELECT t.relname::text, i.relname::text, x.indisunique, x.indnullsnotdistinct, \
             pg_get_expr(x.indpred, x.indrelid, true), m.amname::text, \
             a.attname::text, pg_get_indexdef(x.indexrelid, k.place::int, true), \
             (x.indoption[k.place - 1] & 1) = 1, \
             CASE WHEN o.opcdefault THEN NULL ELSE o.opcname::text END \
         FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid {HERE} \
         JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam \
         JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY k(number, place) \
             ON k.place <= x.indnkeyatts \
         LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number AND k.number > 0 \
         JOIN pg_opclass o ON o.oid = x.indclass[k.place - 1] \
         WHERE NOT x.indisprimary AND t.relkind IN ({TABLES}) AND NOT t.relispartition \
         ORDER BY t.relname, i.relname, k.place"
    );
    let mut last: Option<(String, String)> = None;
    for row in connection.fetch(Sql::raw(sql)).await? {
        let (name, index): (String, String) = (row.get(0)?, row.get(1)?);
        let Some(table) = tables.get_mut(&name) else { continue };
        let place = (name, index);
        if last.as_ref() != Some(&place) {
            table.indexes.push(Index {
                name: Some(place.1.clone()),
                parts: Vec::new(),
                unique: row.get(2)?,
                nulls_equal: row.get(3)?,
                condition: row.get(4)?,
                method: row.get(5)?,
            });
            last = Some(place);
        }
        let column: Option<String> = row.get(6)?;
        let part = IndexPart {
            is_expression: column.is_none(),
            sql: column.map_or_else(|| row.get(7), Ok)?,
            descending: row.get(8)?,
            class: row.get(9)?,
        };
        if let Some(index) = table.indexes.last_mut() {
            index.parts.push(part);
        }
    }
    Ok(())
}
