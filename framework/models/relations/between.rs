//! The rows between the two sides of a many-to-many relation: written, deleted and told of.
//!
//! Invariants:
//! - However many rows are given, adding is one INSERT of what is not there yet (one for every
//!   [`VALUES_MAX`] values).
//! - [`M2mChanged`] tells only of keys that really come, and is not even made if nobody listens.

use std::collections::{HashMap, HashSet};

use sea_query::{Expr, ExprTrait, OnConflict, Query, Value};

use crate::error::Result;
use crate::models::condition::{Lookup, Q};
use crate::models::delete;
use crate::models::expression::{Comparison, Node};
use crate::models::meta::{ConstraintKind, Field, FieldKind, Meta};
use crate::models::save;
use crate::models::slot::KeyName;
use crate::models::sql::Plan;
use crate::models::trail::FieldPath;
use crate::site::Site;

/// Most values of one statement that changes a relation; SQLite takes 32,766, PostgreSQL 65,535.
pub(in crate::models) const VALUES_MAX: usize = 30_000;

/// Something changes or has changed in a many-to-many relation. Sent only if somebody listens, in
/// the transaction of the change; an error undoes it.
///
/// ```
/// # use hulse::prelude::*;
/// use hulse::models::{M2mAction, M2mChanged};
///
/// # fn project(project: Project) -> Project {
/// project.on(|_site: Site, change: std::sync::Arc<M2mChanged>| async move {
///     if change.action == M2mAction::PostAdd && change.through.model == "Post_tags" {
///         println!("{} more tags", change.keys.len());
///     }
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct M2mChanged {
    /// What is done, and whether it is yet to be.
    pub action: M2mAction,
    /// The model between.
    pub through: &'static Meta,
    /// The model of the row whose relation changes.
    pub owner: &'static Meta,
    /// The relation's field on it.
    pub field: &'static str,
    /// The key of that row.
    pub key: Value,
    /// The keys of the rows that come or go; none for `clear`. Those that are there already do not
    /// come.
    pub keys: Vec<Value>,
}

/// What is done to a many-to-many relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum M2mAction {
    /// Rows are about to be added.
    PreAdd,
    /// Rows were added.
    PostAdd,
    /// Rows are about to be removed.
    PreRemove,
    /// Rows were removed.
    PostRemove,
    /// All rows are about to be removed.
    PreClear,
    /// All rows were removed.
    PostClear,
}

/// The key of a row, and those it is to hold.
pub(in crate::models) type Set = (Value, Vec<Value>);

/// A model between, seen from one row.
pub(in crate::models) struct Between {
    pub(in crate::models) through: &'static Meta,
    /// Its foreign key to the row, and the one to the others.
    pub(in crate::models) from: &'static Field,
    pub(in crate::models) to: &'static Field,
    /// Whether a row that goes one way has one that goes the other.
    pub(in crate::models) symmetrical: bool,
    /// The model of the row, and its relation.
    pub(in crate::models) owner: &'static Meta,
    pub(in crate::models) field: &'static str,
    /// The key of the row.
    pub(in crate::models) key: Value,
}

impl Between {
    /// Writes rows of the model between, like `row` if there is one, and tells of it.
    pub(in crate::models) async fn add(
        &self,
        site: &Site,
        keys: Vec<Value>,
        row: Option<Vec<Option<Value>>>,
    ) -> Result<()> {
        let heard = site.hears::<M2mChanged>();
        if !heard && row.is_none() && keys.len() * 4 <= VALUES_MAX {
            return self.insert(site, &keys, None).await;
        }
        site.atomic(async |site| {
            let mut new = keys;
            if heard || row.is_some() {
                let there = self.among(&site, &new).await?;
                new = without(new, &there);
            }
            if new.is_empty() {
                return Ok(());
            }
            self.tell(&site, M2mAction::PreAdd, &new).await?;
            self.insert(&site, &new, row.as_deref()).await?;
            self.tell(&site, M2mAction::PostAdd, &new).await
        })
        .await
    }

    /// Has the row hold these keys and no others.
    pub(in crate::models) async fn set(&self, keys: Vec<Value>, site: &Site) -> Result<()> {
        let there = self.keys(site).await?;
        let gone = without(there.clone(), &keys);
        if !gone.is_empty() {
            self.remove(site, Some(&gone)).await?;
        }
        let new = without(keys, &there);
        if new.is_empty() { Ok(()) } else { self.add(site, new, None).await }
    }

    /// `sets`, if they can be written together: nobody listens, and none is of a row of another.
    pub(in crate::models) fn apart<'a>(&self, sets: &'a [Set], site: &Site) -> Option<&'a [Set]> {
        let mut rows = HashSet::new();
        let are_apart = sets.iter().all(|(key, _)| rows.insert(KeyName::of(key)));
        (are_apart && !self.symmetrical && !site.hears::<M2mChanged>()).then_some(sets)
    }

    /// As [`set`](Self::set) for rows beside this one, with one question and one INSERT for all.
    pub(in crate::models) async fn set_each(&self, sets: &[Set], site: &Site) -> Result<()> {
        let mut there: HashMap<KeyName, Vec<Value>> = HashMap::new();
        for some in sets.chunks(VALUES_MAX) {
            let mut select = Query::select();
            select.columns([self.from.column, self.to.column]).from(self.through.table);
            let keys = some.iter().map(|(key, _)| key.clone());
            select.and_where(Expr::col(self.from.column).is_in(keys));
            for row in site.db().fetch(site.db().dialect().build(&select)).await? {
                let from = self.owner.primary_key().kind.read(&row, 0)?;
                let to = self.target().primary_key().kind.read(&row, 1)?;
                there.entry(KeyName::of(&from)).or_default().push(to);
            }
        }
        let mut new = Vec::new();
        for (key, keys) in sets {
            let there = there.remove(&KeyName::of(key)).unwrap_or_default();
            let gone = without(there.clone(), keys);
            if !gone.is_empty() {
                Self { key: key.clone(), ..*self }.delete(site, Some(&gone)).await?;
            }
            new.extend(without(keys.clone(), &there).into_iter().map(|other| (key, other)));
        }
        let pairs: Vec<_> = new.iter().map(|(key, other)| (*key, other)).collect();
        self.insert_pairs(site, &pairs, None).await
    }

    /// Deletes rows of the model between, and tells of it.
    pub(in crate::models) async fn remove(
        &self,
        site: &Site,
        keys: Option<&[Value]>,
    ) -> Result<()> {
        if !site.hears::<M2mChanged>() {
            return self.delete(site, keys).await;
        }
        let (before, after) = match keys {
            Some(_) => (M2mAction::PreRemove, M2mAction::PostRemove),
            None => (M2mAction::PreClear, M2mAction::PostClear),
        };
        site.atomic(async |site| {
            let told = keys.unwrap_or_default();
            self.tell(&site, before, told).await?;
            self.delete(&site, keys).await?;
            self.tell(&site, after, told).await
        })
        .await
    }

    async fn tell(&self, site: &Site, action: M2mAction, keys: &[Value]) -> Result<()> {
        if !site.hears::<M2mChanged>() {
            return Ok(());
        }
        site.send_signal(M2mChanged {
            action,
            through: self.through,
            owner: self.owner,
            field: self.field,
            key: self.key.clone(),
            keys: keys.to_vec(),
        })
        .await
        .map(drop)
    }

    /// The keys of the rows related to the row.
    pub(in crate::models) async fn keys(&self, site: &Site) -> Result<Vec<Value>> {
        let mut select = Query::select();
        select.column(self.to.column).from(self.through.table);
        select.and_where(Expr::col(self.from.column).eq(self.key.clone()));
        let db = site.db();
        let rows = db.fetch(db.dialect().build(&select)).await?;
        rows.iter().map(|row| self.target().primary_key().kind.read(row, 0)).collect()
    }

    fn target(&self) -> &'static Meta {
        self.to.relation.map_or(self.through, |relation| (relation.to)())
    }

    /// Which of `keys` are related to the row already.
    async fn among(&self, site: &Site, keys: &[Value]) -> Result<Vec<Value>> {
        let db = site.db();
        let mut found = Vec::new();
        for keys in keys.chunks(VALUES_MAX) {
            let mut select = Query::select();
            select.column(self.to.column).from(self.through.table);
            select.and_where(Expr::col(self.from.column).eq(self.key.clone()));
            select.and_where(Expr::col(self.to.column).is_in(keys.iter().cloned()));
            for row in db.fetch(db.dialect().build(&select)).await? {
                found.push(self.target().primary_key().kind.read(&row, 0)?);
            }
        }
        Ok(found)
    }

    /// Whether the database keeps two rows apart by their two keys.
    fn is_unique(&self) -> bool {
        self.through.constraints.iter().any(|constraint| match constraint.kind {
            ConstraintKind::Unique { fields, condition: None, .. } => {
                fields.len() == 2
                    && fields.contains(&self.from.name)
                    && fields.contains(&self.to.name)
            }
            _ => false,
        })
    }

    async fn insert(
        &self,
        site: &Site,
        keys: &[Value],
        row: Option<&[Option<Value>]>,
    ) -> Result<()> {
        let mut pairs: Vec<_> = keys.iter().map(|other| (&self.key, other)).collect();
        if self.symmetrical {
            pairs.extend(keys.iter().map(|other| (other, &self.key)));
        }
        self.insert_pairs(site, &pairs, row).await
    }

    async fn insert_pairs(
        &self,
        site: &Site,
        pairs: &[(&Value, &Value)],
        row: Option<&[Option<Value>]>,
    ) -> Result<()> {
        let fields = &self.through.fields;
        // A key that the database counts up is left to it.
        let written: Vec<_> =
            fields.iter().filter(|field| field.kind != FieldKind::BigAuto).collect();
        for pairs in pairs.chunks((VALUES_MAX / written.len().max(1)).max(1)) {
            let mut statement = Query::insert();
            statement.into_table(self.through.table);
            statement.columns(written.iter().map(|field| field.column));
            for (from, to) in pairs {
                let mut values = Vec::new();
                for field in &written {
                    let value = if std::ptr::eq(*field, self.from) {
                        Some((*from).clone())
                    } else if std::ptr::eq(*field, self.to) {
                        Some((*to).clone())
                    } else {
                        let at = fields.iter().position(|one| std::ptr::eq(one, *field));
                        at.zip(row).and_then(|(at, row)| row[at].clone())
                    };
                    values.push(Expr::val(save::check(self.through, field, value, site)?));
                }
                statement.values_panic(values);
            }
            if self.is_unique() {
                let mut conflict = OnConflict::columns([self.from.column, self.to.column]);
                statement.on_conflict(conflict.do_nothing_on([self.from.column]).to_owned());
            }
            site.db().execute(site.db().dialect().build(&statement)).await?;
        }
        Ok(())
    }

    /// As any delete does it: with the hooks of a model of the site's own, and what hangs on it.
    async fn delete(&self, site: &Site, keys: Option<&[Value]>) -> Result<()> {
        for keys in chunks(keys, VALUES_MAX / 2) {
            let mut condition = self.one_way(self.from, self.to, keys);
            if self.symmetrical {
                condition = condition | self.one_way(self.to, self.from, keys);
            }
            let mut plan = Plan::of(self.through);
            plan.filter(condition);
            delete::matching(&plan, site).await?;
        }
        Ok(())
    }

    /// The rows between whose `from` is the row and whose `to` is one of those with these keys.
    fn one_way(&self, from: &'static Field, to: &'static Field, keys: Option<&[Value]>) -> Q {
        let column = |field| Node::Column(FieldPath::own(self.through, field));
        let key = Node::Value(self.key.clone());
        let pointing = Q::test(column(from), Lookup::Compare(Comparison::Equal, key));
        let Some(keys) = keys else { return pointing };
        let keys = keys.iter().cloned().map(Node::Value).collect();
        pointing & Q::test(column(to), Lookup::In(keys))
    }
}

/// Pieces of `keys`, or the one word that all are meant.
pub(in crate::models) fn chunks(keys: Option<&[Value]>, most: usize) -> Vec<Option<&[Value]>> {
    keys.map_or_else(|| vec![None], |keys| keys.chunks(most).map(Some).collect())
}

/// `keys` that are not among `others`.
pub(in crate::models) fn without(keys: Vec<Value>, others: &[Value]) -> Vec<Value> {
    let others: HashSet<_> = others.iter().map(KeyName::of).collect();
    keys.into_iter().filter(|key| !others.contains(&KeyName::of(key))).collect()
}
