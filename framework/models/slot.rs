//! What loading knows of rows and of their relations, whatever their types.
//!
//! Flow: `select_related` and `prefetch_related` get to a row as an [`AnyRow`], to its relation
//! called `author` as a [`Slot`], and put the other row or rows there.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use sea_query::Value;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::meta::{Field, Many, ManyKind, Meta};
use crate::models::model::Model;

/// A row of any model.
pub trait AnyRow: Send + Sync {
    /// Its model's description.
    fn description(&self) -> &'static Meta;
    /// Its primary key, if it is set.
    fn own_value(&self) -> Option<Value>;
    /// Its relation of this name.
    fn relation(&mut self, field: &str) -> Option<&mut dyn Slot>;
}

impl<M: Model> AnyRow for M {
    fn description(&self) -> &'static Meta {
        M::meta()
    }

    fn own_value(&self) -> Option<Value> {
        self.key()
    }

    fn relation(&mut self, field: &str) -> Option<&mut dyn Slot> {
        self.slot(field)
    }
}

/// A field that holds what is loaded of a relation.
pub trait Slot: Send + Sync {
    /// The key it points with, if it is a foreign key that is set.
    fn target(&self) -> Option<Value> {
        None
    }

    /// Whether something is loaded, were it that there is nothing.
    fn is_loaded(&self) -> bool;

    /// What is loaded.
    fn rows(&mut self) -> Vec<&mut dyn AnyRow>;

    /// Reads the one other row from the columns that begin at `index`; all NULL, there is none.
    ///
    /// # Errors
    /// A column holds something else.
    fn attach(&mut self, row: &Row, index: usize) -> Result<()>;
}

/// What is loaded of a relation that is no column.
pub struct Loaded<T> {
    rows: OnceLock<Arc<Vec<T>>>,
    /// The relation was changed since, so that what is loaded is no longer true.
    stale: AtomicBool,
}

impl<T> Loaded<T> {
    pub(super) fn get(&self) -> Option<&[T]> {
        if self.stale.load(Ordering::Relaxed) {
            return None;
        }
        self.rows.get().map(|rows| rows.as_slice())
    }

    pub(super) fn put(&mut self, rows: Arc<Vec<T>>) {
        self.rows = OnceLock::from(rows);
        self.stale = AtomicBool::new(false);
    }

    /// Forgets what is loaded. Those who have borrowed it still see it.
    pub(super) fn expire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }
}

impl<T: Model> Loaded<T> {
    pub(super) fn rows(&mut self) -> Vec<&mut dyn AnyRow> {
        if self.get().is_none() {
            return Vec::new();
        }
        let rows = self.rows.get_mut().map(Arc::make_mut);
        rows.into_iter().flatten().map(|row| row as &mut dyn AnyRow).collect()
    }

    pub(super) fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        let key = T::meta().fields.iter().position(|field| field.primary_key).unwrap_or_default();
        let rows = match row.is_null(index + key) {
            true => Vec::new(),
            false => vec![T::from_row(row, index)?],
        };
        self.put(Arc::new(rows));
        Ok(())
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { rows: OnceLock::new(), stale: AtomicBool::new(false) }
    }
}

impl<T> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        let stale = AtomicBool::new(self.stale.load(Ordering::Relaxed));
        Self { rows: self.rows.clone(), stale }
    }
}

/// A field that holds rows without a column.
pub trait Holds<T> {
    /// What it holds.
    fn held(&self) -> &Loaded<T>;
}

impl<T> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("rows", &self.get().map(<[T]>::len)).finish_non_exhaustive()
    }
}

/// A key as something that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyName {
    Number(i64),
    Text(String),
}

impl KeyName {
    pub(super) fn of(key: &Value) -> Self {
        match key {
            Value::SmallInt(Some(number)) => Self::Number((*number).into()),
            Value::Int(Some(number)) => Self::Number((*number).into()),
            Value::BigInt(Some(number)) => Self::Number(*number),
            Value::String(Some(text)) => Self::Text(text.clone()),
            other => Self::Text(format!("{other:?}")),
        }
    }
}

/// How a relation without a column gets from a row to the others.
#[derive(Clone, Copy)]
pub(super) enum Route {
    /// Their foreign key holds the row's key.
    Reverse { field: &'static Field },
    /// Rows between hold both keys.
    Through {
        /// Their model.
        through: &'static Meta,
        /// Their foreign key to the row.
        from: &'static Field,
        /// Their foreign key to the others.
        to: &'static Field,
        /// Whether they hold nothing else.
        auto: bool,
        /// Whether a row that goes one way has one that goes the other.
        symmetrical: bool,
    },
}

impl Many {
    /// The model of the other rows.
    #[must_use]
    pub fn to(&self) -> &'static Meta {
        match self.kind {
            ManyKind::ManyToMany { to, .. } => to(),
            ManyKind::Reverse { from, .. } => from(),
        }
    }

    /// The way from a row of `owner` to the others.
    pub(super) fn route(&self, owner: &'static Meta) -> Result<Route> {
        match self.kind {
            ManyKind::ManyToMany { to, through, from_field, to_field, auto, symmetrical } => {
                let through = through();
                let mut said = (from_field, to_field);
                if std::ptr::eq(to(), owner) && from_field.is_empty() {
                    // Of two keys to one model the first is this side.
                    said = both(through, owner).ok_or_else(|| self.unclear(owner, through))?;
                }
                let from = pointing(through, owner, said.0);
                let to = pointing(through, to(), said.1);
                let (Some(from), Some(to)) = (from, to) else {
                    return Err(self.unclear(owner, through));
                };
                Ok(Route::Through { through, from, to, auto, symmetrical })
            }
            ManyKind::Reverse { from, field, .. } => {
                let from = from();
                if let Some(other) = from.many.iter().find(|many| many.name == field) {
                    return other.route(from).map(Route::turned);
                }
                let field = pointing(from, owner, field);
                field.map(|field| Route::Reverse { field }).ok_or_else(|| {
                    let words = format!(
                        "{}.{}: {} has no foreign key to it, or several: say which, \
                         `#[field(by = ..)]`",
                        owner.label(),
                        self.name,
                        from.label(),
                    );
                    Error::of(Kind::Field, words)
                })
            }
        }
    }

    fn unclear(&self, owner: &Meta, through: &Meta) -> Error {
        let words = format!(
            "{}.{}: {} does not say which of its foreign keys lead to either side: say \
             `#[field(through_fields(one, other))]`",
            owner.label(),
            self.name,
            through.label(),
        );
        Error::of(Kind::Field, words)
    }
}

impl Route {
    /// The same way from the other side.
    fn turned(self) -> Self {
        match self {
            Self::Through { through, from, to, auto, symmetrical } => {
                Self::Through { through, from: to, to: from, auto, symmetrical }
            }
            reverse @ Self::Reverse { .. } => reverse,
        }
    }
}

/// The foreign key of `meta` to `target` called `name`, or the only one there is.
fn pointing(meta: &'static Meta, target: &'static Meta, name: &str) -> Option<&'static Field> {
    let mut fields = foreign_keys(meta, target);
    if !name.is_empty() {
        return fields.find(|field| field.name == name);
    }
    let first = fields.next()?;
    fields.next().is_none().then_some(first)
}

/// The names of the two foreign keys of `meta` to `target`, if there are just two.
fn both(meta: &'static Meta, target: &'static Meta) -> Option<(&'static str, &'static str)> {
    let fields: Vec<_> = foreign_keys(meta, target).collect();
    match fields.as_slice() {
        [one, other] => Some((one.name, other.name)),
        _ => None,
    }
}

fn foreign_keys(
    meta: &'static Meta,
    target: &'static Meta,
) -> impl Iterator<Item = &'static Field> {
    meta.fields.iter().filter(move |field| crate::models::registry::points_to(field, target))
}

impl fmt::Debug for dyn Slot + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot(loaded: {})", self.is_loaded())
    }
}
