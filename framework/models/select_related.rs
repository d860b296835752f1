//! `select_related`: rows behind foreign keys, in the same query.
//!
//! Flow: a relation's steps → names of relations ([`names`]) → the plan's ways, each with those on
//! the way before it → joins → `read_model` puts each row into the slot of the one before.

use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::models::query::QuerySet;
use crate::models::related::Related;
use crate::models::slot::Route;
use crate::models::sql::Along;
use crate::models::trail::{Columns, Step, Trail};

impl<M: Model> QuerySet<M> {
    /// Reads the row at the end of foreign keys along, and those on the way, in the same query:
    /// `|p| p.author()`, `|p| p.author().company()`, or the other side of a `OneToOne`. May be
    /// called again for another.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # #[derive(Model, Clone)] struct Company { id: Id, #[field(max_length = 9)] name: String }
    /// # #[derive(Model, Clone)] struct User {
    /// #     id: Id, #[field(on_delete = set_null)] company: Option<ForeignKey<Company>>,
    /// # }
    /// # #[derive(Model, Clone)] struct Post {
    /// #     id: Id, #[field(on_delete = cascade)] author: ForeignKey<User>,
    /// # }
    /// # async fn posts(site: &Site) -> Result<()> {
    /// let posts = Post::objects().select_related(|p| p.author().company()).all(site).await?;
    /// for author in posts.iter().filter_map(|post| post.author.loaded()) {
    ///     let company = author.company.as_ref().and_then(ForeignKey::loaded);
    ///     println!("{:?}", company.map(|company| &company.name)); // one query in all
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn select_related<T: Model>(
        mut self,
        relation: impl FnOnce(&M::Columns) -> Related<T>,
    ) -> Self {
        let trail = relation(&M::Columns::along(Trail::of(M::meta()))).into_trail();
        if trail.steps.iter().any(|step| step.is_many()) {
            self.mistaken("select_related leads to one row; for many, use prefetch_related");
            return self;
        }
        match names(M::meta(), &trail.steps) {
            Err(words) => self.mistaken(words),
            Ok(names) => {
                for end in 1..=names.len() {
                    let (steps, names) = (trail.steps[..end].to_vec(), names[..end].to_vec());
                    if !self.plan.related.iter().any(|along| along.trail.steps == steps) {
                        let trail = Trail { root: trail.root, steps };
                        self.plan.related.push(Along { trail, names });
                    }
                }
            }
        }
        self
    }
}

/// The names of the relations that steps from `meta` go over.
pub(super) fn names(
    meta: &'static Meta,
    steps: &[Step],
) -> std::result::Result<Vec<&'static str>, String> {
    let (mut meta, mut steps, mut names) = (meta, steps, Vec::new());
    while let Some((step, behind)) = steps.split_first() {
        let (name, taken) = match step {
            Step::Forward(field) => (field.name, 1),
            Step::Reverse { field, .. } => over_many(meta, field, behind).ok_or_else(|| {
                format!(
                    "nothing on {} holds its rows of {}: give it a field `HasMany<{}>`",
                    meta.label(),
                    step.target().label(),
                    step.target().model,
                )
            })?,
        };
        names.push(name);
        meta = steps[taken - 1].target();
        steps = &steps[taken..];
    }
    Ok(names)
}

/// The relation of `meta` that goes back over `field` and perhaps on over the next step, and how
/// many steps that are.
fn over_many(
    meta: &'static Meta,
    field: &'static Field,
    behind: &[Step],
) -> Option<(&'static str, usize)> {
    let same = |one: &Field, other: &Field| std::ptr::eq(one, other);
    let routes = || meta.many.iter().filter_map(|many| Some((many.name, many.route(meta).ok()?)));
    let over = routes().find(|(_, route)| match (route, behind.first()) {
        (Route::Through { from, to, .. }, Some(Step::Forward(next))) => {
            same(from, field) && same(to, next)
        }
        _ => false,
    });
    if let Some((name, _)) = over {
        return Some((name, 2));
    }
    let mut back = routes();
    let back = back.find(|(_, route)| match route {
        Route::Reverse { field: own } => same(own, field),
        Route::Through { .. } => false,
    });
    back.map(|(name, _)| (name, 1))
}
