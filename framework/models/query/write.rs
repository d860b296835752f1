//! Writing through a query: many rows at once, or the one that is not there yet.

use crate::error::{Error, Result};
use crate::models::delete::{self, Deleted};
use crate::models::expression::Node;
use crate::models::model::Model;
use crate::models::query::{OneOrMore, QuerySet};
use crate::models::save;
use crate::models::sql::Target;
use crate::site::Site;

/// One column of an `update`.
#[derive(Clone, Debug)]
pub struct Assignment {
    target: Node,
    value: Node,
}

impl Assignment {
    pub(in crate::models) fn new(target: Node, value: Node) -> Self {
        Self { target, value }
    }
}

impl<M: Model> QuerySet<M> {
    /// Sets columns of all rows in one statement, to values or to what expressions of the row are,
    /// and returns how many rows there were. Calls no hook and sets no `auto_now`.
    ///
    /// # Errors
    /// A value does not fit; else as [`all`](Self::all).
    pub async fn update<A: OneOrMore<Assignment>>(
        mut self,
        site: &Site,
        set: impl FnOnce(&M::Columns) -> A,
    ) -> Result<u64> {
        let assignments = set(&Self::columns()).into_all();
        self.refuse_if_sliced("update");
        self.checked()?;
        let (db, meta) = (site.db(), self.plan.meta);
        let mut columns = Vec::with_capacity(assignments.len());
        for Assignment { target, value } in assignments {
            let Node::Column(path) = target else {
                let words = format!("update of {}: only a column can be set", meta.label());
                return Err(Error::of(crate::error::Kind::Field, words));
            };
            if !path.trail.steps.is_empty() {
                return Err(Error::field(meta, path.field, "is another model's: update that one"));
            }
            let value = match value {
                Node::Mistake(words) => return Err(Error::field(meta, path.field, words)),
                Node::Value(value) => {
                    Node::Value(save::check(meta, path.field, Some(value), site)?)
                }
                expression => expression,
            };
            columns.push((path.field, value));
        }
        if self.plan.is_never() || columns.is_empty() {
            return Ok(0);
        }
        db.execute(self.plan.update(Target::of(site), &columns)?).await
    }

    /// Deletes the rows, with their hooks and what hangs on them, and says how many of each model
    /// went.
    ///
    /// # Errors
    /// A row is protected or restricted (`is_protected`, `is_restricted`), a hook fails; else as
    /// [`all`](Self::all).
    pub async fn delete(mut self, site: &Site) -> Result<Deleted> {
        self.refuse_if_sliced("delete");
        self.checked()?;
        if self.plan.is_never() {
            return Ok(Deleted::default());
        }
        delete::matching(&self.plan, site).await
    }

    /// Changes the one row there is with `change` and saves it, or else writes `new`; and whether
    /// it was written anew. The row is locked meanwhile.
    ///
    /// # Errors
    /// As [`get`](Self::get) and `save`.
    pub async fn update_or_create(
        self,
        site: &Site,
        change: impl FnOnce(&mut M) + Send,
        new: M,
    ) -> Result<(M, bool)> {
        site.atomic(async |site| {
            let locked = self.select_for_update(crate::models::query::Lock::new());
            let (mut row, is_new) = locked.get_or_create(&site, new).await?;
            if !is_new {
                change(&mut row);
                save::save(&mut row, &site).await?;
            }
            Ok((row, is_new))
        })
        .await
    }

    /// Writes `row` as a new one.
    ///
    /// # Errors
    /// As `save`.
    pub async fn create(self, site: &Site, row: M) -> Result<M> {
        save::create(site, row).await
    }

    /// The one row there is or else `new`, written; and whether it was. If somebody else writes it
    /// at the same moment, theirs.
    ///
    /// # Errors
    /// As [`get`](Self::get) and `save`.
    pub async fn get_or_create(self, site: &Site, new: M) -> Result<(M, bool)> {
        match self.clone().get(site).await {
            Err(error) if error.is_does_not_exist() => {}
            found => return found.map(|row| (row, false)),
        }
        // In a savepoint: a refused INSERT would spoil a transaction around it.
        let made = site.atomic(async |site| save::create(&site, new).await).await;
        match made {
            Err(refused) if refused.is_integrity() => match self.get(site).await {
                Err(error) if error.is_does_not_exist() => Err(refused),
                found => found.map(|row| (row, false)),
            },
            made => made.map(|row| (row, true)),
        }
    }
}
