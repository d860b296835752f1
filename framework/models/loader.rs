//! `Loader`: reads the rows that keys lead to, of one model, and hands them out by key.
//!
//! Invariant: one query for every [`KEYS_MAX`] keys, with a column more that says whose a row is.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_query::Value;

use crate::conf::FetchMode;
use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q};
use crate::models::expression::Node;
use crate::models::fetch_mode::Peers;
use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::models::prefetch::{Prefetch, after, is_wanted};
use crate::models::query::QuerySet;
use crate::models::slot::{KeyName, Route, RowMut};
use crate::models::sql::{Plan, Selected, Target};
use crate::models::trail::{FieldPath, Step, Trail};
use crate::site::Site;

/// Most keys in one query. SQLite takes 32,766 values, PostgreSQL 65,535; the rest is for the
/// query's own.
pub(super) const KEYS_MAX: usize = 30_000;

/// How keys lead to rows.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// They are the rows' own.
    Key,
    /// They are the rows' own, and one column is read.
    Column {
        meta: &'static Meta,
        field: &'static Field,
    },
    Over(Route),
}

impl Way {
    /// The way of the relation called `name`.
    pub(super) fn of(meta: &'static Meta, name: &str) -> Result<Self> {
        match meta.many.iter().find(|many| many.name == name) {
            Some(many) => many.route(meta).map(Self::Over),
            None => Ok(match meta.field(name).filter(|field| field.deferred) {
                Some(field) => Self::Column { meta, field },
                None => Self::Key,
            }),
        }
    }

    /// The column of a query of `meta` that says whose a row is.
    pub(super) fn owner(self, meta: &'static Meta) -> FieldPath {
        match self {
            Self::Key | Self::Column { .. } => FieldPath::own(meta, meta.primary_key()),
            Self::Over(Route::Reverse { field }) => FieldPath::own(meta, field),
            Self::Over(Route::Through { through, from, to, .. }) => {
                let trail = Trail::of(meta).then(Step::Reverse { meta: through, field: to });
                FieldPath { trail, field: from }
            }
        }
    }
}

/// What a [`Loader`] is asked for.
pub struct Wanted {
    pub(super) way: Way,
    pub(super) keys: Vec<Value>,
    /// A `QuerySet` of the loader's model.
    pub(super) query: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) behind: Vec<Prefetch>,
    pub(super) mode: Option<FetchMode>,
    /// The rows that the keys are of, for those that point to them.
    pub(super) parents: Option<Found>,
}

/// Reads rows of one model, or a column of them.
pub trait Loader: Sync {
    /// The rows that some keys lead to.
    fn load<'a>(&'a self, wanted: Wanted, site: &'a Site) -> BoxFuture<'a, Result<Found>>;
}

/// The loader of a model.
pub(super) struct Of<T>(pub(super) PhantomData<fn() -> T>);

/// Rows by the keys that lead to them, or values.
#[derive(Clone)]
pub struct Found(Arc<dyn Any + Send + Sync>);

/// Either is filled, whatever the way allows.
struct FoundOf<T> {
    one: HashMap<KeyName, Arc<T>>,
    many: HashMap<KeyName, Arc<Vec<T>>>,
}

impl Found {
    /// These rows.
    pub(super) fn of_copies<T: Model>(copies: Vec<(KeyName, Arc<dyn Any + Send + Sync>)>) -> Self {
        let rows = copies.into_iter().filter_map(|(key, row)| Some((key, row.downcast().ok()?)));
        Self(Arc::new(FoundOf::<T> { one: rows.collect(), many: HashMap::new() }))
    }

    /// Something else than rows.
    pub(super) fn of<T: Any + Send + Sync>(found: T) -> Self {
        Self(Arc::new(found))
    }

    pub(super) fn known<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// The row with this key.
    pub(super) fn one<T: Model>(&self, key: &Value) -> Option<Arc<T>> {
        self.0.downcast_ref::<FoundOf<T>>()?.one.get(&KeyName::of(key)).cloned()
    }

    /// The rows that belong to the one with this key.
    pub(super) fn many<T: Model>(&self, key: &Value) -> Arc<Vec<T>> {
        let found = self.0.downcast_ref::<FoundOf<T>>();
        found.and_then(|found| found.many.get(&KeyName::of(key)).cloned()).unwrap_or_default()
    }
}

impl<T: Model> Loader for Of<T> {
    fn load<'a>(&'a self, wanted: Wanted, site: &'a Site) -> BoxFuture<'a, Result<Found>> {
        Box::pin(load_rows::<T>(wanted, site))
    }
}

async fn load_rows<T: Model>(wanted: Wanted, site: &Site) -> Result<Found> {
    let Wanted { way, keys, query, behind, mode, parents } = wanted;
    let query = query.and_then(|query| query.downcast::<QuerySet<T>>().ok());
    let mut query = query.map(Arc::unwrap_or_clone).unwrap_or_default();
    query.checked()?;
    query.plan.fetch_mode = query.plan.fetch_mode.or(mode);
    query.plan.prefetches.extend(behind);
    let owner = way.owner(T::meta());
    let (mut rows, mut owners) = (Vec::new(), Vec::new());
    for keys in keys.chunks(KEYS_MAX) {
        let plan = belonging(&query.plan, &owner, keys)?;
        if plan.is_never() {
            continue;
        }
        for row in site.db().fetch(plan.select(Target::of(site))?).await? {
            owners.push(owner_of(&plan, &owner, &row)?);
            rows.push((query.reader)(&plan, &row)?);
        }
    }
    if is_wanted(&query.plan, site) {
        after(&query.plan, rows.iter_mut().map(|row| row as RowMut<'_>).collect(), site).await?;
    }
    if let (Way::Over(Route::Reverse { field }), Some(parents)) = (way, parents) {
        let peers = Arc::new(Peers::known(T::meta(), field.name, parents));
        for row in &mut rows {
            if let Some(slot) = row.slot(field.name).filter(|slot| !slot.is_loaded()) {
                slot.join(&peers);
            }
        }
    }
    let (mut one, mut many) = (HashMap::new(), HashMap::<_, Vec<T>>::new());
    for (owner, row) in owners.into_iter().zip(rows) {
        match way {
            Way::Key | Way::Column { .. } => drop(one.insert(owner, Arc::new(row))),
            Way::Over(_) => many.entry(owner).or_default().push(row),
        }
    }
    let many = many.into_iter().map(|(owner, rows)| (owner, Arc::new(rows))).collect();
    Ok(Found(Arc::new(FoundOf { one, many })))
}

/// The rows of `plan` that belong to those with these keys, each with the key it belongs to behind
/// its columns.
fn belonging(plan: &Plan, owner: &FieldPath, keys: &[Value]) -> Result<Plan> {
    let mut plan = plan.clone();
    let node = Node::Column(owner.clone());
    let keys = keys.iter().cloned().map(Node::Value).collect();
    plan.filter(Q::test(node.clone(), Lookup::In(keys)));
    let Selected::Model(more) = &mut plan.columns else {
        let words = format!("a prefetch reads rows of {}, not values", plan.meta.label());
        return Err(Error::of(Kind::Field, words));
    };
    more.push(node.clone());
    if plan.is_sliced() {
        plan.per = Some(node);
    }
    Ok(plan)
}

fn owner_of(plan: &Plan, owner: &FieldPath, row: &Row) -> Result<KeyName> {
    // Behind it stands only the number of a row among its like.
    let at = row.len() - 1 - usize::from(plan.per.is_some());
    Ok(KeyName::of(&owner.field.kind.read(row, at)?))
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found")
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wanted({} keys)", self.keys.len())
    }
}
