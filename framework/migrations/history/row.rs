//! One row of a data migration.

use sea_query::{Value, ValueType};

use crate::db::Row;
use crate::error::{Error, Kind as ErrorKind, Result};

use super::HistoricModel;

/// A row as its model was then.
#[derive(Clone, Debug)]
pub struct HistoricRow {
    model: HistoricModel,
    /// In the order of the model's fields.
    values: Vec<Value>,
    /// Its key as it is in the database.
    key: Value,
    /// Places of the fields that were set since.
    changed: Vec<usize>,
}

impl HistoricRow {
    pub(super) fn read(model: &HistoricModel, row: &Row) -> Result<Self> {
        let fields = model.model.fields.iter().enumerate();
        let values = fields.map(|(place, field)| {
            let value = model.kind(field)?.read(row, place);
            value.map_err(|error| error.context(format!("{}.{}", model.model.key, field.name)))
        });
        let values: Vec<Value> = values.collect::<Result<_>>()?;
        let place = model.model.fields.iter().position(|field| field.primary_key);
        let key = place.and_then(|place| values.get(place).cloned());
        let key = key.ok_or_else(|| super::wrong(format!("{} has no key", model.model.key)))?;
        let model = HistoricModel { conditions: Vec::new(), ..model.clone() };
        Ok(Self { model, values, key, changed: Vec::new() })
    }

    /// Its primary key, as it is in the database.
    #[must_use]
    pub fn key(&self) -> &Value {
        &self.key
    }

    /// The value of `field` as it would be bound: a foreign key's is the key it holds.
    ///
    /// # Errors
    /// There is no such field.
    pub fn value(&self, field: &str) -> Result<&Value> {
        Ok(&self.values[self.place(field)?])
    }

    /// The value of `field` as a `T`: what a model's field of its kind holds (`String`, `i64`,
    /// `Option<bool>`, `Decimal`).
    ///
    /// # Errors
    /// There is no such field, or it holds no `T`.
    pub fn get<T: ValueType>(&self, field: &str) -> Result<T> {
        let value = self.value(field)?.clone();
        let words = || format!("{}.{field} is no {}", self.model.model.key, T::type_name());
        <T as ValueType>::try_from(value)
            .map_err(|error| Error::because(ErrorKind::Field, words(), error))
    }

    /// Sets `field`; [`save`](Self::save) writes it.
    ///
    /// # Errors
    /// There is no such field, or it cannot hold such a value.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) -> Result<()> {
        let place = self.place(field)?;
        self.values[place] = self.model.fit(&self.model.model.fields[place], value.into())?;
        if !self.changed.contains(&place) {
            self.changed.push(place);
        }
        Ok(())
    }

    /// Writes the fields that were set.
    ///
    /// # Errors
    /// The database refuses it, or the row is gone.
    pub async fn save(&mut self) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let fields = &self.model.model.fields;
        let values = self.changed.iter();
        let values: Vec<(&str, Value)> =
            values.map(|&at| (fields[at].name.as_str(), self.values[at].clone())).collect();
        if self.own()?.update(values).await? == 0 {
            return Err(super::wrong(format!("this row of {} is gone", self.model.model.key)));
        }
        if let Some(place) = fields.iter().position(|field| field.primary_key) {
            self.key = self.values[place].clone();
        }
        self.changed.clear();
        Ok(())
    }

    /// Deletes it; see [`HistoricModel::delete`].
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn delete(self) -> Result<()> {
        self.own()?.delete().await.map(drop)
    }

    /// The rows with its key.
    fn own(&self) -> Result<HistoricModel> {
        let key = self.model.model.primary_key()?.name.clone();
        self.model.clone().filter(&key, self.key.clone())
    }

    fn place(&self, field: &str) -> Result<usize> {
        self.model.model.existing_field(field)?;
        let place = self.model.model.fields.iter().position(|known| known.name == field);
        Ok(place.expect("it exists"))
    }
}
