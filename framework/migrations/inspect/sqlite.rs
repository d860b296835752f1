//! SQLite's catalogue: `sqlite_schema` and its pragmas as tables
//! (<https://sqlite.org/pragma.html#pragfunc>).

use std::collections::BTreeMap;

use crate::db::{Connection, Row, Sql};
use crate::error::Result;

use super::{Action, Check, Checked, Column, Counted, ForeignKey, Index, IndexPart, Table, parse};

/// `index_xinfo`'s number for a part that is an expression.
const EXPRESSION: i64 = -2;

/// `table_xinfo`'s numbers for computed columns.
const COMPUTED: [i64; 2] = [2, 3];

pub(super) async fn tables(connection: &Connection) -> Result<Vec<Table>> {
    let mut tables = columns(connection, "table").await?;
    let created = created(connection).await?;
    indexes(connection, &mut tables, &created).await?;
    foreign_keys(connection, &mut tables).await?;
    for table in tables.values_mut() {
        if let Some(sql) = created.get(&table.name) {
            apply(parse::table(sql), table);
        }
    }
    Ok(tables.into_values().collect())
}

pub(super) async fn views(connection: &Connection) -> Result<Vec<Table>> {
    Ok(columns(connection, "view").await?.into_values().collect())
}

type Tables = BTreeMap<String, Table>;

/// All tables or views with their columns.
async fn columns(connection: &Connection, kind: &str) -> Result<Tables> {
    let sql = format!(
        "SELECT t.name, c.name, lower(c.type), c.\"notnull\", c.dflt_value, c.pk, c.hidden \
         FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) c \
         WHERE t.schema = 'main' AND t.type = '{kind}' AND t.name NOT LIKE 'sqlite\\_%' \
         ESCAPE '\\' ORDER BY t.name, c.cid"
    );
    let mut tables = Tables::new();
    let mut keys: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for row in connection.fetch(Sql::raw(sql)).await? {
        let name: String = row.get(0)?;
        let key: i64 = row.get(5)?;
        let column = Column {
            name: row.get(1)?,
            kind: row.get(2)?,
            null: row.get::<i64>(3)? == 0 && key == 0,
            default: row.get(4)?,
            counted: Counted::No,
            generated: COMPUTED.contains(&row.get(6)?),
        };
        if key > 0 {
            keys.entry(name.clone()).or_default().push((key, column.name.clone()));
        }
        let table = tables.entry(name.clone());
        table.or_insert_with(|| Table { name, ..Table::default() }).columns.push(column);
    }
    for (name, mut columns) in keys {
        columns.sort();
        if let Some(table) = tables.get_mut(&name) {
            table.primary_key = columns.into_iter().map(|(_, column)| column).collect();
            if let [key] = table.primary_key.as_slice() {
                let is_key = |column: &&mut Column| column.name == *key;
                let counted = table.columns.iter_mut().find(is_key);
                if let Some(column) = counted.filter(|column| column.kind == "integer") {
                    column.counted = Counted::Rowid;
                }
            }
        }
    }
    Ok(tables)
}

/// The CREATE statements of tables and indexes, by name.
async fn created(connection: &Connection) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL \
               AND type IN ('table', 'index')";
    let rows = connection.fetch(Sql::raw(sql)).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

async fn indexes(
    connection: &Connection,
    tables: &mut Tables,
    created: &BTreeMap<String, String>,
) -> Result<()> {
    let sql = "SELECT t.name, i.name, i.\"unique\", i.origin, x.cid, x.name, x.desc \
               FROM pragma_table_list t JOIN pragma_index_list(t.name) i \
               JOIN pragma_index_xinfo(i.name) x \
               WHERE t.schema = 'main' AND t.type = 'table' AND i.origin <> 'pk' AND x.key = 1 \
               ORDER BY t.name, i.name, x.seqno";
    let mut found: BTreeMap<(String, String), Index> = BTreeMap::new();
    for row in connection.fetch(Sql::raw(sql)).await? {
        let (table, name): (String, String) = (row.get(0)?, row.get(1)?);
        let (parts, condition) =
            created.get(&name).map_or_else(Default::default, |sql| parse::index(sql));
        let is_constraint = row.get::<String>(3)? == "u";
        let index = found.entry((table, name.clone())).or_insert_with(|| Index {
            name: (!is_constraint).then_some(name),
            parts: Vec::new(),
            unique: false,
            nulls_equal: false,
            condition,
            method: "btree".to_owned(),
        });
        index.unique = row.get::<i64>(2)? == 1;
        index.parts.push(part(&row, parts.get(index.parts.len()))?);
    }
    for ((table, _), index) in found {
        if let Some(table) = tables.get_mut(&table) {
            table.indexes.push(index);
        }
    }
    Ok(())
}

fn part(row: &Row, written: Option<&String>) -> Result<IndexPart> {
    let is_expression = row.get::<i64>(4)? == EXPRESSION;
    let name: Option<String> = row.get(5)?;
    let sql = if is_expression { written.cloned() } else { name };
    Ok(IndexPart {
        // A part that is neither named nor an expression is the row's own number.
        sql: sql.unwrap_or_else(|| "rowid".to_owned()),
        is_expression,
        descending: row.get::<i64>(6)? == 1,
        class: None,
    })
}

async fn foreign_keys(connection: &Connection, tables: &mut Tables) -> Result<()> {
    let sql = "SELECT t.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.on_delete \
               FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f \
               WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, f.id, f.seq";
    let mut found: BTreeMap<(String, i64), ForeignKey> = BTreeMap::new();
    for row in connection.fetch(Sql::raw(sql)).await? {
        let table: String = row.get(2)?;
        let on_delete = match row.get::<String>(5)?.as_str() {
            "CASCADE" => Action::Cascade,
            "RESTRICT" => Action::Restrict,
            "SET NULL" => Action::SetNull,
            "SET DEFAULT" => Action::SetDefault,
            _ => Action::NoAction,
        };
        let key = found.entry((row.get(0)?, row.get(1)?)).or_insert_with(|| ForeignKey {
            columns: Vec::new(),
            name: None,
            table,
            to: Vec::new(),
            checked: Checked::AtOnce,
            on_delete,
        });
        key.columns.push(row.get(3)?);
        key.to.extend(row.get::<Option<String>>(4)?);
    }
    for ((table, _), mut key) in found {
        if key.to.is_empty() {
            // Written without columns it points to the primary key.
            key.to = tables.get(&key.table).map_or_else(Vec::new, |to| to.primary_key.clone());
        }
        if let Some(table) = tables.get_mut(&table) {
            table.foreign_keys.push(key);
        }
    }
    Ok(())
}

/// Adds what the text tells to what the catalogue did.
fn apply(told: parse::Told, table: &mut Table) {
    table.checks = told.checks.into_iter().map(|(name, sql)| Check { name, sql }).collect();
    for (columns, name, checked) in told.foreign_keys {
        let is_it = |key: &&mut ForeignKey| key.columns == columns;
        if let Some(key) = table.foreign_keys.iter_mut().find(is_it) {
            key.name = name;
            key.checked = checked;
        }
    }
    for (columns, name) in told.uniques {
        let is_it = |index: &&mut Index| {
            index.name.is_none() && index.parts.iter().map(|part| &part.sql).eq(&columns)
        };
        if let Some(index) = table.indexes.iter_mut().find(is_it) {
            index.name = Some(name);
        }
    }
    if told.autoincrement {
        let counted = table.columns.iter_mut().filter(|column| column.counted == Counted::Rowid);
        counted.for_each(|column| column.counted = Counted::Autoincrement);
    }
}
