//! `with_deferred`: deferred fields that are read with their rows all the same.

use crate::db::Row;
use crate::error::Result;
use crate::models::fields::FieldList;
use crate::models::meta::Field;
use crate::models::model::Model;
use crate::models::query::{QuerySet, attach};
use crate::models::select_related::names;
use crate::models::slot::RowMut;
use crate::models::sql::{Plan, Undeferred};
use crate::models::trail::{Columns, FieldPath, Trail};

impl<M: Model> QuerySet<M> {
    /// Reads [`Deferred`](crate::models::Deferred) fields with the rows: `|p| p.body()`, several as
    /// a tuple; `|p| p.author().biography()` of rows that `select_related` reads along. May be
    /// called again for another.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # #[derive(Model, Clone)] struct User {
    /// #     id: Id, #[field(text)] biography: Deferred<Option<String>>,
    /// # }
    /// # #[derive(Model, Clone)] struct Post {
    /// #     id: Id, #[field(text)] body: Deferred<String>,
    /// #     #[field(on_delete = cascade)] author: ForeignKey<User>,
    /// # }
    /// # async fn posts(site: &Site) -> Result<()> {
    /// let posts = Post::objects()
    ///     .select_related(|p| p.author())
    ///     .with_deferred(|p| (p.body(), p.author().biography()))
    ///     .all(site)
    ///     .await?; // one query in all
    /// assert!(posts.iter().all(|post| post.body.loaded().is_some()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_deferred<L: FieldList>(mut self, fields: impl FnOnce(&M::Columns) -> L) -> Self {
        if self.plan.combined.is_some() {
            self.mistaken("deferred fields are named before queries are put together");
        }
        for path in fields(&M::Columns::along(Trail::of(M::meta()))).paths() {
            let Some(path) = path.filter(|path| path.field.deferred) else {
                self.mistaken("with_deferred names deferred fields; others are read anyway");
                return self;
            };
            match names(M::meta(), path.steps()) {
                Err(words) => self.mistaken(words),
                Ok(mut names) => {
                    names.push(path.field.name);
                    add(&mut self.plan, Undeferred { path, names });
                }
            }
        }
        self
    }

    /// Reads what of `row` is loaded.
    pub(super) fn read_what_is_loaded(&mut self, row: &mut M) {
        for field in M::meta().fields.iter().filter(|field| field.deferred) {
            if row.slot(field.name).is_some_and(|slot| slot.is_loaded()) {
                self.read_deferred(field);
            }
        }
    }

    /// Reads this field of the rows, if it is deferred.
    pub(super) fn read_deferred(&mut self, field: &'static Field) {
        let path = FieldPath::own(M::meta(), field);
        add(&mut self.plan, Undeferred { path, names: vec![field.name] });
    }
}

fn add(plan: &mut Plan, one: Undeferred) {
    if plan.leaves_out(one.path.steps(), one.path.field) {
        plan.undeferred.push(one);
    }
}

/// Whether the rows of both have the same columns.
pub(super) fn is_same(one: &Plan, two: &Plan) -> bool {
    let has = |plan: &Plan, one: &Undeferred| !plan.leaves_out(one.path.steps(), one.path.field);
    one.undeferred.len() == two.undeferred.len() && one.undeferred.iter().all(|it| has(two, it))
}

/// Puts them where they belong in a row and those read along. Reading the row has done so with
/// what is not NULL.
pub(super) fn read(plan: &Plan, model: RowMut<'_>, row: &Row) -> Result<()> {
    for one in &plan.undeferred {
        attach(&mut *model, &one.names, row, place(plan, &one.path))?;
    }
    Ok(())
}

/// Where among the columns of a row of the answer a field is.
fn place(plan: &Plan, path: &FieldPath) -> usize {
    let (mut meta, mut index) = (plan.meta, 0);
    if !path.steps().is_empty() {
        index = meta.fields.len();
        for along in &plan.related {
            meta = along.trail.steps.last().map_or(meta, |step| step.target());
            if along.trail.steps == path.steps() {
                break;
            }
            index += meta.fields.len();
        }
    }
    let at = meta.fields.iter().position(|field| std::ptr::eq(field, path.field));
    index + at.unwrap_or_default()
}
