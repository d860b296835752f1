//! `full_clean`: asks a row all that its description demands, and tells everything that is wrong
//! with it at once, field by field.
//!
//! Flow: each field ([`Field::clean`]) and whether rows pointed to are there → the model's own
//! `clean` → unique fields, one query each → constraints, their conditions answered by the
//! database.
//!
//! Invariants: saving asks none of this, as in Django; forms and the admin do. A failure that is
//! not the row's (no database) ends the cleaning and is no validation error.

use std::fmt;

use sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement, Value};

use crate::error::{Error, Kind, Result};
use crate::models::choices;
use crate::models::condition::Q;
use crate::models::deferred;
use crate::models::meta::{Condition, ConstraintKind, Field, FieldKind, Meta};
use crate::models::model::Model;
use crate::models::question::characters;
use crate::models::sql::{Plan, Target};
use crate::site::Site;

/// Where errors stand that are of no single field (Django's `NON_FIELD_ERRORS`).
pub const ALL: &str = "__all__";

/// One thing that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Name of the field, or [`ALL`].
    pub field: String,
    /// A sentence for people.
    pub message: String,
    /// A word for programs: `blank`, `max_length`, `unique`.
    pub code: &'static str,
}

/// What is wrong with a row, in the order it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    errors: Vec<FieldError>,
}

impl Invalid {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what is wrong with `field`, or with the row as a whole if that is [`ALL`].
    pub fn add(&mut self, field: &str, message: impl Into<String>, code: &'static str) {
        self.errors.push(FieldError { field: field.to_owned(), message: message.into(), code });
    }

    /// Whether something is wrong with `field`.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.errors.iter().any(|error| error.field == field)
    }

    /// An error that says all of it (`is_validation`), or nothing if nothing is wrong.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn into_result(self) -> Result<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(Error::because(Kind::Validation, "the row is not valid", self))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(f, "{space}{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Error {
    /// `message` is wrong with `field`, or with the row as a whole if that is [`ALL`]: what a
    /// model's `clean` returns.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let mut invalid = Invalid::new();
        invalid.add(field, message, "invalid");
        Self::because(Kind::Validation, "the row is not valid", invalid)
    }

    /// A row is not what its description, its model or the rows beside it demand.
    ///
    /// If you see this, show [`fields`](Self::fields) to whoever gave the values.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        self.kind() == Kind::Validation
    }

    /// What is wrong, field by field; empty if it is another error.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        let invalid = self.source().and_then(|source| {
            let source: &(dyn std::error::Error + 'static) = source;
            source.downcast_ref::<Invalid>()
        });
        invalid.map_or(&[], |invalid| &invalid.errors)
    }
}

/// Asks `row` all that is demanded of it, but for what concerns the fields named in `exclude`.
/// Deferred fields that were not read are read for it; the row does not keep them.
///
/// # Errors
/// It is not valid (`is_validation`; [`Error::fields`] has everything that is wrong), `exclude`
/// names no field (`is_field`), or the database cannot be asked.
pub async fn full_clean<M: Model>(row: &M, site: &Site, exclude: &[&str]) -> Result<()> {
    let mut values = row.values();
    deferred::complete(M::meta(), &mut values, site).await?;
    let mut clean = Clean::new(M::meta(), values, exclude)?;
    clean.fields(site).await?;
    match row.clean(site).await {
        Err(error) if error.is_validation() => {
            clean.invalid.errors.extend(error.fields().iter().cloned());
        }
        other => other?,
    }
    clean.unique_fields(site).await?;
    clean.constraints(site).await?;
    clean.invalid.into_result()
}

impl Field {
    /// Asks a value, as it would be stored, all that this field alone demands: whether it may be
    /// NULL or empty, its choices, length and digits, its validators.
    pub fn clean(&self, value: &Value, invalid: &mut Invalid) {
        if self.blank && is_empty(value) {
            return;
        }
        if !value.is_some() && !self.null {
            return invalid.add(self.name, "This field cannot be null.", "null");
        }
        if is_empty(value) {
            return invalid.add(self.name, "This field cannot be blank.", "blank");
        }
        if !self.choices.is_empty() {
            let stored = choices::stored(value).unwrap_or_default();
            if !self.choices.iter().any(|choice| choice.value == stored) {
                let words = format!("Value {} is not a valid choice.", repr(value));
                invalid.add(self.name, words, "invalid_choice");
                return;
            }
        }
        if let Value::String(Some(text)) = value {
            let length = text.chars().count();
            if let Some(most) = self.max_length.filter(|most| length > *most as usize) {
                let characters = characters(most as usize);
                let words =
                    format!("Ensure this value has at most {most} {characters} (it has {length}).");
                invalid.add(self.name, words, "max_length");
            }
            if text.contains('\0') {
                let words = "Null characters are not allowed.";
                invalid.add(self.name, words, "null_characters_not_allowed");
            }
        }
        if let (Value::Decimal(Some(decimal)), Some(digits)) = (value, self.digits)
            && let Err((words, code)) = fits(*decimal, digits)
        {
            invalid.add(self.name, words, code);
        }
        for validator in self.validators {
            if let Err(words) = (validator.check)(value) {
                invalid.add(self.name, words, validator.code());
            }
        }
    }
}

/// NULL, or nothing of its kind: what `blank` allows.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(Some(text)) => text.is_empty(),
        Value::Bytes(Some(bytes)) => bytes.is_empty(),
        Value::Json(Some(json)) => match &**json {
            serde_json::Value::Null => true,
            serde_json::Value::String(text) => text.is_empty(),
            serde_json::Value::Array(items) => items.is_empty(),
            serde_json::Value::Object(entries) => entries.is_empty(),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
        },
        other => !other.is_some(),
    }
}

/// Django's `DecimalValidator`: what the decimal has as it is, before it is rounded.
fn fits(
    decimal: rust_decimal::Decimal,
    (most, places): (u32, u32),
) -> std::result::Result<(), (String, &'static str)> {
    let decimals = decimal.scale();
    let digits = decimal.mantissa().unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    let digits = Ord::max(digits, decimals);
    let too_many = |count: u32, one: &str, many: &str, code| {
        let what = if count == 1 { one } else { many };
        Err((format!("Ensure that there are no more than {count} {what}."), code))
    };
    if digits > most {
        return too_many(most, "digit in total", "digits in total", "max_digits");
    }
    if decimals > places {
        return too_many(places, "decimal place", "decimal places", "max_decimal_places");
    }
    let (whole, room) = (digits - decimals, most - places);
    if whole > room {
        let (one, many) = ("digit before the decimal point", "digits before the decimal point");
        return too_many(room, one, many, "max_whole_digits");
    }
    Ok(())
}

/// A value in a message: `'x'`, `7`.
fn repr(value: &Value) -> String {
    match (value, choices::stored(value)) {
        (Value::String(_), Some(text)) => format!("'{text}'"),
        (_, Some(number)) => number,
        (Value::Uuid(Some(uuid)), None) => format!("'{uuid}'"),
        (other, None) => format!("{other:?}"),
    }
}

/// What keeps rows apart.
struct Unique<'a> {
    /// Its name, and among which rows; all if `None`.
    condition: Option<(&'a str, Condition)>,
    nulls_distinct: bool,
    message: Option<&'a str>,
}

/// A row on its way through the questions.
struct Clean<'a> {
    meta: &'static Meta,
    /// The values of the fields, NULL for what is unset.
    values: Vec<Value>,
    exclude: &'a [&'a str],
    invalid: Invalid,
}

impl<'a> Clean<'a> {
    fn new(
        meta: &'static Meta,
        values: Vec<Option<Value>>,
        exclude: &'a [&'a str],
    ) -> Result<Self> {
        if let Some(name) = exclude.iter().find(|name| meta.field(name).is_none()) {
            let known: Vec<_> = meta.fields.iter().map(|field| field.name).collect();
            let (label, known) = (meta.label(), known.join(", "));
            let words = format!("{label} has no field {name:?}; it has {known}");
            return Err(Error::of(Kind::Field, words));
        }
        let values = meta.fields.iter().zip(values);
        let values = values.map(|(field, value)| value.unwrap_or_else(|| field.kind.null()));
        Ok(Self { meta, values: values.collect(), exclude, invalid: Invalid::new() })
    }

    /// Whether nothing is known to be wrong with `field` and it is to be asked.
    fn concerns(&self, field: &str) -> bool {
        !self.exclude.contains(&field) && !self.invalid.has(field)
    }

    fn value(&self, name: &str) -> Option<(&'static Field, &Value)> {
        let mut fields = self.meta.fields.iter().zip(&self.values);
        fields.find(|(field, _)| field.name == name)
    }

    async fn fields(&mut self, site: &Site) -> Result<()> {
        for (field, value) in self.meta.fields.iter().zip(&self.values) {
            let is_given = field.kind == FieldKind::BigAuto && field.primary_key;
            if is_given || self.exclude.contains(&field.name) {
                continue;
            }
            field.clean(value, &mut self.invalid);
            let Some(relation) = field.relation.filter(|_| value.is_some()) else { continue };
            let to = (relation.to)();
            let mut select = exists(to);
            select.and_where(Expr::col(to.primary_key().column).eq(value.clone()));
            if !is_found(site, &select).await? {
                let (name, key) = (to.verbose_name, to.primary_key().name);
                let words = format!("{name} instance with {key} {} does not exist.", repr(value));
                self.invalid.add(field.name, words, "invalid");
            }
        }
        Ok(())
    }

    async fn unique_fields(&mut self, site: &Site) -> Result<()> {
        for field in self.meta.fields.iter().filter(|field| field.unique && !field.primary_key) {
            let unique = Unique { condition: None, nulls_distinct: true, message: None };
            self.unique(&[field.name], unique, site).await?;
        }
        Ok(())
    }

    async fn constraints(&mut self, site: &Site) -> Result<()> {
        for constraint in &self.meta.constraints {
            match &constraint.kind {
                ConstraintKind::Unique { fields, condition, nulls_distinct } => {
                    let condition = condition.map(|condition| (constraint.name, condition));
                    let (nulls_distinct, message) = (*nulls_distinct, constraint.message);
                    let unique = Unique { condition, nulls_distinct, message };
                    self.unique(fields, unique, site).await?;
                }
                ConstraintKind::Check(condition) => {
                    let condition = (condition.0)();
                    if !self.concerns_all(&condition) {
                        continue;
                    }
                    if self.answers(condition, false, site).await? {
                        self.violated(constraint.name, constraint.message);
                    }
                }
            }
        }
        Ok(())
    }

    fn violated(&mut self, name: &str, message: Option<&str>) {
        let words = format!("Constraint “{name}” is violated.");
        self.invalid.add(ALL, message.map_or(words, str::to_owned), "constraint");
    }

    /// Whether all the columns it looks at are to be asked and in order so far.
    fn concerns_all(&self, condition: &Q) -> bool {
        !condition.any_column(&mut |path| !self.concerns(path.field.name))
    }

    /// Sees that no other row has the same values in `fields`, among those a condition holds for.
    async fn unique(
        &mut self,
        fields: &[&'static str],
        unique: Unique<'_>,
        site: &Site,
    ) -> Result<()> {
        let Unique { condition, nulls_distinct, message } = unique;
        if !fields.iter().all(|field| self.concerns(field)) {
            return Ok(());
        }
        let mut select = exists(self.meta);
        for (field, value) in fields.iter().filter_map(|name| self.value(name)) {
            let column = Expr::col((self.meta.table, field.column));
            match value.is_some() {
                true => select.and_where(column.eq(value.clone())),
                false if nulls_distinct => return Ok(()),
                false => select.and_where(column.is_null()),
            };
        }
        if let Some((_, Condition(condition))) = condition {
            let condition = condition();
            if !self.concerns_all(&condition)
                || !self.answers(condition.clone(), true, site).await?
            {
                return Ok(());
            }
            select.and_where(self.compiled(condition, site)?);
        }
        let key = self.meta.primary_key();
        if let Some((_, own)) = self.value(key.name)
            && own.is_some()
        {
            select.and_where(Expr::col((self.meta.table, key.column)).ne(own.clone()));
        }
        if is_found(site, &select).await? {
            match condition {
                Some((name, _)) => self.violated(name, message),
                None => self.taken(fields, message),
            }
        }
        Ok(())
    }

    fn taken(&mut self, fields: &[&'static str], message: Option<&str>) {
        if let Some(message) = message {
            return self.invalid.add(ALL, message, "constraint");
        }
        let label = |name: &&'static str| {
            capitalized(self.meta.field(name).map_or(name, |field| field.verbose_name))
        };
        let model = capitalized(self.meta.verbose_name);
        let words = |labels: &str| format!("{model} with this {labels} already exists.");
        match fields {
            [one] => self.invalid.add(one, words(&label(one)), "unique"),
            [before @ .., last] => {
                let before: Vec<_> = before.iter().map(label).collect();
                let labels = format!("{} and {}", before.join(", "), label(last));
                self.invalid.add(ALL, words(&labels), "unique_together");
            }
            [] => {}
        }
    }

    /// Whether the database says `expected` of the row, which need not be in it: NULL is neither.
    async fn answers(&self, condition: Q, expected: bool, site: &Site) -> Result<bool> {
        let condition = self.compiled(condition, site)?;
        let mut row = Query::select();
        for (field, value) in self.meta.fields.iter().zip(&self.values) {
            row.expr_as(Expr::val(value.clone()), Alias::new(field.column));
        }
        let mut select = Query::select();
        select.expr(Expr::cust("1")).from_subquery(row, Alias::new(self.meta.table));
        select.and_where(if expected { condition } else { condition.not() });
        is_found(site, &select).await
    }

    fn compiled(&self, condition: Q, site: &Site) -> Result<Expr> {
        let mut plan = Plan::of(self.meta);
        plan.filter(condition);
        let own = plan.condition(Target::of(site), true)?;
        own.ok_or_else(|| {
            let words = format!("a constraint of {} looks at other rows", self.meta.label());
            Error::of(Kind::Field, words)
        })
    }
}

fn exists(meta: &Meta) -> SelectStatement {
    let mut select = Query::select();
    select.expr(Expr::cust("1")).from(meta.table).limit(1);
    select
}

async fn is_found(site: &Site, select: &SelectStatement) -> Result<bool> {
    let db = site.db();
    Ok(!db.fetch(db.dialect().build(select)).await?.is_empty())
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
