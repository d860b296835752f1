//! `Registry`: the installed models, for whoever must know who points at whom.

use std::sync::Arc;

use crate::models::meta::{Field, Meta, OnDelete};
use crate::site::Site;

/// The models of all installed apps. `apps` has the site keep it.
#[derive(Debug, Default)]
pub struct Registry {
    models: Vec<&'static Meta>,
}

impl Registry {
    /// Holds these models and those between them (`Meta::with_throughs`).
    #[must_use]
    pub fn new(models: Vec<&'static Meta>) -> Self {
        Self { models: Meta::with_throughs(models) }
    }

    /// The models of `site`.
    #[must_use]
    pub fn of(site: &Site) -> Arc<Self> {
        site.keep(|_| Self::default())
    }

    /// The model called `label` (`blog.Post`), in whatever case.
    #[must_use]
    pub fn model(&self, label: &str) -> Option<&'static Meta> {
        let (app, model) = label.split_once('.')?;
        self.models.iter().copied().find(|meta| {
            meta.app.eq_ignore_ascii_case(app) && meta.model.eq_ignore_ascii_case(model)
        })
    }

    /// All models, in the order of their apps.
    #[must_use]
    pub fn models(&self) -> &[&'static Meta] {
        &self.models
    }

    /// Whether some foreign key restricts what it points to.
    pub(super) fn has_restrictions(&self) -> bool {
        let mut relations = self.models.iter().flat_map(|meta| &meta.fields);
        relations.any(|field| {
            field.relation.is_some_and(|relation| relation.on_delete == OnDelete::Restrict)
        })
    }

    /// The foreign keys that point to `target`.
    pub(super) fn referring(
        &self,
        target: &'static Meta,
    ) -> impl Iterator<Item = (&'static Meta, &'static Field)> {
        self.models.iter().flat_map(move |&meta| {
            let fields = meta.fields.iter().filter(move |field| points_to(field, target));
            fields.map(move |field| (meta, field))
        })
    }
}

/// Whether `field` is a foreign key to `target`.
pub(super) fn points_to(field: &Field, target: &'static Meta) -> bool {
    field.relation.is_some_and(|relation| std::ptr::eq((relation.to)(), target))
}
