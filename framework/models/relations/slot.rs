//! What loading knows of rows and of their relations, whatever their types.
//!
//! Flow: `select_related` and `prefetch_related` get to a row as an [`AnyRow`], to its relation
//! called `author` as a [`Slot`], and put the other row or rows there.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_query::Value;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::fetch_mode::Peers;
use crate::models::kept::Kept;
use crate::models::loader::{Found, Loader, Of};
use crate::models::meta::{Field, Many, ManyKind, Meta};
use crate::models::model::Model;
use crate::models::trail::{Step, Trail};
use crate::site::Site;

/// A row of any model.
pub trait AnyRow: Send + Sync + 'static {
    /// Its model's description.
    fn description(&self) -> &'static Meta;
    /// Its primary key, if it is set.
    fn own_value(&self) -> Option<Value>;
    /// Its relation of this name, or its deferred field.
    fn relation(&mut self, field: &str) -> Option<&mut dyn Slot>;
    /// As what rows that point to it find when they look.
    fn shared(&self) -> Arc<dyn Any + Send + Sync>;
    /// Copies of rows of its model, by their keys.
    fn found(&self, copies: Vec<(KeyName, Arc<dyn Any + Send + Sync>)>) -> Found;
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

    fn shared(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.clone())
    }

    fn found(&self, copies: Vec<(KeyName, Arc<dyn Any + Send + Sync>)>) -> Found {
        Found::of_copies::<M>(copies)
    }
}

/// A row, to be loaded into.
pub(in crate::models) type RowMut<'a> = &'a mut (dyn AnyRow + 'static);

/// A field that holds what is loaded of a relation, or on demand.
pub trait Slot: Send + Sync {
    /// The key it points with, if it is a foreign key that is set; that of the row that a deferred
    /// value is still to be read from.
    fn target(&self) -> Option<Value> {
        None
    }

    /// Whether something is loaded, were it that there is nothing.
    fn is_loaded(&self) -> bool;

    /// Whether what is not loaded is that of `field` of the row with this key.
    fn is_of(&self, field: &Field, key: &Value) -> bool {
        let _ = (field, key);
        true
    }

    /// What is loaded.
    fn rows(&mut self) -> Vec<RowMut<'_>>;

    /// Reads the one other row from the columns that begin at `index`; all NULL, there is none. Or
    /// the value of the one column.
    ///
    /// # Errors
    /// A column holds something else.
    fn attach(&mut self, row: &Row, index: usize) -> Result<()>;

    /// What reads the other model's rows.
    fn loader(&self) -> &'static dyn Loader;

    /// Takes what was found for `key`.
    fn take(&mut self, found: &Found, key: &Value);

    /// Hears of the same relation of other rows.
    fn join(&mut self, peers: &Arc<Peers>);
}

/// What is loaded of a relation that is no column.
pub struct Loaded<T> {
    rows: Kept<Vec<T>>,
    /// The relation was changed since, so that what is loaded is no longer true.
    stale: AtomicBool,
    peers: Option<Arc<Peers>>,
}

impl<T> Loaded<T> {
    /// Forgets what is loaded. Those who have borrowed it still see it.
    pub(in crate::models) fn expire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }
}

impl<T: Send + Sync + 'static> Loaded<T> {
    pub(in crate::models) fn get(&self) -> Option<&[T]> {
        if self.stale.load(Ordering::Relaxed) {
            return None;
        }
        self.rows.get().map(Vec::as_slice)
    }

    pub(in crate::models) fn put(&mut self, rows: Arc<Vec<T>>) {
        self.rows.put(rows);
        self.stale = AtomicBool::new(false);
    }
}

impl<T: Model> Loaded<T> {
    pub(in crate::models) fn rows(&mut self) -> Vec<RowMut<'_>> {
        if self.get().is_none() {
            return Vec::new();
        }
        self.rows.get_mut().into_iter().flatten().map(|row| row as RowMut<'_>).collect()
    }

    pub(in crate::models) fn join(&mut self, peers: &Arc<Peers>) {
        self.peers = Some(Arc::clone(peers));
    }

    /// What is loaded, or what the fetch mode has loaded for all the row's peers; `None` if it is
    /// to be asked for.
    pub(in crate::models) async fn known(
        &self,
        key: Option<&Value>,
        site: &Site,
    ) -> Result<Option<Vec<T>>> {
        if let Some(rows) = self.get() {
            return Ok(Some(rows.to_vec()));
        }
        let (Some(peers), Some(key)) = (&self.peers, key) else { return Ok(None) };
        if self.stale.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let found = peers.found(&Of::<T>(PhantomData), site).await?;
        Ok(found.map(|found| found.many::<T>(key).as_ref().clone()))
    }

    pub(in crate::models) fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        let rows = match row.is_null(index + key_index(T::meta())) {
            true => Vec::new(),
            false => vec![T::from_row(row, index)?],
        };
        self.put(Arc::new(rows));
        Ok(())
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { rows: Kept::new(), stale: AtomicBool::new(false), peers: None }
    }
}

impl<T> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        let stale = AtomicBool::new(self.stale.load(Ordering::Relaxed));
        Self { rows: self.rows.clone(), stale, peers: self.peers.clone() }
    }
}

/// A field that holds rows without a column.
pub trait Holds<T> {
    /// What it holds.
    fn held(&self) -> &Loaded<T>;
}

impl<T: Send + Sync + 'static> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("rows", &self.get().map(<[T]>::len)).finish_non_exhaustive()
    }
}

/// Where among the columns of `meta` its key is.
pub(in crate::models) fn key_index(meta: &Meta) -> usize {
    meta.fields.iter().position(|field| field.primary_key).unwrap_or_default()
}

/// A key as something that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyName {
    Number(i64),
    Text(String),
}

impl KeyName {
    pub(in crate::models) fn of(key: &Value) -> Self {
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
pub(in crate::models) enum Route {
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

    /// Whether `owner`, whose relation it is, has said enough of it.
    ///
    /// # Errors
    /// It does not say over which of several foreign keys it goes, or there is none.
    pub fn check(&self, owner: &'static Meta) -> Result<()> {
        self.route(owner).map(drop)
    }

    /// Whether it leads to one row at most.
    #[must_use]
    pub fn is_one(&self) -> bool {
        matches!(self.kind, ManyKind::Reverse { one: true, .. })
    }

    /// The way from a row of `owner` to the others.
    pub(in crate::models) fn route(&self, owner: &'static Meta) -> Result<Route> {
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
    /// `trail` and on over this way, which is that of `many`.
    pub(in crate::models) fn along(self, trail: Trail, many: &Many) -> Trail {
        match self {
            Self::Reverse { field } => trail.then(Step::Reverse { meta: many.to(), field }),
            Self::Through { through, from, to, .. } => {
                let back = Step::Reverse { meta: through, field: from };
                trail.then(back).then(Step::Forward(to))
            }
        }
    }

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
