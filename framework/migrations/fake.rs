//! `--fake-initial`: whether what an app's first migration would make is there already.

use std::collections::BTreeSet;

use crate::db::Connection;
use crate::error::{Error, Kind as ErrorKind, Result};

use super::inspect::inspect;
use super::state::{FieldState, ModelKey};
use super::work::Work;
use super::{Migration, Operation};

/// Whether all tables and columns that `migration` makes exist, it being its app's first.
///
/// # Errors
/// A table is there, but columns of it are missing: neither running nor faking would be right.
pub(super) async fn is_there(
    connection: &Connection,
    migration: &Migration,
    work: &[Work],
) -> Result<bool> {
    let app = migration.key.app.as_str();
    let Some(last) = work.last() else { return Ok(false) };
    if !migration.is_initial() {
        return Ok(false);
    }
    let made: BTreeSet<ModelKey> =
        work.iter().filter_map(|one| made(&one.operation, app)).collect();
    let models = made.iter().filter_map(|key| last.after.model(key));
    let models: Vec<_> = models.filter(|model| model.options.managed).collect();
    let schema = inspect(connection).await?;
    let mut missing = Vec::new();
    for model in &models {
        let Some(table) = schema.table(&model.table) else { return Ok(false) };
        let is_missing = |field: &&FieldState| table.column(&field.column).is_none();
        let columns = model.fields.iter().filter(is_missing);
        missing.extend(columns.map(|field| format!("{}.{}", model.table, field.column)));
    }
    if missing.is_empty() {
        return Ok(!models.is_empty());
    }
    Err(Error::of(
        ErrorKind::Migration,
        format!(
            "migration {}: its tables are there, but not the columns {}: make them by hand and \
             try again, or move the tables away",
            migration.key,
            missing.join(", ")
        ),
    ))
}

/// The model whose table or column an operation makes.
fn made(operation: &Operation, app: &str) -> Option<ModelKey> {
    match operation {
        Operation::CreateModel(model) => Some(model.key.clone()),
        Operation::AddField { model, .. } => Some(ModelKey::new(app, model)),
        _ => None,
    }
}
