//! `run_sql`: one text, a list of them, or a table with those of each database.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::error::Result;
use crate::migrations::Operation;
use crate::migrations::operation::SqlText;

use super::table::Table;

/// The databases that may have SQL of their own.
const DATABASES: [&str; 3] = ["sqlite", "postgres", "mysql"];

const WANTED: &str = "must be a text, a list of texts, or a table like \
                      { sqlite = \"..\", postgres = \"..\", mysql = \"..\" }";

pub(super) fn run_sql(table: &mut Table<'_>) -> Result<Operation> {
    let forwards = sql_text(table, "run_sql")?;
    let forwards = forwards.ok_or_else(|| table.error("`run_sql` is missing"))?;
    let backwards = sql_text(table, "backwards")?;
    let elidable = table.boolean("elidable")?.unwrap_or(false);
    Ok(Operation::RunSql { forwards, backwards, elidable })
}

fn sql_text(table: &mut Table<'_>, key: &'static str) -> Result<Option<SqlText>> {
    let Some(value) = table.value(key) else { return Ok(None) };
    let Some(each) = value.get_ref().as_table() else {
        let same = texts(value).ok_or_else(|| table.wrong(key, WANTED))?;
        return Ok(Some(SqlText::Same(same)));
    };
    let mut found = BTreeMap::new();
    for (database, sql) in each {
        let database = database.get_ref().as_ref();
        if !DATABASES.contains(&database) {
            let known = DATABASES.join(", ");
            return Err(table.wrong(key, format!("{database:?} is none of {known}")));
        }
        let sql = texts(sql).ok_or_else(|| table.wrong(key, WANTED))?;
        found.insert(database.to_owned(), sql);
    }
    Ok(Some(SqlText::Each(found)))
}

fn texts(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
    if let Some(one) = text(value) {
        return Some(vec![one]);
    }
    value.get_ref().as_array()?.iter().map(text).collect()
}
